"""The command ``vpp bench event`` (found by entry point)."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import TypeAdapter
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from models.errors import InputError, InputFault
from simulations.event_bench import EventBench, event_days
from simulations.event_cases import MATRIX, FaultCase, judged
from simulations.event_days import EventDayScore, summary_of
from simulations.event_report import plot_svg, table
from vpp.bench.code import code_sha256
from vpp.bench.machine import described, machine

PLOT_FILE = "fault-matrix.svg"


def bench_event(
    days: Annotated[int, typer.Option(min=1, help="Event days, each with a seed of its own.")] = 4,
    resources: Annotated[int, typer.Option(min=90, max=2000, help="How many devices to simulate.")] = 90,
    seed: Annotated[int, typer.Option(min=0, help="The first day's seed; the next has the next.")] = 0,
    silent: Annotated[
        float, typer.Option(min=0, max=0.9, help="Share of the devices that falls silent in each event.")
    ] = 0.2,
    faults: Annotated[bool, typer.Option("--faults", help="The whole fault matrix: every case on every day.")] = False,
    case: Annotated[
        list[str] | None, typer.Option(help=f"Only this case of the matrix: {', '.join(each.name for each in MATRIX)}.")
    ] = None,
    days_per_fleet: Annotated[int, typer.Option(min=1, help="So many days of one fleet, then another.")] = 20,
    cycle_s: Annotated[float, typer.Option(min=60, max=300, help="The service plans so often around events.")] = 300.0,
    telemetry_s: Annotated[float, typer.Option(min=15, max=300, help="Devices report so often.")] = 300.0,
    processes: Annotated[int, typer.Option(min=1, help="Fleets at the same time.")] = 2,
    plot: Annotated[
        Path | None,
        typer.Option(
            help=f"Draw every judged hour into this SVG file. The whole matrix draws one anyway: {PLOT_FILE}."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Write the JSON here too, day by day; days that stand in it are not run again.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Whole event days under faults through the service: how often the order is kept, hour by hour."""
    cases = _named(case) if case else MATRIX if faults else (judged(silent),)
    bench = EventBench(resources, cases, days, days_per_fleet, seed, cycle_s, telemetry_s)
    console, scores = Console(stderr=True), _kept(out, bench)
    bench = replace(bench, done=frozenset((each.seed, each.case) for each in scores))
    columns = (BarColumn(bar_width=30), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("", total=sum(len(bench.left(each)) for each in bench.fleets()))
        told = lambda text: progress.update(task, description=text)  # noqa: E731
        for each in event_days(bench, processes=processes, told=told):
            scores.append(each)
            progress.advance(task)
            console.print(_line(each), highlight=False, soft_wrap=True)
            if out is not None:  # hours of work: what is known so far is kept
                out.write_text(_json(bench, scores), encoding="utf-8")
    scores.sort(key=lambda each: (each.seed, each.case))
    if as_json:
        typer.echo(_json(bench, scores))
    else:
        Console().print(table(bench.cases, scores))
    plot = _plot_of_matrix(out) if plot is None and faults and not case else plot
    if plot is not None:
        plot.write_text(plot_svg(bench.cases, scores, described(machine())), encoding="utf-8")
        console.print(f"每个小时的图 every judged hour: {plot.absolute()}", highlight=False, soft_wrap=True)
    if any(each.invariants_broken for each in scores):
        raise typer.Exit(1)


def _plot_of_matrix(out: Path | None) -> Path:
    """Where the whole matrix is drawn if nobody says otherwise: beside ``out``, else in the present folder."""
    return Path(PLOT_FILE) if out is None else out.with_suffix(".svg")


def _json(bench: EventBench, scores: list[EventDayScore]) -> str:
    """What was found so far, in the order of days."""
    ordered = sorted(scores, key=lambda each: (each.seed, each.case))
    found: dict[str, Any] = {"benchmark": "event", "machine": machine(), **_made_by(bench)}
    found["cases"] = [each.as_dict() for each in ordered]
    by_case = {
        name: [each for each in ordered if each.case == name] for name in sorted({each.case for each in ordered})
    }
    found["all"] = {name: summary_of(each) for name, each in by_case.items() if each}
    return json.dumps(found, ensure_ascii=False, indent=1)


def _made_by(bench: EventBench) -> dict[str, Any]:
    """What must be the same for days to be put together."""
    same = ("resources", "days_per_fleet", "cycle_s", "telemetry_s")
    return {"code_sha256": code_sha256(), **{name: getattr(bench, name) for name in same}}


def _kept(out: Path | None, bench: EventBench) -> list[EventDayScore]:
    """The days that an earlier run has left in ``out``; ``InputError`` if they are of something else."""
    if out is None or not out.exists():
        return []
    try:
        found = json.loads(out.read_text(encoding="utf-8"))
        scores = TypeAdapter(list[EventDayScore]).validate_python(found["cases"])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError([InputFault(str(out), "cases", "?", f"must be what this bench wrote: {error}")]) from error
    for name, value in _made_by(bench).items():
        if found.get(name) != value:
            rule = f"days of this run would have {value}: name another file, or remove this one"
            raise InputError([InputFault(str(out), name, str(found.get(name)), rule)])
    return scores


def _named(names: list[str]) -> tuple[FaultCase, ...]:
    known = {each.name: each for each in MATRIX}
    for name in names:
        if name not in known:
            raise InputError([InputFault("command line", "--case", name, f"must be one of {', '.join(known)}")])
    return tuple(known[name] for name in names)


def _line(each: EventDayScore) -> str:
    return (
        f"day {each.seed} {each.case}: {each.hours} hours, in band {each.hours_in_band_share:.0%} "
        f"(true {each.hours_in_band_true_share:.0%}), accuracy {each.accuracy_mean:.1%} "
        f"(true {each.accuracy_true_mean:.1%}), worst {each.worst_ratios}, "
        f"rebound {'ok' if each.rebound_ok else 'TOO HIGH'}, {each.wall_s:.0f} s {each.invariants_broken or ''}"
    )
