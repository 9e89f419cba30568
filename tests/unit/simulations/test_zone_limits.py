"""A zone that is over its limit by our doing is found; one that would be anyway, or whose forecast erred, is not."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from models.intervals import FloatArray, IntervalGrid
from simulations.wire.record import Told
from simulations.zone_limits import broken_zones, by_zone, judged_grid, own_masters

START = datetime(2025, 7, 16, 5, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
GRID = IntervalGrid.regular(START, 5 * MINUTE, 3)
LIMIT_KW = np.full((2, 3), 100.0)
WITHOUT_KW = np.full((2, 3), 90.0)


def found(moved_kw: FloatArray, without_kw: FloatArray = WITHOUT_KW, erred_kw: float = 0.0) -> tuple[str, ...]:
    return broken_zones(GRID, ("east", "west"), without_kw, moved_kw, LIMIT_KW, np.full((2, 3), erred_kw))


def test_a_zone_that_we_put_over_its_limit_is_found_with_its_worst_moment() -> None:
    moved_kw = np.array([[5.0, 10.5, -20.0], [12.0, 20.0, 13.0]])
    assert found(moved_kw) == (
        "zones: west at 05:05 draws 110.0 kW, its limit is 100.0 kW, 90.0 kW without us (3 times)",
    )
    assert found(moved_kw, erred_kw=9.5) == (), "so much the forecast was too low by"


def test_a_zone_that_would_be_over_its_limit_anyway_is_not_our_doing() -> None:
    assert found(np.full((2, 3), 20.0), np.full((2, 3), 101.0)) == ()
    assert len(found(np.full((2, 3), 20.0), np.full((2, 3), 99.0))) == 2


def test_the_power_of_devices_is_summed_by_their_zones() -> None:
    zone_of = {"a": "west", "b": "east", "c": "west"}
    total = by_zone(("east", "west"), zone_of, ["a", "b", "c"], np.array([[1.0, 2.0], [4.0, 8.0], [16.0, 32.0]]))
    assert total.tolist() == [[4.0, 8.0], [17.0, 34.0]]


def test_around_events_every_interval_is_judged_and_otherwise_every_hour() -> None:
    day = IntervalGrid.regular(START, 5 * MINUTE, 48)
    event = START + timedelta(hours=2), START + timedelta(hours=2, minutes=20)
    edges = [(edge - START) // MINUTE for edge in judged_grid(day, [event]).edges]
    assert edges == [0, 60, *range(105, 160, 5), 180, 240]


@pytest.mark.parametrize(
    ("orders", "own"),
    [
        ([], [True, True, True]),
        ([(0, 15, 5.0)], [False, False, False]),
        ([(0, 15, None)], [True, True, True]),
        ([(0, 5, 5.0)], [False, True, True]),
        ([(0, 7, 5.0)], [False, True, True]),
        ([(0, 15, 5.0), (5, 10, None)], [False, True, True]),  # what was replaced does not come back
        ([(0, 6, 5.0), (5, 15, 0.0)], [False, False, False]),
    ],
)
def test_who_has_no_order_for_a_part_of_an_interval_is_its_own_master(
    orders: list[tuple[float, float, float | None]], own: list[bool]
) -> None:
    told = [
        Told(START + begin * MINUTE, "a", f"c{k}", k, START + begin * MINUTE, START + end * MINUTE, power_kw)
        for k, (begin, end, power_kw) in enumerate(orders)
    ]
    assert own_masters(told, ["a", "b"], GRID).tolist() == [own, [True, True, True]]
