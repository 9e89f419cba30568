"""``vpp report``: the report of a result folder, as one HTML file."""

import json
from pathlib import Path
from typing import Annotated

import typer

from models.errors import InputError, InputFault
from vpp.report.result_folder import SUMMARY, read_summary
from vpp.report.write import write_report

VAR = Path("var")


def find_result(wanted: str, var: Path = VAR) -> Path:
    """The result folder that was meant: a folder, or the newest one below ``var`` that holds the event of this id."""
    if (Path(wanted) / SUMMARY).is_file():
        return Path(wanted)
    summaries = sorted(var.glob(f"**/{SUMMARY}"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in summaries:
        try:
            summary = read_summary(path.parent)
        except InputError:
            continue  # a plan folder has a summary too
        if wanted in {event.event_id for event in summary.events} or path.parent.name == wanted:
            return path.parent
    rule = f"must be a result folder (with {SUMMARY}) or an event of a result folder below {var}/"
    raise InputError([InputFault("command line", "result", wanted, rule)])


def report(
    result: Annotated[str, typer.Argument(help="A result folder, or the id of an event below var/.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Write report.html (self-contained, Chinese and English) into a result folder and print its path."""
    folder = find_result(result)
    path = write_report(folder)
    if as_json:
        typer.echo(json.dumps({"result": str(folder), "report": str(path), "bytes": path.stat().st_size}))
    else:
        typer.echo(str(path))
