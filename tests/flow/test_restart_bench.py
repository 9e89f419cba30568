"""``vpp bench restart`` finds a service that is of use again, and its event still running."""

import re
from pathlib import Path

import pytest

from simulations.restart_bench import RestartSetup, run_restart


async def test_a_killed_service_is_of_use_again_and_its_event_runs(tmp_path: Path) -> None:
    setup = RestartSetup(resources=100, aggregators=2, telemetry_s=600.0, hours=11.0, starts=1)
    said: list[str] = []
    case = await run_restart(setup, tmp_path, said.append)
    assert case["readings"] == 100 * 67
    (ready_s,), (order_s,) = case["ready_s"], case["first_order_s"]
    assert 0.0 < ready_s < 120.0
    assert 0.0 < order_s < 180.0
    assert said[0] == "100 devices registered"
    assert said[-2] == "6,700 readings in the database"
    told = re.fullmatch(r"ready (\S+) s after its start, first order of a new plan after (\S+) s", said[-1])
    assert told is not None, said[-1]
    # What is said has one decimal, what is kept has two: a half may be rounded to either side.
    assert [float(each) for each in told.groups()] == pytest.approx([ready_s, order_s], abs=0.06)
