"""``vpp event …``: the operator's events, against a running service over HTTP."""

import uuid
from pathlib import Path
from typing import Annotated, Any

import typer

from models.errors import InputError, InputFault
from models.events import NOTICE_ZH, Direction, NoticeType, ScopeKind
from models.life_cycle import STATUS_ZH, EventStatus
from vpp.cli.answers import AsJson, answer, answer_rows
from vpp.cli.service_client import ServiceClient

event_app = typer.Typer(no_args_is_help=True, help="Events: declare, approve, watch, change, call off.")

Url = Annotated[str, typer.Option(help="Where the service is.", envvar="VPP_URL")]
Token = Annotated[str, typer.Option(help="From `vpp user add`.", envvar="VPP_TOKEN", show_default=False)]
CaFile = Annotated[Path | None, typer.Option(help="Whom to trust, for https.", envvar="VPP_CA_FILE")]
EventId = Annotated[str, typer.Argument(help="The event.")]
Why = Annotated[str, typer.Option(help="For the record.")]
HERE = "http://127.0.0.1:8080"
TIME = "ISO 8601; without an offset it is market time."


def _status(word: str) -> str:
    return f"{STATUS_ZH.get(word, '')} {word}".strip()


def _line(client: ServiceClient, record: dict[str, Any]) -> dict[str, Any]:
    event = record["event"]
    scope = event["scope_kind"] + (f" {event['scope_id']}" if event["scope_id"] else "")
    return {
        "事件 event": event["event_id"],
        "状态 status": _status(record["status"]),
        "方向 direction": {"shave": "削峰 shave", "fill": "填谷 fill"}.get(event["direction"], event["direction"]),
        "范围 scope": scope,
        "类型 notice": f"{NOTICE_ZH.get(record['notice_type'], '')} {record['notice_type']}".strip(),
        "开始 start": client.local(event["start"]),
        "结束 end": client.local(event["end"]),
        "下令 ordered kW": f"{event['target_kw']:,.1f}",
    }


def _kw(value: float | None) -> str | None:
    return None if value is None else f"{value:,.1f}"


def _text(client: ServiceClient, record: dict[str, Any]) -> str:
    facts = _line(client, record) | {
        "目标 target share kW": _kw(record["five_percent_kw"]),
        "可调 callable kW": _kw(record["callable_kw"]),
        "基线 baseline": record["baseline_hash"],
    }
    lines = [f"{name:24} {value}" for name, value in facts.items() if value is not None]
    for step in record["steps"]:
        reason = f": {step['reason']}" if step["reason"] else ""
        lines.append(f"{client.local(step['at'])}  {_status(step['status'])}, {step['by']}{reason}")
    for each in record["changes"]:
        since = client.local(each["effective_from"]) if each["effective_from"] else "待批准 waits for a second person"
        lines.append(
            f"{client.local(each['at'])}  调整 change {each['before_kw']:,.1f} → {each['after_kw']:,.1f} kW, "
            f"{each['by']}: {each['reason']} ({since})"
        )
    for name, share_kw in sorted(record["share_kw"].items()):
        accepted_kw = record["accepted_kw"].get(name)
        said = "未答复 no answer yet" if accepted_kw is None else f"接受 accepted {accepted_kw:,.1f} kW"
        lines.append(f"{name:24} 份额 share {share_kw:,.1f} kW, {said}")
    return "\n".join(lines)


