from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kumo.message import FeedbackReport, feedback_report, parse_feedback_report
from kumo.message.multipart import Part, direct_parts
from tests.message.report_samples import (
    FEEDBACK,
    HOTMAIL,
    HUMAN,
    ORIGINAL,
    POSTFIX,
    YAHOO,
    feedback,
    fields,
    part,
    report,
)

BASE = fields(*FEEDBACK.items())
BARE = {"feedback_type": "abuse", "user_agent": "Generator/1.0", "version": "1"}


def read(content: bytes) -> dict[str, Any] | None:
    """The report as the log shows it, without what is not there."""
    found = parse_feedback_report(content)
    if found is None:
        return None
    shown: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(found))
    return {key: value for key, value in shown.items() if value not in (None, [], {})}


def test_a_report_in_the_order_of_the_log() -> None:
    found = parse_feedback_report(YAHOO)
    assert msgspec.json.encode(found) == (
        b'{"feedback_type":"abuse","user_agent":"Mail-Feedback/2.0","version":"0.1",'
        b'"arrival_date":"2026-11-23T06:47:57Z","incidents":null,"original_envelope_id":null,'
        b'"original_mail_from":"bounce-7@example.org","reporting_mta":null,"source_ip":null,'
        b'"authentication_results":["mta1001.mail.example from=example.org; domainkeys=neutral (no sig); '
        b'from=example.org; dkim=pass (ok)"],"original_rcpto_to":["someone@mail.example"],'
        b'"reported_domain":["example.org"],"reported_uri":[],"extensions":{},'
        b'"original_message":"X-Apparently-To: someone@mail.example; Sun, 22 Nov 2026 22:47:57 -0800\\n'
        b"Return-Path: <bounce-7@example.org>\\nX-YMailISG: eyJhIjoxfQ==\\n"
        b"X-KumoRef: eyJfQF8iOiJcXF8vIiwiY2FtcGFpZ24iOiJ3ZWVrbHktb2ZmZXJzLTQ3Iiwi\\n"
        b"\\tcmVjaXBpZW50Ijoic29tZW9uZUBtYWlsLmV4YW1wbGUiLCJ0ZW5hbnQiOiJhY21lIn0=\\n"
        b'Subject: Weekly offers\\n\\nHello\\n",'
        b'"supplemental_trace":{"campaign":"weekly-offers-47","recipient":"someone@mail.example",'
        b'"tenant":"acme"}}'
    )


def test_the_case_of_types_does_not_count() -> None:
    assert read(HOTMAIL) == {
        "feedback_type": "abuse",
        "user_agent": "JMRP/1.0",
        "version": "1",
        "arrival_date": "2026-11-23T06:47:00Z",
        "incidents": 2,
        "reporting_mta": {"mta_type": "dns", "name": "mail.example"},
        "source_ip": "192.0.2.1",
        "reported_uri": ["http://example.net/earn_money.html", "mailto:user@example.com"],
        "extensions": {"removal-recipient": ["user@example.com"]},
        "original_message": "From: a@example.org\nSubject: hi\n\n",
    }


@pytest.mark.parametrize("name", [*FEEDBACK])
def test_required_fields_are_there_exactly_once(name: str) -> None:
    without = fields(*((key, value) for key, value in FEEDBACK.items() if key != name))
    assert read(feedback(without)) is None
    assert read(feedback(BASE + fields((name.upper(), "again")))) is None


