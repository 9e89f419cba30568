"""Who may do what, proven from outside with ordinary clients on both brokers."""

import asyncio
import contextlib
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import aiomqtt
import pytest

from adapters.mqtt.credentials import hash_password
from models.plan import SetpointBatch

pytestmark = pytest.mark.wire
Make = Callable[..., dict[str, Any]]
START = datetime(2025, 7, 16, 5, tzinfo=UTC)


def batch(aggregator_id: str) -> SetpointBatch:
    return SetpointBatch(
        command_id="command-1",
        aggregator_id=aggregator_id,
        sequence=1,
        plan_hash="f" * 64,
        valid_from=START,
        valid_until=START + timedelta(minutes=10),
        setpoints=(),
    )


def acks(message: Make, name: str) -> dict[str, Any]:
    return message(name, acks=[{"command_id": "c", "status": "done"}])


@pytest.mark.parametrize(
    "way_in",
    [
        {"username": "alpha", "password": "wrong"},
        {"username": "alpha", "password": None},
        {"username": "alpha", "password": ""},
        {"username": None, "password": None},
        {"username": "nobody", "password": "secret"},
        {"username": "_platform", "password": "secret"},
    ],
    ids=lambda way_in: f"{way_in['username']}-{way_in['password']}",
)
async def test_who_has_no_password_does_not_come_in(platform: Any, way_in: dict[str, str | None]) -> None:
    await platform.add("alpha")
    client = platform.client("alpha", **way_in)
    with pytest.raises(aiomqtt.MqttError, match=r"Not authorized|Bad user name or password"):
        await client.__aenter__()
    async with platform.client("alpha"):
        pass


async def test_an_aggregator_cannot_speak_for_another_nor_for_the_platform(platform: Any, message: Make) -> None:
    async with platform.gateway("beta") as beta, platform.gateway("alpha") as alpha:
        for topic in ("vpp/v1/beta/up/ack", "vpp/v1/beta/down/setpoints", "vpp/v1/alpha/down/setpoints"):
            await alpha.client.publish(topic, json.dumps(acks(message, "forged")), qos=1)
        await alpha.client.publish("vpp/v1/beta/up/status", json.dumps(message(status="offline")), qos=1)
        await alpha.send("ack", acks(message, "honest"))
        await alpha.receipt("honest")
        await asyncio.sleep(0.2)
        assert beta.inbox == []
        assert [topic for topic, _, _ in alpha.inbox] == ["receipt"]
    assert platform.handler.applied == [("alpha", "honest")]
    assert platform.handler.statuses == []


@pytest.mark.parametrize(
    "wanted",
    ["vpp/v1/beta/down/#", "vpp/v1/+/down/#", "vpp/v1/beta/up/#", "+/+/+/+/+", "#", "vpp/v1/alpha/up/#"],
)
async def test_an_aggregator_cannot_listen_to_another(wanted: str, platform: Any, message: Make) -> None:
    async with platform.gateway("beta") as beta, platform.gateway("alpha") as alpha:
        with contextlib.suppress(aiomqtt.MqttError):
            await alpha.client.subscribe(wanted, qos=1)
        await beta.send("ack", acks(message, "private"), retain=True)
        await beta.receipt("private")
        await platform.link.send_setpoints(batch("beta"))
        await beta.expect("setpoints")
        await alpha.send("ack", acks(message, "mine"))
        await alpha.receipt("mine")
        await asyncio.sleep(0.2)
    heard = [content for topic, content, _ in alpha.inbox if topic != "receipt"]
    assert heard == []
    assert alpha.count("receipt", "private") == 0


async def test_what_is_retained_for_one_is_not_shown_to_another_who_connects(
    platform: Any, message: Make, until: Any
) -> None:
    async with platform.gateway("alpha") as alpha:
        await alpha.send("status", message(status="online"), retain=True)
        await until(lambda: platform.handler.statuses == [("alpha", "online")])
    async with platform.gateway("beta", identifier="beta-1", clean_session=False) as beta:
        await asyncio.sleep(0.3)
        assert beta.inbox == []


