"""``vpp bench exactness``: what it prints, how it ends, and that a failing fleet is named."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from vpp.bench.exactness import Outcome, exactness, held, summary
from vpp.cli import bench
from vpp.cli.bench import bench_app


def outcome(seed: int, true_gap: float = 0.0, faults: tuple[str, ...] = ()) -> Outcome:
    return Outcome(seed, 5, 9, true_gap, true_gap + 0.01, 1e-9, 100.0, 10.0, 0.1, 0.1, faults)


def test_seeds_run_in_processes_of_their_own_and_say_what_one_process_says() -> None:
    heard: list[int] = []
    several = exactness(
        range(4, 8),
        forced=False,
        processes=2,
        most_resources=4,
        most_intervals=8,
        told=lambda each: heard.append(each.seed),
    )
    assert sorted(heard) == [4, 5, 6, 7]
    assert [each.seed for each in several] == [4, 5, 6, 7]
    again = held(5, forced=False, most_resources=4, most_intervals=8)
    assert several[1].true_gap == pytest.approx(again.true_gap, abs=1e-9)
    assert several[1].objective_cny == again.objective_cny


def test_a_fleet_that_breaks_a_solver_is_named_and_the_others_go_on() -> None:
    several = exactness([1, -1, 2], forced=False, processes=1, most_resources=4, most_intervals=8)
    assert [bool(each.faults) for each in several] == [False, True, False]
    found = summary(several, forced=False)
    assert [each["seed"] for each in found["failed"]] == [-1]
    assert "ValueError" in found["failed"][0]["faults"][0]
    assert not found["holds"]


def test_the_floor_counts_shares_and_the_median() -> None:
    good = [outcome(k) for k in range(95)]
    assert summary([*good, *[outcome(k, 0.1) for k in range(5)]], forced=False)["holds"]
    assert not summary([*good, *[outcome(k, 0.1) for k in range(6)]], forced=False)["holds"]
    assert not summary([outcome(k, 1e-5) for k in range(100)], forced=False)["holds"]
    assert summary([outcome(k, 0.1) for k in range(10)], forced=True)["holds"]


@pytest.mark.parametrize(("faults", "code"), [((), 0), (("bound 2 above the optimum 1",), 1)])
def test_the_command_prints_the_distribution_and_fails_if_something_does(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, faults: tuple[str, ...], code: int
) -> None:
    def instead(seeds: Sequence[int], *, told: Callable[[Outcome], None], **_: Any) -> list[Outcome]:
        made = [outcome(seed, faults=faults if seed == 8 else ()) for seed in seeds]
        for each in made:
            told(each)
        return made

    monkeypatch.setattr(bench, "exactness", instead)
    out = tmp_path / "found.json"
    asked = ["exactness", "--fleets", "3", "--seed", "7"]
    said = CliRunner().invoke(bench_app, [*asked, "--json", "--out", str(out)])
    assert said.exit_code == code
    found = json.loads(out.read_text(encoding="utf-8"))
    assert found["fleets"] == 3
    assert found["true_gap"]["share_within"]["0.001"] == 1.0
    assert [each["seed"] for each in found["failed"]] == ([8] if faults else [])
    text = CliRunner().invoke(bench_app, asked)
    assert text.exit_code == code
    assert "3 fleets, as it is" in text.output
    assert ("seed 8: bound 2 above" in text.output) == bool(faults)
