"""A process that stores messages until it is killed, by the test or by its own file operations.

``python -m tests.spool.victim ROOT stream [flush] [rocks]`` prints ``{id} {digest}`` of what is stored,
and removes some of them again, of which it prints ``-{id}``.
``python -m tests.spool.victim ROOT each [flush] [update]`` stores three messages in one call, in a process
of its own for each file operation that takes, which kills itself there; ROOT/0, ROOT/1 … are the spools.
Each prints its ids and the signal that ended it; the last one, which nothing ends, 0. With ``replace`` it
stores one message, and again with other content and meta. These are stored in files; with ``journal`` it
appends the three to the journal instead, with ``move`` it moves three from there into files, and removes one.
With ``full`` it moves eight, for the last of which there is no room.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import sys
from collections.abc import Sequence
from pathlib import Path

from kumo.config import SpoolKind
from kumo.message import Message
from kumo.spool import Spool, journaled_disk
from kumo.spool.requests import RemoveRequest
from tests.spool.faults import InstrumentedFiles, killing_at
from tests.spool.samples import Stores, configs, make_message, new_id
from tests.spool.small_disk import SmallDisk

_REMOVED = 0.3
"""Transactions of which a message is removed again."""


def digest(message: Message) -> str:
    envelope = f"{','.join(map(str, message.recipients))} {message.meta['n']}"
    return hashlib.sha256(message.content + envelope.encode()).hexdigest()


async def stream(root: Path, *, flush: bool, kind: SpoolKind) -> None:
    spool = Spool.open(*configs(root, flush=flush, kind=kind))
    source = random.Random(7)  # noqa: S311 - a seeded corpus

    async def session(number: int) -> None:
        for count in range(10_000):
            messages = [
                make_message(
                    recipients=("b@example.org", "c@example.net")[: source.randint(1, 2)],
                    meta={"n": f"{number}/{count}"},
                    body=source.randbytes(source.randint(0, 8000)),
                )
                for _ in range(source.randint(1, 3))
            ]
            await spool.store(messages)
            ids = [f"{message.id} {digest(message)}" for message in messages]
            sys.stdout.write("|".join(ids) + "\n")
            sys.stdout.flush()
            if source.random() < _REMOVED:
                await spool.remove(messages[:1])
                sys.stdout.write(f"-{messages[0].id}\n")
                sys.stdout.flush()

    await asyncio.gather(*map(session, range(4)))


def kill_at_each_call(root: Path, options: Sequence[str]) -> None:
    flush = "flush" in options
    for number in range(1000):
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            if "replace" in options:
                store_one_twice(root / str(number), number, flush=flush)
            elif "journal" in options:
                append_three(root / str(number), number, flush=flush)
            elif "full" in options:
                move_without_room(root / str(number), number, flush=flush)
            elif "move" in options:
                move_three(root / str(number), number, flush=flush)
            else:
                store_three(root / str(number), number, flush=flush, update="update" in options)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.WTERMSIG(status)}\n")
        if status == 0:
            return


def store_three(root: Path, number: int, *, flush: bool, update: bool) -> None:
    files = InstrumentedFiles()
    stores = Stores(root, flush=flush, files=files)
    messages = three_messages()
    if update:
        stores.store([messages[0]])
        messages[0].is_stored = True
    files.calls.clear()
    files.before = killing_at(number)
    stores.store(messages)


def append_three(root: Path, number: int, *, flush: bool) -> None:
    files = InstrumentedFiles()
    stores = Stores(root, flush=flush, files=files)
    messages = three_messages()
    files.calls.clear()
    files.before = killing_at(number)
    stores.append(messages)


def move_three(root: Path, number: int, *, flush: bool) -> None:
    files = InstrumentedFiles()
    stores = Stores(root, flush=flush, files=files)
    messages = three_messages()
    stores.append(messages)
    files.calls.clear()
    files.before = killing_at(number)
    stores.engine.tidy()
    stores.engine.remove([RemoveRequest([messages[0].id])])
    stores.engine.finish()


def move_without_room(root: Path, number: int, *, flush: bool) -> None:
    disk = SmallDisk()
    stores = Stores(root, flush=flush, files=disk)
    stores.append(*([message] for message in some_messages(8)))
    disk.leave(root, 7 * 3300)
    disk.calls.clear()
    disk.before = killing_at(number)
    journaled_disk._MOVED_AT_ONCE = 3
    while not stores.engine.tidy():
        pass


def three_messages() -> list[Message]:
    return some_messages(3)


def some_messages(count: int) -> list[Message]:
    """The same ids in each process, so that the directories to make and with them the calls are the same."""
    messages = [
        make_message(spool_id=new_id(1.7e9 + n), meta={"n": 1}, body=bytes([65 + n]) * 3000)
        for n in range(count)
    ]
    sys.stdout.write("".join(f"{message.id} " for message in messages))
    sys.stdout.flush()
    return messages


def store_one_twice(root: Path, number: int, *, flush: bool) -> None:
    files = InstrumentedFiles()
    stores = Stores(root, flush=flush, files=files)
    message = make_message(spool_id=new_id(1.7e9), meta={"n": "1"}, body=b"1")
    stores.store([message])
    message.is_stored = True
    sys.stdout.write(f"{message.id} ")
    sys.stdout.flush()
    message.set_content(b"2")
    message.meta["n"] = "2"
    files.calls.clear()
    files.before = killing_at(number)
    stores.store([message])


def main(root: Path, mode: str, *options: str) -> None:
    if mode == "stream":
        kind = SpoolKind.ROCKS_DB if "rocks" in options else SpoolKind.LOCAL_DISK
        asyncio.run(stream(root, flush="flush" in options, kind=kind))
    else:
        kill_at_each_call(root, options)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
