"""The city: what every resource shares with the others, as equations (M1) to (M7)."""

from typing import Any

import numpy as np
import pyomo.environ as pyo
from pyomo.core.expr.visitor import identify_variables

from models.dispatch.caps import cap_kw
from models.dispatch.problem import DispatchProblem, RealTimeTerms
from models.dispatch.reference.given import Given, hold, note
from models.dispatch.reference.structure import Entry, committed_aggregators, event_slots
from models.events import Direction, Event
from models.intervals import FloatArray

REBOUND_H = 6.0
"""(M4) holds so long after an event."""
BAND_LOW, BAND_HIGH = 0.9, 1.1
"""The band around a commitment (M5), and how far above its cap an event may deliver (M3)."""


def given_city(problem: DispatchProblem, entries: list[Entry], baseline_kw: FloatArray) -> Given:
    """The given numbers of the coupling rows; ``baseline_kw``: (entries, T).

    Rows that do not apply have an infinite bound.  Σ ρ b is summed here, once, because ρ and b are both given.
    """
    grid, slots, count = problem.grid, event_slots(problem), len(problem.grid)
    index = {entry.resource_id: i for i, entry in enumerate(entries)}
    weights = np.zeros((slots, len(entries)))
    target, cap = np.full((slots, count), -np.inf), np.full((slots, count), np.inf)
    rebound = np.full((slots, count), np.inf)
    city_load = problem.zone_load_kw.sum(axis=0)
    for e, event in enumerate(problem.events):
        sign = 1.0 if event.direction is Direction.SHAVE else -1.0
        for name in problem.in_scope(event):
            weights[e, index[name]] = sign * problem.attributes[name].reliability_fraction
        inside = grid.inside(event.start, event.end)
        target[e] = np.where(inside, problem.target_kw(event), -np.inf)
        cap[e] = np.where(inside, BAND_HIGH * cap_kw(problem, event), np.inf)
        if event.direction is Direction.SHAVE and event.rebound_cap_kw is not None:
            ceiling = np.maximum(event.rebound_cap_kw, city_load + baseline_kw.sum(axis=0))
            rebound[e] = np.where(after_event(problem, event), ceiling, np.inf)
    values: dict[str, Any] = {"load_kw": problem.zone_load_kw, "limit_kw": problem.zone_limit_kw}
    coefficients: dict[str, Any] = {"price_per_kwh": _prices(problem, entries)}
    if slots:
        values |= {
            "city_load_kw": city_load,
            "expected_kw": weights @ baseline_kw,
            "target_kw": target,
            "cap_kw": cap,
            "rebound_limit_kw": rebound,
        }
        coefficients["weight"] = weights
    aggregators = committed_aggregators(problem)
    if aggregators:
        values |= _given_commitments(problem, entries, weights, baseline_kw)
    if problem.real_time is not None:
        more, costs = _given_real_time(problem, problem.real_time, entries)
        values, coefficients = values | more, coefficients | costs
    return Given(values, coefficients)


def after_event(problem: DispatchProblem, event: Event) -> Any:
    """True for the intervals that begin within six hours after the event's end, (T,)."""
    end_h = problem.grid.hours_since_start(event.end)
    tau_h = problem.grid.tau_h
    return (tau_h >= end_h - 1e-9) & (tau_h < end_h + REBOUND_H - 1e-9)


def _prices(problem: DispatchProblem, entries: list[Entry]) -> FloatArray:
    """Δ_t price of every resource in every interval, CNY per kW, (R, T)."""
    hours = problem.grid.hours
    by_tariff = {name: values * hours for name, values in problem.tariffs.items()}
    missing = np.zeros(len(hours))
    return np.array([by_tariff.get(entry.row.tariff_id, missing) for entry in entries]).reshape(
        len(entries), len(hours)
    )


