import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from adapters.feeds.plan_folder import read_claims, read_plan, write_plan
from models.dispatch.problem import DispatchProblem
from models.errors import PortfolioError
from models.events import ScopeKind
from models.plan import Admission, DispatchPlan, PlanSource, Requirement, RequirementAmount
from vpp.example_portfolio import example_problem


@pytest.fixture(scope="module")
def problem() -> DispatchProblem:
    return example_problem(12, 3)


@pytest.fixture
def plan(problem: DispatchProblem) -> DispatchPlan:
    dice = np.random.default_rng(5)
    shape = (len(problem.fleet.resource_ids), len(problem.grid))
    energy = dice.normal(size=shape)
    energy[3] = np.nan
    amount = RequirementAmount(Requirement.EVENT_TARGET, ScopeKind.CITY, "", problem.grid.starts[30], 1 / 3, "noon")
    return DispatchPlan(
        problem.grid,
        problem.fleet.resource_ids,
        dice.normal(size=shape),
        energy,
        dice.normal(size=shape),
        np.full(shape, np.nan),
        "optimal",
        PlanSource.REFERENCE,
        1 / 7,
        2 / 7,
        -0.1,
        3,
        0.5,
        {"shortfall_per_kwh": 50.0},
        unmet=(amount,),
        prices=(amount,),
        admissions=(Admission("x", "energy_min_kwh", 1 / 3, 2 / 3, "late"),),
    )


def test_a_plan_reads_back_as_it_was_written(tmp_path: Path, problem: DispatchProblem, plan: DispatchPlan) -> None:
    write_plan(tmp_path, plan, problem, violations=0)
    back = read_plan(tmp_path, problem)
    for name in ("power_kw", "energy_kwh", "baseline_kw", "baseline_energy_kwh"):
        np.testing.assert_array_equal(getattr(back, name), getattr(plan, name))
    assert back.plan_hash == plan.plan_hash
    assert (back.unmet, back.prices, back.admissions) == (plan.unmet, plan.prices, plan.admissions)
    assert (back.objective_cny, back.lower_bound_cny, back.penalties, back.source) == (
        plan.objective_cny,
        plan.lower_bound_cny,
        plan.penalties,
        plan.source,
    )
    claims = read_claims(tmp_path)
    assert (claims.plan_hash, claims.baseline_hash) == (plan.plan_hash, plan.baseline_hash)
    assert sum(power for _, power in claims.aggregate.values()) == pytest.approx(plan.power_kw.sum())


def test_the_summary_names_what_the_contract_names(
    tmp_path: Path, problem: DispatchProblem, plan: DispatchPlan
) -> None:
    write_plan(tmp_path, plan, problem, violations=2)
    summary = json.loads((tmp_path / "summary.json").read_text())
    wanted = (
        "status source objective_cny baseline_cost_cny baseline_hash lower_bound_cny gap penalties iterations "
        "resources intervals wall_s peak_rss_mb plan_hash violations"
    )
    assert set(wanted.split()) <= summary.keys()
    assert summary["violations"] == 2
    schema = pq.read_schema(tmp_path / "setpoints.parquet")
    assert str(schema.field("interval_start").type) == "timestamp[us, tz=UTC]"
    assert pq.read_table(tmp_path / "setpoints.parquet")["energy_kwh"].null_count == len(problem.grid)


def rewrite(path: Path, change: Any) -> None:
    table = pq.read_table(path).to_pandas()
    import pyarrow as pa  # noqa: PLC0415

    pq.write_table(pa.Table.from_pandas(change(table), schema=pq.read_schema(path), preserve_index=False), path)


@pytest.mark.parametrize(
    ("change", "column", "rule"),
    [
        (lambda t: t.drop(index=5), "resource_id", "needs a row"),
        (
            lambda t: t.assign(resource_id=t.resource_id.where(t.index != 7, "nobody")),
            "resource_id",
            "of the portfolio",
        ),
        (lambda t: t.assign(power_kw=t.power_kw.where(t.index != 7, np.inf)), "power_kw", "finite"),
        (
            lambda t: t.assign(interval_start=t.interval_start.shift(1, fill_value=t.interval_start[0])),
            "resource_id",
            "once",
        ),
    ],
)
def test_a_fault_in_the_schedule_is_named(
    tmp_path: Path, problem: DispatchProblem, plan: DispatchPlan, change: Any, column: str, rule: str
) -> None:
    write_plan(tmp_path, plan, problem, violations=0)
    rewrite(tmp_path / "setpoints.parquet", change)
    with pytest.raises(PortfolioError) as caught:
        read_plan(tmp_path, problem)
    named = [fault for fault in caught.value.faults if fault.field == column and rule in fault.rule]
    assert named
    assert named[0].place == "setpoints.parquet"


def test_a_folder_without_a_summary_is_not_a_plan(tmp_path: Path, problem: DispatchProblem) -> None:
    with pytest.raises(PortfolioError, match=r"summary\.json"):
        read_plan(tmp_path, problem)
