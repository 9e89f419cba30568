"""How well load raised for the meter is found: attacks of known size on real days on which nothing was called.

Two attacks: the adjustment window (10:00 to 13:00) of the day, and the event's hours of the last five like days.  Quiet
are the days of the season that are not among the ten hottest; the honest ten hottest are told beside them, because a
hot morning is what an attack looks like.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.settlement.inflation import Inflation, days_inflation, window_inflation
from models.settlement.methods.case import BaselineCase
from models.settlement.methods.choose import like_days
from models.settlement.methods.spec import Window
from vpp.bench.baseline_meters import MeterSite
from vpp.bench.placebo import END_H, SCORED, START_H, season_ranking

SIZES = (0.05, 0.1, 0.2, 0.4)
FALSE_ALARMS = (0.01, 0.05)
WINDOW = Window(from_h=-4, to_h=-1)
LIKE_DAYS = 5
ATTACKS = ("window", "like_days")
Scores = dict[str, list[float]]


def site_attacks(site: MeterSite) -> Mapping[str, Scores]:
    """Scores by attack of one meter: quiet days, the honest hottest, and quiet days with an attack of each size."""
    ranking = season_ranking(site).tolist()
    hottest = set(ranking[: SCORED[0][1]])
    called = frozenset(site.days.days[row] for row in hottest)
    found: dict[str, Scores] = {attack: {} for attack in ATTACKS}
    for row in sorted(ranking):
        case = BaselineCase(
            site.days,
            site.days.days[row],
            START_H,
            END_H,
            site.days.values[0, row],
            event_days=called,
            temperature_celsius=site.temperature_celsius,
        )
        for attack, name, score in _scores(case, hot=row in hottest):
            if score is not None:
                found[attack].setdefault(name, []).append(score.score)
    return found


def _scores(case: BaselineCase, *, hot: bool) -> Iterator[tuple[str, str, Inflation | None]]:
    _, rows = like_days(case, 60)
    rows = rows[-LIKE_DAYS:]
    suspected = [case.history.days[row] for row in rows.tolist()]
    honest = "hot" if hot else "quiet"
    yield "window", honest, window_inflation(case, [WINDOW])
    yield "like_days", honest, days_inflation(case, suspected)
    if hot:
        return
    for size in SIZES:
        raised = np.where(case.window(WINDOW), case.day_kw * (1 + size), case.day_kw)
        yield "window", f"{size:g}", window_inflation(replace(case, day_kw=raised), [WINDOW])
        values = case.history.values.copy()
        values[0, rows[:, None], np.flatnonzero(case.event)] *= 1 + size
        yield (
            "like_days",
            f"{size:g}",
            days_inflation(replace(case, history=replace(case.history, values=values)), suspected),
        )


def roc(honest: NDArray[np.float64], attacked: NDArray[np.float64]) -> dict[str, float]:
    """Area under the curve (ties count half), and the share found at each share of false alarms."""
    ordered = np.sort(honest)
    below = np.searchsorted(ordered, attacked, "left") + np.searchsorted(ordered, attacked, "right")
    found = {"auc": float(below.mean() / 2 / len(ordered))}
    for share in FALSE_ALARMS:
        limit = float(np.quantile(ordered, 1 - share))
        found[f"found_at_{share:g}"] = float((attacked > limit).mean())
    return found


def inflation_rows(sites: Sequence[Mapping[str, Scores]]) -> list[dict[str, Any]]:
    """The table over all meters: a row per attack and size."""
    rows: list[dict[str, Any]] = []
    for attack in ATTACKS:
        pooled: dict[str, NDArray[np.float64]] = {
            name: np.array([score for site in sites for score in site[attack].get(name, [])])
            for name in ("quiet", "hot", *(f"{size:g}" for size in SIZES))
        }
        if not len(pooled["quiet"]):
            continue
        limits = {share: float(np.quantile(pooled["quiet"], 1 - share)) for share in FALSE_ALARMS}
        alarms = {f"hot_alarms_at_{share:g}": float((pooled["hot"] > limit).mean()) for share, limit in limits.items()}
        rows += [
            {
                "attack": attack,
                "size": size,
                "quiet_days": len(pooled["quiet"]),
                **roc(pooled["quiet"], pooled[f"{size:g}"]),
                **{f"limit_at_{share:g}": limit for share, limit in limits.items()},
                **alarms,
            }
            for size in SIZES
        ]
    return rows
