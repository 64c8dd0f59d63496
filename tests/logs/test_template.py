from __future__ import annotations

import pytest
from jinja2 import TemplateSyntaxError
from jinja2.exceptions import SecurityError
from msgspec.structs import replace

from kumo.logs.record import LogRecord
from kumo.logs.session_records import reception_record
from kumo.logs.template import RecordTemplate
from tests.logs.samples import NODE_ID, NOW, make_connection, make_message


@pytest.fixture
def record() -> LogRecord:
    record = reception_record(make_message(), make_connection(), "example.org", node_id=NODE_ID, now=NOW)
    return replace(
        record, meta={"yes": True, "list": [1, "a<b", None, 1.5], "text": "gr\u00fc\u00dfe & \udcff"}
    )


@pytest.mark.parametrize(
    ("source", "rendered"),
    [
        ("{{ type }},{{ id[:4] }}", "Reception,d161\n"),
        ("{{ log_record.sender }}\n\n", "alice@example.com\n"),
        ("{{ log_record['response']['code'] }}", "250\n"),
        ("{{ response.content }}|{{ size }}", "|22\n"),
        ("{{ delivery_protocol }}", "none\n"),
        ("{{ meta.yes }} {{ not meta.yes }}", "true false\n"),
        ("{{ tls_cipher }}{{ meta.absent }}", "\n"),
        ("{{ meta.list }}", '[1, "a<b", none, 1.5]\n'),
        ("{{ response }}", '{"code": 250, "enhanced_code": none, "content": "", "command": none}\n'),
        ("{{ meta.text }}", "gr\u00fc\u00dfe & \ufffd\n"),
        ("{{ meta.list | tojson }}", '[1, "a\\u003cb", null, 1.5]\n'),
        ("{{ meta.text | tojson }}", '"gr\u00fc\u00dfe \\u0026 \ufffd"\n'),
        ("{% if meta.absent is defined %}x{% else %}y{% endif %}", "y\n"),
        (
            "{{ response | tojson }}",
            '{"code": 250, "enhanced_code": null, "content": "", "command": null}\n',
        ),
        ("", "\n"),
    ],
)
def test_a_template_prints_a_record_in_the_way_of_minijinja(
    record: LogRecord, source: str, rendered: str
) -> None:
    assert RecordTemplate(source).render(record) == rendered.encode()


def test_a_template_cannot_change_what_it_is_shown(record: LogRecord) -> None:
    with pytest.raises(SecurityError):
        RecordTemplate("{{ meta.update({'yes': 1}) }}").render(record)


def test_a_template_cannot_leave_the_sandbox(record: LogRecord) -> None:
    with pytest.raises(SecurityError):
        RecordTemplate("{{ sender.__class__.__mro__[1] }}").render(record)


def test_a_text_that_is_no_template_is_refused() -> None:
    with pytest.raises(TemplateSyntaxError):
        RecordTemplate("{{ sender")
