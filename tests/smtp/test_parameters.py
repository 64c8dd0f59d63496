"""What MAIL and RCPT may declare."""

from __future__ import annotations

import pytest

from kumo.errors import RemoteProtocolError
from kumo.smtp import NO_RECIPIENT_PARAMETERS, NOTHING_DECLARED, DeclaredParameters, RecipientParameters
from kumo.smtp.parameters import read_mail_parameters, read_rcpt_parameters

Parameters = tuple[tuple[str, str | None], ...]


@pytest.mark.parametrize(
    ("parameters", "declared"),
    [
        ((), NOTHING_DECLARED),
        ((("SIZE", "0"),), DeclaredParameters(size=0)),
        ((("SIZE", "9" * 20),), DeclaredParameters(size=10**20 - 1)),
        ((("SIZE", "007"),), DeclaredParameters(size=7)),
        ((("BODY", "7bit"),), DeclaredParameters(body="7BIT")),
        ((("BODY", "8BITMIME"),), DeclaredParameters(body="8BITMIME")),
        ((("SMTPUTF8", None),), DeclaredParameters(smtputf8=True)),
        ((("RET", "full"),), DeclaredParameters(ret="FULL")),
        ((("RET", "HDRS"),), DeclaredParameters(ret="HDRS")),
        ((("ENVID", "QQ+20314159"),), DeclaredParameters(envid="QQ+20314159")),
        ((("ENVID", "x" * 100),), DeclaredParameters(envid="x" * 100)),
        (
            (("AUTH", "<>"), ("AUTH", "<>"), ("X-Y", None), ("NOTIFY", "odd"), ("ORCPT", None)),
            NOTHING_DECLARED,
        ),
    ],
)
def test_mail_parameters(parameters: Parameters, declared: DeclaredParameters) -> None:
    assert read_mail_parameters(parameters) == declared


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("SIZE", None),
        ("SIZE", "1" * 21),
        ("SIZE", "-1"),
        ("SIZE", "+1"),
        ("SIZE", "1_0"),
        ("SIZE", "٣"),
        ("SIZE", "²"),
        ("BODY", None),
        ("BODY", "BINARYMIME"),
        ("SMTPUTF8", "1"),
        ("RET", None),
        ("RET", "ALL"),
        ("ENVID", None),
        ("ENVID", "x" * 101),
        ("ENVID", "a+2"),
        ("ENVID", "a+zz"),
        ("ENVID", "a+00"),
        ("ENVID", "a+80"),
        ("ENVID", "ü"),
    ],
)
def test_a_mail_parameter_with_a_value_it_cannot_have(keyword: str, value: str | None) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        read_mail_parameters(((keyword, value),))
    assert (caught.value.code, caught.value.text) == (501, f"5.5.4 Invalid {keyword} parameter")


@pytest.mark.parametrize(
    ("parameters", "declared"),
    [
        ((), NO_RECIPIENT_PARAMETERS),
        ((("NOTIFY", "never"),), RecipientParameters(notify="NEVER")),
        ((("NOTIFY", "success,FAILURE,Delay"),), RecipientParameters(notify="SUCCESS,FAILURE,DELAY")),
        ((("ORCPT", "rfc822;a+40b"),), RecipientParameters(orcpt="rfc822;a+40b")),
        ((("ORCPT", "utf-8;jörg@example"),), RecipientParameters(orcpt="utf-8;jörg@example")),
        ((("ORCPT", "x-my-type;" + "a" * 490),), RecipientParameters(orcpt="x-my-type;" + "a" * 490)),
        ((("SIZE", "odd"), ("RET", "odd"), ("SMTPUTF8", "1")), NO_RECIPIENT_PARAMETERS),
    ],
)
def test_rcpt_parameters(parameters: Parameters, declared: RecipientParameters) -> None:
    assert read_rcpt_parameters(parameters) == declared


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("NOTIFY", None),
        ("NOTIFY", "NEVER,SUCCESS"),
        ("NOTIFY", "SUCCESS,"),
        ("NOTIFY", "ALWAYS"),
        ("ORCPT", None),
        ("ORCPT", "rfc822"),
        ("ORCPT", "rfc822;"),
        ("ORCPT", ";a"),
        ("ORCPT", "-;a"),
        ("ORCPT", "ü;a"),
        ("ORCPT", "rfc822;a+4"),
        ("ORCPT", "rfc822;jörg"),
        ("ORCPT", "utf-8;a+4"),
        ("ORCPT", "rfc822;" + "a" * 494),
    ],
)
def test_a_rcpt_parameter_with_a_value_it_cannot_have(keyword: str, value: str | None) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        read_rcpt_parameters(((keyword, value),))
    assert (caught.value.code, caught.value.text) == (501, f"5.5.4 Invalid {keyword} parameter")


@pytest.mark.parametrize("keyword", ["SIZE", "BODY", "SMTPUTF8", "RET", "ENVID"])
def test_a_known_mail_parameter_may_come_once(keyword: str) -> None:
    value = {"SIZE": "1", "BODY": "7BIT", "SMTPUTF8": None, "RET": "FULL", "ENVID": "x"}[keyword]
    with pytest.raises(RemoteProtocolError, match=f"501 5.5.4 Duplicate {keyword} parameter"):
        read_mail_parameters(((keyword, value), ("X", None), (keyword, value)))


@pytest.mark.parametrize(("keyword", "value"), [("NOTIFY", "NEVER"), ("ORCPT", "rfc822;a")])
def test_a_known_rcpt_parameter_may_come_once(keyword: str, value: str) -> None:
    with pytest.raises(RemoteProtocolError, match=f"501 5.5.4 Duplicate {keyword} parameter"):
        read_rcpt_parameters(((keyword, value), (keyword, value)))
