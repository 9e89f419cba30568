"""How large the demo is, and who plans it."""

import inspect
from pathlib import Path

import pytest

from simulations.commands import demo
from simulations.day_setup import REFERENCE_DEVICES, day_settings
from simulations.demo import demo_setup
from vpp.settings import SolverSettings
from vpp.wiring import _real_time_grace_s

MAKEFILE = Path(__file__).parents[3] / "Makefile"


def test_the_command_plays_a_city_of_twenty_thousand_devices_and_make_a_small_one() -> None:
    assert inspect.signature(demo).parameters["resources"].default == 20_000
    recipe = MAKEFILE.read_text(encoding="utf-8").partition("\ndemo:")[2].partition("\n\n")[0]
    assert "vpp demo --resources 300" in recipe


def test_a_small_fleet_is_planned_by_the_readable_model_with_the_deadlines_of_the_service(tmp_path: Path) -> None:
    settings = day_settings(demo_setup(300), tmp_path)
    assert settings.solver.method == "reference"
    assert settings.solver.real_time_deadline_s == SolverSettings().real_time_deadline_s
    assert _real_time_grace_s(settings) == pytest.approx(0.5)


def test_a_large_fleet_is_planned_by_the_fast_path_in_seconds_each_cycle(tmp_path: Path) -> None:
    solver = (settings := day_settings(demo_setup(REFERENCE_DEVICES + 100), tmp_path)).solver
    assert solver.method == "fast"
    assert 5.0 < solver.real_time_deadline_s < 10.0
    assert solver.real_time_deadline_s <= _real_time_grace_s(settings) <= settings.real_time.cycle_s / 10
