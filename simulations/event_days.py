"""Whole event days under faults, by seed, and what they are judged by (``vpp bench event``).

    seed        another fleet, other dice of every device, other forecast errors of the city's load
    faults      shares of the devices, by what is wrong with them, from a moment in the first half of each event on
    judged      clock hours inside an event: delivered over ordered as metered, and against the true counterfactual

A day runs through ``simulations.day``: the service that runs live, on real wires, on virtual time.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from adapters.store import Store
from models.errors import StoreError
from models.intervals import FloatArray
from simulations.city_feed import scenario_feed
from simulations.day import FAR_SIDE_FILE, PROMISES_FILE
from simulations.day_setup import DaySetup, Outage, Trouble
from simulations.demo import demo_setup
from simulations.event_cases import CYCLE, CYCLE_BEGINS, SERVICE_AWAY, FaultCase
from simulations.far_side import broken_sequences
from vpp.report.result_folder import DayResult

BAND = (0.9, 1.1)
REBOUND_SPAN = timedelta(hours=6)


@dataclass(frozen=True)
class EventDayScore:
    """What one day came to.

    ``hours``: judged clock hours.  ``accuracy_mean``: mean of 1 − |delivered − ordered| / ordered over them.  ``true``:
    the same against what the devices would have drawn without an event, which only a simulator knows.
    ``worst_ratios``: the ratios furthest from 1, metered; ``ratios``, ``true_ratios``: of every hour.  ``rebound_ok``:
    the city stayed below its peak of the day without events in the six hours after each.  ``promises_named``,
    ``promises_broken``: cars that left with less than was promised, those named before and those not.
    ``invariants_broken``: what must never happen and did.  ``wire``: what became of messages, counted at the gateways,
    and how often broker and service were killed.
    """

    case: str
    fleet: int
    seed: int
    resources: int
    faults: Mapping[str, float]
    hours: int
    hours_in_band_share: float
    accuracy_mean: float
    hours_in_band_true_share: float
    accuracy_true_mean: float
    worst_ratios: tuple[float, ...]
    ratios: tuple[float, ...]
    true_ratios: tuple[float, ...]
    ordered_share_of_five_percent: float
    rebound_ok: bool
    promises_named: int
    promises_broken: int
    invariants_broken: tuple[str, ...]
    wire: Mapping[str, int]
    wall_s: float

    def as_dict(self) -> dict[str, Any]:
        """JSON values only."""
        return asdict(self)


def event_day(
    resources: int,
    fleet_seed: int,
    dice_seed: int | None,
    case: FaultCase,
    *,
    base: DaySetup | None = None,
) -> DaySetup:
    """The scenario's day with that fleet; ``dice_seed`` throws what happens on it, ``case`` says what goes wrong.

    ``base``: a day of the same fleet, used again.
    """
    setup = demo_setup(resources, seed=fleet_seed) if base is None else base
    seed = fleet_seed if dice_seed is None else dice_seed
    dice = np.random.default_rng([seed, 7])
    troubles = []
    for order in setup.orders:
        for kind, share in case.devices.items():
            into = timedelta(seconds=round(float(dice.uniform(0.0, 0.5)) * (order.end - order.start).total_seconds()))
            troubles.append(Trouble(share, order.start + into, order.end + timedelta(hours=1), kind))
    outages = []
    for order in setup.orders:
        span_s = (order.end - order.start).total_seconds()
        spans = [timedelta(seconds=round(float(at))) for at in dice.uniform(0.0, 0.95 * span_s, case.broker_kills)]
        outages += [Outage("broker", order.start + into) for into in spans]
        spans = [timedelta(seconds=round(float(at))) for at in dice.uniform(0.0, 0.95 * span_s, case.service_kills)]
        outages += [_kill(order.start, into, number) for number, into in enumerate(spans)]
    generated = setup.generated
    feed = scenario_feed(generated.scenario, generated.scale, seed)
    return replace(
        setup,
        troubles=tuple(troubles),
        outages=tuple(outages),
        wire=case.wire,
        is_watched=True,
        everyday_faults=case.everyday,
        dice_seed=dice_seed,
        feed=feed,
    )


def _kill(start: datetime, into: timedelta, number: int) -> Outage:
    """Every second time the service is killed, it is hit in the midst of a delivery."""
    if number % 2 == 0:
        return Outage("service", start + into, SERVICE_AWAY)
    return Outage("service", start + into // CYCLE * CYCLE + CYCLE_BEGINS, SERVICE_AWAY, after_commands=2)


def at_pace(setup: DaySetup, cycle_s: float, telemetry_s: float) -> DaySetup:
    """The day with a service that plans so often and devices that report so often; their physics is as fine."""
    settings = {**setup.settings, "real_time": {**setup.settings.get("real_time", {}), "cycle_s": cycle_s}}
    return replace(setup, settings=settings, telemetry_s=telemetry_s, step_s=min(setup.step_s, cycle_s / 4))


def score(
    result: DayResult,
    case: FaultCase,
    seeds: tuple[int, int],
    invariants_broken: tuple[str, ...],
    named: Sequence[bool] = (),
    wire: Mapping[str, int] | None = None,
) -> EventDayScore:
    """Judge a day that was run; ``seeds``: of the fleet, and of the day; ``named``: of every broken promise."""
    frame = result.delivery.copy()
    local = frame["interval_start"].dt.tz_convert(result.summary.time_zone)
    hours = frame.assign(hour=local.dt.floor("h")).groupby(["event_id", "hour"])
    sums = hours[["ordered_kw", "delivered_kw", "true_delivered_kw"]].mean()
    metered = (sums["delivered_kw"] / sums["ordered_kw"]).to_numpy(dtype=float)
    true = (sums["true_delivered_kw"] / sums["ordered_kw"]).to_numpy(dtype=float)
    events = result.summary.events
    five = sum(event.five_percent_kw for event in events)
    furthest = np.argsort(-np.abs(metered - 1))[:3]
    return EventDayScore(
        case=case.name,
        fleet=seeds[0],
        seed=seeds[1],
        resources=result.summary.resources,
        faults=case.shares,
        hours=len(metered),
        hours_in_band_share=in_band_share(metered),
        accuracy_mean=accuracy_mean(metered),
        hours_in_band_true_share=in_band_share(true),
        accuracy_true_mean=accuracy_mean(true),
        worst_ratios=tuple(round(float(value), 4) for value in metered[furthest]),
        ratios=tuple(round(float(value), 4) for value in metered),
        true_ratios=tuple(round(float(value), 4) for value in true),
        ordered_share_of_five_percent=sum(event.ordered_kw for event in events) / five if five > 0 else 0.0,
        rebound_ok=_rebound_ok(result),
        promises_named=sum(named),
        promises_broken=len(named) - sum(named),
        invariants_broken=invariants_broken,
        wire=dict(wire or {}),
        wall_s=result.summary.wall_s,
    )


def summary_of(scores: Sequence[EventDayScore]) -> dict[str, float]:
    """Over all judged hours of all days."""
    hours = sum(each.hours for each in scores)

    def mean(name: str) -> float:
        return sum(each.hours * getattr(each, name) for each in scores) / hours if hours else 0.0

    names = ("hours_in_band_share", "accuracy_mean", "hours_in_band_true_share", "accuracy_true_mean")
    return {
        "days": len(scores),
        "hours": hours,
        **{name: mean(name) for name in names},
        "rebound_ok_share": sum(each.rebound_ok for each in scores) / len(scores) if scores else 0.0,
        "promises_named": sum(each.promises_named for each in scores),
        "promises_broken": sum(each.promises_broken for each in scores),
        "invariants_broken": sum(len(each.invariants_broken) for each in scores),
    }


def in_band_share(ratios: FloatArray) -> float:
    """Share of hours inside 90 to 110 % of the order."""
    low, high = BAND
    return float(np.mean((ratios >= low) & (ratios <= high))) if len(ratios) else 0.0


def accuracy_mean(ratios: FloatArray) -> float:
    """Mean of 1 − |delivered − ordered| / ordered."""
    return float(np.mean(1 - np.abs(ratios - 1))) if len(ratios) else 0.0


def _rebound_ok(result: DayResult) -> bool:
    city = result.city.set_index("interval_start")
    before_kw = city["load_without_kw"].max()
    after = [city.loc[event.end : event.end + REBOUND_SPAN, "load_with_kw"].max() for event in result.summary.events]
    return bool(max(after) <= before_kw)


def far_side(out: Path) -> dict[str, Any]:
    """What the gateways of a day that was watched wrote down; empty if it was not."""
    path = out / FAR_SIDE_FILE
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def broken_invariants(out: Path) -> tuple[str, ...]:
    """What was found of things that must never happen while the day was at hand (``simulations.invariants``), and what
    its own database and its broken promises say.
    """
    found = list(far_side(out).get("broken", ()))
    with Store(f"sqlite:///{out / 'service' / 'vpp.db'}") as store:
        try:
            store.verify_audit()
        except StoreError as error:
            found.append(f"audit: {error}")
        found += broken_sequences(store.sequences_sent())
    return (*found, *(_unnamed(each) for each in promises(out) if not each["named"]))


def promises(out: Path) -> list[dict[str, Any]]:
    """Cars of a day that left with less than was promised (``simulations.kept_promises``)."""
    path = out / PROMISES_FILE
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else []


def _unnamed(promise: Mapping[str, Any]) -> str:
    return (
        f"promises: {promise['session_id']} left {promise['resource_id']} at {promise['departure']} with "
        f"{promise['delivered_kwh']:.1f} kWh of {promise['needed_kwh']:.1f} kWh, and nobody had been told"
    )
