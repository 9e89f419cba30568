"""``vpp plan``, ``vpp check`` and ``vpp portfolio``: plans of portfolio folders, the independent check, the folders.

Exit codes: 0 done, 1 the work failed (no plan, or violations), 2 wrong usage or input.
"""

import contextlib
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from adapters.feeds.city_folder import write_city
from adapters.feeds.plan_folder import read_claims, read_plan, write_plan, write_plan_stream
from adapters.feeds.plan_stream import open_plan_stream
from adapters.feeds.portfolio_folder import portfolio_schemas, read_portfolio, write_portfolio
from adapters.feeds.tables import Format
from models.dispatch.check import CheckReport, PlanClaims, check_plan, check_stream
from models.dispatch.problem import DispatchProblem
from models.errors import InputError, InputFault, PortfolioError, SolverError
from models.plan import DispatchPlan
from models.plan_stream import PlanStream
from vpp.cli.plan_answers import plan_facts, print_json, report_facts, show_faults, show_plan, show_report
from vpp.cli.solving import Made, Tell, solve_as_stream, solve_in_worker
from vpp.clock import SystemClock
from vpp.example_city import example_city
from vpp.example_portfolio import example_problem

portfolio_app = typer.Typer(
    help="Portfolio folders: an example, their validation, their schemas.", no_args_is_help=True
)

BOUND_UNASKED = 10_000
"""Resources up to which a check recomputes the lower bound without being asked."""

STREAMED_ABOVE = 50_000
"""Resources above which a plan is made, written, read and checked block by block."""

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]


class SolverName(StrEnum):
    """Solvers that can be asked for."""

    FAST = "fast"
    REFERENCE = "reference"


class FormatName(StrEnum):
    """Formats of a portfolio folder's tables."""

    CSV = "csv"
    PARQUET = "parquet"


