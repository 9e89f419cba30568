"""An example city for ``vpp portfolio new``: every kind of resource, three zones, an area, two events, commitments.

Sizes are drawn from the ranges of real devices with a seed; the city around them is scaled so that both events ask
for something that this fleet can give, but only just.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from numpy.random import Generator as Dice

from models.dispatch.problem import DispatchProblem
from models.events import Commitment, Event, ScopeKind
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
    ShiftableLoad,
    Storage,
    ThermalLoad,
)

_START = datetime(2025, 7, 15, 22, tzinfo=UTC)
"""06:00 in Chengdu on 16 July 2025."""

_ZONES = ("north", "centre", "south")
_ROUND = 3


def example_problem(resources: int = 40, seed: int = 1) -> DispatchProblem:
    """A small city on 96 quarter hours from 06:00 local time, with so many resources (at least one of each make)."""
    dice = np.random.default_rng(seed)
    grid = IntervalGrid.regular(_START, timedelta(minutes=15), 96)
    hour = (6 + grid.tau_h) % 24
    fleet = [_MAKES[k % len(_MAKES)](dice, k) for k in range(max(resources, len(_MAKES)))]
    profiles = _profiles(hour)
    movable_kw = sum(_movable_kw(row) for row in fleet)
    city = movable_kw * (6 + 2.0 * np.exp(-(((hour - 13.2) / 2.2) ** 2)) + 2.2 * np.exp(-(((hour - 21.4) / 2) ** 2)))
    load = np.round(np.outer((0.25, 0.45, 0.3), city), _ROUND)
    limit = np.full_like(load, np.inf)
    limit[1] = np.round(load[1].max() + 0.35 * movable_kw, _ROUND)
    noon = _event("noon", 13, 14, 0.12 * movable_kw, load.sum(axis=0).max())
    evening = _event("evening", 21, 23, 0.10 * movable_kw, load.sum(axis=0).max())
    local = _event("evening-south", 21, 22, 0.02 * movable_kw, None)
    events = (noon, evening, local.model_copy(update={"scope_kind": ScopeKind.ZONE, "scope_id": "south"}))
    accepted = {"buildings": 0.03, "storage-stations": 0.05}
    commitments = tuple(
        Commitment(
            event_id="noon",
            aggregator_id=name,
            interval_start=grid.starts[t],
            accepted_kw=round(share * movable_kw, _ROUND),
        )
        for name, share in accepted.items()
        for t in np.flatnonzero(grid.inside(noon.start, noon.end))
    )
    return DispatchProblem(
        grid=grid,
        fleet=Fleet.from_rows(fleet),
        zones=_ZONES,
        zone_load_kw=load,
        zone_limit_kw=limit,
        tariffs={"industry": _tariff(hour, 0.62), "business": _tariff(hour, 0.74)},
        profiles=profiles,
        run_profiles={"batch": np.array([1.0, 1.0, 0.8, 0.8, 0.6, 0.6])},
        areas={"inner": frozenset({"north", "centre"})},
        events=events,
        commitments=commitments,
    )


def _tariff(hour: FloatArray, flat: float) -> FloatArray:
    """Summer time of use: valley at night, peak at noon and in the evening, critical in the worst hours."""
    factor = np.ones_like(hour)
    factor[(hour < 7) | (hour >= 23)] = 0.4
    factor[((hour >= 10) & (hour < 12)) | ((hour >= 15) & (hour < 21))] = 1.6
    factor[((hour >= 13) & (hour < 14)) | ((hour >= 21) & (hour < 22))] = 1.92
    return np.asarray(np.round(flat * factor, 4))


def _profiles(hour: FloatArray) -> dict[str, FloatArray]:
    shapes = {
        "office": 0.35 + 0.6 * np.exp(-(((hour - 14) / 4) ** 2)),
        "factory": np.where((hour >= 7) & (hour < 22), 0.95, 0.6),
        "cooling": 0.4 + 0.5 * np.exp(-(((hour - 15) / 4) ** 2)) + 0.3 * np.exp(-(((hour - 21.5) / 2) ** 2)),
        "sun": np.clip(np.sin((hour - 6) / 13 * np.pi), 0, None) * (hour > 6) * (hour < 19),
    }
    return {name: np.round(values, 4) for name, values in shapes.items()}


def _event(name: str, begin: int, end: int, target_kw: float, cap_kw: float | None) -> Event:
    return Event(
        event_id=name,
        start=_START + timedelta(hours=begin - 6),
        end=_START + timedelta(hours=end - 6),
        target_kw=round(target_kw, _ROUND),
        issued_at=_START - timedelta(hours=12),
        rebound_cap_kw=None if cap_kw is None else round(float(cap_kw), _ROUND),
    )


def _common(dice: Dice, number: int, name: str, aggregator: str, pillar: Pillar, tariff: str) -> dict[str, Any]:
    return {
        "resource_id": f"{name}-{number:05d}",
        "aggregator_id": aggregator,
        "zone_id": _ZONES[int(dice.integers(len(_ZONES)))],
        "meter_id": f"meter-{number:05d}",
        "pillar": pillar,
        "tariff_id": tariff,
        "reliability_fraction": float(np.round(dice.uniform(0.9, 1.0), 2)),
    }


def _draw(dice: Dice, low: float, high: float) -> float:
    return float(np.round(dice.uniform(low, high), _ROUND))


def _battery(dice: Dice, number: int) -> Storage:
    power, hours = _draw(dice, 50, 250), _draw(dice, 1.5, 3)
    size = round(power * hours, _ROUND)
    return Storage(
        **_common(dice, number, "battery", "storage-stations", Pillar.SOURCE, "industry"),
        charge_limit_kw=power,
        discharge_limit_kw=power,
        energy_min_kwh=round(0.1 * size, _ROUND),
        energy_max_kwh=size,
        energy_start_kwh=round(0.5 * size, _ROUND),
        energy_end_min_kwh=round(0.5 * size, _ROUND),
        charge_efficiency=0.95,
        discharge_efficiency=0.95,
        wear_cost_per_kwh=_draw(dice, 0.05, 0.1),
    )


def _pumped_hydro(dice: Dice, number: int) -> Storage:
    power = _draw(dice, 150, 300)
    return Storage(
        **_common(dice, number, "hydro", "storage-stations", Pillar.SOURCE, "industry"),
        charge_limit_kw=power,
        discharge_limit_kw=power,
        energy_min_kwh=0,
        energy_max_kwh=round(5 * power, _ROUND),
        energy_start_kwh=round(2 * power, _ROUND),
        energy_end_min_kwh=round(2 * power, _ROUND),
        charge_efficiency=0.88,
        discharge_efficiency=0.88,
        wear_cost_per_kwh=0.01,
        charge_min_kw=round(0.6 * power, _ROUND),
        discharge_min_kw=round(0.4 * power, _ROUND),
        mode_change_cost=20,
    )


def _car(dice: Dice, number: int) -> EvSession:
    arrival = _START + timedelta(minutes=int(dice.integers(60, 900)))
    stay = timedelta(minutes=int(dice.integers(150, 500)))
    energy = min(_draw(dice, 8, 35), round(0.8 * 7 * stay.total_seconds() / 3600 * 0.93, _ROUND))
    return EvSession(
        **_common(dice, number, "charger", "charging", Pillar.LOAD, "business"),
        session_id=f"stay-{number:05d}",
        arrival=arrival,
        departure=arrival + stay,
        energy_needed_kwh=energy,
        charge_limit_kw=7,
        charge_efficiency=0.93,
    )


def _v2g_car(dice: Dice, number: int) -> EvSession:
    arrival = _START + timedelta(minutes=int(dice.integers(300, 720)))
    return EvSession(
        **_common(dice, number, "v2g", "charging", Pillar.LOAD, "business"),
        session_id=f"stay-{number:05d}",
        arrival=arrival,
        departure=arrival + timedelta(hours=9, minutes=20),
        energy_needed_kwh=_draw(dice, 10, 30),
        charge_limit_kw=22,
        charge_efficiency=0.94,
        discharge_limit_kw=15,
        discharge_efficiency=0.94,
        battery_capacity_kwh=70,
        battery_start_kwh=_draw(dice, 15, 35),
        wear_cost_per_kwh=_draw(dice, 0.1, 0.2),
    )


def _building(dice: Dice, number: int) -> CurtailableLoad:
    scale, share = _draw(dice, 200, 600), _draw(dice, 0.1, 0.3)
    return CurtailableLoad(
        **_common(dice, number, "lighting", "buildings", Pillar.LOAD, "business"),
        baseline_profile="office",
        baseline_scale_kw=scale,
        curtail_share=share,
        cost_per_kwh=_draw(dice, 1.6, 2.5),
        energy_limit_kwh=round(2.5 * scale * share, _ROUND),
        hours_limit_h=4,
        notice_h=0.5,
        rebound_share=0.3,
        rebound_hours_h=2,
    )


def _called_building(dice: Dice, number: int) -> CurtailableLoad:
    scale, share = _draw(dice, 200, 600), _draw(dice, 0.1, 0.3)
    return CurtailableLoad(
        **_common(dice, number, "shop", "buildings", Pillar.LOAD, "business"),
        baseline_profile="office",
        baseline_scale_kw=scale,
        curtail_share=share,
        cost_per_kwh=_draw(dice, 1.6, 2.5),
        energy_limit_kwh=round(2 * scale * share, _ROUND),
        hours_limit_h=3,
        notice_h=1,
        calls_per_day=2,
        rest_h=3,
        rebound_share=0.2,
        rebound_hours_h=1,
    )


def _furnace(dice: Dice, number: int) -> InterruptibleLoad:
    scale = _draw(dice, 400, 1200)
    return InterruptibleLoad(
        **_common(dice, number, "furnace", "industry", Pillar.LOAD, "industry"),
        baseline_profile="factory",
        baseline_scale_kw=scale,
        block_kw=round(0.4 * scale, _ROUND),
        cost_per_kwh=_draw(dice, 1.8, 3),
        shortest_h=0.5,
        longest_h=2,
        calls_per_day=2,
        rest_h=4,
        notice_h=1,
        rebound_share=0.2,
        rebound_hours_h=2,
    )


def _pump(dice: Dice, number: int) -> ShiftableLoad:
    power = _draw(dice, 40, 150)
    return ShiftableLoad(
        **_common(dice, number, "pump", "industry", Pillar.LOAD, "industry"),
        window_start=_START + timedelta(hours=4),
        window_end=_START + timedelta(hours=18),
        energy_kwh=round(5 * power, _ROUND),
        power_min_kw=round(0.1 * power, _ROUND),
        power_max_kw=power,
        preferred_start=_START + timedelta(hours=6),
        cost_per_kwh=0.05,
    )


def _batch(dice: Dice, number: int) -> ShiftableLoad:
    power = _draw(dice, 40, 150)
    return ShiftableLoad(
        **_common(dice, number, "batch", "industry", Pillar.LOAD, "industry"),
        window_start=_START + timedelta(hours=3),
        window_end=_START + timedelta(hours=17),
        run_profile="batch",
        energy_kwh=round(power * 1.2, 6),
        power_min_kw=0,
        power_max_kw=power,
        preferred_start=_START + timedelta(hours=7),
        cost_per_kwh=0.05,
    )


def _cooling(dice: Dice, number: int) -> ThermalLoad:
    scale = _draw(dice, 100, 500)
    return ThermalLoad(
        **_common(dice, number, "cooling", "buildings", Pillar.LOAD, "business"),
        baseline_profile="cooling",
        baseline_scale_kw=scale,
        increase_limit_kw=round(0.3 * scale, _ROUND),
        decrease_limit_kw=round(0.4 * scale, _ROUND),
        store_low_kwh=round(0.5 * scale, _ROUND),
        store_high_kwh=round(0.5 * scale, _ROUND),
        store_end_min_kwh=0,
        decay_per_hour=_draw(dice, 0.1, 0.4),
        discomfort_cost_per_kwh=_draw(dice, 0.2, 0.6),
    )


def _backup(dice: Dice, number: int) -> Generator:
    power = _draw(dice, 200, 500)
    return Generator(
        **_common(dice, number, "engine", "industry", Pillar.SOURCE, "industry"),
        power_min_kw=round(0.4 * power, _ROUND),
        power_max_kw=power,
        cost_per_kwh=_draw(dice, 1.0, 1.6),
        start_cost=_draw(dice, 20, 60),
        no_load_cost_per_h=_draw(dice, 5, 15),
        ramp_kw_per_h=round(2 * power, _ROUND),
        minimum_up_h=1,
        minimum_down_h=1,
        co2_kg_per_kwh=0.5,
    )


def _solar(dice: Dice, number: int) -> Pv:
    return Pv(
        **_common(dice, number, "roof", "industry", Pillar.SOURCE, "industry"),
        available_profile="sun",
        available_scale_kw=_draw(dice, 50, 300),
        curtail_cost_per_kwh=0.1,
    )


_MAKES = (
    _battery,
    _car,
    _building,
    _cooling,
    _furnace,
    _pump,
    _v2g_car,
    _solar,
    _called_building,
    _batch,
    _backup,
    _pumped_hydro,
)


def _movable_kw(row: ResourceBase) -> float:
    """A rough measure of what a resource can move, to scale the city by."""
    columns = ("discharge_limit_kw", "block_kw", "decrease_limit_kw", "power_max_kw")
    found = [float(getattr(row, name)) for name in columns if getattr(row, name, 0)]
    if isinstance(row, CurtailableLoad):
        found = [row.curtail_share * row.baseline_scale_kw]
    return found[0] if found else 0.0
