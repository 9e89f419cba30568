"""The simulated fleet: devices behind their aggregators' gateways, on a clock, connected to any broker.

    fleet = SimulatedFleet(generate_fleet(scenario), clock, faults)
    await fleet.start("mqtt://127.0.0.1:1883", {"industry": "secret", ...})     connect and register
    for day in scenario.earlier_days: await fleet.history_day(day)              past days, as backfill
    await fleet.warm_up(midnight)        or bring the devices up to now without a word
    task = asyncio.create_task(fleet.run())                                     live, on the clock

What really happened (``true_power``, ``true_sessions``) and what would have happened (``counterfactual``) is known
here and only here; none of it travels.
"""

import asyncio
import ssl
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np

from models.intervals import FloatArray, IntervalGrid
from models.ports import Clock
from simulations.clock import VirtualClock
from simulations.devices.bank import BankReading, DeviceBank
from simulations.devices.charger import EndedStay
from simulations.devices.meter import Meters
from simulations.devices.sessions import Visit
from simulations.faults import FaultPlan
from simulations.scenarios.generator import GeneratedFleet
from simulations.wire import codec
from simulations.wire.gateway import PREFIX, AggregatorGateway, Answer, Policy
from simulations.wire.orders import Outcome

HISTORY_STEP = timedelta(minutes=15)
HISTORY_STEP_S = 300.0


@dataclass(frozen=True, slots=True)
class GivenOrder:
    """An order as a device took it, or as a counterfactual shall give it."""

    resource_id: str
    power_kw: float | None
    valid_from: datetime
    valid_until: datetime


def accept_what_is_declared(declared_kw: float) -> Policy:
    """The policy of an honest aggregator: all of its share up to what it declared, and no more than that."""

    def policy(notice: codec.ReceivedEvent) -> Answer:
        if notice.share_kw <= declared_kw:
            return Answer("accept")
        return Answer("accept_part", accepted_kw=declared_kw)

    return policy


