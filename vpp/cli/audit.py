"""``vpp audit``: whether anything in the database is not as the flight recorder has it."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress

from adapters.store import Store
from models.errors import InputError, InputFault
from vpp.cli.answers import AsJson, answer
from vpp.recorder_findings import NOTES, Verdict
from vpp.recorder_verify import Span, verify
from vpp.settings import load_settings

audit_app = typer.Typer(no_args_is_help=True, help="The audit log and all that it proves.")

Config = Annotated[Path | None, typer.Option(help="Settings, see deploy/example.toml.", envvar="VPP_CONFIG")]


@audit_app.callback()
def _audit() -> None:
    """The audit log and all that it proves."""


@audit_app.command("verify")
def verify_record(
    since: Annotated[str | None, typer.Option(help="Only what happened since then, as 2025-07-16T13:00.")] = None,
    event: Annotated[str | None, typer.Option(help="Only an event with the hours around it.")] = None,
    head: Annotated[str | None, typer.Option(help="Hash of a line that was noted elsewhere.")] = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Recompute the chain of the audit log and everything that it records; exit code 1 if anything differs.

    It reads and never writes; the service may keep running.
    """
    if since is not None and event is not None:
        raise InputError([InputFault("command", "since", since, "or --event, not both")])
    settings = load_settings(config)
    console = Console(stderr=True)
    with Store(settings.store_url) as store:
        if store.revision() is None:
            raise InputError([InputFault("store", "url", settings.store_url, "must be a database of the service")])
        span = _span(store, since, event, settings.service.zone)
        with Progress(console=console, disable=as_json or not console.is_terminal) as bar:
            task = bar.add_task("核对 verifying", total=None)
            verdict = verify(store, span, head, lambda done, total: bar.update(task, completed=done, total=total))
    answer(_data(verdict), as_json, _text(verdict))
    if verdict.findings:
        raise typer.Exit(1)


def _span(store: Store, since: str | None, event: str | None, zone: Any) -> Span:
    if event is not None:
        return Span.of_event(store, event)
    if since is None:
        return Span()
    return Span.since(since, zone)


def _data(verdict: Verdict) -> dict[str, Any]:
    return {
        "intact": not verdict.findings,
        "entries": verdict.entries,
        "head_sha256": verdict.head_sha256,
        "checked": dict(verdict.checked),
        "notes": dict(verdict.notes),
        "findings": [{**each.as_dict(), "text": str(each)} for each in verdict.findings],
    }


def _text(verdict: Verdict) -> str:
    lines = [f"发现 found: {each}" for each in verdict.findings]
    for name, count in sorted(verdict.notes.items()):
        chinese, english = NOTES[name]
        lines.append(f"说明 note: {chinese} {english}: {count}")
    checked = ", ".join(f"{count} {table}" for table, count in sorted(verdict.checked.items()))
    lines.append(f"已核对 checked: {checked}")
    lines.append(f"链头 head: {verdict.entries} {verdict.head_sha256}")
    said = (
        f"{len(verdict.findings)} 处不符 differences"
        if verdict.findings
        else "一切与记录相符 all is as it was recorded"
    )
    return "\n".join([*lines, said])
