"""Who goes on in which turn of the loop, how long at most somebody waits, and when replies are sent."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kumo.listener.cohorts import CONTENT, LARGEST, Cohorts, stage_of
from kumo.listener.outbox import Outbox, Sender

GREETING, MAIL, RECIPIENT, DATA, QUIT = map(stage_of, b"EMRDQ")
STAGES = (GREETING, MAIL, RECIPIENT, DATA, CONTENT, QUIT)


class Loop:
    """Keeps what is to be called soon."""

    def __init__(self) -> None:
        self.soon: list[Callable[[], None]] = []
        self.turns = 0

    def time(self) -> float:
        return float(self.turns)

    def call_soon(self, callback: Callable[[], None]) -> None:
        self.soon.append(callback)

    def end_turn(self) -> None:
        self.turns += 1
        soon, self.soon = self.soon, []
        for callback in soon:
            callback()


class House:
    """What members did, in its order: a name when one goes on, ``!`` and the name when one sends."""

    def __init__(self) -> None:
        self.loop = Loop()
        self.outbox = Outbox(self.loop)  # type: ignore[arg-type]
        self.cohorts = Cohorts(self.loop, self.outbox)  # type: ignore[arg-type]
        self.done: list[str] = []

    def add(self, names: str, stage: int, then: Callable[[], None] | None = None) -> None:
        for name in names:
            self.cohorts.add(Member(self, name, then), stage)

    def end_turn(self) -> str:
        """What was done in it."""
        self.loop.end_turn()
        done, self.done = self.done, []
        return "".join(done)


class Member(Sender):
    """Goes on and has a reply to send; does what ``then`` says besides."""

    def __init__(self, house: House, name: str, then: Callable[[], None] | None) -> None:
        super().__init__()
        self.house = house
        self.name = name
        self.then = then

    def go_on(self, now: float) -> None:
        assert now == self.house.loop.turns
        self.house.done.append(self.name)
        self.house.outbox.add(self)
        if self.then is not None:
            self.then()

    def take_due(self) -> bytes:
        return b""

    def sent(self, rest: bytes) -> None:
        raise AssertionError(f"nobody sends for it, and leaves {rest!r}")

    def send_due(self) -> None:
        self.house.done.append(f"!{self.name}")


@pytest.fixture
def house() -> House:
    return House()


@pytest.mark.parametrize(
    ("line", "stage"),
    [
        (b"EHLO a", GREETING),
        (b"helo a", GREETING),
        (b"STARTTLS", GREETING),
        (b"auth plain", GREETING),
        (b"XCLIENT a=b", GREETING),
        (b"mail from:<>", MAIL),
        (b"RCPT TO:<a>", RECIPIENT),
        (b"RSET", RECIPIENT),
        (b"DATA", DATA),
        (b"bdat 5", DATA),
        (b"QUIT", QUIT),
        (b"NOOP", QUIT),
        (b"\x00", QUIT),
        (b"\xc5", QUIT),
    ],
)
def test_a_command_goes_by_its_first_letter(line: bytes, stage: int) -> None:
    assert stage_of(line[0]) == stage


def test_stages_stand_in_the_order_of_a_session() -> None:
    assert list(STAGES) == sorted(set(STAGES))


def test_a_cohort_goes_on_in_order_and_sends_when_it_is_through(house: House) -> None:
    house.add("abc", MAIL)
    assert house.done == []
    assert house.end_turn() == "abc!a!b!c"
    assert house.loop.soon == []


def test_all_that_wait_go_on_in_one_turn_the_earliest_stage_first(house: House) -> None:
    house.add("q", QUIT)
    house.add("c", CONTENT)
    house.add("m", MAIL)
    house.add("n", MAIL)
    assert [house.end_turn() for _ in range(2)] == ["mncq!m!n!c!q", ""]


def test_an_early_command_does_not_overtake_who_waited_for_the_turn(house: House) -> None:
    house.add("c" * (LARGEST + 1), CONTENT)
    house.end_turn()
    house.add("h", GREETING)
    assert [house.end_turn() for _ in range(2)] == ["c!c", "h!h"]


def test_a_crowd_goes_on_in_pieces(house: House) -> None:
    house.add("m" * (2 * LARGEST + 1), MAIL)
    assert [house.end_turn().count("!") for _ in range(4)] == [LARGEST, LARGEST, 1, 0]


def test_who_is_added_in_the_midst_of_a_turn_waits_for_the_next_turn(house: House) -> None:
    house.add("m", MAIL, lambda: house.add("n", DATA))
    house.add("c", CONTENT)
    assert house.end_turn() == "mc!m!c"
    assert house.end_turn() == "n!n"


def test_the_rest_goes_on_when_one_breaks_the_turn(house: House) -> None:
    def break_off() -> None:
        raise KeyboardInterrupt

    house.add("a", MAIL)
    house.add("m", MAIL, break_off)
    house.add("b", MAIL)
    house.add("c", CONTENT)
    with pytest.raises(KeyboardInterrupt):
        house.end_turn()
    assert "".join(house.done) == "am!a!m"
    house.done.clear()
    assert house.end_turn() == "bc!b!c"
    # And the outbox, that nobody attends to any more, is emptied by itself.
    house.outbox.add(Member(house, "z", None))
    assert house.end_turn() == "!z"


@given(st.lists(st.lists(st.sampled_from(STAGES), max_size=LARGEST), min_size=1, max_size=20))
def test_everyone_goes_on_once_in_the_next_turn_sorted(turns: list[list[int]]) -> None:
    house = House()
    for number, stages in enumerate(turns):
        names = [chr(0x4E00 + LARGEST * number + place) for place in range(len(stages))]
        for name, stage in zip(names, stages, strict=True):
            house.add(name, stage)
        in_order = [name for _, name in sorted(zip(stages, names, strict=True))]
        assert house.end_turn() == "".join(in_order) + "".join(f"!{name}" for name in in_order)


@given(st.lists(st.sampled_from(STAGES), max_size=4 * LARGEST))
def test_a_crowd_goes_on_in_the_order_in_which_it_is_sorted(stages: list[int]) -> None:
    house = House()
    names = [chr(0x4E00 + place) for place in range(len(stages))]
    for name, stage in zip(names, stages, strict=True):
        house.add(name, stage)
    turns = [house.end_turn().split("!")[0] for _ in range(len(stages) // LARGEST + 1)]
    assert "".join(turns) == "".join(name for _, name in sorted(zip(stages, names, strict=True)))
    assert max(map(len, turns)) <= LARGEST
    assert house.loop.soon == []
