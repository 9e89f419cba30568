r"""Time of week and temperature.

    (R1)  L_{d,t} = α_{w(d),t} + Σ_j β_j T_j(θ_{d,t})                                [kW]
    (R2)  T_j(θ) = min(max(θ - k_j, 0), k_{j+1} - k_j)   part of θ between two knots [°C]

======  ===================  ====  ====================================================
symbol  name here            unit  meaning
======  ===================  ====  ====================================================
α       intercept            kW    level of the weekday w and the clock slot t
β       slope                kW/K  per part of the temperature
k       knots_celsius        °C    knots; below the first is a part of its own
======  ===================  ====  ====================================================

The levels are taken out first (means per weekday and slot), and a small least-squares problem in β is left
(Frisch and Waugh): numpy alone does it exactly, so that no statistics library has to be shipped for it, and the
smallest-norm solution is defined where a part of the temperature has never been seen.
Source: time-of-week-and-temperature model as in the domain notes, §3.1; knots and look-back are ours.
"""

from itertools import pairwise

import numpy as np

from models.intervals import FloatArray
from models.settlement.methods.case import BaselineCase, BoolArray
from models.settlement.methods.choose import like_days, settle, weigh
from models.settlement.methods.explained import NoBaseline, Verdict
from models.settlement.methods.outcome import Outcome, nothing
from models.settlement.methods.spec import Regression


def temperature_parts(celsius: FloatArray, knots_celsius: tuple[float, ...]) -> FloatArray:
    """(R2), (…, J): the part below the first knot (0 or less), between each two, and above the last."""
    if not knots_celsius:
        return celsius[..., None]
    below = np.minimum(celsius - knots_celsius[0], 0.0)
    edges = pairwise((*knots_celsius, np.inf))
    return np.stack([below, *(np.clip(celsius - low, 0.0, high - low) for low, high in edges)], axis=-1)


def regression(case: BaselineCase, rule: Regression) -> Outcome:
    """(R1), fitted on the like days that have temperatures; the event's weekday must be among them."""
    verdicts, rows = like_days(case, rule.look_back_days)
    weather = case.temperature_celsius
    place = {} if weather is None else {day: k for k, day in enumerate(weather.days)}
    if weather is None or case.day not in place:
        return nothing(NoBaseline.NO_TEMPERATURE, verdicts)
    told = rows[[case.history.days[row] in place for row in rows]] if len(rows) else rows
    rows = settle(verdicts, rows, told, Verdict.NO_TEMPERATURE)
    if len(rows) < rule.minimum_days:
        settle(verdicts, rows, rows[:0], Verdict.TOO_FEW_DAYS)
        return nothing(NoBaseline.TOO_FEW_DAYS, verdicts)
    days = [case.history.days[row] for row in rows.tolist()]
    load = case.values[rows]
    parts = temperature_parts(weather.values[0, [place[day] for day in days]], rule.knots_celsius)
    today = temperature_parts(weather.values[0, place[case.day]], rule.knots_celsius)
    if not np.isfinite(today[case.event]).all():
        return nothing(NoBaseline.NO_TEMPERATURE, verdicts)
    known = np.isfinite(load) & np.isfinite(parts).all(axis=2)
    weekday = np.array([day.weekday() for day in days])
    left, left_parts = np.full(load.shape, np.nan), np.full(parts.shape, np.nan)
    level, level_parts = np.full(case.slots, np.nan), np.full((case.slots, parts.shape[2]), np.nan)
    for each in np.unique(weekday):
        same = weekday == each
        mean_load, mean_parts = _means(load[same], parts[same], known[same])
        left[same], left_parts[same] = load[same] - mean_load, parts[same] - mean_parts
        if each == case.day.weekday():
            level, level_parts = mean_load, mean_parts
    if not np.isfinite(level[case.event]).all():
        settle(verdicts, rows, rows[:0], Verdict.TOO_FEW_DAYS)
        return nothing(NoBaseline.TOO_FEW_DAYS, verdicts)
    slope, *_ = np.linalg.lstsq(left_parts[known], left[known], rcond=1e-9)
    weigh(verdicts, rows, np.full(len(rows), 1 / len(rows)))
    return Outcome(level + (today - level_parts) @ slope, tuple(verdicts))


def _means(load: FloatArray, parts: FloatArray, known: BoolArray) -> tuple[FloatArray, FloatArray]:
    """Mean of the known over the days of one weekday: (S,) and (S, J)."""
    count = known.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean_load = np.where(known, load, 0.0).sum(axis=0) / count
        mean_parts = np.where(known[:, :, None], parts, 0.0).sum(axis=0) / count[:, None]
    return np.asarray(mean_load), np.asarray(mean_parts)
