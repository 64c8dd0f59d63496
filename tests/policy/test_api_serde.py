from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kumo.policy.call_error import CallError
from kumo.policy.json_values import lua_to_json


def parsed(lua: Any, function: str, text: str) -> Any:
    lua.runtime.globals().text = text
    return lua_to_json(lua.call(function, "text"))


@pytest.mark.parametrize("function", ["json_parse", "serde.json_parse"])
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("null", None),
        ("1", 1),
        ("1.0", 1.0),
        ("-0", 0),
        ("9223372036854775807", 2**63 - 1),
        ("9223372036854775808", 2.0**63),
        ("1" + "0" * 30, 1e30),
        ('"\\u00e9\\ud83d\\ude00"', "é😀"),
        ('"\\u0000"', "\0"),
        ("[]", {}),
        ('[1, [2.5, "x"], {"a": true}]', [1, [2.5, "x"], {"a": True}]),
        ('{"a": null, "b": 1}', {"b": 1}),
        ('{"a": 1, "a": 2}', {"a": 2}),
        ("// c\n[1, # d\n /* e\n */ 2]", [1, 2]),
        ('{"url": "http://x/#y/*z*/"}', {"url": "http://x/#y/*z*/"}),
        ('["\\"// no comment"] // one', ['"// no comment']),
        ("/**/1/***/", 1),
        ("#\n1", 1),
        (" \n 1 ", 1),
        ('"b\u00fc"'.encode().decode("latin-1"), "bü"),
    ],
)
def test_json_text_is_parsed(lua: Any, function: str, text: str, expected: object) -> None:
    value = parsed(lua, function, text)
    assert value == expected
    assert type(value) is type(expected)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "Expecting value at line 1 column 1"),
        ("{", "Expecting property name enclosed in double quotes at line 1 column 2"),
        ("[1,\n// c\n x]", "Expecting value at line 3 column 2"),
        ("/* a\nb */ x", "Expecting value at line 2 column 6"),
        ("1 2", "Extra data at line 1 column 3"),
        ("/* never closed", "Expecting value at line 1 column 1"),
        ("'a'", "Expecting value at line 1 column 1"),
        ("NaN", "NaN is no JSON"),
        ("-Infinity", "-Infinity is no JSON"),
        ("1e999", "number out of range"),
        ("9" * 400, "number out of range"),
        ('"\\ud800"', "lone surrogate in a \\u escape"),
        ('{"\\udcff": 1}', "lone surrogate in a \\u escape"),
        ("[" * 100_000, "recursion limit exceeded"),
    ],
)
def test_bad_json_says_what_and_where(lua: Any, text: str, problem: str) -> None:
    with pytest.raises(ValueError) as caught:
        parsed(lua, "json_parse", text)
    assert str(caught.value) == f"parsing json: {problem}"


@pytest.mark.parametrize("function", ["json_encode", "serde.json_encode"])
@pytest.mark.parametrize(
    ("expression", "text"),
    [
        ("nil", "null"),
        ("1", "1"),
        ("1.0", "1.0"),
        ("0/0", "null"),
        ("'a\\\"\\n\\xc3\\xa9'", '"a\\"\\n\u00e9"'),
        ("{}", "{}"),
        ("{ 1, { a = 'b' } }", '[1,{"a":"b"}]'),
        ("'\\xff'", "[255]"),
        ("{ a = { 'ok', 'x\\xfe' }, b = 'é' }", None),
    ],
)
def test_values_are_printed_as_compact_json(
    lua: Any, function: str, expression: str, text: str | None
) -> None:
    octets = lua.call(function, expression)
    decoded = octets.encode("latin-1").decode("utf-8")
    if text is None:
        assert json.loads(decoded)["a"] == ["ok", [120, 254]]
    else:
        assert decoded == text


def test_pretty_json_sorts_keys_and_indents(lua: Any) -> None:
    text = lua.call("serde.json_encode_pretty", "{ b = { 1, 2 }, a = {} }")
    assert text == '{\n  "a": {},\n  "b": [\n    1,\n    2\n  ]\n}'
    assert lua.call("json_encode_pretty", "{ b = 1 }") == '{\n  "b": 1\n}'


@pytest.mark.parametrize("function", ["json_encode", "json_encode_pretty", "toml_encode"])
@pytest.mark.parametrize(
    "expression", ["{ 1, nil, 3 }", "{ 1, a = 2 }", "{ f = print }", "print", "{ [true] = 1 }"]
)
def test_what_has_no_text_form_is_refused(lua: Any, function: str, expression: str) -> None:
    with pytest.raises(ValueError):
        lua.call(function, expression)


