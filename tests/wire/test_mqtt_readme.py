"""The README is executed, and the example gateway runs, on both brokers."""

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from models.events import Direction, EventNotice
from models.plan import Setpoint, SetpointBatch

pytestmark = pytest.mark.wire
MQTT = Path(__file__).parents[2] / "adapters/mqtt"
GATEWAY = MQTT / "examples/gateway.py"


@pytest.mark.skipif(shutil.which("mosquitto_pub") is None, reason="mosquitto-clients is not installed")
async def test_the_two_lines_of_the_readme_register_a_resource_and_read_the_answer(platform: Any) -> None:
    listen, register = re.findall(r"^```sh\n(.*?)```", (MQTT / "README.md").read_text(), re.DOTALL | re.MULTILINE)
    environment = {
        **os.environ,
        "HOST": platform.broker.host,
        "PORT": str(platform.broker.port),
        "PASSWORD": await platform.add("charging-east"),
    }
    pipe = asyncio.subprocess.PIPE
    listener = await asyncio.create_subprocess_exec("sh", "-ec", listen, stdout=pipe, env=environment)
    answer = asyncio.create_task(listener.communicate())
    async with asyncio.timeout(20):
        while not answer.done():  # the first may come before the listener has subscribed: sending again does no harm
            speaker = await asyncio.create_subprocess_exec("sh", "-ec", register, env=environment)
            assert await speaker.wait() == 0
            await asyncio.wait((answer,), timeout=1)
    said = dict(line.split(" ", 1) for line in answer.result()[0].decode().splitlines())
    result = json.loads(said["vpp/v1/charging-east/down/register-result"])
    receipt = json.loads(said["vpp/v1/charging-east/down/receipt"])
    assert [(row["resource_id"], row["accepted"]) for row in result["results"]] == [("battery-001", True)]
    assert receipt["message_ids"] == ["hello-1"]
    assert receipt["refused"] == []
    assert platform.handler.resources["battery-001"][0] == "charging-east"
    assert platform.handler.applied == [("charging-east", "hello-1")]


def test_the_readme_names_every_topic_and_the_access_rule_that_is_in_force() -> None:
    from adapters.mqtt.broker_mosquitto import access_rule  # noqa: PLC0415
    from adapters.mqtt.envelope import DownTopic, UpTopic  # noqa: PLC0415

    text = (MQTT / "README.md").read_text()
    named = set(re.findall(r"^\| `…/(?:up|down)/([\w-]+)` ", text, re.MULTILINE))
    assert named == {topic.value for topic in (*UpTopic, *DownTopic)}
    assert access_rule("vpp/v1") in text
    for link in re.findall(r"\]\(([^)]+)\)", text):
        assert (MQTT / link).exists(), link


def test_every_example_message_of_the_readme_is_one() -> None:
    from adapters.mqtt.decode import DecodeContext, decode_down, decode_up  # noqa: PLC0415
    from adapters.mqtt.envelope import DownTopic, UpTopic  # noqa: PLC0415

    parts = re.split(r"\(`(up|down)/([\w-]+)`\)", (MQTT / "README.md").read_text())
    said = [
        (way, topic, *re.findall(r"^```json\n(.*?)```", text, re.DOTALL | re.MULTILINE))
        for way, topic, text in zip(parts[1::3], parts[2::3], parts[3::3], strict=True)
    ]
    assert [topic for _, topic, _ in said] == ["invitations", "bids", "awards", "statements", "disputes"]
    context = DecodeContext(datetime(2025, 7, 16, 5, tzinfo=UTC), "charging-east")
    for way, topic, example in said:
        if way == "down":
            decode_down(DownTopic(topic), example.encode())
        else:
            assert decode_up(UpTopic(topic), example.encode(), context).refusals == ()


