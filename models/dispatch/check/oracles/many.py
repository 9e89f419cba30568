"""Least costs of thousands of resources of one kind: columns and prices in, the compiled oracles' answers out."""

from collections.abc import Callable, Mapping

import numpy as np

from models.dispatch.check.oracles.compiled.asked import Asked
from models.dispatch.check.oracles.compiled.generators import Units, least_generators
from models.dispatch.check.oracles.compiled.loads import Callables, saved_by_calls, saved_by_curtailing
from models.dispatch.check.oracles.compiled.shifting import Runs, Spread, least_runs, least_spread
from models.dispatch.check.oracles.compiled.stores import Batteries, Stores, least_batteries, least_stores
from models.dispatch.check.oracles.prices import PriceTable
from models.dispatch.check.screens.calls import EPS_H, is_on, opens_h, rebound_of_the_past
from models.dispatch.check.screens.charging import Stays
from models.dispatch.check.screens.common import Batch, BoolArray, or_else
from models.dispatch.check.screens.generation import output_before
from models.dispatch.check.screens.loads import is_integer
from models.dispatch.check.screens.shifting import (
    begun,
    energy_range_kwh,
    has_preference,
    is_done,
    is_run,
    may_begin,
    may_wait,
    preferred_kw,
    run_steps,
)
from models.dispatch.check.screens.storage import is_hydro
from models.dispatch.check.screens.thermal import factors
from models.intervals import FloatArray
from models.resources import ResourceKind

Answer = tuple[FloatArray, BoolArray]
"""Least costs (n,), CNY, and whether each is exact (else it is a relaxation's: a valid lower bound)."""


def _asked(batch: Batch, prices: PriceTable) -> Asked:
    """Prices as the compiled oracles want them; zeros where nobody strays."""
    stray, plan_kw = prices.stray_per_kwh, prices.plan_kw
    if stray is None or plan_kw is None:
        stray = plan_kw = np.zeros(prices.per_kwh.shape)
    return Asked(batch.horizon.hours, _edges(batch), prices.per_kwh, prices.late_per_kwh, stray, plan_kw)


def _edges(batch: Batch) -> FloatArray:
    return np.concatenate([batch.horizon.tau_h, batch.horizon.ends_h[-1:]])


def _straight(prices: PriceTable) -> BoolArray:
    """Whose cost is linear in every interval, (n,)."""
    if prices.stray_per_kwh is None:
        return np.ones(len(prices.per_kwh), dtype=np.bool_)
    return np.asarray(~np.any(prices.stray_per_kwh, axis=1))


def storages(batch: Batch, prices: PriceTable) -> Answer:
    """Batteries; pumped hydro without its minima and mode costs (relaxed: it has an oracle of its own)."""
    get = batch.number
    low, high, end = get("energy_min_kwh"), get("energy_max_kwh"), get("energy_end_min_kwh")
    batteries = Batteries(
        charge_kw=get("charge_limit_kw"),
        discharge_kw=get("discharge_limit_kw"),
        charge_efficiency=get("charge_efficiency"),
        discharge_efficiency=get("discharge_efficiency"),
        wear=get("wear_cost_per_kwh"),
        low_kwh=low,
        high_kwh=high,
        begin_kwh=get("energy_start_kwh"),
        end_low_kwh=np.maximum(end, low),
        end_high_kwh=high,
    )
    whole, never = np.ones(prices.per_kwh.shape), np.zeros(len(batch))
    cost, exact = least_batteries(_asked(batch, prices), batteries, np.arange(len(batch)), whole, never)
    return cost, exact & ~is_hydro(batch)


def chargers(batch: Batch, prices: PriceTable) -> Answer:
    """Chargers: the sum over their stays, virtual slots included."""
    assert isinstance(batch, Stays)  # noqa: S101 - charging sessions are admitted as stays
    get, v2g, start = batch.number, batch.v2g(), batch.number("start_kwh")
    batteries = Batteries(
        charge_kw=get("charge_limit_kw"),
        discharge_kw=get("discharge_limit_kw"),
        charge_efficiency=get("charge_efficiency"),
        discharge_efficiency=get("discharge_efficiency"),
        wear=batch.wear(),
        low_kwh=np.where(v2g, np.minimum(0.0, start), -np.inf),
        high_kwh=np.where(v2g, np.maximum(batch.ceiling_kwh(), start), np.inf),
        begin_kwh=start,
        end_low_kwh=get("target_kwh"),
        end_high_kwh=get("target_kwh"),
    )
    asked, share = _asked(batch, prices), batch.share()
    cost, exact = least_batteries(asked, batteries, batch.charger, share, get("hours_after"))
    total = np.bincount(batch.charger, weights=cost, minlength=batch.chargers).astype(np.float64)
    relaxed = np.bincount(batch.charger, weights=~exact, minlength=batch.chargers)
    return total, np.asarray(relaxed == 0)


