"""How servers under comparison get their clients and processors."""

import importlib.util
import os
from collections import deque
from pathlib import Path
from unittest.mock import Mock

import pytest

from benchmarks.peers import Scenario, client_count, processors_for
from benchmarks.servers import AIOSMTPD, Kind, Server, kumod_copies, kumod_workers

MATCHED = Scenario("matched", 2048, 100, clients=2, is_matched=True)
SHARED = Scenario("shared", 2048, 100, clients=2)


@pytest.mark.parametrize(
    ("scenario", "workers", "count"), [(MATCHED, 1, 1), (MATCHED, 2, 2), (SHARED, 1, 2), (SHARED, 2, 2)]
)
def test_matched_each_process_of_a_server_has_one_client(
    scenario: Scenario, workers: int, count: int
) -> None:
    server = Server("kumod", Mock(), 25, Path(), deque(), workers)
    assert client_count(scenario, server) == count


@pytest.mark.parametrize(
    ("kind", "count"), [(kumod_workers(1), 1), (kumod_workers(2), 2), (kumod_copies(2), 2)]
)
def test_matched_a_server_has_a_processor_for_each_of_its_processes(
    kind: Kind, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = []
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {6, 3, 5, 4})
    monkeypatch.setattr(os, "sched_setaffinity", lambda _, processors: given.append(list(processors)))
    with processors_for(kind, MATCHED):
        assert given == [[3, 4][:count]]
    assert sorted(given[-1]) == [3, 4, 5, 6]


def test_otherwise_it_has_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    given = []
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 4})
    monkeypatch.setattr(os, "sched_setaffinity", lambda _, processors: given.append(set(processors)))
    with processors_for(kumod_workers(1), SHARED):
        assert all(processors == {3, 4} for processors in given)


def test_a_peer_that_is_not_installed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not AIOSMTPD.missing()
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    assert "aiosmtpd is not installed" in AIOSMTPD.missing()
