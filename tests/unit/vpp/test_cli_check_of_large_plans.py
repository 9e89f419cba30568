"""``vpp check`` of a large plan, read block by block, says what it says of one that is read at once."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from adapters.feeds.plan_folder import write_plan
from adapters.feeds.portfolio_folder import write_portfolio
from models.plan import DispatchPlan, PlanSource
from vpp.cli import planning
from vpp.example_portfolio import example_problem

app = typer.Typer()
app.command("check")(planning.check)
app.command("other")(planning.plan)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder, problem = tmp_path_factory.mktemp("large"), example_problem(24, 3)
    write_portfolio(folder / "city", problem, "parquet")
    shape = (len(problem.fleet.resource_ids), len(problem.grid))
    dice = np.random.default_rng(5)
    plan = DispatchPlan(
        problem.grid, problem.fleet.resource_ids, dice.normal(size=shape), np.full(shape, np.nan), np.zeros(shape),
        np.full(shape, np.nan), "optimal", PlanSource.FAST, 10.0, 20.0, 9.0, 3, 0.5, problem.penalties.as_dict(),
    )  # fmt: skip
    write_plan(folder / "plan", plan, problem, violations=0)
    return folder / "city", folder / "plan"


def check(folders: tuple[Path, Path], *more: str) -> Any:
    result = CliRunner().invoke(app, ["check", *(str(folder) for folder in folders), "--json", *more])
    assert result.exit_code == 1, result.output
    return json.loads(result.stdout)


def test_a_plan_read_in_blocks_is_judged_the_same(folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    whole = check(folders)
    monkeypatch.setattr(planning, "STREAMED_ABOVE", 0)
    monkeypatch.setattr(planning, "read_plan", None)  # nobody may load it all
    assert check(folders) == whole
    assert whole["violations"] > 100


def test_the_bound_of_a_large_plan_is_recomputed_when_asked_only(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert check(folders)["checked_lower_bound_cny"] is not None
    monkeypatch.setattr(planning, "BOUND_UNASKED", 10)
    assert check(folders)["checked_lower_bound_cny"] is None
    assert check(folders, "--bound")["checked_lower_bound_cny"] is not None
