"""Placebo events: methods against what the meters really showed on the hottest days, when nobody was called.

Per site the ten days of 15 June to 15 September with the highest mean of 14:00 to 18:00 are the events; they never
serve as like days.  The event's hours of the day are taken out before a method may look at it.  Our own method was
chosen on the days ranked 11 to 30 (``UNSCORED``), which are not in the score.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date

import numpy as np
from numpy.typing import NDArray

from models.settlement.baseline import placebo_errors
from models.settlement.days import ClockDays
from models.settlement.methods.case import BaselineCase
from models.settlement.methods.evaluate import baseline_by
from models.settlement.methods.spec import DayMatching, MethodSpec
from models.settlement.methods.table import method_named
from vpp.bench.baseline_meters import MeterSite

START_H, END_H = 14.0, 18.0
Ranks = tuple[tuple[int, int], ...]
SCORED: Ranks = ((0, 10),)
UNSCORED: Ranks = ((10, 20), (20, 30))
"""Each [first, last) by heat; within each the hotter days do not serve either: nothing so hot was ever seen."""


def season_ranking(site: MeterSite) -> NDArray[np.int64]:
    """Rows of the season's days, the highest in the event's hours first."""
    first, last = date(site.year, 6, 15), date(site.year, 9, 15)
    in_season = np.array([first <= day <= last for day in site.days.days])
    level = np.where(in_season, site.days.values[0][:, int(START_H) : int(END_H)].mean(axis=1), -np.inf)
    return np.argsort(-level)[: int(in_season.sum())]


def placebo_cases(
    site: MeterSite, ranks: Ranks = SCORED, others: ClockDays | None = None
) -> Iterator[tuple[BaselineCase, NDArray[np.float64]]]:
    """Each event, oldest first, and what the meter showed in its hours, (4,)."""
    ranking = season_ranking(site).tolist()
    for first, last in ranks:
        blind = BaselineCase(
            site.days,
            site.days.days[0],
            START_H,
            END_H,
            np.full(24, np.nan),
            event_days=frozenset(site.days.days[row] for row in ranking[:last]),
            temperature_celsius=site.temperature_celsius,
            control_kw=others,
        )
        for row in sorted(ranking[first:last]):
            shown = site.days.values[0, row]
            day_kw = np.where(blind.event, np.nan, shown)
            yield replace(blind, day=site.days.days[row], day_kw=day_kw), shown[blind.event]


def others_of(sites: Sequence[MeterSite], mine: MeterSite) -> ClockDays:
    """The other meters of the same summer as a control group; their own events are blanked."""
    group = [site for site in sites if site.year == mine.year and site is not mine]
    days = sorted({day for site in (*group, mine) for day in site.days.days})
    place = {day: k for k, day in enumerate(days)}
    values = np.full((len(group), len(days), 24), np.nan)
    for row, site in enumerate(group):
        called = set(season_ranking(site)[: SCORED[0][1]].tolist())
        free = [k for k in range(len(site.days.days)) if k not in called]
        values[row, [place[site.days.days[k]] for k in free]] = site.days.values[0, free]
    return ClockDays(tuple(days), values, mine.days.step, mine.days.zone)


@dataclass(frozen=True)
class SiteScore:
    """One method at one meter, per cent of the mean load; NaN where it gave no baseline at all."""

    cvrmse_pct: float
    bias_pct: float
    events: int
    covered: int


def site_score(
    site: MeterSite, method: MethodSpec, others: ClockDays | None = None, ranks: Ranks = SCORED
) -> SiteScore:
    """All placebo events of one meter by one method."""
    expected, measured, events = [], [], 0
    for case, shown in placebo_cases(site, ranks, others):
        events += 1
        kw = baseline_by(method, case).kw[case.event]
        if np.isfinite(kw).all():
            expected.append(kw)
            measured.append(shown)
    if not expected:
        return SiteScore(float("nan"), float("nan"), events, 0)
    cvrmse, bias = placebo_errors(expected, measured)
    return SiteScore(100 * cvrmse, 100 * bias, events, len(expected))


def summary(scores: Sequence[SiteScore]) -> Mapping[str, float | int | None]:
    """Median over the sites that have a baseline, the 90th percentile, and the share of events with one."""
    told = [each for each in scores if each.covered]
    events = sum(each.events for each in scores)
    found: dict[str, float | int | None] = {
        "sites": len(told),
        "coverage_pct": 100 * sum(each.covered for each in scores) / events if events else 0.0,
    }
    cvrmse, bias = [each.cvrmse_pct for each in told], [each.bias_pct for each in told]
    found["median_CVRMSE_pct"] = float(np.median(cvrmse)) if told else None
    found["median_bias_pct"] = float(np.median(bias)) if told else None
    found["p90_CVRMSE_pct"] = float(np.percentile(cvrmse, 90)) if told else None
    return found


def bar_methods() -> Mapping[str, MethodSpec]:
    """The methods of the published bars, as their protocol has them: no limit of look-back, no low use."""
    ten, high, caiso = method_named("ten_of_ten"), method_named("pjm_4_5_saa"), method_named("caiso_10_10")
    same = {"limit": 0.4, "reciprocal": True}
    wider = None if caiso.adjustment is None else caiso.adjustment.model_copy(update=same)
    methods = {
        "CAISO 10in10 unadj": ten,
        "CAISO 10in10 +-20% SDA": caiso,
        "CAISO 10in10 +-40% SDA": caiso.model_copy(update={"adjustment": wider}),
        "PJM High4of5 unadj": high.model_copy(update={"adjustment": None}),
        "PJM High4of5 additive SDA": high,
    }
    return {name: _bare(method) for name, method in methods.items()}


def _bare(method: MethodSpec) -> MethodSpec:
    rule = method.parameters
    if not isinstance(rule, DayMatching):
        return method
    days = rule.days.model_copy(update={"look_back_days": 1000, "low_use_fraction": None})
    return method.model_copy(update={"parameters": rule.model_copy(update={"days": days})})
