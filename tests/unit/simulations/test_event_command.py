"""What ``vpp bench event`` has found is on disk as soon as it is found: a bench of hours may be cut off."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

import simulations.event_command as command
from models.errors import InputError, VppError
from simulations.event_bench import EventBench
from simulations.event_days import EventDayScore
from tests.unit.simulations.test_event_report import scores


def bench(*words: str) -> Result:
    app = typer.Typer()
    app.command()(command.bench_event)
    return CliRunner().invoke(app, list(words))


def test_a_bench_that_is_cut_off_keeps_the_days_it_has_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut_off(_: EventBench, *, processes: int, told: Callable[[str], None]) -> Iterator[EventDayScore]:
        told(f"{processes} processes")
        yield scores()[1]
        raise VppError("the power went")

    monkeypatch.setattr(command, "event_days", cut_off)
    ended = bench("--days", "3", "--out", str(tmp_path / "found.json"))
    assert str(ended.exception) == "the power went"
    found = json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))
    assert [each["seed"] for each in found["cases"]] == [1]
    assert found["all"]["silent-20"]["days"] == 1


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """Days that were run, run by run; the bench itself takes hours."""
    asked: list[list[int]] = []

    def event_days(what: EventBench, **_: object) -> Iterator[EventDayScore]:
        asked.append([seed for fleet in what.fleets() for seed, _ in what.left(fleet)])
        yield from (
            replace(scores()[0], case=what.cases[0].name, seed=seed, fleet=seed // what.days_per_fleet)
            for seed in asked[-1]
        )

    monkeypatch.setattr(command, "event_days", event_days)
    return asked


def test_days_that_stand_in_the_file_are_not_run_again_and_count(tmp_path: Path, runs: list[list[int]]) -> None:
    out = tmp_path / "found.json"
    words = ("--days-per-fleet", "2", "--silent", "0.2", "--out", str(out), "--json")
    for days in ("3", "3", "5"):
        ended = bench("--days", days, *words)
        assert ended.exit_code == 0, ended.exception
    assert runs == [[0, 1, 2], [], [3, 4]]
    said = json.loads(ended.stdout[ended.stdout.index("{") :])
    assert said == json.loads(out.read_text(encoding="utf-8"))
    assert [each["seed"] for each in said["cases"]] == [0, 1, 2, 3, 4]
    assert said["all"]["silent-20"]["days"] == 5


@pytest.mark.parametrize(
    ("name", "value"),
    [("code_sha256", "of last week"), ("resources", 100), ("days_per_fleet", 7), ("cycle_s", 60.0), ("cases", [{}])],
)
def test_days_of_something_else_are_not_put_together(
    tmp_path: Path, runs: list[list[int]], name: str, value: object
) -> None:
    out = tmp_path / "found.json"
    assert bench("--days", "1", "--out", str(out)).exit_code == 0
    kept = json.loads(out.read_text(encoding="utf-8")) | {name: value}
    out.write_text(json.dumps(kept), encoding="utf-8")
    ended = bench("--days", "2", "--out", str(out))
    assert isinstance(ended.exception, InputError)
    assert name in str(ended.exception)
    assert runs == [[0]]
    assert json.loads(out.read_text(encoding="utf-8")) == kept, "what it does not know it does not touch"


def test_the_whole_matrix_is_drawn_as_a_table_and_as_a_plot(
    tmp_path: Path, runs: list[list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    drawn = []
    for words in ([], ["--out", "found/it.json"], ["--plot", "mine.svg"]):
        (tmp_path / "found").mkdir(exist_ok=True)
        ended = bench("--faults", "--days", "1", *words)
        assert ended.exit_code == 0, ended.exception
        assert "fault matrix" in ended.stdout
        (svg,) = [each for each in tmp_path.rglob("*.svg") if each not in drawn]
        assert str(svg) in ended.output
        assert svg.read_text(encoding="utf-8").startswith("<svg")
        drawn.append(svg)
    assert [str(each.relative_to(tmp_path)) for each in drawn] == ["fault-matrix.svg", "found/it.svg", "mine.svg"]
    assert bench("--case", "none", "--days", "1").exit_code == 0
    assert len(list(tmp_path.rglob("*.svg"))) == 3, "of single cases only when asked"


def test_a_day_with_a_broken_invariant_ends_the_bench_with_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    for broken, code in (((), 0), (("promises: nobody had been told",), 1)):
        days = [replace(scores()[0], invariants_broken=broken)]
        monkeypatch.setattr(command, "event_days", lambda *_, days=days, **__: iter(days))
        assert bench("--days", "1").exit_code == code
