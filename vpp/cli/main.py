"""All commands of ``vpp`` in one place; errors of ours become one clear text and the right exit code.

Each command's module is imported when the command is called: ``vpp --help`` must not wait for solvers and servers.
"""

import ast
import importlib
import json
import sys
from importlib.metadata import entry_points, version
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from models.errors import InputError, VppError

OWN = {
    "serve": ("vpp.cli.serve:serve", "Run the service: registration, plans, events, dispatch, HTTP interface."),
    "event": ("vpp.cli.event:event_app", "Events: declare, approve, watch, call off."),
    "statement": ("vpp.cli.statement:statement_app", "Who is paid what for an event: issue, dispute, settle, print."),
    "plan": ("vpp.cli.planning:plan", "Day-ahead plan of a portfolio folder, checked independently."),
    "check": ("vpp.cli.planning:check", "Check a plan without the solver."),
    "explain": ("vpp.cli.explain:explain", "Why this resource, why now; and what one more MW would cost."),
    "portfolio": ("vpp.cli.planning:portfolio_app", "Portfolio folders: an example, their validation, their schemas."),
    "report": ("vpp.cli.report:report", "Report of a result folder as one HTML file, Chinese and English."),
    "bench": ("vpp.cli.bench:bench_app", "Benchmarks: how long the dispatch of a city takes on this machine."),
    "user": ("vpp.cli.admin:user_app", "People and programs that may use the HTTP interface."),
    "aggregator": ("vpp.cli.admin:aggregator_app", "Aggregators: MQTT credentials and API tokens."),
    "audit": ("vpp.cli.audit:audit_app", "The audit log and all that it proves: is anything not as it was recorded?"),
    "backup": ("vpp.cli.admin:backup", "Write the whole state to one file; the service may keep running."),
    "restore": ("vpp.cli.admin:restore", "Fill the database from a backup; stop the service first."),
}
"""Name → where it is, and what the overview says about it."""

HIDDEN = {"warm-up": ("vpp.cli.warm_up:warm_up", "Compile the pricing oracles of the fast solver, once on a machine.")}
"""For ``make`` and container images, not for the overview."""


def _described(target: str) -> str:
    """The first line of a function's docstring, read from its source: importing it would cost seconds."""
    module, _, function = target.partition(":")
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        return ""
    for node in ast.parse(Path(spec.origin).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef) and node.name == function:
            return (ast.get_docstring(node) or "").partition("\n\n")[0]
    return ""


def _commands() -> dict[str, tuple[str, str]]:
    # demo, replay and simulate live on the far side of the wires, which production never imports by itself
    far = {entry.name: (entry.value, _described(entry.value)) for entry in entry_points(group="vpp.commands")}
    return {**{name: far[name] for name in sorted(far)}, **OWN, **HIDDEN}


def _load(name: str, target: str) -> Any:
    module, _, attribute = target.partition(":")
    found = getattr(importlib.import_module(module), attribute)
    if isinstance(found, typer.Typer):
        return typer.main.get_command(found)
    alone = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    alone.command(name)(found)
    return typer.main.get_command(alone)


class _Late(TyperGroup):
    """Shows what it knows of its commands, and imports the one that is called."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The real command instead of its place holder."""
        name, found, rest = super().resolve_command(ctx, args)
        if name is None or found is None:
            return name, found, rest
        return name, _load(name, _COMMANDS[name][0]), rest


app = typer.Typer(
    name="vpp",
    cls=_Late,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(version("vpp-dispatch"))
        raise typer.Exit


@app.callback()
def _vpp(
    _version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say the version and stop.")
    ] = False,
) -> None:
    """虚拟电厂调度 Virtual power plant dispatch: plan, order, dispatch and prove megawatts from thousands of devices.

    First steps: vpp demo shows a whole day; then vpp portfolio new, vpp user add, vpp serve.
    Exit codes: 0 done, 1 the work failed, 2 wrong usage or input.
    """


_COMMANDS = _commands()
for _name, (_target, _help) in _COMMANDS.items():
    app.command(_name, help=_help, hidden=_name in HIDDEN)(lambda: None)


def main() -> None:
    """Run the command line."""
    try:
        app()
    except InputError as error:
        _fail(error, [_facts(fault) for fault in error.faults], 2)
    except VppError as error:
        _fail(error, [], 1)


def _facts(fault: Any) -> dict[str, Any]:
    value = fault.value if isinstance(fault.value, str | int | float | bool | None) else str(fault.value)
    return {"place": fault.place, "row": fault.row, "field": fault.field, "value": value, "rule": fault.rule}


def _fail(error: VppError, faults: list[dict[str, Any]], code: int) -> None:
    if "--json" in sys.argv:
        sys.stdout.write(json.dumps({"error": str(error), "faults": faults}, ensure_ascii=False, default=str) + "\n")
    lines = [str(fault) for fault in error.faults] if isinstance(error, InputError) else [str(error)]
    sys.stderr.write("".join(f"错误 error: {line}\n" for line in lines))
    sys.exit(code)