def plan(
    portfolio: Annotated[Path, typer.Argument(help="Portfolio folder.")],
    out: Annotated[Path, typer.Option(help="Plan folder to write.")],
    solver: Annotated[
        SolverName, typer.Option(help="Who makes the plan: fast for any size, reference for some hundreds.")
    ] = SolverName.FAST,
    gap: Annotated[float, typer.Option(min=0, help="Relative gap at which the solver may stop.")] = 1e-4,
    deadline_s: Annotated[float, typer.Option(min=0.1, help="Wall-clock deadline of the solve, s.")] = 60.0,
    baseline: Annotated[Path | None, typer.Option(help="Plan folder whose baseline table shall be used.")] = None,
    check_bound: Annotated[
        bool | None,
        typer.Option(help="Let the check recompute the lower bound too. [default: up to 10 000 resources]"),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Make the day-ahead plan of a portfolio folder, check it independently, and publish it only if nothing is off."""
    began = time.perf_counter()
    with _input_errors(as_json), _progress("reading", as_json):
        problem = _with_baseline(read_portfolio(portfolio), baseline)
    loaded = time.perf_counter()
    with _solver_errors(as_json), _progress("getting the solver ready", as_json) as tell:
        made = _solve(problem, solver, deadline_s, gap, tell)
    solved = time.perf_counter()
    with _progress("checking", as_json):
        report = _check(problem, made.plan, check_bound)
    checked = time.perf_counter()
    if report.ok:
        with _progress("writing", as_json):
            _write(out, made.plan, problem)
    spans = {
        "load_s": loaded - began,
        "wall_s": solved - loaded,
        "check_s": checked - solved,
        "write_s": time.perf_counter() - checked,
    }
    facts = {"solver": solver.value, **made.facts, **plan_facts(made.plan, report)}
    summary = {"plan": str(out) if report.ok else None, **facts, **spans, **report_facts(report)}
    if as_json:
        print_json(summary)
    else:
        show_plan(made.plan, report, spans, out)
    if not report.ok:
        raise typer.Exit(1)


def check(
    portfolio: Annotated[Path, typer.Argument(help="Portfolio folder.")],
    plan_folder: Annotated[Path, typer.Argument(metavar="PLAN", help="Plan folder.")],
    bound: Annotated[
        bool | None,
        typer.Option(help="Recompute the lower bound at the plan's prices. [default: up to 10 000 resources]"),
    ] = None,
    baseline: Annotated[Path | None, typer.Option(help="Plan folder whose baseline table the plan must have.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Check a plan without the solver: every limit of every device, every sum, cost, fingerprint and the bound."""
    with _input_errors(as_json):
        problem = _with_baseline(read_portfolio(portfolio), baseline)
        claims = read_claims(plan_folder)
        with _progress("checking", as_json):
            report = _check_folder(problem, plan_folder, claims, bound)
    if as_json:
        print_json({**report_facts(report), "checked": str(plan_folder)})
    else:
        show_report(report)
    if not report.ok:
        raise typer.Exit(1)


def _check_folder(problem: DispatchProblem, plan_folder: Path, claims: PlanClaims, bound: bool | None) -> CheckReport:
    """The check of a plan folder; a large one is read and checked block by block."""
    if len(problem.fleet.resource_ids) > STREAMED_ABOVE:
        return _check(problem, open_plan_stream(plan_folder, problem), bound, claims)
    return _check(problem, read_plan(plan_folder, problem), bound, claims)


def _check(
    problem: DispatchProblem, made: DispatchPlan | PlanStream, bound: bool | None, claims: PlanClaims | None = None
) -> CheckReport:
    """The check of a plan, in memory or block by block; ``bound`` None: recomputed unless the fleet is large."""
    bound = len(problem.fleet.resource_ids) <= BOUND_UNASKED if bound is None else bound
    if isinstance(made, DispatchPlan):
        return check_plan(problem, made, bound=bound, claims=claims)
    return check_stream(problem, made, bound=bound, claims=claims)


def _write(out: Path, made: DispatchPlan | PlanStream, problem: DispatchProblem) -> None:
    if isinstance(made, DispatchPlan):
        write_plan(out, made, problem, violations=0)
    else:
        write_plan_stream(out, made, problem, violations=0)


@portfolio_app.command("new")
def new(
    folder: Annotated[Path, typer.Argument(help="Folder to write; must be new or empty.")],
    resources: Annotated[int, typer.Option(min=12, help="How many resources.")] = 40,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same folder.")] = 1,
    fmt: Annotated[FormatName, typer.Option("--format", help="Format of the tables.")] = FormatName.CSV,
    city: Annotated[
        bool, typer.Option("--city", help="Only system, tariffs and areas, from today on: what vpp serve needs.")
    ] = False,
    days: Annotated[int, typer.Option(min=2, max=60, help="How many days, with --city.")] = 7,
    as_json: JsonOption = False,
) -> None:
    """Write an example: all eight kinds of resource, three zones, an area, three events in two windows, commitments."""
    if city:
        _new_city(folder, days, as_json)
        return
    with _input_errors(as_json):
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise PortfolioError([InputFault(str(folder), "FOLDER", str(folder), "must be new or empty")])
    problem = example_problem(resources, seed)
    suffix: Format = "parquet" if fmt is FormatName.PARQUET else "csv"
    with _progress("writing", as_json):
        write_portfolio(folder, problem, suffix)
    names = sorted(path.name for path in folder.iterdir())
    if as_json:
        print_json({"folder": str(folder), "resources": len(problem.fleet.resource_ids), "tables": names})
        return
    Console().print(
        f"{folder}: {len(problem.fleet.resource_ids)} resources, tables {', '.join(names)}", highlight=False
    )


def _new_city(folder: Path, days: int, as_json: bool) -> None:
    tables = example_city(SystemClock().now(), days)
    with _input_errors(as_json):
        write_city(folder, tables)
    if as_json:
        print_json({"folder": str(folder), "start": str(tables.grid.start), "end": str(tables.grid.end)})
        return
    zones, tariffs = ", ".join(tables.zones), ", ".join(tables.tariffs)
    Console().print(f"{folder}: zones {zones}; tariffs {tariffs}; next: vpp serve --system {folder}", highlight=False)


@portfolio_app.command("validate")
def validate(folder: Annotated[Path, typer.Argument(help="Portfolio folder.")], as_json: JsonOption = False) -> None:
    """Read a folder and list every fault at once: file, row, column, value, rule."""
    try:
        with _progress("reading", as_json):
            problem = read_portfolio(folder)
    except PortfolioError as error:
        show_faults(error, as_json)
    facts = {
        "valid": True,
        "resources": len(problem.fleet.resource_ids),
        "intervals": len(problem.grid),
        "zones": len(problem.zones),
        "events": len(problem.events),
        "faults": [],
    }
    if as_json:
        print_json(facts)
        return
    shown = ", ".join(f"{value} {name}" for name, value in facts.items() if name not in ("valid", "faults"))
    Console().print(f"{folder}: valid ({shown})", highlight=False)


@portfolio_app.command("schema")
def schema(
    out: Annotated[Path | None, typer.Option(help="Folder for one file per table; else everything is printed.")] = None,
    as_json: JsonOption = False,
) -> None:
    """The JSON Schemas of all tables of a portfolio folder, one row each."""
    schemas = portfolio_schemas()
    if out is None:
        print_json(schemas)
        return
    out.mkdir(parents=True, exist_ok=True)
    for name, content in schemas.items():
        (out / f"{name}.schema.json").write_text(json.dumps(content, indent=2) + "\n", "utf-8")
    if as_json:
        print_json({"folder": str(out), "tables": sorted(schemas)})
    else:
        Console().print(f"{out}: {len(schemas)} schemas", highlight=False)


# ---- what the commands share


def _with_baseline(problem: DispatchProblem, baseline: Path | None) -> DispatchProblem:
    if baseline is None:
        return problem
    return replace(problem, baseline_kw=read_plan(baseline, problem).baseline_kw)


def _solve(problem: DispatchProblem, solver: SolverName, deadline_s: float, gap: float, tell: Tell) -> Made:
    resources = len(problem.fleet.resource_ids)
    who = f"{solver.value} solver, {resources} resources, {len(problem.grid)} intervals"

    def solving(text: str) -> None:
        tell(f"{who}: {text}")

    is_fast = solver is SolverName.FAST
    if is_fast and resources > STREAMED_ABOVE:
        return solve_as_stream(problem, deadline_s=deadline_s, gap=gap, starting=tell, solving=solving)
    return solve_in_worker(problem, is_fast=is_fast, deadline_s=deadline_s, gap=gap, starting=tell, solving=solving)


@contextlib.contextmanager
def _solver_errors(as_json: bool) -> Iterator[None]:
    try:
        yield
    except SolverError as error:
        if as_json:
            print_json({"plan": None, "error": str(error), "retryable": error.retryable})
        else:
            Console(stderr=True).print(f"error: {error}", style="red", highlight=False)
        raise typer.Exit(1) from error


@contextlib.contextmanager
def _progress(what: str, as_json: bool) -> Iterator[Tell]:
    """A spinner with what is going on, on a terminal and not beside JSON; gives what changes its text."""
    console = Console(stderr=True, highlight=False)
    if as_json or not console.is_terminal:
        yield lambda _: None
        return
    with console.status(what) as status:
        yield lambda text: status.update(escape(text))


@contextlib.contextmanager
def _input_errors(as_json: bool) -> Iterator[None]:
    try:
        yield
    except InputError as error:
        show_faults(error, as_json)
