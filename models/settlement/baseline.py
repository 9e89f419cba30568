r"""Day-matching baselines: what a load would have drawn, from like days on which nobody asked anything of it.

    (B1)  b_t = (1/|S|) Σ_{d in S} L_{d,t}              mean of the chosen like days                 [kW]
    (B2)  b'_t = b_t · clip(Σ_w L / Σ_w b, 1-c, 1+c)    same-day adjustment, if the method has one   [kW]

======  =================  ====  =======================================================================
symbol  name here          unit  meaning
======  =================  ====  =======================================================================
L       history.values     kW    measured days, (R, D, S) on the clock of the market's zone
S       days_used          -     X of the last Y eligible like days: all, the highest, or the middle ones
w       adjustment window  -     clock time before the event, ended before anybody could know of it
c       adjustment.limit   -     how far the adjustment may go
======  =================  ====  =======================================================================

Eligible is a day before the target day that is no event day and no outage day of the resource, has the same day class
(weekday, weekend; a holiday is a weekend), lies within ``look_back_days`` and is measured for at least 90 %.  Highest
and middle are ranked by the mean in the event window (of the whole day where no window is given).

The rules themselves are data with their source: the rows of ``methods/baseline_methods.toml`` that say ``planning``.
This file computes them for whole fleets; ``methods/`` computes every row for one meter, and says why.  The service
plans and judges day-ahead with ``PLANNING_METHOD``, without adjustment: it must be blind to every event.
"""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from models.errors import InputError, InputFault
from models.intervals import FloatArray
from models.settlement.days import ClockDays, DayClass, day_class, mean_known
from models.settlement.methods import spec
from models.settlement.methods.table import TABLE, packaged_table

BoolArray = NDArray[np.bool_]
Pick = Literal["all", "high", "mid"]
ENOUGH_OF_A_DAY = 0.9


@dataclass(frozen=True, slots=True)
class DayCount:
    """``take`` of the last ``of`` like days; fewer than ``minimum`` eligible days give no baseline."""

    take: int
    of: int
    minimum: int


@dataclass(frozen=True, slots=True)
class Adjustment:
    """Same-day scalar (B2): window of ``window_h`` hours that ends ``gap_h`` before the event; ±``limit`` at most."""

    limit: float
    window_h: float
    gap_h: float


@dataclass(frozen=True, slots=True)
class BaselineMethod:
    """One published rule as data."""

    method_id: str
    family: str
    pick: Pick
    weekday: DayCount
    weekend: DayCount
    look_back_days: int
    adjustment: Adjustment | None
    outlier_fraction: float | None
    source: str
    verified: bool = False

    def count(self, kind: DayClass) -> DayCount:
        """How many days for a target day of this class."""
        return self.weekday if kind is DayClass.WEEKDAY else self.weekend


def _count(row: spec.DayCount) -> DayCount:
    return DayCount(row.take, row.of, row.minimum)


def _planned_with(row: spec.MethodSpec) -> BaselineMethod:
    """A row of the table as this file computes it: for a whole fleet at once, without explanations."""
    rule = row.parameters
    if not isinstance(rule, spec.DayMatching):
        raise InputError([InputFault(TABLE, f"{row.id}/planning", rule.family, "must be false: no day matching")])
    days, adjustment = rule.days, None
    if row.adjustment is not None:
        (window,) = row.adjustment.windows
        adjustment = Adjustment(row.adjustment.limit or 0.0, window.to_h - window.from_h, -window.to_h)
    return BaselineMethod(
        row.id,
        f"NAESB {row.naesb}",
        days.pick,
        _count(days.weekday),
        _count(days.weekend),
        days.look_back_days,
        adjustment,
        days.outlier_fraction,
        row.source,
        row.verified,
    )


METHODS: Mapping[str, BaselineMethod] = {row.id: _planned_with(row) for row in packaged_table().method if row.planning}
"""The rows of the table that the service may plan with, by id."""

PLANNING_METHOD = METHODS["ten_of_ten"]


@dataclass(frozen=True)
class Baselines:
    """``profile``: (R, S) kW by clock slot, NaN if there is none; ``days_used``: (R, D); ``enough``: (R,)."""

    method_id: str
    profile: FloatArray
    days_used: BoolArray
    enough: BoolArray


def eligible_days(
    history: ClockDays,
    target_day: date,
    method: BaselineMethod,
    holidays: Container[date],
    excluded: BoolArray | None = None,
    working_weekends: Container[date] = (),
) -> BoolArray:
    """Which days may serve whom, (R, D); ``excluded``: (D,) or (R, D), days of events and outages."""
    wanted = day_class(target_day, holidays, working_weekends)
    like = np.array(
        [
            day < target_day
            and (target_day - day).days <= method.look_back_days
            and day_class(day, holidays, working_weekends) is wanted
            for day in history.days
        ],
        dtype=np.bool_,
    )
    exists = history.exists()
    share = (np.isfinite(history.values) & exists).sum(axis=2) / exists.sum(axis=1)
    allowed: BoolArray = np.asarray(like[None, :] & (share >= ENOUGH_OF_A_DAY))
    if excluded is not None:
        if excluded.shape not in (allowed.shape, allowed.shape[1:]):
            rule = f"shape must be {allowed.shape[1:]} or {allowed.shape}"
            raise InputError([InputFault("baseline", "excluded", excluded.shape, rule)])
        allowed &= ~excluded
    return allowed


