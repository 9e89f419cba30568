"""A plan that is written block by block is the plan that is written at once."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from adapters.feeds.plan_folder import read_claims, read_plan, write_plan, write_plan_stream
from models.dispatch.problem import DispatchProblem
from models.fleet import Fleet
from models.plan import DispatchPlan, PlanSource
from models.plan_stream import PlanBlock, PlanStream, gathered, plan_blocks
from vpp.example_portfolio import example_problem


@dataclass
class Streamed:
    """A plan in memory, told as a stream; ``left_out``: how many of its last resources never come."""

    plan: DispatchPlan
    left_out: int = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.plan, name)

    def blocks(self, rows: int = 5) -> Iterator[PlanBlock]:
        for block in plan_blocks(self.plan, rows):
            keep = len(block.resource_ids) - self.left_out
            yield PlanBlock(
                block.resource_ids[:keep],
                block.power_kw[:keep],
                block.energy_kwh[:keep],
                block.baseline_kw[:keep],
                block.baseline_energy_kwh[:keep],
            )


@pytest.fixture(scope="module")
def problem() -> DispatchProblem:
    small = example_problem(40, 2)
    rows = list(small.fleet.rows())
    stay = next(row for row in rows if row.kind == "ev_session")
    later = stay.model_copy(update={"session_id": "again", "zone_id": "south", "aggregator_id": "moved"})
    short = stay.model_copy(update={"resource_id": "B", "session_id": "other"})
    return replace(small, fleet=Fleet.from_rows([*rows, later, short]))


@pytest.fixture(scope="module")
def plan(problem: DispatchProblem) -> DispatchPlan:
    dice = np.random.default_rng(7)
    shape = (len(problem.fleet.resource_ids), len(problem.grid))
    power, energy = dice.normal(size=shape), dice.normal(size=shape)
    power[:, ::7] = -0.0
    energy[::3] = np.nan
    return DispatchPlan(
        problem.grid, problem.fleet.resource_ids, power, energy, dice.normal(size=shape), np.full(shape, np.nan),
        "optimal", PlanSource.FAST, 10.0, 20.0, 9.0, 3, 0.5, {"shortfall_per_kwh": 50.0},
    )  # fmt: skip


@pytest.mark.parametrize("rows", [1, 7, 41, 1000])
def test_a_streamed_plan_reads_back_as_the_plain_one(
    tmp_path: Path, problem: DispatchProblem, plan: DispatchPlan, rows: int
) -> None:
    stream: PlanStream = Streamed(plan)
    write_plan_stream(tmp_path / "stream", stream, problem, violations=0, rows=rows)
    write_plan(tmp_path / "plain", plan, problem, violations=0)
    back, plain = read_plan(tmp_path / "stream", problem), read_plan(tmp_path / "plain", problem)
    for name in ("power_kw", "energy_kwh", "baseline_kw", "baseline_energy_kwh"):
        np.testing.assert_array_equal(getattr(back, name), getattr(plain, name))
        np.testing.assert_array_equal(getattr(back, name), getattr(plan, name))
    said = [json.loads((tmp_path / folder / "summary.json").read_text()) for folder in ("stream", "plain")]
    assert said[0] == said[1]
    assert (said[0]["plan_hash"], said[0]["baseline_hash"]) == (plan.plan_hash, plan.baseline_hash)
    sums = [read_claims(tmp_path / folder).aggregate for folder in ("stream", "plain")]
    assert sums[0].keys() == sums[1].keys()
    np.testing.assert_allclose(list(sums[0].values()), list(sums[1].values()), rtol=0, atol=1e-12)


def test_sums_are_those_of_the_attributes(tmp_path: Path, problem: DispatchProblem, plan: DispatchPlan) -> None:
    write_plan_stream(tmp_path, Streamed(plan), problem, violations=0, rows=6)
    wanted: dict[tuple[str, ...], np.ndarray] = {}
    for row, name in enumerate(plan.resource_ids):
        what = problem.attributes[name]
        key = (what.zone_id, what.aggregator_id, str(what.pillar), what.kind.value)
        wanted[key] = wanted.get(key, 0.0) + np.stack([plan.baseline_kw[row], plan.power_kw[row]])
    found = read_claims(tmp_path).aggregate
    assert {key[1:] for key in found} == set(wanted)
    for (start, *group), sums in found.items():
        np.testing.assert_allclose(sums, wanted[tuple(group)][:, plan.grid.starts.index(start)], atol=1e-12)
    assert ("south", "moved", "load", "ev_session") in wanted, "a charger's last stay speaks for it"


def test_a_stream_is_put_together_again(plan: DispatchPlan) -> None:
    again = gathered(Streamed(plan), rows=9)
    assert again.plan_hash == plan.plan_hash
    assert again.baseline_hash == plan.baseline_hash
    np.testing.assert_array_equal(again.energy_kwh, plan.energy_kwh)
    assert (again.objective_cny, again.status, again.gap) == (plan.objective_cny, plan.status, plan.gap)


def test_ids_are_a_dictionary_in_the_file_and_plain_text_to_readers(
    tmp_path: Path, problem: DispatchProblem, plan: DispatchPlan
) -> None:
    write_plan_stream(tmp_path, Streamed(plan), problem, violations=0, rows=10)
    file = pq.ParquetFile(tmp_path / "setpoints.parquet")
    assert str(file.schema_arrow.field("resource_id").type) == "string"
    assert str(file.schema_arrow.field("interval_start").type) == "timestamp[us, tz=UTC]"
    assert file.metadata.num_row_groups == -(-len(plan.resource_ids) // 10)
    assert "RLE_DICTIONARY" in file.metadata.row_group(0).column(0).encodings


def test_a_stream_that_ends_early_is_no_plan(tmp_path: Path, problem: DispatchProblem, plan: DispatchPlan) -> None:
    write_plan(tmp_path, plan, problem, violations=0)
    with pytest.raises(ValueError, match="blocks: 39 resources came, expected 41"):
        write_plan_stream(tmp_path, Streamed(plan, left_out=1), problem, violations=0, rows=25)
    assert not (tmp_path / "summary.json").exists(), "neither the old plan nor half of the new one"
    with pytest.raises(ValueError, match="expected 41"):
        gathered(Streamed(plan, left_out=1), rows=25)


def test_a_plan_of_other_resources_is_refused(tmp_path: Path, problem: DispatchProblem, plan: DispatchPlan) -> None:
    foreign = replace(plan, resource_ids=("zzz", *plan.resource_ids[1:]))
    with pytest.raises(ValueError, match="zzz is no resource"):
        write_plan(tmp_path, foreign, problem, violations=0)
