"""Whatever fails or is killed: aggregators hear the newest word on every event, and nothing that contradicts it.

Book, outbox and SQLite store are the real ones; the wire, and who kills the service, does what hypothesis says.
"""

import asyncio
import itertools
import shutil
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.store import Store
from models.errors import BrokerError, StoreError
from models.events import Event, EventNotice, EventRecord, EventStep
from models.life_cycle import EventStatus
from models.plan import SetpointBatch
from tests.live import T0
from vpp.event_book import EventBook
from vpp.event_notices import LAST_WORD_HOLDS, LAST_WORDS, PROMPT, as_told, is_pointless, notices_of
from vpp.event_outbox import FIRST_PAUSE, LONGEST_PAUSE, EventOutbox
from vpp.metrics import Metrics

S = EventStatus
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
WITHIN = timedelta(minutes=10)
SHARES = {"sun": 60.0, "moon": 40.0}
EVENTS = {
    name: Event(event_id=name, start=T0 + hours * HOUR, end=T0 + (hours + 1) * HOUR, target_kw=100.0)
    for name, hours in (("early", 1), ("late", 3))
}
TURNS: dict[EventStatus, tuple[str, ...]] = {
    S.APPROVED: ("notified", "cancelled"),
    S.NOTIFIED: ("changed", "offered", "begins", "cancelled"),
    S.EXECUTING: ("changed", "ended", "terminated"),
}
STEPS_TO = {"notified": S.NOTIFIED, "begins": S.EXECUTING, **{word: S(word) for word in LAST_WORDS}}


class Killed(BaseException):
    """``kill -9`` in the middle of it."""


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
    """The way to aggregators: each notice has a fate of its own, the first of ``fates`` or a good one."""

    clock: Clock
    is_up: bool = True
    fates: list[str] = field(default_factory=list)
    heard: dict[tuple[str, str], list[EventNotice]] = field(default_factory=lambda: defaultdict(list))
    at: dict[tuple[str, str], list[datetime]] = field(default_factory=lambda: defaultdict(list))

    async def send_setpoints(self, batch: SetpointBatch, made_at: datetime | None = None) -> None:
        raise NotImplementedError

    async def send_event(self, aggregator_id: str, notice: EventNotice) -> None:
        if not self.is_up:
            raise BrokerError("nobody there")
        await asyncio.sleep(0)
        fate = self.fates.pop(0) if self.fates else "fine"
        if fate == "killed before":
            raise Killed
        if fate == "refused":
            raise BrokerError("not now")
        self.heard[aggregator_id, notice.event_id].append(notice)
        self.at[aggregator_id, notice.event_id].append(self.clock.now())
        if fate == "killed after":
            raise Killed
        if fate == "unsure":
            raise BrokerError("it has arrived, but who knows")


