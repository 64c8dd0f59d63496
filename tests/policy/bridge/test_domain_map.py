"""kumo.domain_map: which entry a domain finds, and what may be kept in one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Load = Callable[[str], Any]

MAP = """
local map = kumo.domain_map.new {
  ['example.com'] = 'exact',
  ['*.example.com'] = 'below',
  ['b.mid.example.com'] = 'deep',
  ['*.wild.example'] = 'wild',
  ['*'] = 'any',
}
"""


@pytest.mark.parametrize(
    ("domain", "found"),
    [
        ("example.com", "exact"),
        ("EXAMPLE.com", "exact"),
        ("a.example.com", "below"),
        ("c.b.a.example.com", "below"),
        ("b.mid.example.com", "deep"),
        # Once a label matched there is no way back.
        ("mid.example.com", None),
        ("a.mid.example.com", None),
        ("a.b.mid.example.com", None),
        ("a.wild.example", "wild"),
        ("wild.example", None),
        ("other.com", None),
        ("com", None),
        ("other.org", "any"),
        ("org", "any"),
        ("*", "any"),
        ("*.example.com", "below"),
        ("", "any"),
        (".", "any"),
    ],
)
def test_domains_find_their_entry(load: Load, domain: str, found: str | None) -> None:
    policy = load(f"{MAP} kumo.note(map['{domain}'])")
    assert policy.notes == [found]


@pytest.mark.parametrize(
    ("change", "domain", "found"),
    [
        ("map['new.example'] = 'n'", "new.example", "n"),
        ("map['New.Example'] = 'n'", "new.example", "n"),
        ("map['example.com'] = nil", "example.com", None),
        ("map['b.mid.example.com'] = nil", "a.mid.example.com", "below"),
        ("map['*'] = nil", "other.org", None),
        ("local t = { 1 } map['x.y'] = t t[1] = 2", "x.y", [1]),
        ("map['x.y'] = { 1 } map['x.y'][1] = 2", "x.y", [1]),
        ("local inner = kumo.domain_map.new() map['x.y'] = inner inner['a.b'] = 1", "x.y", {}),
        ("map['x.y'] = kumo.make_listener_domain { relay_to = true }", "x.y", {"relay_to": True}),
    ],
)
def test_assignments(load: Load, change: str, domain: str, found: Any) -> None:
    policy = load(
        f"""
        {MAP}
        local _ = map['example.com']
        {change}
        local value = map['{domain}']
        if type(value) == 'table' then
          local plain = {{}}
          for key, item in pairs(value) do plain[key] = item end
          value = kumo.json_encode(plain)
        end
        kumo.note(value)
        """
    )
    shown = {"[1]": [1], '{"relay_to":true}': {"relay_to": True}, "{}": {}}
    assert [shown.get(note, note) for note in policy.notes] == [found]


def test_a_map_is_iterated_and_measured(load: Load) -> None:
    policy = load(
        f"""
        {MAP}
        local names = {{}}
        for domain, value in pairs(map) do names[#names + 1] = domain .. '=' .. value end
        table.sort(names)
        kumo.note(#map, #names, names[1])
        kumo.note(#kumo.domain_map.new())
        """
    )
    assert policy.notes == [(5, 5, "*.example.com=below"), 0]


@pytest.mark.parametrize(
    ("call", "text"),
    [
        ("kumo.domain_map.new(1)", "bad argument #1 to 'kumo.domain_map.new' (table expected, got number)"),
        ("kumo.domain_map.new { 'x' }", "(domains (string) as keys expected, got 1)"),
        ("kumo.domain_map.new { x = print }", "a domain map cannot hold a function"),
        ("kumo.domain_map.new().x = { { print } }", "a domain map cannot hold a function"),
        ("kumo.domain_map.new()[1] = 2", "a domain map expects a domain (string) as key, not a number"),
        ("local t = {} t.t = t kumo.domain_map.new { x = t }", "contains itself"),
        ("kumo.domain_map.new { x = { [1.5] = 1 } }", "a table key must be a string or an integer"),
        ("kumo.domain_map.new { x = setmetatable({}, {}) }", "a domain map cannot hold a table"),
    ],
)
def test_misuse_is_refused(load: Load, call: str, text: str) -> None:
    policy = load(f"kumo.note(select(2, pcall(function() {call} end)))")
    assert text in policy.notes[0]


def test_a_missing_domain_and_odd_keys_are_nil(load: Load) -> None:
    policy = load("local m = kumo.domain_map.new() kumo.note(m['x.y'], m[1], m[true])")
    assert policy.notes == [(None, None, None)]


def test_a_large_map_is_built_once(load: Load) -> None:
    policy = load(
        """
        local f = kumo.memoize(function()
          local entries = {}
          for i = 1, 5000 do entries['d' .. i .. '.example'] = { n = i } end
          return { map = kumo.domain_map.new(entries) }
        end, { name = 'm', ttl = 300, capacity = 1 })
        local _ = f().map['d7.example']
        local before = collectgarbage 'count'
        collectgarbage 'stop'
        for i = 1, 100 do if f().map['d7.example'].n ~= 7 then error 'lost' end end
        kumo.note(collectgarbage 'count' - before)
        """
    )
    assert policy.notes[0] < 200
