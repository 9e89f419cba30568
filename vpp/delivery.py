"""Delivery: from a plan to setpoints on the wire.

Safety is on this path: a setpoint ends by itself and the device falls back; it is clamped to the device's own limits
and the clamp is counted; a load whose plan equals its baseline is released, not pinned; and in read-only mode there is
no way out of the house: no link, no command, no sequence number.  What becomes of a command once it is made (sent again
until somebody answers) stands in ``vpp.outgoing``.
"""

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from adapters.store.store import Store
from models.intervals import FloatArray
from models.moments import microseconds, moment_of
from models.plan import DispatchPlan, Setpoint
from models.ports import Clock, DeviceLink
from vpp.heard import NEVER_US
from vpp.metrics import Metrics
from vpp.order_limits import OrderLimits
from vpp.outgoing import Order, Outgoing, RetryRules
from vpp.response import Leads
from vpp.standing_orders import PlainOrder
from vpp.state import LiveState
from vpp.window_means import Window, window_means

MOST_SETPOINTS = 10_000
"""So many in one message, which may have 1 MiB (some 15 000)."""

FIRST_SETPOINTS = 500
"""So many in the first message of a direct call: it is kept and written in milliseconds."""

_SETPOINTS = TypeAdapter(list[Setpoint])


class DeliveryStage:
    """Sends what the plan says to those who shall do it, and remembers what was ordered."""

    def __init__(
        self,
        *,
        clock: Clock,
        store: Store,
        state: LiveState,
        link: DeviceLink | None,
        metrics: Metrics,
        retries: RetryRules | None = None,
    ) -> None:
        """``link`` None: read-only mode, everything is planned and nothing is ordered."""
        self._clock = clock
        self._store = store
        self._state = state
        self._metrics = metrics
        self.outgoing = (
            None if link is None else Outgoing(clock=clock, store=store, link=link, metrics=metrics, rules=retries)
        )
        self.era = 0
        """Counts direct calls: what was planned before the newest one is not sent any more."""
        self._limits = OrderLimits(state)
        self._delivered_at: datetime | None = None

    async def deliver(
        self,
        plan: DispatchPlan,
        windows: Sequence[Window],
        held_back: Container[str] = (),
        era: int | None = None,
        leads: Leads | None = None,
        standing: Sequence[PlainOrder] = (),
    ) -> frozenset[str]:
        """Send the plan's power over each window to every aggregator whose devices may be ordered now.

        Resources in ``held_back`` (opted out) get no order.  Returns who was sent one for the first window.  A plan of
        an earlier ``era`` than the present one stops where it is.  ``leads``: who is slow is told to begin with what
        comes after the first window so much earlier.  ``standing``: what is told besides (``vpp.standing_orders``).
        """
        era = self.era if era is None else era
        now = self._clock.now()
        if self.outgoing is not None and era == self.era:
            self.outgoing.supersede()
            self._delivered_at = now
        first: list[str] = []
        first_kw: FloatArray | None = None
        made = 0
        plan_rows, plan_hash = self._may_be_ordered(plan, now, held_back), plan.plan_hash
        names = [plan.resource_ids[row] for row in plan_rows.tolist()]
        rows = self._state.rows(names)
        columns = self._state.columns
        for window in windows:
            means = window_means(plan, plan_rows, rows, columns, window)
            if means is None:
                continue
            if window is windows[0]:
                first_kw = means[0]
            columns.told_until_us[rows] = np.maximum(columns.told_until_us[rows], microseconds(window.valid_until))
            early_s = np.zeros(len(rows))
            if leads is not None and window is not windows[0] and first_kw is not None:
                early_s = leads(rows, means[1] - means[0], first_kw - means[0])
            for seconds in np.unique(early_s).tolist():
                chosen = np.flatnonzero(early_s == seconds)
                begins = max(windows[0].valid_from, window.valid_from - timedelta(seconds=seconds))
                told = replace(window, valid_from=begins)
                of_chosen = [names[place] for place in chosen.tolist()], rows[chosen]
                for aggregator_id, part in _batches(self._setpoints(*of_chosen, means[0][chosen], means[1][chosen])):
                    made += 1
                    left = await self._send(aggregator_id, plan_hash, told, part, now, era)
                    if left and window is windows[0]:
                        first.extend(setpoint.resource_id for setpoint in part)
        for order in standing:
            await self._send_plain(order, plan_hash, now, era)
        if not made and self.outgoing is not None and era == self.era:
            self.outgoing.put_in_force(plan_hash)  # it has nothing to say to anybody, and that is in force now
        return frozenset(first)

    async def _send_plain(self, order: PlainOrder, plan_hash: str, made_at: datetime, era: int | None) -> None:
        lives = [live for live in map(self._state.at, order.rows.tolist()) if live is not None]
        rows = np.array([live.row for live in lives], dtype=np.int64)
        power_kw = order.power_kw[np.isin(order.rows, rows)]
        told_kw = self._limits.clamped(rows, power_kw, power_kw).astype(object)
        told_kw[np.isnan(power_kw)] = None
        for aggregator_id, part in _batches(self._by_aggregator([live.resource_id for live in lives], rows, told_kw)):
            await self._send(aggregator_id, plan_hash, order, part, made_at, era)

    async def let_go(self, resource_ids: Iterable[str]) -> int:
        """Release devices from the orders that they have, as a part of the last delivery; how many had any."""
        now, columns, rows = self._clock.now(), self._state.columns, self._state.rows(resource_ids)
        rows = rows[(rows >= 0) & (columns.told_until_us[rows] > microseconds(now))]
        if self.executed_hash is None or not len(rows):
            return 0
        until_of_row = columns.told_until_us[rows]
        for until_us in np.unique(until_of_row).tolist():
            of_span = rows[until_of_row == until_us]
            order = PlainOrder(now, moment_of(until_us), of_span, np.full(len(of_span), np.nan))
            await self._send_plain(order, self.executed_hash, self._delivered_at or now, None)
        columns.told_until_us[rows], columns.ordered_kw[rows] = NEVER_US, np.nan
        return len(rows)

    def _may_be_ordered(self, plan: DispatchPlan, now: datetime, held_back: Container[str]) -> NDArray[np.int64]:
        """Rows of the plan whose devices may be given orders now, in the order of the live state."""
        columns, rows = self._state.columns, self._state.rows(plan.resource_ids)
        may = columns.is_dispatchable(now) & ~(columns.is_charger & ~columns.has_session)
        chosen = np.flatnonzero((rows >= 0) & may[rows])
        held = [name in held_back for name in plan.resource_ids]
        chosen = chosen[~np.array(held, dtype=np.bool_)[chosen]]
        return chosen[np.argsort(rows[chosen], kind="stable")]

    def _setpoints(
        self, names: Sequence[str], rows: NDArray[np.int64], power_kw: FloatArray, baseline_kw: FloatArray
    ) -> dict[str, list[Setpoint]]:
        """Setpoints by aggregator, clamped or released; ``rows``: of ``names`` in the live state."""
        released = self._limits.released(rows, power_kw, baseline_kw)
        clamped = self._limits.clamped(rows, power_kw, baseline_kw)
        cut = ~released & (np.abs(clamped - power_kw) > 1e-6 * np.maximum(1.0, np.abs(power_kw)))
        for place in np.flatnonzero(cut).tolist():
            live = self._state.get(names[place])
            if live is not None:
                self._metrics.setpoint_clamps.labels(kind=type(live.record.resource).__name__).inc()
        ordered = clamped.astype(object)
        ordered[released] = None
        return self._by_aggregator(names, rows, ordered)

    def _by_aggregator(
        self, names: Sequence[str], rows: NDArray[np.int64], ordered_kw: NDArray[np.object_]
    ) -> dict[str, list[Setpoint]]:
        """Setpoints by aggregator; ``rows``: of ``names`` in the live state, ``ordered_kw``: None where released."""
        made = _SETPOINTS.validate_python(
            [{"resource_id": name, "power_kw": value} for name, value in zip(names, ordered_kw.tolist(), strict=True)]
        )
        by_aggregator: dict[str, list[Setpoint]] = {}
        owners = {code: name for name, code in self._state.columns.owner_code.items()}
        owner = self._state.columns.owner[rows].tolist()
        for code, setpoint in zip(owner, made, strict=True):
            by_aggregator.setdefault(owners[code], []).append(setpoint)
        return by_aggregator

    async def _send(
        self,
        aggregator_id: str,
        plan_hash: str,
        window: Window | PlainOrder,
        setpoints: Sequence[Setpoint],
        made_at: datetime,
        era: int | None,
    ) -> bool:
        """One batch in its turn: nobody's newer orders get the lower sequence.  ``era`` None: never overtaken."""
        if self.outgoing is None:
            self._metrics.setpoints_withheld.labels(aggregator=aggregator_id).inc(len(setpoints))
            return False
        order = Order(aggregator_id, plan_hash, window.valid_from, window.valid_until, setpoints)
        return await self.outgoing.send(order, made_at, lambda: era is None or era == self.era)

    # ---- direct calls

    def overtake(self) -> None:
        """A direct call is coming: plans that are under way are not sent (any further)."""
        self.era += 1

    async def send_call(
        self, plan: DispatchPlan, rows: NDArray[np.int64], window: Window, made_at: datetime
    ) -> NDArray[np.int64]:
        """Send a plan of one interval in its own order, ``rows`` in the live state; returns the places that left.

        The aggregator whose device comes first is first, and its first message is short: it leaves at once.  The waves
        of a call have the same ``made_at``: they are one delivery, to those who are called.
        """
        owner = self._state.columns.owner[rows]
        _, first_place = np.unique(owner, return_index=True)
        plan_hash, left = plan.plan_hash, [np.empty(0, dtype=np.int64)]
        for code in owner[np.sort(first_place)].tolist():
            places = np.flatnonzero(owner == code)
            for part in _parts(places, FIRST_SETPOINTS if len(left) == 1 else MOST_SETPOINTS):
                names, power_kw = [plan.resource_ids[row] for row in part.tolist()], plan.power_kw[part, 0]
                made = self._setpoints(names, rows[part], power_kw, plan.baseline_kw[part, 0])
                for aggregator_id, setpoints in made.items():
                    if await self._send(aggregator_id, plan_hash, window, setpoints, made_at, None):
                        left.append(part)
        return np.concatenate(left)

    # ---- what has left the house

    @property
    def last_sequence(self) -> dict[str, int]:
        """The newest sequence that was sent, by aggregator."""
        return {} if self.outgoing is None else self.outgoing.last_sequence

    @property
    def sent_batches(self) -> int:
        """Commands that were sent, each counted once."""
        return 0 if self.outgoing is None else self.outgoing.sent_batches

    @property
    def sent_setpoints(self) -> int:
        """Setpoints that were sent, each counted once."""
        return 0 if self.outgoing is None else self.outgoing.sent_setpoints

    @property
    def executed_hash(self) -> str | None:
        """Fingerprint of the plan that devices were sent last; None before anything was sent, and in read-only mode."""
        return None if self.outgoing is None else self.outgoing.plan_hash

    def next_due(self, now: datetime) -> datetime | None:
        """When a command is to be sent again, strictly after ``now``."""
        return None if self.outgoing is None else self.outgoing.next_due(now)

    def waiting_for(self) -> set[str]:
        """Aggregators for whom a command waits that the broker has not taken."""
        return set() if self.outgoing is None else self.outgoing.waiting_for()

    async def retry(self) -> int:
        """See ``Outgoing.retry``."""
        return 0 if self.outgoing is None else await self.outgoing.retry()

    async def send_again(self) -> int:
        """See ``Outgoing.send_again``."""
        return 0 if self.outgoing is None else await self.outgoing.send_again()

    async def take_up(self, executed_hash: str) -> None:
        """See ``Outgoing.take_up``; in read-only mode what was open before stays where it is."""
        if self.outgoing is not None:
            self.outgoing.put_in_force(executed_hash)
            await self.outgoing.take_up()


def _batches(by_aggregator: Mapping[str, Sequence[Setpoint]]) -> Iterator[tuple[str, Sequence[Setpoint]]]:
    """Setpoints in batches as large as a message may be, each with its aggregator."""
    for aggregator_id, setpoints in sorted(by_aggregator.items()):
        for low in range(0, len(setpoints), MOST_SETPOINTS):
            yield aggregator_id, setpoints[low : low + MOST_SETPOINTS]


def _parts(places: NDArray[np.int64], first: int) -> Iterator[NDArray[np.int64]]:
    """The places in pieces: the first of at most ``first``, the others as large as a message may be."""
    yield places[:first]
    for low in range(first, len(places), MOST_SETPOINTS):
        yield places[low : low + MOST_SETPOINTS]
