"""Gateways that send readings as fast as the platform takes them: the far side of ``vpp bench ingest``.

A process of its own (``python -m simulations.wire.telemetry_load ORDER.json``): registers its devices over the wire,
sends readings for so long, sends again what is not receipted, and writes down what it has sent.  JSON and MQTT are
its own.  A reading's values follow from its device and the number of its message, so that whoever looks into the
database afterwards can recompute every one of them (``power_kw_of``).
"""

import asyncio
import json
import resource
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from simulations.clock import SystemClock
from simulations.wire import mqtt_bytes

MOST_CHANGES = 500
RESEND_AFTER_S = 5.0
"""A gateway that waits longer for a receipt sends again."""
TRY_EVERY_S = 0.1
TICK_S = 0.005
CHARGER_EVERY = 4
"""Every so many devices one is a charger, the others are batteries."""


@dataclass(frozen=True, slots=True)
class LoadOrder:
    """What to do.  ``passwords`` by aggregator; ``resources`` of all together; ``window``: messages of one gateway
    that may wait for their receipt; ``rate``: readings per second of all together, None as fast as they are taken.
    """

    host: str
    port: int
    prefix: str
    passwords: dict[str, str]
    resources: int
    zone_id: str
    tariff_id: str
    readings_per_message: int
    window: int
    warm_up_s: float
    seconds: float
    run: str
    sent_file: str
    rate: float | None = None
    drain_s: float = 60.0
    register: bool = True


@dataclass
class LoadResult:
    """What came of it; times in seconds, rates per second, ``outage_s``: the longest time without any receipt."""

    register_s: float = 0.0
    sent_messages: int = 0
    sent_readings: int = 0
    sent_again: int = 0
    unanswered: int = 0
    refused: int = 0
    connections: int = 0
    readings_per_s: float = 0.0
    messages_per_s: float = 0.0
    receipts: int = 0
    seconds: float = 0.0
    latency_p50_s: float = 0.0
    latency_p99_s: float = 0.0
    outage_s: float = 0.0
    cpu_s: float = 0.0
    faults: list[str] = field(default_factory=list)
    sent_ms: dict[str, list[int]] = field(default_factory=dict)


def device_name(aggregator_id: str, device: int) -> str:
    """Id of a device of an aggregator."""
    return f"{aggregator_id}-{device:06}"


