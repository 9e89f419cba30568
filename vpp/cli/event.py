"""``vpp event …``: the operator's events, against a running service over HTTP."""

import ssl
import uuid
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer

from models.errors import AccessError, InputError, InputFault, VppError
from models.events import Direction, EventStatus, ScopeKind
from vpp.cli.answers import AsJson, answer, answer_rows

event_app = typer.Typer(no_args_is_help=True, help="Events: declare, approve, watch, call off.")

Url = Annotated[str, typer.Option(help="Where the service is.", envvar="VPP_URL")]
Token = Annotated[str, typer.Option(help="From `vpp user add`.", envvar="VPP_TOKEN", show_default=False)]
CaFile = Annotated[Path | None, typer.Option(help="Whom to trust, for https.", envvar="VPP_CA_FILE")]
EventId = Annotated[str, typer.Argument(help="The event.")]
Why = Annotated[str, typer.Option(help="For the record.")]
HERE = "http://127.0.0.1:8080"
PATIENCE_S = 300.0
"""Declaring and approving wait for a plan."""


class _Client:
    """One service, one token; problems come back as our own errors."""

    def __init__(self, url: str, token: str, ca_file: Path | None) -> None:
        if not token or not token.isascii():
            rule = "is needed: give --token or set VPP_TOKEN (vpp user add NAME --role operator makes one)"
            raise InputError([InputFault("command", "token", "", rule)])
        if not url.startswith(("http://", "https://")):
            raise InputError([InputFault("command", "url", url, "must begin with http:// or https://")])
        self._url = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}"}
        try:
            self._trust = ssl.create_default_context(cafile=ca_file)
        except OSError as error:
            rule = f"must be a readable certificate: {error}"
            raise InputError([InputFault("command", "ca-file", str(ca_file), rule)]) from error

    def ask(self, method: str, path: str, *, key: str | None = None, **more: Any) -> Any:
        """The answer as JSON."""
        headers = self._headers | ({"Idempotency-Key": key} if key else {})
        try:
            # our own service is asked directly, never through the machine's proxy
            with httpx.Client(verify=self._trust, timeout=PATIENCE_S, trust_env=False) as client:
                response = client.request(method, f"{self._url}/api/v1/events{path}", headers=headers, **more)
        except (httpx.InvalidURL, httpx.UnsupportedProtocol, UnicodeError) as error:
            raise InputError([InputFault("command", "url", self._url, f"must be an address: {error}")]) from error
        except httpx.HTTPError as error:
            raise VppError(f"no answer from {self._url} ({error}): is `vpp serve` running there?") from error
        if response.is_success:
            return response.json()
        raise _error(response)


def _error(response: httpx.Response) -> VppError:
    try:
        facts = response.json()
        detail = str(facts["detail"])
        faults = [InputFault("service", each["field"], each["value"], each["rule"]) for each in facts.get("errors", [])]
    except (ValueError, KeyError, TypeError):
        return VppError(f"the service answered {response.status_code}, and not as ours would: is the address right?")
    match response.status_code:
        case 401:
            return AccessError(f"{detail} (give --token or set VPP_TOKEN)")
        case 403:
            return AccessError(detail)
        case 404:
            return InputError([InputFault("service", "event", response.url.path, f"{detail}: see `vpp event list`")])
        case 422:
            return InputError(faults or [InputFault("service", "request", None, detail)])
        case _:
            return VppError(detail)


def _line(record: dict[str, Any]) -> dict[str, Any]:
    event = record["event"]
    scope = event["scope_kind"] + (f" {event['scope_id']}" if event["scope_id"] else "")
    return {
        "event": event["event_id"],
        "status": record["status"],
        "direction": event["direction"],
        "scope": scope,
        "start": event["start"],
        "end": event["end"],
        "ordered_kw": event["target_kw"],
    }


def _text(record: dict[str, Any]) -> str:
    facts = _line(record) | {
        "target_share_kw": record["five_percent_kw"],
        "callable_kw": record["callable_kw"],
        "baseline_hash": record["baseline_hash"],
    }
    lines = [f"{name:16} {value}" for name, value in facts.items() if value is not None]
    for step in record["steps"]:
        reason = f": {step['reason']}" if step["reason"] else ""
        lines.append(f"{step['at']}  {step['status']} by {step['by']}{reason}")
    for name, share_kw in sorted(record["share_kw"].items()):
        accepted_kw = record["accepted_kw"].get(name)
        said = "no answer yet" if accepted_kw is None else f"accepted {accepted_kw:g} kW"
        lines.append(f"{name:16} share {share_kw:g} kW, {said}")
    return "\n".join(lines)


