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
import copy
import ssl
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.intervals import FloatArray, IntervalGrid
from models.ports import Clock
from simulations.clock import VirtualClock
from simulations.devices.bank import BankReading, DeviceBank
from simulations.devices.charger import EndedStay
from simulations.devices.meter import Meters
from simulations.devices.sessions import Visit
from simulations.faults import FaultPlan
from simulations.fleet_state import FleetState
from simulations.given_orders import GivenOrder, GivenOrders
from simulations.scenarios.generator import GeneratedFleet
from simulations.wire import codec
from simulations.wire.gateway import MOST_READINGS, PREFIX, AggregatorGateway, Answer, Policy
from simulations.wire.orders import Outcome

HISTORY_STEP = timedelta(minutes=15)
HISTORY_STEP_S = 300.0
MOST_UNDER_WAY_BYTES = 24 * 1024 * 1024
"""A gateway that sends the past waits for answers from time to time, else the platform's queue runs over."""


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
    ``history_step``: over how long the readings of past days are means; at most an hour, and a part of one.
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
        history_step: timedelta = HISTORY_STEP,
    ) -> None:
        self.generated = generated
        self._history_step = history_step
        self.bank: DeviceBank = generated.bank
        self.faults = faults or FaultPlan(self.bank.resource_ids, generated.seed)
        self._given = GivenOrders(self.bank.resource_ids)
        self._clock = clock
        self._telemetry_s, self._step_s = telemetry_s, step_s
        self._meters = Meters(self.bank.resource_ids, generated.seed)
        count = len(self.bank)
        self._energy_kwh, self._since_s = np.zeros(count), np.full(count, self.bank.now.timestamp())
        self._last_power = np.full(count, np.nan)
        self._stood_at: dict[int, float] = {}
        """Power of devices that do their orders by half, before they had any."""
        self._sequence = np.zeros(count, dtype=np.int64)
        self._told: dict[int, Visit | None] = {}
        self._is_charger = np.zeros(count, dtype=np.bool_)
        self._is_charger[[self.bank.row_of[name] for name in self.bank.charger_ids]] = True
        self._mark: DeviceBank | None = None
        self._rows: dict[str, NDArray[np.int64]] = {}
        self.gateways: dict[str, AggregatorGateway] = {}
        for name, changes in generated.registrations.items():
            ids = [row["resource_id"] for row in changes]
            declared = sum(row["declared_kw"] for row in changes)
            policy = (policies or {}).get(name, accept_what_is_declared(declared))
            self._rows[name] = np.array([self.bank.row_of[each] for each in ids], dtype=np.int64)
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
            speaking = self._rows[name][~mute[self._rows[name]]]
            straggling = speaking[late[speaking] > 0]
            prompt = self._texts(speaking[late[speaking] <= 0], now, latest)
            if prompt:
                gateway.publish_readings(prompt, now)
            if len(straggling):
                due = now + timedelta(seconds=float(late[straggling].max()))
                gateway.publish_later(due, "telemetry", {"readings": self._texts(straggling, now, latest)})
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
        return BankReading(
            power * self.faults.meter_factor(now), latest.energy_kwh, latest.temperature_celsius, latest.available
        )

    def _texts(self, rows: NDArray[np.int64], now: datetime, reported: BankReading) -> list[str]:
        """The readings of these devices, as they go into a message."""
        self._sequence[rows] += 1
        skew_s = self.faults.skew_s(now)[rows]
        if skew_s.any():  # each clock by itself
            parts = [(rows[skew_s == each], now + timedelta(seconds=float(each))) for each in np.unique(skew_s)]
            return [text for part, moment in parts for text in self._texts_at(part, moment, reported)]
        return self._texts_at(rows, now, reported)

    def _texts_at(self, rows: NDArray[np.int64], moment: datetime, reported: BankReading) -> list[str]:
        return codec.reading_texts(
            [self.bank.resource_ids[row] for row in rows.tolist()],
            moment,
            reported.power_kw[rows],
            self._sequence[rows].tolist(),
            energy_kwh=reported.energy_kwh[rows],
            temperature_celsius=reported.temperature_celsius[rows],
            available=reported.available[rows],
            sessions=self._news(rows),
        )

    def _news(self, rows: NDArray[np.int64]) -> dict[int, dict[str, Any] | None]:
        """What these chargers have to say about cars that came or went since they last spoke, by position."""
        news: dict[int, dict[str, Any] | None] = {}
        for place in np.flatnonzero(self._is_charger[rows]).tolist():
            row = int(rows[place])
            visit = self.bank.visit_at(self.bank.resource_ids[row])
            if row not in self._told or self._told[row] is not visit:
                self._told[row] = visit
                news[place] = None if visit is None else _session(visit)
        return news

    # ---- orders (what the gateways ask of the devices)

    def command(self, resource_id: str, power_kw: float | None, valid_from: datetime, valid_until: datetime) -> Outcome:
        """Hand an order to a device, through whatever is wrong with it at the moment."""
        now, row = self._clock.now(), self.bank.row_of[resource_id]
        if self.faults.silent(now)[row]:
            return Outcome("silent")
        late_s = float(self.faults.late_s(now)[row])
        if power_kw is not None and self.faults.refusing(now)[row]:
            return Outcome("refused", "the owner does not want to", late_s)
        if self.faults.ignoring(now)[row]:
            return Outcome("taken", "", late_s)
        if power_kw is None:
            self._stood_at.pop(row, None)
        elif self.faults.partial(now)[row]:
            power_kw = 0.5 * (power_kw + self._stood_at.setdefault(row, float(self._latest.power_kw[row])))
        self._live_up_to(now)
        objection = self.bank.command(resource_id, power_kw, valid_from, valid_until)
        if objection is not None:
            return Outcome("refused", objection, late_s)
        self._given.add(row, power_kw, max(valid_from, self.bank.now), valid_until)
        return Outcome("taken", "", late_s)

    def _live_up_to(self, now: datetime) -> None:
        """Bring the physics to the present, so that no order is followed before it has come: it is from the next whole
        step on.
        """
        if self.bank.now >= now:  # the first order of a batch has done it
            return
        whole = np.ceil(now.timestamp() / self._step_s) * self._step_s
        until = min(datetime.fromtimestamp(float(whole), tz=UTC), self._next_reading())
        if until > self.bank.now:
            self._advance(until)

    # ---- days before

    async def history_day(self, day: date, *, until: datetime | None = None, publish: bool = True) -> int:
        """Live through a past local day undispatched and publish its readings (means of ``history_step``) as backfill.

        Days must come in order, each from where the devices stand; ``until`` ends the last one early.  Returns the
        number of readings.
        """
        scenario = self.generated.scenario
        start, end = scenario.midnight(day), until or scenario.midnight(day + timedelta(days=1))
        if self.bank.now != start:
            raise ValueError(f"day: devices stand at {self.bank.now.isoformat()}, not at the start of {day}")
        kept: dict[str, list[str]] = {name: [] for name in self.gateways}
        sent = 0
        until = start
        while until < end:
            until = min(until + self._history_step, end)
            hours = (until - self.bank.now).total_seconds() / 3600
            latest = self.bank.advance(until, HISTORY_STEP_S)
            self._energy_kwh = latest.power_kw * hours
            self._since_s[:] = until.timestamp() - hours * 3600
            reported = self._reported(until, latest)
            if publish:
                for name, rows in self._rows.items():
                    kept[name].extend(self._texts(rows, until, reported))
                sent += await self._send_history(kept, MOST_READINGS)
        self._energy_kwh, self._since_s = np.zeros(len(self.bank)), np.full(len(self.bank), end.timestamp())
        return sent + await self._send_history(kept, 1)

    async def _send_history(self, kept: dict[str, list[str]], least: int) -> int:
        """Send what is kept of those who have enough for a message, and wait while too much is under way."""
        sent = 0
        for name, texts in kept.items():
            if len(texts) >= least:
                self.gateways[name].publish_readings(texts, self._clock.now())
                sent += len(texts)
                texts.clear()
        await asyncio.sleep(0)
        if sum(gateway.waiting_bytes for gateway in self.gateways.values()) > MOST_UNDER_WAY_BYTES:
            await self.settled()
        return sent

    def warm_up(self, until: datetime) -> None:
        """Bring the devices to ``until`` without a word to anybody (for a fleet without history)."""
        self.bank.advance(until, HISTORY_STEP_S)
        self._energy_kwh = np.zeros(len(self.bank))
        self._since_s = np.full(len(self.bank), self.bank.now.timestamp())

    @property
    def state(self) -> FleetState:
        """Everything that lasts, copied; gateways (what is under way on the wires) are not part of it."""
        bank, told = copy.deepcopy((self.bank, self._told), {id(self.bank.world): self.bank.world})
        return FleetState(
            bank,
            self._energy_kwh.copy(),
            self._since_s.copy(),
            self._last_power.copy(),
            self._sequence.copy(),
            told,
        )

    def take_up(self, state: FleetState, *, dice_seed: int | None = None) -> None:
        """Stand where an earlier fleet of the same devices stood; ``dice_seed``: what happens from now on is thrown
        anew, the devices stay the same.  Before anybody is connected.
        """
        world = state.bank.world
        self.bank, told = copy.deepcopy((state.bank, dict(state.told)), {id(world): world})
        self._told = told
        if dice_seed is not None:
            self.bank.throw_anew(dice_seed)
        self._energy_kwh, self._since_s = state.energy_kwh.copy(), state.since_s.copy()
        self._last_power, self._sequence = state.last_power_kw.copy(), state.sequence.copy()

    @property
    def given(self) -> list[GivenOrder]:
        """Every order that a device has taken, in the order in which they came."""
        return list(self._given)

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

    @cached_property
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
