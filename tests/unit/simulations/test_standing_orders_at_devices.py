"""What a simulated device follows: the order that holds, then the next, then the one for when it hears nothing more."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from simulations.devices.base import Orders

HELD = [("now", 0.0, 10.0), ("next", 5.0, 15.0), ("standing", 15.0, 60.0)]


def followed(orders: Orders, seconds: list[float]) -> list[float | None]:
    return [None if np.isnan(kw := float(orders.at(second)[0])) else kw for second in seconds]


def test_one_after_the_other_and_then_its_own_way() -> None:
    orders = Orders(1)
    for kw, (_, since, until) in enumerate(HELD):
        orders.give(0, float(kw), since, until, 0.0)
    assert followed(orders, [0, 4, 5, 14, 15, 59, 60]) == [0, 0, 1, 1, 2, 2, None]


def test_newer_orders_take_the_place_of_all_three_and_a_release_of_one() -> None:
    orders = Orders(1)
    for kw, (_, since, until) in enumerate(HELD):
        orders.give(0, float(kw), since, until, 0.0)
    orders.give(0, 7.0, 5.0, 15.0, 5.0)
    assert followed(orders, [5, 14, 15]) == [7, 7, 2]
    orders.give(0, None, 10.0, 20.0, 5.0)
    assert followed(orders, [9, 10, 19, 20, 30]) == [7, None, None, None, None], "what began inside does not come back"


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 30)), min_size=1, max_size=6), st.integers(0, 60))
def test_the_newest_order_that_holds_is_followed_as_long_as_few_are_remembered(
    spans: list[tuple[int, int]], second: int
) -> None:
    orders = Orders(2)
    for kw, (since, length) in enumerate(spans):
        orders.give(0, float(kw), float(since), float(since + length), 0.0)
    newest = len(spans) - 1
    since, length = spans[newest]
    (found,) = followed(orders, [second])
    if since <= second < since + length and newest < Orders.PLACES:
        assert found == newest
    holding = [k for k, (begin, span) in enumerate(spans) if begin <= second < begin + span]
    assert found is None or int(found) in holding
    assert np.isnan(orders.at(second)[1])
