"""Random small problems of all kinds from a seed: the same seed gives the same problem on every machine.

Every parameter is distinct, all eight kinds occur, so do pumped
hydro, V2G, integer curtailable loads, contiguous runs, sessions that leave after the horizon, leaking stores.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from models.dispatch.problem import DispatchProblem
from models.events import Commitment, Direction, Event, ScopeKind
from models.fleet import Fleet
from models.intervals import FloatArray, IntervalGrid
from models.resources import (
    CurtailableLoad,
    EvSession,
    Generator,
    InterruptibleLoad,
    Pillar,
    Pv,
    ResourceBase,
    ResourceKind,
    ShiftableLoad,
    Storage,
    ThermalLoad,
)

START = datetime(2025, 7, 15, 22, tzinfo=UTC)
AGGREGATORS = ("industry", "buildings", "charging", "storage")
ALL_KINDS = tuple(ResourceKind)


def random_problem(
    seed: int,
    *,
    kinds: Sequence[ResourceKind] = ALL_KINDS,
    resources: int = 12,
    intervals: int = 24,
    zones: int = 3,
    events: int = 1,
    commitments: bool = False,
    step: timedelta = timedelta(hours=1),
    sessions_per_charger: int = 1,
    negative_prices: bool = False,
    hydro_share: float = 0.2,
) -> DispatchProblem:
    """A problem with ``resources`` devices whose kinds take turns through ``kinds``."""
    dice = np.random.default_rng(seed)
    grid = IntervalGrid.regular(START, step, intervals)
    names = tuple(f"Z{k:02d}" for k in range(zones))
    clock_h = np.array([(moment.hour + moment.minute / 60 + 8) % 24 for moment in grid.starts])
    profiles = _profiles(dice, clock_h)
    tariffs = _tariffs(dice, clock_h, negative=negative_prices)
    rows: list[ResourceBase] = []
    for index in range(resources):
        kind = kinds[index % len(kinds)]
        if kind is ResourceKind.STORAGE:
            common = _common(dice, index, Pillar.SOURCE, names)
            rows.append(_storage(dice, common, hydro=dice.random() < hydro_share))
        else:
            rows.extend(_rows(dice, index, kind, grid, names, sessions_per_charger))
    fleet = Fleet.from_rows(rows)
    load, limit = _zone_tables(dice, grid, fleet, names, profiles)
    made = tuple(_event(dice, k, grid, names, resources) for k in range(events))
    accepted = tuple(_commitments(dice, grid, made)) if commitments else ()
    runs = {"run-short": np.array([1.0, 0.5]), "run-long": np.array([0.6, 1.0, 1.0, 0.4])}
    areas = {"north": frozenset(names[: max(1, zones // 2)])}
    return DispatchProblem(
        grid=grid,
        fleet=fleet,
        zones=names,
        zone_load_kw=load,
        zone_limit_kw=limit,
        tariffs=tariffs,
        profiles=profiles,
        run_profiles=runs,
        areas=areas,
        events=made,
        commitments=accepted,
    )


def _profiles(dice: np.random.Generator, clock_h: FloatArray) -> dict[str, FloatArray]:
    noise = 1 + 0.05 * dice.standard_normal((3, len(clock_h)))
    office = 0.3 + 0.6 * np.exp(-(((clock_h - 14) / 4) ** 2))
    factory = np.where((clock_h >= 6) & (clock_h < 22), 0.9, 0.5)
    sun = np.clip(np.sin((clock_h - 6) / 12 * np.pi), 0, None)
    return {
        "office": np.clip(office * noise[0], 0, None),
        "factory": np.clip(factory * noise[1], 0, None),
        "sun": np.clip(sun * noise[2], 0, None),
    }


def _tariffs(dice: np.random.Generator, clock_h: FloatArray, *, negative: bool) -> dict[str, FloatArray]:
    peak = ((clock_h >= 11) & (clock_h < 14)) | ((clock_h >= 19) & (clock_h < 22))
    valley = (clock_h >= 23) | (clock_h < 7)
    use = np.where(peak, 1.1, np.where(valley, 0.3, 0.65))
    tariffs = {
        "tou": use,
        "flat": np.full(len(clock_h), 0.6),
        "spot": use + 0.05 * dice.standard_normal(len(use)),
    }
    if negative:
        tariffs = {name: np.where(valley, values - 0.9, values) for name, values in tariffs.items()}
    return tariffs


def _common(dice: np.random.Generator, index: int, pillar: Pillar, zones: tuple[str, ...]) -> dict[str, Any]:
    return {
        "resource_id": f"r{index:04d}",
        "aggregator_id": str(dice.choice(AGGREGATORS)),
        "zone_id": str(dice.choice(zones)),
        "meter_id": f"m{index:04d}",
        "pillar": pillar,
        "tariff_id": str(dice.choice(["tou", "flat", "spot"])),
        "reliability_fraction": float(dice.choice([1.0, 0.95, dice.uniform(0.7, 1.0)])),
    }


def _rows(
    dice: np.random.Generator,
    index: int,
    kind: ResourceKind,
    grid: IntervalGrid,
    zones: tuple[str, ...],
    sessions: int,
) -> list[ResourceBase]:
    source = kind in (ResourceKind.GENERATOR, ResourceKind.PV)
    common = _common(dice, index, Pillar.SOURCE if source else Pillar.LOAD, zones)
    if kind is ResourceKind.EV_SESSION:
        return list(_sessions(dice, common, grid, sessions))
    if kind is ResourceKind.SHIFTABLE_LOAD:
        return [_shiftable(dice, common, grid)]
    make = {
        ResourceKind.CURTAILABLE_LOAD: _curtailable,
        ResourceKind.INTERRUPTIBLE_LOAD: _interruptible,
        ResourceKind.THERMAL_LOAD: _thermal,
        ResourceKind.GENERATOR: _generator,
        ResourceKind.PV: _pv,
    }[kind]
    return [make(dice, common)]


def _storage(dice: np.random.Generator, common: dict[str, Any], *, hydro: bool) -> ResourceBase:
    power = dice.uniform(20, 120)
    energy = power * dice.uniform(1, 4)
    start = dice.uniform(0.2, 0.8) * energy
    return Storage(
        **common,
        charge_limit_kw=power,
        discharge_limit_kw=power * dice.uniform(0.8, 1.2),
        energy_min_kwh=0.05 * energy,
        energy_max_kwh=energy,
        energy_start_kwh=start,
        energy_end_min_kwh=start * dice.uniform(0.5, 1.0),
        charge_efficiency=dice.uniform(0.88, 0.98),
        discharge_efficiency=dice.uniform(0.88, 0.98),
        wear_cost_per_kwh=dice.uniform(0.01, 0.08),
        charge_min_kw=0.4 * power if hydro else 0.0,
        discharge_min_kw=0.3 * power if hydro else 0.0,
        mode_change_cost=dice.uniform(1, 5) if hydro else 0.0,
    )


def _sessions(dice: np.random.Generator, common: dict[str, Any], grid: IntervalGrid, count: int) -> list[EvSession]:
    span_h = (grid.end - grid.start).total_seconds() / 3600
    cuts = np.sort(dice.uniform(-0.05, 1.1, 2 * count)) * span_h
    power = float(dice.choice([7.0, 11.0, 60.0])) * dice.uniform(0.9, 1.1)
    efficiency = dice.uniform(0.88, 0.96)
    v2g = dice.random() < 0.35
    made = []
    for k in range(count):
        arrival, departure = float(cuts[2 * k]), float(cuts[2 * k + 1])
        departure = max(departure, arrival + 1.0, 1.0) if k == count - 1 else max(departure, arrival + 0.01)
        left_h = departure - max(arrival, 0.0)
        needed = max(0.0, dice.uniform(0.2, 0.9) * power * efficiency * left_h * 0.8)
        battery = dice.uniform(40, 90)
        needed = min(needed, 0.7 * battery)
        extra: dict[str, Any] = {}
        if v2g:
            extra = {
                "discharge_limit_kw": power,
                "discharge_efficiency": dice.uniform(0.88, 0.96),
                "battery_capacity_kwh": battery,
                "battery_start_kwh": dice.uniform(0.05, 0.25) * battery,
                "wear_cost_per_kwh": dice.uniform(0.02, 0.1),
            }
        made.append(
            EvSession(
                **common,
                session_id=f"{common['resource_id']}-s{k}",
                arrival=grid.start + timedelta(hours=arrival),
                departure=grid.start + timedelta(hours=departure),
                energy_needed_kwh=needed,
                charge_limit_kw=power,
                charge_efficiency=efficiency,
                **extra,
            )
        )
    return made


def _rebound(dice: np.random.Generator) -> dict[str, Any]:
    share = float(dice.choice([0.0, dice.uniform(0.2, 0.9)]))
    return {"rebound_share": share, "rebound_hours_h": float(dice.choice([1.0, 2.0, 3.0])) if share else 0.0}


def _curtailable(dice: np.random.Generator, common: dict[str, Any]) -> ResourceBase:
    scale = dice.uniform(50, 200)
    integer = dice.random() < 0.3
    return CurtailableLoad(
        **common,
        **_rebound(dice),
        baseline_profile=str(dice.choice(["office", "factory"])),
        baseline_scale_kw=scale,
        curtail_share=dice.uniform(0.1, 0.4),
        cost_per_kwh=dice.uniform(1.5, 3.0),
        energy_limit_kwh=scale * dice.uniform(0.2, 1.0),
        hours_limit_h=float(dice.integers(1, 5)),
        notice_h=float(dice.choice([0.0, 1.0, 2.0])),
        calls_per_day=int(dice.integers(1, 3)) if integer else None,
        rest_h=2.0 if integer else 0.0,
    )


def _interruptible(dice: np.random.Generator, common: dict[str, Any]) -> ResourceBase:
    scale = dice.uniform(60, 200)
    return InterruptibleLoad(
        **common,
        **_rebound(dice),
        baseline_profile=str(dice.choice(["office", "factory"])),
        baseline_scale_kw=scale,
        block_kw=scale * dice.uniform(0.2, 0.5),
        cost_per_kwh=dice.uniform(1.5, 3.5),
        shortest_h=float(dice.choice([1.0, 2.0])),
        longest_h=float(dice.choice([2.0, 3.0, 4.0])),
        calls_per_day=int(dice.integers(1, 3)),
        rest_h=float(dice.choice([0.0, 2.0, 4.0])),
        notice_h=float(dice.choice([0.0, 1.0])),
    )


def _shiftable(dice: np.random.Generator, common: dict[str, Any], grid: IntervalGrid) -> ResourceBase:
    hours = float(grid.hours[0])
    count = len(grid)
    first = int(dice.integers(0, max(1, count // 3)))
    last = int(dice.integers(min(count, first + 8), count + 1))
    power = dice.uniform(30, 100)
    window_h = (last - first) * hours
    run = str(dice.choice(["", "run-short", "run-long"]))
    shape = {"": 0.0, "run-short": 1.5, "run-long": 3.0}[run]
    energy = power * shape * hours if run else power * window_h * dice.uniform(0.2, 0.6)
    return ShiftableLoad(
        **common,
        window_start=grid.edges[first],
        window_end=grid.edges[last],
        energy_kwh=energy,
        power_min_kw=0.0 if run else 0.1 * power,
        power_max_kw=power,
        preferred_start=grid.edges[first + 1] if dice.random() < 0.7 else None,
        run_profile=run or None,
        cost_per_kwh=dice.uniform(0.02, 0.3),
    )


def _thermal(dice: np.random.Generator, common: dict[str, Any]) -> ResourceBase:
    scale = dice.uniform(40, 200)
    depth = scale * dice.uniform(0.3, 0.8)
    return ThermalLoad(
        **common,
        baseline_profile="office",
        baseline_scale_kw=scale,
        increase_limit_kw=scale * dice.uniform(0.1, 0.4),
        decrease_limit_kw=scale * dice.uniform(0.1, 0.6),
        store_low_kwh=depth,
        store_high_kwh=depth * dice.uniform(0.5, 1.0),
        store_end_min_kwh=-0.1 * depth,
        decay_per_hour=float(dice.choice([0.0, dice.uniform(0.02, 0.4)])),
        discomfort_cost_per_kwh=dice.uniform(0.0, 0.5),
    )


def _generator(dice: np.random.Generator, common: dict[str, Any]) -> ResourceBase:
    power = dice.uniform(50, 250)
    return Generator(
        **common,
        power_min_kw=power * float(dice.choice([0.0, 0.3, 0.5])),
        power_max_kw=power,
        cost_per_kwh=dice.uniform(0.5, 1.6),
        start_cost=power * dice.uniform(0.0, 0.2),
        no_load_cost_per_h=power * dice.uniform(0.0, 0.05),
        ramp_kw_per_h=power * dice.uniform(0.3, 2.0),
        minimum_up_h=float(dice.choice([0.0, 1.0, 2.0])),
        minimum_down_h=float(dice.choice([0.0, 1.0, 2.0])),
        co2_kg_per_kwh=dice.uniform(0.4, 0.7),
    )


def _pv(dice: np.random.Generator, common: dict[str, Any]) -> ResourceBase:
    return Pv(
        **common,
        available_profile="sun",
        available_scale_kw=dice.uniform(20, 150),
        curtail_cost_per_kwh=dice.uniform(0.0, 0.2),
    )


def _zone_tables(
    dice: np.random.Generator,
    grid: IntervalGrid,
    fleet: Fleet,
    zones: tuple[str, ...],
    profiles: dict[str, FloatArray],
) -> tuple[FloatArray, FloatArray]:
    """Zone loads about three times the portfolio's, and limits that bind here and there."""
    zone_load = np.zeros((len(zones), len(grid)))
    size = 60.0 * len(fleet) / len(zones)
    for z in range(len(zones)):
        zone_load[z] = 3 * size * dice.uniform(0.7, 1.3) * profiles["office"]
    top = zone_load.max(axis=1, keepdims=True)
    limit = np.repeat(top + size * dice.uniform(0.8, 2.5, (len(zones), 1)), len(grid), axis=1)
    return zone_load, limit