def thermals(batch: Batch, prices: PriceTable) -> Answer:
    """Thermal loads, their undisturbed consumption included."""
    get = batch.number
    low = -get("store_low_kwh")
    stores = Stores(
        batch.series("baseline_profile", "baseline_scale_kw"),
        *factors(get("decay_per_hour"), batch.horizon.hours),
        increase_kw=get("increase_limit_kw"),
        decrease_kw=get("decrease_limit_kw"),
        discomfort=get("discomfort_cost_per_kwh"),
        low_kwh=low,
        high_kwh=get("store_high_kwh"),
        begin_kwh=or_else(batch.state.store_kwh, 0.0),
        end_low_kwh=np.maximum(get("store_end_min_kwh"), low),
    )
    cost, exact = least_stores(_asked(batch, prices), stores)
    return cost, exact


def _price_of_reducing(batch: Batch, prices: PriceTable) -> FloatArray:
    """CNY per kW given up in every interval, (n, T): own cost, less what it saves, plus what its rebound costs later.

    What is given up in s returns evenly in (end_s, end_s + H], so its rebound costs share/H Δ_s ∫ price over that span.
    """
    horizon, hours = batch.horizon, batch.horizon.hours
    price = hours * batch.upright("cost_per_kwh") - hours * prices.per_kwh
    share, span = batch.number("rebound_share"), batch.number("rebound_hours_h")
    again = np.flatnonzero(share > 0)
    if not again.size:
        return np.asarray(price)
    edges = np.concatenate([horizon.tau_h[:1], horizon.ends_h])
    per_kwh = prices.per_kwh[again]
    so_far = np.zeros((again.size, len(edges)))
    np.cumsum(per_kwh * hours, axis=1, out=so_far[:, 1:])
    spans, which = np.unique(span[again], return_inverse=True)
    closes = np.minimum(edges[1:] + spans[:, None], edges[-1])
    place = np.minimum(np.searchsorted(edges, closes, side="right") - 1, len(hours) - 1)[which]
    part = closes[which] - edges[place]
    until = np.take_along_axis(so_far, place, axis=1) + np.take_along_axis(per_kwh, place, axis=1) * part
    price[again] += (share[again] / span[again])[:, None] * hours * (until - so_far[:, 1:])
    return np.asarray(price)


def _undisturbed_cost(batch: Batch, base: FloatArray, prices: PriceTable) -> FloatArray:
    drawn = base + rebound_of_the_past(batch)
    return np.asarray(np.einsum("nt,nt->n", prices.per_kwh * batch.horizon.hours, drawn))


def curtailables(batch: Batch, prices: PriceTable) -> Answer:
    """Curtailable loads: a knapsack with two limits; calls are relaxed."""
    horizon, state = batch.horizon, batch.state
    base = batch.series("baseline_profile", "baseline_scale_kw")
    whole = is_integer(batch)
    open_now = (horizon.tau_h >= opens_h(batch)[:, None] - EPS_H) | (whole & is_on(state))[:, None]
    limit = np.where(open_now, batch.upright("curtail_share") * base, 0.0)
    energy = np.maximum(0.0, batch.number("energy_limit_kwh") - or_else(state.energy_used_kwh, 0.0))
    hours = np.maximum(0.0, batch.number("hours_limit_h") - or_else(state.hours_used_h, 0.0))
    price = _price_of_reducing(batch, prices)
    saved = saved_by_curtailing(horizon.hours, price, np.ascontiguousarray(limit), energy, hours)
    exact = _straight(prices) & (~whole | (saved == 0.0))
    return _undisturbed_cost(batch, base, prices) + saved, exact


