"""``vpp bench restart`` finds a service that is of use again, and its event still running."""

from pathlib import Path

from simulations.restart_bench import RestartSetup, run_restart


async def test_a_killed_service_is_of_use_again_and_its_event_runs(tmp_path: Path) -> None:
    setup = RestartSetup(resources=100, aggregators=2, telemetry_s=600.0, hours=11.0, starts=1)
    said: list[str] = []
    case = await run_restart(setup, tmp_path, said.append)
    assert case["readings"] == 100 * 67
    (took_s,) = case["ready_s"]
    assert 0.0 < took_s < 120.0
    assert said[0] == "100 devices registered"
    assert said[-2:] == ["6,700 readings in the database", f"of use {took_s:.1f} s after its start"]
