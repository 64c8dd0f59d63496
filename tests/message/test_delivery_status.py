from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kumo.message import DeliveryStatus, MtaName, RecipientStatus, parse_delivery_status
from kumo.message import delivery_status as delivery_status_room
from kumo.smtp import POSTMASTER, EnvelopeAddress
from tests.message.report_samples import (
    EXCHANGE,
    HUMAN,
    MESSAGE_STATUS,
    ORIGINAL,
    POSTFIX,
    RECIPIENT_STATUS,
    YAHOO,
    delivery_status,
    fields,
    part,
    report,
)

ABOUT_MESSAGE = fields(*MESSAGE_STATUS.items())
ABOUT_RECIPIENT = fields(*RECIPIENT_STATUS.items())
BASE = ABOUT_MESSAGE + b"\r\n" + ABOUT_RECIPIENT


def address(text: str) -> EnvelopeAddress:
    local, _, domain = text.partition("@")
    return EnvelopeAddress(local, domain)


def test_postfix() -> None:
    assert parse_delivery_status(POSTFIX) == DeliveryStatus(
        reporting_mta=MtaName("dns", "mx.example.com"),
        recipients=(
            RecipientStatus(
                final_recipient=address("nobody@example.net"),
                action="failed",
                status="5.1.1",
                original_recipient=address("Nobody@example.net"),
                diagnostic_type="smtp",
                diagnostic="550 5.1.1 <nobody@example.net>: Recipient address rejected: User unknown",
            ),
            RecipientStatus(
                final_recipient=address("slow@example.net"),
                action="delayed",
                status="4.4.1",
                diagnostic_type="X-Postfix",
                diagnostic="connect to mail.example.net[192.0.2.7]:25: Connection timed out",
            ),
        ),
    )


def test_exchange_whose_case_differs_and_whose_first_part_has_parts() -> None:
    assert parse_delivery_status(EXCHANGE) == DeliveryStatus(
        reporting_mta=MtaName("dns", "EX01.corp.example"),
        recipients=(
            RecipientStatus(
                final_recipient=address("gone@corp.example"),
                action="failed",
                status="5.1.10",
                original_recipient=address("gone@corp.example"),
                diagnostic_type="SMTP",
                diagnostic="550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found",
                last_attempt=1_795_416_481.0,
            ),
        ),
    )


@pytest.mark.parametrize("name", [*MESSAGE_STATUS, *RECIPIENT_STATUS])
def test_required_fields_are_there_exactly_once(name: str) -> None:
    (line,) = [line for line in BASE.splitlines(keepends=True) if line.startswith(name.encode())]
    assert parse_delivery_status(delivery_status(BASE.replace(line, b""))) is None
    assert parse_delivery_status(delivery_status(BASE.replace(line, line * 2))) is None


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("Original-Envelope-Id", "abc", None),
        ("DSN-Gateway", "dns; a", "a"),
        ("Received-From-MTA", "dns; a", "a"),
        ("Arrival-Date", "8 Mar 2005 14:00:00 UTC", "yesterday"),
    ],
)
def test_optional_fields_about_the_message(name: str, good: str, bad: str | None) -> None:
    assert parse_delivery_status(delivery_status(fields((name, good)) + BASE)) is not None
    assert parse_delivery_status(delivery_status(fields((name, good), (name, good)) + BASE)) is None
    if bad is not None:
        assert parse_delivery_status(delivery_status(fields((name, bad)) + BASE)) is None


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("Original-Recipient", "rfc822; a@b", "rfc822; a b"),
        ("Remote-MTA", "dns; a", "a"),
        ("Diagnostic-Code", "smtp; 550 no", "550 no"),
        ("Last-Attempt-Date", "8 Mar 2005 14:00:00 UTC", "yesterday"),
        ("Final-Log-Id", "abc", None),
        ("Will-Retry-Until", "8 Mar 2005 14:00:00 UTC", "tomorrow"),
    ],
)
def test_optional_fields_about_a_recipient(name: str, good: str, bad: str | None) -> None:
    assert parse_delivery_status(delivery_status(BASE + fields((name, good)))) is not None
    assert parse_delivery_status(delivery_status(BASE + fields((name, good), (name, good)))) is None
    if bad is not None:
        assert parse_delivery_status(delivery_status(BASE + fields((name, bad)))) is None


def only_recipient(name: str, value: str) -> RecipientStatus | None:
    """The notification's one recipient with that field in place of the sample's."""
    found = parse_delivery_status(
        delivery_status(ABOUT_MESSAGE + b"\r\n" + fields(*(RECIPIENT_STATUS | {name: value}).items()))
    )
    return None if found is None else found.recipients[0]


@pytest.mark.parametrize(
    ("value", "recipient"),
    [
        ("rfc822; a@Example.COM", EnvelopeAddress("a", "example.com")),
        ("RFC822;a@b", EnvelopeAddress("a", "b")),
        ("rfc822; <a@b>", EnvelopeAddress("a", "b")),
        ('rfc822; "a b"@c', EnvelopeAddress('"a b"', "c")),
        ("rfc822; postmaster", POSTMASTER),
        ("utf-8; ü@example.com", "ü@example.com"),
        ("x400; /C=de/", "/C=de/"),
        ("rfc822; nobody", None),
        ("rfc822; a@b@c", None),
        ("rfc822; <>", None),
        ("rfc822;", None),
        ("x400;", None),
        ("a@b", None),
        ("; a@b", None),
    ],
)
def test_recipients(value: str, recipient: EnvelopeAddress | str | None) -> None:
    found = only_recipient("Final-Recipient", value)
    assert (None if found is None else found.final_recipient) == recipient