class SimulatedFleet:
    """Devices and gateways of a generated fleet.

    ``telemetry_s``: how often readings are published.  ``step_s``: longest step of the physics when live.
    """

    def __init__(
        self,
        generated: GeneratedFleet,
        clock: Clock,
        faults: FaultPlan | None = None,
        *,
        telemetry_s: float = 300.0,
        step_s: float = 60.0,
        policies: Mapping[str, Policy] | None = None,
        prefix: str = PREFIX,
        answer_timeout_s: float = 15.0,
    ) -> None:
        self.generated = generated
        self.bank: DeviceBank = generated.bank
        self.faults = faults or FaultPlan(self.bank.resource_ids, generated.seed)
        self.given: list[GivenOrder] = []
        self._clock = clock
        self._telemetry_s, self._step_s = telemetry_s, step_s
        self._meters = Meters(self.bank.resource_ids, generated.seed)
        count = len(self.bank)
        self._energy_kwh, self._since_s = np.zeros(count), np.full(count, self.bank.now.timestamp())
        self._last_power = np.full(count, np.nan)
        self._sequence = np.zeros(count, dtype=np.int64)
        self._told: dict[str, str | None] = dict.fromkeys(self.bank.charger_ids)
        self._told_any: set[str] = set()
        self._mark: DeviceBank | None = None
        self._rows: dict[str, list[int]] = {}
        self.gateways: dict[str, AggregatorGateway] = {}
        for name, changes in generated.registrations.items():
            ids = [row["resource_id"] for row in changes]
            declared = sum(row["declared_kw"] for row in changes)
            policy = (policies or {}).get(name, accept_what_is_declared(declared))
            self._rows[name] = [self.bank.row_of[each] for each in ids]
            self.gateways[name] = AggregatorGateway(
                name, clock, self, ids, policy=policy, prefix=prefix, answer_timeout_s=answer_timeout_s
            )

    # ---- life

    async def start(
        self,
        broker_url: str,
        credentials: Mapping[str, str],
        *,
        register: bool = True,
        tls: ssl.SSLContext | None = None,
    ) -> dict[str, dict[str, codec.ResourceAnswer]]:
        """Connect every gateway and (unless told otherwise) register its resources; the platform's answers."""
        for name, gateway in self.gateways.items():
            await gateway.start(broker_url, credentials[name], tls=tls)
        return await self.register() if register else {}

    async def register(self) -> dict[str, dict[str, codec.ResourceAnswer]]:
        """Register all resources with the profiles they name; answers by aggregator and resource."""
        answers = {}
        for name, gateway in self.gateways.items():
            changes = self.generated.registrations[name]
            named = {str(row[column]) for row in changes for column in _PROFILE_COLUMNS if row.get(column)}
            profiles = {each: self.generated.profiles[each] for each in sorted(named)}
            answers[name] = await gateway.register(changes, profiles)
        return answers

    async def stop(self) -> None:
        """Disconnect every gateway."""
        for gateway in self.gateways.values():
            await gateway.stop()

    async def settled(self, timeout_s: float = 60.0) -> None:
        """Return when every message that went up is answered: a barrier for ``VirtualClock.add_barrier``."""
        for gateway in self.gateways.values():
            await gateway.settled(timeout_s)

    # ---- time

    def next_moment(self) -> datetime:
        """The next instant at which the fleet has anything to do."""
        return min([self._next_reading(), *self._dues()])

    def _next_reading(self) -> datetime:
        slots = np.floor(self.bank.now.timestamp() / self._telemetry_s) + 1
        return datetime.fromtimestamp(float(slots) * self._telemetry_s, tz=UTC)

    def _dues(self) -> Iterable[datetime]:
        return (due for gateway in self.gateways.values() if (due := gateway.next_due) is not None)

    async def run(self) -> None:
        """Live on the clock until cancelled: physics, readings, late answers."""
        while True:
            await self._clock.sleep_until(self.next_moment())
            await self.step_to(self._clock.now())

    async def step_to(self, moment: datetime) -> None:
        """Do everything that is due up to ``moment``; the clock is not touched, message times are those of their dues.

        Physics moves in whole steps, so that orders do not shift its grid.
        """
        while self.bank.now < moment:
            reading_at = self._next_reading()
            whole = np.floor(min(reading_at, moment).timestamp() / self._step_s) * self._step_s
            until = datetime.fromtimestamp(float(whole), tz=UTC)
            if until <= self.bank.now:
                break
            for gateway in self.gateways.values():
                gateway.flush(min(until, moment))
            self._advance(until)
            if until == reading_at:
                self._publish(until)
            await asyncio.sleep(0)
        for gateway in self.gateways.values():
            gateway.flush(moment)

    def _advance(self, until: datetime) -> None:
        hours = (until - self.bank.now).total_seconds() / 3600
        self._latest = self.bank.advance(until, self._step_s)
        self._energy_kwh += self._latest.power_kw * hours

    def _publish(self, now: datetime) -> None:
        mute, late = self.faults.mute(now), self.faults.late_s(now)
        latest = self._reported(now, self._latest)
        for name, gateway in self.gateways.items():
            prompt: list[dict[str, Any]] = []
            straggling: list[dict[str, Any]] = []
            latest_s = 0.0
            for row in self._rows[name]:
                if mute[row]:
                    continue
                fields = self._reading(row, now, latest)
                if late[row] > 0:
                    straggling.append(fields)
                    latest_s = max(latest_s, float(late[row]))
                else:
                    prompt.append(fields)
            if prompt:
                gateway.publish_readings(prompt, now)
            if straggling:
                due = now + timedelta(seconds=latest_s)
                gateway.publish_later(due, "telemetry", {"readings": straggling})
        spoken = ~mute
        self._energy_kwh = np.where(spoken, 0.0, self._energy_kwh)
        self._since_s = np.where(spoken, now.timestamp(), self._since_s)

    def _reported(self, now: datetime, latest: BankReading) -> BankReading:
        """What the meters say: the mean since each device's last reading, with their errors."""
        hours = (now.timestamp() - self._since_s) / 3600
        power = self._meters.read(self._energy_kwh / np.maximum(hours, 1e-9), now.timestamp())
        stuck = self.faults.stuck(now) & ~np.isnan(self._last_power)
        power = np.where(stuck, self._last_power, power)
        self._last_power = power
        return BankReading(power, latest.energy_kwh, latest.temperature_celsius, latest.available)

    def _reading(self, row: int, now: datetime, reported: BankReading) -> dict[str, Any]:
        name = self.bank.resource_ids[row]
        self._sequence[row] += 1
        fields = codec.reading(
            name,
            now,
            float(reported.power_kw[row]),
            int(self._sequence[row]),
            energy_kwh=float(reported.energy_kwh[row]),
            temperature_celsius=float(reported.temperature_celsius[row]),
            available=bool(reported.available[row]),
        )
        if name in self._told:
            visit = self.bank.visit_at(name)
            session_id = None if visit is None else visit.session_id
            if self._told[name] != session_id or name not in self._told_any:
                self._told[name] = session_id
                self._told_any.add(name)
                fields["session"] = None if visit is None else _session(visit)
        return fields

    # ---- orders (what the gateways ask of the devices)

    def command(self, resource_id: str, power_kw: float | None, valid_from: datetime, valid_until: datetime) -> Outcome:
        """Hand an order to a device, through whatever is wrong with it at the moment."""
        now, row = self._clock.now(), self.bank.row_of[resource_id]
        if self.faults.silent(now)[row]:
            return Outcome("silent")
        late_s = float(self.faults.late_s(now)[row])
        if power_kw is not None and self.faults.refusing(now)[row]:
            return Outcome("refused", "the owner does not want to", late_s)
        objection = self.bank.command(resource_id, power_kw, valid_from, valid_until)
        if objection is not None:
            return Outcome("refused", objection, late_s)
        self.given.append(GivenOrder(resource_id, power_kw, valid_from, valid_until))
        return Outcome("taken", "", late_s)

    # ---- days before

    async def history_day(self, day: date, *, until: datetime | None = None, publish: bool = True) -> int:
        """Live through a past local day undispatched and publish its readings (15-minute means) as backfill.

        Days must come in order, each from where the devices stand; ``until`` ends the last one early.  Returns the
        number of readings.
        """
        scenario = self.generated.scenario
        start, end = scenario.midnight(day), until or scenario.midnight(day + timedelta(days=1))
        if self.bank.now != start:
            raise ValueError(f"day: devices stand at {self.bank.now.isoformat()}, not at the start of {day}")
        kept: dict[str, list[dict[str, Any]]] = {name: [] for name in self.gateways}
        until = start
        while until < end:
            until = min(until + HISTORY_STEP, end)
            hours = (until - self.bank.now).total_seconds() / 3600
            latest = self.bank.advance(until, HISTORY_STEP_S)
            self._energy_kwh = latest.power_kw * hours
            self._since_s[:] = until.timestamp() - hours * 3600
            reported = self._reported(until, latest)
            if publish:
                for name, rows in self._rows.items():
                    kept[name].extend(self._reading(row, until, reported) for row in rows)
        self._energy_kwh, self._since_s = np.zeros(len(self.bank)), np.full(len(self.bank), end.timestamp())
        for name, readings in kept.items():
            self.gateways[name].publish_readings(readings, self._clock.now())
        await asyncio.sleep(0)
        return sum(len(readings) for readings in kept.values())

    def warm_up(self, until: datetime) -> None:
        """Bring the devices to ``until`` without a word to anybody (for a fleet without history)."""
        self.bank.advance(until, HISTORY_STEP_S)
        self._energy_kwh = np.zeros(len(self.bank))
        self._since_s = np.full(len(self.bank), self.bank.now.timestamp())

    # ---- what really was, and what would have been

    def mark(self) -> None:
        """Remember the devices as they stand: counterfactuals begin here."""
        self._mark = self.bank.copy()

    def counterfactual(self, until: datetime, orders: Iterable[GivenOrder] = ()) -> DeviceBank:
        """The same devices with the same dice from ``mark`` to ``until``, given these orders and no others.

        Ask the returned bank for ``true_power_kw``.  ``ValueError`` if nothing was marked.
        """
        if self._mark is None:
            raise ValueError("mark: must be called before a counterfactual")
        world = self._mark.copy()
        pending = sorted(orders, key=lambda order: order.valid_from)
        for order in pending:
            at = min(order.valid_from, until)
            if at > world.now:
                world.advance(at, self._step_s)
            world.command(order.resource_id, order.power_kw, order.valid_from, order.valid_until)
        if until > world.now:
            world.advance(until, self._step_s)
        return world

    def true_power(self, start: datetime, end: datetime) -> tuple[IntervalGrid, dict[str, FloatArray]]:
        """True mean power of every device on the 5-minute grid of [start, end), kW."""
        grid, power = self.bank.true_power_kw(start, end)
        return grid, {name: power[row] for row, name in enumerate(self.bank.resource_ids)}

    @property
    def true_sessions(self) -> Sequence[EndedStay]:
        """Every stay that is over, as it really was."""
        return self.bank.ended_stays

    @property
    def class_of(self) -> dict[str, str]:
        """Class of every device."""
        return {name: self.bank.class_of(name) for name in self.bank.resource_ids}


_PROFILE_COLUMNS = ("baseline_profile", "available_profile", "run_profile")


def _session(visit: Visit) -> dict[str, Any]:
    """A stay as the charger announces it: what the driver said, not what will happen."""
    return {
        "session_id": visit.session_id,
        "arrival": codec.stamp(datetime.fromtimestamp(visit.arrival_s, tz=UTC)),
        "departure": codec.stamp(datetime.fromtimestamp(visit.departure_s, tz=UTC)),
        "energy_needed_kwh": round(visit.needed_kwh, 3),
        "battery_capacity_kwh": round(visit.capacity_kwh, 3),
        "battery_start_kwh": round(visit.start_kwh, 3),
    }


def attach(fleet: SimulatedFleet, clock: VirtualClock) -> asyncio.Task[None]:
    """Let a fleet live on a virtual clock: its task runs, and time waits until its messages are answered."""
    clock.add_barrier(fleet.settled)
    return asyncio.create_task(fleet.run(), name="simulated fleet")