def interruptibles(batch: Batch, prices: PriceTable) -> Answer:
    """Interruptible loads: dynamic programming over interruptions, exact."""
    get, state = batch.number, batch.state
    base = batch.series("baseline_profile", "baseline_scale_kw")
    gain = _price_of_reducing(batch, prices) * np.minimum(batch.upright("block_kw"), base)
    loads = Callables(
        np.maximum(0.0, get("calls_per_day") - or_else(state.calls_used, 0.0)).astype(np.intp),
        opens_h(batch),
        get("rest_h"),
        get("shortest_h"),
        get("longest_h"),
        is_on(state),
        or_else(state.hours_in_state_h, 0.0),
    )
    saved = saved_by_calls(_edges(batch), gain, loads)
    return _undisturbed_cost(batch, base, prices) + saved, _straight(prices)


def shiftables(batch: Batch, prices: PriceTable) -> Answer:
    """Shiftable loads: the cheapest kWh first, or the cheapest run."""
    cost = np.zeros(len(batch))
    runs = is_run(batch)
    for which, oracle in ((np.flatnonzero(~runs), _spread), (np.flatnonzero(runs), _runs)):
        if which.size:
            part = batch.rows(which)
            liked = np.where(has_preference(part)[:, None], preferred_kw(part), np.nan)
            cost[which] = oracle(part, prices.rows(which), liked)
    return cost, np.ones(len(batch), dtype=np.bool_)


def _spread(batch: Batch, prices: PriceTable, liked_kw: FloatArray) -> FloatArray:
    overlap = batch.horizon.overlap_h(batch.number("opens_h"), batch.number("closes_h"))
    loads = Spread(
        overlap / batch.horizon.hours,
        batch.number("power_min_kw"),
        batch.number("power_max_kw"),
        liked_kw,
        batch.number("cost_per_kwh"),
        *energy_range_kwh(batch, overlap.sum(axis=1)),
        energy_kwh=batch.number("energy_kwh"),
    )
    return np.asarray(least_spread(_asked(batch, prices), loads))


def _runs(batch: Batch, prices: PriceTable, liked_kw: FloatArray) -> FloatArray:
    step_h, first_step, steps = run_steps(batch)
    loads = Runs(
        may_begin(batch),
        may_wait(batch),
        begun(batch),
        is_done(batch),
        or_else(batch.state.hours_in_state_h, 0.0),
        step_h,
        batch.number("power_max_kw"),
        first_step,
        steps,
        liked_kw,
        batch.number("cost_per_kwh"),
    )
    return np.asarray(least_runs(_asked(batch, prices), loads))


def generators(batch: Batch, prices: PriceTable) -> Answer:
    """Generators; straying costs of real time are left out (a relaxation)."""
    get, (was_kw, was_on, was_h) = batch.number, output_before(batch)
    units = Units(
        get("power_min_kw"),
        get("power_max_kw"),
        get("cost_per_kwh"),
        get("start_cost"),
        get("no_load_cost_per_h"),
        get("ramp_kw_per_h"),
        get("minimum_up_h"),
        get("minimum_down_h"),
        was_kw,
        was_on,
        was_h,
    )
    return least_generators(_asked(batch, prices), units), _straight(prices)


def panels(batch: Batch, prices: PriceTable) -> Answer:
    """Photovoltaic plants: every interval by itself, at a corner of its cost."""
    sun = batch.series("available_profile", "available_scale_kw")
    asked = _asked(batch, prices)
    stray, plan = asked.stray, asked.plan_kw
    best = np.full(sun.shape, np.inf)
    inside = (stray != 0) & (-sun < plan) & (plan < 0)
    for power in (-sun, np.zeros(sun.shape), np.where(inside, plan, 0.0)):
        cost = prices.per_kwh * power + stray * np.abs(power - plan)
        best = np.minimum(best, cost + batch.upright("curtail_cost_per_kwh") * (sun + power))
    return np.asarray(best @ batch.horizon.hours), np.ones(len(batch), dtype=np.bool_)


MANY: Mapping[ResourceKind, Callable[[Batch, PriceTable], Answer]] = {
    ResourceKind.STORAGE: storages,
    ResourceKind.EV_SESSION: chargers,
    ResourceKind.CURTAILABLE_LOAD: curtailables,
    ResourceKind.INTERRUPTIBLE_LOAD: interruptibles,
    ResourceKind.SHIFTABLE_LOAD: shiftables,
    ResourceKind.THERMAL_LOAD: thermals,
    ResourceKind.GENERATOR: generators,
    ResourceKind.PV: panels,
}
