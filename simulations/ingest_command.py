"""``vpp bench ingest`` at the command line (found by entry point)."""

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer

from models.errors import InputError, InputFault
from simulations.ingest import IngestSetup, cases, run_ingest
from vpp.bench.result import give_result

KINDS = ("batches", "singles")


def bench_ingest(
    resources: Annotated[int, typer.Option(min=10, max=200_000, help="How many devices report.")] = 20_000,
    aggregators: Annotated[int, typer.Option(min=1, max=100, help="How many gateways they sit behind.")] = 10,
    readings_per_message: Annotated[int, typer.Option(min=2, max=5_000, help="In a batch.")] = 2_000,
    seconds: Annotated[float, typer.Option(min=1, max=3_600, help="How long each case is measured.")] = 30.0,
    warm_up_s: Annotated[float, typer.Option(min=0, max=600, help="Before that, not counted.")] = 5.0,
    only: Annotated[str | None, typer.Option("--cases", help="batches, singles or both with a comma.")] = None,
    restarts: Annotated[bool, typer.Option(help="Each also with a broker that is killed in the middle.")] = True,
    rate: Annotated[
        float | None, typer.Option(min=1, help="Readings a second of all together; else as fast as they are taken.")
    ] = None,
    database: Annotated[str | None, typer.Option(help="An empty postgresql://… ; else SQLite in a file.")] = None,
    broker: Annotated[str, typer.Option(help="auto, mosquitto or embedded.")] = "auto",
    out: Annotated[Path | None, typer.Option(help="Write the JSON here too.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Readings a second into the database of a running service, and whether any is lost when the broker dies."""
    kinds = _kinds(only)
    wanted = [each for each in cases(readings_per_message, rate, restarts=restarts) if each.name.startswith(kinds)]
    setup = IngestSetup(resources, aggregators, database, broker, seconds, warm_up_s)

    def told(case: dict[str, Any]) -> None:
        if not as_json:
            typer.echo(_line(case))

    with TemporaryDirectory(prefix="vpp-ingest-") as folder:
        found = asyncio.run(run_ingest(setup, wanted, Path(folder), told))
    give_result("ingest", found, (), out=out, as_json=as_json)
    if any(case.get(name) for case in found for name in ("lost", "duplicated", "wrong", "refused")):
        raise typer.Exit(1)


def _kinds(said: str | None) -> tuple[str, ...]:
    names = KINDS if said is None else tuple(part.strip() for part in said.split(",") if part.strip())
    if not names or set(names) - set(KINDS):
        raise InputError([InputFault("bench", "cases", said, f"must be among {', '.join(KINDS)}")])
    return names


def _line(case: dict[str, Any]) -> str:
    if "ready_s" in case:
        return f"{case['name']}: ready again {case['ready_s']:.1f} s after its start, with {case['rows']:,} readings"
    cores = ", ".join(f"{name} {case[f'{name}_cores']:.2f}" for name in ("service", "writer", "broker"))
    return (
        f"{case['name']}: {case['readings_per_s']:,.0f} readings/s in {case['messages_per_s']:,.1f} messages/s "
        f"for {case['seconds']:g} s ({case['database']}, {case['broker']}); {case['readings']:,} sent, "
        f"{case['lost']} lost, {case['duplicated']} duplicated; receipt after {case['latency_p50_s']:.2f} s "
        f"(p99 {case['latency_p99_s']:.2f}); cores: {cores}"
    )
