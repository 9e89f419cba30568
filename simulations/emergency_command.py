"""``vpp bench emergency`` at the command line (found by entry point)."""

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from simulations.emergency_bench import EmergencySetup, run_emergency
from vpp.bench.result import give_result


def bench_emergency(
    resources: Annotated[int, typer.Option(min=100, max=2_000_000, help="How many devices.")] = 20_000,
    approvals: Annotated[int, typer.Option(min=1, max=10_000, help="How many emergencies, one after the other.")] = 200,
    aggregators: Annotated[int, typer.Option(min=1, max=500, help="How many gateways they sit behind.")] = 20,
    time_limit: Annotated[float, typer.Option(min=1, help="Then no further call is made, s.")] = 240.0,
    broker: Annotated[str, typer.Option(help="auto, mosquitto or embedded.")] = "auto",
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same fleet.")] = 1,
    out: Annotated[Path | None, typer.Option(help="Write the JSON here too.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Seconds from the approval of an emergency, its window open, to the first setpoint at a gateway."""
    setup = EmergencySetup(resources, aggregators, approvals, time_limit, broker, seed)
    with TemporaryDirectory(prefix="vpp-emergency-") as folder:
        told = (lambda _: None) if as_json else typer.echo
        case = asyncio.run(run_emergency(setup, Path(folder), told))
    line = (
        f"{case['resources']:,} devices, {case['approvals']} calls of {case['called']:,}: first setpoint p50 "
        f"{case['first_setpoint_p50_s']:.3f} s, p99 {case['first_setpoint_p99_s']:.3f} s, max "
        f"{case['first_setpoint_max_s']:.3f} s; last p50 {case['last_setpoint_p50_s']:.2f} s; "
        f"{case['peak_rss_mb']:,.0f} MB"
    )
    give_result("emergency", [case], [line], out=out, as_json=as_json)
