"""Fixtures of the logs' tests: a clock that stands still, a disk that fills up, a folder, started logs."""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kumo.config import LocalLogs
from kumo.logs import Logs
from tests.logs.samples import NODE_ID, Clock, Disk


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def disk() -> Disk:
    return Disk()


@pytest.fixture
def log_dir(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "logs"
    for path in tmp_path.rglob("*"):
        path.chmod(path.stat().st_mode | stat.S_IWUSR)


@pytest.fixture
def make_logs(clock: Clock, disk: Disk) -> Callable[..., Logs]:
    """Makes started logs on the fake clock and disk; the test closes them."""

    def make(*configs: LocalLogs, **options: Any) -> Logs:
        given: dict[str, Any] = {
            "monotonic": clock.monotonic,
            "files": disk.calls,
            "retry_interval": 0.01,
            **options,
        }
        logs = Logs(configs, NODE_ID, clock=clock.wall, **given)
        logs.start()
        return logs

    return make
