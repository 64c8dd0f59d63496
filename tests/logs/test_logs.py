from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from kumo.config import RECORD_TYPES, LocalLogs, RecordParameters
from kumo.egress import Disposition
from kumo.errors import ConfigError
from kumo.listener.interfaces import RejectionLog
from kumo.logs import Logs, RecordType
from kumo.message import Message
from kumo.queue.interfaces import QueueLog
from kumo.reception.interfaces import ReceptionLog
from kumo.smtp import Reply
from tests.logs.samples import (
    NODE_ID,
    PATIENCE,
    SESSION_ID,
    Clock,
    Disk,
    address,
    is_read_only,
    make_connection,
    make_message,
    read_all,
    read_lines,
    read_records,
    segments,
    until,
)

DISPOSITION = Disposition(
    delivered=(address("bob@example.org"),),
    failed=(address("carol@example.org"),),
    delivered_response="bob@example.org: ok",
    failed_response="carol@example.org: no",
    delivery_protocol="Maildir",
    session_id=SESSION_ID,
)

MakeLogs = Callable[..., Logs]


def log_reception(logs: Logs, **changes: Any) -> None:
    assert logs.log_reception(make_message(**changes), make_connection(), "example.org") is None


def log_rejection(
    logs: Logs, code: int = 550, text: str = "5.7.1 no", meta: dict[str, Any] | None = None
) -> None:
    logs.log_rejection(make_connection(meta=meta or {}), Reply(code, text), "DATA", None, None)


def types(directory: Path, pattern: str = "*") -> list[str]:
    return [record["type"] for record in read_records(directory, pattern)]


def test_the_logs_fit_what_the_other_rooms_ask_for() -> None:
    logs = Logs([], NODE_ID)
    rejections: RejectionLog = logs
    receptions: ReceptionLog = logs
    outcomes: QueueLog = logs
    assert {id(rejections), id(receptions), id(outcomes)} == {id(logs)}


def test_every_type_that_a_policy_may_name_is_known() -> None:
    assert tuple(kind.value for kind in RecordType) == RECORD_TYPES


async def test_without_a_logger_nothing_happens() -> None:
    logs = Logs([], NODE_ID)
    logs.start()
    log_reception(logs)
    log_rejection(logs)
    await logs.log_disposition(make_message(), DISPOSITION, "q")
    await logs.log_expiration(make_message(), "q", "too old")
    await logs.written()
    assert logs.backlog == 0
    await logs.close()
    log_reception(logs)


async def test_every_event_has_its_record(make_logs: MakeLogs, log_dir: Path) -> None:
    logs = make_logs(LocalLogs(log_dir=str(log_dir)))
    log_reception(logs)
    log_rejection(logs)
    await logs.log_disposition(make_message(), DISPOSITION, "example.org")
    assert types(log_dir) == ["Reception", "Rejection", "Delivery", "TransientFailure"]
    await logs.log_expiration(make_message(), "example.org", "too old")
    assert types(log_dir)[-1] == "Expiration"
    await logs.close()
    (segment,) = segments(log_dir)
    assert is_read_only(segment)
    assert len(read_lines(segment)) == 5


async def test_every_rejection_is_logged_that_the_listener_gives(make_logs: MakeLogs, log_dir: Path) -> None:
    """Which reply is none is the listener's to know; its counter needs it, too."""
    logs = make_logs(LocalLogs(log_dir=str(log_dir)))
    log_rejection(logs, 421, "4.3.2 mx.example.org shutting down")
    await logs.close()
    assert types(log_dir) == ["Rejection"]