@pytest.mark.parametrize(
    ("value", "action"),
    [
        ("failed", "failed"),
        ("Delayed", "delayed"),
        ("DELIVERED", "delivered"),
        ("relayed", "relayed"),
        ("expanded", "expanded"),
        ("bounced", None),
        ("failed (really)", None),
        ("", None),
    ],
)
def test_actions(value: str, action: str | None) -> None:
    found = only_recipient("Action", value)
    assert (None if found is None else found.action) == action


@pytest.mark.parametrize(
    ("value", "status"),
    [
        ("5.1.1", "5.1.1"),
        ("4.999.0", "4.999.0"),
        ("2.0.0 (ok)", "2.0.0"),
        ("5.1.1(no such user)", "5.1.1"),
        ("3.1.1", None),
        ("5.1", None),
        ("5.1.1.1", None),
        ("5.1.1000", None),
        ("5.1.1x", None),
        ("", None),
    ],
)
def test_statuses(value: str, status: str | None) -> None:
    found = only_recipient("Status", value)
    assert (None if found is None else found.status) == status


@pytest.mark.parametrize(
    ("content", "count"),
    [
        (delivery_status(BASE), 1),
        (delivery_status(b"\r\n" + BASE + b"\r\n\r\n"), 1),
        (delivery_status(BASE.replace(b"\r\n", b"\n")), 1),
        (delivery_status(BASE + b"\r\n" + ABOUT_RECIPIENT), 2),
        (delivery_status(BASE + b"X-Unknown: a\r\nX-Unknown: b\r\n"), 1),
        (delivery_status(BASE).rpartition(b"--=_b--")[0], 1),
        (report(part("Message/Global-Delivery-Status", BASE), report_type="whatever"), 1),
        (report(part("message/delivery-status", BASE), top="Multipart/REPORT; boundary={boundary}"), 1),
        (delivery_status(BASE + b"\r\n\r\n" + ABOUT_RECIPIENT), None),
        (delivery_status(BASE + b" \r\n" + b"no field\r\n"), None),
        (delivery_status(BASE + b"\r\nno field\r\n"), None),
        (delivery_status(ABOUT_MESSAGE), None),
        (delivery_status(ABOUT_RECIPIENT), None),
        (delivery_status(b""), None),
        (report(part("text/plain", BASE), report_type="delivery-status"), None),
        (report(part("message/delivery-status", BASE), top="multipart/mixed; boundary={boundary}"), None),
        (report(HUMAN, ORIGINAL, report_type="delivery-status"), None),
        (YAHOO, None),
        (b"Subject: hi\r\n\r\nhello\r\n", None),
        (b"", None),
    ],
)
def test_the_structure_is_strict(content: bytes, count: int | None) -> None:
    found = parse_delivery_status(content)
    assert (None if found is None else len(found.recipients)) == count


@pytest.mark.parametrize(
    ("more", "is_report"),
    [
        ((b"\r\n" + ABOUT_RECIPIENT) * 199, True),
        ((b"\r\n" + ABOUT_RECIPIENT) * 200, False),
        (b"X: y\r\n" * 97, True),
        (b"X: y\r\n" * 98, False),
        (b"X: y\r\n" + b" z\r\n" * 2990, True),
        (b"X: y\r\n" + b" z\r\n" * 3000, False),
        (b"X: " + b"y" * 261_000 + b"\r\n", True),
        (b"X: " + b"y" * 263_000 + b"\r\n", False),
    ],
)
def test_a_notification_has_its_limits(more: bytes, is_report: bool) -> None:
    assert (parse_delivery_status(delivery_status(BASE + more)) is not None) is is_report


@pytest.mark.parametrize(("size", "is_report"), [(1_046_000, True), (1_047_500, False)])
def test_a_notification_that_is_cut_is_none(size: int, is_report: bool) -> None:
    body = BASE + b"X: " + b"y" * 1000 + b"\r\n"
    content = report(part("text/plain", b"x" * size + b"\r\n"), part("message/delivery-status", body), HUMAN)
    assert content.index(b"Status: 5.1.1") < 1024 * 1024
    assert (parse_delivery_status(content) is not None) is is_report


@pytest.mark.parametrize("line", [b"\r\n", b"X: y\r\n", b"\n", b":\r\n"])
def test_endless_lines_are_counted_and_not_read(line: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery_status_room, "blocks", None)
    assert parse_delivery_status(delivery_status(BASE + line * 50_000)) is None


@settings(max_examples=300, deadline=None)
@given(
    st.integers(0, len(EXCHANGE)),
    st.integers(0, 40),
    st.one_of(st.binary(max_size=20), st.sampled_from([b"\r\n", b"\r\n\r\n", b":", b";", b"--", b'"', b"@"])),
)
def test_a_mutated_notification_is_one_or_none(start: int, length: int, octets: bytes) -> None:
    found = parse_delivery_status(EXCHANGE[:start] + octets + EXCHANGE[start + length :])
    assert found is None or len(found.recipients) > 0


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
def test_any_octets_are_read_without_an_exception(octets: bytes) -> None:
    parse_delivery_status(octets)
    parse_delivery_status(delivery_status(octets))
    parse_delivery_status(delivery_status(ABOUT_MESSAGE + b"\r\n" + octets))
    parse_delivery_status(delivery_status(BASE + b"Original-Recipient: rfc822;" + octets))