@pytest.mark.parametrize(
    ("more", "shown"),
    [
        ([], {}),
        ([("Arrival-Date", "Thu, 8 Mar 2005 14:00:00 EDT")], {"arrival_date": "2005-03-08T18:00:00Z"}),
        ([("Received-Date", "8 Mar 2005 14:00:00 EDT")], {"arrival_date": "2005-03-08T18:00:00Z"}),
        ([("Arrival-Date", "yesterday")], {}),
        (
            [("Arrival-Date", "yesterday"), ("Received-Date", "8 Mar 2005 14:00 GMT")],
            {"arrival_date": "2005-03-08T14:00:00Z"},
        ),
        (
            [("Received-Date", "never"), ("Arrival-Date", "8 Mar 2005 14:00 GMT")],
            {"arrival_date": "2005-03-08T14:00:00Z", "extensions": {"received-date": ["never"]}},
        ),
        ([("Arrival-Date", "x"), ("Arrival-Date", "y")], None),
        ([("Incidents", "12")], {"incidents": 12}),
        ([("Incidents", "0")], {"incidents": 0}),
        ([("Incidents", "many")], None),
        ([("Incidents", "4294967296")], None),
        ([("Incidents", "1"), ("Incidents", "1")], None),
        ([("Original-Envelope-Id", "abc")], {"original_envelope_id": "abc"}),
        ([("Original-Envelope-Id", "a"), ("Original-Envelope-Id", "b")], None),
        ([("Original-Mail-From", "<a@example.net>")], {"original_mail_from": "a@example.net"}),
        ([("Original-Mail-From", "a@example.net")], {"original_mail_from": "a@example.net"}),
        ([("Original-Mail-From", "<>")], {"original_mail_from": ""}),
        ([("Original-Mail-From", "a"), ("Original-Mail-From", "b")], None),
        ([("Reporting-MTA", "dns; a")], {"reporting_mta": {"mta_type": "dns", "name": "a"}}),
        ([("Reporting-MTA", "a")], None),
        ([("Reporting-MTA", "dns; a"), ("Reporting-MTA", "dns; a")], None),
        ([("Source-IP", "2001:DB8::0:1")], {"source_ip": "2001:db8::1"}),
        ([("Source-IP", "::ffff:192.0.2.1")], {"source_ip": "192.0.2.1"}),
        ([("Source-IP", "192.0.2")], None),
        ([("Source-IP", "[192.0.2.1]")], None),
        ([("Source-IP", "192.0.2.1"), ("Source-IP", "192.0.2.1")], None),
        (
            [("Authentication-Results", "a"), ("Authentication-Results", "b")],
            {"authentication_results": ["a", "b"]},
        ),
        (
            [("Original-Rcpt-To", "<a@b>"), ("original-rcpt-to", "c@d")],
            {"original_rcpto_to": ["a@b", "c@d"]},
        ),
        ([("Reported-Domain", "a"), ("Reported-Domain", "b")], {"reported_domain": ["a", "b"]}),
        ([("Reported-URI", "a"), ("Reported-Uri", "b")], {"reported_uri": ["a", "b"]}),
        ([("X-A", "1"), ("x-a", "2"), ("B", "3")], {"extensions": {"x-a": ["1", "2"], "b": ["3"]}}),
        ([("X-A", "=?utf-8?q?=C3=A9?=")], {"extensions": {"x-a": ["é"]}}),
        ([("X A", "1")], None),
    ],
)
def test_optional_fields(more: list[tuple[str, str]], shown: dict[str, Any] | None) -> None:
    found = read(feedback(BASE + fields(*more), original=HUMAN))
    assert found == (None if shown is None else BARE | shown)


@pytest.mark.parametrize(
    ("content", "is_report"),
    [
        (feedback(BASE), True),
        (feedback(BASE + b"\r\n\r\n"), True),
        (feedback(BASE + b"\r\nnot looked at\r\n"), True),
        (feedback(BASE).replace(b"\r\n", b"\n"), True),
        (feedback(BASE).rpartition(b"--=_b--")[0], True),
        (report(part("message/feedback-report", BASE)), True),
        (report(ORIGINAL, part("message/feedback-report", BASE), HUMAN), True),
        (report(part("message/feedback-report", BASE), top='multipart/report; boundary="=_b"'), False),
        (report(part("message/feedback-report", BASE), report_type="delivery-status"), False),
        (report(part("message/feedback-report", BASE), top="multipart/mixed; boundary={boundary}"), False),
        (report(part("message/feedback-report", b"")), False),
        (report(part("text/plain", BASE)), False),
        (report(HUMAN, ORIGINAL), False),
        (
            report(
                HUMAN, part("multipart/mixed; boundary=c", b"--c\r\n" + part("message/feedback-report", BASE))
            ),
            False,
        ),
        (POSTFIX, False),
        (b"Subject: hi\r\n\r\nhello\r\n", False),
        (b"", False),
    ],
)
def test_the_structure_is_strict(content: bytes, is_report: bool) -> None:
    assert (read(content) is not None) is is_report


def test_the_first_of_two_reports_counts() -> None:
    other = BASE.replace(b"abuse", b"fraud")
    content = report(part("message/feedback-report", other), part("message/feedback-report", BASE))
    assert read(content) == BARE | {"feedback_type": "fraud"}


# --- the reported message ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        (b"A: b\r\n\r\nc\rd\r\n", "A: b\n\nc\rd\n"),
        ("A: é\r\n".encode(), "A: é\n"),
        (b"A: \xff\r\n", [65, 58, 32, 255, 10]),
        (b"", ""),
    ],
)
def test_the_original_is_text_or_numbers(body: bytes, shown: str | list[int]) -> None:
    for name in ("message/rfc822", "Text/RFC822-Headers"):
        found = parse_feedback_report(feedback(BASE, part(name, body)))
        assert found is not None
        assert found.original_message == shown


@pytest.mark.parametrize(
    ("body", "length"),
    [
        (b"x" * (128 * 1024 - 2), 128 * 1024 - 1),
        (b"x" * 300_000, 128 * 1024),
        (b"x" + "é".encode() * 150_000, 64 * 1024),
        (b"x" * (128 * 1024 - 1) + b"\r\n" + b"y" * 10, 128 * 1024 - 1),
        (b"\xff" * 300_000, 128 * 1024),
        (b"x" * 3_000_000, 128 * 1024),
    ],
)
def test_the_original_is_cut_between_two_characters(body: bytes, length: int) -> None:
    found = parse_feedback_report(feedback(BASE, part("message/rfc822", body + b"\r\n")))
    assert found is not None
    assert found.original_message is not None
    assert len(found.original_message) == length


