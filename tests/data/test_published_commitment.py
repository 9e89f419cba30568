"""RTS-GMLC, a public test system of unit commitment, against a second formulation of it.

The cases are pglib-uc's (CC BY 4.0; Barrows et al. 2019, Knueven, Ostrowski, Watson 2018).  The library prints no
optima, and our generator cannot say all that its cases do: no reserve (eq. 3 and r_g in 8, 17-19), one marginal cost
instead of three convex pieces (21-23), one start cost instead of one per time off (7, 15, 16), and no start and stop
ramps of their own (ours: max(G_min, ramp)).  So the sub-problem without these is taken: every unit with its limits,
ramps, times, state before the horizon, coldest start cost, and the straight line through its cost at G_max and its
no-load cost.  Its optimum is computed here a second time, straight from the equations of the library's MODEL (2, 4-6,
8-14, 17-20, 24; the tight form of Morales-España et al. 2013 over power above the minimum), in arrays.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_matrix

from models.dispatch.check import check_plan
from models.dispatch.problem import DispatchProblem
from models.intervals import FloatArray
from models.plan import DispatchPlan
from tests.balance import KW_PER_MW, balanced, running, standing, unit
from tests.solvers import solved

pytestmark = [pytest.mark.data, pytest.mark.slow]


@dataclass(frozen=True)
class System:
    """A pglib-uc case cut to its first hours, in MW and hours; ``renewables``: (least, most), (2, T)."""

    demand: FloatArray
    renewables: FloatArray
    units: Mapping[str, Mapping[str, Any]]
    marginal: Mapping[str, float] = field(default_factory=dict)
    no_load: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def read(cls, data_dir: Path, day: str, hours: int) -> "System":
        """From the library's file; skips where it is not."""
        path = data_dir / "bench" / f"pglib_uc_rts_gmlc_{day}.json"
        if not path.is_file():
            pytest.skip(f"{path.name} is not here")
        case = json.loads(path.read_text("utf-8"))
        limits = [
            np.sum([np.array(each[name][:hours]) for each in case["renewable_generators"].values()], axis=0)
            for name in ("power_output_minimum", "power_output_maximum")
        ]
        marginal, no_load = {}, {}
        for name, each in case["thermal_generators"].items():
            first, last = each["piecewise_production"][0], each["piecewise_production"][-1]
            slope = (last["cost"] - first["cost"]) / (last["mw"] - first["mw"])
            no_load[name] = max(0.0, first["cost"] - slope * first["mw"])
            marginal[name] = (last["cost"] - no_load[name]) / last["mw"]
        return cls(np.array(case["demand"][:hours]), np.array(limits), case["thermal_generators"], marginal, no_load)

    def problem(self) -> DispatchProblem:
        """As a problem of ours; what the renewables give at least is taken off the demand."""
        units, states = [], {}
        for name, each in self.units.items():
            # a unit that must run has just started and stays for longer than the horizon
            up_h = len(self.demand) if each["must_run"] else each["time_up_minimum"]
            units.append(
                unit(
                    name,
                    least_mw=each["power_output_minimum"],
                    most_mw=each["power_output_maximum"],
                    cost_per_mwh=self.marginal[name],
                    ramp_mw_per_h=each["ramp_up_limit"],
                    start_cost=each["startup"][-1]["cost"],
                    no_load_cost_per_h=self.no_load[name],
                    minimum_up_h=up_h,
                    minimum_down_h=each["time_down_minimum"],
                )
            )
            been_h = 0.0 if each["must_run"] else each["time_up_t0"]
            on = bool(each["unit_on_t0"])
            states[name] = running(each["power_output_t0"], been_h) if on else standing(each["time_down_t0"])
        least, most = self.renewables
        return balanced(units, (self.demand - least).tolist(), states, most - least)

    def optimum(self, gap: float) -> tuple[float, float]:
        """(best schedule's cost, lower bound), from the library's equations."""
        return _Commitment(self).solve(gap)


