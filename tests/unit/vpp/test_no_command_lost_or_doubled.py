"""Whatever is lost, doubled, late or killed: no device does a command twice, and what became of each is known.

The delivery stage and the SQLite store are the real ones; the wire between it and the far side's ``Orders`` does what
hypothesis says.
"""

import asyncio
import shutil
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import vpp.delivery as delivery_module
from adapters.mqtt.envelope import encode
from adapters.mqtt.payloads import SetpointsMessage
from adapters.store import Store
from models.errors import BrokerError
from models.events import EventNotice
from models.plan import DispatchPlan, SetpointBatch
from models.records import AckOutcome, AggregatorRecord, CommandAnswer
from models.telemetry import Reading
from simulations.wire import codec
from simulations.wire.orders import Orders, Outcome
from tests.live import T0, battery, plan_made, registered
from vpp.delivery import DeliveryStage
from vpp.metrics import Metrics
from vpp.outgoing import RetryRules
from vpp.state import LiveState
from vpp.window_means import Window

CYCLE = timedelta(minutes=5)
RULES = RetryRules(timedelta(seconds=45), 3)
OWNERS = {"b0": "sun", "b1": "sun", "b2": "sun", "b3": "moon"}
NAMES = tuple(OWNERS)


class Killed(BaseException):
    """``kill -9`` in the middle of sending."""


@dataclass
class Clock:
    """Time as the test moves it."""

    moment: datetime = T0

    def now(self) -> datetime:
        return self.moment

    async def sleep_until(self, moment: datetime) -> None:
        raise NotImplementedError


@dataclass
class Wire:
    """The way to the gateways and back: each message has a fate of its own, the first of ``fates`` or a good one."""

    clock: Clock
    world: "World"
    is_up: bool = True
    fates: list[str] = field(default_factory=list)
    slow: list[SetpointBatch] = field(default_factory=list)
    took: Counter[str] = field(default_factory=Counter)
    first_bytes: dict[str, bytes] = field(default_factory=dict)
    newest: dict[str, datetime] = field(default_factory=dict)
    """By aggregator: the newest delivery of which something was sent."""

    async def send_setpoints(self, batch: SetpointBatch, made_at: datetime | None = None) -> None:
        assert made_at is not None
        assert batch.valid_until > self.clock.now(), "sent when its time was over"
        newest = self.newest.setdefault(batch.aggregator_id, made_at)
        assert made_at >= newest, "sent behind a newer delivery"
        self.newest[batch.aggregator_id] = made_at
        payload = encode(SetpointsMessage.new(made_at, batch.command_id, **dict(batch)))
        assert self.first_bytes.setdefault(batch.command_id, payload) == payload, "not the same message"
        if not self.is_up:
            raise BrokerError("nobody there")
        fate = self.fates.pop(0) if self.fates else "fine"
        if fate == "killed before":
            raise Killed
        self.took[batch.command_id] += 1
        if fate == "slow":
            self.slow.append(batch)
        elif fate != "lost":
            for _ in range(2 if fate == "doubled" else 1):
                self.world.arrive(batch, acks_are_lost=fate == "ack lost")
        if fate == "killed after":
            raise Killed
        if fate == "unsure":
            raise BrokerError("it has arrived, but who knows")

    async def send_event(self, aggregator_id: str, notice: EventNotice) -> None:
        raise NotImplementedError


