"""Delivery against a real database: batches of a bearable size, and orders that wait for the broker."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

import vpp.delivery as delivery_module
from adapters.store import Store
from models.errors import BrokerError
from models.events import EventNotice
from models.plan import DispatchPlan, SetpointBatch
from models.records import AggregatorRecord
from tests.live import T0, battery, plan_made, reading, registered
from vpp.delivery import DeliveryStage
from vpp.metrics import Metrics
from vpp.state import LiveState
from vpp.window_means import Window

CYCLE = timedelta(minutes=5)
NAMES = tuple(f"b{k:02d}" for k in range(25))


class Standing:
    """A clock that stands."""

    def __init__(self) -> None:
        self.moment = T0 + timedelta(seconds=15)

    def now(self) -> datetime:
        return self.moment

    async def sleep_until(self, moment: datetime) -> None:
        raise NotImplementedError


class Wire:
    """A way out that may be shut."""

    def __init__(self) -> None:
        self.is_shut = False
        self.sent: list[SetpointBatch] = []

    async def send_setpoints(self, batch: SetpointBatch, made_at: datetime | None = None) -> None:
        if self.is_shut:
            raise BrokerError("nobody there")
        self.sent.append(batch)

    async def send_event(self, aggregator_id: str, notice: EventNotice) -> None:
        raise NotImplementedError


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(f"sqlite:///{tmp_path / 'test.db'}") as made:
        made.migrate()
        made.add_aggregator(AggregatorRecord("agg", "", "hash", T0))
        assert made.upsert_resources([registered(battery(name)) for name in NAMES]) == {}
        yield made


@pytest.fixture
def plan() -> DispatchPlan:
    return plan_made(NAMES, np.full((len(NAMES), 4), -7.0), step=CYCLE)


def stage(store: Store, wire: Wire | None, clock: Standing) -> tuple[DeliveryStage, Metrics]:
    state, metrics = LiveState(store.resources()), Metrics()
    for name in NAMES:
        state.take(reading(name, 0, 0.0))
    made = DeliveryStage(clock=clock, store=store, state=state, link=wire, metrics=metrics)
    return made, metrics


WINDOWS = [
    Window(T0, T0 + CYCLE, T0 + 2 * CYCLE),
    Window(T0 + CYCLE, T0 + 2 * CYCLE, T0 + 3 * CYCLE),
]


async def test_a_large_batch_goes_in_parts(store: Store, plan: DispatchPlan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery_module, "MOST_SETPOINTS", 10)
    wire = Wire()
    made, _ = stage(store, wire, Standing())
    ordered = await made.deliver(plan, WINDOWS, held_back={"b03"})
    assert ordered == set(NAMES) - {"b03"}
    assert [len(batch.setpoints) for batch in wire.sent] == [10, 10, 4] * 2
    assert [batch.sequence for batch in wire.sent] == [1, 2, 3, 4, 5, 6]


async def test_what_the_broker_did_not_take_goes_again_as_the_same_command(store: Store, plan: DispatchPlan) -> None:
    wire, clock = Wire(), Standing()
    made, metrics = stage(store, wire, clock)
    wire.is_shut = True
    assert await made.deliver(plan, WINDOWS) == frozenset()
    assert await made.send_again() == 0
    wire.is_shut = False
    assert await made.send_again() == 2
    assert await made.send_again() == 0
    assert [batch.sequence for batch in wire.sent] == [1, 2]
    assert metrics.setpoints_sent.labels(aggregator="agg")._value.get() == 50

    wire.is_shut = True
    await made.deliver(plan, WINDOWS)
    clock.moment = T0 + 2 * CYCLE  # the first has expired by now
    wire.is_shut = False
    assert await made.send_again() == 1
    assert wire.sent[-1].valid_until == WINDOWS[1].valid_until


async def test_newer_orders_take_the_place_of_those_that_wait(store: Store, plan: DispatchPlan) -> None:
    wire = Wire()
    made, _ = stage(store, wire, Standing())
    wire.is_shut = True
    await made.deliver(plan, WINDOWS)
    wire.is_shut = False
    await made.deliver(plan, WINDOWS)
    assert await made.send_again() == 0
    assert [batch.sequence for batch in wire.sent] == [3, 4]


async def test_read_only_counts_what_it_withholds_and_uses_no_sequence(store: Store, plan: DispatchPlan) -> None:
    made, metrics = stage(store, None, Standing())
    assert await made.deliver(plan, WINDOWS) == frozenset()
    assert store.commands() == []
    assert metrics.setpoints_withheld.labels(aggregator="agg")._value.get() == 50
    assert store.next_sequence("agg") == 1


async def test_who_is_slow_is_told_to_begin_earlier_and_in_batches_of_their_own(
    store: Store, plan: DispatchPlan
) -> None:
    wire = Wire()
    made, _ = stage(store, wire, Standing())
    power = plan.power_kw.copy()
    power[:, 1] = np.where(np.arange(len(NAMES)) < 10, -9.0, -5.0)  # the first ten bring more, the others less
    seen: dict[str, float] = {}

    def leads(rows: np.ndarray, less_kw: np.ndarray, new_kw: np.ndarray) -> np.ndarray:
        seen.update(zip(NAMES, new_kw.tolist(), strict=True))
        assert less_kw.tolist() == [9.0 if k < 10 else 5.0 for k in range(len(NAMES))]
        return np.where(new_kw > 0, np.where(rows < 3, 150.0, 900.0), 0.0)

    await made.deliver(replace(plan, power_kw=power), WINDOWS, leads=leads)
    assert seen == {name: 2.0 if k < 10 else -2.0 for k, name in enumerate(NAMES)}
    begins = {
        setpoint.resource_id: (batch.valid_from, batch.valid_until, setpoint.power_kw)
        for batch in wire.sent[1:]
        for setpoint in batch.setpoints
    }
    until = WINDOWS[1].valid_until
    expected = {
        **dict.fromkeys(NAMES[:3], (T0 + timedelta(seconds=150), until, -9.0)),
        **dict.fromkeys(NAMES[3:10], (T0, until, -9.0)),  # not before the first window
        **dict.fromkeys(NAMES[10:], (T0 + CYCLE, until, -5.0)),
    }
    assert begins == expected
    assert {batch.valid_from for batch in wire.sent[:1]} == {T0}, "what holds now is not moved"
