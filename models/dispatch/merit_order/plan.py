"""A plan by rule: no solver, no search, one pass over the horizon, and every promise of every device kept.

In every interval each device says what it may do so that the rest of its horizon can still be kept (``stores``,
``thermal``, ``loads``, ``units``, ``hydro``, ``runs``), and how much of that it can hold to the end of the events it
is in; from these offers the cheapest are picked until the requirements of the interval are met (``picking``).  Who is
not picked follows its baseline as near as it can, or the plan that it is told to keep to.

It takes a second for 20 000 devices and a few for a million; for the next minutes of a call, less.  What it costs is
what the checker finds, and no bound stands beside it.
"""

import itertools
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
from scipy.sparse import csr_array

from models.dispatch.fast.admitted import admit_columns
from models.dispatch.fast.coupling import Classes, coupling_rows
from models.dispatch.fast.setting import IndexArray, Setting
from models.dispatch.merit_order.hydro import PumpedHydro
from models.dispatch.merit_order.loads import CurtailableLoads, InterruptibleLoads
from models.dispatch.merit_order.offers import Ask, Offers, Rule, Table
from models.dispatch.merit_order.picking import Market, cheapest_first, moves_kw
from models.dispatch.merit_order.runs import Runs
from models.dispatch.merit_order.stores import Stores, batteries, processes, stays
from models.dispatch.merit_order.thermal import ThermalLoads
from models.dispatch.merit_order.units import Generators, Photovoltaics
from models.dispatch.problem import DispatchProblem
from models.dispatch.solve_clock import stopwatch
from models.dispatch.states import FleetStates
from models.intervals import FloatArray
from models.plan import Admission, DispatchPlan, PlanSource
from models.resources import ResourceKind


def merit_order(problem: DispatchProblem, near: DispatchPlan | None = None) -> DispatchPlan:
    """The plan of the rule for a problem; with ``near``: that plan, as far as every device's state lets it be followed,
    and what it then misses bought by rule (those loads first that gave something up in it).

    The problem's baseline is what events are measured against and what is done without them; without one everybody's
    undisturbed schedule stands for it.  ``objective_cny`` is NaN: the rule knows no cost but its order.
    """
    began = stopwatch()
    if problem.baseline_kw is None:
        problem = replace(problem, baseline_kw=undisturbed_kw(problem))
    once = _Pass(problem, near)
    power, energy = once.run(len(problem.grid))
    nothing = np.full(power.shape, np.nan)
    return DispatchPlan(
        grid=problem.grid,
        resource_ids=problem.fleet.resource_ids,
        power_kw=power,
        energy_kwh=energy,
        baseline_kw=once.baseline,
        baseline_energy_kwh=nothing,
        status="fallback",
        source=PlanSource.RULE if near is None else PlanSource.LAST_GOOD,
        objective_cny=float("nan"),
        baseline_cost_cny=float("nan"),
        lower_bound_cny=float("-inf"),
        iterations=0,
        wall_s=stopwatch() - began,
        penalties=problem.penalties.as_dict(),
        unmet=once.market.rows.amounts(once.market.rows.values(*once.sums(power)), _LEAST_KW),
        admissions=once.admissions,
    )


def first_steps_kw(problem: DispatchProblem, intervals: int) -> FloatArray:
    """What ``merit_order`` has every resource do in the first intervals, (R, ``intervals``) kW, without the rest.

    For a call that cannot wait: the problem must have its baseline.  No device is led where the rest of its horizon
    could not be kept, though the rest is not worked out.
    """
    return _Pass(problem).run(intervals)[0]


def undisturbed_kw(problem: DispatchProblem) -> FloatArray:
    """What everybody does without a solver, events and limits, (R, T) kW: profiles, and promises spread evenly."""
    blind = replace(problem, events=(), commitments=(), baseline_kw=_profiles(problem))
    return _Pass(blind).run(len(problem.grid), buying=False)[0]


_BRINGS_NOTHING = 1e-9
"""A device of which less comes than this share of an order brings nothing: what is divided by it has no meaning."""
_LEAST_KW = 1e-9
"""Slack below this is none."""