def test_toml_is_parsed_with_dates_as_text(lua: Any) -> None:
    text = "a = 1\nf = 1.5\n[t]\nd = 1979-05-27T07:32:00Z\nday = 1979-05-27\nat = 07:32:00\nlist = [1, 'x']\n"
    assert parsed(lua, "toml_parse", text) == {
        "a": 1,
        "f": 1.5,
        "t": {"d": "1979-05-27T07:32:00+00:00", "day": "1979-05-27", "at": "07:32:00", "list": [1, "x"]},
    }


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a = ", "parsing toml: Invalid value (at end of document)"),
        ("a = 1\na = 2", "parsing toml: Cannot overwrite a value (at end of document)"),
        ("a = 99999999999999999999", "parsing toml: number 99999999999999999999 is too large for 64 bits"),
    ],
)
def test_bad_toml_says_what_and_where(lua: Any, text: str, problem: str) -> None:
    with pytest.raises(ValueError) as caught:
        parsed(lua, "serde.toml_parse", text)
    assert str(caught.value) == problem


@pytest.mark.parametrize(
    "function",
    [
        "toml_encode",
        "toml_encode_pretty",
        "serde.toml_encode",
        "serde.toml_encode_pretty",
        "serde.toml_encode_pretty_compact",
    ],
)
def test_tables_are_printed_as_toml(lua: Any, function: str) -> None:
    octets = lua.call(function, "{ a = 1, b = { c = 'b\\xc3\\xbc', list = { 1, 2 } }, empty = {} }")
    text = octets.encode("latin-1").decode("utf-8")
    assert tomllib.loads(text) == {"a": 1, "b": {"c": "bü", "list": [1, 2]}, "empty": {}}


TOML_FORMS = [
    # expression, plain, pretty, compact
    ("{ l = { 1, 2 } }", "l = [1, 2]\n", "l = [\n    1,\n    2,\n]\n", "l = [1, 2]\n"),
    (
        "{ l = { { 1, 2 }, {} } }",
        "l = [[1, 2], {}]\n",
        "l = [\n    [\n        1,\n        2,\n    ],\n    {},\n]\n",
        "l = [[1, 2], {}]\n",
    ),
    (
        r"{ l = { 'a,\n]', '[\n' } }",
        'l = ["a,\\n]", "[\\n"]\n',
        'l = [\n    "a,\\n]",\n    "[\\n",\n]\n',
        'l = ["a,\\n]", "[\\n"]\n',
    ),
    (
        "{ l = { { a = { 1 } } } }",
        "[[l]]\na = [1]\n",
        "[[l]]\na = [\n    1,\n]\n",
        "[[l]]\na = [1]\n",
    ),
    ("{ l = { ('x'):rep(72) } }", f'l = ["{"x" * 72}"]\n', None, f'l = ["{"x" * 72}"]\n'),
    ("{ l = { ('x'):rep(73) } }", f'l = ["{"x" * 73}"]\n', None, f'l = [\n    "{"x" * 73}",\n]\n'),
    ("{ a = {}, s = 'x' }", 's = "x"\n\n[a]\n', 's = "x"\n\n[a]\n', 's = "x"\n\n[a]\n'),
]


@pytest.mark.parametrize(("expression", "plain", "pretty", "compact"), TOML_FORMS)
def test_toml_has_a_plain_a_pretty_and_a_compact_form(
    lua: Any, expression: str, plain: str, pretty: str | None, compact: str
) -> None:
    forms = [
        lua.call(f"serde.toml_encode{suffix}", expression) for suffix in ("", "_pretty", "_pretty_compact")
    ]
    assert forms[0] == plain
    assert forms[1] == (pretty or f"l = [\n    {plain.strip().removeprefix('l = [').removesuffix(']')},\n]\n")
    assert forms[2] == compact
    assert len({json.dumps(tomllib.loads(form), sort_keys=True) for form in forms}) == 1


@pytest.mark.parametrize("suffix", ["_pretty", "_pretty_compact"])
def test_pretty_toml_sorts_keys_at_every_depth(lua: Any, suffix: str) -> None:
    names = ", ".join(f"{name} = {{ y = 1, x = {{ {{ d = 1, c = 2 }} }} }}" for name in "hgfedcba")
    text = lua.call(f"serde.toml_encode{suffix}", f"{{ {names} }}")
    assert re.findall(r"^\[(.)\]$", text, re.MULTILINE) == list("abcdefgh")
    assert re.findall(r"\b([cdxy]) =", text) == ["x", "c", "d", "y"] * 8


