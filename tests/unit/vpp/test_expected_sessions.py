"""Cars that will come: like days, local clock times, and nothing from the future."""

import itertools
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.intervals import IntervalGrid
from models.resources import EvSession
from models.telemetry import ChargingSession
from tests.live import HOUR, charger, stay
from vpp.forecasting import LIKE_DAYS_BACK, PastSession, expected_sessions, is_weekend, like_day

BERLIN, SHANGHAI = ZoneInfo("Europe/Berlin"), ZoneInfo("Asia/Shanghai")
WEDNESDAY = date(2025, 7, 16)
QUARTER = timedelta(minutes=15)


def local(day: date, hour: float, zone: ZoneInfo = SHANGHAI) -> datetime:
    midnight = datetime(day.year, day.month, day.day, tzinfo=zone)
    return (midnight + timedelta(hours=hour)).astimezone(UTC)


def past(day: date, hour: float = 19, hours: float = 10, *, zone: ZoneInfo = SHANGHAI, **changes: Any) -> PastSession:
    arrival = local(day, hour, zone)
    fields = {"session_id": f"s-{day}", "arrival": arrival, "departure": arrival + hours * HOUR, **changes}
    return PastSession("charger", stay(**fields))


days = st.integers(0, 40).map(lambda back: WEDNESDAY - timedelta(days=back - 5))


@given(st.lists(days, max_size=20))
@settings(max_examples=50, deadline=None)
def test_a_like_day_is_the_newest_earlier_day_of_its_class(known: list[date]) -> None:
    found = like_day(WEDNESDAY, known)
    earlier = [day for day in known if 0 < (WEDNESDAY - day).days <= LIKE_DAYS_BACK]
    if found is None:
        assert earlier == []
        return
    assert found in earlier
    same = [day for day in earlier if not is_weekend(day)]
    assert found == max(same or earlier)


def test_saturdays_and_sundays_are_alike() -> None:
    week = [WEDNESDAY - timedelta(days=k) for k in range(1, 8)]
    assert like_day(date(2025, 7, 19), week) == date(2025, 7, 13)
    assert like_day(WEDNESDAY, week) == date(2025, 7, 15)
    assert like_day(date(2025, 7, 14), [date(2025, 7, 13), date(2025, 7, 11)]) == date(2025, 7, 11)
    assert like_day(date(2025, 7, 14), [date(2025, 7, 13)]) == date(2025, 7, 13)
    assert like_day(WEDNESDAY, [WEDNESDAY, WEDNESDAY + timedelta(days=1)]) is None


def test_a_stay_comes_again_at_its_local_time_with_its_length_and_wish() -> None:
    tuesday = WEDNESDAY - timedelta(days=1)
    grid = IntervalGrid.market_day(WEDNESDAY + timedelta(days=1), SHANGHAI, QUARTER)
    found = expected_sessions([past(tuesday)], grid, local(WEDNESDAY, 17), SHANGHAI)
    tonight, tomorrow = found["charger"]
    assert tonight.arrival == local(WEDNESDAY, 19)  # of today's stays those that reach into tomorrow count
    assert tomorrow.arrival == local(WEDNESDAY + timedelta(days=1), 19)
    assert {each.departure - each.arrival for each in (tonight, tomorrow)} == {10 * HOUR}
    assert tonight.energy_needed_kwh == 20.0
    assert tonight.session_id != tomorrow.session_id


@pytest.mark.parametrize("name", ["x" * 128, "s"])
def test_an_expected_stay_has_a_name_that_may_be_planned(name: str) -> None:
    tuesday = WEDNESDAY - timedelta(days=1)
    grid = IntervalGrid.market_day(WEDNESDAY, SHANGHAI, QUARTER)
    found = expected_sessions([past(tuesday, session_id=name)], grid, local(WEDNESDAY, 0), SHANGHAI)
    (expected,) = found["charger"]
    row = charger().session(expected.session_id, expected.arrival, expected.departure, expected.energy_needed_kwh)
    assert isinstance(row, EvSession)


@pytest.mark.parametrize(
    ("model", "day"),
    [
        (date(2025, 3, 28), date(2025, 3, 31)),  # summer time begins in between
        (date(2025, 10, 24), date(2025, 10, 27)),  # and ends
    ],
)
def test_the_clock_on_the_wall_counts_over_a_change_of_time(model: date, day: date) -> None:
    grid = IntervalGrid.market_day(day, BERLIN, QUARTER)
    found = expected_sessions([past(model, 8, 9, zone=BERLIN)], grid, local(day, 0, BERLIN), BERLIN)
    (expected,) = found["charger"]
    assert expected.arrival.astimezone(BERLIN).hour == 8
    assert expected.arrival.astimezone(BERLIN).date() == day
    assert expected.departure - expected.arrival == 9 * HOUR


def test_an_arrival_in_the_hour_that_does_not_exist_still_comes_once() -> None:
    sunday = date(2025, 3, 30)
    grid = IntervalGrid.market_day(sunday, BERLIN, QUARTER)
    model = past(date(2025, 3, 23), 2.5, 2, zone=BERLIN)
    (expected,) = expected_sessions([model], grid, local(sunday, 0, BERLIN), BERLIN)["charger"]
    assert expected.arrival == datetime(2025, 3, 30, 1, 30, tzinfo=UTC)


def test_stays_that_would_overlap_at_one_charger_are_thinned() -> None:
    tuesday = WEDNESDAY - timedelta(days=1)
    items = [past(tuesday, 8, 4, session_id="a"), past(tuesday, 10, 4, session_id="b"), past(tuesday, 12, 1)]
    items.append(PastSession("other", items[1].session))
    grid = IntervalGrid.market_day(WEDNESDAY, SHANGHAI, QUARTER)
    found = expected_sessions(items, grid, local(WEDNESDAY, 0), SHANGHAI)
    assert [each.arrival for each in found["charger"]] == [local(WEDNESDAY, 8), local(WEDNESDAY, 12)]
    assert [each.arrival for each in found["other"]] == [local(WEDNESDAY, 10)]


def seen(found: dict[str, list[ChargingSession]]) -> list[tuple[str, datetime, datetime, float]]:
    return [
        (name, each.arrival, each.departure, each.energy_needed_kwh)
        for name, stays in sorted(found.items())
        for each in stays
    ]


@given(
    st.lists(st.tuples(st.integers(-16, 3), st.floats(0, 23.5), st.floats(0.5, 14)), max_size=25),
    st.floats(0, 23.9),
    st.integers(-1, 2),
)
@settings(max_examples=50, deadline=None)
def test_it_never_sees_a_stay_from_the_future(raw: list[tuple[int, float, float]], hour: float, ahead: int) -> None:
    items = [past(WEDNESDAY + timedelta(days=d), h, n, session_id=f"s{k}") for k, (d, h, n) in enumerate(raw)]
    decision = local(WEDNESDAY, hour)
    grid = IntervalGrid.market_day(WEDNESDAY + timedelta(days=ahead), SHANGHAI, QUARTER)
    found = expected_sessions(items, grid, decision, SHANGHAI)
    blind = [item for item in items if item.session.arrival < decision]
    assert seen(found) == seen(expected_sessions(blind, grid, decision, SHANGHAI))
    for stays in found.values():
        assert all(decision <= each.arrival < grid.end and each.departure > grid.start for each in stays)
        assert all(a.departure <= b.arrival for a, b in itertools.pairwise(stays))
        assert len({each.session_id for each in stays}) == len(stays)
