from __future__ import annotations

from email.header import decode_header

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kumo.message import encoded_words
from kumo.message.encoded_words import decode_encoded_words


@pytest.mark.parametrize(
    ("text", "decoded"),
    [
        ("plain", "plain"),
        ("=?utf-8?q?a_b?=", "a b"),
        ("=?UTF-8?B?w6k=?=", "é"),
        ("=?iso-8859-1?Q?=E9?= and more", "é and more"),
        ("before =?utf-8?q?x?= after", "before x after"),
        ("=?utf-8?q?a?= =?utf-8?q?b?=", "ab"),
        ("=?utf-8?q?=C3?= =?utf-8?q?=A9?=", "é"),
        ("=?utf-8*en?q?a?=", "a"),
        ("raw é beside =?utf-8?q?=C3=A9?=", "raw é beside é"),
        ("\udcff =?utf-8?q?a?=", "\udcff a"),
    ],
)
def test_encoded_words_are_decoded(text: str, decoded: str) -> None:
    assert decode_encoded_words(text) == decoded


@pytest.mark.parametrize(
    "text",
    [
        "=?utf-8?q?=FF?=",
        "=?utf-8?b?w?=",
        "=?nope?q?a?=",
        "=?punycode?q?a-b?=",
        "=?IDNA?q?a?=",
        "=?unicode_escape?q?=5Cn?=",
        "=?zlib?q?a?=",
        "=?utf-8?x?a?=",
        "=?utf-8?q?a",
        "=?",
        "=?utf-8?q?a\x0bb?=",
    ],
)
def test_what_cannot_be_decoded_stays_as_it_is(text: str) -> None:
    assert decode_encoded_words(text) == text


@given(st.text("=?utf-8qbB_ ", max_size=60))
@settings(max_examples=200, deadline=None)
def test_no_text_raises(text: str) -> None:
    assert isinstance(decode_encoded_words(text), str)


@pytest.mark.parametrize("piece", ["=?a?q?", "=?", "=?utf-8?q?a?= ", "=?utf-8?q?a?=x", "?= "])
def test_hostile_texts_take_linear_time(piece: str) -> None:
    # Quadratic work on this much would not end within the life of a test run.
    assert decode_encoded_words(piece * 200_000) != ""


def test_the_library_gets_a_bounded_number_of_words_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    # Its time grows with the square of that number.
    counts: list[int] = []

    def counting(run: str) -> object:
        counts.append(run.count("=?utf-8"))
        return decode_header(run)

    monkeypatch.setattr(encoded_words, "decode_header", counting)
    assert decode_encoded_words("=?utf-8?q?a?= " * 1000).replace(" ", "") == "a" * 1000
    assert (max(counts), sum(counts)) == (100, 1000)
