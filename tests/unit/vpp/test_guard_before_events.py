"""Before an event the city is held under the rebound cap already, so that preparing for it costs no new peak."""

from datetime import UTC, datetime, timedelta

from models.events import Event
from vpp.event_book import GUARD_MARGIN, GUARDED_BEFORE, EventBook

START = datetime(2025, 7, 16, 13, tzinfo=UTC)


def _event(name: str, start: datetime, cap_kw: float | None = 900.0) -> Event:
    return Event(event_id=name, start=start, end=start + timedelta(hours=2), target_kw=50.0, rebound_cap_kw=cap_kw)


def test_the_guard_asks_for_nothing_and_caps_the_six_hours_from_now() -> None:
    now = START - timedelta(hours=2)
    (guard,) = EventBook._guard([_event("evening", START)], now)
    assert guard.end == now  # (M4) holds from the end of an event for six hours
    assert guard.target_kw == 0.0
    assert guard.rebound_cap_kw == 900.0 * (1 - GUARD_MARGIN) < 900.0
    assert guard.event_id.startswith("evening~")


def test_only_the_next_event_is_guarded_and_none_that_is_far_or_has_begun() -> None:
    later = _event("later", START + timedelta(hours=3))
    (guard,) = EventBook._guard([later, _event("first", START)], START - timedelta(hours=1))
    assert guard.event_id.startswith("first~")
    assert EventBook._guard([later], START - GUARDED_BEFORE) == []
    assert EventBook._guard([_event("running", START)], START) == []


def test_an_event_without_a_cap_has_no_guard() -> None:
    assert EventBook._guard([_event("fill", START, None)], START - timedelta(hours=1)) == []