def _profiles(problem: DispatchProblem) -> FloatArray:
    """What is known of an undisturbed day without a solver: profiles; everybody else finds a schedule of its own."""
    power = np.zeros((len(problem.fleet.resource_ids), len(problem.grid)))
    for kind, (profile, scale, sign) in _PROFILES.items():
        table = problem.fleet.tables.get(kind)
        if table is not None:
            series = np.array([problem.profiles[name] for name in table.columns[profile]])
            power[problem.fleet.rows_of(kind)] = sign * series * table.columns[scale][:, None]
    return power


_PROFILES = {
    ResourceKind.CURTAILABLE_LOAD: ("baseline_profile", "baseline_scale_kw", 1.0),
    ResourceKind.INTERRUPTIBLE_LOAD: ("baseline_profile", "baseline_scale_kw", 1.0),
    ResourceKind.THERMAL_LOAD: ("baseline_profile", "baseline_scale_kw", 1.0),
    ResourceKind.PV: ("available_profile", "available_scale_kw", -1.0),
}


class _Pass:
    """One pass over a problem's horizon."""

    def __init__(self, problem: DispatchProblem, near: DispatchPlan | None = None) -> None:
        self.problem, grid = problem, problem.grid
        if problem.baseline_kw is None:
            raise ValueError("the rule needs a baseline")
        self.baseline = problem.baseline_kw
        self.wanted = self.baseline if near is None else _moved(problem, near, self.baseline)
        known = FleetStates(problem)
        tables, admissions = admit_columns(problem, known)
        self.admissions: tuple[Admission, ...] = admissions
        setting, classes = Setting.of(problem), Classes.of(problem, tables)
        self.edges_h = setting.edges_h
        self.rules: list[Rule] = []
        for kind, columns in tables.items():
            rows = problem.fleet.rows_of(kind)
            attributes = classes.attributes_of[kind]
            table = Table(columns, known.of(kind), rows, attributes, setting, self.wanted)
            self.rules += [rule for rule in _rules(kind, table) if len(rule.table)]
        parts = [rule.table for rule in self.rules]
        lengths = np.cumsum([0, *(len(each) for each in parts)])
        self.parts = [slice(int(a), int(b)) for a, b in itertools.pairwise(lengths)]
        none = np.empty(0, dtype=np.int64)
        self.resource = np.concatenate([*(each.resource for each in parts), none])
        self.price_class = np.concatenate([*(each.class_of(classes) for each in parts), none])
        registered = np.concatenate([*(each.of("reliability_fraction") for each in parts), np.empty(0)])
        reliability = np.where(registered < _BRINGS_NOTHING, 0.0, registered)
        self.zone: IndexArray = np.concatenate([*(each.attributes[0] for each in parts), none])
        # rows of one resource are in one zone and class: the baseline is summed by resource
        self._first = np.unique(self.resource, return_index=True)[1]
        self._reliability = reliability
        self._classes = max(1, len(classes.aggregator_of))
        coupled = coupling_rows(problem, classes, *self.sums(self.baseline))
        self.market = Market(coupled, self.zone, self.price_class, reliability, none, none)
        self.member = classes.member.T  # (C, E)
        self.windows = np.array(
            [[grid.hours_since_start(event.start), grid.hours_since_start(event.end)] for event in problem.events]
        ).reshape(-1, 2)

    def sums(self, power_kw: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Power (R, T) of every resource as kW per zone (Z, T), and times reliability per class (C, T)."""
        first, count = self._first, len(self._first)
        where = (np.ones(count), (self.zone[first], self.resource[first]))
        by_zone = csr_array(where, shape=(len(self.problem.zones), len(power_kw)))
        where = (self._reliability[first], (self.price_class[first], self.resource[first]))
        by_class = csr_array(where, shape=(self._classes, len(power_kw)))
        return np.asarray(by_zone @ power_kw), np.asarray(by_class @ power_kw)

    def run(self, count: int, *, buying: bool = True) -> tuple[FloatArray, FloatArray]:
        """Power and energy (R, count) of the first intervals."""
        shape = (len(self.problem.fleet.resource_ids), count)
        power, energy = np.zeros(shape), np.full(shape, np.nan)
        held: tuple[int, ...] | None = None
        for t in range(count):
            active = self._active(t)
            if active != held:
                self._rank(t)
                held = active
            asks, offers = self._offers(t, active)
            moved = moves_kw(self.market, t, offers) if buying else 0.0
            chosen = offers.base_kw + moved
            np.add.at(power[:, t], self.resource, chosen)
            for rule, part, ask in zip(self.rules, self.parts, asks, strict=True):
                rule.take(ask, chosen[part])
                self._show(rule, ask, energy[:, t])
        return power, energy

    def _active(self, t: int) -> tuple[int, ...]:
        """Events whose window holds the interval."""
        begin_h = self.edges_h[t]
        inside = (self.windows[:, 0] <= begin_h + _EPS_H) & (self.windows[:, 1] > begin_h + _EPS_H)
        return tuple(np.flatnonzero(inside).tolist())

    def _rank(self, t: int) -> None:
        """Sort everybody by what it costs, once for as long as the same events run."""
        costs = [rule.cost(t) for rule in self.rules]
        if self.wanted is not self.baseline:
            gives = self.baseline[self.resource, t] - self.wanted[self.resource, t] > _GIVES_KW
            costs = [(down - _FIRST * gives[part], up) for (down, up), part in zip(costs, self.parts, strict=True)]
        self.market = replace(
            self.market,
            down_first=cheapest_first([down for down, _ in costs], self._reliability),
            up_first=cheapest_first([up for _, up in costs], self._reliability),
        )

    def _offers(self, t: int, active: tuple[int, ...]) -> tuple[list[Ask], Offers]:
        begin_h, end_h = float(self.edges_h[t]), float(self.edges_h[t + 1])
        till = np.full(self._classes, end_h)
        mine = np.zeros(self._classes, dtype=np.bool_)
        for e in active:
            member = self.member[:, e]
            mine |= member
            till = np.where(member, np.maximum(till, min(self.windows[e, 1], self.edges_h[-1])), till)
        offers, asks = Offers.none(len(self.resource)), []
        for rule, part in zip(self.rules, self.parts, strict=True):
            of = self.price_class[part]
            ask = Ask(t, begin_h, end_h, till[of], mine[of], self.wanted[self.resource[part], t])
            rule.offer(ask, offers.part(part))
            asks.append(ask)
        return asks, offers

    @staticmethod
    def _show(rule: Rule, ask: Ask, energy_kwh: FloatArray) -> None:
        level, place = rule.energy_kwh(), rule.table.resource
        if isinstance(rule, Stores) and rule.exact.any() and rule.shown:
            here = rule.plugged_in(ask)  # of two cars in one interval the later one is shown: rows are by arrival
            level, place = level[here], place[here]
        energy_kwh[place] = level


_EPS_H = 1e-9
_GIVES_KW = 1e-3
_FIRST = 1e4
"""CNY per kWh by which those come first who give something up in the plan that is followed."""


def _moved(problem: DispatchProblem, near: DispatchPlan, baseline_kw: FloatArray) -> FloatArray:
    """The power of a plan on another grid and for other resources; the baseline where it does not reach, (R, T)."""
    moved = problem.grid.mean_from(near.grid, near.power_kw)
    place = [near.row_of.get(name, -1) for name in problem.fleet.resource_ids]
    known = np.array(place, dtype=np.int64)
    found = np.where(known[:, None] >= 0, moved[np.maximum(known, 0)], np.nan)
    return np.where(np.isnan(found), baseline_kw, found)


def _rules(kind: ResourceKind, table: Table) -> list[Rule]:
    """The rules of a kind's rows."""
    if kind is ResourceKind.STORAGE:
        hydro = np.asarray(
            (table.of("charge_min_kw") > 0) | (table.of("discharge_min_kw") > 0) | (table.of("mode_change_cost") > 0)
        )
        return [batteries(table.chosen(~hydro)), PumpedHydro(table.chosen(hydro))]
    if kind is ResourceKind.SHIFTABLE_LOAD:
        run = np.asarray(table.columns["run_profile"] != "", dtype=np.bool_)
        return [processes(table.chosen(~run)), Runs(table.chosen(run))]
    return [_ONE_RULE[kind](table)]


_ONE_RULE: Mapping[ResourceKind, Callable[[Table], Rule]] = {
    ResourceKind.EV_SESSION: stays,
    ResourceKind.CURTAILABLE_LOAD: CurtailableLoads,
    ResourceKind.INTERRUPTIBLE_LOAD: InterruptibleLoads,
    ResourceKind.THERMAL_LOAD: ThermalLoads,
    ResourceKind.GENERATOR: Generators,
    ResourceKind.PV: Photovoltaics,
}
