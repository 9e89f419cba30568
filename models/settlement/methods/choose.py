"""Which days of the history serve, which do not, and why: the first rule that a day breaks is its verdict."""

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from models.settlement.days import DayClass, day_class
from models.settlement.methods.case import BaselineCase, means
from models.settlement.methods.explained import DayVerdict, Verdict
from models.settlement.methods.spec import DayCount, DayRule

ENOUGH_OF_A_DAY = 0.9
Rows = NDArray[np.int64]


def kind_of(case: BaselineCase, day: date, kinds: Literal["two", "four"] = "two") -> str:
    """What a day is like: a weekday or a weekend; with four kinds Saturday, Sunday and holiday apart."""
    two = day_class(day, case.holidays, case.working_weekends)
    if kinds == "two" or two is DayClass.WEEKDAY:
        return two.value
    return "holiday" if day in case.holidays else ("saturday" if day.weekday() == 5 else "sunday")


def like_days(
    case: BaselineCase, look_back_days: int, *, skip_days: int = 0, kinds: Literal["two", "four"] = "two"
) -> tuple[list[DayVerdict], Rows]:
    """A verdict for every day that does not serve (USED for the others, for now), and the rows of those that do."""
    wanted = kind_of(case, case.day, kinds)
    verdicts: list[DayVerdict] = []
    for day, share in zip(case.history.days, case.measured_share, strict=True):
        back = (case.day - day).days
        fact = None
        if back <= 0:
            verdict = Verdict.NOT_BEFORE
        elif back <= skip_days:
            verdict = Verdict.TOO_RECENT
        elif back > look_back_days:
            verdict = Verdict.BEYOND_LOOK_BACK
        elif kind_of(case, day, kinds) != wanted:
            verdict = Verdict.HOLIDAY if day in case.holidays else Verdict.OTHER_KIND
        elif day in case.event_days:
            verdict = Verdict.EVENT_DAY
        elif day in case.outage_days:
            verdict = Verdict.OUTAGE_DAY
        elif share < ENOUGH_OF_A_DAY:
            verdict, fact = Verdict.TOO_FEW_READINGS, float(share)
        else:
            verdict = Verdict.USED
        verdicts.append(DayVerdict(day, verdict, fact=fact))
    return verdicts, rows_used(verdicts)


def rows_used(verdicts: list[DayVerdict]) -> Rows:
    """Rows of the days that serve so far."""
    return np.array([k for k, each in enumerate(verdicts) if each.verdict is Verdict.USED], dtype=np.int64)


def settle(
    verdicts: list[DayVerdict], before: Rows, after: Rows, verdict: Verdict, fact: Callable[[int], float] | None = None
) -> Rows:
    """Give ``verdict`` to the days of ``before`` that are not in ``after``; returns ``after``."""
    kept = set(after.tolist())
    for row in before.tolist():
        if row not in kept:
            verdicts[row] = replace(verdicts[row], verdict=verdict, fact=None if fact is None else fact(row))
    return after


def weigh(verdicts: list[DayVerdict], rows: Rows, weights: NDArray[np.float64]) -> None:
    """Write the weights of the days used into their verdicts."""
    for row, weight in zip(rows.tolist(), weights.tolist(), strict=True):
        verdicts[row] = replace(verdicts[row], weight=weight)


def count_for(case: BaselineCase, rule: DayRule) -> DayCount:
    """How many days, for the kind of the event day."""
    return rule.weekday if kind_of(case, case.day) == DayClass.WEEKDAY else rule.weekend


def choose_days(case: BaselineCase, rule: DayRule) -> tuple[list[DayVerdict], Rows, NDArray[np.float64]]:
    """Verdicts of all days, the rows used (ascending) and their weights; no rows if there are too few days."""
    count = count_for(case, rule)
    verdicts, rows = like_days(case, rule.look_back_days, skip_days=rule.skip_days, kinds=rule.day_kinds)
    use = means(case.values, case.event)
    if rule.low_use_fraction is not None and len(rows):
        usual = float(np.nanmean(use[rows])) if np.isfinite(use[rows]).any() else 0.0
        enough = rows[~(use[rows] < rule.low_use_fraction * usual)]
        rows = settle(verdicts, rows, enough, Verdict.LOW_USE, lambda row: float(use[row]))
    rows = settle(verdicts, rows, rows[-count.of :], Verdict.NEWER_DAYS_SUFFICE)
    if rule.outlier_fraction is not None and len(rows):
        level = means(case.values, np.ones(case.slots, dtype=np.bool_))
        usual = float(level[rows].mean())
        ordinary = rows[np.abs(level[rows] - usual) <= rule.outlier_fraction * abs(usual)]
        rows = settle(verdicts, rows, ordinary, Verdict.OUTLIER, lambda row: float(level[row]))
    if len(rows) < count.minimum:
        settle(verdicts, rows, rows[:0], Verdict.TOO_FEW_DAYS)
        return verdicts, rows[:0], np.zeros(0)
    ranked = _ranked(use, rows)
    if rule.pick != "all":
        surplus = max(len(rows) - count.take, 0)
        above = surplus // 2 if rule.pick == "mid" else 0
        ranked = ranked[above : above + count.take]
        verdict = Verdict.NOT_AMONG_HIGHEST if rule.pick == "high" else Verdict.NOT_IN_THE_MIDDLE
        settle(verdicts, rows, ranked, verdict, lambda row: float(use[row]))
    weights = np.array(count.weights[: len(ranked)] if count.weights else [1.0] * len(ranked))
    order = np.argsort(ranked)
    rows, weights = ranked[order], weights[order] / weights.sum()
    weigh(verdicts, rows, weights)
    return verdicts, rows, weights


def _ranked(use: NDArray[np.float64], rows: Rows) -> Rows:
    """The rows, highest use in the event's hours first; of equal ones the older first."""
    level = np.where(np.isfinite(use[rows]), use[rows], -np.inf)
    return rows[np.argsort(-level, kind="stable")]
