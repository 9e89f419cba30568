"""Water values of a plan: kept by folders, streams and pickles; faults in their table are named."""

import pickle
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from adapters.feeds.plan_folder import read_plan, write_plan, write_plan_stream
from adapters.feeds.plan_stream import open_plan_stream
from models.dispatch.problem import DispatchProblem
from models.errors import PortfolioError
from models.intervals import FloatArray
from models.plan import DispatchPlan, PlanSource
from models.plan_stream import gathered
from vpp.example_portfolio import example_problem


@pytest.fixture(scope="module")
def problem() -> DispatchProblem:
    return example_problem(12, 3)


@pytest.fixture
def plan(problem: DispatchProblem) -> DispatchPlan:
    dice = np.random.default_rng(5)
    names = problem.fleet.resource_ids
    shape = (len(names), len(problem.grid))
    water = {names[7]: dice.normal(size=shape[1]), names[2]: np.full(shape[1], -1 / 3)}
    return DispatchPlan(
        problem.grid, names, dice.normal(size=shape), np.full(shape, np.nan), dice.normal(size=shape),
        np.full(shape, np.nan), "optimal", PlanSource.FAST, 1.0, 2.0, 0.5, 3, 0.5, {}, water_values=water,
    )  # fmt: skip


def same(found: DispatchPlan, plan: DispatchPlan) -> None:
    assert found.water_values.keys() == plan.water_values.keys()
    for name, values in plan.water_values.items():
        np.testing.assert_array_equal(found.water_values[name], values)


def test_water_values_read_back_as_they_were_written(
    tmp_path: Path, problem: DispatchProblem, plan: DispatchPlan
) -> None:
    write_plan(tmp_path, plan, problem, violations=0)
    same(read_plan(tmp_path, problem), plan)
    stream = open_plan_stream(tmp_path, problem)
    same(gathered(stream), plan)
    write_plan_stream(tmp_path / "again", stream, problem, violations=0)
    same(read_plan(tmp_path / "again", problem), plan)


def test_a_plan_without_water_values_has_no_table_of_them_not_even_an_old_one(
    tmp_path: Path, problem: DispatchProblem, plan: DispatchPlan
) -> None:
    write_plan(tmp_path, plan, problem, violations=0)
    assert (tmp_path / "water_values.parquet").is_file()
    write_plan(tmp_path, replace(plan, water_values={}), problem, violations=0)
    assert not (tmp_path / "water_values.parquet").exists()
    assert read_plan(tmp_path, problem).water_values == {}


def test_water_values_survive_pickling(plan: DispatchPlan) -> None:
    same(pickle.loads(pickle.dumps(plan)), plan)


@pytest.mark.parametrize("name", ["nobody", "r"])
def test_water_values_must_be_of_a_resource_and_as_long_as_the_grid(plan: DispatchPlan, name: str) -> None:
    names = {"nobody": "nobody", "r": plan.resource_ids[0]}
    values: FloatArray = np.zeros(len(plan.grid) + (name == "r"))
    with pytest.raises(ValueError, match="water_values"):
        replace(plan, water_values={names[name]: values})


@pytest.mark.parametrize(
    ("change", "column", "rule"),
    [
        (lambda rows: rows[1:], "resource_id", "every interval"),
        (lambda rows: [{**rows[0], "resource_id": "nobody"}, *rows[1:]], "resource_id", "of the portfolio"),
        (lambda rows: [*rows, rows[3]], "resource_id", "once"),
        (lambda rows: [{**rows[0], "value_per_kwh": np.nan}, *rows[1:]], "value_per_kwh", "finite"),
        (
            lambda rows: [{**rows[0], "interval_start": datetime(2000, 1, 1, tzinfo=UTC)}, *rows[1:]],
            "interval_start",
            "interval of the portfolio",
        ),
    ],
)
def test_a_fault_in_the_water_values_is_named(
    tmp_path: Path,
    problem: DispatchProblem,
    plan: DispatchPlan,
    change: Callable[[list[dict[str, object]]], list[dict[str, object]]],
    column: str,
    rule: str,
) -> None:
    write_plan(tmp_path, plan, problem, violations=0)
    path = tmp_path / "water_values.parquet"
    table = pq.read_table(path)
    pq.write_table(pa.Table.from_pylist(change(table.to_pylist()), schema=table.schema), path)
    for read in (read_plan, open_plan_stream):
        with pytest.raises(PortfolioError) as caught:
            read(tmp_path, problem)
        named = [fault for fault in caught.value.faults if fault.field == column and rule in fault.rule]
        assert named
        assert named[0].place == "water_values.parquet"
