"""A direct call takes the cheapest first, no more than anybody can hold, and never more than it must."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from models.dispatch.direct_call import CallOffers, taken


def offers(power: list[float], cost: list[float], **changed: object) -> CallOffers:
    count = len(power)
    fields: dict[str, object] = {
        "power_kw": np.array(power),
        "energy_kwh": np.full(count, np.inf),
        "cost_per_kwh": np.array(cost),
        "reliability": np.ones(count),
        "is_whole": np.zeros(count, dtype=np.bool_),
    }
    return CallOffers(**{**fields, **changed})  # type: ignore[arg-type]


def test_the_cheapest_are_taken_first_and_the_last_in_part() -> None:
    change, order = taken(offers([50, 30, 40], [0.3, 0.1, 0.2]), 60.0, 1.0)
    assert change.tolist() == [0, 30, 30]
    assert order.tolist() == [1, 2]


def test_what_runs_out_is_spread_over_the_call() -> None:
    change, _ = taken(offers([50, 50], [0.1, 0.2], energy_kwh=np.array([40.0, np.inf])), 60.0, 2.0)
    assert change.tolist() == [20, 40]


def test_who_gives_half_is_asked_for_more_and_counted_by_what_comes() -> None:
    change, _ = taken(offers([50, 50], [0.1, 0.2], reliability=np.array([0.5, 1.0])), 40.0, 1.0)
    assert change.tolist() == [50, 15]


def test_a_block_is_given_whole_or_not_and_not_where_most_of_it_is_too_much() -> None:
    whole = np.array([True, False])
    change, _ = taken(offers([50, 50], [0.1, 0.2], is_whole=whole), 20.0, 1.0)
    assert change.tolist() == [0, 20]
    change, _ = taken(offers([50, 50], [0.1, 0.2], is_whole=whole), 30.0, 1.0)
    assert change.tolist() == [50, 0]
    change, _ = taken(offers([50, 50], [0.1, 0.2], is_whole=whole, energy_kwh=np.array([40.0, 99.0])), 80.0, 1.0)
    assert change.tolist() == [0, 50]


@given(
    arrays(np.float64, 8, elements=st.floats(0, 100)),
    arrays(np.float64, 8, elements=st.floats(0, 200)),
    arrays(np.float64, 8, elements=st.floats(0, 1)),
    arrays(np.float64, 8, elements=st.floats(0.05, 1)),
    arrays(np.bool_, 8),
    st.floats(0, 1000),
    st.floats(0.1, 6),
)
def test_nobody_gives_what_it_cannot_hold_and_the_need_is_met_if_it_can_be(
    power: np.ndarray,
    energy: np.ndarray,
    cost: np.ndarray,
    rho: np.ndarray,
    whole: np.ndarray,
    needed: float,
    hours: float,
) -> None:
    made = CallOffers(power, energy, cost, rho, whole)
    change, order = taken(made, needed, hours)
    held = made.held_kw(hours)
    assert (change <= held + 1e-9).all()
    assert (change[order] > 0).all()
    assert set(np.flatnonzero(change)) == set(order.tolist())
    assert ((change == 0) | (change == held) | ~whole).all()
    given = float((rho * change).sum())
    if not whole.any():
        assert given == pytest.approx(min(needed, float((rho * held).sum())), abs=1e-4)
    largest_block = float((rho * held)[whole].max(initial=0.0))
    assert given <= needed + largest_block + 1e-4
