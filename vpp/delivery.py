"""Delivery: from a plan to setpoints on the wire.

Safety is on this path: a setpoint ends by itself and the device falls back; it is clamped to the device's own limits
and the clamp is counted; a load whose plan equals its baseline is released, not pinned; and in read-only mode nothing
leaves the house.  What could not be sent because the broker was away is sent again, as the very same command, as soon
as it is back, unless newer orders have been made or its time is over.
"""

import asyncio
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import uuid4

import numpy as np
import structlog
from numpy.typing import NDArray
from pydantic import TypeAdapter

from adapters.store.store import Store
from models.errors import BrokerError, DeviceError
from models.intervals import FloatArray
from models.plan import DispatchPlan, Setpoint, SetpointBatch
from models.ports import Clock, DeviceLink
from vpp.metrics import Metrics
from vpp.order_limits import OrderLimits
from vpp.state import LiveState

log = structlog.get_logger(__name__)

MOST_SETPOINTS = 10_000
"""So many in one message, which may have 1 MiB (some 15 000)."""

FIRST_SETPOINTS = 500
"""So many in the first message of a direct call: it is kept and written in milliseconds."""

_SETPOINTS = TypeAdapter(list[Setpoint])


@dataclass(frozen=True, slots=True)
class Window:
    """For how long one set of setpoints holds, and over which part of the plan its power is the mean."""

    valid_from: datetime
    plan_until: datetime
    valid_until: datetime


