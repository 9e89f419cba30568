"""Statements through both doors: who may do and see what, and that every form holds the same money."""

import asyncio
import csv
import io
import json
from collections.abc import Awaitable, Callable, Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest
import structlog
from typer.testing import CliRunner

from models.errors import AccessError, InputError, VppError
from models.events import Event, EventRecord, EventStep
from models.life_cycle import EventStatus
from models.settlement.inputs import SettlementInputs
from models.settlement.rules.load import packaged_rules
from tests.unit.models.settlement.calls import START, call
from tests.unit.vpp.api.conftest import SmallService
from vpp.cli.statement import statement_app
from vpp.closing.desk import ClosingDesk
from vpp.event_book import EventBook
from vpp.settings import SettlementSettings

Run = Callable[..., Awaitable[Any]]
S = EventStatus


async def the_call(record: EventRecord, price: Decimal) -> SettlementInputs:
    """Two resources of batteries and one of buildings, an hour each."""
    inputs = call(
        [[90.0], [120.0], [30.0]],
        [[100.0], [100.0], [50.0]],
        str(price),
        agents=["batteries", "batteries", "buildings"],
        ids=["batteries-0", "batteries-1", "buildings-0"],
    )
    assert record.event.event_id == inputs.event_id
    return inputs


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """The service shares a process with the command here, and must not speak into its answer."""
    with structlog.testing.capture_logs():
        yield


@pytest.fixture
def vpp(url: str, tokens: dict[str, str], service: SmallService) -> Run:
    """``vpp statement …`` against a service that has one evaluated event."""
    zone = ZoneInfo("Asia/Shanghai")
    five, six = timedelta(minutes=5), timedelta(hours=6)
    book = EventBook(clock=service.clock, store=service.store, zone=zone, cycle=five, rebound_window=six)
    service.closing = ClosingDesk(
        clock=service.clock, store=service.store, book=book, rules=packaged_rules(), make_call=the_call
    )
    service.closing.terms = SettlementSettings(objection_days=1.0)
    event = Event(event_id="e1", start=START, end=START + timedelta(hours=1), target_kw=250.0)
    service.store.save_event(
        EventRecord(
            event=event,
            status=S.EVALUATED,
            steps=(EventStep(status=S.EVALUATED, at=event.end, by="service"),),
            share_kw={"batteries": 200.0, "buildings": 50.0},
            accepted_kw={"batteries": 200.0, "buildings": 50.0},
            evaluation={
                "ordered_kw": 250.0,
                "delivered_kw": 240.0,
                "ratio_by_hour": [0.96],
                "by_aggregator": {"batteries": [1.05], "buildings": [0.6]},
            },
        )
    )

    async def run(role: str, *words: str, as_json: bool = True) -> Any:
        options = ["--url", url, "--token", tokens[role], *(["--json"] if as_json else [])]
        result = await asyncio.to_thread(CliRunner().invoke, statement_app, [*words, *options])
        if result.exception is not None:
            raise result.exception
        return json.loads(result.output) if as_json else result.output

    return run


async def published(vpp: Run) -> None:
    await vpp("operator", "issue", "e1", "--price", "1.5")
    await vpp("operator", "publish", "e1")


async def test_a_statement_goes_its_way_through_many_hands(vpp: Run, service: SmallService, tmp_path: Path) -> None:
    with pytest.raises(AccessError, match="this needs operator"):
        await vpp("approver", "issue", "e1", "--price", "1.5")
    with pytest.raises(VppError, match="issue one first"):
        await vpp("operator", "publish", "e1")
    (row,) = await vpp("operator", "issue", "e1", "--price", "1.5", "--idempotency-key", "one")
    assert [row] == await vpp("operator", "issue", "e1", "--price", "1.5", "--idempotency-key", "one")
    assert (row["version"], row["made_by"], row["rule_id"]) == (1, "a-operator", "sichuan_market_v1")
    assert await vpp("aggregator", "list", "e1") == []  # not published yet
    assert (await vpp("operator", "publish", "e1"))["status"] == "published"
    assert await vpp("aggregator", "list", "e1") == [row]

    with pytest.raises(InputError, match="and yours"):
        await vpp("aggregator", "dispute", "e1", "--reason", "a stranger's", "--resource", "buildings-0")
    found = await vpp("aggregator", "dispute", "e1", "--reason", "our meter says more", "--resource", "batteries-0")
    assert (found["aggregator_id"], found["answer"]) == ("batteries", None)
    meters = tmp_path / "meters.json"
    read = {"resource_id": "batteries-0", "interval_start": START.isoformat(), "metered_kwh": 9905.0, "source": "read"}
    meters.write_text(json.dumps([read]))
    (second,) = await vpp("operator", "correct", "e1", "--reason", "read at the meter", "--meters", str(meters))
    assert (second["version"], second["reason"]) == (2, "read at the meter")
    assert [each["answer"] for each in await vpp("aggregator", "disputes", "e1")] == ["read at the meter"]
    shown = await vpp("aggregator", "disputes", "e1", as_json=False)
    assert "our meter says more" in shown

    with pytest.raises(VppError, match="it may be disputed until"):
        await vpp("approver", "settle", "e1")
    service.clock.moment += timedelta(days=1, seconds=1)
    with pytest.raises(AccessError, match="this needs approver"):
        await vpp("operator", "settle", "e1")
    assert (await vpp("approver", "settle", "e1"))["status"] == "settled"


