"""Promises: what can no longer be kept is named before it happens, to whom it was promised and by how much.

A car's energy by its departure, a building's comfort, a process's work within its window are hard limits of every
plan.  Where what was measured has put one out of reach (a silent charger, a car that came late, a store that is
warmer than it may be), the solver is given what can still be reached (``models.dispatch.admissions``).  Each such
relaxation is a promise at risk: listed while it stands, and written to the audit log when it first shows and whenever
it gets worse, always before its due time.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import numpy as np
import structlog

from adapters.store.store import Store
from models.dispatch.problem import DispatchProblem
from models.errors import StoreError
from models.plan import Admission
from models.resources import ResourceKind
from vpp.metrics import Metrics

log = structlog.get_logger(__name__)

PROMISES = {
    "energy_needed_kwh": ("离场前所需电量", "energy by departure"),
    "store_low_kwh": ("舒适下限", "comfort, too warm"),
    "store_end_min_kwh": ("舒适恢复", "comfort at the end"),
    "energy_kwh": ("窗口内工作量", "work within the window"),
    "window_end": ("完工时间", "end of the run"),
}
"""Limits that somebody was promised, in Chinese and English; others (a battery's level) are the platform's own."""
WORSE_SHARE = 0.05
"""A promise is told again when so much more of what was asked is out of reach."""

TOLD_AGAIN_AFTER = timedelta(hours=1)
"""What comes and goes between plans is news again only after so long without it."""


def is_promise_at_risk(admission: Admission) -> bool:
    """True where somebody was promised more than can be kept (a car that has more than it needs is no breach)."""
    if admission.limit not in PROMISES:
        return False
    return admission.limit == "window_end" or admission.granted < admission.asked


@dataclass(frozen=True, slots=True)
class PromiseAtRisk:
    """``granted`` of ``asked`` can still be kept by ``due``: kWh (``window_end``: seconds since 1970).

    ``due`` is None where a promise holds at all times.
    """

    resource_id: str
    aggregator_id: str
    session_id: str | None
    limit: str
    asked: float
    granted: float
    reason: str
    due: datetime | None
    since: datetime

    @property
    def place(self) -> str:
        """Its place in a list, and its name."""
        return f"{self.resource_id}/{self.session_id or ''}/{self.limit}"


class Promises:
    """The promises at risk as the newest plan sees them, and the lines of the audit log about them."""

    def __init__(self, *, store: Store, metrics: Metrics, aggregator_of: Callable[[str], str]) -> None:
        self._store, self._metrics, self._aggregator_of = store, metrics, aggregator_of
        self._at_risk: dict[str, PromiseAtRisk] = {}
        self._told: dict[str, PromiseAtRisk] = {}
        self._seen_at: dict[str, datetime] = {}
        self._lines: list[tuple[datetime, list[PromiseAtRisk]]] = []

    def at_risk(self, aggregator_id: str | None = None) -> list[PromiseAtRisk]:
        """By resource; of one aggregator if it is named."""
        found = sorted(self._at_risk.values(), key=lambda each: each.place)
        return [each for each in found if aggregator_id is None or each.aggregator_id == aggregator_id]

    async def after_plan(self, problem: DispatchProblem, admissions: Iterable[Admission], now: datetime) -> None:
        """Take note of what a new plan could not keep; a database that is away is told at the next plan."""
        broken = [each for each in admissions if is_promise_at_risk(each)]
        due_of = _due_times(problem, {each.resource_id for each in broken})
        standing: dict[str, PromiseAtRisk] = {}
        news = []
        for each in broken:
            seen = PromiseAtRisk(
                each.resource_id,
                self._aggregator_of(each.resource_id),
                each.session_id,
                each.limit,
                each.asked,
                each.granted,
                each.reason,
                due_of.get((each.resource_id, each.session_id)),
                now,
            )
            known = self._at_risk.get(seen.place)
            standing[seen.place] = seen if known is None else replace(seen, since=known.since)
            told = self._told.get(seen.place)
            if told is None or _is_worse(seen, told):
                self._told[seen.place] = seen
                news.append(seen)
            self._seen_at[seen.place] = now
        self._at_risk = standing
        for place in [place for place, at in self._seen_at.items() if now - at > TOLD_AGAIN_AFTER]:
            del self._seen_at[place], self._told[place]
        if news:
            self._lines.append((now, news))
            log.warning("promises at risk", count=len(news), first=[each.resource_id for each in news[:3]])
        counts = Counter(each.limit for each in standing.values())
        for limit in PROMISES:
            self._metrics.promises_at_risk.labels(limit=limit).set(counts.get(limit, 0))
        if self._lines:
            try:
                await asyncio.to_thread(self._write)
            except StoreError as error:
                log.error("promises at risk are not in the audit log yet", error=str(error))

    def _write(self) -> None:
        with self._store.transaction():
            for at, news in self._lines:
                facts = {"promises": [_facts(each) for each in news]}
                self._store.append_audit(at, "service", "promises at risk", "promises", facts)
        self._lines.clear()


def _is_worse(seen: PromiseAtRisk, told: PromiseAtRisk) -> bool:
    if seen.limit == "window_end":  # seconds on the clock: five minutes later are worth a word
        return seen.granted > told.granted + 300
    return told.granted - seen.granted > WORSE_SHARE * abs(seen.asked)


def _facts(each: PromiseAtRisk) -> Mapping[str, object]:
    return {
        "resource_id": each.resource_id,
        "session_id": each.session_id,
        "limit": each.limit,
        "asked": each.asked,
        "granted": each.granted,
        "reason": each.reason,
        "due": None if each.due is None else each.due.isoformat(),
    }


def _due_times(problem: DispatchProblem, names: set[str]) -> dict[tuple[str, str | None], datetime]:
    """When what was promised of these resources is due: departures, and ends of windows."""
    due: dict[tuple[str, str | None], datetime] = {}
    for kind, column in ((ResourceKind.EV_SESSION, "departure"), (ResourceKind.SHIFTABLE_LOAD, "window_end")):
        table = problem.fleet.tables.get(kind)
        if table is None or not names:
            continue
        columns = table.columns
        for row in np.flatnonzero(np.isin(columns["resource_id"], list(names))).tolist():
            session = columns["session_id"][row] if kind is ResourceKind.EV_SESSION else None
            moment = columns[column][row].astype("datetime64[us]").item()
            due[columns["resource_id"][row], session] = moment.replace(tzinfo=UTC)
    return due
