"""``vpp bench emergency``: from the second person's approval to the first setpoint at a gateway, over a real broker.

The service is the one that ``vpp serve`` runs, in this process, on the machine's clock, with its database in a file;
gateways are clients in a process of their own.  Each emergency is declared with its window open, approved (the clock
starts when the desk is asked), received, and terminated; then every device is as it was.  Registrations and one
reading each are put into the database and the live state directly: how fast those come in is ``vpp bench ingest``.
The runtime's loop does not run: no cycle re-plans between two calls, and none runs beside one.
"""

import asyncio
import resource
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np

from models.errors import VppError
from models.events import Event, EventOrder
from simulations.hearing import PATIENCE_S, Hearing, hearing
from simulations.large_fleet import FleetSize, filled_service
from vpp.heard import NEVER_US
from vpp.housekeeping import keep_what_is_known
from vpp.service import Service

CALLED_SHARE = 0.25
"""So much of what is callable is ordered."""
WINDOW = timedelta(hours=2)
QUIET_S = 0.2
LONGEST_S = 600.0
"""A million devices are told one after the other: so long may the last of them wait."""


@dataclass(frozen=True, slots=True)
class EmergencySetup:
    """So many devices of so many aggregators, so many calls; ``broker`` as in the settings."""

    resources: int = 20_000
    aggregators: int = 20
    approvals: int = 200
    time_limit_s: float = 240.0
    broker: str = "auto"
    seed: int = 1


async def run_emergency(
    setup: EmergencySetup, folder: Path, told: Callable[[str], None] = lambda _: None
) -> dict[str, Any]:
    """One case as a dictionary for the JSON; ``VppError`` if a call does not arrive."""
    began = time.monotonic()
    size = FleetSize(setup.resources, setup.aggregators, setup.seed)
    async with filled_service(size, folder, setup.broker) as (service, passwords):
        told(f"{setup.resources:,} devices registered after {time.monotonic() - began:.0f} s")
        linked = asyncio.create_task(service.link.run(), name="mqtt link")
        try:
            await service.link.wait_connected()
            await asyncio.to_thread(service.runtime.emergencies.refresh)
            keep_what_is_known()  # as ``vpp serve`` does
            prepared_s = round(time.monotonic() - began, 1)
            found = await _calls(service, setup, passwords, told)
        finally:
            linked.cancel()
            await asyncio.gather(linked, return_exceptions=True)
    return found | {"prepared_s": prepared_s}


async def _calls(
    service: Service, setup: EmergencySetup, passwords: Mapping[str, str], told: Callable[[str], None]
) -> dict[str, Any]:
    first: list[float] = []
    last: list[float] = []
    told_devices, ordered_kw = 0, 0.0
    async with hearing(service.broker.platform, passwords) as ear:
        began = time.monotonic()
        for number in range(setup.approvals):
            if number and time.monotonic() - began > setup.time_limit_s:
                break
            event_id = f"call-{number}"
            now = service.clock.now()
            window: dict[str, Any] = {"start": now - timedelta(minutes=5), "end": now + WINDOW}
            if not number:
                whole = Event(event_id="all", target_kw=0.0, **window)
                ordered_kw = CALLED_SHARE * service.runtime.emergencies.callable_kw(whole, now)
            await service.declare([EventOrder(event_id=event_id, ordered_kw=ordered_kw, **window)], "bench-operator")
            asked_at = time.monotonic()
            approving = asyncio.create_task(service.approve([event_id], "bench-approver"))
            arrived = await _arrived(ear, approving, asked_at)
            await approving
            first.append(arrived[0] - asked_at)
            last.append(arrived[1] - asked_at)
            told_devices = arrived[2]
            await service.terminate(event_id, "bench-operator", "next call")
            _as_before(service)
            if number % 20 == 0:
                heard = f"{told_devices:,} devices by {last[-1]:.2f} s"
                told(f"call {number + 1}: first setpoint after {first[-1]:.3f} s, {heard}")
    return {
        "resources": setup.resources,
        "aggregators": setup.aggregators,
        "approvals": len(first),
        "called": told_devices,
        "first_setpoint_p50_s": _quantile(first, 0.5),
        "first_setpoint_p99_s": _quantile(first, 0.99),
        "first_setpoint_max_s": round(max(first), 4),
        "last_setpoint_p50_s": _quantile(last, 0.5),
        "last_setpoint_max_s": round(max(last), 3),
        "peak_rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 0),
        "broker": type(service.broker).__name__.removesuffix("Broker").lower(),
        "ordered_kw": round(ordered_kw, 1),
    }


async def _arrived(ear: Hearing, approving: "asyncio.Task[Any]", asked_at: float) -> tuple[float, float, int]:
    """Moments of the first and the last batch since ``asked_at``, and how many devices they told.

    The approval returns when the last batch is with the broker; a quiet moment after that is the end.
    """
    moments: list[float] = []
    count = 0
    while True:
        batch = await ear.batch(QUIET_S)
        if batch is None:
            if approving.done():
                approving.result()
                if moments:
                    return moments[0], moments[-1], count
            if time.monotonic() - asked_at > (PATIENCE_S if approving.done() or not moments else LONGEST_S):
                raise VppError(f"no setpoint has arrived in {PATIENCE_S:g} s")
        elif batch.at_s >= asked_at:
            moments.append(batch.at_s)
            count += batch.setpoints


def _quantile(values: list[float], share: float) -> float:
    return round(float(np.quantile(values, share)), 4)


def _as_before(service: Service) -> None:
    """Nobody is under order, and no load has been called today."""
    columns = service.state.columns
    rows = np.flatnonzero(columns.ordered_until_us != NEVER_US)
    columns.ordered_kw[rows], columns.ordered_until_us[rows] = np.nan, NEVER_US
    for row in rows[columns.is_load[rows]].tolist():
        live = service.state.at(row)
        if live is not None:
            live.curtailed.clear()
            columns.gave_up[row] = False