class World:
    """A service that may be killed at any time, with two events and two aggregators."""

    def __init__(self, store: Store, *, read_only: bool = False) -> None:
        self.store, self.clock, self.metrics = store, Clock(), Metrics()
        self.wire = Wire(self.clock)
        self.read_only = read_only
        self.made: dict[tuple[str, str], list[str]] = defaultdict(list)
        """By aggregator and event: the reasons of all notices that were kept; each has one of its own."""
        self.numbers = itertools.count(1)
        self.notes_fail = False
        self.start()

    def start(self) -> None:
        """A service on the database as it is."""
        self.book = EventBook(
            clock=self.clock,
            store=self.store,
            zone=ZoneInfo("Asia/Shanghai"),
            cycle=5 * MINUTE,
            rebound_window=6 * HOUR,
        )
        self.outbox = EventOutbox(
            clock=self.clock,
            store=self.store,
            link=None if self.read_only else self.wire,
            metrics=self.metrics,
            find=self.book.find,
        )

    async def restart(self) -> None:
        self.start()
        for name in EVENTS:
            stored = self.store.event(name)
            if stored is not None:
                self.book.take_up(stored)
        await self.outbox.take_up(EVENTS)

    async def approve_all(self) -> None:
        """Both events are there, and nobody knows of them."""
        steps = tuple(EventStep(status=status, at=T0, by="li") for status in (S.DECLARED, S.APPROVED))
        for event in EVENTS.values():
            await self.book.keep(EventRecord(event=event, status=S.APPROVED, steps=steps))

    # ---- what may happen

    def turns(self, name: str) -> tuple[str, ...]:
        """What may become of the event now; what the clock alone decides, it decides."""
        record, now = self.book.get(name), self.clock.moment
        found = TURNS.get(record.status, ())
        if record.status in (S.APPROVED, S.NOTIFIED):
            has_begun = now >= record.event.start
            return ("begins",) if has_begun and record.status is S.NOTIFIED else found if not has_begun else ()
        return ("ended",) if record.status is S.EXECUTING and now >= record.event.end else found

    async def turn(self, name: str, choice: int | str, killed: bool = False) -> None:
        """One step in the life of an event, by name or by chance: kept, then told, unless it is killed in between."""
        turns = [each for each in self.turns(name) if each != "begins" or self.clock.moment >= EVENTS[name].start]
        if not turns:
            return
        turn = choice if isinstance(choice, str) else turns[choice % len(turns)]
        record, now = self.book.get(name), self.clock.moment
        if turn in STEPS_TO:
            record = record.stepped(STEPS_TO[turn], now, "li")
        if turn == "notified":
            record = record.model_copy(update={"share_kw": SHARES})
        reason = f"{next(self.numbers)}"
        also: Callable[[], None] | None = None
        told = dict(record.share_kw)
        if turn == "offered":
            told.pop("moon", None)
            also = self.outbox.kept(record, "changed", reason, share_kw=told)
        elif turn != "begins":
            asked = turn in ("notified", "changed") and now < record.event.start
            also = self.outbox.kept(record, turn, reason, min(now + WITHIN, record.event.start) if asked else None)
        await self.book.keep(record, also)
        if also is None:
            return
        for aggregator_id in told:
            self.made[aggregator_id, name].append(reason)
        if killed:
            await self.restart()
        else:
            await self.survive(self.outbox.send(name))

    async def wait(self, seconds: int) -> None:
        """Let time pass as the service's loop does: it wakes when something is due."""
        until = self.clock.moment + timedelta(seconds=seconds)
        while (due := self.next_due()) <= until:
            self.clock.moment = max(due, self.clock.moment)
            for name in EVENTS:
                record = self.book.get(name)
                if record.status in (S.NOTIFIED, S.EXECUTING) and self.clock.moment >= self.ends(record):
                    await self.turn(name, 0)
            await self.survive(self.retry())
        self.clock.moment = until

    async def retry(self) -> None:
        try:
            await self.outbox.retry()
        except StoreError:
            assert self.notes_fail

    @staticmethod
    def ends(record: EventRecord) -> datetime:
        return record.event.start if record.status is S.NOTIFIED else record.event.end

    def next_due(self) -> datetime:
        now = self.clock.moment
        moments = [self.ends(each) for each in self.book.records() if each.status in (S.NOTIFIED, S.EXECUTING)]
        again = self.outbox.next_due(now)
        return min([*moments, *([] if again is None else [again]), T0 + timedelta(days=365)])

    async def broker(self, is_up: bool) -> None:
        was_up, self.wire.is_up = self.wire.is_up, is_up
        if is_up and not was_up:
            await self.survive(self.outbox.send_again())

    async def survive(self, doing: Any) -> None:
        try:
            await doing
        except Killed:
            await self.restart()
        except StoreError:
            assert self.notes_fail

    async def do(self, step: tuple[str, Any]) -> None:
        match step:
            case "turn", (str(name), int(choice), bool(killed)):
                await self.turn(name, choice, killed)
            case "wait", int(seconds):
                await self.wait(seconds)
            case "fates", list(fates):
                self.wire.fates = list(fates)
            case "broker", bool(is_up):
                await self.broker(is_up)
            case "notes fail", bool(fail):
                self.notes_fail = fail
            case "held", bool(is_held):
                self.outbox.is_held = is_held
            case "restart", None:
                await self.restart()
            case unknown:
                raise AssertionError(unknown)


