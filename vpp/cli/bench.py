"""``vpp bench``: how long the dispatch of a city takes on this machine, and what it is worth against others."""

import json
import time
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress

from models.errors import InputError, InputFault
from models.resources import ResourceKind
from vpp.bench.dispatch import MOST_COMPARED, BenchCase, bench_dispatch
from vpp.bench.exactness import Outcome, exactness, summary
from vpp.bench.machine import described, machine
from vpp.bench.plot import scaling_svg
from vpp.bench.problem import Cycle
from vpp.bench.series import SIZES, bench_series
from vpp.cli.bench_baselines import bench_baselines

bench_app = typer.Typer(help="Benchmarks: seeded city fleets of any size.", no_args_is_help=True)

Kinds = Annotated[str | None, typer.Option(help="Only these kinds, with commas between them; default all.")]
Zones = Annotated[int, typer.Option(min=1, max=99, help="How many zones.")]
CycleOption = Annotated[Cycle, typer.Option(help="Horizon; real-time measures the second, warm solve.")]
Seed = Annotated[int, typer.Option(min=0, help="The same seed gives the same city.")]
Gap = Annotated[float, typer.Option(min=0, help="Relative gap at which the solver may stop.")]
Limit = Annotated[float, typer.Option("--time-limit", min=1, help="Deadline of every solve, s.")]
Scopes = Annotated[bool, typer.Option("--scopes", help="Also events of every scope, and commitments.")]
Check = Annotated[bool, typer.Option(help="Check the plan independently.")]
Write = Annotated[bool, typer.Option(help="Write the plan folder (into a temporary one).")]
Out = Annotated[Path | None, typer.Option(help="Write the JSON here too.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]


@bench_app.command("dispatch")
def dispatch(
    resources: Annotated[int, typer.Option(min=12, help="How many devices.")] = 10_000,
    kinds: Kinds = None,
    zones: Zones = 23,
    cycle: CycleOption = Cycle.DAY_AHEAD,
    seed: Seed = 1,
    compare: Annotated[
        bool | None,
        typer.Option(help="Also by the Pyomo reference and by HiGHS alone; default up to 10 000 devices."),
    ] = None,
    time_limit: Limit = 600.0,
    gap: Gap = 1e-4,
    scopes: Scopes = False,
    check: Check = True,
    write: Write = True,
    out: Out = None,
    as_json: AsJson = False,
) -> None:
    """One fleet: seconds, gap, memory, whether limits bound; beside it the same problem by the others."""
    case = BenchCase(resources, zones, seed, _kinds(kinds), cycle, scopes, gap, time_limit, check, write)
    beside = compare if compare is not None else resources <= MOST_COMPARED and cycle is Cycle.DAY_AHEAD
    found = bench_dispatch(case, compare=beside)
    _told(found, out, as_json)
    if not as_json:
        Console().print(described(found["machine"]), highlight=False)
        _show(found)
    if "failed" in found["fast"]:
        raise typer.Exit(1)


@bench_app.command("series")
def series(
    sizes: Annotated[str, typer.Option(help="Devices, with commas between them.")] = ",".join(map(str, SIZES)),
    kinds: Kinds = None,
    zones: Zones = 23,
    cycle: CycleOption = Cycle.DAY_AHEAD,
    seed: Seed = 1,
    compare_up_to: Annotated[int, typer.Option(min=0, help="Compare with the others up to so many devices.")] = 0,
    time_limit: Limit = 600.0,
    gap: Gap = 1e-4,
    scopes: Scopes = False,
    check: Check = True,
    write: Write = True,
    plot: Annotated[Path | None, typer.Option(help="Draw the series into this SVG file.")] = None,
    out: Out = None,
    as_json: AsJson = False,
) -> None:
    """The same city at growing sizes, and the exponent with which the time grows."""
    case = BenchCase(0, zones, seed, _kinds(kinds), cycle, scopes, gap, time_limit, check, write)
    wanted = _sizes(sizes)
    found = bench_series(case, wanted, compare_up_to=compare_up_to, told=None if as_json else _show)
    if plot is not None:
        plot.write_text(scaling_svg(found), encoding="utf-8")
    _told(found, out, as_json)
    if not as_json:
        grows = "unknown" if found["exponent"] is None else f"{found['exponent']:.3f}"
        Console().print(f"exponent from 10 000 devices on: {grows}; {described(found['machine'])}", highlight=False)
    if any("failed" in run["fast"] for run in found["runs"]):
        raise typer.Exit(1)


@bench_app.command("exactness")
def exact(
    fleets: Annotated[int, typer.Option(min=1, help="How many random small fleets.")] = 1_000,
    seed: Annotated[int, typer.Option(min=0, help="The first fleet's seed; the next has the next.")] = 0,
    forced: Annotated[bool, typer.Option("--forced", help="Column generation, however small the fleet.")] = False,
    processes: Annotated[int, typer.Option(min=1, help="Fleets at the same time.")] = 2,
    most_resources: Annotated[int, typer.Option(min=3, help="Devices at most.")] = 16,
    most_intervals: Annotated[int, typer.Option(min=8, help="Intervals at most.")] = 32,
    out: Out = None,
    as_json: AsJson = False,
) -> None:
    """Small random fleets of all kinds and scopes: the fast path against the reference's optimum and the checker."""
    console = Console(stderr=True)
    with Progress(console=console, disable=as_json or not console.is_terminal) as progress:
        task = progress.add_task("fleets", total=fleets)

        def told(outcome: Outcome) -> None:
            progress.advance(task)
            for fault in outcome.faults:
                console.print(f"seed {outcome.seed}: {fault}", style="red", highlight=False, soft_wrap=True)

        began = time.perf_counter()
        outcomes = exactness(
            range(seed, seed + fleets),
            forced=forced,
            processes=processes,
            most_resources=most_resources,
            most_intervals=most_intervals,
            told=told,
        )
    found = summary(outcomes, forced=forced) | {"wall_s": time.perf_counter() - began, "machine": machine()}
    _told(found, out, as_json)
    if not as_json:
        _show_exactness(found)
    if not found["holds"]:
        raise typer.Exit(1)


def _show_exactness(found: dict[str, Any]) -> None:
    console, true = Console(), found["true_gap"]
    lines = [f"{found['fleets']} fleets, {found['mode']}: {found['violations']} faults, {found['wall_s']:.0f} s"]
    if true:
        shares = ", ".join(f"{share:.1%} within {within:g}" for within, share in true["share_within"].items())
        lines.append(f"  true gap: {shares}; median {true['median']:.1e}, largest {true['max']:.1e}")
        printed = found["printed_gap"]
        lines.append(f"  printed gap: median {printed['median']:.1e}, largest {printed['max']:.1e}")
    failed = ", ".join(str(each["seed"]) for each in found["failed"])
    lines += [f"  failed seeds: {failed}"] if failed else []
    console.print("\n".join(lines), highlight=False, soft_wrap=True)


def _told(found: dict[str, Any], out: Path | None, as_json: bool) -> None:
    text = json.dumps(found, ensure_ascii=False, default=str)
    if out is not None:
        out.write_text(text + "\n", encoding="utf-8")
    if as_json:
        typer.echo(text)


def _kinds(text: str | None) -> tuple[str, ...] | None:
    if text is None:
        return None
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    wrong = [name for name in names if name not in set(ResourceKind)]
    if wrong or not names:
        rule = f"must be among {', '.join(ResourceKind)}"
        raise InputError([InputFault("bench", "kinds", name, rule) for name in wrong or [text]])
    return names


def _sizes(text: str) -> list[int]:
    parts = [part.strip().replace("_", "") for part in text.split(",") if part.strip()]
    wrong = [part for part in parts if not part.isdigit() or int(part) < 12]
    if wrong or not parts:
        rule = "must be whole numbers from 12 on"
        raise InputError([InputFault("bench", "sizes", part, rule) for part in wrong or [text]])
    return [int(part) for part in parts]


def _show(found: dict[str, Any]) -> None:
    """One run in a few lines."""
    console, fast, case = Console(), found["fast"], found["case"]
    if "failed" in fast:
        console.print(f"{case['resources']:,} devices: {fast['failed']}", style="red", highlight=False)
        return
    held = fast["conditions"]
    spans = " ".join(f"{name} {fast[name]:.2f}" for name in _SPANS if name in fast)
    reached = f"gap {fast['gap']:.2e}, {fast['passes'] or 0:.0f} passes, {fast['peak_rss_mb']:.0f} MB"
    cost = f"objective {fast['objective_cny']:,.2f} CNY, bound {fast['lower_bound_cny']:,.2f}"
    binding = f"zone limits binding {held['zone_limits_tight_share']:.1%}, rows with a price {held['priced_rows']}"
    lines = [
        f"{case['resources']:,} devices, {case['zones']} zones, {fast['intervals']} intervals: {spans}",
        f"  {reached}, {cost}",
        f"  {binding}, unmet {held['unmet_kwh_total']:.3g} kWh, integer devices {held['integer_share']:.1%}",
    ]
    if "check_ok" in fast:
        lines.append("  check: nothing is off" if fast["check_ok"] else f"  check: {fast['violations']} violations")
    for name, other in found.get("compared", {}).items():
        if "failed" in other:
            lines.append(f"  {name}: {other['failed']}")
        elif "times_slower" in other:
            above = f"ours above it by {other['fast_objective_above']:.1e} of the gap's scale"
            lines.append(f"  {name}: {other['wall_s']:.2f} s, {other['times_slower']:.1f} x; {above}")
    console.print("\n".join(lines), highlight=False)


_SPANS = ("load_s", "prepare_s", "cold_wall_s", "wall_s", "write_s", "check_s")


bench_app.command("baselines")(bench_baselines)
for _entry in entry_points(group="vpp.bench"):  # whole days need the far side of the wires, which is not imported here
    bench_app.command(_entry.name)(_entry.load())
