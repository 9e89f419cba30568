"""Who is silent and cannot be back yet: a process that was interrupted stays so for its shortest time, heard or not.

    u   =  Σ ρ_i c_i             over silent processes within their shortest time                      [kW]
    h   =  clip(U − 7 % of the order, 0, 8 % of the order)      is not bought a second time            [kW]

What such a process brings stands in no reading.  Bought again in full, meters say 100 % and the grid gets 115 %; not
bought again, meters say 85 %.  A little of it is nobody's business; of more, so much is left to the silent that neither
what is metered nor what is true leaves the band.  Hours are judged as a whole, so U is the mean of u over the clock
hour, with what it is now until the hour ends: who fell silent in mid-hour has half of it in the readings.

======  ============================================================================
ρ       what the device has brought of its orders so far (``vpp.conduct``)
c       what it was told to give up when it fell silent
======  ============================================================================

All other kinds fall back when their order ends, a minute after its stretch.
"""

from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from models.intervals import FloatArray
from models.moments import microseconds
from models.resources import InterruptibleLoad
from vpp.heard import NEVER_US
from vpp.resource_live import ResourceLive
from vpp.state import LiveState

FREE_SHARE = 0.07
"""Of the order: bought again in full."""
MOST_SHARE = 0.08
"""Of the order: no more than that is left to the silent."""
_GAP = timedelta(seconds=1)


def unheard_kw(
    state: LiveState, rows: NDArray[np.int64], reliability: FloatArray, now: datetime, longest_age: timedelta
) -> float:
    """What the silent among ``rows`` (n,) of the live state most likely still give up, kW; ``reliability``: (n,).

    Silent is who has not been heard for ``longest_age``.
    """
    columns = state.columns
    heard_us = columns.measured_us[rows]
    silent = (heard_us != NEVER_US) & (microseconds(now) - heard_us > longest_age // timedelta(microseconds=1))
    found_kw = 0.0
    for place in np.flatnonzero(silent & columns.is_load[rows]).tolist():
        live = state.at(int(rows[place]))
        if live is not None:
            found_kw += float(reliability[place]) * _held_kw(live, int(heard_us[place]), now)
    return found_kw


def left_to_them_kw(mean_kw: float, ordered_kw: float) -> float:
    """How much less than the order is bought in an hour over which the silent bring so much on average (h)."""
    return min(max(mean_kw - FREE_SHARE * ordered_kw, 0.0), MOST_SHARE * ordered_kw)


def _held_kw(live: ResourceLive, heard_us: int, now: datetime) -> float:
    """What a silent process was told to give up and cannot take back before its shortest time is over."""
    resource = live.record.resource
    if not isinstance(resource, InterruptibleLoad) or not live.curtailed:
        return 0.0
    last = live.curtailed[-1]
    begun = last.start
    for piece in reversed(live.curtailed[:-1]):
        if begun - piece.end > _GAP:
            break
        begun = piece.start
    over = now >= begun + timedelta(hours=resource.shortest_h)
    was_told = microseconds(begun) <= heard_us <= microseconds(last.end)
    return last.power_kw if was_told and not over else 0.0
