from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kumo.policy.json_values import MAX_DEPTH, MAX_VALUES, Opaque, lua_to_json, lua_to_plain, shown_json
from kumo.policy.octets import octets_of


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("nil", None),
        ("true", True),
        ("1", 1),
        ("1.0", 1.0),
        ("math.mininteger", -(2**63)),
        ("'text'", "text"),
        ("'b\\xc3\\xbccher'", "bücher"),
        ("'\\xff\\0'", "\udcff\0"),
        ("{}", {}),
        ("{ 1, 'a', { true } }", [1, "a", [True]]),
        ("{ a = {}, ['b\\xc3\\xbc'] = 2 }", {"a": {}, "bü": 2}),
        ("{ [1] = 'a', [2] = 'b' }", ["a", "b"]),
        ("1/0", None),
        ("{ x = 0/0 }", {"x": None}),
    ],
)
def test_lua_values_become_json_values(lua: Any, expression: str, expected: object) -> None:
    value = lua_to_json(lua.value(expression))
    assert value == expected
    assert type(value) is type(expected)


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        ("{ 1, 2, nil, 4 }", "a list has keys 1 to n without holes; this table has [1, 2, 4]"),
        ("{ [0] = 1 }", "a list has keys 1 to n without holes; this table has [0]"),
        ("{ 1, a = 2 }", "a table is either a list or a map; this one has both string and integer keys"),
        ("{ [true] = 1 }", "a table key must be a string or an integer, not a boolean"),
        ("{ [1.5] = 1 }", "a table key must be a string or an integer, not the number 1.5"),
        ("{ [print] = 1 }", "a table key must be a string or an integer, not a function"),
        ("{ a = print }", "a Lua function has no JSON form"),
        ("io.stdout", "a Lua userdata has no JSON form"),
    ],
)
def test_what_json_cannot_hold_is_refused(lua: Any, expression: str, text: str) -> None:
    with pytest.raises(ValueError) as caught:
        lua_to_json(lua.value(expression))
    assert str(caught.value) == text


def nested(depth: int) -> str:
    return "{" * depth + "}" * depth


def test_nesting_is_bounded(lua: Any) -> None:
    lua_to_json(lua.value(nested(MAX_DEPTH)))
    with pytest.raises(ValueError, match="nested deeper than 128 levels, or contains itself"):
        lua_to_json(lua.value(nested(MAX_DEPTH + 1)))


def test_a_table_that_contains_itself_is_refused(lua: Any) -> None:
    lua.runtime.execute("loop = { a = { 1 } } loop.b = { loop }")
    with pytest.raises(ValueError, match="contains itself"):
        lua_to_json(lua.value("loop"))


def test_a_small_table_that_unfolds_to_a_huge_tree_is_refused(
    lua: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kumo.policy.json_values.MAX_VALUES", 1000)
    lua.runtime.execute("bomb = {} for _ = 1, 60 do bomb = { a = bomb, b = bomb } end")
    with pytest.raises(ValueError, match="holds more than 1000 values"):
        lua_to_json(lua.value("bomb"))
    assert MAX_VALUES > 1000


def test_plain_values_keep_what_json_has_not(lua: Any) -> None:
    plain = lua_to_plain(lua.value("{ f = print, n = 1/0, list = { 1, nil, 3 }, 'x' }"))
    assert plain == {"f": Opaque("function"), "n": float("inf"), "list": {1: 1, 3: 3}, 1: "x"}
    assert lua_to_plain(plain) is plain


def test_shown_json_is_sorted_compact_and_masked() -> None:
    shown = shown_json({"b": [1, None], "a": {"password": "x", "tokens": ["y"]}, "f": Opaque("function")})
    assert shown == '{"a":{"password":"***","tokens":["***"]},"b":[1,null],"f":"<function>"}'


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    lambda inner: (
        st.lists(inner.filter(lambda item: item is not None), min_size=1, max_size=4)
        | st.dictionaries(
            st.text(st.characters(exclude_categories=["Cs"]), max_size=6),
            inner.filter(lambda item: item is not None),
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(JSON)
def test_values_survive_the_way_into_lua_and_back(lua: Any, value: Any) -> None:
    assert lua_to_json(lua.to_lua(value)) == value


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=20))
def test_octets_survive_whatever_they_are(octets: bytes) -> None:
    assert octets_of(lua_to_json(octets.decode("latin-1"))).encode("latin-1") == octets