class World:
    """A service that may be killed, a wire that may do anything, and two gateways that keep to the contract."""

    def __init__(self, store: Store) -> None:
        self.store, self.clock = store, Clock()
        self.wire = Wire(self.clock, self)
        self.metrics = Metrics()
        self.deliveries = 0
        self.acks_lost = False
        self.said: set[str] = set()
        self.done: list[tuple[str, datetime, float]] = []
        """By the devices: resource, beginning, and the power, which says which delivery it was of."""
        self.counts: Counter[str] = Counter()
        self.gateways = {
            owner: Orders(self, [n for n in NAMES if OWNERS[n] == owner], self.clock, self.counts, self.answer, False)
            for owner in set(OWNERS.values())
        }
        self.stage = self.start()

    def start(self) -> DeliveryStage:
        state = LiveState(self.store.resources())
        return DeliveryStage(
            clock=self.clock, store=self.store, state=state, link=self.wire, metrics=self.metrics, retries=RULES
        )

    # ---- the far side

    def command(self, resource_id: str, power_kw: float | None, valid_from: datetime, valid_until: datetime) -> Outcome:
        assert power_kw is not None
        assert self.clock.now() < valid_until
        self.done.append((resource_id, valid_from, power_kw))
        return Outcome("taken")

    def arrive(self, batch: SetpointBatch, *, acks_are_lost: bool) -> None:
        self.acks_lost = acks_are_lost
        pairs = tuple((each.resource_id, each.power_kw) for each in batch.setpoints)
        self.gateways[batch.aggregator_id].take(
            codec.ReceivedSetpoints(
                batch.command_id, batch.sequence, batch.plan_hash, batch.valid_from, batch.valid_until, pairs
            )
        )

    def answer(self, acks: list[dict[str, Any]], due: datetime | None) -> None:
        assert due is None
        if not self.acks_lost:
            answers = [CommandAnswer(a["command_id"], a["resource_id"], AckOutcome(a["status"])) for a in acks]
            self.store.save_acks(answers, self.clock.now())
            self.said.update(each.command_id for each in answers)

    # ---- what may happen

    def new_orders(self) -> float:
        """A little later, with every battery heard: how much less than before is ordered now."""
        now = self.clock.moment = self.clock.moment + timedelta(seconds=15)
        self.deliveries += 1
        for name in NAMES:
            self.stage._state.take(Reading(resource_id=name, measured_at=now, power_kw=0.0, energy_kwh=50.0))
        return -float(self.deliveries) / 100

    async def deliver(self) -> None:
        power_kw, now = self.new_orders(), self.clock.moment
        windows = [Window(now, now + CYCLE, now + 2 * CYCLE), Window(now + CYCLE, now + 2 * CYCLE, now + 3 * CYCLE)]
        await self.survive(self.stage.deliver(plan_of(now, power_kw), windows))

    async def call(self, owner: str) -> None:
        """A direct call to the batteries of one aggregator."""
        power_kw, now = self.new_orders(), self.clock.moment
        names = tuple(name for name in NAMES if OWNERS[name] == owner)
        self.stage.overtake()
        window = Window(now, now + CYCLE, now + 2 * CYCLE)
        rows = self.stage._state.rows(names)
        await self.survive(self.stage.send_call(plan_of(now, power_kw, names, 1), rows, window, now))

    async def wait(self, seconds: int) -> None:
        """Let time pass as the service's loop does: it wakes when something is due."""
        until = self.clock.moment + timedelta(seconds=seconds)
        while (due := self.stage.next_due(self.clock.moment)) is not None and due <= until:
            self.clock.moment = due
            await self.survive(self.stage.retry())
        self.clock.moment = until

    async def broker(self, is_up: bool) -> None:
        was_up, self.wire.is_up = self.wire.is_up, is_up
        if is_up and not was_up:
            await self.survive(self.stage.send_again())

    async def restart(self) -> None:
        self.stage = self.start()
        newest = self.store.newest_delivery(self.clock.moment)
        if newest is not None:
            await self.stage.take_up(newest[0])

    def slow_ones_arrive(self) -> None:
        """What was long on its way, the last first."""
        while self.wire.slow:
            self.arrive(self.wire.slow.pop(), acks_are_lost=False)

    async def survive(self, doing: Any) -> None:
        try:
            await doing
        except Killed:
            await self.restart()

    async def do(self, step: tuple[str, Any]) -> None:
        match step:
            case "deliver", None:
                await self.deliver()
            case "call", str(owner):
                await self.call(owner)
            case "wait", int(seconds):
                await self.wait(seconds)
            case "fates", list(fates):
                self.wire.fates = list(fates)
            case "broker", bool(is_up):
                await self.broker(is_up)
            case "restart", None:
                await self.restart()
            case "slow", None:
                self.slow_ones_arrive()
            case unknown:
                raise AssertionError(unknown)


