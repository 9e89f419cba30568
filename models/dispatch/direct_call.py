r"""A direct call: what to order this second, by rule, from what every device says it can hold.

Nothing is planned here.  Each device offers a change of its net power that it can hold to the end of the call, from
what it has now: energy in its battery or comfort store, a car's time to spare, the limits of its registration.  The
cheapest are taken until the call is met.  The next ordinary cycle plans it all again.

    (D1)  x_i = min(P_i, E_i / h)                            what device i can hold over the h hours of the call  [kW]
    (D2)  take in the order of c_i:   Σ ρ_i x_i  ≥  needed   the last one in part, unless it is all or nothing    [kW]

======  =================  =======  =============================================================================
symbol  name here          unit     meaning
P       power_kw           kW       most that it can change by, now
E       energy_kwh         kWh      how much change it has in store, inf where nothing runs out
h       hours              h        from now to the end of the call
c       cost_per_kwh       CNY/kWh  what it costs to move it
ρ       reliability        -        share of an order that really comes
======  =================  =======  =============================================================================

Conservative on purpose: who would have to be asked what it may still do today (a load that was called before, or that
needs notice) offers nothing.  Source: merit order as of dispatch practice; ours.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.intervals import FloatArray

_LEAST_KW = 1e-6


@dataclass(frozen=True)
class CallOffers:
    """One device each, (n,): the symbols above; ``is_whole``: all or nothing."""

    power_kw: FloatArray
    energy_kwh: FloatArray
    cost_per_kwh: FloatArray
    reliability: FloatArray
    is_whole: NDArray[np.bool_]

    def held_kw(self, hours: float) -> FloatArray:
        """(D1); a device that is all or nothing gives nothing if it cannot hold all."""
        held = np.minimum(self.power_kw, self.energy_kwh / max(hours, 1e-3))
        held = np.where(self.is_whole & (held < self.power_kw), 0.0, held)
        return np.asarray(np.where(held > _LEAST_KW, held, 0.0))


def taken(offers: CallOffers, needed_kw: float, hours: float) -> tuple[FloatArray, NDArray[np.int64]]:
    """(D2): change of every device, (n,) kW ≥ 0, and the devices taken, in the order of cost (ties as they stand)."""
    held = offers.held_kw(hours)
    expected = offers.reliability * held
    order = np.argsort(offers.cost_per_kwh, kind="stable")
    order = order[expected[order] > _LEAST_KW]
    change, left_kw = np.zeros(len(held)), needed_kw
    before = np.cumsum(expected[order]) - expected[order]
    whole_devices = np.flatnonzero(before + expected[order] <= needed_kw + _LEAST_KW)
    full = order[whole_devices]
    change[full] = held[full]
    left_kw -= float(expected[full].sum())
    chosen = [full]
    for device in order[len(full) :].tolist():  # one or two, but for blocks that do not fit
        if left_kw <= _LEAST_KW:
            break
        if offers.is_whole[device] and expected[device] > 2 * left_kw:
            continue  # it would overshoot by more than it would leave open
        change[device] = (
            held[device] if offers.is_whole[device] else min(held[device], left_kw / offers.reliability[device])
        )
        left_kw -= float(offers.reliability[device] * change[device])
        chosen.append(np.array([device], dtype=np.int64))
    return change, np.concatenate(chosen).astype(np.int64)
