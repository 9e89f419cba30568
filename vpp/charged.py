"""What the car at every charger has got since it came: kept with every cycle, and known again after a restart.

Few cars tell it; for the others it is the sum of what their charger has drawn.  A restart adds to what was kept the
readings that have come since; a stay of which nothing was kept is summed from its arrival on.
"""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from adapters.store.store import Store
from models.intervals import FloatArray
from models.moments import microseconds, moment_of
from models.reading_columns import ReadingColumns
from models.records import ChargedRecord
from models.resources import EvCharger
from models.telemetry import ChargingSession
from vpp.heard import NEVER_US
from vpp.metered import NEVER, since_the_one_before
from vpp.state import LiveState

HOUR = timedelta(hours=1)


async def keep_charged(state: LiveState, store: Store) -> None:
    """Write what every car that is there has got; ``StoreError`` if that fails: it costs a restart time, no more."""
    columns = state.columns
    must_be_summed = columns.is_charger & columns.has_session & np.isnan(columns.energy_kwh)
    records = []
    for row in np.flatnonzero(must_be_summed & (columns.measured_us != NEVER_US)).tolist():
        live = state.at(row)
        if live is not None and live.session is not None:
            measured_at = moment_of(int(columns.measured_us[row]))
            records.append(
                ChargedRecord(live.resource_id, live.session.session_id, measured_at, live.session_delivered_kwh)
            )
    await asyncio.to_thread(store.save_charged, records)


def charged_so_far(
    state: LiveState, store: Store, told: Sequence[ReadingColumns], told_from: datetime, until: datetime
) -> None:
    """Tell ``state``, which knows the stays of the present, what each car has got by its newest reading.

    ``told``: the readings from ``told_from`` on that say something of a session.  Of tens of thousands of cars only
    times and powers are read; who tells what it has got is believed.
    """
    came_us = _came_us(told, told_from)
    kept = {record.resource_id: record for record in store.charged()}
    starts = [
        (live, *start)
        for live in state
        if live.session is not None
        and np.isnan(state.columns.energy_kwh[live.row])
        and (start := _start(live.session, came_us.get(live.resource_id), kept.get(live.resource_id))) is not None
    ]
    if not starts:
        return
    lives, since_us, before_kwh = zip(*starts, strict=True)
    drawn_kwh = _drawn_kwh(store, [live.resource_id for live in lives], np.array(since_us, dtype=np.int64), until)
    for live, before, drawn in zip(lives, before_kwh, drawn_kwh.tolist(), strict=True):
        if isinstance(live.record.resource, EvCharger):
            live.session_delivered_kwh = before + live.record.resource.charge_efficiency * drawn


def _came_us(told: Sequence[ReadingColumns], told_from: datetime) -> dict[str, int]:
    """When the reading was measured that announced the newest stay, by charger; who came before is left out."""
    came: dict[str, tuple[str, int]] = {}
    for piece in told:
        for place in sorted(piece.sessions):
            name, stay = piece.resource_ids[place], piece.sessions[place]
            if stay is None or stay.arrival <= told_from:
                came.pop(name, None)
            elif name not in came or came[name][0] != stay.session_id:
                came[name] = stay.session_id, int(piece.measured_us[place])
    return {name: measured_us for name, (_, measured_us) in came.items()}


def _start(stay: ChargingSession, came_us: int | None, kept: ChargedRecord | None) -> tuple[int, float] | None:
    """Readings later than this count, beside so many kWh; None where neither is known."""
    if kept is not None and kept.session_id == stay.session_id:
        kept_us = microseconds(kept.measured_at)
        if came_us is None or came_us <= kept_us:
            return kept_us, kept.delivered_kwh
    return None if came_us is None else (came_us - 1, 0.0)  # the one that announced the car is the first that counts


def _drawn_kwh(store: Store, chargers: Sequence[str], since_us: NDArray[np.int64], until: datetime) -> FloatArray:
    """What each has drawn by its readings later than ``since_us``, (n,) kWh at the meter."""
    summed_kwh, last_us = np.zeros(len(chargers)), np.full(len(chargers), NEVER, dtype=np.int64)
    for powers in store.powers(chargers, moment_of(int(since_us.min())) - HOUR, until):
        places, from_us, to_us, power_kw = since_the_one_before(powers, last_us)
        counts = (to_us > since_us[places]) & (from_us != NEVER)
        drawn_kwh = np.maximum(power_kw, 0.0) * ((to_us - from_us) / 3.6e9)
        summed_kwh += np.bincount(places[counts], weights=drawn_kwh[counts], minlength=len(chargers))
    return summed_kwh
