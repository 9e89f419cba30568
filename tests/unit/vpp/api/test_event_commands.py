"""``vpp event`` against the real application on a real port."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from typer.testing import CliRunner

from models.errors import AccessError, InputError, VppError
from vpp.api import create_app
from vpp.cli.event import event_app
from vpp.settings import ServiceSettings, Settings

Run = Callable[..., Awaitable[Any]]
WINDOW = ("--start", "2025-07-16T13:00+08:00", "--end", "2025-07-16T14:00+08:00")


@pytest.fixture
def vpp(url: str, tokens: dict[str, str]) -> Run:
    async def run(role: str, *words: str, as_json: bool = True) -> Any:
        options = ["--url", url, "--token", tokens[role], *(["--json"] if as_json else [])]
        result = await asyncio.to_thread(CliRunner().invoke, event_app, [*words, *options])
        if result.exception is not None:
            raise result.exception
        return json.loads(result.output) if as_json else result.output

    return run


async def test_an_event_goes_through_two_pairs_of_hands(vpp: Run) -> None:
    record = await vpp("operator", "declare", *WINDOW, "--kw", "900", "--reason", "hot")
    event_id = record["event"]["event_id"]
    assert record["event"]["target_kw"] == 900
    assert (await vpp("operator", "consult", event_id, "--reason", "agreed at 9"))["status"] == "consulted"
    assert (await vpp("approver", "approve", event_id))["status"] == "approved"
    shown = await vpp("auditor", "show", event_id, as_json=False)
    assert "已批准 approved, a-approver" in shown
    assert "已申报 declared, a-operator: hot" in shown
    assert (await vpp("operator", "cancel", event_id, "--reason", "rain"))["status"] == "cancelled"
    assert [each["status"] for each in await vpp("auditor", "list")] == ["cancelled"]
    assert await vpp("auditor", "list", "--status", "approved") == []


async def test_the_same_key_declares_one_event(vpp: Run, service: Any) -> None:
    words = ("declare", *WINDOW, "--idempotency-key", "once")
    assert await vpp("operator", *words) == await vpp("operator", *words)
    assert service.declared == 1


async def test_times_without_an_offset_are_market_time_and_are_shown_so(vpp: Run) -> None:
    record = await vpp("operator", "declare", "--start", "2025-07-17 13:00", "--end", "2025-07-17 14:00")
    assert record["event"]["start"] == "2025-07-17T05:00:00Z"
    shown = await vpp("auditor", "list", as_json=False)
    assert "2025-07-17 13:00+0800" in shown
    assert "已申报 declared" in shown


async def test_a_clock_time_that_comes_twice_needs_its_offset(vpp: Run, service: Any) -> None:
    service.settings = Settings(service=ServiceSettings(time_zone="Europe/Berlin"))
    for twice_or_never in ("2025-10-26T02:30", "2025-03-30T02:30"):
        with pytest.raises(InputError, match="give the offset too"):
            await vpp("operator", "declare", "--start", twice_or_never, "--end", "2025-10-26T05:00")


async def test_two_events_of_a_day_are_declared_together_and_once(vpp: Run, service: Any) -> None:
    words = ("declare", *WINDOW, "--start", "2025-07-16 21:00", "--end", "2025-07-16 23:00", "--idempotency-key", "two")
    noon, evening = await vpp("operator", *words)
    assert noon["event"]["start"] < evening["event"]["start"]
    assert [noon, evening] == await vpp("operator", *words)
    assert service.declared == 2
    both = await vpp("approver", "approve", noon["event"]["event_id"], evening["event"]["event_id"])
    assert [each["status"] for each in both] == ["approved", "approved"]


async def test_errors_say_what_to_do(vpp: Run) -> None:
    with pytest.raises(AccessError, match="role auditor; this needs operator"):
        await vpp("auditor", "declare", *WINDOW)
    with pytest.raises(InputError, match="see `vpp event list`"):
        await vpp("operator", "show", "nothing")
    with pytest.raises(InputError, match="must be ISO 8601"):
        await vpp("operator", "declare", "--start", "1 pm", "--end", WINDOW[3])
    with pytest.raises(InputError, match="as often as --start"):
        await vpp("operator", "declare", *WINDOW, *WINDOW, "--kw", "900")
    event_id = (await vpp("operator", "declare", *WINDOW))["event"]["event_id"]
    with pytest.raises(VppError, match="only consulted, approved, cancelled may follow"):
        await vpp("operator", "terminate", event_id, "--reason", "x")
    with pytest.raises(InputError, match="must be the id of an event"):
        await vpp("operator", "show", "../users")


@pytest.mark.parametrize("address", ["http://127.0.0.1:1", "nonsense", "http://[broken", "https://127.0.0.1:1"])
def test_a_service_that_is_not_there_is_named(address: str) -> None:
    result = CliRunner().invoke(event_app, ["list", "--url", address, "--token", "vpp_x"])
    assert isinstance(result.exception, VppError)
    assert address.rsplit("/", maxsplit=1)[-1] in str(result.exception)


def test_without_a_token_the_command_says_how_to_get_one() -> None:
    result = CliRunner().invoke(event_app, ["list"], env={"VPP_TOKEN": ""})
    assert isinstance(result.exception, InputError)
    assert "vpp user add" in str(result.exception)


async def test_a_change_of_target_is_asked_for_once_and_every_creating_call_takes_the_same_header(
    vpp: Run, service: Any
) -> None:
    event_id = (await vpp("operator", "declare", *WINDOW, "--kw", "900"))["event"]["event_id"]
    words = ("change", event_id, "--kw", "700", "--reason", "cooler", "--idempotency-key", "less")
    first = await vpp("operator", *words)
    assert [each["after_kw"] for each in first["changes"]] == [700.0]
    assert await vpp("operator", *words) == first
    paths = create_app(service).openapi()["paths"]
    creating = {
        f"{path}": [each["name"] for each in post.get("parameters", []) if each["in"] == "header"]
        for path, post in ((path, verbs.get("post")) for path, verbs in paths.items())
        if post is not None and "201" in post["responses"]
    }
    assert len(creating) >= 6
    assert all(names == ["idempotency-key"] for names in creating.values()), creating