class _Commitment:
    """The library's MODEL as one sparse program.

    Columns: renewables, then p (above minimum), u, v, w of each unit.
    """

    def __init__(self, system: System) -> None:
        self.system, self.count = system, len(system.demand)
        columns = self.count * (1 + 4 * len(system.units))
        self.cost, self.low, self.high = np.zeros(columns), np.zeros(columns), np.ones(columns)
        self.whole = np.zeros(columns)
        self.rows: list[tuple[dict[int, float], float, float]] = []
        self.low[: self.count], self.high[: self.count] = system.renewables

    def solve(self, gap: float) -> tuple[float, float]:
        """(cost, bound)."""
        balance: list[dict[int, float]] = [{t: 1.0} for t in range(self.count)]
        for g, (name, each) in enumerate(self.system.units.items()):
            self._unit(g, name, each, balance)
        for t, row in enumerate(balance):  # (2)
            self.rows.append((row, self.system.demand[t], self.system.demand[t]))
        entries = [(k, j, value) for k, (row, _, _) in enumerate(self.rows) for j, value in row.items()]
        r, c, values = (np.array(part) for part in zip(*entries, strict=True))
        matrix = csr_matrix((values, (r.astype(int), c.astype(int))), (len(self.rows), len(self.cost)))
        limits = LinearConstraint(matrix, [row[1] for row in self.rows], [row[2] for row in self.rows])
        found = milp(
            self.cost,
            constraints=limits,
            bounds=Bounds(self.low, self.high),
            integrality=self.whole,
            options={"mip_rel_gap": gap, "time_limit": 200.0},
        )
        assert found.status == 0, found.message
        return float(found.fun), float(found.mip_dual_bound)

    def _at_most(self, row: dict[int, float], limit: float) -> None:
        self.rows.append((row, -np.inf, limit))

    def _unit(self, g: int, name: str, each: Mapping[str, Any], balance: list[dict[int, float]]) -> None:
        count, first = self.count, self.count * (1 + 4 * g)
        p, u, v, w = (np.arange(count) + first + k * count for k in range(4))
        least, room = each["power_output_minimum"], each["power_output_maximum"] - each["power_output_minimum"]
        up, down, was = each["ramp_up_limit"], each["ramp_down_limit"], each["unit_on_t0"]
        before = was * (each["power_output_t0"] - least)
        start_room = max(0.0, each["power_output_maximum"] - max(least, up))
        stop_room = max(0.0, each["power_output_maximum"] - max(least, down))
        marginal = self.system.marginal[name]
        self.high[p], self.whole[u] = room, 1
        self.cost[p], self.cost[v] = marginal, each["startup"][-1]["cost"]
        self.cost[u] = self.system.no_load[name] + marginal * least
        self.low[u] = each["must_run"]  # (11)
        if was:
            self.low[u[: max(0, each["time_up_minimum"] - each["time_up_t0"])]] = 1  # (4)
        else:
            self.high[u[: max(0, each["time_down_minimum"] - each["time_down_t0"])]] = 0  # (5)
        self._at_most({w[0]: stop_room}, was * room - before)  # (10)
        for t in range(count):
            balance[t] |= {p[t]: 1.0, u[t]: least}
            switch = {u[t]: 1.0, v[t]: -1.0, w[t]: 1.0} | ({u[t - 1]: -1.0} if t else {})
            self.rows.append((switch, 0.0 if t else was, 0.0 if t else was))  # (6), (12)
            self._at_most({p[t]: 1.0} | ({p[t - 1]: -1.0} if t else {}), up + (0.0 if t else before))  # (8), (19)
            self._at_most({p[t]: -1.0} | ({p[t - 1]: 1.0} if t else {}), down - (0.0 if t else before))  # (9), (20)
            self._at_most({p[t]: 1.0, u[t]: -room, v[t]: start_room}, 0.0)  # (17)
            if t + 1 < count:
                self._at_most({p[t]: 1.0, u[t]: -room, w[t + 1]: stop_room}, 0.0)  # (18)
            up_h, down_h = min(each["time_up_minimum"], count), min(each["time_down_minimum"], count)
            if t + 1 >= up_h:
                self._at_most(dict.fromkeys(v[t + 1 - up_h : t + 1], 1.0) | {u[t]: -1.0}, 0.0)  # (13)
            if t + 1 >= down_h:
                self._at_most(dict.fromkeys(w[t + 1 - down_h : t + 1], 1.0) | {u[t]: 1.0}, 1.0)  # (14)


def meets(plan: DispatchPlan, best: float, bound: float) -> None:
    """Two certificates of one optimum must overlap, and both schedules cost about the same."""
    assert plan.lower_bound_cny <= best * (1 + 1e-6)
    assert bound <= plan.objective_cny * (1 + 1e-6)
    assert plan.objective_cny <= best * (1 + 1e-3)


@pytest.mark.parametrize(("day", "hours", "solver"), [("2020-07-06", 24, "explicit"), ("2020-01-27", 12, "reference")])
def test_the_rts_gmlc_system_is_committed_as_cheaply_as_by_its_own_equations(
    data_dir: Path, day: str, hours: int, solver: str
) -> None:
    system = System.read(data_dir, day, hours)
    best, bound = system.optimum(5e-4)
    problem = system.problem()
    plan = solved(solver, problem, gap=5e-4, deadline_s=200)
    assert check_plan(problem, plan, bound=False).violations == ()
    assert plan.unmet == ()
    generated = -plan.power_kw.sum(axis=0) / KW_PER_MW
    assert generated == pytest.approx(system.demand - system.renewables[0])
    meets(plan, best, bound)