def power_kw_of(device: np.ndarray[Any, Any], message: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """What a device says in the so-manyth message of its gateway, kW."""
    return np.asarray((device % 4 * 1000 + message % 1000) / 1000)  # as the text is read: one rounding


def measured_us_of(device: np.ndarray[Any, Any], sent_ms: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """When: each device of a message has read its meter at a microsecond of its own."""
    return np.asarray(sent_ms * 1000 + device % 1000)


def _registration(order: LoadOrder, aggregator_id: str, device: int) -> dict[str, Any]:
    name = device_name(aggregator_id, device)
    common = {
        "action": "update",
        "resource_id": name,
        "aggregator_id": aggregator_id,
        "zone_id": order.zone_id,
        "meter_id": f"meter-{name}",
        "tariff_id": order.tariff_id,
        "charge_limit_kw": 5.0,
        "connected_kw": 5.0,
        "charge_efficiency": 0.95,
    }
    if device % CHARGER_EVERY == 0:
        return common | {"kind": "ev_session", "pillar": "load"}
    return common | {
        "kind": "storage",
        "pillar": "source",
        "discharge_limit_kw": 5.0,
        "energy_min_kwh": 0.0,
        "energy_max_kwh": 20.0,
        "energy_start_kwh": 10.0,
        "energy_end_min_kwh": 0.0,
        "discharge_efficiency": 0.95,
        "wear_cost_per_kwh": 0.1,
    }


def _chunk(aggregator_id: str, devices: range) -> bytes:
    """The readings of some devices with places for the time (to the millisecond), the decimals and the sequence."""
    items = []
    for device in devices:
        level = "" if device % CHARGER_EVERY == 0 else f',"energy_kwh":{device % 19}.5'
        name = device_name(aggregator_id, device)
        stamp = f"@T@{device % 1000:03}Z"
        items.append(
            f'{{"resource_id":"{name}","measured_at":"{stamp}","power_kw":{device % 4}.@K@{level},"sequence":@S@}}'
        )
    return ",".join(items).encode()


class Gateway:
    """One aggregator: its connection, its devices, what waits for a receipt."""

    def __init__(self, order: LoadOrder, aggregator_id: str, devices: int, result: LoadResult) -> None:
        self._order, self.aggregator_id, self._devices, self._result = order, aggregator_id, devices, result
        self._topic = f"{order.prefix}/{aggregator_id}/up/telemetry"
        self._clock = SystemClock()
        step = order.readings_per_message
        self._parts = [range(low, min(low + step, devices)) for low in range(0, devices, step)]
        self._chunks = [_chunk(aggregator_id, part) for part in self._parts]
        self._last_ms = [0] * len(self._parts)
        self.sent_ms: list[int] = []
        self.waiting: dict[int, tuple[float, float]] = {}
        self.registering: dict[str, bytes] = {}
        self.receipts: list[tuple[float, int, float]] = []
        self._connection: mqtt_bytes.Connection | None = None
        self.stopped = False

    @property
    def readings_sent(self) -> int:
        """In all messages so far, each counted once."""
        rounds, more = divmod(len(self.sent_ms), len(self._parts))
        return rounds * self._devices + sum(len(part) for part in self._parts[:more])

    # ---- connection

    async def keep_connected(self) -> None:
        """Connect, and again whenever the connection is lost."""
        loop, order = asyncio.get_running_loop(), self._order
        hello = mqtt_bytes.connect(
            f"load-{self.aggregator_id}", self.aggregator_id, order.passwords[self.aggregator_id]
        )
        down = f"{order.prefix}/{self.aggregator_id}/down/#"
        while not self.stopped:
            lost: asyncio.Future[str] = loop.create_future()

            def gone(why: str, lost: asyncio.Future[str] = lost) -> None:
                if not lost.done():
                    lost.set_result(why)

            def make(gone: Callable[[str], None] = gone) -> mqtt_bytes.Connection:
                return mqtt_bytes.Connection(hello, down, self._ready, self._take, gone)

            try:
                _, self._connection = await loop.create_connection(make, order.host, order.port)
            except OSError:
                await asyncio.sleep(TRY_EVERY_S)
                continue
            why = await lost
            if "refuses" in why:
                self._result.faults.append(f"{self.aggregator_id}: {why}")
            self._connection = None
            await asyncio.sleep(TRY_EVERY_S)

    def _ready(self) -> None:
        self._result.connections += 1
        self._again(time.monotonic())

    def close(self) -> None:
        """No more."""
        self.stopped = True
        if self._connection is not None:
            self._connection.close()

    # ---- up

    def register(self) -> None:
        """Send all registrations; they wait for their receipts like everything else."""
        for low in range(0, self._devices, MOST_CHANGES):
            devices = range(low, min(low + MOST_CHANGES, self._devices))
            changes = [_registration(self._order, self.aggregator_id, device) for device in devices]
            name = f"{self._order.run}-register-{low}"
            self.registering[name] = json.dumps(self._envelope(name) | {"changes": changes}).encode()
        self._again(time.monotonic())

    def _envelope(self, message_id: str) -> dict[str, Any]:
        return {"schema_version": 1, "message_id": message_id, "sent_at": self._clock.now().isoformat()}

    def fill(self, now_s: float, most: int) -> None:
        """Send as many new messages as the window has room for, at most so many."""
        connection = self._connection
        if connection is None or not connection.open:
            return
        room = min(self._order.window - len(self.waiting), most)
        fresh = []
        for _ in range(room):
            number = len(self.sent_ms)
            part = number % len(self._parts)
            now_ms = int(self._clock.now().timestamp() * 1000)
            self._last_ms[part] = max(now_ms, self._last_ms[part] + 1)
            self.sent_ms.append(self._last_ms[part])
            self.waiting[number] = now_s, now_s
            fresh.append(self._payload(number))
        if fresh:
            connection.publish(self._topic, fresh)

    def _payload(self, number: int) -> bytes:
        stamp = datetime.fromtimestamp(self.sent_ms[number] / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S.")
        stamp += f"{self.sent_ms[number] % 1000:03}"
        head = (
            f'{{"schema_version":1,"message_id":"{self._order.run}-{number}","sent_at":"{stamp}Z","readings":['
        ).encode()
        body = self._chunks[number % len(self._chunks)].replace(b"@T@", stamp.encode())
        return head + body.replace(b"@K@", b"%03d" % (number % 1000)).replace(b"@S@", b"%d" % number) + b"]}"

    def send_again(self, now_s: float) -> None:
        """Send again what has waited too long."""
        if self._connection is not None and self._connection.open:
            self._again(now_s, RESEND_AFTER_S)

    def _again(self, now_s: float, older_than_s: float = 0.0) -> None:
        connection = self._connection
        if connection is None:
            return
        if self.registering and older_than_s == 0.0:
            topic = f"{self._order.prefix}/{self.aggregator_id}/up/register"
            connection.publish(topic, list(self.registering.values()))
        late = [number for number, (_, last_s) in self.waiting.items() if now_s - last_s >= older_than_s]
        for number in late:
            self.waiting[number] = self.waiting[number][0], now_s
        if late:
            self._result.sent_again += len(late)
            connection.publish(self._topic, [self._payload(number) for number in late])

    # ---- down

    def _take(self, topic: str, payload: bytes) -> None:
        if not topic.endswith("/receipt"):
            return
        said, now_s = json.loads(payload), time.monotonic()
        self._result.receipts += 1
        self._result.refused += len(said["refused"])
        if said["refused"]:
            self._result.faults += [str(each) for each in said["refused"][: 5 - len(self._result.faults)]]
        for name in said["message_ids"]:
            self.registering.pop(name, None)
            number = name.rpartition("-")[2]
            sent = self.waiting.pop(int(number), None) if number.isdigit() else None
            if sent is not None:
                readings = len(self._parts[int(number) % len(self._parts)])
                self.receipts.append((now_s, readings, now_s - sent[0]))


def devices_of(order: LoadOrder) -> dict[str, int]:
    """How many devices each aggregator has."""
    names = sorted(order.passwords)
    each, more = divmod(order.resources, len(names))
    return {name: each + (place < more) for place, name in enumerate(names)}


async def run_load(order: LoadOrder) -> LoadResult:
    """Register, send for so long, wait for the last receipts, write down what was sent."""
    result = LoadResult()
    gateways = [Gateway(order, name, count, result) for name, count in devices_of(order).items()]
    async with asyncio.TaskGroup() as tasks:
        for gateway in gateways:
            tasks.create_task(gateway.keep_connected(), name=gateway.aggregator_id)
        try:
            if order.register:
                began_s = time.monotonic()
                for gateway in gateways:
                    gateway.register()
                await _until(lambda: not any(gateway.registering for gateway in gateways), 300.0)
                result.register_s = time.monotonic() - began_s
            _say("ready")
            begin_s = time.monotonic()
            measured_s = begin_s + order.warm_up_s, begin_s + order.warm_up_s + order.seconds
            await _send(order, gateways, begin_s, measured_s)
            _say("sent")
            await _drain(order, gateways)
        finally:
            for gateway in gateways:
                gateway.close()
    _sum_up(result, gateways, order, measured_s)
    result.sent_ms = {gateway.aggregator_id: gateway.sent_ms for gateway in gateways}
    return result


async def _send(order: LoadOrder, gateways: Sequence[Gateway], begin_s: float, measured_s: tuple[float, float]) -> None:
    looked_s = begin_s
    share = None if order.rate is None else order.rate / order.readings_per_message / len(gateways)
    while (now_s := time.monotonic()) < measured_s[1]:
        for gateway in gateways:
            due = 10**9 if share is None else int((now_s - begin_s) * share) - len(gateway.sent_ms)
            gateway.fill(now_s, max(0, due))
        if now_s - looked_s > 1.0:
            looked_s = now_s
            for gateway in gateways:
                gateway.send_again(now_s)
        await asyncio.sleep(TICK_S)


async def _drain(order: LoadOrder, gateways: Sequence[Gateway]) -> None:
    give_up_s = time.monotonic() + order.drain_s
    while any(gateway.waiting for gateway in gateways) and time.monotonic() < give_up_s:
        await asyncio.sleep(0.2)
        for gateway in gateways:
            gateway.send_again(time.monotonic())


def _sum_up(result: LoadResult, gateways: Sequence[Gateway], order: LoadOrder, measured_s: tuple[float, float]) -> None:
    low, high = measured_s
    inside = sorted(each for gateway in gateways for each in gateway.receipts if low <= each[0] < high)
    result.sent_messages = sum(len(gateway.sent_ms) for gateway in gateways)
    result.sent_readings = sum(gateway.readings_sent for gateway in gateways)
    result.unanswered = sum(len(gateway.waiting) for gateway in gateways)
    result.seconds = order.seconds
    result.readings_per_s = sum(readings for _, readings, _ in inside) / order.seconds
    result.messages_per_s = len(inside) / order.seconds
    if inside:
        moments = np.array([low, *(at for at, _, _ in inside), high])
        latencies = np.array([latency for _, _, latency in inside])
        result.outage_s = float(np.diff(moments).max())
        result.latency_p50_s, result.latency_p99_s = (float(each) for each in np.quantile(latencies, (0.5, 0.99)))
    used = resource.getrusage(resource.RUSAGE_SELF)
    result.cpu_s = used.ru_utime + used.ru_stime


async def _until(test: Any, limit_s: float) -> None:
    async with asyncio.timeout(limit_s):
        while not test():  # noqa: ASYNC110 - a poll of memory
            await asyncio.sleep(0.02)


def sent_rows(order: LoadOrder, sent: Mapping[str, Sequence[int]]) -> Iterator[tuple[str, Any, Any, Any]]:
    """For every aggregator: device, measured_us and power_kw of every reading that was sent, (n,) each."""
    for name, devices in devices_of(order).items():
        step = order.readings_per_message
        parts = [np.arange(low, min(low + step, devices)) for low in range(0, devices, step)]
        sent_ms = np.array(sent[name], dtype=np.int64)
        numbers = np.arange(len(sent_ms))
        device = np.concatenate([parts[number % len(parts)] for number in numbers.tolist()] or [parts[0][:0]])
        sizes = np.array([len(parts[number % len(parts)]) for number in numbers.tolist()], dtype=np.int64)
        message = np.repeat(numbers, sizes)
        yield name, device, measured_us_of(device, sent_ms[message]), power_kw_of(device, message)


def _say(word: str, **facts: Any) -> None:
    sys.stdout.write(json.dumps({"said": word, **facts}) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Read the order from the file that is named, tell what came of it on standard output."""
    order = LoadOrder(**json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    told = asdict(asyncio.run(run_load(order)))
    Path(order.sent_file).write_text(json.dumps(told.pop("sent_ms")), encoding="utf-8")
    _say("done", result=told)


if __name__ == "__main__":
    main()
