"""Records of complaints and of delivery status notifications, and which logger gets them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kumo.config import LocalLogs, RecordParameters
from kumo.logs import Logs
from kumo.logs import record as record_module
from kumo.logs.record import LogRecord, encode_record, record_fields
from kumo.logs.session_records import feedback_record, out_of_band_records, reception_record
from kumo.message import DeliveryStatus, FeedbackReport, Message, MtaName, RecipientStatus
from kumo.smtp import POSTMASTER
from tests.logs.samples import (
    NODE_ID,
    NOW,
    PATIENCE,
    Disk,
    address,
    make_connection,
    make_message,
    read_records,
    segments,
    until,
)

MakeLogs = Callable[..., Logs]

FEEDBACK = FeedbackReport(feedback_type="abuse", user_agent="x", version="1", original_message=[255, 10])


def recipient_status(**changes: Any) -> RecipientStatus:
    values: dict[str, Any] = {
        "final_recipient": address("user@example.net"),
        "action": "failed",
        "status": "5.1.1",
        "diagnostic_type": "smtp",
        "diagnostic": "550 5.1.1 no such user",
    }
    return RecipientStatus(**values | changes)


def delivery_status(*recipients: RecipientStatus) -> DeliveryStatus:
    return DeliveryStatus(
        reporting_mta=MtaName("dns", "mx.example.net"), recipients=recipients or (recipient_status(),)
    )


def out_of_band(status: DeliveryStatus, message: Message | None = None, **session: Any) -> list[LogRecord]:
    return list(
        out_of_band_records(
            message or make_message(), make_connection(**session), "q", status, node_id=NODE_ID, now=NOW
        )
    )


def test_a_feedback_record_differs_from_the_reception_record_in_two_keys() -> None:
    reception = reception_record(make_message(), make_connection(), "q", node_id=NODE_ID, now=NOW)
    record = feedback_record(reception, FEEDBACK)
    before, after = encode_record(reception), encode_record(record)
    assert after == before.replace(b'"Reception"', b'"Feedback"').replace(
        b'"feedback_report":null',
        b'"feedback_report":{"feedback_type":"abuse","user_agent":"x","version":"1","arrival_date":null,'
        b'"incidents":null,"original_envelope_id":null,"original_mail_from":null,"reporting_mta":null,'
        b'"source_ip":null,"authentication_results":[],"original_rcpto_to":[],"reported_domain":[],'
        b'"reported_uri":[],"extensions":{},"original_message":[255,10],"supplemental_trace":null}',
    )


def test_a_reported_message_is_not_walked_through_for_text_to_mend(monkeypatch: pytest.MonkeyPatch) -> None:
    walked: list[object] = []
    monkeypatch.setattr(record_module, "mended", walked.append)
    reception = reception_record(make_message(), make_connection(), "q", node_id=NODE_ID, now=NOW)
    fields = record_fields(feedback_record(reception, FEEDBACK))
    assert fields["feedback_report"]["original_message"] == [255, 10]
    assert len(walked) == len(fields) - 1


def test_an_oob_record_to_the_octet() -> None:
    (record,) = out_of_band(
        delivery_status(recipient_status(last_attempt=1_795_416_400.0)),
        tls_protocol_version="TLSv1_3",
        tls_cipher="C",
    )
    assert encode_record(record) == (
        b'{"type":"OOB","id":"d161520fe70911f189f502fc00000001","sender":"bob@example.org",'
        b'"recipient":"user@example.net","queue":"q","site":"","size":0,'
        b'"response":{"code":550,"enhanced_code":{"class":5,"subject":1,"detail":1},'
        b'"content":"5.1.1 no such user","command":null},'
        b'"peer_address":{"name":"mx.example.net","addr":"192.0.2.1"},"timestamp":1795416400,'
        b'"event_time":"2026-11-23T06:46:40Z","created":1795416477,'
        b'"created_time":"2026-11-23T06:47:57.873409500Z","num_attempts":0,'
        b'"bounce_classification":"Uncategorized","egress_pool":null,"egress_source":null,'
        b'"source_address":null,"feedback_report":null,"meta":{},"headers":{},"delivery_protocol":null,'
        b'"reception_protocol":"ESMTP","nodeid":"01234567-89ab-4cde-8f01-23456789abcd",'
        b'"session_id":"11111111-2222-4333-8444-555555555555"}\n'
    )


@pytest.mark.parametrize("action", ["delayed", "delivered", "relayed", "expanded"])
def test_only_recipients_that_failed_have_an_oob_record(action: str) -> None:
    status = delivery_status(recipient_status(), recipient_status(action=action), recipient_status())
    assert len(out_of_band(status)) == 2


@pytest.mark.parametrize(
    ("changes", "recipient"),
    [
        ({}, "user@example.net"),
        ({"original_recipient": address("asked@example.org")}, "asked@example.org"),
        ({"original_recipient": "/X400/"}, "/X400/"),
        ({"final_recipient": "/X400/"}, "/X400/"),
        ({"final_recipient": POSTMASTER}, "Postmaster"),
    ],
)
def test_the_recipient_is_the_original_one(changes: dict[str, Any], recipient: str) -> None:
    (record,) = out_of_band(delivery_status(recipient_status(**changes)))
    assert record.recipient == recipient


@pytest.mark.parametrize(
    ("kind", "text", "code", "content"),
    [
        ("smtp", "551 not our customer", 551, "not our customer"),
        ("SMTP", "551 not our customer", 551, "not our customer"),
        ("smtp", "550 5.7.1 no", 550, "5.7.1 no"),
        ("smtp", "550 ", 550, ""),
        ("smtp", "550", 550, "550"),
        ("smtp", "551-5.1.1 no", 550, "551-5.1.1 no"),
        ("smtp", "no such user", 550, "no such user"),
        ("smtp", "65535 x", 65535, "x"),
        ("smtp", "65536 x", 550, "65536 x"),
        ("smtp", "\u0665\u0665\u0661 x", 550, "\u0665\u0665\u0661 x"),
        ("smtp", "", 550, ""),
        ("x-unix", "551 x", 550, ""),
        (None, None, 550, ""),
    ],
)
def test_the_response_comes_from_an_smtp_diagnostic(
    kind: str | None, text: str | None, code: int, content: str
) -> None:
    status = recipient_status(status="4.4.7", diagnostic_type=kind, diagnostic=text)
    (record,) = out_of_band(delivery_status(status))
    assert msgspec.to_builtins(record.response) == {
        "code": code,
        "enhanced_code": {"class": 4, "subject": 4, "detail": 7},
        "content": content,
        "command": None,
    }


def test_a_notification_to_several_has_the_first_as_sender() -> None:
    message = make_message(recipients=[address("a@example.org"), address("b@example.org")])
    assert [record.sender for record in out_of_band(delivery_status(), message)] == ["a@example.org"]
    assert [record.timestamp for record in out_of_band(delivery_status())] == [NOW // 10**9]


# --- which logger gets which -------------------------------------------------------------------


async def log(logs: Logs, **reports: Any) -> None:
    pending = logs.log_reception(make_message(), make_connection(), "q", **reports)
    if pending is not None:
        await pending


def types(directory: Path, pattern: str = "*") -> list[str]:
    return [record["type"] for record in read_records(directory, pattern)]


@pytest.mark.parametrize(
    ("reports", "logged"),
    [
        ({}, ["Reception"]),
        ({"feedback": FEEDBACK}, ["Feedback"]),
        ({"feedback": FEEDBACK, "delivery_status": delivery_status()}, ["Feedback"]),
        ({"feedback": FEEDBACK, "is_dropped_report": True}, ["Feedback"]),
        (
            {"delivery_status": delivery_status(recipient_status(), recipient_status())},
            ["Reception", "OOB", "OOB"],
        ),
        ({"delivery_status": delivery_status(), "is_dropped_report": True}, ["OOB"]),
        ({"delivery_status": delivery_status(recipient_status(action="delayed"))}, ["Reception"]),
        ({"is_dropped_report": True}, ["Reception"]),
    ],
)
async def test_what_a_report_is_logged_as(
    make_logs: MakeLogs, log_dir: Path, reports: dict[str, Any], logged: list[str]
) -> None:
    logs = make_logs(LocalLogs(log_dir=str(log_dir)))
    await log(logs, **reports)
    await logs.close()
    assert types(log_dir) == logged


@pytest.mark.parametrize(
    ("per_record", "logged"),
    [
        ({"OOB": RecordParameters(enable=False)}, ["Reception", "OOB"]),
        ({"OOB": RecordParameters(enable=False, suffix=".oob")}, ["Reception", "OOB"]),
        ({"Reception": RecordParameters(enable=False)}, []),
        ({"Any": RecordParameters(enable=False)}, []),
        ({"Any": RecordParameters(enable=False), "OOB": RecordParameters()}, []),
        ({"Any": RecordParameters(enable=False), "Reception": RecordParameters()}, ["Reception", "OOB"]),
    ],
)
async def test_the_switch_of_reception_decides_for_oob(
    make_logs: MakeLogs, log_dir: Path, per_record: dict[str, RecordParameters], logged: list[str]
) -> None:
    logs = make_logs(LocalLogs(log_dir=str(log_dir), per_record=per_record))
    await log(logs, delivery_status=delivery_status())
    await logs.close()
    assert sorted(types(log_dir), reverse=True) == logged


@pytest.mark.parametrize("enable", [True, False])
async def test_oob_records_go_to_their_own_place_in_their_own_form(
    make_logs: MakeLogs, log_dir: Path, tmp_path: Path, enable: bool
) -> None:
    own = RecordParameters(
        log_dir=str(tmp_path / "oob"), suffix=".oob", template='{"type":"{{ type }}!"}', enable=enable
    )
    logs = make_logs(LocalLogs(log_dir=str(log_dir), per_record={"OOB": own}))
    assert (tmp_path / "oob").is_dir()
    await log(logs, delivery_status=delivery_status())
    await logs.close()
    assert types(log_dir) == ["Reception"]
    assert types(tmp_path / "oob", "*.oob") == ["OOB!"]


async def later(verdict: bool) -> bool:
    await asyncio.sleep(0)
    return verdict


@pytest.mark.parametrize("is_later", [False, True])
@pytest.mark.parametrize(("verdict", "logged"), [(True, ["Reception", "OOB", "OOB"]), (False, [])])
async def test_the_filter_is_asked_once_about_a_notification(
    make_logs: MakeLogs, log_dir: Path, verdict: bool, is_later: bool, logged: list[str]
) -> None:
    asked: list[tuple[str, str]] = []

    def record_filter(event: str, message: Message) -> Any:
        asked.append((event, message.id))
        return later(verdict) if is_later else verdict

    logs = make_logs(LocalLogs(log_dir=str(log_dir), filter_event="wanted"), record_filter=record_filter)
    await log(logs, delivery_status=delivery_status(recipient_status(), recipient_status()))
    await logs.close()
    assert types(log_dir) == logged
    assert asked == [("wanted", make_message().id)]


async def test_a_filter_that_fails_keeps_a_notification_out(
    make_logs: MakeLogs, log_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def record_filter(event: str, message: Message) -> bool:
        raise ValueError(event, message)

    logs = make_logs(LocalLogs(log_dir=str(log_dir), filter_event="wanted"), record_filter=record_filter)
    await log(logs, delivery_status=delivery_status())
    await logs.close()
    assert segments(log_dir) == []
    assert "event wanted failed; the record is not logged" in caplog.text


async def test_each_logger_decides_and_selects_for_itself(make_logs: MakeLogs, tmp_path: Path) -> None:
    off = {"Reception": RecordParameters(enable=False)}
    logs = make_logs(
        LocalLogs(log_dir=str(tmp_path / "a"), meta=("reception_protocol",), headers=("Subject",)),
        LocalLogs(log_dir=str(tmp_path / "b"), per_record=off),
        LocalLogs(log_dir=str(tmp_path / "c")),
    )
    await log(logs, delivery_status=delivery_status())
    await logs.close()
    selected = [
        (record["type"], record["meta"], record["headers"]) for record in read_records(tmp_path / "a")
    ]
    assert selected == [
        (kind, {"reception_protocol": "ESMTP"}, {"Subject": "hi"}) for kind in ("Reception", "OOB")
    ]
    assert types(tmp_path / "b") == []
    assert types(tmp_path / "c") == ["Reception", "OOB"]


async def test_others_have_their_turn_while_a_long_notification_is_logged(
    make_logs: MakeLogs, log_dir: Path
) -> None:
    logs = make_logs(LocalLogs(log_dir=str(log_dir)))
    turns = 0
    is_done = False

    async def other() -> None:
        nonlocal turns
        while not is_done:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(other())
    await log(logs, delivery_status=delivery_status(*[recipient_status()] * 200))
    is_done = True
    await task
    await logs.close()
    assert turns >= 4
    assert len(types(log_dir)) == 201


async def test_oob_records_wait_for_room(make_logs: MakeLogs, log_dir: Path, disk: Disk) -> None:
    logs = make_logs(LocalLogs(log_dir=str(log_dir), back_pressure=2))
    disk.room = 0
    await log(logs)
    stuck = asyncio.create_task(logs.written())
    await until(lambda: disk.refused)
    task = asyncio.create_task(log(logs, delivery_status=delivery_status(*[recipient_status()] * 5)))
    await until(lambda: logs.backlog == 2)
    assert not task.done()
    disk.room = None
    async with asyncio.timeout(PATIENCE):
        await task
        await stuck
    await logs.close()
    assert types(log_dir) == ["Reception"] * 2 + ["OOB"] * 5


async def test_reports_without_a_logger_are_not_looked_at() -> None:
    logs = Logs([], NODE_ID)
    assert (
        logs.log_reception(make_message(), make_connection(), "q", delivery_status=delivery_status()) is None
    )


async def test_a_report_after_the_close_is_refused(make_logs: MakeLogs, log_dir: Path) -> None:
    logs = make_logs(LocalLogs(log_dir=str(log_dir)))
    await logs.close()
    with pytest.raises(RuntimeError, match="the logs are closed"):
        await log(logs, delivery_status=delivery_status())


# --- what becomes of a message whose policy event was deferred ----------------------------------


async def test_decisions_are_written_through(make_logs: MakeLogs, log_dir: Path) -> None:
    logs = make_logs(LocalLogs(log_dir=str(log_dir)))
    message = make_message()
    message.num_attempts = 2
    await logs.log_deferred_injection_rebind(message, "example.org")
    await logs.log_transient_failure(message, "deferred", 450, "4.3.0 later\r\n4.3.0 please")
    await logs.log_bounce(message, "deferred", 550, "no", delivery_protocol="DeferredSmtpInjection")
    records = read_records(log_dir)
    shown = [
        (record["type"], record["queue"], record["delivery_protocol"], record["response"])
        for record in records
    ]
    later_code = {"class": 4, "subject": 3, "detail": 0}
    assert shown == [
        (
            "DeferredInjectionRebind",
            "example.org",
            "DeferredSmtpInjection",
            {"code": 250, "enhanced_code": None, "content": "ok", "command": None},
        ),
        (
            "TransientFailure",
            "deferred",
            None,
            {"code": 450, "enhanced_code": later_code, "content": "later please", "command": None},
        ),
        (
            "Bounce",
            "deferred",
            "DeferredSmtpInjection",
            {"code": 550, "enhanced_code": None, "content": "no", "command": None},
        ),
    ]
    assert {
        (record["peer_address"], record["num_attempts"], "session_id" in record) for record in records
    } == {(None, 2, False)}
    await logs.close()


async def test_decisions_without_a_logger_are_not_written() -> None:
    logs = Logs([], NODE_ID)
    await logs.log_deferred_injection_rebind(make_message(), "q")
    await logs.log_transient_failure(make_message(), "q", 450, "later")
    await logs.log_bounce(make_message(), "q", 550, "no")
    assert logs.backlog == 0