async def test_every_form_holds_the_same_money_and_an_aggregator_only_its_own(vpp: Run, service: SmallService) -> None:
    await published(vpp)
    whole = json.loads(await vpp("auditor", "show", "e1", as_json=False))
    kept = service.store.statement("e1")
    assert kept is not None
    assert {line["party_id"] for line in whole["lines"]} >= {"batteries", "buildings", "batteries-0", "buildings-0"}
    paid = sum(Decimal(line["net_cny"]) for line in whole["lines"] if line["payer_kind"] == "market")
    assert paid == kept.lines.market_total_cny()
    table = await vpp("auditor", "show", "e1", "--format", "csv", as_json=False)
    rows = list(csv.DictReader(io.StringIO(table.lstrip("\ufeff"))))
    assert len(rows) == len(whole["lines"]) == len(kept.lines)
    mine = json.loads(await vpp("aggregator", "show", "e1", as_json=False))
    assert {line["party_id"] for line in mine["lines"]} == {"batteries", "batteries-0", "batteries-1"}
    for form in ("json", "csv", "html"):
        seen = await vpp("aggregator", "show", "e1", "--format", form, as_json=False)
        assert "buildings" not in seen, form
    one = json.loads(await vpp("aggregator", "show", "e1", "--resource", "batteries-0", as_json=False))
    assert {line["party_id"] for line in one["lines"]} == {"batteries-0"}
    with pytest.raises(InputError, match="no resource buildings-0"):
        await vpp("aggregator", "show", "e1", "--resource", "buildings-0", as_json=False)
    for words in ((), ("--aggregator", "buildings"), ("--resource", "buildings-0")):
        page = await vpp("auditor", "show", "e1", "--format", "html", *words, as_json=False)
        assert page.lstrip().startswith("<!")
        assert kept.sha256[:12] in page


async def test_the_difference_of_two_versions_is_what_is_still_due(vpp: Run, service: SmallService) -> None:
    await published(vpp)
    await vpp("auditor", "list", "e1")
    await vpp("operator", "dispute", "e1", "--reason", "the price was another")
    await vpp("operator", "correct", "e1", "--reason", "as cleared", "--price", "2", "--rule", "sichuan_market_v1@1")
    one, two = service.store.statement("e1", 1), service.store.statement("e1", 2)
    assert one is not None
    assert two is not None
    told = json.loads(await vpp("auditor", "difference", "e1", "--since", "1", as_json=False))
    due = two.lines.market_total_cny() - one.lines.market_total_cny()
    assert Decimal(told["due_from_market_cny"]) == due
    market = [each for each in told["differences"] if each["after"]["payer_kind"] == "market"]
    assert sum(Decimal(each["due_cny"]) for each in market) == due


async def test_the_evaluation_is_narrowed_and_a_stranger_learns_nothing(
    vpp: Run, url: str, tokens: dict[str, str]
) -> None:
    async with httpx.AsyncClient(base_url=f"{url}/api/v1/events") as http:

        async def get(role: str, path: str) -> httpx.Response:
            return await http.get(path, headers={"Authorization": f"Bearer {tokens[role]}"})

        assert (await get("aggregator", "/e1/evaluation")).status_code == 404
        await published(vpp)
        whole, mine = [(await get(role, "/e1/evaluation")).json() for role in ("auditor", "aggregator")]
        assert set(whole["by_aggregator"]) == {"batteries", "buildings"}
        assert set(mine["by_aggregator"]) == {"batteries"}
        assert "ordered_kw" not in mine or mine["ordered_kw"] is None
        table = await get("auditor", "/e1/evaluation?format=csv&language=zh")
        assert table.headers["content-type"].startswith("text/csv")
        assert (await get("auditor", "/e1/statements/7")).status_code == 404
        assert (await get("auditor", "/e2/statements")).status_code == 404
