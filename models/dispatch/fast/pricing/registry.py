"""Who prices what: every kind's oracle under one face."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.dispatch.fast import mixing
from models.dispatch.fast.mixing import Mixing
from models.dispatch.fast.pricing import (
    charging,
    curtailable,
    generation,
    hydro,
    interruptible,
    pv,
    runs,
    shifting,
    storage,
    thermal,
)
from models.dispatch.fast.setting import IndexArray, Setting
from models.dispatch.states import StateColumns
from models.fleet import Column
from models.intervals import FloatArray
from models.resources import ResourceKind

Table = Mapping[str, Column]
Mask = NDArray[np.bool_]
ALWAYS: IndexArray = np.empty(0, dtype=np.int64)


@dataclass(frozen=True)
class Pricer:
    """One kind of row.

    ``selects``: which rows of the kind's table.  ``arrays``: their struct of arrays.  ``sweep``: the oracle over a
    range.  ``shared``: fields of the struct that are not one per row.  ``mixing``: how two schedules of a row may be
    mixed.  ``work``: time of one row, relative.  ``base``: fills the undisturbed power of a row, for kinds whose
    baseline is a profile.  ``energy``: power of rows to their energy column.  ``own_cost``: own cost of given power
    (and virtual slots), for kinds that mix and whose cost bends.  ``size``: columns whose largest tells how much
    power a row moves.  ``follows``: what switches, and weighs what straying from a plan costs in every interval.
    ``window``: (n,) the first interval of rows that are not always there, and the one after the last.  ``spent``: own
    costs and virtual slots of a range of rows under a table of power (those that are not ``alone`` left out).
    """

    name: str
    kind: ResourceKind
    selects: Callable[[Table], Mask]
    arrays: Callable[[Table, Setting, StateColumns], Any]
    sweep: Callable[..., None]
    shared: tuple[str, ...]
    mixing: Mixing
    work: float = 1.0
    base: Callable[..., None] | None = None
    energy: Callable[..., Any] | None = None
    own_cost: Callable[..., Any] | None = None
    size: tuple[str, ...] = ()
    follows: bool = False
    window: Callable[[Any], tuple[IndexArray, IndexArray]] = lambda _: (ALWAYS, ALWAYS)
    spent: Callable[..., float] | None = None

    def size_kw(self, table: Table) -> FloatArray:
        """About how much power each row of a table can move, (n,) kW: rows of like size are put side by side."""
        moved = np.zeros(len(table["resource_id"]))
        for name in self.size:
            moved = np.maximum(moved, np.nan_to_num(np.asarray(table[name], dtype=np.float64)))
        return moved

    def take(self, units: Any, rows: NDArray[np.int64]) -> Any:
        """The struct of arrays of some rows."""
        return type(units)(
            *(
                value if name in self.shared else np.ascontiguousarray(value[rows])
                for name, value in zip(units._fields, units, strict=True)
            )
        )


def _all(table: Table) -> Mask:
    return np.ones(len(table["resource_id"]), dtype=np.bool_)


def _hydro(table: Table) -> Mask:
    pumps = (table["charge_min_kw"] > 0) | (table["discharge_min_kw"] > 0) | (table["mode_change_cost"] > 0)
    return np.asarray(pumps, dtype=np.bool_)


def _both_ways(table: Table) -> Mask:
    return np.asarray(table["discharge_limit_kw"] > 0, dtype=np.bool_)


def _whole_calls(table: Table) -> Mask:
    return np.asarray(~np.isnan(table["calls_per_day"]) | (table["rest_h"] > 0), dtype=np.bool_)


def _run(table: Table) -> Mask:
    return np.array([bool(name) for name in table["run_profile"]], dtype=np.bool_)


PRICERS: tuple[Pricer, ...] = (
    Pricer(
        "storage",
        ResourceKind.STORAGE,
        lambda table: ~_hydro(table),
        storage.storage_arrays,
        storage.sweep_storage,
        storage.SHARED,
        mixing=Mixing.BY_LEVEL,
        size=("charge_limit_kw", "discharge_limit_kw"),
        work=2.0,
        energy=storage.energy_storage,
        spent=storage.spent_storage,
        own_cost=mixing.storage_cost,
    ),
    Pricer(
        "hydro",
        ResourceKind.STORAGE,
        _hydro,
        hydro.hydro_arrays,
        hydro.sweep_hydro,
        hydro.SHARED,
        mixing=Mixing.NOT,
        size=("charge_limit_kw", "discharge_limit_kw"),
        work=400.0,
        energy=storage.energy_storage,
        follows=True,
    ),
    Pricer(
        "charging",
        ResourceKind.EV_SESSION,
        lambda table: ~_both_ways(table),
        charging.charging_arrays,
        charging.sweep_charging,
        charging.SHARED,
        mixing=Mixing.BY_POWER,
        size=("charge_limit_kw",),
        energy=charging.energy_charging,
        spent=charging.spent_charging,
        window=lambda units: (units.first, units.stop),
    ),
    Pricer(
        "vehicle_to_grid",
        ResourceKind.EV_SESSION,
        _both_ways,
        charging.charging_arrays,
        charging.sweep_charging,
        charging.SHARED,
        mixing=Mixing.BY_LEVEL,
        size=("charge_limit_kw", "discharge_limit_kw"),
        work=1.5,
        energy=charging.energy_charging,
        spent=charging.spent_charging,
        window=lambda units: (units.first, units.stop),
        own_cost=mixing.vehicle_cost,
    ),
    Pricer(
        "curtailable",
        ResourceKind.CURTAILABLE_LOAD,
        lambda table: ~_whole_calls(table),
        curtailable.curtailable_arrays,
        curtailable.sweep_curtailable,
        curtailable.SHARED,
        mixing=Mixing.BY_POWER,
        size=("baseline_scale_kw",),
        base=curtailable.base_curtailable,
    ),
    Pricer(
        "curtailable_calls",
        ResourceKind.CURTAILABLE_LOAD,
        _whole_calls,
        curtailable.curtailable_arrays,
        curtailable.sweep_curtailable,
        curtailable.SHARED,
        mixing=Mixing.NOT,
        size=("baseline_scale_kw",),
        work=2.0,
        base=curtailable.base_curtailable,
    ),
    Pricer(
        "interruptible",
        ResourceKind.INTERRUPTIBLE_LOAD,
        _all,
        interruptible.interruptible_arrays,
        interruptible.sweep_interruptible,
        interruptible.SHARED,
        mixing=Mixing.NOT,
        size=("block_kw",),
        work=4.0,
        base=interruptible.base_interruptible,
    ),
    Pricer(
        "shifting",
        ResourceKind.SHIFTABLE_LOAD,
        lambda table: ~_run(table),
        shifting.shifting_arrays,
        shifting.sweep_shifting,
        shifting.SHARED,
        mixing=Mixing.BY_POWER,
        size=("power_max_kw",),
        work=2.0,
        own_cost=mixing.shifting_cost,
    ),
    Pricer(
        "runs",
        ResourceKind.SHIFTABLE_LOAD,
        _run,
        runs.run_arrays,
        runs.sweep_runs,
        runs.SHARED,
        mixing=Mixing.NOT,
        size=("energy_kwh",),
        work=3.0,
    ),
    Pricer(
        "thermal",
        ResourceKind.THERMAL_LOAD,
        _all,
        thermal.thermal_arrays,
        thermal.sweep_thermal,
        thermal.SHARED,
        mixing=Mixing.BY_POWER,
        size=("increase_limit_kw", "decrease_limit_kw"),
        work=2.0,
        base=thermal.base_thermal,
        energy=thermal.energy_thermal,
        own_cost=mixing.thermal_cost,
    ),
    Pricer(
        "generation",
        ResourceKind.GENERATOR,
        _all,
        generation.generator_arrays,
        generation.sweep_generator,
        generation.SHARED,
        mixing=Mixing.NOT,
        size=("power_max_kw",),
        work=6.0,
        follows=True,
    ),
    Pricer(
        "pv",
        ResourceKind.PV,
        _all,
        pv.pv_arrays,
        pv.sweep_pv,
        pv.SHARED,
        mixing=Mixing.BY_POWER,
        size=("available_scale_kw",),
        work=0.5,
    ),
)
"""Every kind; kinds whose rows obey different rules for mixing stand apart."""
