"""The direct call: from an approved emergency to setpoints on the wire, without a solver and without waiting for one.

    work out    who gives how much, by the rule of ``models.dispatch.direct_call``, from what every device is doing now
    keep        approval and plan in one transaction, then each batch before it leaves
    send        aggregator by aggregator, the one with the cheapest device first, so that the first leave at once

It needs no day plan: where there is a baseline table the event is measured against it, and where there is none, against
what a device drew when it was called.  A cycle that is being planned meanwhile is overtaken: what it comes to is not
sent (``DeliveryStage.overtake``), and it plans again with the emergency in it.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import structlog
from numpy.typing import NDArray

from models.dispatch.direct_call import taken
from models.events import Direction, Event
from models.intervals import FloatArray, IntervalGrid
from models.plan import DispatchPlan, PlanSource
from models.reading_columns import microseconds
from models.records import BaselineTable
from vpp.call_sheet import CallSheet
from vpp.conduct import ConductStage
from vpp.delivery import DeliveryStage, Window
from vpp.metrics import Metrics
from vpp.ramp import next_cycle
from vpp.rhythm import Rhythm
from vpp.state import LiveState

log = structlog.get_logger(__name__)

LEAST_HOURS = 1 / 12
_LEAST_KW = 1e-3


@dataclass(frozen=True)
class Call:
    """What was worked out: ``plan`` of one interval, in the order of cost; ``rows`` of the live state, (n,)."""

    event: Event
    plan: DispatchPlan
    rows: NDArray[np.int64]
    window: Window
    share_kw: Mapping[str, float]
    expected_kw: float
    needed_kw: float


class DirectCalls:
    """Works calls out and sends them; ``refresh`` keeps what they need ready."""

    def __init__(
        self,
        *,
        state: LiveState,
        conduct: ConductStage,
        delivery: DeliveryStage,
        metrics: Metrics,
        rhythm: Rhythm,
        tables: Callable[[], Sequence[BaselineTable]],
        area_zones: Callable[[str], Collection[str]],
    ) -> None:
        self._state = state
        self._conduct = conduct
        self._delivery = delivery
        self._metrics = metrics
        self._rhythm = rhythm
        self._tables = tables
        self._area_zones = area_zones
        self._sheet = CallSheet(state)
        self._rows_of: tuple[object, NDArray[np.int64]] | None = None

    def refresh(self) -> None:
        """Read what has been registered since the last time, ahead of any call; safe in a thread."""
        self._sheet.make()
        tables = self._tables()
        if tables:
            self._rows_of_table(tables[-1])

    def callable_kw(self, event: Event, now: datetime) -> float:
        """What devices of its scope could give from now to its end, expected."""
        return self._worked_out(event, now, float("inf"))[0]

    def work_out(self, event: Event, now: datetime, opted_out: Collection[str] = (), *, goes_on: bool = False) -> Call:
        """Who gives how much of an event from now to the next cycle's orders, and no longer than to its end.

        ``goes_on``: who gives already is told to go on.
        """
        begin = max(now, event.start)
        following = next_cycle(begin + timedelta(seconds=1), self._rhythm.cycle)
        until = min(following, event.end)
        window = Window(begin, until, min(following + self._rhythm.cycle, event.end))
        expected_kw, needed_kw, rows, power_kw, baseline_kw, moved_kw = self._worked_out(
            event, now, event.target_kw, opted_out, goes_on=goes_on
        )
        names = tuple(self._sheet.names[row] for row in rows.tolist())
        nothing = np.full((len(rows), 1), np.nan)
        plan = DispatchPlan(
            grid=IntervalGrid((begin, until)),
            resource_ids=names,
            power_kw=power_kw[:, None],
            energy_kwh=nothing,
            baseline_kw=baseline_kw[:, None],
            baseline_energy_kwh=nothing,
            status="direct_call",
            source=PlanSource.RULE,
            objective_cny=float("nan"),
            baseline_cost_cny=float("nan"),
            lower_bound_cny=float("-inf"),
            iterations=0,
            wall_s=0.0,
            penalties={},
            made_at=now,
        )
        columns = self._state.columns
        owners = {code: name for name, code in columns.owner_code.items()}
        sums = np.bincount(columns.owner[rows], weights=moved_kw, minlength=len(owners))
        share_kw = {owners[code]: round(float(kw), 3) for code, kw in enumerate(sums) if kw > _LEAST_KW}
        return Call(event, plan, rows, window, dict(sorted(share_kw.items())), expected_kw, needed_kw)

    async def send(self, call: Call) -> None:
        """Send a call, each batch kept before it leaves; then note what is in force at whom."""
        sent = await self._delivery.send_call(call.plan, call.rows, call.window)
        self._metrics.plans_made.labels(kind="direct_call", source=call.plan.source.value).inc()
        rows, plan = call.rows[sent], call.plan
        columns, power_kw, baseline_kw = self._state.columns, plan.power_kw[sent, 0], plan.baseline_kw[sent, 0]
        columns.ordered_kw[rows] = power_kw
        columns.ordered_until_us[rows] = microseconds(call.window.valid_until)
        for place in np.flatnonzero(columns.is_load[rows]).tolist():
            live = self._state.at(int(rows[place]))
            if live is not None:
                given_up_kw = float(baseline_kw[place] - power_kw[place])
                live.give_up(call.window.valid_from, call.window.plan_until, given_up_kw, float(baseline_kw[place]))
        log.info(
            "direct call",
            event_id=call.event.event_id,
            devices=len(rows),
            needed_kw=round(call.needed_kw, 1),
            expected_kw=round(call.expected_kw, 1),
        )

    # ---- pieces

    def _worked_out(
        self, event: Event, now: datetime, target_kw: float, opted_out: Collection[str] = (), *, goes_on: bool = False
    ) -> tuple[float, float, NDArray[np.int64], FloatArray, FloatArray, FloatArray]:
        """Expected kW, kW needed, and of those called, cheapest first: rows, order, baseline, expected change."""
        if self._sheet.version < 0:
            self._sheet.make()
        columns, sheet = self._state.columns, self._sheet
        rows = sheet.in_scope(event, self._area_zones(event.scope_id))
        baseline_kw, reliability = self._baseline_kw(rows, now), self._conduct.fractions(rows)
        under_order = ~np.isnan(columns.ordered_kw[rows]) & (columns.ordered_until_us[rows] > microseconds(now))
        standing_kw = np.where(under_order, columns.ordered_kw[rows], columns.power_kw[rows])
        sign = 1.0 if event.direction is Direction.SHAVE else -1.0
        may = columns.is_dispatchable(now)[rows] & ~(columns.is_charger[rows] & ~columns.has_session[rows])
        may &= ~np.isin(rows, self._state.rows(opted_out)) & np.isfinite(standing_kw)
        given_kw = np.where(under_order & may, sign * reliability * (baseline_kw - standing_kw), 0.0)
        needed_kw = max(0.0, target_kw - float(given_kw.sum()))
        hours = max((event.end - max(now, event.start)) / timedelta(hours=1), LEAST_HOURS)
        offers = sheet.offers(rows, event.direction, standing_kw, baseline_kw, reliability, now, hours)
        offers.power_kw[~may] = 0.0
        change_kw, chosen = taken(offers, needed_kw, hours)
        # who runs by its own control is told beside its baseline, all others from where they are
        free_load = (columns.is_load | columns.is_thermal)[rows] & ~under_order
        power_kw = np.where(free_load, baseline_kw, standing_kw) - sign * change_kw
        expected = reliability * change_kw
        if goes_on:
            giving = np.setdiff1d(np.flatnonzero(given_kw > _LEAST_KW), chosen)
            chosen, expected = np.concatenate([giving, chosen]), expected + given_kw
        return (
            float(expected[chosen].sum()),
            needed_kw,
            rows[chosen],
            power_kw[chosen],
            baseline_kw[chosen],
            expected[chosen],
        )

    def _baseline_kw(self, rows: NDArray[np.int64], now: datetime) -> FloatArray:
        """Baseline: that of the day's table where it has one, else what the device draws now (cars: always), (n,)."""
        columns = self._state.columns
        found: FloatArray = np.full(len(columns.measured_us), np.nan)
        for table in self._tables():
            t = table.grid.index_at(now)
            if t is not None:
                at = self._rows_of_table(table)
                known = at >= 0
                found[at[known]] = table.baseline_kw[known, t]
        found = np.where(np.isnan(found) | columns.is_charger, columns.power_kw, found)
        return np.asarray(found[rows])

    def _rows_of_table(self, table: BaselineTable) -> NDArray[np.int64]:
        key = (table.baseline_hash, self._sheet.version)
        if self._rows_of is None or self._rows_of[0] != key:
            self._rows_of = key, self._state.rows(table.resource_ids)
        return self._rows_of[1]