@event_app.command()
def declare(
    start: Annotated[str, typer.Option(help="ISO 8601 with offset, as in 2025-07-16T13:00+08:00.")],
    end: Annotated[str, typer.Option(help="ISO 8601 with offset.")],
    kw: Annotated[float | None, typer.Option(help="Order; else the target share, or what is callable.")] = None,
    direction: Annotated[Direction, typer.Option(help="Less load or more.")] = Direction.SHAVE,
    scope_kind: Annotated[ScopeKind, typer.Option(help="What it is about.")] = ScopeKind.CITY,
    scope_id: Annotated[str, typer.Option(help="Which one.")] = "",
    event_id: Annotated[str | None, typer.Option(help="A name of your own.")] = None,
    reason: Why = "",
    idempotency_key: Annotated[str | None, typer.Option(help="The same key again declares nothing new.")] = None,
    url: Url = HERE,
    token: Token = "",
    ca_file: CaFile = None,
    as_json: AsJson = False,
) -> None:
    """Declare an event; a second person approves it."""
    order = {"start": start, "end": end, "ordered_kw": kw, "direction": direction.value}
    order |= {"scope_kind": scope_kind.value, "scope_id": scope_id, "event_id": event_id, "reason": reason}
    client = _Client(url, token, ca_file)
    record = client.ask("POST", "", key=idempotency_key or uuid.uuid4().hex, json=order)
    answer(record, as_json, _text(record))


def _act(client: _Client, event_id: str, action: str, reason: str | None, as_json: bool) -> None:
    body: dict[str, Any] = {} if reason is None else {"json": {"reason": reason}}
    record = client.ask("POST", f"/{_named(event_id)}/{action}", **body)
    answer(record, as_json, _text(record))


def _named(event_id: str) -> str:
    if not event_id or set(event_id) & set("/?#%\\") or not event_id.isprintable():
        raise InputError([InputFault("command", "event", event_id, "must be the id of an event")])
    return event_id


@event_app.command()
def approve(
    event_id: EventId, url: Url = HERE, token: Token = "", ca_file: CaFile = None, as_json: AsJson = False
) -> None:
    """Approve an event that somebody else has declared."""
    _act(_Client(url, token, ca_file), event_id, "approve", None, as_json)


@event_app.command()
def cancel(
    event_id: EventId, reason: Why, url: Url = HERE, token: Token = "", ca_file: CaFile = None, as_json: AsJson = False
) -> None:
    """Call off an event that has not begun."""
    _act(_Client(url, token, ca_file), event_id, "cancel", reason, as_json)


@event_app.command()
def terminate(
    event_id: EventId, reason: Why, url: Url = HERE, token: Token = "", ca_file: CaFile = None, as_json: AsJson = False
) -> None:
    """Stop a running event, with a safe ramp."""
    _act(_Client(url, token, ca_file), event_id, "terminate", reason, as_json)


@event_app.command()
def show(
    event_id: EventId, url: Url = HERE, token: Token = "", ca_file: CaFile = None, as_json: AsJson = False
) -> None:
    """One event with its whole life so far."""
    record = _Client(url, token, ca_file).ask("GET", f"/{_named(event_id)}")
    answer(record, as_json, _text(record))


@event_app.command("list")
def list_events(
    status: Annotated[list[EventStatus] | None, typer.Option(help="Only these (may be repeated).")] = None,
    url: Url = HERE,
    token: Token = "",
    ca_file: CaFile = None,
    as_json: AsJson = False,
) -> None:
    """All events, the latest window first."""
    client = _Client(url, token, ca_file)
    records: list[dict[str, Any]] = []
    cursor: str | None = None
    while True:
        params: dict[str, Any] = {"limit": 500, "status": [each.value for each in status or []]}
        page = client.ask("GET", "", params=params | ({"cursor": cursor} if cursor else {}))
        records += page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    rows = records if as_json else [_line(record) for record in records]
    answer_rows(rows, as_json, "no events")
