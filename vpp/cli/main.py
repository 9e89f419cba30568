"""All commands of ``vpp`` in one place; errors of ours become one clear text and the right exit code."""

import sys
from importlib.metadata import entry_points

import typer

from models.errors import InputError, VppError
from vpp.cli import admin, event, planning, report, serve

app = typer.Typer(
    name="vpp",
    help="Virtual power plant dispatch: plan, order, dispatch and prove megawatts from thousands of devices.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

app.command("serve")(serve.serve)
app.command("plan")(planning.plan)
app.command("check")(planning.check)
app.command("report")(report.report)
app.command("backup")(admin.backup)
app.command("restore")(admin.restore)
app.add_typer(planning.portfolio_app, name="portfolio")
app.add_typer(admin.user_app, name="user")
app.add_typer(admin.aggregator_app, name="aggregator")
app.add_typer(event.event_app, name="event")

for _entry in sorted(entry_points(group="vpp.commands"), key=lambda entry: entry.name):
    # demo, replay and simulate live on the far side of the wires, which production never imports by itself
    app.command(_entry.name)(_entry.load())


def main() -> None:
    """Run the command line."""
    try:
        app()
    except InputError as error:
        sys.stderr.write("\n".join(f"error: {fault}" for fault in error.faults) + "\n")
        sys.exit(2)
    except VppError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(1)