class DeliveryStage:
    """Sends what the plan says to those who shall do it, and remembers what was ordered."""

    def __init__(
        self,
        *,
        clock: Clock,
        store: Store,
        state: LiveState,
        link: DeviceLink,
        metrics: Metrics,
        read_only: bool,
    ) -> None:
        self._clock = clock
        self._store = store
        self._state = state
        self._link = link
        self._metrics = metrics
        self._read_only = read_only
        self.last_sequence: dict[str, int] = {}
        self.sent_batches = 0
        self.sent_setpoints = 0
        self._unsent: list[SetpointBatch] = []
        self._turn: dict[str, asyncio.Lock] = {}
        self.era = 0
        """Counts direct calls: what was planned before the newest one is not sent any more."""
        self._limits = OrderLimits(state)

    async def deliver(
        self, plan: DispatchPlan, windows: Sequence[Window], held_back: Container[str] = (), era: int | None = None
    ) -> frozenset[str]:
        """Send the plan's power over each window to every aggregator whose devices may be ordered now.

        Resources in ``held_back`` (opted out) get no order.  Returns who was sent one for the first window.  A plan of
        an earlier ``era`` than the present one stops where it is.
        """
        era = self.era if era is None else era
        now = self._clock.now()
        self._unsent.clear()  # newer orders are on their way
        first: list[str] = []
        plan_rows, plan_hash = self._may_be_ordered(plan, now, held_back), plan.plan_hash
        for window in windows:
            shares = plan.grid.overlap_h(window.valid_from, window.plan_until)
            hours = float(shares.sum())
            if hours <= 0:
                continue
            for aggregator_id, setpoints in sorted(self._setpoints(plan, plan_rows, shares / hours).items()):
                for part in (setpoints[low : low + MOST_SETPOINTS] for low in range(0, len(setpoints), MOST_SETPOINTS)):
                    left = await self._send(aggregator_id, plan_hash, window, part, era)
                    if left and window is windows[0]:
                        first.extend(setpoint.resource_id for setpoint in part)
        return frozenset(first)

    def _may_be_ordered(self, plan: DispatchPlan, now: datetime, held_back: Container[str]) -> NDArray[np.int64]:
        """Rows of the plan whose devices may be given orders now, in the order of the live state."""
        columns, rows = self._state.columns, self._state.rows(plan.resource_ids)
        may = columns.is_dispatchable(now) & ~(columns.is_charger & ~columns.has_session)
        chosen = np.flatnonzero((rows >= 0) & may[rows])
        held = [name in held_back for name in plan.resource_ids]
        chosen = chosen[~np.array(held, dtype=np.bool_)[chosen]]
        return chosen[np.argsort(rows[chosen], kind="stable")]

    def _setpoints(
        self, plan: DispatchPlan, plan_rows: NDArray[np.int64], weights: FloatArray
    ) -> dict[str, list[Setpoint]]:
        """Setpoints by aggregator: mean power with these weights of the intervals, clamped or released."""
        names = [plan.resource_ids[row] for row in plan_rows.tolist()]
        rows = self._state.rows(names)
        power_kw, baseline_kw = plan.power_kw[plan_rows] @ weights, plan.baseline_kw[plan_rows] @ weights
        released = self._limits.released(rows, power_kw, baseline_kw)
        clamped = self._limits.clamped(rows, power_kw, baseline_kw)
        cut = ~released & (np.abs(clamped - power_kw) > 1e-6 * np.maximum(1.0, np.abs(power_kw)))
        for place in np.flatnonzero(cut).tolist():
            live = self._state.get(names[place])
            if live is not None:
                self._metrics.setpoint_clamps.labels(kind=type(live.record.resource).__name__).inc()
        ordered = clamped.astype(object)
        ordered[released] = None
        made = _SETPOINTS.validate_python(
            [{"resource_id": name, "power_kw": value} for name, value in zip(names, ordered.tolist(), strict=True)]
        )
        by_aggregator: dict[str, list[Setpoint]] = {}
        owners = {code: name for name, code in self._state.columns.owner_code.items()}
        owner = self._state.columns.owner[rows].tolist()
        for code, setpoint in zip(owner, made, strict=True):
            by_aggregator.setdefault(owners[code], []).append(setpoint)
        return by_aggregator

    def waiting_for(self) -> set[str]:
        """Aggregators for whom a batch waits that could not leave the house."""
        return {batch.aggregator_id for batch in self._unsent}

    async def send_again(self) -> int:
        """What could not leave the house and still holds; returns how many batches left now."""
        now, waiting = self._clock.now(), self._unsent
        self._unsent = []
        sent = 0
        for batch in waiting:
            if batch.valid_until > now:
                sent += await self._hand_over(batch)
        return sent

    def overtake(self) -> None:
        """A direct call is coming: plans that are under way are not sent (any further)."""
        self.era += 1

    async def send_call(self, plan: DispatchPlan, rows: NDArray[np.int64], window: Window) -> NDArray[np.int64]:
        """Send a plan of one interval in its own order, ``rows`` in the live state; returns the places that left.

        The aggregator whose device comes first is first, and its first message is short: it leaves at once.
        """
        owner = self._state.columns.owner[rows]
        _, first_place = np.unique(owner, return_index=True)
        whole, plan_hash, left = np.ones(1), plan.plan_hash, [np.empty(0, dtype=np.int64)]
        for code in owner[np.sort(first_place)].tolist():
            places = np.flatnonzero(owner == code)
            for part in _parts(places, FIRST_SETPOINTS if len(left) == 1 else MOST_SETPOINTS):
                for aggregator_id, setpoints in self._setpoints(plan, part, whole).items():
                    if await self._send(aggregator_id, plan_hash, window, setpoints, None):
                        left.append(part)
        return np.concatenate(left)

    async def _send(
        self, aggregator_id: str, plan_hash: str, window: Window, setpoints: Sequence[Setpoint], era: int | None
    ) -> bool:
        """One batch in its turn: nobody's newer orders get the lower sequence.  ``era`` None: never overtaken."""
        async with self._turn.setdefault(aggregator_id, asyncio.Lock()):
            if era is not None and era != self.era:
                return False
            return await self._send_now(aggregator_id, plan_hash, window, setpoints)

    async def _send_now(
        self, aggregator_id: str, plan_hash: str, window: Window, setpoints: Sequence[Setpoint]
    ) -> bool:
        if self._read_only:
            self._metrics.setpoints_withheld.labels(aggregator=aggregator_id).inc(len(setpoints))
            return False
        sequence = await asyncio.to_thread(self._store.next_sequence, aggregator_id)
        batch = SetpointBatch(
            command_id=str(uuid4()),
            aggregator_id=aggregator_id,
            sequence=sequence,
            plan_hash=plan_hash,
            valid_from=window.valid_from,
            valid_until=window.valid_until,
            setpoints=tuple(setpoints),
        )
        await asyncio.to_thread(self._store.save_batch, batch, self._clock.now())
        return await self._hand_over(batch)

    async def _hand_over(self, batch: SetpointBatch) -> bool:
        aggregator_id, count = batch.aggregator_id, len(batch.setpoints)
        try:
            await self._link.send_setpoints(batch)
        except BrokerError as error:
            log.error("setpoints not sent, they wait for the broker", aggregator_id=aggregator_id, error=str(error))
            self._unsent.append(batch)
            return False
        except DeviceError as error:
            log.error("setpoints not sent", aggregator_id=aggregator_id, error=str(error))
            return False
        self.last_sequence[aggregator_id] = batch.sequence
        self.sent_batches += 1
        self.sent_setpoints += count
        self._metrics.setpoints_sent.labels(aggregator=aggregator_id).inc(count)
        return True


def _parts(places: NDArray[np.int64], first: int) -> Iterator[NDArray[np.int64]]:
    """The places in pieces: the first of at most ``first``, the others as large as a message may be."""
    yield places[:first]
    for low in range(first, len(places), MOST_SETPOINTS):
        yield places[low : low + MOST_SETPOINTS]
