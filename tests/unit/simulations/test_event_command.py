"""What ``vpp bench event`` has found is on disk as soon as it is found: a bench of hours may be cut off."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

import simulations.event_command as command
from models.errors import VppError
from simulations.event_bench import EventBench
from simulations.event_days import EventDayScore
from tests.unit.simulations.test_event_report import scores


def test_a_bench_that_is_cut_off_keeps_the_days_it_has_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut_off(_: EventBench, *, processes: int, told: Callable[[str], None]) -> Iterator[EventDayScore]:
        told(f"{processes} processes")
        yield scores()[1]
        raise VppError("the power went")

    monkeypatch.setattr(command, "event_days", cut_off)
    app = typer.Typer()
    app.command()(command.bench_event)
    ended = CliRunner().invoke(app, ["--days", "3", "--out", str(tmp_path / "found.json")])
    assert str(ended.exception) == "the power went"
    found = json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))
    assert [each["seed"] for each in found["cases"]] == [1]
    assert found["all"]["silent-20"]["days"] == 1
