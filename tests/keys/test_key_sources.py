from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kumo.config import KeyData, KeyEvent, KeyFile
from kumo.errors import KeySourceError, PolicyError
from kumo.keys import KeySources
from kumo.keys.key_file import MAX_KEY_OCTETS
from tests.keys.fakes import no_event


async def test_data_are_their_own_octets() -> None:
    assert await KeySources(no_event).load(KeyData(b"\x00\xff octets")) == b"\x00\xff octets"


async def test_a_file_is_read_anew_each_time(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    path.write_bytes(b"\x00old\xff")
    sources = KeySources(no_event)
    assert await sources.load(KeyFile(str(path))) == b"\x00old\xff"
    path.write_bytes(b"new")
    assert await sources.load(KeyFile(str(path))) == b"new"


async def test_what_blocks_has_threads_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Vault that does not answer must not keep the disks' monitors waiting, who use the loop's threads."""
    monkeypatch.setattr(
        "kumo.keys.key_sources.read_key_file", lambda _path: threading.current_thread().name.encode()
    )
    sources = KeySources(no_event)
    assert (await sources.load(KeyFile("key.pem"))).startswith(b"kumod-keys")
    await sources.close()


def absent(_: Path) -> None:
    pass


FILE_ROWS: list[tuple[str, Callable[[Path], object], str]] = [
    ("absent", absent, "No such file or directory (os error 2)"),
    ("folder", Path.mkdir, "Is a directory (os error 21)"),
    ("fifo", os.mkfifo, "not a regular file"),
    ("a\0b", absent, "embedded null byte"),
    ("loop", lambda path: path.symlink_to(path), "Too many levels of symbolic links (os error 40)"),
    (
        "huge",
        lambda path: path.write_bytes(bytes(MAX_KEY_OCTETS + 1)),
        f"it holds more than {MAX_KEY_OCTETS} octets",
    ),
]


@pytest.mark.parametrize(("name", "make", "why"), FILE_ROWS, ids=[repr(row[0]) for row in FILE_ROWS])
async def test_a_file_that_cannot_be_read(
    tmp_path: Path, name: str, make: Callable[[Path], object], why: str
) -> None:
    path = tmp_path / name
    make(path)
    with pytest.raises(KeySourceError) as failure:
        await KeySources(no_event).load(KeyFile(str(path)))
    assert str(failure.value) == f"KeySource failed to load data from file `{path}`: {why}"


async def test_an_event_is_called_with_its_arguments() -> None:
    calls = []

    def call_event(*arguments: Any) -> str:
        calls.append(arguments)
        return "k\xe9y"

    sources = KeySources(call_event)
    source = KeyEvent(event_name="load_key", event_args=("a", {"b": [1]}))
    assert await sources.load(source) == b"k\xe9y"
    assert await sources.load(source) == b"k\xe9y"
    assert calls == [("load_key", "a", {"b": [1]})] * 2


async def test_an_event_may_wait() -> None:
    async def call_event(*_: Any) -> str:
        await asyncio.sleep(0)
        return "later"

    assert await KeySources(call_event).load(KeyEvent(event_name="e", event_args=())) == b"later"


async def test_octets_of_an_event_are_taken_as_they_are() -> None:
    def call_event(*_: Any) -> bytes:
        return b"\xff"

    assert await KeySources(call_event).load(KeyEvent(event_name="e", event_args=())) == b"\xff"


EVENT_ROWS = [
    (None, "key event `e` has no handler, or its handler returned nothing"),
    (5, "key event `e` must return a string"),
    ({"a": 1}, "key event `e` must return a string"),
    ("\u20ac", "key event `e` returned text that stands for no octets"),
    (PolicyError("init.lua:5: no\nstack traceback:\n  x"), "key event `e` failed: init.lua:5: no"),
]


@pytest.mark.parametrize(("answer", "text"), EVENT_ROWS)
async def test_an_event_that_gives_no_key(answer: Any, text: str) -> None:
    def call_event(*_: Any) -> Any:
        if isinstance(answer, Exception):
            raise answer
        return answer

    with pytest.raises(KeySourceError) as failure:
        await KeySources(call_event).load(KeyEvent(event_name="e", event_args=()))
    assert str(failure.value) == text