async def test_meta_and_headers_are_selected_for_each_logger(make_logs: MakeLogs, tmp_path: Path) -> None:
    logs = make_logs(
        LocalLogs(log_dir=str(tmp_path / "a"), meta=("tenant", "x_*", "none"), headers=("subject", "x-*")),
        LocalLogs(log_dir=str(tmp_path / "b"), meta=("campaign",)),
        LocalLogs(log_dir=str(tmp_path / "c"), headers=("Subject",)),
    )
    meta = {"tenant": "t", "campaign": "c", "x_1": 1, "none": None}
    log_reception(logs, meta=meta, body=b"Subject: hi\r\nX-A: 1\r\nX-a: 2\r\n\r\n")
    log_rejection(logs, meta={"tenant": "session"})
    await logs.close()
    selected = {
        name: [(record["meta"], record["headers"]) for record in read_records(tmp_path / name)]
        for name in "abc"
    }
    assert selected == {
        "a": [
            ({"tenant": "t", "x_1": 1}, {"Subject": "hi", "X-A": ["1", "2"]}),
            ({"tenant": "session"}, {}),
        ],
        "b": [({"campaign": "c"}, {}), ({}, {})],
        "c": [({}, {"Subject": "hi"}), ({}, {})],
    }


async def test_meta_is_logged_as_it_was_at_the_time(make_logs: MakeLogs, log_dir: Path) -> None:
    logs = make_logs(LocalLogs(log_dir=str(log_dir), meta=("n",)))
    message = make_message(meta={"n": 1})
    assert logs.log_reception(message, make_connection(), "q") is None
    message.meta["n"] = 2
    await logs.close()
    assert [record["meta"] for record in read_records(log_dir)] == [{"n": 1}]


async def test_per_record_sends_types_to_their_places(
    make_logs: MakeLogs, log_dir: Path, tmp_path: Path
) -> None:
    logs = make_logs(
        LocalLogs(
            log_dir=str(log_dir),
            per_record={
                "Reception": RecordParameters(suffix=".recv", segment_header="# received\n"),
                "Delivery": RecordParameters(
                    log_dir=str(tmp_path / "delivered"), template="{{ type }} {{ id }}"
                ),
                "TransientFailure": RecordParameters(enable=False),
                "Any": RecordParameters(suffix=".any"),
            },
        )
    )
    log_reception(logs)
    log_rejection(logs)
    await logs.log_disposition(make_message(), DISPOSITION, "q")
    await logs.close()
    assert read_all(log_dir, "*.recv")[0] == b"# received\n"
    assert [path.name.rpartition(".")[2] for path in segments(log_dir)] == ["any", "recv"]
    assert types(log_dir, "*.any") == ["Rejection"]
    assert read_all(tmp_path / "delivered") == [b"Delivery d161520fe70911f189f502fc00000001\n"]


async def test_an_explicit_type_beats_any_as_a_whole(make_logs: MakeLogs, log_dir: Path) -> None:
    logs = make_logs(
        LocalLogs(
            log_dir=str(log_dir),
            per_record={
                "Any": RecordParameters(enable=False, suffix=".any", template="any"),
                "Rejection": RecordParameters(),
            },
        )
    )
    log_reception(logs)
    log_rejection(logs)
    await logs.close()
    assert types(log_dir) == ["Rejection"]
    assert [path.suffix for path in segments(log_dir)] == [".250"]