def _tell(client: ServiceClient, records: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        answer(records[0] if len(records) == 1 else records, as_json)
    else:
        answer(None, as_json, "\n\n".join(_text(client, record) for record in records))


def told_event(client: ServiceClient, record: dict[str, Any], as_json: bool) -> None:
    """Answer with one event."""
    _tell(client, [record], as_json)


@event_app.command()
def declare(
    start: Annotated[list[str], typer.Option(help=TIME)],
    end: Annotated[list[str], typer.Option(help=TIME)],
    kw: Annotated[list[float] | None, typer.Option(help="Order; else the target share, or what is callable.")] = None,
    direction: Annotated[Direction, typer.Option(help="Less load or more.")] = Direction.SHAVE,
    scope_kind: Annotated[ScopeKind, typer.Option(help="What it is about.")] = ScopeKind.CITY,
    scope_id: Annotated[str, typer.Option(help="Which one.")] = "",
    event_id: Annotated[list[str] | None, typer.Option(help="A name of your own.")] = None,
    notice: Annotated[NoticeType | None, typer.Option(help="Else it follows from the start.")] = None,
    reason: Why = "",
    idempotency_key: Annotated[str | None, typer.Option(help="The same key again declares nothing new.")] = None,
    url: Url = HERE,
    token: Token = "",
    ca_file: CaFile = None,
    as_json: AsJson = False,
) -> None:
    """Declare an event; a second person approves it.

    With 30 minutes of notice or less (the window may be open already) it is an emergency: a direct call, nobody is
    asked first.

    Several events of one day are sized together: repeat --start and --end (and --kw, --event-id) for each.
    """
    client = ServiceClient(url, token, ca_file)
    count = len(start)
    for option, given in (("--end", end), ("--kw", kw), ("--event-id", event_id)):
        if given and len(given) != count:
            rule = f"must be given as often as --start ({count})"
            raise InputError([InputFault("command", option, len(given), rule)])
    orders: list[dict[str, Any]] = [
        {
            "start": client.moment("start", start[k]),
            "end": client.moment("end", end[k]),
            "ordered_kw": kw[k] if kw else None,
            "direction": direction.value,
            "scope_kind": scope_kind.value,
            "scope_id": scope_id,
            "event_id": event_id[k] if event_id else None,
            "notice_type": None if notice is None else notice.value,
            "reason": reason,
        }
        for k in range(count)
    ]
    key = idempotency_key or uuid.uuid4().hex
    if count == 1:
        records = [client.ask("POST", "/events", key=key, json=orders[0])]
    else:
        records = client.ask("POST", "/events:declare-many", key=key, json={"orders": orders})["items"]
    _tell(client, records, as_json)


def _act(client: ServiceClient, event_id: str, action: str, reason: str | None) -> dict[str, Any]:
    body: dict[str, Any] = {} if reason is None else {"json": {"reason": reason}}
    record: dict[str, Any] = client.ask("POST", f"/events/{named_event(event_id)}/{action}", **body)
    return record


def named_event(event_id: str) -> str:
    """The id of an event as a part of a path; ``InputError`` if it can be none."""
    if not event_id or event_id in (".", "..") or set(event_id) & set("/?#%\\") or not event_id.isprintable():
        raise InputError([InputFault("command", "event", event_id, "must be the id of an event")])
    return event_id


@event_app.command()
def approve(
    event_ids: Annotated[list[str], typer.Argument(help="The events.")],
    url: Url = HERE,
    token: Token = "",
    ca_file: CaFile = None,
    as_json: AsJson = False,
) -> None:
    """Approve events that somebody else has declared, or changes that somebody else has asked for."""
    client = ServiceClient(url, token, ca_file)
    _tell(client, [_act(client, each, "approve", None) for each in event_ids], as_json)


@event_app.command()
def consult(
    event_id: EventId, reason: Why, url: Url = HERE, token: Token = "", ca_file: CaFile = None, as_json: AsJson = False
) -> None:
    """Note what utility and energy authority agreed on (会商) before an event is approved."""
    client = ServiceClient(url, token, ca_file)
    _tell(client, [_act(client, event_id, "consult", reason)], as_json)


@event_app.command()
def change(
    event_id: EventId,
    kw: Annotated[float, typer.Option(help="What it shall order from now on.")],
    reason: Why,
    idempotency_key: Annotated[str | None, typer.Option(help="The same key again changes nothing more.")] = None,
    url: Url = HERE,
    token: Token = "",
    ca_file: CaFile = None,
    as_json: AsJson = False,
) -> None:
    """Change the target of an event to come or running; it gets there in steps.

    Less holds at once; more waits until a second person has approved the event again.
    """
    client = ServiceClient(url, token, ca_file)
    key = idempotency_key or uuid.uuid4().hex
    body = {"target_kw": kw, "reason": reason}
    _tell(client, [client.ask("POST", f"/events/{named_event(event_id)}/change", key=key, json=body)], as_json)


@event_app.command()
def cancel(
    event_id: EventId, reason: Why, url: Url = HERE, token: Token = "", ca_file: CaFile = None, as_json: AsJson = False
) -> None:
    """Call off an event that has not begun."""
    client = ServiceClient(url, token, ca_file)
    _tell(client, [_act(client, event_id, "cancel", reason)], as_json)


@event_app.command()
def terminate(
    event_id: EventId, reason: Why, url: Url = HERE, token: Token = "", ca_file: CaFile = None, as_json: AsJson = False
) -> None:
    """Stop a running event, with a safe ramp."""
    client = ServiceClient(url, token, ca_file)
    _tell(client, [_act(client, event_id, "terminate", reason)], as_json)


@event_app.command()
def show(
    event_id: EventId, url: Url = HERE, token: Token = "", ca_file: CaFile = None, as_json: AsJson = False
) -> None:
    """One event with its whole life so far."""
    client = ServiceClient(url, token, ca_file)
    _tell(client, [client.ask("GET", f"/events/{named_event(event_id)}")], as_json)


@event_app.command("list")
def list_events(
    status: Annotated[list[EventStatus] | None, typer.Option(help="Only these (may be repeated).")] = None,
    url: Url = HERE,
    token: Token = "",
    ca_file: CaFile = None,
    as_json: AsJson = False,
) -> None:
    """All events, the latest window first."""
    client = ServiceClient(url, token, ca_file)
    records: list[dict[str, Any]] = []
    cursor: str | None = None
    while True:
        params: dict[str, Any] = {"limit": 500, "status": [each.value for each in status or []]}
        page = client.ask("GET", "/events", params=params | ({"cursor": cursor} if cursor else {}))
        records += page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    rows = records if as_json else [_line(client, record) for record in records]
    answer_rows(rows, as_json, "没有事件 no events")
