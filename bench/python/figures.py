# SPDX-License-Identifier: Apache-2.0
"""Figures of bench_compare.py out of what it measured: no measuring, no files."""
from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

Point = tuple[float, float]  # recall, queries a second


def percentile(ordered: Sequence[float], percent: float) -> float:
    """By the nearest rank, of an ascending sequence."""
    return ordered[max(0, math.ceil(percent / 100 * len(ordered)) - 1)]


def frontier(points: Iterable[Point]) -> list[Point]:
    """The points that no other beats in both, by ascending recall."""
    best: list[Point] = []
    for recall, qps in sorted(points, key=lambda p: (-p[0], -p[1])):
        if not best or qps > best[-1][1]:
            best.append((recall, qps))
    return best[::-1]


def at_recall(points: Iterable[Point], recall: float) -> float | None:
    """Queries a second at a recall: on the frontier, the logarithm linear between two points.

    Below the first point the first point counts: it reaches more than was asked. None: the recall is not reached.
    """
    line = frontier(points)
    above = next((i for i, point in enumerate(line) if point[0] >= recall), None)
    if above is None:
        return None
    if above == 0:
        return line[0][1]
    (r0, q0), (r1, q1) = line[above - 1], line[above]
    share = (recall - r0) / (r1 - r0)
    return math.exp(math.log(q0) * (1 - share) + math.log(q1) * share)


@dataclass(frozen=True)
class Spread:
    """A median, and least to most."""

    median: float
    least: float
    most: float

    @staticmethod
    def of(values: Iterable[float]) -> Spread | None:
        values = list(values)
        return Spread(statistics.median(values), min(values), max(values)) if values else None


def ratios(ours: dict[int, float], theirs: dict[int, float]) -> Spread | None:
    """Ours over theirs, within each round that has both."""
    return Spread.of(ours[round_] / theirs[round_] for round_ in ours if theirs.get(round_))


def short(value: float | None, digits: int = 3) -> str:
    """A number of so many digits, with commas; a dash for none."""
    if value is None:
        return "-"
    if value == 0:
        return "0"
    decimals = digits - 1 - math.floor(math.log10(abs(value)))
    return f"{round(value, decimals):,.{max(0, decimals)}f}"


def markdown(lines: Sequence[Sequence[str]]) -> str:
    """A table; the first line is its head, the first two columns are text."""
    head, *rest = ([cell.replace("|", "\\|") for cell in line] for line in lines)
    rule = ["---" if i < 2 else "---:" for i in range(len(head))]
    return "".join("| " + " | ".join(line) + " |\n" for line in (head, rule, *rest))


def between(text: str, name: str, part: str) -> str:
    """The text with what is between the markers of name replaced, or with both added at the end."""
    first, last = f"<!-- {name} -->\n", f"<!-- end of {name} -->\n"
    if first not in text or last not in text:
        return text.rstrip("\n") + f"\n\n{first}{part}{last}"
    head, rest = text.split(first, 1)
    return head + first + part + last + rest.split(last, 1)[1]


COLOURS = (
    "#1f77b4", "#ff7f0e", "#2ca02c", "#9467bd", "#8c564b", "#e377c2", "#7f7f7f", "#bcbd22", "#17becf", "#aec7e8",
    "#ffbb78", "#98df8a", "#c5b0d5", "#c49c94", "#f7b6d2", "#c7c7c7", "#dbdb8d", "#9edae5", "#393b79", "#637939",
    "#8c6d31", "#843c39", "#7b4173", "#000000",
)  # fmt: skip
OURS_COLOUR = "#d62728"
WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 960, 560, 70, 40, 230, 60
LEAST_MISS, MOST_MISS = 0.0005, 0.5


def across(recall: float) -> float:
    """Recall is drawn by the logarithm of what is missed, 0.5 to the left, 0.0005 and less to the right."""
    miss = min(max(1 - recall, LEAST_MISS), MOST_MISS)
    share = math.log(MOST_MISS / miss) / math.log(MOST_MISS / LEAST_MISS)
    return LEFT + share * (WIDTH - LEFT - RIGHT)


def svg(title: str, curves: Sequence[tuple[str, Sequence[Point]]], ours: str) -> str:
    """Queries a second (logarithm) against recall, a line for each engine."""
    shown = [(name, [p for p in frontier(points) if p[0] >= 1 - MOST_MISS]) for name, points in curves]
    shown = [(name, points) for name, points in shown if points]
    rates = [qps for _, points in shown for _, qps in points] or [1.0]
    low, high = math.floor(math.log10(min(rates))), math.ceil(math.log10(max(rates)))
    high = max(high, low + 1)

    def down(qps: float) -> float:
        return TOP + (high - math.log10(qps)) / (high - low) * (HEIGHT - TOP - BOTTOM)

    def text(x: float, y: float, words: str, anchor: str = "start", more: str = "") -> str:
        return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{more}>{escape(words)}</text>'

    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
        'font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        text(LEFT, 24, title, more=' font-size="15"'),
        text((LEFT + right) / 2, HEIGHT - 18, "recall", "middle"),
        text(LEFT - 8, 24, "queries/s", "end"),
    ]
    for power in range(low, high + 1):
        y = down(10**power)
        out.append(f'<path d="M{LEFT} {y:.1f}H{right}" stroke="#ddd"/>')
        out.append(text(LEFT - 8, y + 4, f"{10**power:,}" if power >= 0 else f"{10**power:g}", "end"))
    for recall in (0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999, 1):
        x = across(recall)
        out.append(f'<path d="M{x:.1f} {TOP}V{bottom}" stroke="#ddd"/>')
        out.append(text(x, bottom + 18, f"{recall:g}", "middle"))
    for i, (name, points) in enumerate(shown):
        colour = OURS_COLOUR if name == ours else COLOURS[i % len(COLOURS)]
        width = 3 if name == ours else 1.5
        spots = [(across(recall), down(qps)) for recall, qps in points]
        out.append(
            f'<polyline points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in spots)}" fill="none" '
            f'stroke="{colour}" stroke-width="{width}"/>'
        )
        out += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{width + 1}" fill="{colour}"/>' for x, y in spots]
        y = TOP + 10 + 20 * i
        out.append(f'<path d="M{right + 16} {y}h22" stroke="{colour}" stroke-width="{width}"/>')
        out.append(text(right + 44, y + 4, name))
    return "\n".join([*out, "</svg>"]) + "\n"
