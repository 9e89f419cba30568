"""Unit commitment examples with printed optima, posed by somebody else: two units, four hours.

From PyPSA's documentation and its test suite, which print schedules or objectives: part load, minimum up and down
times, states before the horizon, start costs, a link as a generator.  T. Brown, J. Hörsch, D. Schlachtberger, PyPSA:
Python for Power System Analysis, Journal of Open Research Software 6 (2018), doi:10.5334/jors.188.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pytest

from models.dispatch.check import check_plan
from models.dispatch.problem import DispatchProblem, ResourceState
from models.resources import Generator
from tests.balance import balanced, running, standing, unit
from tests.solvers import by_solvers, solved


@dataclass(frozen=True)
class Example:
    """A small case and its published optimum."""

    units: Sequence[Generator]
    demand_mw: Sequence[float]
    states: Mapping[str, ResourceState]
    optimum: float
    renewables_mw: Sequence[float] | None = None

    def problem(self) -> DispatchProblem:
        """As a problem of ours."""
        wind = None if self.renewables_mw is None else np.array(self.renewables_mw, dtype=np.float64)
        return balanced(self.units, self.demand_mw, dict(self.states), wind)


COAL = unit("coal", least_mw=3000, most_mw=10000, cost_per_mwh=20)
GAS = unit("gas", least_mw=100, most_mw=1000, cost_per_mwh=70)
BIG_GAS = unit("gas", least_mw=400, most_mw=4000, cost_per_mwh=70)


def _with(which: Generator, **more: float) -> Generator:
    return which.model_copy(update=more)


EXAMPLES = {
    # schedules are printed: coal 4000 6000 5000 0, gas 0 0 0 800
    "minimum part load": Example(
        [COAL, GAS], [4000, 6000, 5000, 800], {"coal": running(4000), "gas": running(100)}, 20 * 15000 + 70 * 800
    ),
    # coal 3900 0 4900 3000, gas 100 800 100 0
    "minimum up time": Example(
        [COAL, _with(GAS, minimum_up_h=3)],
        [4000, 800, 5000, 3000],
        {"coal": running(4000), "gas": standing()},
        20 * 11800 + 70 * 1000,
    ),
    "minimum up time begun before": Example(
        [COAL, _with(GAS, minimum_up_h=4)],
        [4000, 800, 5000, 3000],
        {"coal": running(4000), "gas": running(100, 1.0)},
        20 * 11800 + 70 * 1000,
    ),
    # coal 0 0 3000 8000, gas 3000 800 0 0
    "minimum down time": Example(
        [_with(COAL, minimum_down_h=2), BIG_GAS],
        [3000, 800, 3000, 8000],
        {"coal": running(3000), "gas": running(400)},
        20 * 11000 + 70 * 3800,
    ),
    "minimum down time begun before": Example(
        [_with(COAL, minimum_down_h=3), BIG_GAS],
        [3000, 800, 3000, 8000],
        {"coal": standing(2.0), "gas": running(400)},
        20 * 11000 + 70 * 3800,
    ),
    "start costs": Example(
        [
            unit("coal", least_mw=1000, most_mw=10000, cost_per_mwh=20, start_cost=3000),
            unit("gas", least_mw=0, most_mw=10000, cost_per_mwh=70, start_cost=1000),
        ],
        [4000, 6000, 5000, 800],
        {"coal": standing(), "gas": running(0)},
        359_000,
    ),
    # a gas turbine of efficiency 0.5 on gas at 10 per MWh, and wind that may be curtailed
    "link": Example(
        [unit("turbine", least_mw=600, most_mw=6000, cost_per_mwh=20, start_cost=3333, minimum_up_h=3)],
        [4000, 6000, 800, 5000],
        {"turbine": standing()},
        267_333,
        [800, 800, 800, 800],
    ),
}


@by_solvers("reference", "explicit")
@pytest.mark.parametrize("name", list(EXAMPLES))
def test_published_unit_commitment_examples_cost_what_is_published(name: str, solver: str) -> None:
    example = EXAMPLES[name]
    problem = example.problem()
    plan = solved(solver, problem, gap=1e-7)
    assert check_plan(problem, plan).violations == ()
    assert plan.unmet == ()
    assert plan.objective_cny == pytest.approx(example.optimum, rel=1e-6)
    assert plan.lower_bound_cny <= example.optimum * (1 + 1e-6)
