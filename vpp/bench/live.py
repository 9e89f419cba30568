"""The middle of a day: measured states of a benchmark fleet, and what changes until the next cycle."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.random import Generator as Dice
from numpy.typing import NDArray

from models.dispatch.problem import DispatchProblem, Penalties, RealTimeTerms
from models.dispatch.states import NUMBERS, StateColumns, StateTable
from models.fleet import Column, Fleet, ResourceTable
from models.intervals import FloatArray
from models.plan_stream import PlanStream
from models.resources import ResourceKind
from vpp.bench.city import City
from vpp.bench.columns import Columns
from vpp.bench.fleets import hours_into, make_fleet

SWITCH_COST_PER_KW, STRAY_COST_PER_KWH = 0.001, 0.01
"""The service's own settings of a re-plan."""


def live_states(dice: Dice, city: City, fleet: Fleet) -> StateTable:
    """What is measured at the start of the horizon: levels, energy delivered, comfort stores, engines that run.

    Every level lies where the device could be at that hour, so that nothing must be admitted.
    """
    names: list[Column] = []
    numbers: list[Mapping[str, FloatArray]] = []
    for kind, table in fleet.tables.items():
        columns = table.columns
        here = np.ones(len(table), dtype=np.bool_)
        if kind is ResourceKind.EV_SESSION:
            begin, end = hours_into(city, columns["arrival"]), hours_into(city, columns["departure"])
            here = (begin <= 0) & (end > 0)  # a state belongs to the car that is plugged in
        chosen = {name: column[here] for name, column in columns.items()}
        found = _measured(dice, city, kind, chosen)
        if found:
            names.append(chosen["resource_id"])
            numbers.append(found)
    if not names:
        return StateTable((), StateColumns.unknown(0))
    filled = {
        field: np.concatenate(
            [part.get(field, np.full(len(ids), np.nan)) for part, ids in zip(numbers, names, strict=True)]
        )
        for field in NUMBERS
    }
    ids = np.concatenate(names)
    nothing = StateColumns.unknown(len(ids))
    return StateTable(ids.tolist(), replace(nothing, **filled))


def _measured(dice: Dice, city: City, kind: ResourceKind, columns: Columns) -> dict[str, FloatArray]:
    count = len(columns["resource_id"])
    if kind is ResourceKind.STORAGE:
        low, high = columns["energy_min_kwh"], columns["energy_max_kwh"]
        return {"energy_kwh": low + dice.uniform(0.3, 0.9, count) * (high - low)}
    if kind is ResourceKind.EV_SESSION:
        begin, end = hours_into(city, columns["arrival"]), hours_into(city, columns["departure"])
        needed = columns["energy_needed_kwh"]
        least = needed - 0.95 * columns["charge_limit_kw"] * columns["charge_efficiency"] * end  # the rest can be had
        done = np.maximum(least, np.minimum(1.0, dice.uniform(0.6, 1.2, count) * -begin / (end - begin)) * needed)
        return {
            "delivered_kwh": np.where(columns["discharge_limit_kw"] > 0, np.nan, done),
            "energy_kwh": np.where(columns["discharge_limit_kw"] > 0, columns["battery_start_kwh"] + done, np.nan),
        }
    if kind is ResourceKind.THERMAL_LOAD:
        return {"store_kwh": dice.uniform(-0.25, 0.25, count) * columns["store_low_kwh"]}
    if kind is ResourceKind.GENERATOR:
        on = dice.random(count) < 0.2
        power = columns["power_min_kw"] + dice.random(count) * (columns["power_max_kw"] - columns["power_min_kw"])
        return {
            "on": on.astype(np.float64),
            "hours_in_state_h": dice.uniform(2, 6, count),
            "power_kw": np.where(on, -power, 0.0),
        }
    return {}


# ---- what changes until the next cycle

VANISHED, CHANGED = 0.003, 0.004
"""Shares of devices that leave (as many new ones come) and of those whose parameters or states change: 1 % in all."""
LOAD_CHANGE = 0.05
"""The load forecast moves by up to this share."""
PRICE_CHANGE = 0.03


def changed_problem(problem: DispatchProblem, last: PlanStream, city: City, *, seed: int = 1) -> DispatchProblem:
    """The problem of the next cycle: 1 % of the devices, the load (by up to 5 %) and the prices are others.

    The day's baseline table is that of the last plan (new devices: their profile, else nothing), setpoints shall stay
    near the last plan outside events, and limits are issued anew with the load forecast: the room beside it moves by
    up to 5 %.  0.3 % of the devices leave, 0.3 % come, 0.4 % change.
    """
    dice = np.random.default_rng([seed, 2])
    fleet, states = _changed_fleet(dice, problem, city)
    load, room = problem.zone_load_kw, problem.zone_limit_kw - problem.zone_load_kw
    # one swing over the horizon in every zone, at most LOAD_CHANGE of the load
    swing = np.sin(np.linspace(0, 2 * np.pi, load.shape[1])[None, :] + dice.uniform(0, 2 * np.pi, (load.shape[0], 1)))
    load = load * (1 + LOAD_CHANGE * dice.uniform(0.3, 1.0, (load.shape[0], 1)) * swing)
    baseline, plan = _tables(problem, last, city, fleet)
    outside = ~np.any([problem.grid.inside(event.start, event.end) for event in problem.events], axis=0)
    return replace(
        problem,
        fleet=fleet,
        zone_load_kw=load,
        zone_limit_kw=load + room + dice.uniform(0.0, 0.05, room.shape) * np.abs(room),
        tariffs={
            name: price * (1 + dice.uniform(-PRICE_CHANGE, PRICE_CHANGE, len(price)))
            for name, price in problem.tariffs.items()
        },
        states=states,
        penalties=Penalties(switch_cost_per_kw=SWITCH_COST_PER_KW, stray_cost_per_kwh=STRAY_COST_PER_KWH),
        baseline_kw=baseline,
        real_time=RealTimeTerms(plan[:, 0].copy(), plan, outside.astype(np.float64)),
    )