def _given_commitments(
    problem: DispatchProblem, entries: list[Entry], weights: FloatArray, baseline_kw: FloatArray
) -> dict[str, Any]:
    names, slots, count = committed_aggregators(problem), event_slots(problem), len(problem.grid)
    low = np.full((slots, len(names), count), -np.inf)
    high = np.full((slots, len(names), count), np.inf)
    expected = np.zeros((slots, len(names), count))
    for a, name in enumerate(names):
        of_a = np.array([entry.row.aggregator_id == name for entry in entries])
        expected[:, a] = weights[:, of_a] @ baseline_kw[of_a]
    event_index = {event.event_id: e for e, event in enumerate(problem.events)}
    for row in problem.commitments:
        t = problem.grid.index_at(row.interval_start)
        if t is None or row.event_id not in event_index or row.aggregator_id not in names:
            continue
        e, a = event_index[row.event_id], names.index(row.aggregator_id)
        low[e, a, t], high[e, a, t] = BAND_LOW * row.accepted_kw, BAND_HIGH * row.accepted_kw
    return {"committed_expected_kw": expected, "committed_low_kw": low, "committed_high_kw": high}


def _given_real_time(
    problem: DispatchProblem, terms: RealTimeTerms, entries: list[Entry]
) -> tuple[dict[str, Any], dict[str, Any]]:
    hours, penalties = problem.grid.hours, problem.penalties
    position = {name: i for i, name in enumerate(problem.fleet.resource_ids)}
    nothing = np.full(len(hours), np.nan)
    now = np.array([terms.now_kw[position[e.resource_id]] if e.resource_id in position else np.nan for e in entries])
    plan = np.array([terms.plan_kw[position[e.resource_id]] if e.resource_id in position else nothing for e in entries])
    applies = np.asarray(terms.stray_applies, dtype=np.float64) * hours
    values: dict[str, Any] = {}
    costs: dict[str, Any] = {}
    if penalties.switch_cost_per_kw > 0:
        values["now_kw"] = np.nan_to_num(now)
        costs["switch_cost"] = np.where(np.isnan(now), 0.0, penalties.switch_cost_per_kw)
    if penalties.stray_cost_per_kwh > 0:
        values["plan_kw"] = np.nan_to_num(plan)
        costs["stray_cost"] = np.where(np.isnan(plan), 0.0, penalties.stray_cost_per_kwh * applies)
    return values, costs


def build_city(
    problem: DispatchProblem, entries: list[Entry], baseline_kw: FloatArray, *, pattern: bool = False
) -> Any:
    r"""Make the Pyomo model of the whole city.

        minimise  Σ_t Δ_t Σ_i price_{i,t} p_{i,t} + Σ_i own cost_i + Σ penalty Δ_t slack + M6 + M7

        (M1)  load_{z,t} + Σ_{i in z} p_{i,t} ≤ limit_{z,t} + overload_{z,t}              zone limit            [kW]
        (M2)  Σ_{i in s} ρ_i (b_{i,t} - p_{i,t}) ≥ target_{e,t} - shortfall_{e,t}         event, in its window  [kW]
        (M3)  Σ_{i in s} ρ_i (b_{i,t} - p_{i,t}) ≤ 1.10 cap_{e,t} + excess_{e,t}          not too much          [kW]
        (M4)  load_t + Σ_i p_{i,t} ≤ max(rebound_cap_e, load_t + Σ_i b_{i,t}) + over_{e,t}   6 h after it       [kW]
        (M5)  0.9 accepted - low_{e,a,t} ≤ Σ_{i in s ∩ a} ρ_i (b - p) ≤ 1.1 accepted + high_{e,a,t}             [kW]

    and in real time

        (M6)  switch_i ≥ ± (p_{i,1} - now_i)                 cost switch_cost, first interval only             [kW]
        (M7)  p_{i,t} - plan_{i,t} = up_{i,t} - down_{i,t}   cost stray_cost Δ_t (up + down) outside events    [kW]

    ==========  =========================  ====  ==============================================================
    symbol      name here                  unit  meaning
    ==========  =========================  ====  ==============================================================
    p           net_kw[i,t]                kW    net power of resource i, in its block
    load        load_kw, city_load_kw      kW    everything but the portfolio
    ρ           weight[e,i]                 -    reliability; 0 outside the scope, negative for ``fill``
    Σ ρ b       expected_kw[e,t]           kW    summed before, as both are given
    cap         cap_kw[e,t]                kW    1.10 times the cap of nested events (``caps``)
    slacks      overload_kw, shortfall_kw  kW    0 or more, each with its penalty per kWh
                excess_kw, rebound_kw      kW    (M4's at the price of overload)
                low_kw, high_kw            kW    (M5's at the price of commitment)
    ==========  =========================  ====  ==============================================================

    ``direction = fill`` turns (b - p) into (p - b) by the sign of the weight.  Rows outside their window have an
    infinite bound: they exist so that a window may move without a new structure.  ``pattern``: every coefficient
    is 1, for the compiler.  Source: dispatch-model §1.
    """
    model = pyo.ConcreteModel()
    hours = [float(span) for span in problem.grid.hours]
    given = given_city(problem, entries, baseline_kw)
    given = given.ones() if pattern else given
    model.resource = pyo.Block(range(len(entries)))
    for i, entry in enumerate(entries):
        numbers = entry.writer.given(entry.rows, problem)
        entry.writer.add(model.resource[i], entry.rows, hours, numbers.ones() if pattern else numbers)
    city = model.city = pyo.Block()
    hold(city, given)
    steps, members = range(len(hours)), range(len(entries))
    net = [model.resource[i].net_kw for i in members]
    price = given.coefficients["price_per_kwh"]
    cost = _add_zones(city, problem, entries, net)
    if event_slots(problem):
        cost += _add_events(city, problem, given, net)
    if committed_aggregators(problem):
        cost += _add_commitments(city, problem, entries, given, net)
    if problem.real_time is not None:
        cost += _add_real_time(city, given, net)
    for i in members:
        for t in steps:
            note(city, "price_per_kwh", i * len(hours) + t, None, net[i][t])
    energy = pyo.quicksum(float(price[i, t]) * net[i][t] for i in members for t in steps)
    own = pyo.quicksum(model.resource[i].own_cost for i in members)
    model.cost = pyo.Objective(expr=energy + own + cost)
    if not pattern:
        _drop_unbounded(city)
    return model


