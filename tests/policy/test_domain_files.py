"""The files of listener domains: which entry a name finds, and when files are read again."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from kumo.maybe_awaitable import is_awaitable
from kumo.policy.domain_files import DomainFiles, DomainTable

LONG_AGO = 10**18


def no_problems(_parameters: dict[Any, Any]) -> Iterable[str]:
    return ()


@pytest.mark.parametrize(
    ("names", "domain", "found"),
    [
        (["a.b"], "a.b", "a.b"),
        (["a.b"], "A.B", "a.b"),
        (["A.B"], "a.b", "a.b"),
        (["a.b"], "b", None),
        (["a.b"], "x.a.b", None),
        (["a.b"], "xa.b", None),
        (["*.b"], "b", None),
        (["*.b"], "a.b", "*.b"),
        (["*.b"], "x.a.b", "*.b"),
        (["*.b", "*.a.b"], "x.a.b", "*.a.b"),
        (["*.b", "*.a.b"], "a.b", None),
        (["*.b", "x.a.b"], "y.a.b", None),
        (["*.b", "x.a.b"], "y.b", "*.b"),
        (["*"], "a.b", "*"),
        (["*"], "", "*"),
        (["*", "a.b"], "b", "*"),
        (["*", "*.b"], "b", "*"),
        (["*", "x.a.b"], "y.a.b", "*"),
        ([""], "", ""),
        (["a"], "", None),
        (["a"], ".a", None),
        (["a"], "a.", None),
        ([], "a", None),
    ],
)
def test_names_and_wildcards(names: list[str], domain: str, found: str | None) -> None:
    table = DomainTable([("x", {name: {"name": name.lower()} for name in names})], no_problems)
    entry = table.find("127.0.0.1:25", domain)
    assert (None if entry is None else entry.parameters["name"]) == found


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ([1], "expected a table of domains, not a table"),
        ("x", "expected a table of domains, not a string"),
        ({"a": 1.5}, "domain `a` must be a table with a name, not a number"),
        ({"listener": {"l": []}}, "listener `l` must be a table of domains, not a table"),
    ],
)
def test_what_cannot_be_an_entry_is_complained_about(content: Any, text: str) -> None:
    assert DomainTable([("x", content)], no_problems).complaints == [("x", text)]


class House:
    """One file, and a clock and an epoch to turn."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "domains"
        self.now = 0.0
        self.epoch = 0
        self.readings = 0
        self.write("1")
        self.files = DomainFiles(
            [str(self.path)], self.read, no_problems, lambda: self.epoch, clock=lambda: self.now
        )

    def write(self, text: str) -> None:
        """Change the file, at a moment of its own."""
        self.path.write_text(text, encoding="ascii")
        os.utime(self.path, ns=(LONG_AGO, LONG_AGO + int(text)))

    def read(self, name: str) -> Any:
        self.readings += 1
        return {"a": {"n": Path(name).read_text(encoding="ascii")}}

    def told(self, table: DomainTable) -> Any:
        entry = table.find("", "a")
        assert entry is not None
        return entry.parameters["n"]

    def now_told(self) -> Any:
        table = self.files.table()
        assert not is_awaitable(table)
        return self.told(table)

    async def later_told(self) -> Any:
        table = self.files.table()
        assert is_awaitable(table)
        return self.told(await table)


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


async def settled(house: House) -> None:
    if house.files._reading is not None:
        await house.files._reading


async def test_nobody_waits_for_files_that_have_only_grown_old(house: House) -> None:
    house.write("2")
    house.now = 299.0
    assert house.now_told() == "1"
    assert house.readings == 1
    house.now = 300.0
    assert [house.now_told(), house.now_told()] == ["1", "1"]
    await settled(house)
    assert house.now_told() == "2"
    await settled(house)
    assert house.readings == 2


async def test_everybody_waits_for_files_of_a_new_epoch(house: House) -> None:
    house.write("2")
    house.epoch = 1
    assert await asyncio.gather(*(house.later_told() for _ in range(3))) == ["2"] * 3
    assert house.readings == 2
    assert house.now_told() == "2"


async def test_one_who_gives_up_takes_nothing_from_the_others(house: House) -> None:
    house.write("2")
    house.epoch = 1
    first = asyncio.ensure_future(house.later_told())
    other = asyncio.ensure_future(house.later_told())
    await asyncio.sleep(0)
    first.cancel()
    assert await other == "2"


async def test_an_epoch_that_begins_while_files_are_read_is_another_one(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = house.read

    def meddle(name: str) -> Any:
        content = read(name)
        if house.epoch == 1:
            house.write("3")
            house.epoch = 2
        return content

    monkeypatch.setattr(house.files, "_read", meddle)
    house.write("2")
    house.epoch = 1
    assert await house.later_told() == "3"


async def test_a_file_that_did_not_change_is_not_read(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kumo.policy.domain_files._SETTLED", -(10**12))
    for epoch, readings in ((1, 2), (2, 2)):
        house.epoch = epoch
        assert await house.later_told() == "1"
        assert house.readings == readings


async def test_a_file_written_just_before_it_was_read_is_read_again(house: House) -> None:
    """Its next change may have the same time."""
    for epoch in (1, 2):
        house.epoch = epoch
        await house.later_told()
    assert house.readings == 3


@pytest.mark.parametrize("problem", [ValueError("torn"), RuntimeError("a bug")])
async def test_what_cannot_be_read_leaves_what_there_was_for_five_minutes(
    house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, problem: Exception
) -> None:
    def fail(_name: str) -> Any:
        raise problem

    monkeypatch.setattr(house.files, "_read", fail)
    house.epoch = 1
    assert await house.later_told() == "1"
    assert str(problem) in caplog.text
    house.now = 299.0
    assert house.now_told() == "1"
    await settled(house)
    assert caplog.text.count("listener domains are not read again") == 1
    house.now = 300.0
    house.now_told()
    await settled(house)
    assert caplog.text.count("listener domains are not read again") == 2