async def test_the_example_gateway_does_everything_a_gateway_must(
    platform: Any, tmp_path: Path, until: Callable[..., Any]
) -> None:
    secret = tmp_path / "secret"
    secret.write_text(await platform.add("alpha"))
    command = [sys.executable, "-W", "error", str(GATEWAY), "--aggregator", "alpha", "--batteries", "2"]
    command += ["--host", platform.broker.host, "--port", str(platform.broker.port)]
    command += ["--password-file", str(secret), "--reading-every-s", "0.2"]
    pipe = asyncio.subprocess.PIPE
    gateway = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=subprocess.STDOUT, cwd=tmp_path)
    handler = platform.handler
    try:
        await until(lambda: ("alpha", "online") in handler.statuses, 20)
        await until(lambda: set(handler.resources) == {"alpha-battery-1", "alpha-battery-2"})
        await until(lambda: len(handler.readings) >= 4)

        start = datetime.now(UTC)  # noqa: TID251
        notice = EventNotice(
            event_id="event-1",
            status="notified",
            direction=Direction.SHAVE,
            start=start,
            end=start + timedelta(hours=1),
            share_kw=500.0,
            respond_by=start + timedelta(minutes=10),
        )
        await platform.link.send_event("alpha", notice)
        await until(lambda: bool(handler.others))
        assert (handler.others[0].answer, handler.others[0].accepted_kw) == ("accept_part", 190.0)

        order = batch(start, 5, 1.0, {"alpha-battery-1": -50.0, "alpha-battery-2": 900.0})
        await platform.link.send_setpoints(order, start)
        await until(lambda: len(handler.others) == 2)
        said = [(each.resource_id, each.status) for each in handler.others[1].acks]
        assert said == [("alpha-battery-2", "refused"), (None, "taken")]
        await until(lambda: last_power_kw(handler, "alpha-battery-1") == -50.0)
        await platform.link.send_setpoints(order, start)  # the same again: acknowledged again
        await until(lambda: len(handler.others) == 3)
        assert handler.others[2].acks == handler.others[1].acks
        await until(lambda: last_power_kw(handler, "alpha-battery-1") == 0.0)  # its own fallback, by itself

        await platform.link.send_setpoints(batch(start, 4, 3600.0, {"alpha-battery-1": 77.0}))  # older: not obeyed
        await platform.link.send_setpoints(batch(start, 6, -1.0, {"alpha-battery-1": 77.0}))  # over: not obeyed
        count = len(handler.readings)
        await until(lambda: len(handler.readings) > count + 6)
        assert last_power_kw(handler, "alpha-battery-1") == 0.0
        assert len(handler.others) == 3

        await platform.restart_broker()
        count = len(handler.readings)
        await until(lambda: len(handler.readings) > count + 6, 20)
    finally:
        gateway.kill()
        output = (await gateway.communicate())[0].decode()
    assert "Traceback" not in output, output
    await until(lambda: handler.statuses[-1] == ("alpha", "offline"), 40)
    # A reading every 0.2 s without a hole, although the broker was away: what was measured meanwhile came
    # later.
    moments = sorted(moment for name, moment in handler.readings if name == "alpha-battery-1")
    assert max(later - earlier for earlier, later in pairwise(moments)) < timedelta(seconds=1)


def batch(start: datetime, sequence: int, valid_s: float, power_kw: dict[str, float]) -> SetpointBatch:
    return SetpointBatch(
        command_id=f"command-{sequence}",
        aggregator_id="alpha",
        sequence=sequence,
        plan_hash="f" * 64,
        valid_from=start,
        valid_until=datetime.now(UTC) + timedelta(seconds=valid_s),  # noqa: TID251
        setpoints=tuple(Setpoint(resource_id=name, power_kw=power) for name, power in power_kw.items()),
    )


def last_power_kw(handler: Any, name: str) -> float:
    return float(handler.readings[max(key for key in handler.readings if key[0] == name)])


def test_the_example_gateway_imports_nothing_of_ours() -> None:
    imported = set(re.findall(r"^(?:from|import) ([\w.]+)", GATEWAY.read_text(), re.MULTILINE))
    assert {name.split(".")[0] for name in imported} - set(sys.stdlib_module_names) == {"aiomqtt"}
