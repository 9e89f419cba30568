r"""Load raised on purpose before an event, to earn a higher baseline: in the adjustment window, or on like days.

    (N1)  y_d = ȳ + Σ_j β_j (x_{d,j} - x̄_j) + ε_d                           learned on the like days before        [kW]
    (N2)  β = argmin Σ_d ε_d² + λ Σ_j β_j² s_j²                             ridge, s_j² = mean (x_{d,j} - x̄_j)²
    (N3)  z_d = (y_d - its (N1)) / (σ √(1 + h_d)),  score = Σ_d z_d / √n     n suspected days                       [-]

======  ==============  ====  =====================================================================================
symbol  name here       unit  meaning
======  ==============  ====  =====================================================================================
y       shown_kw        kW    mean of the watched hours: adjustment window of the day, event's hours of like days
x       rest of day     kW    means of the hours around them that nobody has a reason to raise; the temperature (°C) in
                              the watched hours, if it is known
σ       spread_kw       kW    robust spread of ε, each day judged by the others (1.4826 · median |ε|, at least σ/2)
h       leverage        -     how far the rest of the day is from what was ever seen: a strange day is no proof
λ       ridge_days      -     weight of β = 0 in days
======  ==============  ====  =====================================================================================

A hot day is high in all its hours, and (N1) knows it from the hours before; whoever raises load for the meter is
high in the watched hours alone.  Of the event day only hours before the window are looked at: what comes after them is
the event's own doing.  The score is evidence for a person to look at, not a verdict: new equipment looks the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np

from models.intervals import FloatArray
from models.settlement.methods.case import BaselineCase, BoolArray, means
from models.settlement.methods.choose import Rows, like_days
from models.settlement.methods.explained import Language
from models.settlement.methods.spec import Window

BEFORE_H = ((-24.0, -4.0), (-4.0, -2.0), (-2.0, -1.0), (-1.0, 0.0))
"""Hours around the watched ones, counted from their start, ..."""
AFTER_H = ((1.0, 3.0), (3.0, 24.0))
"""... and from their end, on like days."""


@dataclass(frozen=True, slots=True)
class InflationRule:
    """Settings of (N1) to (N3)."""

    ridge_days: float = 1.0
    minimum_days: int = 20
    look_back_days: int = 150


RULE = InflationRule()


@dataclass(frozen=True, slots=True)
class InflationFact:
    """One suspected day: what the watched hours showed, and what the rest of the day let expect."""

    day: date
    shown_kw: float
    expected_kw: float
    spread_kw: float
    score: float

    def told(self, language: Language) -> str:
        """In words."""
        off = self.shown_kw - self.expected_kw
        if language == "zh":
            return (
                f"{self.day:%Y-%m-%d} 实测 {self.shown_kw:.4g} kW,按当日其余时段应为 {self.expected_kw:.4g} kW,"
                f"偏差 {off:+.4g} kW,为通常离散的 {self.score:+.1f} 倍"
            )
        return (
            f"{self.day:%Y-%m-%d} showed {self.shown_kw:.4g} kW where the rest of the day lets expect "
            f"{self.expected_kw:.4g} kW: {off:+.4g} kW, {self.score:+.1f} usual spreads"
        )


@dataclass(frozen=True, slots=True)
class Inflation:
    """``score``: about normal where nobody cheats, high where load was raised; ``learning_days`` stand behind it."""

    score: float
    learning_days: int
    days: tuple[InflationFact, ...]


def window_inflation(case: BaselineCase, windows: Sequence[Window], rule: InflationRule = RULE) -> Inflation | None:
    """Of the day's adjustment windows before the event; None without readings or enough days to learn from."""
    before = [case.window(window) for window in windows if window.at == "start"]
    if not before:
        return None
    watched = np.logical_or.reduce(before)
    _, rows = like_days(case, rule.look_back_days)
    return _scored(case, watched, rows, [(case.day, case.day_kw)], rule, after=False)


