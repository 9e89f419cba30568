r"""Families that average like days.

    (A1)  b_t = Σ_{d∈S} w_d L_{d,t}                           S picked by rule (``choose.py``)          [kW]
    (A2)  b_t as (A1), S the days with the smallest |θ_d - θ|  θ the day's highest temperature        [kW]
    (A3)  b_t as (A1), S the days with the smallest rms_{t∉E}(L_d - L)   E the event and its margin      [kW]
    (A4)  b ← κ b + (1 - κ) L_d over the like days            rolling, κ = ``keep_fraction``             [kW]

L is the meter of a day, θ its highest temperature (°C), without an index those of the event day.  Days serve only from
before the event day, and none of an event (``choose.py``).  Source: the domain notes, §3.1 and §3.2.
"""

from collections.abc import Callable

import numpy as np

from models.intervals import FloatArray
from models.settlement.methods.case import BaselineCase
from models.settlement.methods.choose import Rows, choose_days, like_days, settle, weigh
from models.settlement.methods.explained import DayVerdict, NoBaseline, Verdict
from models.settlement.methods.outcome import Outcome, mean_of_days, nothing
from models.settlement.methods.spec import DayMatching, MatchDay, NearestTemperature, Rolling


def day_matching(case: BaselineCase, rule: DayMatching) -> Outcome:
    """(A1)."""
    verdicts, rows, weights = choose_days(case, rule.days)
    if not len(rows):
        return nothing(NoBaseline.TOO_FEW_DAYS, verdicts)
    return Outcome(mean_of_days(case, rows, weights), tuple(verdicts))


def nearest_temperature(case: BaselineCase, rule: NearestTemperature) -> Outcome:
    """(A2)."""
    verdicts, rows = like_days(case, rule.look_back_days)
    weather = case.temperature_celsius
    highest = {}
    if weather is not None:
        for day, values in zip(weather.days, weather.values[0], strict=True):
            if np.isfinite(values).any():
                highest[day] = float(np.nanmax(values))
    if case.day not in highest:
        return nothing(NoBaseline.NO_TEMPERATURE, verdicts)
    told = rows[[case.history.days[row] in highest for row in rows]] if len(rows) else rows
    settle(verdicts, rows, told, Verdict.NO_TEMPERATURE)
    off = np.array([abs(highest[case.history.days[row]] - highest[case.day]) for row in told])
    return _nearest(case, verdicts, told, off, rule.take)


def match_day(case: BaselineCase, rule: MatchDay) -> Outcome:
    """(A3)."""
    verdicts, rows = like_days(case, rule.look_back_days)
    away = ~case.between(case.start_h - rule.margin_h, case.end_h + rule.margin_h)
    away &= np.isfinite(case.day_kw)
    if not away.any():
        return nothing(NoBaseline.NO_READINGS, verdicts)
    apart = case.values[rows][:, away] - case.day_kw[away]
    known = np.isfinite(apart)
    off = np.sqrt((np.where(known, apart, 0.0) ** 2).sum(axis=1) / np.maximum(known.sum(axis=1), 1))
    return _nearest(case, verdicts, rows, np.where(known.any(axis=1), off, np.inf), rule.take)


def _nearest(case: BaselineCase, verdicts: list[DayVerdict], rows: Rows, off: FloatArray, take: int) -> Outcome:
    if len(rows) < take:
        settle(verdicts, rows, rows[:0], Verdict.TOO_FEW_DAYS)
        return nothing(NoBaseline.TOO_FEW_DAYS, verdicts)
    newest_first = np.arange(len(rows))[::-1]
    nearest = newest_first[np.argsort(off[newest_first], kind="stable")[:take]]
    distance = dict(zip(rows.tolist(), off.tolist(), strict=True))
    fact: Callable[[int], float] = distance.__getitem__
    chosen = settle(verdicts, rows, np.sort(rows[nearest]), Verdict.LESS_ALIKE, fact)
    weights = np.full(take, 1 / take)
    weigh(verdicts, chosen, weights)
    return Outcome(mean_of_days(case, chosen, weights), tuple(verdicts))


def rolling(case: BaselineCase, rule: Rolling) -> Outcome:
    """(A4); a missing reading leaves its slot as it was."""
    verdicts, rows = like_days(case, rule.look_back_days)
    if len(rows) < rule.start_days:
        settle(verdicts, rows, rows[:0], Verdict.TOO_FEW_DAYS)
        return nothing(NoBaseline.TOO_FEW_DAYS, verdicts)
    weights = np.full(len(rows), 1.0)
    weights[: rule.start_days] = 1 / rule.start_days
    kw = mean_of_days(case, rows[: rule.start_days], weights[: rule.start_days])
    for place, row in enumerate(rows[rule.start_days :].tolist(), rule.start_days):
        today = case.values[row]
        next_kw = np.where(np.isfinite(kw), rule.keep_fraction * kw + (1 - rule.keep_fraction) * today, today)
        kw = np.where(np.isfinite(today), next_kw, kw)
        weights[:place] *= rule.keep_fraction
        weights[place] = 1 - rule.keep_fraction
    weigh(verdicts, rows, weights)
    return Outcome(kw, tuple(verdicts))