def plan_of(now: datetime, power_kw: float, names: tuple[str, ...] = NAMES, cycles: int = 4) -> DispatchPlan:
    return plan_made(names, np.full((len(names), cycles), power_kw), start=now, step=CYCLE)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with the four batteries, to be copied."""
    path = tmp_path_factory.mktemp("template") / "vpp.db"
    with Store(f"sqlite:///{path}") as store:
        store.migrate()
        for owner in sorted(set(OWNERS.values())):
            store.add_aggregator(AggregatorRecord(owner, "", "hash", T0))
        resources = [battery(name).model_copy(update={"aggregator_id": owner}) for name, owner in OWNERS.items()]
        assert store.upsert_resources([registered(each) for each in resources]) == {}
    return path


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """One or two setpoints in a message, so that a delivery to one gateway has parts, and a call too."""
    monkeypatch.setattr(delivery_module, "MOST_SETPOINTS", 2)
    monkeypatch.setattr(delivery_module, "FIRST_SETPOINTS", 1)


FATES = st.sampled_from(["fine", "lost", "ack lost", "slow", "doubled", "unsure", "killed before", "killed after"])
STEPS = st.one_of(
    st.just(("deliver", None)),
    st.tuples(st.just("call"), st.sampled_from(sorted(set(OWNERS.values())))),
    st.tuples(st.just("wait"), st.integers(1, 900)),
    st.tuples(st.just("fates"), st.lists(FATES, min_size=1, max_size=12)),
    st.tuples(st.just("broker"), st.booleans()),
    st.just(("restart", None)),
    st.just(("slow", None)),
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(STEPS, min_size=3, max_size=25))
def test_no_command_is_lost_or_doubled(template: Path, tmp_path: Path, steps: list[tuple[str, Any]]) -> None:
    path = tmp_path / "vpp.db"
    for left_over in tmp_path.glob("vpp.db*"):
        left_over.unlink()
    shutil.copy(template, path)
    with Store(f"sqlite:///{path}") as store:
        world = World(store)
        asyncio.run(play(world, steps))
        accounts_are_complete(world)


async def play(world: World, steps: list[tuple[str, Any]]) -> None:
    for step in steps:
        await world.do(step)
    world.wire.fates = []
    await world.broker(True)
    world.slow_ones_arrive()
    await world.wait(int((4 * CYCLE).total_seconds()))


def accounts_are_complete(world: World) -> None:
    """Everything that must hold at the end of any history."""
    store, now = world.store, world.clock.moment
    assert store.open_commands(now) == []
    assert world.stage.next_due(now) is None
    assert len(world.done) == len(set(world.done)), "a device did a command twice"
    newest: dict[tuple[str, datetime], float] = {}
    for name, begin, power_kw in world.done:
        assert power_kw <= newest.get((name, begin), 0.0), "an older order took the place of a newer"
        newest[name, begin] = power_kw

    made = [record for _, record in reversed(store.commands(limit=10_000))]
    for owner in world.gateways:
        numbers = [each.sequence for each in made if each.aggregator_id == owner]
        assert numbers == list(range(1, len(numbers) + 1))
    given_up = {each.command_id for each in made if each.given_up_at is not None}
    for each in made:
        fates = [
            bool(each.answered),
            each.command_id in given_up,
            each.sent_at < max(other.sent_at for other in made if other.aggregator_id == each.aggregator_id),
            each.valid_until <= now,
        ]
        assert any(fates), f"nobody knows what became of {each}"
        assert world.wire.took[each.command_id] <= each.tries <= RULES.most_tries
        assert (each.command_id in world.said) == bool(each.answered)
        kept = store.batch(each.command_id)
        assert kept is not None
        told = [(order.resource_id, each.valid_from, order.power_kw) in world.done for order in kept[0].setpoints]
        refused = each.answered.get(AckOutcome.REFUSED, 0)
        assert sum(told) <= each.setpoints - refused, "said to be refused, and done"
        if each.command_id in given_up:
            assert each.tries == RULES.most_tries
            assert each.sent_at + RULES.most_tries * RULES.answer_within <= each.given_up_at  # type: ignore[operator]
    audited = [
        command["command_id"]
        for line in store.audit_log(limit=10_000)
        if line.action == "command.given_up"
        for command in line.details["commands"]
    ]
    assert sorted(audited) == sorted(given_up), "given up twice, or without a word"


async def test_without_faults_every_command_is_sent_once_and_answered(template: Path, tmp_path: Path) -> None:
    shutil.copy(template, tmp_path / "vpp.db")
    with Store(f"sqlite:///{tmp_path / 'vpp.db'}") as store:
        world = World(store)
        for _ in range(3):
            await world.deliver()
            await world.wait(285)
        made = [record for _, record in store.commands()]
        assert len(made) == 3 * 2 * 3  # deliveries, windows, parts (two and one for sun, one for moon)
        assert all(each.tries == 1 and sum(each.answered.values()) == each.setpoints for each in made)
        assert world.counts["duplicates"] == world.counts["out_of_order"] == 0
        assert len(world.done) == 3 * 2 * len(NAMES)


async def test_a_call_to_one_aggregator_leaves_the_others_their_retries(template: Path, tmp_path: Path) -> None:
    shutil.copy(template, tmp_path / "vpp.db")
    with Store(f"sqlite:///{tmp_path / 'vpp.db'}") as store:
        world = World(store)
        world.wire.fates = ["lost"] * 6
        await world.deliver()
        await world.call("moon")
        called_hash = world.stage.executed_hash
        assert {each.aggregator_id for each in store.open_commands(world.clock.moment)} == {"sun"}
        await world.wait(60)
        made = [record for _, record in reversed(store.commands())]
        assert [each.tries for each in made if each.aggregator_id == "sun"] == [2, 2, 2, 2]
        assert [each.tries for each in made if each.aggregator_id == "moon"] == [1, 1, 1]
        assert all(each.answered for each in made if each.aggregator_id == "sun")
        assert world.stage.executed_hash == called_hash, "what is sent again puts no older plan in force"


async def test_a_call_that_is_lost_is_sent_again_also_after_a_restart(template: Path, tmp_path: Path) -> None:
    shutil.copy(template, tmp_path / "vpp.db")
    with Store(f"sqlite:///{tmp_path / 'vpp.db'}") as store:
        world = World(store)
        await world.deliver()
        world.wire.fates = ["lost"] * 2
        await world.call("sun")
        called_hash = world.stage.executed_hash
        await world.restart()
        assert world.stage.executed_hash == called_hash
        await world.wait(60)
        newest = [record for _, record in store.commands(limit=2)]
        assert [(each.aggregator_id, each.tries, bool(each.answered)) for each in newest] == [("sun", 2, True)] * 2


async def test_a_plan_of_before_a_call_is_not_sent_any_further(template: Path, tmp_path: Path) -> None:
    shutil.copy(template, tmp_path / "vpp.db")
    with Store(f"sqlite:///{tmp_path / 'vpp.db'}") as store:
        world = World(store)
        world.wire.fates = ["lost"] * 2
        await world.call("sun")
        called_hash, now = world.stage.executed_hash, world.clock.moment
        window = Window(now, now + CYCLE, now + 2 * CYCLE)
        assert await world.stage.deliver(plan_of(now, -1.0), [window], era=world.stage.era - 1) == frozenset()
        assert world.stage.executed_hash == called_hash
        assert len(store.open_commands(now)) == 2, "the call is still sent again"
        assert {each.aggregator_id for _, each in store.commands()} == {"sun"}


async def test_in_read_only_mode_a_call_is_counted_and_goes_nowhere(template: Path, tmp_path: Path) -> None:
    shutil.copy(template, tmp_path / "vpp.db")
    with Store(f"sqlite:///{tmp_path / 'vpp.db'}") as store:
        world = World(store)
        world.stage = DeliveryStage(
            clock=world.clock, store=store, state=LiveState(store.resources()), link=None, metrics=world.metrics
        )
        await world.call("moon")
        assert store.commands() == []
        assert world.stage.executed_hash is None
        assert world.metrics.setpoints_withheld.labels(aggregator="moon")._value.get() == 1


async def test_the_slowest_gateway_is_asked_as_often_as_may_be_and_then_no_more(template: Path, tmp_path: Path) -> None:
    shutil.copy(template, tmp_path / "vpp.db")
    with Store(f"sqlite:///{tmp_path / 'vpp.db'}") as store:
        world = World(store)
        world.wire.fates = ["lost"] * 100
        await world.deliver()
        await world.wait(600)
        made = [record for _, record in store.commands()]
        assert {each.tries for each in made} == {RULES.most_tries}
        assert all(each.given_up_at == each.sent_at + RULES.most_tries * RULES.answer_within for each in made)
        assert set(world.wire.took.values()) == {RULES.most_tries}
        lines = [line for line in store.audit_log() if line.action == "command.given_up"]
        assert sorted(line.subject for line in lines) == ["moon", "sun"]


async def test_what_waits_for_the_broker_is_forgotten_when_its_time_is_over(template: Path, tmp_path: Path) -> None:
    shutil.copy(template, tmp_path / "vpp.db")
    with Store(f"sqlite:///{tmp_path / 'vpp.db'}") as store:
        world = World(store)
        world.wire.is_up = False
        await world.deliver()
        await world.wait(2000)  # the wire minds that nothing is sent when its time is over
        await world.broker(True)
        assert world.stage.waiting_for() == set()
        assert world.done == []
        made = [record for _, record in store.commands()]
        assert {(each.tries, each.given_up_at) for each in made} == {(1, None)}  # none of it left the house
