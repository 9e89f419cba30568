"""Storage in plain arrays: batteries, telecom backup, pumped hydro (equations S1-S12 of ``reference/storage.py``)."""

import numpy as np

from models.dispatch.fast.explicit.draft import BoolArray, Draft, IntArray
from models.dispatch.fast.explicit.table import KindTable
from models.intervals import FloatArray

RUNNING_KW = 1e-6
"""A machine whose measured power is less is idle."""


def add_storage(draft: Draft, units: KindTable, exclusive: BoolArray) -> None:
    """Write S1 to S12; S6-S8 for pumped hydro and where ``exclusive`` (n,) asks for them.

    Columns: c, d, e (n, T); u, v where S6-S8 stand; m for pumped hydro.
    """
    hours, own = draft.hours, units.at[:, None]
    measured = units.state("energy_kwh")
    start = np.where(np.isnan(measured), units["energy_start_kwh"], measured)
    shape = (len(units), len(hours))
    floor = np.tile(units["energy_min_kwh"][:, None], (1, shape[1]))
    floor[:, -1] = np.maximum(floor[:, -1], units["energy_end_min_kwh"])
    wear = units["wear_cost_per_kwh"][:, None] * hours
    charge = draft.column(own, high=units["charge_limit_kw"][:, None], cost=wear, name="charge_kw")
    discharge = draft.column(own, high=units["discharge_limit_kw"][:, None], cost=wear, name="discharge_kw")
    level = draft.column(own, low=floor, high=units["energy_max_kwh"][:, None], name="energy_kwh")
    draft.draws(units.at, charge, 1.0)
    draft.draws(units.at, discharge, -1.0)
    begin = np.zeros(shape)
    begin[:, 0] = start
    balance = draft.row(shape, low=begin, high=begin)
    draft.put(balance, level, 1.0)
    draft.put(balance[:, 1:], level[:, :-1], -1.0)
    draft.put(balance, charge, -units["charge_efficiency"][:, None] * hours)
    draft.put(balance, discharge, hours / units["discharge_efficiency"][:, None])
    hydro = (units["charge_min_kw"] > 0) | (units["discharge_min_kw"] > 0) | (units["mode_change_cost"] > 0)
    lazy = ~hydro
    draft.never_both(charge[lazy], discharge[lazy])
    _add_modes(draft, units.part(hydro), charge[hydro], discharge[hydro], hydro=True)
    awake = lazy & exclusive
    _add_modes(draft, units.part(awake), charge[awake], discharge[awake], hydro=False)


def _add_modes(draft: Draft, units: KindTable, charge: IntArray, discharge: IntArray, *, hydro: bool) -> None:
    """Write S6-S8, and S9-S12 for ``hydro``."""
    own, shape = units.at[:, None], charge.shape
    if not len(units):
        return
    ones = np.ones(shape)
    pumping = draft.column(own, high=ones, integer=True)
    turbining = draft.column(own, high=ones, integer=True)
    for power, mode, limit in ((charge, pumping, "charge"), (discharge, turbining, "discharge")):
        most = draft.row(shape, high=0.0)
        draft.put(most, power, 1.0)
        draft.put(most, mode, -units[f"{limit}_limit_kw"][:, None])
        if hydro:
            least = draft.row(shape, low=0.0)
            draft.put(least, power, 1.0)
            draft.put(least, mode, -units[f"{limit}_min_kw"][:, None])
    one = draft.row(shape, high=1.0)
    draft.put(one, pumping, 1.0)
    draft.put(one, turbining, 1.0)
    if hydro:
        changes = draft.column(own, high=ones, cost=units["mode_change_cost"][:, None], name="mode_changes")
        before = units.state("power_kw", 0.0)
        _add_changes(draft, changes, pumping, before > RUNNING_KW)
        _add_changes(draft, changes, turbining, before < -RUNNING_KW)


def _add_changes(draft: Draft, changes: IntArray, mode: IntArray, was: BoolArray) -> None:
    """Write m_t ≥ ± (u_t - u_{t-1}), S11 or S12."""
    for sign in (1.0, -1.0):
        begin: FloatArray = np.zeros(mode.shape)
        begin[:, 0] = -sign * was
        rows = draft.row(mode.shape, low=begin)
        draft.put(rows, changes, 1.0)
        draft.put(rows, mode, -sign)
        draft.put(rows[:, 1:], mode[:, :-1], sign)
