"""The broker dies and comes back: nothing is lost, nothing is doubled, and it does not take long."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiomqtt
import pytest

from adapters.mqtt.broker import BrokerSettings, open_broker
from adapters.mqtt.broker_mosquitto import find_mosquitto, free_port
from adapters.mqtt.order_link import MqttLink
from models.errors import BrokerError, InputError

pytestmark = pytest.mark.wire
Make = Callable[..., dict[str, Any]]


async def send_until_answered(platform: Any, messages: list[dict[str, Any]], answered: set[str]) -> None:
    """What a good gateway does: connect again whenever needed, send again whatever is not answered."""
    while len(answered) < len(messages):
        with contextlib.suppress(aiomqtt.MqttError):
            async with platform.gateway("alpha", identifier="gateway-1", clean_session=False) as alpha:
                while len(answered) < len(messages):
                    for sent in messages:
                        if sent["message_id"] not in answered:
                            await alpha.send("telemetry", sent, timeout=2)
                    await asyncio.sleep(0.3)
                    for topic, content, _ in alpha.inbox:
                        if topic == "receipt":
                            assert content["refused"] == []
                            answered.update(content["message_ids"])
        await asyncio.sleep(0.1)


@pytest.mark.parametrize("hard", [False, True], ids=["soft", "hard"])
async def test_a_broker_restart_in_mid_stream_loses_nothing_and_doubles_nothing(
    hard: bool, platform: Any, message: Make, battery: Make, reading: Make, until: Any
) -> None:
    async with platform.gateway("alpha") as alpha:
        await alpha.send("register", message(changes=[battery("one")]))
        await alpha.expect("register-result")
    sent = [message(f"t{k}", readings=[reading("one", k)]) for k in range(400)]
    answered: set[str] = set()
    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        tasks.create_task(send_until_answered(platform, sent, answered))
        for _ in range(2):
            known = len(platform.handler.readings)
            await until(lambda known=known: len(platform.handler.readings) > known)
            before = platform.link.counters.connections
            await platform.restart_broker(hard=hard)
            back = time.monotonic()
            await until(lambda before=before: platform.link.counters.connections > before)
            assert time.monotonic() - back < 10
    assert len(platform.handler.readings) == 400
    assert len(platform.handler.applied) == 401  # the handler asserts that none is applied twice


async def test_what_was_sent_while_the_platform_was_away_is_waiting_for_it(platform: Any, message: Make) -> None:
    await platform.stop_link()
    async with platform.gateway("alpha") as alpha:
        for k in range(50):
            await alpha.send("ack", message(f"early-{k}", acks=[{"command_id": "c", "status": "done"}]))
        await platform.start_link()
        await alpha.receipt("early-49")
    assert platform.handler.applied == [("alpha", f"early-{k}") for k in range(50)]


async def test_a_message_that_was_committed_but_not_answered_before_a_crash_is_answered_when_it_comes_again(
    platform: Any, message: Make, until: Any
) -> None:
    sent = message("once", acks=[{"command_id": "c", "status": "done"}])
    platform.handler.gate = asyncio.Event()
    async with platform.gateway("alpha") as alpha:
        await alpha.send("ack", sent)
        await until(lambda: platform.link.counters.received == 1)
        platform.link._publish = lambda *_: asyncio.sleep(3600)  # the last thing before the crash is the commit
        platform.handler.gate.set()
        await until(lambda: bool(platform.handler.applied))
        await platform.stop_link()
        await platform.start_link()
        await asyncio.sleep(0.2)
        assert alpha.inbox == []
        await alpha.send("ack", sent)
        await alpha.receipt("once")
    assert platform.handler.applied == [("alpha", "once")]


async def test_what_does_not_fit_is_dropped_unanswered_and_taken_when_it_is_sent_again(
    platform: Any, message: Make, until: Any
) -> None:
    await platform.stop_link()
    await platform.start_link(queue_bytes=2_000)
    platform.handler.gate = asyncio.Event()
    messages = [message(f"m{k}", acks=[{"command_id": "c", "status": "done"}]) for k in range(20)]
    async with platform.gateway("alpha") as alpha, platform.gateway("beta") as beta:
        for sent in messages:
            await alpha.send("ack", sent)
        await until(lambda: platform.link.counters.received == 20)
        assert 10 < platform.link.counters.overflows < 20
        await beta.send("ack", b"nonsense")
        await beta.expect("receipt")  # others are not touched by it
        platform.handler.gate.set()
        while len(platform.handler.applied) < 20:
            for sent in messages:
                if ("alpha", sent["message_id"]) not in platform.handler.applied:
                    await alpha.send("ack", sent)
                    await alpha.receipt(sent["message_id"])
    assert sorted(platform.handler.applied) == sorted(("alpha", f"m{k}") for k in range(20))


async def test_a_link_without_a_broker_says_so_and_connects_when_there_is_one(
    broker_kind: str, tmp_path: Path, platform: Any
) -> None:
    port = free_port("127.0.0.1")
    settings = platform.broker.platform.model_copy(update={"port": port})
    link = MqttLink(settings, platform.handler, platform.link._clock)
    running = asyncio.create_task(link.run())
    with pytest.raises(BrokerError, match="refused") as failed:
        await link.wait_connected(0.5)
    assert failed.value.retryable
    assert not link.connected
    folder = tmp_path / "broker-2"
    async with open_broker(BrokerSettings(broker=broker_kind, folder=folder, port=port)) as broker:
        link.settings = broker.platform
        start = time.monotonic()
        await link.wait_connected(10)
        assert time.monotonic() - start < 10
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_a_wrong_password_of_the_platform_is_named(platform: Any) -> None:
    settings = platform.broker.platform.model_copy(update={"username": "nobody"})
    link = MqttLink(settings, platform.handler, platform.link._clock)
    running = asyncio.create_task(link.run())
    with pytest.raises(BrokerError, match=r"Not authorized|Bad user name"):
        await link.wait_connected(1.0)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_auto_takes_mosquitto_if_it_is_there(tmp_path: Path) -> None:
    async with open_broker(BrokerSettings(folder=tmp_path / "b")) as broker:
        assert broker.kind == ("embedded" if find_mosquitto() is None else "mosquitto")


async def test_auto_takes_the_embedded_broker_if_there_is_no_mosquitto(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("adapters.mqtt.broker.find_mosquitto", lambda: None)
    async with open_broker(BrokerSettings(folder=tmp_path / "b")) as broker:
        assert broker.kind == "embedded"
    assert "at most 500 clients" in caplog.text
    with pytest.raises(BrokerError, match="not installed"):
        async with open_broker(BrokerSettings(broker="mosquitto", folder=tmp_path / "b")):
            pass


async def test_a_configured_broker_is_used_as_it_is(tmp_path: Path) -> None:
    settings = BrokerSettings(broker="mqtt://me:p%40ss@broker.example:2883", folder=tmp_path / "b")
    async with open_broker(settings) as broker:
        assert (broker.kind, broker.url) == ("external", "mqtt://broker.example:2883")
        assert broker.platform.username == "me"
        assert broker.platform.password is not None
        assert broker.platform.password.get_secret_value() == "p@ss"
        assert "p@ss" not in repr(broker.platform)
    for wrong in ("http://broker", "mqtt://", "mqtt://broker:port", "rabbit"):
        with pytest.raises(InputError):
            async with open_broker(BrokerSettings(broker=wrong, folder=tmp_path / "b")):
                pass


@pytest.mark.skipif(find_mosquitto() is None, reason="mosquitto is not installed")
async def test_a_mosquitto_that_cannot_start_is_an_error_with_its_own_words(tmp_path: Path) -> None:
    taken = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    port = taken.sockets[0].getsockname()[1]
    with pytest.raises(BrokerError, match="Address already in use"):
        async with open_broker(BrokerSettings(broker="mosquitto", folder=tmp_path / "b", port=port)):
            pass
    taken.close()
    await taken.wait_closed()


@pytest.mark.skipif(find_mosquitto() is None, reason="mosquitto is not installed")
async def test_mosquitto_goes_when_we_are_killed(tmp_path: Path, until: Any) -> None:
    # Once it has answered a client, it is past its start, during which it forgets signals.
    program = (
        "import asyncio, pathlib, sys\n"
        "import aiomqtt\n"
        "from adapters.mqtt.broker import BrokerSettings, open_broker\n"
        "async def main():\n"
        "    settings = BrokerSettings(broker='mosquitto', folder=pathlib.Path(sys.argv[1]))\n"
        "    async with open_broker(settings) as broker:\n"
        "        us = broker.platform\n"
        "        password = us.password.get_secret_value()\n"
        "        async with aiomqtt.Client(us.host, us.port, username=us.username, password=password):\n"
        "            sys.stdout.write(f'{broker.pid}\\n')\n"
        "            sys.stdout.flush()\n"
        "            await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "b")]
    house = Path(__file__).parents[2]
    with subprocess.Popen(  # noqa: ASYNC220
        command, stdout=subprocess.PIPE, text=True, cwd=house
    ) as parent:
        assert parent.stdout is not None
        pid = int(await asyncio.to_thread(parent.stdout.readline))
        os.kill(pid, 0)
        parent.send_signal(signal.SIGKILL)

    def gone() -> bool:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        return state == "Z"

    await until(gone)
