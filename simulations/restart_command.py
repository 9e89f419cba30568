"""``vpp bench restart`` at the command line (found by entry point)."""

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from simulations.restart_bench import RestartSetup, run_restart
from vpp.bench.result import give_result


def bench_restart(
    resources: Annotated[int, typer.Option(min=100, max=1_000_000, help="How many devices.")] = 20_000,
    telemetry_s: Annotated[float, typer.Option(min=10, max=3600, help="They have reported so often.")] = 300.0,
    hours: Annotated[float, typer.Option(min=1, max=48, help="For so long.")] = 24.0,
    starts: Annotated[int, typer.Option(min=1, max=20, help="So many starts, each after a kill -9.")] = 3,
    broker: Annotated[str, typer.Option(help="auto, mosquitto or embedded.")] = "auto",
    out: Annotated[Path | None, typer.Option(help="Write the JSON here too.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Seconds from the start of a killed service until it is of use again, with a day in its database."""
    setup = RestartSetup(resources, telemetry_s=telemetry_s, hours=hours, starts=starts, broker=broker)
    with TemporaryDirectory(prefix="vpp-restart-") as folder:
        told = (lambda _: None) if as_json else typer.echo
        case = asyncio.run(run_restart(setup, Path(folder), told))
    ready, order = (", ".join(f"{each:.1f}" for each in case[name]) for name in ("ready_s", "first_order_s"))
    lived = f"{case['resources']:,} devices, {case['readings']:,} readings, an event running"
    line = f"{lived}: ready after {ready} s, first order of a new plan at a gateway after {order} s"
    give_result("restart", [case], [line], out=out, as_json=as_json)
