"""A bar chart as SVG: groups of bars on a logarithmic scale, the same text for the same numbers.

Colours are set by a style sheet that asks whether the page is dark, so the one file is readable on both.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 860, 360
LEFT, RIGHT, TOP, BOTTOM = 56, 12, 64, 34
"""Margins: the scale's labels, nothing, title and legend, the groups' names."""

GAP = 18
"""Between two groups of bars."""

_STYLE = """
 text { font: 12px system-ui, sans-serif; fill: #24292f }
 .title { font-size: 14px; font-weight: 600 }
 .value { font-size: 9px; text-anchor: middle }
 .grid { stroke: #d0d7de; stroke-width: 1 }
 .limit { fill: #afb8c1 } .other { fill: #6e7781 }
 .kernel0 { fill: #9ecbff } .kernel1 { fill: #54aeff } .kernel2 { fill: #0969da } .kernel3 { fill: #0a3069 }
 .python { fill: #bf8700 }
 @media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 }
  .grid { stroke: #30363d }
  .limit { fill: #484f58 } .other { fill: #8b949e }
  .kernel0 { fill: #1f4b85 } .kernel1 { fill: #2f81f7 } .kernel2 { fill: #79c0ff } .kernel3 { fill: #cae8ff }
  .python { fill: #d29922 }
 }
"""


class Series(NamedTuple):
    """The bars of one colour.

    Args:
        name: in the legend.
        kind: class of the style sheet.
        values: one for each group, above zero.
    """

    name: str
    kind: str
    values: Sequence[float]


def bar_chart(title: str, groups: Sequence[str], series: Sequence[Series]) -> str:
    """The chart.

    Args:
        title: what is shown, with its unit.
        groups: names below the bars.
        series: bars of each group, from left to right.
    """
    values = [value for one in series for value in one.values]
    lowest = math.floor(math.log10(min(values)))
    highest = math.ceil(math.log10(max(values)))
    highest = max(highest, lowest + 1)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">',
        f"<title>{escape(title)}</title>",
        f"<style>{_STYLE}</style>",
        f'<text class="title" x="{LEFT}" y="20">{escape(title)}</text>',
        *_legend(series),
        *_grid(lowest, highest),
        *_bars(groups, series, lowest, highest),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _y(value: float, lowest: int, highest: int) -> float:
    share = (math.log10(value) - lowest) / (highest - lowest)
    return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)


def _legend(series: Sequence[Series]) -> Iterator[str]:
    x = LEFT
    for one in series:
        yield f'<rect class="{one.kind}" x="{x}" y="34" width="12" height="12"/>'
        yield f'<text x="{x + 17}" y="44">{escape(one.name)}</text>'
        x += 38 + 7 * len(one.name)


def _grid(lowest: int, highest: int) -> Iterator[str]:
    for exponent in range(lowest, highest + 1):
        y = _y(10.0**exponent, lowest, highest)
        label = f"{10.0**exponent:g}"
        yield f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{label}</text>'


def _bars(groups: Sequence[str], series: Sequence[Series], lowest: int, highest: int) -> Iterator[str]:
    group_width = (WIDTH - LEFT - RIGHT) / len(groups)
    bar_width = (group_width - GAP) / len(series)
    bottom = HEIGHT - BOTTOM
    for number, group in enumerate(groups):
        left = LEFT + number * group_width + GAP / 2
        for place, one in enumerate(series):
            value = one.values[number]
            x, y = left + place * bar_width, _y(value, lowest, highest)
            yield (
                f'<rect class="{one.kind}" x="{x:.1f}" y="{y:.1f}" width="{bar_width - 1:.1f}" '
                f'height="{bottom - y:.1f}"/>'
            )
            yield f'<text class="value" x="{x + bar_width / 2:.1f}" y="{y - 3:.1f}">{_short(value)}</text>'
        middle = left + (group_width - GAP) / 2
        yield f'<text x="{middle:.1f}" y="{bottom + 18}" text-anchor="middle">{escape(group)}</text>'


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 10 else f"{value:.2g}"
