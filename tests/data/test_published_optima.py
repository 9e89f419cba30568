"""Charging days whose optima somebody else computed (LP, HiGHS): real sessions, one site, prices of time of use.

Each case is a whole dispatch problem: one-way stays without losses, one zone, the site's cap as the zone's limit.
"""

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from models.dispatch.check import check_plan
from models.dispatch.problem import DispatchProblem
from models.fleet import Fleet
from models.intervals import FloatArray, IntervalGrid
from models.plan import DispatchPlan
from models.resources import EvSession, Pillar
from tests.solvers import by_solvers, solved

pytestmark = [pytest.mark.data, pytest.mark.slow]

PRINTED = 5e-5
"""The optima are printed with four decimals."""
CASES = ("2019-03-12", "2019-07-16", "2019-10-09")

each_case = pytest.mark.parametrize("day", CASES)


def case_of(data_dir: Path, day: str) -> dict[str, Any]:
    path = data_dir / "bench" / f"ev_case_jpl_{day}.json"
    if not path.is_file():
        pytest.skip(f"{path.name} is not here")
    case: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return case


def problem_of(case: dict[str, Any], *, cap_kw: float = np.inf, tariff: FloatArray | None = None) -> DispatchProblem:
    """The case as a dispatch problem; ``cap_kw``: of the site.  Step k of the case is the k-th interval."""
    step = timedelta(minutes=case["step_min"])
    start = datetime.fromisoformat(case["t0_local"]).replace(tzinfo=ZoneInfo(case["tz"]))
    prices = np.array(case["price_usd_kwh"], dtype=np.float64)
    grid = IntervalGrid.regular(start, step, len(prices))
    return DispatchProblem(
        grid=grid,
        fleet=Fleet.from_rows(_stays(case, grid)),
        zones=("site",),
        zone_load_kw=np.zeros((1, len(prices))),
        zone_limit_kw=np.full((1, len(prices)), cap_kw),
        tariffs={"tou": prices if tariff is None else tariff},
        profiles={},
    )


def _stays(case: dict[str, Any], grid: IntervalGrid) -> Iterator[EvSession]:
    for row in case["sessions"]:
        yield EvSession(
            resource_id=row["id"],
            aggregator_id="a",
            zone_id="site",
            meter_id=row["id"],
            pillar=Pillar.LOAD,
            tariff_id="tou",
            session_id=row["id"],
            arrival=grid.edges[row["a"]],
            departure=grid.edges[row["b"]],
            energy_needed_kwh=row["e_kwh"],
            charge_limit_kw=row["pmax_kw"],
            charge_efficiency=1.0,
        )


def holds(problem: DispatchProblem, plan: DispatchPlan, optimum: float) -> None:
    """The plan's own certificate brackets the published optimum, and the plan is as good."""
    assert check_plan(problem, plan).violations == ()
    assert plan.lower_bound_cny <= optimum + PRINTED
    assert plan.objective_cny >= optimum - PRINTED
    assert plan.objective_cny <= optimum * (1 + 1e-4) + PRINTED


@by_solvers("reference")
@each_case
def test_the_cheapest_charging_without_a_cap_costs_what_is_published(data_dir: Path, day: str, solver: str) -> None:
    case = case_of(data_dir, day)
    problem = problem_of(case)
    plan = solved(solver, problem, gap=1e-6)
    holds(problem, plan, case["reference"]["opt_min_cost_usd_uncapped"])
    energy = float((plan.power_kw @ problem.grid.hours).sum())
    assert energy == pytest.approx(case["reference"]["total_energy_kwh"])


@by_solvers("reference")
@each_case
def test_the_cheapest_charging_under_the_sites_cap_costs_what_is_published(
    data_dir: Path, day: str, solver: str
) -> None:
    case = case_of(data_dir, day)
    problem = problem_of(case, cap_kw=case["reference"]["site_cap_kw"])
    plan = solved(solver, problem, gap=1e-6)
    assert plan.unmet == ()
    assert plan.power_kw.sum(axis=0).max() <= case["reference"]["site_cap_kw"] * (1 + 1e-9)
    holds(problem, plan, case["reference"]["opt_min_cost_usd_with_cap"])


@by_solvers("reference")
@each_case
def test_the_published_smallest_peak_can_be_kept_and_no_smaller_one(data_dir: Path, day: str, solver: str) -> None:
    case = case_of(data_dir, day)
    peak_kw = case["reference"]["opt_min_peak_kw"]
    kept = solved(solver, problem_of(case, cap_kw=peak_kw + PRINTED), gap=1e-6)
    assert sum(row.amount for row in kept.unmet) <= 1e-3
    short = solved(solver, problem_of(case, cap_kw=peak_kw - 0.1), gap=1e-6)
    assert sum(row.amount for row in short.unmet) >= 0.1 - 1e-3


@by_solvers("reference")
@each_case
def test_at_one_price_the_baseline_is_the_published_uncontrolled_charging(
    data_dir: Path, day: str, solver: str
) -> None:
    case = case_of(data_dir, day)
    prices = np.array(case["price_usd_kwh"], dtype=np.float64)
    problem = problem_of(case, tariff=np.full_like(prices, 0.12))
    plan = solved(solver, problem, gap=1e-6)
    total_kw = plan.baseline_kw.sum(axis=0)
    assert total_kw.max() == pytest.approx(case["reference"]["uncontrolled_peak_kw"], abs=1e-3)
    cost = float(total_kw @ (prices * problem.grid.hours))
    assert cost == pytest.approx(case["reference"]["uncontrolled_cost_usd"], abs=2 * PRINTED)