def _last(chosen: BoolArray, count: int) -> BoolArray:
    """The last ``count`` true entries of every row."""
    from_the_end = np.cumsum(chosen[:, ::-1], axis=1)[:, ::-1]
    return np.asarray(chosen & (from_the_end <= count))


def _without_outliers(history: ClockDays, chosen: BoolArray, fraction: float | None) -> BoolArray:
    if fraction is None:
        return chosen
    level = np.nan_to_num(mean_known(history.values, np.ones_like(history.values), 2))
    usual = mean_known(np.where(chosen, level, np.nan), np.ones_like(level), 1)[:, None]
    with np.errstate(invalid="ignore"):
        return np.asarray(chosen & ~(np.abs(level - usual) > fraction * np.abs(usual)))


def _picked(history: ClockDays, chosen: BoolArray, pick: Pick, take: int, window: BoolArray | None) -> BoolArray:
    if pick == "all":
        return chosen
    slots = np.ones(history.values.shape[2], dtype=np.bool_) if window is None else window
    level = mean_known(history.values[:, :, slots], np.ones_like(history.values[:, :, slots]), 2)
    level = np.where(chosen & np.isfinite(level), level, -np.inf)
    order = np.argsort(-level, axis=1, kind="stable")
    rank = np.empty_like(order)
    np.put_along_axis(rank, order, np.broadcast_to(np.arange(order.shape[1]), order.shape), axis=1)
    found = chosen.sum(axis=1, keepdims=True)
    surplus = np.maximum(found - take, 0)
    above = surplus // 2 if pick == "mid" else np.zeros_like(surplus)
    return np.asarray(chosen & (rank >= above) & (rank < above + np.minimum(found, take)))


def baseline_profiles(
    history: ClockDays,
    target_day: date,
    method: BaselineMethod = PLANNING_METHOD,
    *,
    holidays: Container[date] = (),
    working_weekends: Container[date] = (),
    excluded: BoolArray | None = None,
    event_slots: BoolArray | None = None,
) -> Baselines:
    """Baselines (B1) of all resources for ``target_day``; see the module's text for who counts as a like day.

    ``event_slots``: (S,), true in the event window, ranks days for "high" and "mid".  A resource with fewer
    eligible days than the method's minimum has ``enough`` false and a profile of NaN.
    """
    count = method.count(day_class(target_day, holidays, working_weekends))
    allowed = eligible_days(history, target_day, method, holidays, excluded, working_weekends)
    chosen = _without_outliers(history, _last(allowed, count.of), method.outlier_fraction)
    used = _picked(history, chosen, method.pick, count.take, event_slots)
    enough = chosen.sum(axis=1) >= count.minimum
    used = used & enough[:, None]
    profile = mean_known(history.values, np.broadcast_to(used[:, :, None], history.values.shape).astype(float), 1)
    return Baselines(method.method_id, profile, used, np.asarray(enough))


def adjusted(
    baseline_kw: FloatArray, metered_kw: FloatArray, window: BoolArray, limit: float
) -> tuple[FloatArray, FloatArray]:
    """Same-day adjustment (B2): baselines (R, T) times a factor, and the factors (R,).

    ``window``: (T,), true before the event, where nobody knew of it yet.  A resource without readings there,
    or with a baseline of no energy, keeps its baseline (factor 1).
    """
    known = np.isfinite(metered_kw) & np.isfinite(baseline_kw) & window
    metered = np.where(known, metered_kw, 0.0).sum(axis=1)
    expected = np.where(known, baseline_kw, 0.0).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        factor = np.where(expected > 0, metered / expected, 1.0)
    factor = np.clip(factor, 1 - limit, 1 + limit)
    return baseline_kw * factor[:, None], factor


def placebo_errors(baseline_kw: Sequence[FloatArray], metered_kw: Sequence[FloatArray]) -> tuple[float, float]:
    """How good a method is where the truth is known: (RRMSE, bias) over days on which nothing was called.

    RRMSE = √mean((b - L)²) / mean(L); bias = mean(b - L) / mean(L).
    """
    b, load = (
        np.concatenate([np.ravel(x) for x in baseline_kw]),
        np.concatenate([np.ravel(x) for x in metered_kw]),
    )
    level = float(np.mean(load))
    return float(np.sqrt(np.mean((b - load) ** 2))) / level, float(np.mean(b - load)) / level