def _drop_unbounded(city: Any) -> None:
    """Deactivate the rows whose bound is infinite; the compiled form frees them instead."""
    for row in city.component_data_objects(pyo.Constraint, active=True):
        if any(var.fixed and np.isinf(var.value) for var in identify_variables(row.expr, include_fixed=True)):
            row.deactivate()


def _add_zones(city: Any, problem: DispatchProblem, entries: list[Entry], net: list[Any]) -> Any:
    steps, zones = range(len(problem.grid)), range(len(problem.zones))
    inside = [[i for i, entry in enumerate(entries) if entry.row.zone_id == zone] for zone in problem.zones]
    city.overload_kw = pyo.Var(zones, steps, domain=pyo.NonNegativeReals)

    def zone_limit(b: Any, z: int, t: int) -> Any:
        drawn = pyo.quicksum(net[i][t] for i in inside[z])
        return b.load_kw[z, t] + drawn <= b.limit_kw[z, t] + b.overload_kw[z, t]

    city.M1 = pyo.Constraint(zones, steps, rule=zone_limit, doc="(M1)")
    price = problem.penalties.overload_per_kwh
    return pyo.quicksum(price * float(problem.grid.hours[t]) * city.overload_kw[z, t] for z in zones for t in steps)


def _add_events(city: Any, problem: DispatchProblem, given: Given, net: list[Any]) -> Any:
    """Write M2 to M4; returns what their slacks cost."""
    steps, slots, members = range(len(problem.grid)), range(event_slots(problem)), range(len(net))
    weight = given.coefficients["weight"]
    for name in ("shortfall_kw", "excess_kw", "rebound_kw"):
        city.add_component(name, pyo.Var(slots, steps, domain=pyo.NonNegativeReals))

    def change(e: int, t: int) -> Any:
        return city.expected_kw[e, t] - pyo.quicksum(
            float(weight[e, i]) * net[i][t] for i in members if weight[e, i] != 0
        )

    def target(b: Any, e: int, t: int) -> Any:
        return change(e, t) >= b.target_kw[e, t] - b.shortfall_kw[e, t]

    def not_too_much(b: Any, e: int, t: int) -> Any:
        return change(e, t) <= b.cap_kw[e, t] + b.excess_kw[e, t]

    def rebound(b: Any, e: int, t: int) -> Any:
        drawn = pyo.quicksum(net[i][t] for i in members)
        return b.city_load_kw[t] + drawn <= b.rebound_limit_kw[e, t] + b.rebound_kw[e, t]

    city.M2 = pyo.Constraint(slots, steps, rule=target, doc="(M2)")
    city.M3 = pyo.Constraint(slots, steps, rule=not_too_much, doc="(M3)")
    city.M4 = pyo.Constraint(slots, steps, rule=rebound, doc="(M4)")
    for e in slots:
        for t in steps:
            for i in members:
                note(city, "weight", e * len(net) + i, city.M2[e, t], net[i][t])
                note(city, "weight", e * len(net) + i, city.M3[e, t], net[i][t])
    penalties, hours = problem.penalties, problem.grid.hours
    return pyo.quicksum(
        float(hours[t])
        * (
            penalties.shortfall_per_kwh * city.shortfall_kw[e, t]
            + penalties.excess_per_kwh * city.excess_kw[e, t]
            + penalties.overload_per_kwh * city.rebound_kw[e, t]
        )
        for e in slots
        for t in steps
    )


