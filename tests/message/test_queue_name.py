from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kumo.message import QueueName, queue_name
from kumo.smtp import POSTMASTER, EnvelopeAddress

FIRST = EnvelopeAddress("a", "Example.COM")
SECOND = EnvelopeAddress("b", "example.org")


@pytest.mark.parametrize(
    ("meta", "name"),
    [
        ({}, "example.com"),
        ({"tenant": None, "queue": None}, "example.com"),
        ({"tenant": "t"}, "t@example.com"),
        ({"campaign": "c"}, "c:@example.com"),
        ({"tenant": "t", "campaign": "c"}, "c:t@example.com"),
        ({"routing_domain": "r"}, "example.com!r"),
        ({"tenant": "t", "campaign": "c", "routing_domain": "[10.0.0.1]"}, "c:t@example.com![10.0.0.1]"),
        ({"tenant": ""}, "@example.com"),
        ({"queue": "as it Is", "tenant": "t"}, "as it Is"),
        ({"queue": ""}, ""),
        ({"other": 1}, "example.com"),
    ],
)
def test_names_are_made_of_meta_and_the_first_recipient(meta: dict[str, Any], name: str) -> None:
    assert queue_name(meta, [FIRST, SECOND]) == name


@pytest.mark.parametrize(
    ("recipient", "name"),
    [(EnvelopeAddress("a", "[192.0.2.1]"), "[192.0.2.1]"), (POSTMASTER, "")],
)
def test_domains_without_a_name(recipient: EnvelopeAddress, name: str) -> None:
    assert queue_name({}, [recipient]) == name


@pytest.mark.parametrize("key", ["queue", "tenant", "campaign", "routing_domain"])
@pytest.mark.parametrize("value", [1, 1.5, True, ["a"], {}, b"octets"])
def test_other_types_than_text_are_refused(key: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"meta `{key}` must be a string, not {type(value).__name__}"):
        queue_name({key: value}, [FIRST])


def test_without_recipients_only_an_explicit_name_will_do() -> None:
    assert queue_name({"queue": "q"}, []) == "q"
    with pytest.raises(ValueError, match="without recipients"):
        queue_name({"tenant": "t"}, [])


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("domain", ("domain", None, None, None)),
        ("t@domain", ("domain", "t", None, None)),
        ("c:t@domain", ("domain", "t", "c", None)),
        ("c:@domain", ("domain", "", "c", None)),
        ("c:t@domain!r", ("domain", "t", "c", "r")),
        ("domain!r", ("domain", None, None, "r")),
        ("@domain", ("domain", "", None, None)),
        ("a:b:c@d@e!f!g", ("d@e", "b:c", "a", "f!g")),
        ("", ("", None, None, None)),
        ("no:tenant", ("no:tenant", None, None, None)),
    ],
)
def test_names_are_read_back(text: str, parts: tuple[str | None, ...]) -> None:
    assert QueueName.parse(text) == parts


_WORD = st.text("abc.-", max_size=6)


@given(_WORD, st.none() | _WORD, st.none() | _WORD, st.none() | _WORD)
@settings(max_examples=100, deadline=None)
def test_reading_back_gives_the_same_name(
    domain: str, tenant: str | None, campaign: str | None, routing_domain: str | None
) -> None:
    name = QueueName(domain, tenant, campaign, routing_domain)
    assert QueueName.parse(name.compose()).compose() == name.compose()
    if tenant is not None or campaign is None:
        assert QueueName.parse(name.compose()) == name
