"""The direct call: from an approved emergency to setpoints on the wire, without a solver and without waiting for one.

    work out    who gives how much, by the rule of ``models.dispatch.direct_call``, from what every device is doing now
    keep        approval and the first wave in one transaction, the rest before it follows, each batch before it leaves
    send        in two waves: a short message to the aggregator with the cheapest device, then everybody else

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
from models.moments import microseconds
from models.plan import DispatchPlan, PlanSource
from models.records import BaselineTable
from vpp.call_sheet import CallSheet
from vpp.conduct import ConductStage
from vpp.delivery import FIRST_SETPOINTS, DeliveryStage
from vpp.metrics import Metrics
from vpp.ramp import next_cycle
from vpp.rhythm import Rhythm
from vpp.state import LiveState
from vpp.window_means import Window

log = structlog.get_logger(__name__)

STATUS = "direct_call"
"""Of a plan that is a call's."""
LEAST_HOURS = 1 / 12
_LEAST_KW = 1e-3


@dataclass(frozen=True)
class Call:
    """What was worked out: the order of every device called, in the order of cost; ``rows`` of the live state, (n,)."""

    event: Event
    window: Window
    made_at: datetime
    rows: NDArray[np.int64]
    names: Sequence[str]
    power_kw: FloatArray
    baseline_kw: FloatArray
    share_kw: Mapping[str, float]
    expected_kw: float
    needed_kw: float
    first: NDArray[np.int64]
    """Places of the first wave: the cheapest devices of the aggregator that has the cheapest, few enough for a message
    that is kept and written in milliseconds.
    """

    @property
    def rest(self) -> NDArray[np.int64]:
        """Places of everybody else."""
        others = np.ones(len(self.rows), dtype=np.bool_)
        others[self.first] = False
        return np.flatnonzero(others)

    def plan(self, places: NDArray[np.int64]) -> DispatchPlan:
        """The orders of these places as a plan of one interval."""
        nothing = np.full((len(places), 1), np.nan)
        return DispatchPlan(
            grid=IntervalGrid((self.window.valid_from, self.window.plan_until)),
            resource_ids=tuple([self.names[row] for row in self.rows[places].tolist()]),
            power_kw=self.power_kw[places][:, None],
            energy_kwh=nothing,
            baseline_kw=self.baseline_kw[places][:, None],
            baseline_energy_kwh=nothing,
            status=STATUS,
            source=PlanSource.RULE,
            objective_cny=float("nan"),
            baseline_cost_cny=float("nan"),
            lower_bound_cny=float("-inf"),
            iterations=0,
            wall_s=0.0,
            penalties={},
            made_at=self.made_at,
        )


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
        owner = self._state.columns.owner[rows]
        owners = {code: name for name, code in self._state.columns.owner_code.items()}
        sums = np.bincount(owner, weights=moved_kw, minlength=len(owners))
        share_kw = {owners[code]: round(float(kw), 3) for code, kw in enumerate(sums) if kw > _LEAST_KW}
        return Call(
            event=event,
            window=window,
            made_at=now,
            rows=rows,
            names=self._sheet.names,
            power_kw=power_kw,
            baseline_kw=baseline_kw,
            share_kw=dict(sorted(share_kw.items())),
            expected_kw=expected_kw,
            needed_kw=needed_kw,
            first=np.flatnonzero(owner == owner[0])[:FIRST_SETPOINTS] if len(rows) else np.empty(0, dtype=np.int64),
        )

    async def send(self, call: Call, plan: DispatchPlan, places: NDArray[np.int64]) -> None:
        """Send a wave of a call, each batch kept before it leaves; then note what is in force at whom."""
        left = await self._delivery.send_call(plan, call.rows[places], call.window, call.made_at)
        sent = places[left]
        rows, columns, power_kw, baseline_kw = (
            call.rows[sent],
            self._state.columns,
            call.power_kw[sent],
            call.baseline_kw[sent],
        )
        columns.ordered_kw[rows] = power_kw
        columns.ordered_until_us[rows] = microseconds(call.window.valid_until)
        for place in np.flatnonzero(columns.is_load[rows]).tolist():
            live = self._state.at(int(rows[place]))
            if live is not None:
                given_up_kw = float(baseline_kw[place] - power_kw[place])
                live.give_up(call.window.valid_from, call.window.plan_until, given_up_kw, float(baseline_kw[place]))

    def note(self, call: Call) -> None:
        """Count a call, and tell of it."""
        self._metrics.plans_made.labels(kind="direct_call", source=PlanSource.RULE.value).inc()
        log.info(
            "direct call",
            event_id=call.event.event_id,
            devices=len(call.rows),
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