async def test_a_template_that_fails_costs_its_record_only(
    make_logs: MakeLogs, log_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    broken = RecordParameters(template="{{ 1 // num_attempts }}")
    logs = make_logs(
        LocalLogs(log_dir=str(log_dir), per_record={"Reception": broken, "Rejection": broken}),
        LocalLogs(log_dir=str(log_dir)),
    )
    log_reception(logs)
    log_rejection(logs)
    await logs.close()
    assert types(log_dir) == ["Reception", "Rejection"]
    assert caplog.text.count("the template for Reception failed; the record is not logged") == 1
    assert caplog.text.count("the template for Rejection failed; the record is not logged") == 1


async def test_two_loggers_on_one_folder_write_two_files(make_logs: MakeLogs, log_dir: Path) -> None:
    logs = make_logs(LocalLogs(log_dir=str(log_dir)), LocalLogs(log_dir=str(log_dir)))
    log_reception(logs)
    await logs.close()
    assert [len(read_lines(path)) for path in segments(log_dir)] == [1, 1]


@pytest.mark.parametrize(
    ("per_record", "detail"),
    [
        (
            {"OOB": RecordParameters(suffix="/../x")},
            "per_record.OOB.suffix: '/../x' is no end of a file name",
        ),
        ({"OOB": RecordParameters(suffix="a\0")}, "per_record.OOB.suffix: 'a\\x00' is no end of a file name"),
    ],
)
def test_a_configuration_that_cannot_work_is_refused(
    log_dir: Path, per_record: dict[str, RecordParameters], detail: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        Logs([LocalLogs(log_dir=str(log_dir), per_record=per_record)], NODE_ID)
    assert caught.value.detail == detail
    assert caught.value.constructor == "kumo.configure_local_logs"


def test_a_folder_that_cannot_be_made_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    logs = Logs(
        [
            LocalLogs(
                log_dir=str(tmp_path / "good"),
                per_record={"OOB": RecordParameters(log_dir=str(tmp_path / "file" / "x"))},
            )
        ],
        NODE_ID,
    )
    with pytest.raises(ConfigError, match=r"kumo\.configure_local_logs: log_dir .*/file/x: Not a directory"):
        logs.start()


def test_the_start_marks_segments_of_an_earlier_process(make_logs: MakeLogs, tmp_path: Path) -> None:
    left = [tmp_path / "a" / "1", tmp_path / "b" / "2"]
    for path in left:
        path.parent.mkdir()
        path.write_bytes(b"torn")
    logs = make_logs(
        LocalLogs(
            log_dir=str(tmp_path / "a"), per_record={"OOB": RecordParameters(log_dir=str(tmp_path / "b"))}
        )
    )
    assert [is_read_only(path) for path in left] == [True, True]
    asyncio.run(logs.close())


# --- the filter --------------------------------------------------------------------------------


async def later(verdict: object) -> object:
    await asyncio.sleep(0)
    if isinstance(verdict, Exception):
        raise verdict
    return verdict


@pytest.mark.parametrize("is_later", [False, True])
@pytest.mark.parametrize(
    ("verdict", "logged"),
    [
        (True, ["Reception", "Rejection"]),
        (False, ["Rejection"]),
        (ValueError("broken handler"), ["Rejection"]),
    ],
)
async def test_the_filter_is_asked_about_records_of_messages(
    make_logs: MakeLogs,
    log_dir: Path,
    caplog: pytest.LogCaptureFixture,
    verdict: object,
    logged: list[str],
    is_later: bool,
) -> None:
    asked = []

    def ask(event: str, message: Message) -> Any:
        asked.append((event, message.id))
        if is_later:
            return later(verdict)
        if isinstance(verdict, Exception):
            raise verdict
        return verdict

    message = make_message()
    logs = make_logs(LocalLogs(log_dir=str(log_dir), filter_event="should_log"), record_filter=ask)
    pending = logs.log_reception(message, make_connection(), "q")
    assert (pending is not None) is is_later
    if pending is not None:
        await pending
    log_rejection(logs)
    await logs.close()
    assert types(log_dir) == logged
    assert asked == [("should_log", message.id)]
    assert ("event should_log failed" in caplog.text) is isinstance(verdict, Exception)


async def test_a_filter_decides_for_its_own_logger_only(make_logs: MakeLogs, tmp_path: Path) -> None:
    def ask(event: str, _: Message) -> Awaitable[bool]:
        async def answer() -> bool:
            await asyncio.sleep(0)
            return event == "yes"

        return answer()

    logs = make_logs(
        LocalLogs(log_dir=str(tmp_path / "yes"), filter_event="yes"),
        LocalLogs(log_dir=str(tmp_path / "no"), filter_event="no"),
        LocalLogs(log_dir=str(tmp_path / "any")),
        record_filter=ask,
    )
    pending = logs.log_reception(make_message(), make_connection(), "q")
    assert pending is not None
    await pending
    await logs.log_disposition(make_message(), DISPOSITION, "q")
    await logs.close()
    assert types(tmp_path / "yes") == ["Reception", "Delivery", "TransientFailure"]
    assert types(tmp_path / "no") == []
    assert types(tmp_path / "any") == ["Reception", "Delivery", "TransientFailure"]


async def test_the_filter_is_not_asked_for_a_type_that_is_off(make_logs: MakeLogs, log_dir: Path) -> None:
    def ask(event: str, message: Message) -> bool:
        raise AssertionError(f"{event} asked about {message.id}")

    off = {"Any": RecordParameters(enable=False)}
    logs = make_logs(LocalLogs(log_dir=str(log_dir), filter_event="f", per_record=off), record_filter=ask)
    log_reception(logs)
    await logs.close()
    assert types(log_dir) == []


def test_a_filter_event_needs_somebody_to_ask(log_dir: Path) -> None:
    with pytest.raises(ValueError, match="a filter event needs a record_filter"):
        Logs([LocalLogs(log_dir=str(log_dir), filter_event="f")], NODE_ID)


# --- disks -------------------------------------------------------------------------------------


async def test_back_pressure_makes_receptions_wait_and_rejections_not(
    make_logs: MakeLogs, log_dir: Path, disk: Disk
) -> None:
    logs = make_logs(LocalLogs(log_dir=str(log_dir), back_pressure=3))
    disk.room = 0
    log_reception(logs)
    stuck = asyncio.create_task(logs.written())
    await until(lambda: disk.refused)
    for _ in range(3):
        log_reception(logs)
    assert logs.backlog == 3

    pending = logs.log_reception(make_message(), make_connection(), "q")
    assert pending is not None
    waiting = asyncio.ensure_future(pending)
    attempt = asyncio.create_task(logs.log_disposition(make_message(), DISPOSITION, "q"))
    refused = disk.refused
    await until(lambda: disk.refused >= refused + 3)
    assert not waiting.done()
    assert not attempt.done()
    log_rejection(logs)
    assert logs.backlog == 4

    disk.room = None
    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(stuck, waiting, attempt)
    await logs.close()
    assert sorted(types(log_dir)) == sorted(["Reception"] * 5 + ["Rejection", "Delivery", "TransientFailure"])


async def test_who_waits_for_room_gets_his_turn_when_the_waiters_are_released(
    make_logs: MakeLogs, log_dir: Path, disk: Disk
) -> None:
    logs = make_logs(LocalLogs(log_dir=str(log_dir), back_pressure=1))
    disk.room = 0
    log_reception(logs)
    attempt = asyncio.create_task(logs.log_disposition(make_message(), DISPOSITION, "q"))
    await until(lambda: disk.refused)
    log_reception(logs)
    pending = [logs.log_reception(make_message(), make_connection(), "q") for _ in range(3)]
    waiting = [asyncio.ensure_future(wait) for wait in pending if wait is not None]
    assert len(waiting) == 3
    refused = disk.refused
    await until(lambda: disk.refused >= refused + 3)
    assert not any(task.done() for task in waiting)

    logs.release_waiters()
    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(*waiting)
    log_reception(logs)  # never waits again
    assert not attempt.done(), "an outcome is not claimed before it is written"
    disk.room = None
    async with asyncio.timeout(PATIENCE):
        await attempt
    await logs.close()
    assert sorted(types(log_dir)) == ["Delivery", *["Reception"] * 6, "TransientFailure"]


async def test_released_waiters_let_closing_end_on_a_full_disk(
    make_logs: MakeLogs, log_dir: Path, disk: Disk, caplog: pytest.LogCaptureFixture
) -> None:
    logs = make_logs(LocalLogs(log_dir=str(log_dir), back_pressure=1))
    disk.room = 0
    log_reception(logs)
    stuck = asyncio.create_task(logs.written())
    await until(lambda: disk.refused)
    log_reception(logs)
    pending = logs.log_reception(make_message(), make_connection(), "q")
    assert pending is not None
    waiting = asyncio.ensure_future(pending)
    await asyncio.sleep(0)  # it waits
    logs.release_waiters()
    async with asyncio.timeout(PATIENCE):
        await waiting
        await logs.close()
    with pytest.raises(OSError, match="No space left"):
        await stuck
    assert "log records are lost: 2 at least" in caplog.text


async def test_rejections_beyond_twice_the_back_pressure_are_dropped_counted_and_told_once_a_minute(
    make_logs: MakeLogs, log_dir: Path, disk: Disk, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    def told() -> list[str]:
        return [text for text in caplog.messages if "rejections are not logged" in text]

    logs = make_logs(LocalLogs(log_dir=str(log_dir), back_pressure=3))
    disk.room = 0
    log_reception(logs)
    stuck = asyncio.create_task(logs.written())
    await until(lambda: disk.refused)
    for _ in range(50):
        log_rejection(logs)
    assert logs.backlog == 6
    await until(told)
    # The thread may have looked while they were being dropped.
    first = int(told()[0].split()[0])
    assert 1 <= first <= 44
    log_rejection(logs)
    refused = disk.refused
    await until(lambda: disk.refused >= refused + 3)
    assert len(told()) == 1
    clock.advance(60)
    await until(lambda: len(told()) == 2)
    assert told()[1] == f"{45 - first} rejections are not logged: too many records wait"
    log_rejection(logs)
    disk.room = None
    async with asyncio.timeout(PATIENCE):
        await stuck
    await logs.written()
    log_rejection(logs)
    await logs.close()
    assert told()[2:] == ["1 rejections are not logged: too many records wait"]
    assert types(log_dir) == ["Reception"] + ["Rejection"] * 7


async def test_one_who_gives_up_waiting_for_room_logs_nothing(
    make_logs: MakeLogs, log_dir: Path, disk: Disk
) -> None:
    logs = make_logs(LocalLogs(log_dir=str(log_dir), back_pressure=1))
    disk.room = 0
    log_reception(logs)
    stuck = asyncio.create_task(logs.written())
    await until(lambda: disk.refused)
    log_reception(logs)
    pending = logs.log_reception(make_message(), make_connection(), "q")
    assert pending is not None
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02):
            await pending
    disk.room = None
    await stuck
    await logs.close()
    assert types(log_dir) == ["Reception"] * 2


async def test_an_outcome_that_was_not_written_is_not_claimed(
    make_logs: MakeLogs, log_dir: Path, disk: Disk
) -> None:
    logs = make_logs(LocalLogs(log_dir=str(log_dir)))
    disk.room = 0
    attempt = asyncio.create_task(logs.log_disposition(make_message(), DISPOSITION, "q"))
    await until(lambda: disk.refused)
    async with asyncio.timeout(PATIENCE):
        await logs.close()
        with pytest.raises(OSError, match="No space left"):
            await attempt


async def test_closed_logs_claim_nothing(make_logs: MakeLogs, log_dir: Path) -> None:
    logs = make_logs(LocalLogs(log_dir=str(log_dir)))
    await logs.close()
    await logs.close()
    log_rejection(logs)
    with pytest.raises(RuntimeError, match="the logs are closed"):
        logs.log_reception(make_message(), make_connection(), "q")
    with pytest.raises(RuntimeError, match="the logs are closed"):
        await logs.log_disposition(make_message(), DISPOSITION, "q")
    assert segments(log_dir) == []


VICTIM = """
import asyncio, sys
from kumo.config import RECORD_TYPES, LocalLogs
from kumo.logs import Logs
from tests.logs.samples import NODE_ID, make_connection, make_message

async def main():
    logs = Logs([LocalLogs(log_dir=sys.argv[1])], NODE_ID)
    logs.start()
    for _ in range(500):
        logs.log_reception(make_message(), make_connection(), "example.org")
    await logs.written()
    print("written", flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


def test_what_was_written_outlives_a_kill(log_dir: Path) -> None:
    root = Path(__file__).resolve().parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", VICTIM, str(log_dir)], cwd=root, stdout=subprocess.PIPE, text=True
    ) as victim:
        try:
            assert victim.stdout is not None
            assert victim.stdout.readline() == "written\n"
        finally:
            victim.send_signal(signal.SIGKILL)
    assert victim.returncode == -signal.SIGKILL
    assert types(log_dir) == ["Reception"] * 500
    (segment,) = segments(log_dir)
    unfinished = subprocess.run(["zstd", "-dc", segment], capture_output=True, check=False)
    assert unfinished.stdout.count(b"\n") == 500
    assert not is_read_only(segment)
    survivor = Logs([LocalLogs(log_dir=str(log_dir))], NODE_ID)
    survivor.start()
    assert is_read_only(segment)
    asyncio.run(survivor.close())
