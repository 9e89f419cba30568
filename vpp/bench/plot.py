"""The scaling plot: seconds against devices, both logarithmic, as an SVG that stands beside the README."""

from collections.abc import Collection, Mapping, Sequence
from html import escape
from math import ceil, floor, log10
from typing import Any

from vpp.bench.machine import described
from vpp.bench.series import points

_WIDTH, _HEIGHT = 760, 480
_LEFT, _RIGHT, _TOP, _BOTTOM = 78, 44, 66, 74
_PAD = 34
"""Room between the axes and the first and last size."""
_LEGEND = 400
_COLOURS = {"fast": "#0b6e4f", "reference": "#b5442e", "arrays": "#3a5a98"}
_NAMES = {
    "fast": "this dispatch, with every device's schedule",
    "reference": "the same model in Pyomo + HiGHS",
    "arrays": "the same model as plain arrays in HiGHS",
}

Points = Sequence[tuple[float, float]]


def scaling_svg(series: Mapping[str, Any]) -> str:
    """The plot of ``bench_series``: the fast path's line, whoever was compared, and a line of slope one.

    Points of the fast path whose gap was not reached in time are hollow.
    """
    runs = series["runs"]
    lines: dict[str, Points] = {"fast": points(runs, "wall_s")}
    for name in ("reference", "arrays"):
        lines[name] = [
            (float(run["case"]["resources"]), float(run["compared"][name]["wall_s"]))
            for run in runs
            if "wall_s" in run.get("compared", {}).get(name, {})
        ]
    reached = {size for size, _ in points([run for run in runs if run["fast"].get("reached_gap")], "wall_s")}
    frame = _Frame([point for line in lines.values() for point in line])
    body = [*frame.axes(), *_slope_one(frame, lines["fast"])]
    for name, line in lines.items():
        short = {size for size, _ in line} - reached if name == "fast" else set()
        body += frame.line(line, _COLOURS[name], labelled=name == "fast", hollow=short)
    shown = [name for name, line in lines.items() if line]
    body += [
        f'<g font-size="13"><rect x="{_LEGEND}" y="{_HEIGHT - _BOTTOM - 22 * k - 24}" width="12" height="12" rx="2" '
        f'fill="{_COLOURS[name]}"/><text x="{_LEGEND + 20}" y="{_HEIGHT - _BOTTOM - 22 * k - 13}">'
        f"{escape(_NAMES[name])}</text></g>"
        for k, name in enumerate(reversed(shown))
    ]
    return _document(body, _caption(series))


def _caption(series: Mapping[str, Any]) -> tuple[str, str, str]:
    case = series["runs"][0]["case"]
    exponent = series["exponent"]
    kinds = ", ".join(case.get("kinds") or ()).replace("_", " ") or "all kinds of device"
    title = f"{case['cycle'].capitalize()} dispatch: {kinds}, {case['zones']} zones"
    grows = "" if exponent is None else f"time grows as size to the {exponent:.2f} from 10 000 devices on; "
    return title, f"{grows}hollow: gap not reached in time", described(series["machine"])


def _document(body: Sequence[str], caption: tuple[str, str, str]) -> str:
    title, grows, machine = (escape(text) for text in caption)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" '
        f'height="{_HEIGHT}" role="img" aria-label="{title}" font-family="system-ui, sans-serif" fill="#222">'
    )
    return "\n".join(
        [
            head,
            f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#fff"/>',
            f'<text x="{_LEFT}" y="30" font-size="16" font-weight="600">{title}</text>',
            f'<text x="{_LEFT}" y="50" font-size="12" fill="#666">{grows}</text>',
            *body,
            f'<text x="{_LEFT}" y="{_HEIGHT - 12}" font-size="12" fill="#666">{machine}</text>',
            "</svg>",
            "",
        ]
    )


class _Frame:
    """Logarithmic axes around some points."""

    def __init__(self, found: Points) -> None:
        sizes = [size for size, _ in found] or [1.0, 10.0]
        values = [value for _, value in found] or [1.0, 10.0]
        self.x_low, self.x_high = _decades(sizes)
        self.y_low, self.y_high = _decades(values)

    def x(self, size: float) -> float:
        share = (log10(size) - self.x_low) / (self.x_high - self.x_low)
        return _LEFT + _PAD + share * (_WIDTH - _LEFT - _RIGHT - 2 * _PAD)

    def y(self, value: float) -> float:
        share = (log10(value) - self.y_low) / (self.y_high - self.y_low)
        return _HEIGHT - _BOTTOM - share * (_HEIGHT - _BOTTOM - _TOP)

    def axes(self) -> list[str]:
        """Grid lines at whole decades, their labels, and what the axes are."""
        drawn = []
        for power in range(self.x_low, self.x_high + 1):
            x = self.x(10.0**power)
            drawn.append(_stroke(x, _TOP, x, _HEIGHT - _BOTTOM))
            drawn.append(_text(x, _HEIGHT - _BOTTOM + 20, _number(10.0**power), "middle"))
        for power in range(self.y_low, self.y_high + 1):
            y = self.y(10.0**power)
            drawn.append(_stroke(_LEFT, y, _WIDTH - _RIGHT, y))
            drawn.append(_text(_LEFT - 10, y + 4, f"{_number(10.0**power)} s", "end"))
        drawn.append(_text((_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - _BOTTOM + 42, "devices", "middle"))
        return drawn

    def line(self, found: Points, colour: str, *, labelled: bool, hollow: Collection[float] = ()) -> list[str]:
        """Points joined by a line, the figures beside them if asked for; ``hollow``: sizes that missed the gap."""
        if not found:
            return []
        places = [(self.x(size), self.y(value)) for size, value in found]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        drawn = [f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2.5"/>']
        drawn += [
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" fill="{"#fff" if size in hollow else colour}" '
            f'stroke="{colour}" stroke-width="2"/>'
            for (x, y), (size, _) in zip(places, found, strict=True)
        ]
        if labelled:
            drawn += [
                _text(x - 14, y - 12, f"{value:.2g} s", "middle", colour)
                for (x, y), (_, value) in zip(places, found, strict=True)
            ]
        return drawn


def _slope_one(frame: _Frame, found: Points) -> list[str]:
    """A dashed line through the last point that grows with the size."""
    if len(found) < 2:
        return []
    (first, _), (last, value) = found[0], found[-1]
    start = max(value * first / last, 10.0**frame.y_low)
    x0, y0, x1, y1 = frame.x(start * last / value), frame.y(start), frame.x(last), frame.y(value)
    return [
        f'<line x1="{x0:.1f}" y1="{y0:.1f}" x2="{x1:.1f}" y2="{y1:.1f}" stroke="#999" stroke-dasharray="5 5"/>',
        _text((x0 + x1) / 2 + 10, (y0 + y1) / 2 + 16, "proportional", "start", "#888"),
    ]


def _decades(values: Sequence[float]) -> tuple[int, int]:
    low, high = floor(log10(min(values)) + 1e-9), ceil(log10(max(values)) - 1e-9)
    return (low, high) if high > low else (low, low + 1)


def _number(value: float) -> str:
    return f"{value:,.0f}".replace(",", "\N{NARROW NO-BREAK SPACE}") if value >= 1 else f"{value:g}"


def _stroke(x0: float, y0: float, x1: float, y1: float) -> str:
    return f'<line x1="{x0:.1f}" y1="{y0:.1f}" x2="{x1:.1f}" y2="{y1:.1f}" stroke="#ddd"/>'


def _text(x: float, y: float, text: str, anchor: str, colour: str = "#222") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="13" text-anchor="{anchor}" fill="{colour}">{escape(text)}</text>'
