"""``vpp explain`` as a user meets it: why a resource moves, what one more megawatt costs."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
import typer
from typer.testing import CliRunner

from adapters.feeds.plan_excerpt import read_one_schedule, read_penalties, read_prices
from adapters.feeds.plan_folder import read_plan, write_plan
from adapters.feeds.portfolio_folder import read_portfolio, write_portfolio
from models.dispatch.reference.solve import ReferenceSolver
from models.errors import PortfolioError
from models.resources import ResourceKind
from tests.fleets import random_problem
from vpp.cli import explain
from vpp.cli.main import app as whole

app = typer.Typer()
app.command("explain")(explain.explain)


def run(*words: str | Path) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(word) for word in words])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout


def run_json(*words: str | Path) -> tuple[int, Any]:
    code, text = run(*words, "--json")
    return code, json.loads(text)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("explain")
    kinds = [kind for kind in ResourceKind if kind is not ResourceKind.SHIFTABLE_LOAD]
    problem = replace(random_problem(5, kinds=kinds, resources=8, intervals=12, events=2), run_profiles={})
    write_portfolio(root / "city", problem)
    problem = read_portfolio(root / "city")
    write_plan(root / "plan", ReferenceSolver().solve(problem, deadline_s=60, gap=1e-5), problem, violations=0)
    return root / "city", root / "plan"


def test_without_a_resource_the_dearest_requirements_come_first(folders: tuple[Path, Path]) -> None:
    code, facts = run_json(*folders)
    assert code == 0
    prices = [row["price_per_mwh"] for row in facts["prices"]]
    assert prices
    assert prices == sorted(prices, reverse=True)
    plan = read_plan(folders[1], read_portfolio(folders[0]))
    assert len(prices) == sum(price.amount > 0 for price in plan.prices)
    assert prices[0] == pytest.approx(1000 * max(price.amount for price in plan.prices))
    assert all(row["interval_start"].endswith("+08:00") for row in facts["prices"])
    total = sum(row["one_mw_cny"] for row in facts["prices"])
    assert sum(row["one_mw_cny"] for row in facts["requirements"]) == pytest.approx(total)
    code, text = run(*folders, "--top", "3")
    assert code == 0
    assert "CNY per MWh" in text
    assert f"3 / {len(prices)} highest prices" in text


def test_a_resource_is_told_with_its_prices_and_sentences(folders: tuple[Path, Path]) -> None:
    plan = read_plan(folders[1], read_portfolio(folders[0]))
    moved = max(plan.resource_ids, key=lambda name: abs(plan.power_kw - plan.baseline_kw)[plan.row_of[name]].max())
    code, facts = run_json(*folders, moved)
    assert code == 0
    rows = facts["intervals"]
    assert [row["power_kw"] for row in rows] == plan.power_kw[plan.row_of[moved]].tolist()
    assert facts["net_cny"] == pytest.approx(sum(row["worth_cny"] for row in rows) - facts["own_cost_cny"])
    for row in rows:
        added = sum(term["adds_per_kwh"] for term in row["terms"])
        assert row["effective_per_kwh"] == pytest.approx(row["tariff_per_kwh"] + added)
    code, text = run(*folders, moved, "--every")
    assert code == 0
    assert all(row["en"].split("CNY")[0] in text.replace("\n", " ") for row in rows[:1])
    assert text.count("CNY/kWh") >= len(rows) // 2
    code, utc = run_json(*folders, moved, "--time-zone", "UTC")
    assert utc["intervals"][0]["interval_start"].endswith("+00:00")


def test_wrong_names_are_exit_code_two(folders: tuple[Path, Path], tmp_path: Path) -> None:
    code, facts = run_json(*folders, "nobody")
    assert code == 2
    assert facts["faults"][0]["column"] == "resource_id"
    assert run(folders[0], tmp_path / "nothing")[0] == 2
    assert run(*folders, "--time-zone", "Mars/Olympus")[0] == 2


def test_one_schedule_is_read_from_either_format_and_holes_are_named(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    portfolio, folder = folders
    problem = read_portfolio(portfolio)
    plan = read_plan(folder, problem)
    name = plan.resource_ids[3]
    for path in folder.iterdir():
        if path.stem not in ("setpoints", "baseline"):
            (tmp_path / path.name).write_bytes(path.read_bytes())
    for stem in ("setpoints", "baseline"):
        pa_csv.write_csv(pq.read_table(folder / f"{stem}.parquet"), tmp_path / f"{stem}.csv")
    for source in (folder, tmp_path):
        power, baseline = read_one_schedule(source, problem.grid, name)
        assert power.tolist() == plan.power_kw[plan.row_of[name]].tolist()
        assert baseline.tolist() == plan.baseline_kw[plan.row_of[name]].tolist()
        assert read_prices(source) == plan.prices
        assert read_penalties(source) == plan.penalties
    table = pq.read_table(folder / "baseline.parquet")
    (tmp_path / "baseline.csv").unlink()
    pq.write_table(table.slice(0, table.num_rows - 1), tmp_path / "baseline.parquet")
    with pytest.raises(PortfolioError, match="finite power in every interval"):
        read_one_schedule(tmp_path, problem.grid, plan.resource_ids[-1])
    with pytest.raises(PortfolioError, match="must be a resource of the plan"):
        read_one_schedule(tmp_path, problem.grid, "nobody")


def test_the_command_is_in_the_overview() -> None:
    result = CliRunner().invoke(whole, ["--help"])
    assert "explain" in result.output
