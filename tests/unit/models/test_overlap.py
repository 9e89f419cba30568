"""Events that share resources: each is judged by what lies inside it, and every kW is credited once."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from models.settlement.overlap import caps_kw, credited_kw

CITY, WEST, EAST = (np.array(rows, dtype=np.bool_) for rows in ([1, 1, 1, 1], [1, 1, 0, 0], [0, 0, 1, 0]))


def test_what_lies_inside_counts_and_equal_scopes_do_not_add() -> None:
    order = [np.array([100.0, 0.0]), np.array([80.0, 80.0]), np.array([40.0, 0.0])]
    assert caps_kw([CITY, WEST, EAST], order).tolist() == [[120, 80], [80, 80], [40, 0]]
    assert caps_kw([WEST, WEST], [np.array([50.0]), np.array([70.0])]).tolist() == [[70], [70]]


def test_the_narrowest_event_that_runs_has_the_kw() -> None:
    delivered = np.array([[10.0, 10.0], [20.0, 20.0], [5.0, 5.0], [1.0, 1.0]])
    always, second = np.array([True, True]), np.array([False, True])
    credited = credited_kw([CITY, WEST], [always, second], delivered)
    assert credited.tolist() == [[36, 6], [0, 30]]


@given(
    arrays(np.bool_, (3, 5)),
    arrays(np.bool_, (3, 4)),
    arrays(np.float64, (5, 4), elements=st.floats(-100, 100)),
)
def test_no_kw_is_credited_twice_and_none_of_the_union_is_lost(
    members: np.ndarray, running: np.ndarray, delivered: np.ndarray
) -> None:
    credited = credited_kw(list(members), list(running), delivered)
    union = (members[:, :, None] & running[:, None, :]).any(axis=0)
    assert np.allclose(credited.sum(axis=0), np.where(union, delivered, 0.0).sum(axis=0))
