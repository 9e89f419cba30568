"""Readings as stretches of time."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.capability.spans import Spans, block_edges, longest_run, spans_of

VALUES = st.lists(st.tuples(st.integers(1, 50), st.floats(-1e6, 1e6)), min_size=1, max_size=20)
TAILS = st.sampled_from([0.0, 0.05, 0.25, 0.49])


def spans(*pieces: tuple[int, float]) -> Spans:
    """Stretches of (length, value), one after the other from 0."""
    ends = np.cumsum([length for length, _ in pieces])
    return Spans(ends - [length for length, _ in pieces], ends, np.array([value for _, value in pieces], dtype=float))


def test_a_reading_stands_for_the_time_since_the_one_before() -> None:
    found = spans_of(np.array([10, 20, 40, 45]), np.array([9.0, 1.0, 2.0, 3.0]), 20)
    assert found.start_us.tolist() == [10, 20, 40]
    assert found.end_us.tolist() == [20, 40, 45]
    assert found.values.tolist() == [1, 2, 3]


def test_a_failed_reading_and_one_of_too_long_a_time_leave_a_hole() -> None:
    found = spans_of(np.array([0, 10, 20, 30, 51]), np.array([0.0, 1.0, np.nan, 3.0, 4.0]), 20)
    assert list(zip(found.start_us.tolist(), found.end_us.tolist(), strict=True)) == [(0, 10), (20, 30)]
    assert found.known_us == 20


def test_what_lies_in_a_window_is_cut_to_it() -> None:
    inside = spans((10, 1), (10, 2), (10, 3)).within(5, 20)
    assert (inside.start_us.tolist(), inside.end_us.tolist()) == ([5, 10], [10, 20])
    assert inside.mean() == pytest.approx((5 * 1 + 10 * 2) / 15)
    assert np.isnan(inside.within(40, 50).mean())
    assert np.isnan(inside.within(40, 50).low(0.1))


def test_tails_by_hand() -> None:
    # 5 % of 100 is 5: the level 1 is below for nothing, 2 for 5, 3 for 6
    levels = spans((1, 2), (5, 1), (88, 3), (6, 9))
    assert levels.low(0.05) == 2
    assert levels.low(0.06) == 3
    assert levels.low(0.0) == 1
    assert levels.high(0.05) == 9
    assert levels.high(0.06) == 3
    assert levels.high(0.0) == 9


@given(VALUES, TAILS)
def test_tails_are_what_they_say(pieces: list[tuple[int, float]], tail: float) -> None:
    x = spans(*pieces)
    low, high = x.low(tail), x.high(tail)
    assert x.lengths[x.values < low].sum() <= tail * x.known_us
    assert x.lengths[x.values <= low].sum() > tail * x.known_us
    assert x.values.min() <= low <= high <= x.values.max()
    assert x.low(0) == x.values.min()
    assert x.high(0) == x.values.max()


def test_blocks_are_equal_and_not_shorter_than_asked() -> None:
    assert block_edges(100, 400, 60).tolist() == [100, 160, 220, 280, 340, 400]
    assert block_edges(0, 359, 60).tolist() == [0, 71, 143, 215, 287, 359]
    assert block_edges(0, 50, 60).tolist() == [0, 50]


def test_a_block_of_which_too_little_is_known_has_no_mean() -> None:
    known = Spans(np.array([0, 100, 212]), np.array([100, 190, 300]), np.array([1.0, 2.0, 3.0]))
    means = known.block_means(np.array([0, 100, 200, 300]), 0.9)
    assert means[:2].tolist() == [1, 2]
    assert np.isnan(means[2])


def test_the_longest_run_of_blocks() -> None:
    edges = np.array([0, 10, 20, 40, 50])
    assert longest_run(np.array([True, False, True, True]), edges) == 30
    assert longest_run(np.array([True, True, False, False]), edges) == 20
    assert longest_run(np.array([False] * 4), edges) == 0