def _event(dice: np.random.Generator, k: int, grid: IntervalGrid, zones: tuple[str, ...], resources: int) -> Event:
    count = len(grid)
    first = int(dice.integers(count // 4, max(count // 4 + 1, count // 2 + 1)))
    last = min(count, first + max(1, round(float(dice.choice([1.0, 2.0])) / float(grid.hours[0]))))
    scopes = [
        (ScopeKind.CITY, ""),
        (ScopeKind.ZONE, zones[k % len(zones)]),
        (ScopeKind.AGGREGATOR, AGGREGATORS[k % len(AGGREGATORS)]),
        (ScopeKind.PILLAR, Pillar.LOAD.value),
        (ScopeKind.AREA, "north"),
    ]
    kind, name = scopes[0] if k == 0 else scopes[int(dice.integers(0, len(scopes)))]
    fill = k > 0 and dice.random() < 0.25
    size = resources * dice.uniform(4, 16) * (1.0 if kind is ScopeKind.CITY else 0.4)
    return Event(
        event_id=f"e{k}",
        direction=Direction.FILL if fill else Direction.SHAVE,
        scope_kind=kind,
        scope_id=name,
        start=grid.edges[first],
        end=grid.edges[last],
        target_kw=size,
        issued_at=grid.start - timedelta(hours=float(dice.choice([0.0, 2.0]))),
        rebound_cap_kw=300.0 * resources if not fill and dice.random() < 0.6 else None,
    )


def _commitments(dice: np.random.Generator, grid: IntervalGrid, events: tuple[Event, ...]) -> list[Commitment]:
    made: list[Commitment] = []
    for event in events:
        for name in AGGREGATORS[:2]:
            share = event.target_kw * dice.uniform(0.1, 0.3)
            made.extend(
                Commitment(event_id=event.event_id, aggregator_id=name, interval_start=start, accepted_kw=share)
                for start, inside in zip(grid.starts, grid.inside(event.start, event.end), strict=True)
                if inside
            )
    return made