def mark(content: object) -> bytes:
    return base64.b64encode(json.dumps(content).encode())


MINE = mark({"_@_": "\\_/", "recipient": "mine!"})


@pytest.mark.parametrize(
    ("header", "recipient"),
    [
        (b"X-KumoRef: " + MINE, "mine!"),
        (b"x-anything:" + MINE, "mine!"),
        (b"X-KumoRef: " + MINE[:20] + b"\r\n\t" + MINE[20:], "mine!"),
        (b"X-KumoRef: " + MINE[:20] + b"\n " + MINE[20:], "mine!"),
        (
            b"X-A: 1\r\nX-B: eyJ9\r\nX-C: " + MINE + b"\r\nX-D: " + mark({"_@_": "\\_/", "recipient": "b"}),
            "mine!",
        ),
        (b"X-A: " + mark({"_@_": "other", "recipient": "a"}) + b"\r\nX-B: " + MINE, "mine!"),
        (b"KumoRef: " + MINE, None),
        (b"X-KumoRef: " + MINE.rstrip(b"="), None),
        (b"X-KumoRef: " + MINE[:-4] + b"!" + MINE[-4:], None),
        (b"Subject: x\r\n\r\nX-KumoRef: " + MINE, None),
        (b"X-A: eyJ9\r\n" * 199 + b"X-KumoRef: " + MINE, "mine!"),
        (b"X-A: eyJ9\r\n" * 200 + b"X-KumoRef: " + MINE, None),
        (b"A: " + b"b" * 33_000 + b"\r\nX-KumoRef: " + MINE, None),
    ],
)
def test_the_supplemental_header_is_found_in_any_x_header(header: bytes, recipient: str | None) -> None:
    assert b"=" in MINE
    found = parse_feedback_report(feedback(BASE, part("message/rfc822", header + b"\r\n\r\nbody\r\n")))
    assert found is not None
    assert found.supplemental_trace == (None if recipient is None else {"recipient": recipient})


# --- bounds ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "is_report"),
    [
        (b"X: y\r\n" * 497, True),
        (b"X: y\r\n" * 498, False),
        (b"X: " + b"y" * 65_000 + b"\r\n", True),
        (b"X: " + b"y" * 66_000 + b"\r\n", False),
        (b"X: y\r\n" + b" z\r\n" * 2990, True),
        (b"X: y\r\n" + b" z\r\n" * 3000, False),
        (b"\r\n" * 20_000, False),
    ],
)
def test_a_report_has_its_limits(more: bytes, is_report: bool) -> None:
    assert (read(feedback(BASE + more)) is not None) is is_report


@pytest.mark.parametrize(("size", "is_report"), [(1_046_000, True), (1_047_500, False)])
def test_a_report_that_is_cut_is_none(size: int, is_report: bool) -> None:
    body = BASE + b"X: " + b"y" * 1000 + b"\r\n"
    content = report(part("text/plain", b"x" * size + b"\r\n"), part("message/feedback-report", body), HUMAN)
    assert content.index(b"Version: 1") < 1024 * 1024
    assert (read(content) is not None) is is_report


def test_a_report_after_too_many_parts_is_not_found() -> None:
    last = part("message/feedback-report", BASE)
    assert read(report(*[HUMAN] * 31, last)) is not None
    assert read(report(*[HUMAN] * 32, last)) is None


def test_parts_behind_the_two_that_count_are_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def counting(content: bytes, boundary: str) -> Iterator[Part]:
        for found in direct_parts(content, boundary):
            seen.append(found.name)
            yield found

    monkeypatch.setattr(feedback_report, "direct_parts", counting)
    assert read(report(HUMAN, part("message/feedback-report", BASE), ORIGINAL, *[HUMAN] * 20)) is not None
    assert seen == ["text/plain", "message/feedback-report", "message/rfc822"]


def test_a_body_is_not_touched_before_the_type_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feedback_report, "direct_parts", None)
    assert parse_feedback_report(YAHOO.replace(b"report-type=feedback-report", b"report-type=other")) is None


@settings(max_examples=300, deadline=None)
@given(
    st.integers(0, len(YAHOO)),
    st.integers(0, 40),
    st.one_of(
        st.binary(max_size=20),
        st.sampled_from([b"\r\n", b"\r\n\r\n", b":", b"--", b'"', b"=?utf-7?q?+2AA-?="]),
    ),
)
def test_a_mutated_report_is_one_that_can_be_logged_or_none(start: int, length: int, octets: bytes) -> None:
    found = parse_feedback_report(YAHOO[:start] + octets + YAHOO[start + length :])
    assert found is None or isinstance(found, FeedbackReport)
    msgspec.json.encode(found)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200), st.binary(max_size=200))
def test_any_octets_are_read_without_an_exception(body: bytes, original: bytes) -> None:
    parse_feedback_report(body)
    parse_feedback_report(feedback(body))
    found = parse_feedback_report(feedback(BASE, part("message/rfc822", b"X-A: " + original)))
    msgspec.json.encode(found)
