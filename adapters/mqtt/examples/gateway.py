"""A gateway that connects a fleet to the virtual power plant: copy this file and replace ``Battery``.

It needs ``pip install aiomqtt`` and nothing else.  Everything here follows the contract in ``README.md``
beside it::

    python gateway.py --host HOST --port 1883 --aggregator charging-east --password-file secret.txt

What a good gateway does, and where it stands below:

1. it connects with its own credentials and a fixed client id, and leaves a last will          ->
``stay_connected``
2. it keeps every message until its receipt has come, over any number of reconnections, and
   sends it again with the *same* message_id; what was refused it never sends again            -> ``Outbox``
3. it registers its devices and reads the answer for each of them                              -> ``register``
4. it obeys a setpoint only while that is valid, only if it is newer than the last one, and
   falls back on its own when it ends, also when the connection is gone                        -> ``Battery``
5. it says what became of each command, and answers every event in time                        -> ``receive``
6. it bids where it is invited, if it was given prices, and never twice for nothing            -> ``bid``
"""

import argparse
import asyncio
import contextlib
import csv
import json
import socket
import sys
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiomqtt

PREFIX = "vpp/v1"
RESEND_AFTER_S = 10.0
READING_EVERY_S = 60.0
# Steps of our bid in a zone: CNY/kWh, and up to how many kW at this price.
Steps = dict[str, list[tuple[float, float]]]
# Small messages must not wait for each other.
NO_DELAY = (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def now() -> datetime:
    """The time; keep the machine's clock right (NTP): a setpoint is judged by it."""
    return datetime.now(UTC)  # noqa: TID251


class Battery:
    """A stand-in for your device: 100 kW, 200 kWh. Power is positive when consuming, that is when charging."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.energy_kwh = 100.0
        self.orders: list[tuple[datetime, datetime, float | None]] = []  # from, until, power; the newest last
        self.sequence = 0
        self._measured_at = now()

    def columns(self, aggregator_id: str) -> dict[str, Any]:
        """What is registered; the columns of each kind of resource are in ``asyncapi.json``."""
        return {
            "action": "update",
            "kind": "storage",
            "resource_id": self.name,
            "aggregator_id": aggregator_id,
            "zone_id": "jinjiang",
            "meter_id": f"meter-{self.name}",
            "pillar": "source",
            "tariff_id": "sichuan-summer",
            "charge_limit_kw": 100.0,
            "discharge_limit_kw": 100.0,
            "energy_min_kwh": 10.0,
            "energy_max_kwh": 200.0,
            "energy_start_kwh": 100.0,
            "energy_end_min_kwh": 100.0,
            "charge_efficiency": 0.95,
            "discharge_efficiency": 0.95,
            "wear_cost_per_kwh": 0.12,
            "fallback_power_kw": 0.0,  # what this device does by itself when an order has ended
            "telemetry_ttl_s": 300.0,  # without a reading for so long it will not be dispatched
            "connected_kw": 100.0,
            "declared_kw": 95.0,
        }

    def power_kw(self) -> float:
        """What the device does now: the newest order that holds now (None: its own control), else its own fallback.

        This is the one rule that must work without any connection.  Put it into the device if you can.
        """
        moment = now()
        held = [power_kw for start, until, power_kw in self.orders if start <= moment < until]
        return held[-1] or 0.0 if held else 0.0

    def take(self, start: datetime, until: datetime, power_kw: float | None) -> None:
        """Keep an order, also one that begins later; forget those that are over."""
        self.orders = [order for order in self.orders if order[1] > now()] + [(start, until, power_kw)]

    def refusal(self, power_kw: float | None) -> str:
        """Why an order cannot be taken; empty if it can."""
        if power_kw is not None and not -100.0 <= power_kw <= 100.0:
            return f"{power_kw:g} kW is beyond 100 kW"
        return ""

    def reading(self) -> dict[str, Any]:
        """A reading: the mean power since the one before, and the energy now."""
        moment, power_kw = now(), self.power_kw()
        hours = (moment - self._measured_at).total_seconds() / 3600
        self._measured_at = moment
        self.energy_kwh += hours * (power_kw * 0.95 if power_kw > 0 else power_kw / 0.95)
        self.sequence += 1
        return {
            "resource_id": self.name,
            "measured_at": moment.isoformat(),
            "power_kw": power_kw,
            "energy_kwh": self.energy_kwh,
            "sequence": self.sequence,
        }


class Outbox:
    """Messages that have no receipt yet. A real gateway keeps them on disk, so that a power cut loses nothing."""

    def __init__(self) -> None:
        self.waiting: dict[str, tuple[str, str]] = {}

    def add(self, last: str, fields: dict[str, Any]) -> str:
        """Put a message in; it is sent by ``send`` until its receipt comes."""
        message_id = uuid.uuid4().hex
        message = {"schema_version": 1, "message_id": message_id, "sent_at": now().isoformat(), **fields}
        self.waiting[message_id] = (last, json.dumps(message))
        return message_id

    def receipt(self, content: dict[str, Any]) -> None:
        """Done, also with what was refused: sending that again would only be refused again."""
        for message_id in content["message_ids"]:
            self.waiting.pop(message_id, None)
        for item in content["refused"]:
            say(f"refused: {item['field']} {item['rule']} (was {item['value']!r}, item {item['index']})")


class Gateway:
    """Our side of the wire for a handful of devices."""

    def __init__(self, aggregator_id: str, devices: list[Battery], steps: Steps | None = None) -> None:
        self.aggregator_id = aggregator_id
        self.devices = {device.name: device for device in devices}
        self.outbox = Outbox()
        self.accepted: set[str] = set()
        self.last_sequence = -1
        self.said: dict[str, list[dict[str, Any]]] = {}  # what was acknowledged, by command
        self.steps = steps or {}
        self.invited: dict[str, dict[str, Any]] = {}  # the newest invitation, by event
        self._topic = f"{PREFIX}/{aggregator_id}"

    async def run(self, host: str, port: int, password: str, *, reading_every_s: float = READING_EVERY_S) -> None:
        """Register, measure always, and stay connected as well as can be."""
        self.register()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.measure(reading_every_s))
            tasks.create_task(self.stay_connected(host, port, password))

    async def stay_connected(self, host: str, port: int, password: str) -> None:
        """Connect, and connect again whenever the connection is lost."""
        while True:
            try:
                async with aiomqtt.Client(
                    host,
                    port,
                    username=self.aggregator_id,  # the user name is the aggregator
                    password=password,
                    identifier=f"{self.aggregator_id}-gateway-1",  # fixed: the broker keeps messages for it
                    clean_session=False,
                    keepalive=20,
                    will=aiomqtt.Will(f"{self._topic}/up/status", self._status("offline"), qos=1, retain=True),
                    socket_options=[NO_DELAY],
                ) as client:
                    await client.subscribe(f"{self._topic}/down/#", qos=1)
                    await client.publish(f"{self._topic}/up/status", self._status("online"), qos=1, retain=True)
                    say("connected")
                    async with asyncio.TaskGroup() as tasks:
                        tasks.create_task(self.send(client))
                        await self.listen(client)
            except* aiomqtt.MqttError as lost:
                say(f"no connection, trying again: {lost.exceptions[0]}")
            await asyncio.sleep(2)

    def register(self) -> None:
        """Announce the devices; do it again whenever one of them changes (at most 2000 in a message)."""
        changes = [device.columns(self.aggregator_id) for device in self.devices.values()]
        self.outbox.add("register", {"changes": changes})

    async def send(self, client: aiomqtt.Client) -> None:
        """Send what is new at once, and what got no receipt again after a while."""
        sent_at: dict[str, float] = {}
        loop = asyncio.get_running_loop()
        while True:
            for message_id, (last, payload) in list(self.outbox.waiting.items()):
                if loop.time() - sent_at.get(message_id, -1e9) > RESEND_AFTER_S:
                    sent_at[message_id] = loop.time()
                    await client.publish(f"{self._topic}/up/{last}", payload, qos=1)
            for message_id in sent_at.keys() - self.outbox.waiting.keys():
                del sent_at[message_id]
            await asyncio.sleep(0.1)

    async def measure(self, every_s: float) -> None:
        """Read all devices; many readings in one message are cheaper than many messages."""
        while True:
            if self.accepted:
                readings = [self.devices[name].reading() for name in sorted(self.accepted)]
                self.outbox.add("telemetry", {"readings": readings})
            await asyncio.sleep(every_s)

    async def listen(self, client: aiomqtt.Client) -> None:
        """Take what the platform sends."""
        async for message in client.messages:
            last = str(message.topic).rsplit("/", 1)[-1]
            self.receive(last, json.loads(message.payload))

    def receive(self, last: str, content: dict[str, Any]) -> None:
        """One message from the platform. Topics that you do not know are those of a later version: ignore them."""
        if last == "receipt":
            self.outbox.receipt(content)
        elif last == "register-result":
            for row in content["results"]:
                if row["accepted"]:
                    self.accepted.add(row["resource_id"])
                else:
                    say(f"{row['resource_id']} not accepted: {row['field']} {row['rule']}")
        elif last == "setpoints":
            self.obey(content)
        elif last == "event":
            self.answer_event(content)
        elif last == "invitations":
            self.bid(content)
        elif last == "awards":
            for row in content["awards"]:
                say(f"award: {row['reason_en']} {row['payment_cny']} CNY if delivered")
        elif last == "statements":
            totals = content["totals"]  # money is text: read it as a decimal number, never as a binary fraction
            say(f"statement {content['version']} of {content['event_id']} {content['status']}: {totals['net_cny']} CNY")

    def obey(self, batch: dict[str, Any]) -> None:
        """Setpoints: judge them by ``valid_until`` and ``sequence``, not by the broker's retain flag."""
        command_id = batch["command_id"]
        start, until = (datetime.fromisoformat(batch[name]) for name in ("valid_from", "valid_until"))
        if command_id in self.said:  # the same once more: do nothing more, but say again what you said
            self.outbox.add("ack", {"acks": self.said[command_id]})
            return
        if batch["sequence"] <= self.last_sequence or until <= now():
            return  # an older command that was on its way for long
        self.last_sequence = batch["sequence"]
        acks: list[dict[str, Any]] = []
        for setpoint in batch["setpoints"]:
            device = self.devices.get(setpoint["resource_id"])
            reason = "unknown device" if device is None else device.refusal(setpoint["power_kw"])
            if device is None or reason:
                name = setpoint["resource_id"]
                acks.append({"command_id": command_id, "resource_id": name, "status": "refused", "reason": reason})
                continue
            device.take(start, until, setpoint["power_kw"])
        # Without resource_id: everything in the command that is not named apart.
        acks.append({"command_id": command_id, "status": "taken"})
        self.said = dict([*self.said.items(), (command_id, acks)][-100:])
        self.outbox.add("ack", {"acks": acks})

    def answer_event(self, event: dict[str, Any]) -> None:
        """Say yes, partly or no before ``respond_by``; what is declined is offered to others."""
        say(f"event {event['event_id']} {event['status']}: {event['share_kw']:g} kW from {event['start']}")
        if event["status"] not in ("notified", "changed") or event.get("respond_by") is None:
            return  # an emergency is a direct call: nobody is asked
        able_kw = 95.0 * len(self.accepted)
        if able_kw <= 0:
            answer: dict[str, Any] = {"answer": "decline"}
        elif able_kw >= event["share_kw"]:
            answer = {"answer": "accept"}
        else:
            answer = {"answer": "accept_part", "accepted_kw": able_kw}
        self.outbox.add("event-response", {"event_id": event["event_id"], **answer})

    def bid(self, invitation: dict[str, Any]) -> None:
        """Offer our steps for every interval; whoever has no price stays away.

        Bidding again would replace the bid, and of equal prices the earlier one is served first: so not for nothing.
        """
        event_id = invitation["event_id"]
        news = {name: invitation[name] for name in invitation if name not in ("message_id", "sent_at")}
        if self.invited.get(event_id) == news:
            return
        self.invited[event_id] = news
        say(f"invitation to {event_id}: {invitation['status']}, bids until {invitation['bids_until']}")
        if invitation["status"] != "open" or datetime.fromisoformat(invitation["bids_until"]) <= now():
            return
        bids = []
        for zone_id in invitation["zone_ids"]:
            steps = allowed_steps(self.steps.get(zone_id, []), invitation)
            if steps:
                offers = [{"start": interval["start"], "steps": steps} for interval in invitation["intervals"]]
                bids.append({"action": "place", "zone_id": zone_id, "offers": offers})
        if bids:
            sequence = int(now().timestamp())  # rises, also across a restart: an older message never replaces a newer
            self.outbox.add("bids", {"event_id": event_id, "sequence": sequence, "bids": bids})

    def dispute(self, event_id: str, version: int, reason: str, resource_id: str | None = None) -> None:
        """Contest a version of a statement; the corrected one comes as a statement of its own."""
        fields = {"event_id": event_id, "version": version, "resource_id": resource_id, "reason": reason}
        self.outbox.add("disputes", fields)

    def _status(self, status: str) -> str:
        message = {"schema_version": 1, "message_id": uuid.uuid4().hex, "sent_at": now().isoformat()}
        return json.dumps({**message, "status": status})


def allowed_steps(steps: list[tuple[float, float]], invitation: dict[str, Any]) -> list[dict[str, float]]:
    """Steps as the market wants them: whole ticks from floor to cap, whole quanta, prices and kW rising."""
    tick, quantum = invitation["tick_per_kwh"], invitation["quantum_kw"]
    made: list[dict[str, float]] = []
    for price, up_to_kw in sorted(steps):
        whole_price, whole_kw = round(round(price / tick) * tick, 9), int(up_to_kw / quantum + 1e-9) * quantum
        fits = invitation["floor_per_kwh"] <= whole_price <= invitation["cap_per_kwh"]
        if fits and whole_kw > (made[-1]["up_to_kw"] if made else 0):
            made.append({"price_per_kwh": whole_price, "up_to_kw": whole_kw})
    return made


def read_prices(path: Path) -> Steps:
    """A price file: a table ``zone_id,price_per_kwh,up_to_kw``, one row for each step."""
    steps: Steps = {}
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            steps.setdefault(row["zone_id"], []).append((float(row["price_per_kwh"]), float(row["up_to_kw"])))
    return steps


def say(text: str) -> None:
    """To the screen."""
    sys.stdout.write(f"{now():%H:%M:%S} {text}\n")
    sys.stdout.flush()


def main() -> None:
    """Read the command line and run until interrupted."""
    parser = argparse.ArgumentParser(description="An example gateway with a few batteries")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=1883)
    parser.add_argument("--aggregator", required=True)
    parser.add_argument("--password-file", type=Path, required=True, help="better than on the command line")
    parser.add_argument("--batteries", type=int, default=3)
    parser.add_argument("--reading-every-s", type=float, default=READING_EVERY_S)
    parser.add_argument("--bid-price", type=float, help="bid all batteries at this price, CNY/kWh")
    parser.add_argument("--bid-file", type=Path, help="bid the steps of this table: zone_id,price_per_kwh,up_to_kw")
    given = parser.parse_args()
    batteries = [Battery(f"{given.aggregator}-battery-{k}") for k in range(1, given.batteries + 1)]
    steps: Steps = {} if given.bid_file is None else read_prices(given.bid_file)
    if given.bid_price is not None:
        steps = {"jinjiang": [(given.bid_price, 95.0 * given.batteries)]}
    gateway = Gateway(given.aggregator, batteries, steps)
    password = given.password_file.read_text().strip()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(gateway.run(given.host, given.port, password, reading_every_s=given.reading_every_s))


if __name__ == "__main__":
    main()