class Forgetful(Store):
    """A store that cannot note what was told, when it is told to."""

    world: World | None = None

    def note_told(self, told_at: Any) -> None:
        if self.world is not None and self.world.notes_fail:
            raise StoreError("the disk is full")
        super().note_told(told_at)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with the two events, to be copied."""
    path = tmp_path_factory.mktemp("template") / "vpp.db"
    with Forgetful(f"sqlite:///{path}") as store:
        store.migrate()
        asyncio.run(World(store).approve_all())
    return path


@pytest.fixture
def world(template: Path, tmp_path: Path) -> Any:
    shutil.copy(template, tmp_path / "vpp.db")
    with Forgetful(f"sqlite:///{tmp_path / 'vpp.db'}") as store:
        store.world = made = World(store)
        asyncio.run(made.restart())
        yield made


FATES = st.sampled_from(["fine", "refused", "unsure", "killed before", "killed after"])
STEPS = st.one_of(
    st.tuples(
        st.just("turn"),
        st.tuples(st.sampled_from(sorted(EVENTS)), st.integers(0, 3), st.sampled_from([False] * 3 + [True])),
    ),
    st.tuples(st.just("wait"), st.integers(1, 3600)),
    st.tuples(st.just("fates"), st.lists(FATES, min_size=1, max_size=8)),
    st.tuples(st.just("broker"), st.booleans()),
    st.tuples(st.just("notes fail"), st.booleans()),
    st.tuples(st.just("held"), st.booleans()),
    st.just(("restart", None)),
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(STEPS, min_size=3, max_size=25))
def test_the_newest_word_is_heard_and_nothing_behind_it(
    template: Path, tmp_path: Path, steps: list[tuple[str, Any]]
) -> None:
    path = tmp_path / "vpp.db"
    for left_over in tmp_path.glob("vpp.db*"):
        left_over.unlink()
    shutil.copy(template, path)
    with Forgetful(f"sqlite:///{path}") as store:
        store.world = world = World(store)
        asyncio.run(play(world, steps))
        accounts_are_complete(world)


async def play(world: World, steps: list[tuple[str, Any]]) -> None:
    await world.restart()
    for step in steps:
        await world.do(step)
    world.wire.fates, world.notes_fail, world.outbox.is_held = [], False, False
    await world.broker(True)
    await world.wait(int(2 * LONGEST_PAUSE.total_seconds()))


def accounts_are_complete(world: World) -> None:
    """Everything that must hold at the end of any history."""
    store, now = world.store, world.clock.moment
    assert store.waiting_notices() == []
    assert world.outbox.next_due(now) is None
    assert world.outbox.waiting_for() == frozenset()
    assert world.metrics.event_notices_waiting._value.get() == 0
    audited = [
        (line.subject, each["event_id"], each["status"])
        for line in store.audit_log()
        if line.action == "notice.given_up"
        for each in line.details["notices"]
    ]
    never_told = []
    for (aggregator_id, name), reasons in world.made.items():
        rows = [each for each in store.notices_of(name) if each.aggregator_id == aggregator_id]
        assert [each.notice.reason for each in rows] == reasons
        assert all((each.told_at is None) != (each.given_up_at is None) for each in rows)
        heard, at = world.wire.heard[aggregator_id, name], world.wire.at[aggregator_id, name]
        order = [reasons.index(notice.reason) for notice in heard]
        assert order == sorted(order), "an older word behind a newer one"
        newest = rows[-1]
        assert (newest.told_at is not None) or is_pointless(newest.notice, None, now), "the last word is lost"
        for each in rows:
            told = [moment for notice, moment in zip(heard, at, strict=True) if notice.reason == each.notice.reason]
            assert bool(told) or each.told_at is None, "noted, and not told"
        for notice, moment in zip(heard, at, strict=True):
            assert not is_pointless(notice, None, moment)
            made = rows[reasons.index(notice.reason)]
            if notice.respond_by is not None:
                had = made.notice.respond_by - made.made_at  # type: ignore[operator]
                assert notice.respond_by >= min(notice.start, moment + had - PROMPT), "no fair chance to answer"
                assert notice.respond_by <= notice.start
        never_told += [
            (aggregator_id, name, each.notice.status)
            for each, later in itertools.pairwise([*rows, None])
            if each is not None and each.given_up_at is not None
            if later is None or later.notice.status in LAST_WORDS
        ]
    assert sorted(audited) == sorted(never_told), "given up without a word, or told and given up"


async def test_in_normal_operation_everything_is_told_at_once_and_once(world: World) -> None:
    await world.turn("early", "notified")
    await world.turn("early", "changed")
    assert world.outbox.next_due(T0) is None
    await world.wait(3 * 3600)
    assert [each.status for each in world.wire.heard["sun", "early"]] == ["notified", "changed", "ended"]
    assert world.wire.heard["moon", "early"] == [
        each.model_copy(update={"share_kw": SHARES["moon"]}) for each in world.wire.heard["sun", "early"]
    ]
    assert world.wire.at["sun", "early"] == [T0, T0, EVENTS["early"].end]
    assert {each.tries for each in world.store.notices_of("early")} == {1}


async def test_what_waits_is_told_in_growing_pauses_and_at_once_when_the_broker_is_back(world: World) -> None:
    await world.broker(False)
    await world.turn("early", "notified")
    assert world.outbox.waiting_for() == {"sun", "moon"}
    assert world.metrics.event_notices_waiting._value.get() == 2
    pauses = []
    for _ in range(7):
        due = world.outbox.next_due(world.clock.moment)
        assert due is not None
        pauses.append(due - world.clock.moment)
        world.clock.moment = due
        assert await world.outbox.retry() == 0
    assert pauses == [FIRST_PAUSE * factor for factor in (1, 2, 4, 8, 16, 20, 20)]
    assert {each.tries for each in world.store.waiting_notices()} == {8}
    await world.broker(True)
    assert [each.status for each in world.wire.heard["sun", "early"]] == ["notified"]
    assert world.outbox.next_due(world.clock.moment) is None


async def test_what_was_kept_and_not_told_is_told_after_a_restart_but_not_before_gateways_can_be_back(
    world: World,
) -> None:
    await world.turn("early", "notified", killed=True)
    assert world.wire.heard == {}
    assert world.outbox.next_due(world.clock.moment) == T0 + FIRST_PAUSE
    assert await world.outbox.retry() == 0
    await world.wait(15)
    assert [each.status for each in world.wire.heard["moon", "early"]] == ["notified"]


async def test_a_cancelled_event_is_not_announced_afterwards_and_the_log_says_who_never_heard_of_it(
    world: World,
) -> None:
    await world.broker(False)
    await world.turn("early", "notified")
    await world.turn("early", "cancelled")
    await world.broker(True)
    assert [each.status for each in world.wire.heard["sun", "early"]] == ["cancelled"]
    lines = [line for line in world.store.audit_log() if line.action == "notice.given_up"]
    assert [(line.subject, line.details["notices"][0]["status"]) for line in lines] == [
        ("sun", "notified"),
        ("moon", "notified"),
    ]


async def test_an_event_that_was_cancelled_in_read_only_mode_is_not_announced_afterwards(world: World) -> None:
    await world.broker(False)
    await world.turn("early", "notified")
    before = world.store.notices_of("early")
    world.read_only = True
    await world.restart()
    await world.turn("early", "cancelled")
    await world.wait(600)
    await world.broker(True)
    assert world.store.notices_of("early") == before, "read-only mode sends nothing and marks nothing"
    world.read_only = False
    await world.restart()
    await world.wait(60)
    assert world.wire.heard == {}
    assert world.store.waiting_notices() == []


async def test_what_the_broker_has_is_not_told_again_because_the_database_is_away(world: World) -> None:
    world.notes_fail = True
    await world.turn("early", "notified")
    await world.wait(600)
    world.notes_fail = False
    await world.wait(60)
    assert [each.status for each in world.wire.heard["sun", "early"]] == ["notified"]
    assert {each.told_at for each in world.store.notices_of("early")} == {T0}


async def test_a_clock_that_is_set_back_keeps_nobody_waiting(world: World) -> None:
    await world.broker(False)
    await world.turn("early", "notified")
    world.wire.is_up = True
    assert await world.outbox.retry() == 0, "it is not due yet"
    world.clock.moment -= HOUR
    assert await world.outbox.retry() == 2
    assert world.outbox.next_due(world.clock.moment) is None


async def test_while_gateways_are_not_back_nothing_is_told(world: World) -> None:
    world.outbox.is_held = True
    await world.turn("early", "notified")
    await world.wait(600)
    assert world.wire.heard == {}
    assert world.outbox.waiting_for() == {"sun", "moon"}
    assert await world.outbox.send_again() == 2
    assert {each.tries for each in world.store.notices_of("early")} == {1}


def test_who_hears_late_has_as_long_to_answer_but_never_beyond_the_start() -> None:
    record = EventRecord(event=EVENTS["early"], status=S.NOTIFIED, steps=(), share_kw=SHARES)
    asked = notices_of(record, "notified", "", T0 + WITHIN)["sun"]
    assert as_told(asked, T0, T0 + PROMPT) == asked
    assert as_told(asked, T0, T0 - HOUR) == asked, "the clock was set back"
    late = as_told(asked, T0, T0 + 30 * MINUTE)
    assert late == asked.model_copy(update={"respond_by": T0 + 30 * MINUTE + WITHIN})
    assert as_told(asked, T0, T0 + 58 * MINUTE).respond_by == EVENTS["early"].start
    told = notices_of(record, "changed", "")["sun"]
    assert as_told(told, T0, T0 + HOUR) == told


@pytest.mark.parametrize(
    ("status", "of_event", "minutes", "expected"),
    [
        ("notified", S.NOTIFIED, 0, False),
        ("notified", S.EXECUTING, 90, False),
        ("notified", S.EXECUTING, 120, True),
        ("notified", S.CANCELLED, 0, True),
        ("changed", S.TERMINATED, 90, True),
        ("cancelled", S.CANCELLED, 120, False),
        ("ended", S.EVALUATED, 120 + LAST_WORD_HOLDS // MINUTE, True),
    ],
)
def test_a_notice_is_told_as_long_as_somebody_must_hear_it(
    status: str, of_event: EventStatus, minutes: int, expected: bool
) -> None:
    record = EventRecord(event=EVENTS["early"], status=of_event, steps=(), share_kw=SHARES)
    notice = notices_of(record, status)["sun"]
    assert is_pointless(notice, record, T0 + minutes * MINUTE) == expected
