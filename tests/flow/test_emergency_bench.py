"""The bench of emergencies, small: every call arrives, and after it every device is as it was."""

from pathlib import Path

from simulations.emergency_bench import EmergencySetup, run_emergency


async def test_every_call_arrives_and_the_next_finds_the_same_devices(tmp_path: Path) -> None:
    lines: list[str] = []
    case = await run_emergency(EmergencySetup(resources=300, aggregators=3, approvals=3), tmp_path, lines.append)
    assert case["approvals"] == 3
    assert 30 < case["called"] < 300
    assert 0 < case["first_setpoint_p50_s"] <= case["first_setpoint_p99_s"] <= case["first_setpoint_max_s"] < 20
    assert case["first_setpoint_max_s"] <= case["last_setpoint_max_s"]
    assert lines[0].startswith("300 devices")