async def test_a_last_will_cannot_speak_for_another(platform: Any, message: Make, until: Any) -> None:
    await platform.add("alpha")
    will = aiomqtt.Will("vpp/v1/beta/up/status", json.dumps(message(status="offline")), qos=1)
    client = platform.client("alpha", will=will)
    try:
        await client.__aenter__()
    except aiomqtt.MqttError as refused:
        assert "Not authorized" in str(refused)  # noqa: PT017
        return
    client._client._sock_close()
    async with platform.gateway("gamma") as gamma:
        await gamma.send("ack", acks(message, "later"))
        await gamma.receipt("later")
        await asyncio.sleep(0.3)
    assert platform.handler.statuses == []


async def test_a_client_id_does_not_open_the_session_of_somebody_else(platform: Any) -> None:
    async with platform.gateway("beta", identifier="gateway-7", clean_session=False):
        pass
    await platform.link.send_setpoints(batch("beta"))  # waits in beta's session
    async with platform.gateway("alpha", identifier="gateway-7", clean_session=False) as thief:
        await asyncio.sleep(0.3)
        assert thief.inbox == []


async def test_who_is_not_let_in_cannot_delete_a_session_either(platform: Any) -> None:
    async with platform.gateway("beta", identifier="gateway-7", clean_session=False):
        pass
    await platform.link.send_setpoints(batch("beta"))
    for password in ("wrong", None):
        with pytest.raises(aiomqtt.MqttError):
            await platform.client("beta", password=password, identifier="gateway-7", clean_session=True).__aenter__()
    async with platform.gateway("beta", identifier="gateway-7", clean_session=False) as beta:
        assert (await beta.expect("setpoints"))["sequence"] == 1


async def test_access_that_is_taken_away_ends_at_once(platform: Any, message: Make, until: Any) -> None:
    async with platform.gateway("beta") as beta:
        with contextlib.suppress(aiomqtt.MqttError):
            async with platform.gateway("alpha") as alpha:
                await alpha.send("ack", acks(message, "before"))
                await alpha.receipt("before")
                await platform.broker.remove_aggregator("alpha")
                with contextlib.suppress(aiomqtt.MqttError):
                    await alpha.send("ack", acks(message, "after"), timeout=1)
        await beta.send("ack", acks(message, "other"))
        await beta.receipt("other")
    with pytest.raises(aiomqtt.MqttError):
        await platform.client("alpha").__aenter__()
    assert ("alpha", "after") not in platform.handler.applied


async def test_a_new_password_replaces_the_old_one_at_once(platform: Any) -> None:
    old = await platform.add("alpha")
    await platform.add("alpha")
    with pytest.raises(aiomqtt.MqttError):
        await platform.client("alpha", password=old).__aenter__()
    async with platform.client("alpha"):
        pass


async def test_an_aggregator_added_by_another_process_comes_in_after_a_refresh(platform: Any) -> None:
    platform.broker._store.set_hash("later", hash_password("a secret"))
    await platform.broker.refresh()
    async with platform.client("later", password="a secret"):
        pass


async def test_a_packet_beyond_all_measure_costs_its_sender_the_connection_and_nobody_else(
    platform: Any, message: Make
) -> None:
    async with platform.gateway("beta") as beta:
        with contextlib.suppress(aiomqtt.MqttError):
            async with platform.gateway("alpha") as alpha:
                with pytest.raises(aiomqtt.MqttError):
                    await alpha.send("ack", b"x" * (5 * 1024 * 1024), timeout=3)
        await beta.send("ack", acks(message, "fine"))
        await beta.receipt("fine")
    assert platform.handler.dead == []


@pytest.mark.parametrize("junk", [b"GET / HTTP/1.1\r\n\r\n", b"\x10", b"\xff" * 300, b"\x10\x04\x00\x04MQ", b""])
async def test_noise_on_the_port_disturbs_nobody(junk: bytes, platform: Any, message: Make) -> None:
    _, writer = await asyncio.open_connection(platform.broker.host, platform.broker.port)
    writer.write(junk)
    await writer.drain()
    async with platform.gateway("alpha") as alpha:
        await alpha.send("ack", acks(message, "fine"))
        await alpha.receipt("fine")
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