def days_inflation(case: BaselineCase, suspected: Sequence[date], rule: InflationRule = RULE) -> Inflation | None:
    """Of the event's hours on the like days that made a baseline; only days before all of them are learned from."""
    if not suspected:
        return None
    row_of = {day: row for row, day in enumerate(case.history.days)}
    _, rows = like_days(case, rule.look_back_days)
    first = min(suspected)
    earlier = np.array([row for row in rows.tolist() if case.history.days[row] < first], dtype=np.int64)
    shown = [(day, case.values[row_of[day]]) for day in sorted(suspected)]
    return _scored(case, case.event, earlier, shown, rule, after=True)


def _scored(
    case: BaselineCase,
    watched: BoolArray,
    rows: Rows,
    shown: Sequence[tuple[date, FloatArray]],
    rule: InflationRule,
    *,
    after: bool,
) -> Inflation | None:
    around = _around(case, watched, after=after)
    if not around:
        return None
    days = [case.history.days[row] for row in rows.tolist()]
    heat = _heat(case, [*days, *(day for day, _ in shown)], watched)
    x, y = _features(case.values[rows], around), means(case.values[rows], watched)
    today = np.array([values for _, values in shown])
    x_today, y_today = _features(today, around), means(today, watched)
    if heat is not None:
        x, x_today = np.hstack([x, heat[: len(x)]]), np.hstack([x_today, heat[len(x) :]])
    whole = np.isfinite(x).all(axis=1) & np.isfinite(y)
    if int(whole.sum()) < rule.minimum_days:
        return None
    if not (np.isfinite(x_today).all() and np.isfinite(y_today).all()):
        return None
    expected, spread = _expected(x[whole], y[whole], x_today, rule.ridge_days)
    z = (y_today - expected) / spread
    facts = tuple(
        InflationFact(day, float(y_today[k]), float(expected[k]), float(spread[k]), float(z[k]))
        for k, (day, _) in enumerate(shown)
    )
    return Inflation(float(z.sum() / np.sqrt(len(z))), int(whole.sum()), facts)


def _around(case: BaselineCase, watched: BoolArray, *, after: bool) -> list[BoolArray]:
    step_h = 24 / case.slots
    slots = np.flatnonzero(watched)
    if not len(slots):
        return []
    start_h, end_h = slots[0] * step_h, (slots[-1] + 1) * step_h
    blocks = [case.between(max(start_h + low, 0.0), start_h + high) for low, high in BEFORE_H]
    blocks += [case.between(end_h + low, min(end_h + high, 24.0)) for low, high in AFTER_H] if after else []
    return [block for block in blocks if block.any()]


def _features(values: FloatArray, around: list[BoolArray]) -> FloatArray:
    return np.stack([means(values, block) for block in around], axis=1)


def _heat(case: BaselineCase, days: Sequence[date], watched: BoolArray) -> FloatArray | None:
    """Temperature of the watched hours, (n, 1), NaN on days without; None if there is none."""
    weather = case.temperature_celsius
    if weather is None:
        return None
    of_day = dict(zip(weather.days, means(weather.values[0], watched).tolist(), strict=True))
    return np.array([[of_day.get(day, np.nan)] for day in days])


def _expected(x: FloatArray, y: FloatArray, x_today: FloatArray, ridge_days: float) -> tuple[FloatArray, FloatArray]:
    """(N1) for the suspected days and σ√(1 + h); both (n,)."""
    center, level = x.mean(axis=0), float(y.mean())
    size = np.sqrt(((x - center) ** 2).mean(axis=0))
    size = np.where(size > 0, size, 1.0)
    scaled, today = (x - center) / size, (x_today - center) / size
    inverse = np.linalg.inv(scaled.T @ scaled + ridge_days * np.eye(x.shape[1]))
    slope = inverse @ scaled.T @ (y - level)
    own_share = np.einsum("ij,jk,ik->i", scaled, inverse, scaled) + 1 / len(y)
    left_out = (y - level - scaled @ slope) / (1 - own_share)
    usual = max(1.4826 * float(np.median(np.abs(left_out))), float(left_out.std()) / 2, 0.005 * abs(level), 1e-9)
    leverage = np.einsum("ij,jk,ik->i", today, inverse, today)
    return level + today @ slope, usual * np.sqrt(1 + leverage)
