"""``vpp portfolio``, ``vpp plan`` and ``vpp check`` as a user meets them: output, JSON, exit codes."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import typer
from typer.testing import CliRunner

from vpp.city_feed import FolderFeed
from vpp.cli import planning

app = typer.Typer()
app.command("plan")(planning.plan)
app.command("check")(planning.check)
app.add_typer(planning.portfolio_app, name="portfolio")


def run(*words: str | Path) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(word) for word in words])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout


def run_json(*words: str | Path) -> tuple[int, Any]:
    code, text = run(*words, "--json")
    return code, json.loads(text)


@pytest.fixture(scope="module")
def portfolio(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("planning") / "city"
    assert run("portfolio", "new", folder, "--resources", "12", "--seed", "3")[0] == 0
    return folder


@pytest.fixture(scope="module")
def plan(portfolio: Path) -> Path:
    out = portfolio.parent / "plan"
    code, facts = run_json("plan", portfolio, "--out", out, "--deadline-s", "120", "--gap", "1e-2")
    assert code == 0, facts
    assert facts["violations"] == 0
    assert facts["solver"] == facts["source"] == "fast"
    return out


def test_the_example_is_valid_and_the_same_seed_gives_the_same_files(portfolio: Path, tmp_path: Path) -> None:
    code, facts = run_json("portfolio", "validate", portfolio)
    assert (code, facts["valid"], facts["resources"]) == (0, True, 12)
    run("portfolio", "new", tmp_path / "again", "--resources", "12", "--seed", "3")
    for path in portfolio.iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes()
    kinds = {"storage", "ev_sessions", "curtailable_loads", "interruptible_loads", "shiftable_loads", "thermal_loads"}
    assert kinds | {"generators", "pv"} <= {path.stem for path in portfolio.iterdir()}


def test_a_folder_that_is_not_empty_is_left_alone(portfolio: Path) -> None:
    assert run("portfolio", "new", portfolio)[0] == 2


def test_validate_lists_every_fault_as_table_and_as_json(tmp_path: Path) -> None:
    folder = tmp_path / "city"
    run("portfolio", "new", folder)
    for name in ("pv", "storage"):
        path = folder / f"{name}.csv"
        path.write_text(path.read_text().replace("industry,", "nobody's,"))
    code, facts = run_json("portfolio", "validate", folder)
    assert code == 2
    assert {(fault["file"], fault["column"]) for fault in facts["faults"]} >= {
        ("pv.csv", "tariff_id"),
        ("storage.csv", "tariff_id"),
    }
    assert all(set(fault) == {"file", "row", "column", "value", "rule"} for fault in facts["faults"])
    result = CliRunner().invoke(app, ["portfolio", "validate", str(folder)])
    assert result.exit_code == 2
    assert "tariff_id" in result.output


def test_the_schemas_are_printed_or_written(tmp_path: Path) -> None:
    code, schemas = run_json("portfolio", "schema")
    assert code == 0
    assert schemas["storage"]["type"] == "object"
    assert run("portfolio", "schema", "--out", tmp_path)[0] == 0
    assert json.loads((tmp_path / "pv.schema.json").read_text()) == schemas["pv"]


def test_a_plan_is_made_checked_and_published(portfolio: Path, plan: Path) -> None:
    summary = json.loads((plan / "summary.json").read_text())
    assert summary["violations"] == 0
    code, facts = run_json("check", portfolio, plan)
    assert (code, facts["ok"], facts["list"]) == (0, True, [])
    assert facts["checked_objective_cny"] == pytest.approx(summary["objective_cny"], rel=1e-6)
    assert facts["checked_lower_bound_cny"] <= facts["checked_objective_cny"] + 1e-6 * abs(summary["objective_cny"])
    code, text = run("check", portfolio, plan, "--no-bound")
    assert code == 0
    assert "nothing is off" in text


def test_the_baseline_of_another_plan_can_be_asked_for(portfolio: Path, plan: Path, tmp_path: Path) -> None:
    code, facts = run_json("plan", portfolio, "--out", tmp_path / "second", "--baseline", plan, "--gap", "1e-2")
    assert code == 0, facts
    summaries = [json.loads((folder / "summary.json").read_text()) for folder in (plan, tmp_path / "second")]
    assert summaries[0]["baseline_hash"] == summaries[1]["baseline_hash"]
    assert run("check", portfolio, tmp_path / "second", "--baseline", plan)[0] == 0


def test_a_large_fleet_is_planned_written_and_checked_as_a_stream(
    portfolio: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "STREAMED_ABOVE", 11)
    words = ("plan", portfolio, "--out", tmp_path / "plan", "--gap", "1e-2", "--deadline-s", "120")
    code, facts = run_json(*words, "--no-check-bound")
    assert (code, facts["ok"], facts["checked_lower_bound_cny"]) == (0, True, None)
    assert facts["phases_s"].keys() >= {"admission", "arrays", "baseline"}
    summary = json.loads((tmp_path / "plan" / "summary.json").read_text())
    assert {name: summary[name] for name in ("plan_hash", "baseline_hash", "gap")} == {
        name: facts[name] for name in ("plan_hash", "baseline_hash", "gap")
    }
    assert run_json("check", portfolio, tmp_path / "plan")[1]["list"] == []
    monkeypatch.setattr(planning, "STREAMED_ABOVE", 12)
    assert run_json("check", portfolio, tmp_path / "plan")[1]["list"] == []


def test_the_reference_can_be_asked_for_and_says_the_same_cost(portfolio: Path, plan: Path, tmp_path: Path) -> None:
    code, facts = run_json(
        "plan", portfolio, "--out", tmp_path / "second", "--solver", "reference", "--gap", "1e-2", "--deadline-s", "120"
    )
    assert (code, facts["solver"], facts["source"]) == (0, "reference", "reference")
    summary = json.loads((plan / "summary.json").read_text())
    assert facts["baseline_cost_cny"] == pytest.approx(summary["baseline_cost_cny"], rel=1e-6)
    scale = abs(facts["objective_cny"] - facts["baseline_cost_cny"])
    assert facts["objective_cny"] == pytest.approx(summary["objective_cny"], abs=0.02 * scale), "both within 1 %"


def copied(plan: Path, to: Path) -> Path:
    to.mkdir()
    for path in plan.iterdir():
        (to / path.name).write_bytes(path.read_bytes())
    return to


def test_a_changed_hash_gap_or_sum_is_found(portfolio: Path, plan: Path, tmp_path: Path) -> None:
    bad = copied(plan, tmp_path / "bad")
    summary = json.loads((bad / "summary.json").read_text())
    summary |= {"plan_hash": "0" * 64, "baseline_hash": "1" * 64, "gap": summary["gap"] + 1.0}
    (bad / "summary.json").write_text(json.dumps(summary))
    table = pq.read_table(bad / "aggregate.parquet")
    power = table.column("power_kw").to_pylist()
    power[7] += 1.0
    place = table.column_names.index("power_kw")
    pq.write_table(table.set_column(place, "power_kw", pa.array(power)), bad / "aggregate.parquet")
    code, facts = run_json("check", portfolio, bad, "--no-bound")
    assert code == 1
    assert [item["limit"] for item in facts["list"]] == ["plan_hash", "baseline_hash", "gap", "aggregate.power_kw"]


def test_a_changed_setpoint_is_found_by_limit_hash_and_sum(portfolio: Path, plan: Path, tmp_path: Path) -> None:
    bad = copied(plan, tmp_path / "bad")
    table = pq.read_table(bad / "setpoints.parquet")
    names, power = table.column("resource_id").to_pylist(), table.column("power_kw").to_pylist()
    power[names.index(next(name for name in names if name.startswith("roof")))] = 5.0
    place = table.column_names.index("power_kw")
    pq.write_table(table.set_column(place, "power_kw", pa.array(power)), bad / "setpoints.parquet")
    code, facts = run_json("check", portfolio, bad, "--no-bound")
    assert code == 1
    named = {(item["subject"][:4], item["limit"]) for item in facts["list"]}
    assert {("roof", "power_kw"), ("plan", "plan_hash"), ("plan", "objective_cny")} <= named


def test_no_plan_within_the_deadline_is_a_failure_not_a_crash(tmp_path: Path) -> None:
    # the reference, because the fast path may have a plan of a small fleet within the shortest deadline there is
    run("portfolio", "new", tmp_path / "city", "--resources", "80", "--seed", "3")
    code, facts = run_json(
        "plan", tmp_path / "city", "--out", tmp_path / "never", "--deadline-s", "0.1", "--solver", "reference"
    )
    assert code == 1
    assert facts["plan"] is None
    assert not (tmp_path / "never").exists()


def test_wrong_input_is_exit_code_two(tmp_path: Path) -> None:
    assert run("check", tmp_path / "nothing", tmp_path / "nothing")[0] == 2
    assert run("plan", tmp_path / "nothing", "--out", tmp_path / "plan")[0] == 2
    assert run("plan", tmp_path, "--out", tmp_path / "plan", "--solver", "magic")[0] == 2


def test_a_new_city_is_what_serve_reads(tmp_path: Path) -> None:
    done = CliRunner().invoke(
        planning.portfolio_app, ["new", str(tmp_path / "city"), "--city", "--days", "2", "--json"]
    )
    assert done.exit_code == 0, done.output
    assert str(FolderFeed(tmp_path / "city").covers()[1]) == json.loads(done.output)["end"]
