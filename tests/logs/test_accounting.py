from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from kumo.config import AcctLog
from kumo.errors import ConfigError
from kumo.listener.interfaces import AccountingLog as WhatTheListenerAsks
from kumo.logs import AccountingLog
from kumo.message import AuthInfo, Identity
from tests.logs.samples import (
    Clock,
    Disk,
    is_read_only,
    make_connection,
    read_all,
    read_records,
    segments,
    until,
)

MakeAccounting = Callable[..., AccountingLog]


@pytest.fixture
def make_accounting(clock: Clock, disk: Disk) -> MakeAccounting:
    """Makes a started log on the fake clock and disk; the test closes it."""

    def make(config: AcctLog | None) -> AccountingLog:
        log = AccountingLog(
            config, clock.wall, monotonic=clock.monotonic, files=disk.calls, retry_interval=0.01
        )
        log.start()
        return log

    return make


def test_it_fits_what_the_listener_asks_for() -> None:
    log: WhatTheListenerAsks = AccountingLog(None)
    assert log is not None


async def test_a_success_and_a_failure_to_the_octet(make_accounting: MakeAccounting, log_dir: Path) -> None:
    log = make_accounting(AcctLog(log_dir=str(log_dir)))
    info = AuthInfo("192.0.2.9", [Identity("daniel", "SmtpAuthPlainAuthentication")], ["staff"])
    log.log_authentication(make_connection(auth_info=info), "daniel", success=True)
    log.log_authentication(make_connection(), 'ü"\n', success=False)
    await log.written()
    success, failure = read_all(log_dir)
    assert success == (
        b'{"type":"Authentication","timestamp":"2026-11-23T06:47:58.250Z",'
        b'"attempted_identity":{"identity":"daniel","context":"SmtpAuthPlainAuthentication"},"success":true,'
        b'"auth_info":{"peer_address":"192.0.2.9",'
        b'"identities":[{"identity":"daniel","context":"SmtpAuthPlainAuthentication"}],"groups":["staff"]}}\n'
    )
    assert failure == (
        b'{"type":"Authentication","timestamp":"2026-11-23T06:47:58.250Z",'
        b'"attempted_identity":{"identity":"\xc3\xbc\\"\\n","context":"SmtpAuthPlainAuthentication"},'
        b'"success":false,"auth_info":{"peer_address":"192.0.2.1","identities":[],"groups":[]}}\n'
    )
    await log.close()
    (segment,) = segments(log_dir)
    assert segment.name == "acct-20261123-064758.250"
    assert is_read_only(segment)


@pytest.mark.parametrize(
    ("parameters", "logged"),
    [
        ({}, [True, False]),
        ({"log_authn_ok": False}, [False]),
        ({"log_authn_fail": False}, [True]),
        ({"log_authn_ok": False, "log_authn_fail": False}, []),
        ({"log_authz_allow": False, "log_authz_deny": False}, [True, False]),
    ],
)
async def test_what_is_recorded_can_be_chosen(
    make_accounting: MakeAccounting, log_dir: Path, parameters: dict[str, bool], logged: list[bool]
) -> None:
    log = make_accounting(AcctLog(log_dir=str(log_dir), **parameters))  # type: ignore[arg-type] # booleans only
    log.log_authentication(make_connection(), "a", success=True)
    log.log_authentication(make_connection(), "a", success=False)
    await log.close()
    assert [record["success"] for record in read_records(log_dir)] == logged


async def test_without_a_configuration_nothing_happens(make_accounting: MakeAccounting, disk: Disk) -> None:
    log = make_accounting(None)
    log.log_authentication(make_connection(), "a", success=True)
    await log.written()
    await log.close()
    assert disk.opened == 0


async def test_what_comes_after_the_close_is_not_recorded(
    make_accounting: MakeAccounting, log_dir: Path
) -> None:
    log = make_accounting(AcctLog(log_dir=str(log_dir)))
    log.log_authentication(make_connection(), "a", success=True)
    await log.close()
    log.log_authentication(make_connection(), "b", success=True)
    assert len(read_records(log_dir)) == 1


async def test_segments_are_complete_when_they_are_old_enough(
    make_accounting: MakeAccounting, log_dir: Path, clock: Clock
) -> None:
    log = make_accounting(AcctLog(log_dir=str(log_dir), max_segment_duration=10.0))
    for _ in range(2):
        log.log_authentication(make_connection(), "a", success=True)
        await log.written()
        clock.advance(10)
    await log.close()
    assert [path.name for path in segments(log_dir)] == [
        "acct-20261123-064758.250",
        "acct-20261123-064808.250",
    ]


async def test_identities_that_are_not_unicode_are_mended(
    make_accounting: MakeAccounting, log_dir: Path
) -> None:
    log = make_accounting(AcctLog(log_dir=str(log_dir)))
    info = AuthInfo(None, [Identity("\udcff", "x")], ["\ud800"])
    log.log_authentication(make_connection(auth_info=info), "a\udc80", success=True)
    await log.close()
    (record,) = read_records(log_dir)
    assert record["attempted_identity"]["identity"] == "a\ufffd"
    assert record["auth_info"] == {
        "peer_address": None,
        "identities": [{"identity": "\ufffd", "context": "x"}],
        "groups": ["\ufffd"],
    }


async def test_attempts_beyond_twice_the_back_pressure_are_dropped_and_told(
    make_accounting: MakeAccounting, log_dir: Path, disk: Disk, caplog: pytest.LogCaptureFixture
) -> None:
    log = make_accounting(AcctLog(log_dir=str(log_dir), back_pressure=2))
    disk.room = 0
    for _ in range(10):
        log.log_authentication(make_connection(), "a", success=False)
    stuck = asyncio.create_task(log.written())
    await until(lambda: disk.refused)
    disk.room = None
    await stuck
    await log.close()
    assert len(read_records(log_dir)) == 4
    assert "6 attempts to authenticate are not logged: too many records wait" in caplog.text


def test_a_folder_that_cannot_be_made_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    log = AccountingLog(AcctLog(log_dir=str(tmp_path / "file" / "x")))
    with pytest.raises(
        ConfigError, match=r"kumo\.aaa\.configure_acct_log: log_dir .*/file/x: Not a directory"
    ):
        log.start()


def test_the_start_marks_what_an_earlier_process_left(make_accounting: MakeAccounting, log_dir: Path) -> None:
    log_dir.mkdir()
    left = log_dir / "acct-1"
    left.write_bytes(b"torn")
    log = make_accounting(AcctLog(log_dir=str(log_dir)))
    assert is_read_only(left)
    asyncio.run(log.close())
