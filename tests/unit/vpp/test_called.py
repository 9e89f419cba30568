"""Who was called for how much: the last order in force, its parts of an interval, refusals."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from adapters.store.commands import OrderColumns
from models.events import Direction
from models.intervals import IntervalGrid
from vpp.called import asked_on

T0 = datetime(2025, 7, 16, 13, tzinfo=UTC)
GRID = IntervalGrid.regular(T0, timedelta(minutes=5), 3)
BASELINE = np.array([[10.0, 10.0, 10.0], [4.0, 4.0, 4.0]])


def order(places: list[int], kw: list[float], begin: float, end: float, refused: bool = False) -> OrderColumns:
    at, until = (T0 + timedelta(minutes=each) for each in (begin, end))
    count = len(places)
    return OrderColumns(np.array(places), np.array(kw), np.full(count, refused), at, until)


def test_an_order_holds_until_the_next_or_its_end() -> None:
    orders = [order([0], [4.0], -5, 10), order([0, 1], [2.0, np.nan], 5, 20), order([1], [1.0], 10, 11)]
    found = asked_on(orders, BASELINE, GRID, Direction.SHAVE)
    # the second device is told to do as it likes, then for one minute of five to give up 3 kW
    assert found == pytest.approx(np.array([[6.0, 8.0, 8.0], [0.0, 0.0, 3.0 / 5]]))


def test_who_refused_was_not_called_and_more_load_is_asked_of_a_filling_event() -> None:
    orders = [order([0], [4.0], 0, 15), order([0], [2.0], 5, 10, refused=True), order([1], [6.0], 0, 15)]
    assert asked_on(orders, BASELINE, GRID, Direction.SHAVE) == pytest.approx(
        np.array([[6.0, 0.0, 6.0], [0.0, 0.0, 0.0]])
    )
    assert asked_on(orders, BASELINE, GRID, Direction.FILL)[1].tolist() == [2.0, 2.0, 2.0]


def test_nobody_told_is_nobody_asked() -> None:
    assert asked_on([], BASELINE, GRID, Direction.SHAVE).tolist() == [[0.0] * 3] * 2
