"""The bar chart is the same well-formed text for the same numbers."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

from benchmarks.plot import BOTTOM, HEIGHT, WIDTH, Series, bar_chart
from kumo_core.instruction_set import INSTRUCTION_SETS

SERIES = [Series("limit & co", "limit", [54.0, 49.0]), Series("python", "python", [0.27, 0.16])]
SVG = "{http://www.w3.org/2000/svg}"


def test_it_is_well_formed_and_repeatable() -> None:
    chart = bar_chart("GB/s <of> all", ["a", "b"], SERIES)
    assert chart == bar_chart("GB/s <of> all", ["a", "b"], SERIES)
    root = ET.fromstring(chart)  # noqa: S314 - our own
    assert root.find(f"{SVG}title").text == "GB/s <of> all"  # type: ignore[union-attr]
    assert "prefers-color-scheme: dark" in chart


def test_bars_stand_on_the_ground_and_grow_with_their_values() -> None:
    root = ET.fromstring(bar_chart("t", ["a", "b"], SERIES))  # noqa: S314 - our own
    bars = [rect.attrib for rect in root.iter(f"{SVG}rect") if float(rect.attrib["y"]) > 60]
    assert len(bars) == 4
    for bar in bars:
        assert float(bar["y"]) + float(bar["height"]) == pytest.approx(HEIGHT - BOTTOM)
        assert 0 <= float(bar["x"]) <= float(bar["x"]) + float(bar["width"]) <= WIDTH
    heights = [float(bar["height"]) for bar in bars]
    assert sorted(heights, reverse=True) == [heights[0], heights[2], heights[1], heights[3]]


@pytest.mark.parametrize("place", range(len(INSTRUCTION_SETS)))
def test_each_instruction_set_has_its_colour_by_day_and_by_night(place: int) -> None:
    assert bar_chart("t", ["a", "b"], SERIES).count(f".kernel{place} {{") == 2
