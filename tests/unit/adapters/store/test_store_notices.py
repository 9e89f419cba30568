"""The outbox of notices: kept with the event or not at all, told once, forgotten in the end; both databases."""

from datetime import UTC, datetime, timedelta

import pytest

from adapters.store import Store
from models.errors import StoreError
from models.events import Direction, Event, EventNotice, EventRecord
from models.life_cycle import EventStatus

NOON = datetime(2025, 7, 16, 4, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
EVENT = Event(event_id="e", start=NOON, end=NOON + timedelta(hours=1), target_kw=100.0)


def save_event(store: Store, name: str = "e") -> None:
    event = EVENT.model_copy(update={"event_id": name})
    store.save_event(EventRecord(event=event, status=EventStatus.NOTIFIED, steps=()))


def notice(share_kw: float, name: str = "e") -> EventNotice:
    return EventNotice(
        event_id=name,
        status="notified",
        direction=Direction.SHAVE,
        start=EVENT.start,
        end=EVENT.end,
        share_kw=share_kw,
        respond_by=NOON - MINUTE,
        reason="热浪",
    )


def test_what_is_to_be_told_waits_in_order_until_it_is_told_or_given_up(store: Store) -> None:
    save_event(store)
    store.add_notices({"sun": notice(1.0), "moon": notice(2.0), "star": notice(3.0)}, NOON)
    store.add_notices({}, NOON)
    sun, moon, star = store.waiting_notices()
    assert [each.aggregator_id for each in (sun, moon, star)] == ["sun", "moon", "star"]
    assert (sun.notice, sun.made_at, sun.tries, sun.told_at) == (notice(1.0), NOON, 0, None)

    store.note_tried({sun.key: NOON + MINUTE, moon.key: NOON + MINUTE})
    store.note_told({sun.key: NOON + 2 * MINUTE})
    store.note_told({})
    (tried, untried) = store.waiting_notices()
    assert (tried.key, tried.tries, tried.tried_at) == (moon.key, 1, NOON + MINUTE)
    assert (untried.key, untried.tries) == (star.key, 0)

    assert store.give_up_notices([sun.key, star.key], NOON) == {star.key}, "who was told is told"
    assert store.give_up_notices([star.key], NOON) == set()
    told, waiting, over = store.notices_of("e")
    assert (told.tries, told.tried_at, told.told_at, told.given_up_at) == (2, NOON + MINUTE, NOON + 2 * MINUTE, None)
    assert (waiting.told_at, waiting.given_up_at) == (None, None)
    assert over.given_up_at == NOON
    assert store.waiting_notices() == [waiting]


def test_what_is_newer_takes_the_place_of_what_waits_of_the_same_event(store: Store) -> None:
    save_event(store)
    save_event(store, "other")
    store.add_notices({"sun": notice(1.0), "moon": notice(2.0)}, NOON)
    store.add_notices({"sun": notice(3.0, "other")}, NOON)
    (gone,) = store.supersede_notices("e", NOON, {"sun": 0})
    assert (gone.aggregator_id, gone.notice.share_kw, gone.given_up_at) == ("sun", 1.0, None)
    assert [each.notice.share_kw for each in store.waiting_notices()] == [2.0, 3.0]
    assert store.supersede_notices("e", NOON, ["nobody"]) == []
    assert [each.aggregator_id for each in store.supersede_notices("e", NOON)] == ["moon"]
    assert [each.notice.event_id for each in store.waiting_notices()] == ["other"]


def test_a_notice_is_kept_with_its_event_or_not_at_all(store: Store) -> None:
    def keep_and_fail() -> None:
        with store.transaction():
            save_event(store)
            store.add_notices({"sun": notice(1.0)}, NOON)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        keep_and_fail()
    assert store.event("e") is None
    assert store.waiting_notices() == []
    with pytest.raises(StoreError):
        store.add_notices({"sun": notice(1.0)}, NOON)  # there is no such event


def test_old_notices_are_forgotten_but_not_those_that_wait(store: Store) -> None:
    save_event(store)
    for days in (9, 8, 7, 1):
        store.add_notices({"sun": notice(float(days))}, NOON - timedelta(days=days))
    told, over, waiting, new = store.notices_of("e")
    store.note_told({told.key: NOON, new.key: NOON})
    store.give_up_notices([over.key], NOON)
    assert store.forget_notices(NOON - timedelta(days=2)) == 2
    assert [each.key for each in store.notices_of("e")] == [waiting.key, new.key]