TOML_TREES = st.recursive(
    st.text(st.sampled_from('a,[]{}\n\r "=#'), max_size=6) | st.integers(-9, 9) | st.booleans(),
    lambda inner: (
        st.lists(inner, min_size=1, max_size=4)  # Lua has one empty table, which is a map
        | st.dictionaries(st.text("ab]\n", max_size=3), inner, max_size=3)
    ),
    max_leaves=15,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.text("ab[,\n", max_size=3), TOML_TREES, max_size=4))
def test_every_toml_form_tells_what_the_table_tells(lua: Any, tree: dict[str, Any]) -> None:
    for suffix in ("", "_pretty", "_pretty_compact"):
        text = lua.functions[f"serde.toml_encode{suffix}"](lua.context, lua.to_lua(tree))
        assert tomllib.loads(text) == tree


@pytest.mark.parametrize("expression", ["5", "{ 1 }", "'x'", "nil"])
def test_toml_text_is_a_table_with_names(lua: Any, expression: str) -> None:
    with pytest.raises(ValueError, match="the outermost value must be a table with names"):
        lua.call("toml_encode", expression)


def test_toml_has_no_null(lua: Any) -> None:
    with pytest.raises(ValueError, match="no TOML form"):
        lua.call("toml_encode", "{ a = 0/0 }")


def load(lua: Any, function: str, path: Path) -> Any:
    return lua_to_json(lua.call(function, json.dumps(str(path))))


@pytest.mark.parametrize("prefix", ["", "serde."])
def test_files_are_loaded(lua: Any, tmp_path: Path, prefix: str) -> None:
    (tmp_path / "x.json").write_text('{"a": "bü"} // done', encoding="utf-8")
    (tmp_path / "x.toml").write_text('a = "bü"', encoding="utf-8")
    assert load(lua, f"{prefix}json_load", tmp_path / "x.json") == {"a": "bü"}
    assert load(lua, f"{prefix}toml_load", tmp_path / "x.toml") == {"a": "bü"}


@pytest.mark.parametrize(
    ("function", "content", "problem"),
    [
        (
            "json_load",
            b"{",
            "parsing {path} as json: Expecting property name enclosed in double quotes at line 1 column 2",
        ),
        (
            "toml_load",
            b"a",
            "parsing {path} as toml: Expected '=' after a key in a key/value pair (at end of document)",
        ),
        ("json_load", b'"\xff"', "reading file {path}: stream did not contain valid UTF-8 at octet 1"),
        ("toml_load", None, "reading file {path}: No such file or directory"),
        ("json_load", None, "reading file {path}: No such file or directory"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(
    lua: Any, tmp_path: Path, function: str, content: bytes | None, problem: str
) -> None:
    path = tmp_path / "file"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError) as caught:
        load(lua, function, path)
    assert str(caught.value) == problem.format(path=path)


def test_a_path_that_no_file_can_have_is_an_error_too(lua: Any) -> None:
    with pytest.raises(ValueError, match=r"^reading file a\x00b: "):
        lua.call("json_load", "'a\\0b'")


@pytest.mark.parametrize("function", ["json_parse", "toml_parse", "json_load", "toml_load"])
def test_text_is_wanted(lua: Any, function: str) -> None:
    with pytest.raises(
        CallError, match=rf"^bad argument #1 to 'kumo.{function}' \(string expected, got nil\)$"
    ):
        lua.call(function, "nil")


TREES = st.recursive(
    st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    lambda inner: (
        st.lists(inner, min_size=1, max_size=4)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=6), inner, max_size=4)
    ),
    max_leaves=10,
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(TREES)
def test_json_reads_back_what_it_prints(lua: Any, value: Any) -> None:
    for function in ("json_encode", "json_encode_pretty"):
        text = lua.functions[function](lua.context, lua.to_lua(value))
        assert parsed(lua, "json_parse", text) == value


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=6), TREES, max_size=4))
def test_toml_reads_back_what_it_prints(lua: Any, value: Any) -> None:
    text = lua.functions["toml_encode"](lua.context, lua.to_lua(value))
    assert parsed(lua, "toml_parse", text) == value


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(alphabet='{}[]"\\/*#,: \n1aue.-', max_size=30))
def test_any_text_is_parsed_or_refused(lua: Any, text: str) -> None:
    try:
        parsed(lua, "json_parse", text)
    except ValueError as error:
        assert str(error).startswith("parsing json: ")  # noqa: PT017 - both outcomes are right
