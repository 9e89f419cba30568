"""A database that goes away in mid-commit may have done it without our hearing so: nothing is stuck or doubled."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from adapters.store import Store
from models.errors import StoreError
from models.events import Event, EventRecord, EventStep, NoticeType
from models.life_cycle import EventStatus
from models.plan import Setpoint, SetpointBatch
from models.records import StoredEvent
from tests.live import T0, battery, store_of
from vpp.event_book import EventBook
from vpp.metrics import Metrics
from vpp.outgoing import Order, Outgoing

WORD = "server closed the connection unexpectedly"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with store_of(tmp_path, battery("b0")) as made:
        yield made


@contextmanager
def word_lost(store: Store, patch: pytest.MonkeyPatch, *, done: bool = True, then_away: bool = False) -> Iterator[None]:
    """Every commit inside is done, or is not, and fails in the same way; ``then_away``: nobody can be asked."""
    plain = store.transaction

    @contextmanager
    def transaction() -> Iterator[None]:
        with plain():
            yield
            if not done:
                raise StoreError(WORD)
        raise StoreError(WORD)

    def away(*_: object) -> None:
        raise StoreError("nobody there")

    with patch.context() as inside:
        inside.setattr(store, "transaction", transaction)
        if then_away:
            inside.setattr(store, "event", away)
            inside.setattr(store, "batch", away)
        yield


class Clock:
    def now(self) -> datetime:
        return T0

    async def sleep_until(self, moment: datetime) -> None:
        raise NotImplementedError


# ---- events


def declared() -> EventRecord:
    return EventRecord(
        event=Event(event_id="night", start=T0 + timedelta(hours=2), end=T0 + timedelta(hours=3), target_kw=50.0),
        status=EventStatus.DECLARED,
        steps=(EventStep(status=EventStatus.DECLARED, at=T0, by="li", reason=""),),
        notice_type=NoticeType.DAY_AHEAD,
    )


def book_of(store: Store) -> EventBook:
    hour = timedelta(hours=1)
    zone = ZoneInfo("Asia/Shanghai")
    return EventBook(clock=Clock(), store=store, zone=zone, cycle=timedelta(minutes=5), rebound_window=6 * hour)


async def test_a_step_whose_word_is_lost_is_kept_and_the_next_one_follows(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    book = book_of(store)
    with word_lost(store, monkeypatch):
        await book.keep(declared())
        await book.keep(book.get("night").stepped(EventStatus.APPROVED, T0, "wang"))
    await book.keep(book.get("night").stepped(EventStatus.NOTIFIED, T0, "service"))
    assert store.event("night") == StoredEvent(book.get("night"), 3)
    assert [entry.action for entry in store.audit_log()] == ["event declared", "event approved", "event notified"]


async def test_a_step_that_nobody_can_be_asked_about_is_taken_up_before_the_next_one(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    book, found = book_of(store), []
    book.found = lambda stored: (found.append(stored), book.take_up(stored))[0]  # type: ignore[func-returns-value]
    await book.keep(declared())
    with word_lost(store, monkeypatch, then_away=True), pytest.raises(StoreError, match=WORD):
        await book.keep(book.get("night").stepped(EventStatus.APPROVED, T0, "wang"))
    assert book.get("night").status is EventStatus.DECLARED, "as far as is known"
    with pytest.raises(StoreError, match="look at it again"):
        await book.keep(book.get("night").stepped(EventStatus.CANCELLED, T0, "li"))
    assert book.get("night").status is EventStatus.APPROVED
    assert found == [store.event("night")]
    await book.keep(book.get("night").stepped(EventStatus.CANCELLED, T0, "li"))
    assert store.event("night") == StoredEvent(book.get("night"), 3)


@pytest.mark.parametrize("then_away", [False, True])
async def test_a_step_that_was_not_kept_is_kept_at_the_next_try(
    store: Store, monkeypatch: pytest.MonkeyPatch, then_away: bool
) -> None:
    book = book_of(store)
    with word_lost(store, monkeypatch, done=False, then_away=then_away), pytest.raises(StoreError, match=WORD):
        await book.keep(declared())
    assert book.find("night") is None
    await book.keep(declared())
    assert store.event("night") == StoredEvent(book.get("night"), 1)


# ---- commands


class Link:
    def __init__(self) -> None:
        self.sent: list[SetpointBatch] = []

    async def send_setpoints(self, batch: SetpointBatch, made_at: datetime | None = None) -> None:
        self.sent.append(batch)

    async def send_event(self, *_: object) -> None:
        raise NotImplementedError


@pytest.mark.parametrize(("done", "then_away"), [(True, False), (True, True), (False, False)])
async def test_a_command_whose_word_is_lost_leaves_if_it_is_kept_and_only_then(
    store: Store, monkeypatch: pytest.MonkeyPatch, done: bool, then_away: bool
) -> None:
    link = Link()
    outgoing = Outgoing(clock=Clock(), store=store, link=link, metrics=Metrics())
    points = [Setpoint(resource_id="b0", power_kw=-5.0)]
    order = Order("agg", "hash", T0, T0 + timedelta(minutes=10), points)
    with word_lost(store, monkeypatch, done=done, then_away=then_away):
        if done and not then_away:
            assert await outgoing.send(order, T0, lambda: True)
        else:
            with pytest.raises(StoreError):
                await outgoing.send(order, T0, lambda: True)
    kept = [record.command_id for _, record in store.commands()]
    assert len(kept) == done
    assert [batch.command_id for batch in link.sent] == (kept if done and not then_away else [])