def _changed_fleet(dice: Dice, problem: DispatchProblem, city: City) -> tuple[Fleet, StateTable]:
    resources = len(problem.fleet.resource_ids)
    coming = make_fleet(dice, city, round(VANISHED * resources), problem.fleet.tables, units=False, prefix="new-")
    tables, changed = {}, [np.empty(0, dtype=object)]
    for kind, table in problem.fleet.tables.items():
        stays = _movable(kind, table)
        leaving = np.zeros(len(table), dtype=np.bool_)
        changing = stays & (dice.random(len(table)) < CHANGED)
        changed.append(table.columns["resource_id"][changing])
        new = coming.tables.get(kind)
        candidates = np.flatnonzero(stays & ~changing)
        if new is not None:
            count = min(len(set(new.columns["resource_id"])), len(candidates))
            leaving[dice.choice(candidates, count, replace=False)] = True
        columns = {name: column.copy() for name, column in table.columns.items()}
        _change(dice, kind, columns, np.flatnonzero(changing))
        kept = {name: column[~leaving] for name, column in columns.items()}
        if new is not None:
            kept = {name: np.concatenate([column, new.columns[name]]) for name, column in kept.items()}
        tables[kind] = ResourceTable(kind, kept)
    fleet = Fleet(tables)
    fresh = live_states(dice, city, fleet)
    return fleet, _known_states(
        fresh, StateColumns.of(problem.states, np.array(fresh.resource_ids, dtype=object)), changed
    )


def _known_states(fresh: StateTable, last: StateColumns, changed: list[Column]) -> StateTable:
    """The last states, fresh ones for those that changed or are new."""
    others = frozenset(np.concatenate(changed).tolist())
    same = np.array([name not in others for name in fresh.resource_ids], dtype=np.bool_)
    same &= np.any([~np.isnan(getattr(last, field)) for field in NUMBERS], axis=0)
    numbers = {field: np.where(same, getattr(last, field), getattr(fresh.columns, field)) for field in NUMBERS}
    return StateTable(fresh.resource_ids, replace(fresh.columns, **numbers))


def _movable(kind: ResourceKind, table: ResourceTable) -> NDArray[np.bool_]:
    """Rows that may leave or change, (n,): no pumped hydro, and no charger with several stays."""
    if kind is ResourceKind.STORAGE:
        return np.asarray(table.columns["charge_min_kw"] == 0)
    return ~pd.Series(table.columns["resource_id"]).duplicated(keep=False).to_numpy()


_SCALED = {
    ResourceKind.CURTAILABLE_LOAD: ("cost_per_kwh", 1.0, 1.1),
    ResourceKind.INTERRUPTIBLE_LOAD: ("cost_per_kwh", 1.0, 1.1),
    ResourceKind.THERMAL_LOAD: ("discomfort_cost_per_kwh", 0.8, 1.2),
    ResourceKind.SHIFTABLE_LOAD: ("cost_per_kwh", 0.8, 1.2),
    ResourceKind.EV_SESSION: ("energy_needed_kwh", 0.7, 1.0),
    ResourceKind.STORAGE: ("wear_cost_per_kwh", 0.8, 1.2),
    ResourceKind.GENERATOR: ("cost_per_kwh", 0.9, 1.1),
    ResourceKind.PV: ("available_scale_kw", 0.9, 1.1),
}


def _change(dice: Dice, kind: ResourceKind, columns: Columns, rows: NDArray[np.intp]) -> None:
    """Change one parameter of some rows."""
    name, low, high = _SCALED[kind]
    columns[name][rows] *= dice.uniform(low, high, len(rows))


def _tables(problem: DispatchProblem, last: PlanStream, city: City, fleet: Fleet) -> tuple[FloatArray, FloatArray]:
    """Baseline and last plan of the new fleet, (R, T) each: NaN in the plan for those who were not there."""
    new_row = {name: row for row, name in enumerate(fleet.resource_ids)}
    shape = (len(new_row), len(problem.grid))
    baseline, plan = np.zeros(shape), np.full(shape, np.nan)
    for block in last.blocks():
        rows = np.array([new_row.get(name, -1) for name in block.resource_ids])
        stays = rows >= 0
        baseline[rows[stays]] = block.baseline_kw[stays]
        plan[rows[stays]] = block.power_kw[stays]
    known = frozenset(last.resource_ids)
    for kind, table in fleet.tables.items():
        profile, scale, sign = _PROFILED.get(kind, ("", "", 0.0))
        if sign:
            for i in np.flatnonzero([name not in known for name in table.columns["resource_id"]]):
                values = sign * table.columns[scale][i] * city.profiles[table.columns[profile][i]]
                baseline[new_row[table.columns["resource_id"][i]]] = values
    return baseline, plan


_PROFILED = {
    ResourceKind.CURTAILABLE_LOAD: ("baseline_profile", "baseline_scale_kw", 1.0),
    ResourceKind.INTERRUPTIBLE_LOAD: ("baseline_profile", "baseline_scale_kw", 1.0),
    ResourceKind.THERMAL_LOAD: ("baseline_profile", "baseline_scale_kw", 1.0),
    ResourceKind.PV: ("available_profile", "available_scale_kw", -1.0),
}