def _add_commitments(city: Any, problem: DispatchProblem, entries: list[Entry], given: Given, net: list[Any]) -> Any:
    """Write M5; returns what its slacks cost."""
    steps, slots, names = (
        range(len(problem.grid)),
        range(event_slots(problem)),
        committed_aggregators(problem),
    )
    weight = given.coefficients["weight"]
    of_a = [[i for i, entry in enumerate(entries) if entry.row.aggregator_id == name] for name in names]
    groups = range(len(names))
    city.low_kw = pyo.Var(slots, groups, steps, domain=pyo.NonNegativeReals)
    city.high_kw = pyo.Var(slots, groups, steps, domain=pyo.NonNegativeReals)

    def band(b: Any, e: int, a: int, t: int, side: str) -> Any:
        change = b.committed_expected_kw[e, a, t] - pyo.quicksum(
            float(weight[e, i]) * net[i][t] for i in of_a[a] if weight[e, i] != 0
        )
        if side == "low":
            return change >= b.committed_low_kw[e, a, t] - b.low_kw[e, a, t]
        return change <= b.committed_high_kw[e, a, t] + b.high_kw[e, a, t]

    city.M5 = pyo.Constraint(slots, groups, steps, ("low", "high"), rule=band, doc="(M5)")
    for e in slots:
        for a in groups:
            for t in steps:
                for side in ("low", "high"):
                    for i in of_a[a]:
                        note(city, "weight", e * len(net) + i, city.M5[e, a, t, side], net[i][t])
    price = problem.penalties.commitment_per_kwh
    return pyo.quicksum(
        price * float(problem.grid.hours[t]) * (city.low_kw[e, a, t] + city.high_kw[e, a, t])
        for e in slots
        for a in groups
        for t in steps
    )


def _add_real_time(city: Any, given: Given, net: list[Any]) -> Any:
    """Write M6 and M7; returns their cost."""
    cost = 0.0
    members = range(len(net))
    if "now_kw" in given.values:
        per_kw = given.coefficients["switch_cost"]
        city.switch_kw = pyo.Var(members, domain=pyo.NonNegativeReals)

        def switch(b: Any, i: int, sign: int) -> Any:
            return b.switch_kw[i] >= sign * (net[i][0] - b.now_kw[i])

        city.M6 = pyo.Constraint(members, (1, -1), rule=switch, doc="(M6)")
        for i in members:
            note(city, "switch_cost", i, None, city.switch_kw[i])
        cost += pyo.quicksum(float(per_kw[i]) * city.switch_kw[i] for i in members)
    if "plan_kw" in given.values:
        per_kw = given.coefficients["stray_cost"]
        steps = range(per_kw.shape[1])
        city.up_kw = pyo.Var(members, steps, domain=pyo.NonNegativeReals)
        city.down_kw = pyo.Var(members, steps, domain=pyo.NonNegativeReals)

        def stray(b: Any, i: int, t: int) -> Any:
            return net[i][t] - b.plan_kw[i, t] == b.up_kw[i, t] - b.down_kw[i, t]

        city.M7 = pyo.Constraint(members, steps, rule=stray, doc="(M7)")
        for i in members:
            for t in steps:
                note(city, "stray_cost", i * len(steps) + t, None, city.up_kw[i, t])
                note(city, "stray_cost", i * len(steps) + t, None, city.down_kw[i, t])
        cost += pyo.quicksum(
            float(per_kw[i, t]) * (city.up_kw[i, t] + city.down_kw[i, t]) for i in members for t in steps
        )
    return cost
