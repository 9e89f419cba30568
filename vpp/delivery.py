"""Delivery: from a plan to setpoints on the wire.

Safety is on this path: a setpoint ends by itself and the device falls back; it is clamped to the device's own limits
and the clamp is counted; a load whose plan equals its baseline is released, not pinned; and in read-only mode nothing
leaves the house.  What could not be sent because the broker was away is sent again, as the very same command, as soon
as it is back, unless newer orders have been made or its time is over.
"""

import asyncio
from collections.abc import Container, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import uuid4

import structlog

from adapters.store.store import Store
from models.errors import BrokerError, DeviceError
from models.plan import DispatchPlan, Setpoint, SetpointBatch
from models.ports import Clock, DeviceLink
from models.resources import (
    CurtailableLoad,
    EvCharger,
    Generator,
    InterruptibleLoad,
    Pv,
    ResourceBase,
    ShiftableLoad,
    Storage,
    ThermalLoad,
)
from vpp.metrics import Metrics
from vpp.state import LiveState

log = structlog.get_logger(__name__)

MOST_SETPOINTS = 10_000
"""So many in one message, which may have 1 MiB (some 15 000)."""
RELEASE_WITHIN_KW = 1e-3
"""A load whose plan is this near to its baseline is released to its own control."""


@dataclass(frozen=True, slots=True)
class Window:
    """For how long one set of setpoints holds, and over which part of the plan its power is the mean."""

    valid_from: datetime
    plan_until: datetime
    valid_until: datetime


def power_range_kw(resource: ResourceBase, baseline_kw: float) -> tuple[float, float]:
    """Lowest and highest net power that the device's registration allows in this interval, kW."""
    if isinstance(resource, Storage):
        return -resource.discharge_limit_kw, resource.charge_limit_kw
    if isinstance(resource, EvCharger):
        return -resource.discharge_limit_kw, resource.charge_limit_kw
    if isinstance(resource, Generator):
        return -resource.power_max_kw, 0.0
    if isinstance(resource, Pv):
        return -resource.available_scale_kw, 0.0
    if isinstance(resource, ShiftableLoad):
        return 0.0, resource.power_max_kw
    if isinstance(resource, ThermalLoad):
        low = max(0.0, baseline_kw - resource.decrease_limit_kw)
        return low, baseline_kw + resource.increase_limit_kw
    if isinstance(resource, CurtailableLoad):
        return baseline_kw * (1 - resource.curtail_share), baseline_kw * (1 + resource.rebound_share)
    if isinstance(resource, InterruptibleLoad):
        return max(0.0, baseline_kw - resource.block_kw), baseline_kw * (1 + resource.rebound_share)
    raise TypeError(f"unknown kind of resource: {type(resource).__name__}")


def is_release(resource: ResourceBase, power_kw: float, baseline_kw: float) -> bool:
    """True if the device should rather follow its own control: a load at (or, taking back, above) its baseline."""
    if isinstance(resource, CurtailableLoad | InterruptibleLoad):
        return power_kw >= baseline_kw - RELEASE_WITHIN_KW  # what comes back afterwards comes by itself
    if isinstance(resource, ThermalLoad):
        return abs(power_kw - baseline_kw) <= RELEASE_WITHIN_KW
    return False


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

    async def deliver(
        self, plan: DispatchPlan, windows: Sequence[Window], held_back: Container[str] = ()
    ) -> frozenset[str]:
        """Send the plan's power over each window to every aggregator whose devices may be ordered now.

        Resources in ``held_back`` (opted out) get no order.  Returns who was sent one for the first window.
        """
        now = self._clock.now()
        self._unsent.clear()  # newer orders are on their way
        first: list[str] = []
        for window in windows:
            shares = plan.grid.overlap_h(window.valid_from, window.plan_until)
            hours = shares.sum()
            if hours <= 0:
                continue
            by_aggregator: dict[str, list[Setpoint]] = {}
            for live in self._state.dispatchable(now):
                row = plan.row_of.get(live.resource_id)
                if row is None or live.resource_id in held_back:
                    continue
                if isinstance(live.record.resource, EvCharger) and live.session is None:
                    continue
                power_kw = float(plan.power_kw[row] @ shares / hours)
                baseline_kw = float(plan.baseline_kw[row] @ shares / hours)
                ordered = self._ordered(live.record.resource, power_kw, baseline_kw)
                setpoint = Setpoint(resource_id=live.resource_id, power_kw=ordered)
                by_aggregator.setdefault(live.record.resource.aggregator_id, []).append(setpoint)
            for aggregator_id, setpoints in sorted(by_aggregator.items()):
                for part in (setpoints[low : low + MOST_SETPOINTS] for low in range(0, len(setpoints), MOST_SETPOINTS)):
                    left = await self._send(aggregator_id, plan.plan_hash, window, part)
                    if left and window is windows[0]:
                        first.extend(setpoint.resource_id for setpoint in part)
        return frozenset(first)

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

    def _ordered(self, resource: ResourceBase, power_kw: float, baseline_kw: float) -> float | None:
        if is_release(resource, power_kw, baseline_kw):
            return None
        low, high = power_range_kw(resource, baseline_kw)
        clamped = min(max(power_kw, low), high)
        if abs(clamped - power_kw) > 1e-6 * max(1.0, abs(power_kw)):
            self._metrics.setpoint_clamps.labels(kind=type(resource).__name__).inc()
        return clamped

    async def _send(self, aggregator_id: str, plan_hash: str, window: Window, setpoints: Sequence[Setpoint]) -> bool:
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
