"""A plan folder read as a stream is the plan read at once, in whatever order its rows stand, faults included."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from adapters.feeds.plan_folder import read_claims, read_plan, write_plan
from adapters.feeds.plan_stream import open_plan_stream
from models.dispatch.check import check_plan, check_stream
from models.dispatch.problem import DispatchProblem
from models.errors import PortfolioError
from models.events import ScopeKind
from models.plan import Admission, DispatchPlan, PlanSource, Requirement, RequirementAmount
from models.plan_stream import gathered
from vpp.example_portfolio import example_problem

SCHEDULES = ("power_kw", "energy_kwh", "baseline_kw", "baseline_energy_kwh")


@pytest.fixture(scope="module")
def problem() -> DispatchProblem:
    return example_problem(40, 2)


@pytest.fixture
def folder(tmp_path: Path, problem: DispatchProblem) -> Path:
    dice = np.random.default_rng(7)
    shape = (len(problem.fleet.resource_ids), len(problem.grid))
    energy = dice.normal(size=shape)
    energy[::3] = np.nan
    start = problem.grid.start
    plan = DispatchPlan(
        problem.grid, problem.fleet.resource_ids, dice.normal(size=shape), energy, dice.normal(size=shape),
        np.full(shape, np.nan), "optimal", PlanSource.FAST, 10.0, 20.0, 9.0, 3, 0.5, {"shortfall_per_kwh": 50.0},
        unmet=(RequirementAmount(Requirement.ZONE_LIMIT, ScopeKind.ZONE, "east", start, 3.0),),
        prices=(RequirementAmount(Requirement.ZONE_LIMIT, ScopeKind.ZONE, "east", start, 0.5),),
        admissions=(Admission("r", "energy_min_kwh", 1.0, 0.5, "so"),),
    )  # fmt: skip
    write_plan(tmp_path / "plan", plan, problem, violations=0)
    return tmp_path / "plan"


def rewritten(folder: Path, name: str, change: Any, **options: Any) -> None:
    path = folder / f"{name}.parquet"
    pq.write_table(change(pq.read_table(path)), path, **options)


def same_plan(folder: Path, problem: DispatchProblem, rows: int) -> None:
    whole, parts = read_plan(folder, problem), gathered(open_plan_stream(folder, problem), rows)
    for name in SCHEDULES:
        np.testing.assert_array_equal(getattr(parts, name), getattr(whole, name))
    for name in ("status", "source", "objective_cny", "lower_bound_cny", "penalties", "unmet", "prices", "admissions"):
        assert getattr(parts, name) == getattr(whole, name)
    assert open_plan_stream(folder, problem).gap == whole.gap


@pytest.mark.parametrize("rows", [1, 7, 40, 1000])
def test_a_streamed_folder_is_the_plan_that_is_read_at_once(folder: Path, problem: DispatchProblem, rows: int) -> None:
    same_plan(folder, problem, rows)


@pytest.mark.parametrize("row_group_size", [1, 95, 1000])
def test_row_groups_may_end_anywhere(folder: Path, problem: DispatchProblem, row_group_size: int) -> None:
    rewritten(folder, "setpoints", lambda table: table, row_group_size=row_group_size)
    same_plan(folder, problem, 7)


def test_blocks_are_no_larger_than_asked(folder: Path, problem: DispatchProblem) -> None:
    sizes = [len(block.resource_ids) for block in open_plan_stream(folder, problem).blocks(7)]
    assert sizes == [7, 7, 7, 7, 7, len(problem.fleet.resource_ids) - 35]


def test_rows_in_another_order_are_read_all_the_same(folder: Path, problem: DispatchProblem) -> None:
    rewritten(folder, "baseline", lambda table: table.sort_by([("interval_start", "ascending")]))
    rewritten(folder, "setpoints", lambda table: pa.concat_tables([table.slice(0, 2000), table.slice(2000)[::-1]]))
    same_plan(folder, problem, 7)


def test_csv_tables_are_read_all_the_same(folder: Path, problem: DispatchProblem) -> None:
    table = pq.read_table(folder / "setpoints.parquet").to_pandas()
    table["interval_start"] = [moment.isoformat() for moment in table["interval_start"]]
    table.to_csv(folder / "setpoints.csv", index=False)
    (folder / "setpoints.parquet").unlink()
    same_plan(folder, problem, 7)


def spoiled(column: str, row: int, value: Any) -> Any:
    def change(table: pa.Table) -> pa.Table:
        kind = table.schema.field(column).type
        here = pa.array(np.arange(table.num_rows) == row)
        return table.set_column(
            table.column_names.index(column), column, pc.if_else(here, pa.scalar(value, kind), table.column(column))
        )

    return change


@pytest.mark.parametrize(
    "change",
    [
        spoiled("resource_id", 300, "nobody"),
        spoiled("power_kw", 1500, None),
        spoiled("power_kw", 1500, float("inf")),
        spoiled("energy_kwh", 1500, float("inf")),
        lambda table: table.slice(0, table.num_rows - 5),
        lambda table: table.slice(0, 7 * 96),
        lambda table: pa.concat_tables([table, table.slice(3, 1)]),
        lambda table: pa.concat_tables([table.slice(0, 5), table.slice(4)]),
        lambda table: table.drop_columns(["energy_kwh"]),
    ],
    ids=["foreign", "null", "infinite", "infinite-energy", "short", "cut", "over", "twice", "column"],
)
def test_faults_of_a_stream_are_those_of_the_whole(folder: Path, problem: DispatchProblem, change: Any) -> None:
    rewritten(folder, "setpoints", change)
    with pytest.raises(PortfolioError) as whole:
        read_plan(folder, problem)
    with pytest.raises(PortfolioError) as parts:
        gathered(open_plan_stream(folder, problem), 7)
    assert [str(fault) for fault in parts.value.faults] == [str(fault) for fault in whole.value.faults]


def test_a_missing_table_is_named_at_once(folder: Path, problem: DispatchProblem) -> None:
    (folder / "baseline.parquet").unlink()
    with pytest.raises(PortfolioError, match="baseline: table is required"):
        open_plan_stream(folder, problem)


def test_a_streamed_folder_is_checked_as_the_plan_that_is_read_at_once(folder: Path, problem: DispatchProblem) -> None:
    claims = read_claims(folder)
    whole = check_plan(problem, read_plan(folder, problem), claims=claims)
    parts = check_stream(problem, open_plan_stream(folder, problem), claims=claims)
    assert len(whole.violations) > 100
    assert [str(item) for item in parts.violations] == [str(item) for item in whole.violations]
    assert replace(parts, violations=()) == replace(whole, violations=())
