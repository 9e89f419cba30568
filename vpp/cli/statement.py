"""``vpp statement …``: who is paid what for an event, against a running service over HTTP."""

import json
import uuid
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from models.errors import InputError, InputFault
from vpp.cli.answers import AsJson, answer, answer_rows
from vpp.cli.event import HERE, CaFile, EventId, Token, Url, Why, named_event, told_event
from vpp.cli.service_client import ServiceClient

statement_app = typer.Typer(
    no_args_is_help=True, help="Statements of events: issue, show, publish, dispute, correct, settle."
)

Key = Annotated[str | None, typer.Option("--idempotency-key", help="The same key again does nothing new.")]
Version = Annotated[int | None, typer.Option(help="Which version; else the newest.")]
Resource = Annotated[str | None, typer.Option(help="Only this resource.")]
Out = Annotated[Path | None, typer.Option(help="Into this file.", dir_okay=False)]


class Form(StrEnum):
    """As what a statement is written."""

    JSON = "json"
    CSV = "csv"
    HTML = "html"


class Language(StrEnum):
    """Of the heads of CSV columns."""

    EN = "en"
    ZH = "zh"


def _rows(client: ServiceClient, event_id: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = client.ask("GET", f"/events/{named_event(event_id)}/statements")
    return found


def _version(client: ServiceClient, event_id: str, version: int | None) -> int:
    if version is not None:
        return version
    rows = _rows(client, event_id)
    if not rows:
        raise InputError([InputFault("command", "event", event_id, "has no statement yet that you may see")])
    return int(rows[-1]["version"])


def _line(client: ServiceClient, row: dict[str, Any]) -> dict[str, Any]:
    return {
        "版本 version": row["version"],
        "规则 rule": f"{row['rule_id']}@{row['rule_version']}",
        "出具 made": client.local(row["made_at"]),
        "由 by": row["made_by"],
        "原因 reason": row["reason"],
        "SHA-256": row["sha256"],
    }


def _put(text: str, out: Path | None) -> None:
    if out is None:
        typer.echo(text, nl=not text.endswith("\n"))
        return
    try:
        out.write_text(text, encoding="utf-8", newline="")
    except OSError as error:
        raise InputError([InputFault("command", "out", str(out), f"must be writable: {error}")]) from error
    typer.echo(f"已写入 written: {out.absolute()}", err=True)


@statement_app.command("list")
def list_statements(
    event_id: EventId, url: Url = HERE, token: Token = "", ca_file: CaFile = None, as_json: AsJson = False
) -> None:
    """All versions of an event's statement, oldest first."""
    client = ServiceClient(url, token, ca_file)
    rows = _rows(client, event_id)
    answer_rows(rows if as_json else [_line(client, row) for row in rows], as_json, "没有结算单 no statement")


@statement_app.command()
def show(
    event_id: EventId,
    version: Version = None,
    form: Annotated[Form, typer.Option("--format", help="For programs, for sheets, or to print.")] = Form.JSON,
    resource: Resource = None,
    aggregator: Annotated[str | None, typer.Option(help="Only this aggregator and its users.")] = None,
    language: Annotated[Language, typer.Option(help="Of the heads of CSV columns.")] = Language.EN,
    out: Out = None,
    url: Url = HERE,
    token: Token = "",
    ca_file: CaFile = None,
) -> None:
    """One version with its lines; HTML is one file to print, in Chinese and English."""
    client = ServiceClient(url, token, ca_file)
    wanted = {"format": form.value, "language": language.value, "resource_id": resource, "aggregator_id": aggregator}
    params = {name: value for name, value in wanted.items() if value is not None}
    path = f"/events/{named_event(event_id)}/statements/{_version(client, event_id, version)}"
    _put(client.text("GET", path, params=params), out)


@statement_app.command()
def difference(
    event_id: EventId,
    since: Annotated[int, typer.Option(help="The version to compare with.")],
    version: Version = None,
    form: Annotated[Form, typer.Option("--format", help="json or csv.")] = Form.JSON,
    out: Out = None,
    url: Url = HERE,
    token: Token = "",
    ca_file: CaFile = None,
) -> None:
    """Every line in which two versions differ, and what is still to be paid for it."""
    client = ServiceClient(url, token, ca_file)
    path = f"/events/{named_event(event_id)}/statements/{_version(client, event_id, version)}/difference"
    _put(client.text("GET", path, params={"since": since, "format": form.value}), out)


@statement_app.command()
def issue(
    event_id: EventId,
    price: Annotated[str, typer.Option(help="CNY/kWh, where the rule takes the price from the market.")],
    idempotency_key: Key = None,
    url: Url = HERE,
    token: Token = "",
    ca_file: CaFile = None,
    as_json: AsJson = False,
) -> None:
    """Settle an evaluated event at a price; with a known price the service does so by itself."""
    client = ServiceClient(url, token, ca_file)
    path = f"/events/{named_event(event_id)}/statements"
    row = client.ask("POST", path, key=idempotency_key or uuid.uuid4().hex, json={"price_cny_per_kwh": price})
    answer_rows([row if as_json else _line(client, row)], as_json, "")


@statement_app.command()
def publish(
    event_id: EventId, url: Url = HERE, token: Token = "", ca_file: CaFile = None, as_json: AsJson = False
) -> None:
    """Show the newest version to those it is about; a disputed one is published as it stands."""
    client = ServiceClient(url, token, ca_file)
    told_event(client, client.ask("POST", f"/events/{named_event(event_id)}/publish"), as_json)


@statement_app.command()
def dispute(
    event_id: EventId,
    reason: Why,
    resource: Resource = None,
    idempotency_key: Key = None,
    url: Url = HERE,
    token: Token = "",
    ca_file: CaFile = None,
    as_json: AsJson = False,
) -> None:
    """Say that a published or settled statement is wrong."""
    client = ServiceClient(url, token, ca_file)
    path = f"/events/{named_event(event_id)}/disputes"
    body = {"reason": reason, "resource_id": resource}
    found = client.ask("POST", path, key=idempotency_key or uuid.uuid4().hex, json=body)
    said = f"异议已记录 dispute noted: {found['event_id']}, 版本 version {found['version']}: {found['reason']}"
    answer(found, as_json, said)


@statement_app.command()
def correct(
    event_id: EventId,
    reason: Why,
    meters: Annotated[
        Path | None,
        typer.Option(
            help="JSON list of resource_id, interval_start, metered_kwh, source.", exists=True, dir_okay=False
        ),
    ] = None,
    again: Annotated[bool, typer.Option(help="Read the meters once more from the database.")] = False,
    price: Annotated[str | None, typer.Option(help="Another price, CNY/kWh.")] = None,
    rule: Annotated[str | None, typer.Option(help="Another rule, as ID or ID@VERSION.")] = None,
    idempotency_key: Key = None,
    url: Url = HERE,
    token: Token = "",
    ca_file: CaFile = None,
    as_json: AsJson = False,
) -> None:
    """Answer every open dispute with the next version; the one before stays as it is."""
    client = ServiceClient(url, token, ca_file)
    rule_id, _, number = (rule or "").partition("@")
    if number and not number.isdigit():
        raise InputError([InputFault("command", "rule", rule, "must be ID or ID@VERSION")])
    body = {
        "reason": reason,
        "again": again,
        "price_cny_per_kwh": price,
        "rule_id": rule_id or None,
        "rule_version": int(number) if number else None,
        "meters": [] if meters is None else _meters(meters),
    }
    path = f"/events/{named_event(event_id)}/corrections"
    row = client.ask("POST", path, key=idempotency_key or uuid.uuid4().hex, json=body)
    answer_rows([row if as_json else _line(client, row)], as_json, "")


def _meters(path: Path) -> list[Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            [InputFault("command", "meters", str(path), f"must be a readable JSON list: {error}")]
        ) from error
    if not isinstance(found, list):
        raise InputError([InputFault("command", "meters", str(path), "must be a JSON list")])
    return found


@statement_app.command()
def settle(
    event_id: EventId, url: Url = HERE, token: Token = "", ca_file: CaFile = None, as_json: AsJson = False
) -> None:
    """The money is due; never by who published the statement, and not while it may be disputed."""
    client = ServiceClient(url, token, ca_file)
    told_event(client, client.ask("POST", f"/events/{named_event(event_id)}/settle"), as_json)


@statement_app.command()
def disputes(
    event_id: EventId, url: Url = HERE, token: Token = "", ca_file: CaFile = None, as_json: AsJson = False
) -> None:
    """All disputes of an event, with their answers."""
    client = ServiceClient(url, token, ca_file)
    rows = client.ask("GET", f"/events/{named_event(event_id)}/disputes")
    shown = [
        {
            "版本 version": row["version"],
            "聚合商 aggregator": row["aggregator_id"],
            "资源 resource": row["resource_id"],
            "提出 opened": f"{client.local(row['opened_at'])} {row['opened_by']}",
            "理由 reason": row["reason"],
            "答复 answer": row["answer"] or "待处理 open",
        }
        for row in rows
    ]
    answer_rows(rows if as_json else shown, as_json, "没有异议 no disputes")
