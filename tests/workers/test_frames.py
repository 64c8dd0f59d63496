from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kumo.metrics import Family, MetricKind, Sample
from kumo.workers import Assignment, Share
from kumo.workers.frames import (
    LARGEST_FRAME,
    BrokenFrame,
    Counts,
    Drain,
    Frame,
    Gauges,
    Hurry,
    Leaving,
    Link,
    Ready,
    Scrape,
    Status,
    decode,
    encode,
    receive_blocking,
)

_samples = st.builds(
    Sample,
    st.sampled_from(["", "_bucket"]),
    st.dictionaries(st.text(), st.text()),
    st.floats(allow_nan=False),
)
_families = st.builds(
    Family, st.text(), st.sampled_from(MetricKind), st.text(), st.lists(_samples, max_size=3)
)
FRAMES: list[Frame] = [
    Assignment(Share(2, 3, 77), "init.lua", ("127.0.0.1:25",), (5, 6), (7,), "full", None),
    Drain(),
    Hurry(),
    Scrape(7),
    Ready(),
    Status(3, None),
    Status(0, "storage is too full"),
    Leaving(),
    Counts([Family("n", MetricKind.COUNTER, "d", [Sample("", {"a": "b"}, 1.5)])], is_last=True),
    Gauges(7, [Family("n", MetricKind.GAUGE, "d", [Sample("", {"a": "b"}, 1.5)])], is_last=True),
]


@pytest.fixture
async def ends() -> AsyncIterator[tuple[Link, socket.socket]]:
    """A link, and the raw other end of its pair."""
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    link = await Link.open(ours)
    with theirs:
        yield link, theirs
    link.close()


@pytest.mark.parametrize("frame", FRAMES, ids=lambda frame: type(frame).__name__)
async def test_a_frame_arrives_as_it_was_sent(ends: tuple[Link, socket.socket], frame: Frame) -> None:
    link, theirs = ends
    other = await Link.open(theirs)
    link.send(frame)
    assert await other.receive() == frame
    other.close()


@given(st.builds(Gauges, st.integers(0, 2**60), st.lists(_families, max_size=3), st.booleans()))
@settings(deadline=None)
def test_metrics_survive_the_way(frame: Gauges) -> None:
    assert decode(encode(frame)[4:]) == frame


async def test_frames_come_whole_in_whatever_pieces(ends: tuple[Link, socket.socket]) -> None:
    link, theirs = ends
    loop = asyncio.get_running_loop()

    async def trickle() -> None:
        for octet in b"".join(map(encode, FRAMES)):
            await loop.sock_sendall(theirs, bytes([octet]))

    sending = asyncio.create_task(trickle())
    assert [await link.receive() for _ in FRAMES] == FRAMES
    await sending


@pytest.mark.parametrize("cut", [0, 3, 4, 9])
async def test_who_is_gone_in_the_middle_says_nothing(ends: tuple[Link, socket.socket], cut: int) -> None:
    link, theirs = ends
    theirs.sendall(encode(Status(3, "x" * 20))[:cut])
    theirs.close()
    assert await link.receive() is None


@pytest.mark.parametrize(
    "octets",
    [
        struct.pack("!I", LARGEST_FRAME + 1),
        struct.pack("!I", 1) + b"\xc1",
        struct.pack("!I", 8) + msgspec.msgpack.encode({"type": "x"})[:8],
        struct.pack("!I", 0),
    ],
)
async def test_what_is_no_frame_is_told(ends: tuple[Link, socket.socket], octets: bytes) -> None:
    link, theirs = ends
    theirs.sendall(octets)
    with pytest.raises(BrokenFrame):
        await link.receive()
    ours, other = socket.socketpair()
    with ours, other:
        other.sendall(octets)
        with pytest.raises(BrokenFrame):
            receive_blocking(ours)


def test_a_frame_has_a_limit() -> None:
    with pytest.raises(ValueError, match=r"a frame of \d+ octets"):
        encode(Status(0, "x" * LARGEST_FRAME))


def test_a_process_without_a_loop_reads_frames() -> None:
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            theirs.sendall(b"".join(map(encode, FRAMES)))
        assert [receive_blocking(ours) for _ in FRAMES] == FRAMES
        assert receive_blocking(ours) is None


async def test_one_that_does_not_listen_is_known(ends: tuple[Link, socket.socket]) -> None:
    link, _ = ends
    assert link.is_heard
    link.send(Status(0, "x" * (LARGEST_FRAME // 2)))
    assert not link.is_heard


async def test_sending_to_who_is_gone_is_no_error(ends: tuple[Link, socket.socket]) -> None:
    link, theirs = ends
    theirs.close()
    for _ in range(3):
        link.send(Drain())
        await link.sent()
        await asyncio.sleep(0)
    assert await link.receive() is None
