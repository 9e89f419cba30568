"""``vpp bench``: figures in JSON, comparisons in processes of their own, the fitted exponent and the plot."""

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from typer.testing import CliRunner

from models.errors import InputError
from vpp.bench.machine import described, machine
from vpp.bench.plot import scaling_svg
from vpp.bench.series import fitted_exponent
from vpp.cli.bench import bench_app

FAST = {"conditions": {}, "gap": 1e-4, "passes": 5.0, "reached_gap": True}
MACHINE = {"cpu": "Some <CPU>", "cores": 2, "memory_gb": 24.0, "system": "Linux x86_64", "python": "3.11.7"}


def _run(size: int, wall_s: float, **compared: float) -> dict[str, Any]:
    others = {name: {"wall_s": value} for name, value in compared.items()}
    case = {"resources": size, "cycle": "day-ahead", "zones": 23}
    return {"case": case, "fast": {**FAST, "wall_s": wall_s}, "machine": MACHINE, "compared": others}


def test_the_exponent_is_that_of_the_power_law_from_ten_thousand_on() -> None:
    line = [(1e3, 5.0), (1e4, 0.1), (1e5, 0.1 * 10**1.05), (1e6, 0.1 * 100**1.05)]
    assert fitted_exponent(line, 1e4) == pytest.approx(1.05)
    assert fitted_exponent(line[:2], 1e4) is None
    assert fitted_exponent([], 1e4) is None


def test_the_plot_is_drawn_to_scale_and_names_its_machine() -> None:
    runs = [_run(1_000, 0.5, reference=50.0, arrays=5.0), _run(10_000, 1.0), _run(1_000_000, 20.0)]
    text = scaling_svg({"runs": runs, "exponent": 0.65, "machine": MACHINE})
    root = ET.fromstring(text)
    assert "Some <CPU>, 2 cores, 24 GB, Python 3.11.7" in "".join(root.itertext())
    places = [(float(dot.get("cx", "")), float(dot.get("cy", ""))) for dot in root.iter() if dot.tag.endswith("circle")]
    assert len(places) == 5
    (x0, y0), (x1, y1), (x2, y2) = places[:3]
    assert (x2 - x1) / (x1 - x0) == pytest.approx(2, abs=0.01), "two decades of size against one"
    assert y0 > y1 > y2, "slower is higher up"
    reference, arrays = places[3:]
    assert reference[0] == arrays[0] == x0
    assert (y0 - arrays[1]) == pytest.approx(arrays[1] - reference[1], abs=0.2), "ten times slower, twice"


def test_a_size_whose_gap_was_not_reached_is_hollow() -> None:
    late = _run(100_000, 60.0)
    late["fast"] = {**late["fast"], "reached_gap": False}
    text = scaling_svg({"runs": [_run(10_000, 1.0), late], "exponent": None, "machine": MACHINE})
    dots = [dot.get("fill") for dot in ET.fromstring(text).iter() if dot.tag.endswith("circle")]
    assert dots[0] != "#fff"
    assert dots[1] == "#fff"


def test_a_plot_of_one_run_has_axes_too() -> None:
    ET.fromstring(scaling_svg({"runs": [_run(1_000, 0.5)], "exponent": None, "machine": MACHINE}))


def test_the_machine_is_described() -> None:
    facts = machine()
    assert facts["cores"] >= 1
    assert facts["memory_gb"] > 0
    assert facts["cpu"] in described(facts)


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        (["dispatch", "--kinds", "pv,windmill"], "kinds"),
        (["dispatch", "--kinds", ","], "kinds"),
        (["series", "--sizes", "100,many"], "sizes"),
        (["series", "--sizes", "3"], "sizes"),
    ],
)
def test_what_cannot_be_measured_is_refused_by_name(arguments: list[str], field: str) -> None:
    result = CliRunner().invoke(bench_app, arguments)
    assert isinstance(result.exception, InputError)
    assert result.exception.faults[0].field == field


@pytest.mark.slow
def test_a_bench_of_a_small_fleet_is_checked_and_compared(tmp_path: Path) -> None:
    out = tmp_path / "bench.json"
    arguments = "dispatch --resources 40 --zones 2 --kinds pv,ev_session,thermal_load --compare --json --time-limit 60"
    result = CliRunner().invoke(bench_app, [*arguments.split(), "--out", str(out)])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found == json.loads(out.read_text())
    fast = found["fast"]
    assert fast["resources"] == 40
    assert fast["check_ok"]
    assert fast["violations"] == 0
    assert fast["checked_objective_cny"] == pytest.approx(fast["objective_cny"], rel=1e-6)
    for span in ("load_s", "prepare_s", "wall_s", "write_s", "check_s"):
        assert fast[span] > 0
    assert fast["wall_s"] == pytest.approx(fast["solve_s"] + fast["hand_out_s"])
    assert set(fast["conditions"]["kinds"]) == {"pv", "ev_session", "thermal_load"}
    for name in ("reference", "arrays"):
        other = found["compared"][name]
        assert other["times_slower"] == pytest.approx(other["wall_s"] / fast["wall_s"])
        assert other["lower_bound_cny"] <= fast["objective_cny"] + 1e-6 * abs(fast["objective_cny"])
        assert abs(other["fast_objective_relative"]) < 0.01


@pytest.mark.slow
def test_real_time_is_measured_warm() -> None:
    arguments = "dispatch --resources 60 --zones 2 --kinds pv,ev_session --cycle real-time --json --time-limit 60"
    result = CliRunner().invoke(bench_app, arguments.split())
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert "compared" not in found
    assert found["fast"]["cold_wall_s"] > 0
    assert found["fast"]["check_ok"]
    assert found["fast"]["intervals"] == 52
