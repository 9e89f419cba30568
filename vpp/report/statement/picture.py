"""The picture of a statement: per period what was delivered against the award, with the band of 90 to 110 %.

Inline SVG, drawn with the page's own colours.  It is told in grey as well: the award is a thick dashed line, the band
a hatched field, delivery a solid column with its numbers below, what counts a diamond.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from html import escape

from vpp.report.statement.numbers import HIGH, LOW, in_band, percent_of, ratio_of
from vpp.report.words import plain

HEIGHT, TOP, BOTTOM, LEFT, RIGHT = 330, 44, 74, 78, 14
NARROW, VERY_NARROW = 84, 46
BAND_PATTERN = (
    '<defs><pattern id="hatch" width="6" height="6" patternTransform="rotate(45)" patternUnits="userSpaceOnUse">'
    '<rect class="band-ground" width="6" height="6"/><line class="band-line" x1="0" y1="0" x2="0" y2="6"/>'
    "</pattern></defs>"
)


@dataclass(frozen=True, slots=True)
class Column:
    """One period; ``label``: its local time."""

    label: str
    award_kwh: Decimal
    delivered_kwh: Decimal
    effective_kwh: Decimal


@dataclass(frozen=True, slots=True)
class _Scale:
    """Energy to pixels: ``low`` … ``high`` in kWh."""

    low: float
    high: float

    def y(self, value: Decimal | float) -> float:
        share = (float(value) - self.low) / (self.high - self.low)
        return round(HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM), 2)


def picture(columns: Sequence[Column], width: int = 960) -> str:
    """A figure with its caption; nothing if there is no period."""
    if not columns:
        return ""
    values = [v for c in columns for v in (c.delivered_kwh, c.effective_kwh, HIGH * c.award_kwh)]
    unit_name, unit_kwh = _unit(max(abs(value) for value in values))
    ticks = _ticks(float(min(*values, Decimal(0)) / unit_kwh), float(max(*values, Decimal(0)) / unit_kwh))
    scale = _Scale(ticks[0] * unit_kwh, ticks[-1] * unit_kwh)
    slot = (width - LEFT - RIGHT) / len(columns)
    parts = [BAND_PATTERN, _axis(ticks, unit_name, unit_kwh, scale, width), _legend(width)]
    for number, column in enumerate(columns):
        parts.append(_column(column, LEFT + number * slot, min(slot, 220.0), slot, scale, unit_kwh))
    zero = scale.y(0)
    parts.append(f'<line class="zero" x1="{LEFT}" x2="{width - RIGHT}" y1="{zero}" y2="{zero}"/>')
    title = escape("各时段响应与中标 / delivered against award by period")
    return (
        f'<figure class="bars"><svg viewBox="0 0 {width} {HEIGHT}" role="img" aria-label="{title}">'
        f"{''.join(parts)}</svg>"
        "</figure>"
    )


def _column(c: Column, left: float, room: float, slot: float, scale: _Scale, unit_kwh: int) -> str:
    middle = left + slot / 2
    field, bar = 0.84 * room, 0.4 * room
    zero, award = scale.y(0), scale.y(c.award_kwh)
    top, bottom = scale.y(HIGH * c.award_kwh), scale.y(LOW * c.award_kwh)
    end = scale.y(c.delivered_kwh)
    ratio = ratio_of(c.delivered_kwh, c.award_kwh)
    good = ratio is not None and in_band(ratio)
    sign = "" if ratio is None else "✓" if good else "▲" if ratio > HIGH else "▼"
    size = 13 if slot >= NARROW else 10 if slot >= VERY_NARROW else 8
    x0, x1 = middle - field / 2, middle + field / 2
    above = min(end, top, zero) - 7
    facts = (
        f'data-award-kwh="{c.award_kwh:f}" data-delivered-kwh="{c.delivered_kwh:f}" '
        f'data-effective-kwh="{c.effective_kwh:f}"'
    )
    d = scale.y(c.effective_kwh)
    return (
        f'<g class="column" {facts}>'
        f'<rect class="band" x="{x0:.2f}" y="{top}" width="{field:.2f}" height="{bottom - top:.2f}" '
        'fill="url(#hatch)"/>'
        f'<rect class="delivered" x="{middle - bar / 2:.2f}" y="{min(end, zero)}" width="{bar:.2f}" '
        f'height="{abs(zero - end):.2f}"/>'
        f'<line class="award" x1="{x0:.2f}" x2="{x1:.2f}" y1="{award}" y2="{award}"/>'
        f'<path class="effective" d="M{middle:.2f} {d - 6:.2f}l6 6l-6 6l-6 -6z"/>'
        f"{_verdict(percent_of(ratio), sign, middle, above, slot)}"
        f'<text class="clock" x="{middle:.2f}" y="{HEIGHT - BOTTOM + 20}" font-size="{size}">'
        f"{_label(c.label, slot)}</text>"
        f"{_pair(c, middle, unit_kwh, slot)}</g>"
    )


def _verdict(ratio: str, sign: str, middle: float, y: float, slot: float) -> str:
    """Ratio and sign above a column; one over the other where columns are narrow, the sign alone where very."""
    if slot >= NARROW:
        return f'<text class="ratio" x="{middle:.2f}" y="{y:.2f}" font-size="14">{ratio} {sign}</text>'
    at = f'x="{middle:.2f}"'
    if slot < VERY_NARROW:
        return f'<text class="ratio" {at} y="{y:.2f}" font-size="11">{sign}</text>'
    return (
        f'<text class="ratio" {at} y="{y:.2f}" font-size="11">{ratio}</text>'
        f'<text class="ratio" {at} y="{y - 13:.2f}" font-size="11">{sign}</text>'
    )


def _pair(c: Column, middle: float, unit_kwh: int, slot: float) -> str:
    """Delivered and award below a column; one under the other where columns are narrow."""
    delivered, award = (_in_units(value, unit_kwh, slot) for value in (c.delivered_kwh, c.award_kwh))
    y, at = HEIGHT - BOTTOM + 38, f'class="pair" x="{middle:.2f}"'
    if slot >= NARROW:
        return f'<text {at} y="{y}" font-size="12">{delivered} / {award}</text>'
    size = 10 if slot >= VERY_NARROW else 8
    return (
        f'<text {at} y="{y - 4}" font-size="{size}">{delivered}</text>'
        f'<text {at} y="{y + 9}" font-size="{size}">{award}</text>'
    )


def _label(label: str, slot: float) -> str:
    return escape(label if slot >= NARROW else label.partition("–")[0])


def _in_units(value: Decimal, unit_kwh: int, slot: float) -> str:
    """As many digits as there is room for; the table has them all."""
    number = value / unit_kwh
    places = 1 if abs(number) >= 100 or slot < 110 else 2
    if slot < 60 and abs(number) >= 100:
        places = 0
    return f"{number:,.{places}f}".replace("-", "−")


def _axis(ticks: Sequence[float], unit_name: str, unit_kwh: int, scale: _Scale, width: int) -> str:
    lines = []
    for tick in ticks:
        y = scale.y(tick * unit_kwh)
        text = f"{tick:,.10g}".replace("-", "−")
        lines.append(f'<line class="grid" x1="{LEFT}" x2="{width - RIGHT}" y1="{y}" y2="{y}"/>')
        lines.append(f'<text class="tick" x="{LEFT - 8}" y="{y + 4}">{text}</text>')
    lines.append(f'<text class="unit" x="{LEFT - 8}" y="{TOP - 22}">{unit_name}</text>')
    below = plain("响应 / 中标", "delivered / award") + f", {unit_name}"
    lines.append(f'<text class="below" x="{width - RIGHT}" y="{HEIGHT - 8}">{below}</text>')
    return "".join(lines)


def _legend(width: int) -> str:
    """Each mark with its name, above the plot."""
    step = (width - LEFT - RIGHT) / 4
    x = [LEFT + 4 + k * step for k in range(4)]
    y = 14
    names = (("响应", "delivered"), ("中标", "award"), ("90–110 % 区间", "band"), ("有效", "effective"))
    marks = (
        f'<rect class="delivered" x="{x[0]:.1f}" y="{y - 9}" width="14" height="12"/>',
        f'<line class="award" x1="{x[1] - 8:.1f}" x2="{x[1] + 14:.1f}" y1="{y - 3}" y2="{y - 3}"/>',
        f'<rect class="band" x="{x[2] - 6:.1f}" y="{y - 9}" width="20" height="12" fill="url(#hatch)"/>',
        f'<path class="effective" d="M{x[3] + 7:.1f} {y - 9}l6 6l-6 6l-6 -6z"/>',
    )
    texts = (
        f'<text class="key" x="{at + 20:.1f}" y="{y + 1}">{plain(*name)}</text>'
        for at, name in zip(x, names, strict=True)
    )
    return "".join(marks) + "".join(texts)


def _unit(largest: Decimal) -> tuple[str, int]:
    return ("GWh", 1_000_000) if largest >= 1_000_000 else ("MWh", 1000) if largest >= 10_000 else ("kWh", 1)


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers from below the lowest to above the highest value, with room for the words above the columns."""
    span = max(high - low, 1e-6)
    raw = 1.12 * span / 5
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw)
    first, last = math.floor(low / step), math.ceil((high + 0.14 * span) / step)
    return [round(k * step, 9) for k in range(first, last + 1)]
