"""Who has just gone missing: so many at once have fallen silent, a few are late, all at once means that we are deaf."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vpp.absence import DEAF_SHARE, LATE_SHARE, Absence

ROWS = np.arange(40, 140)


def in_time(missing: int, *, first: int = 0) -> np.ndarray:
    found = np.ones(len(ROWS), dtype=np.bool_)
    found[first : first + missing] = False
    return found


def test_a_fifth_at_once_is_expected_to_bring_half_and_at_the_next_cycle_it_is_known() -> None:
    absence = Absence()
    assert (absence.expected_share(ROWS, in_time(0)) == 1).all(), "nobody is known yet"
    share = absence.expected_share(ROWS, in_time(20))
    assert share[:20] == pytest.approx([LATE_SHARE / 0.2] * 20)
    assert (share[20:] == 1).all()
    assert (absence.expected_share(ROWS, in_time(20)) == 1).all(), "who is late again is late, or out of the plan"


@given(st.integers(0, 100), st.integers(0, 100))
def test_a_few_are_late_and_more_than_half_is_our_own_ear(missing: int, late_before: int) -> None:
    absence = Absence()
    absence.expected_share(ROWS, in_time(late_before, first=100 - late_before))
    found = absence.expected_share(ROWS, in_time(missing))
    newly = min(missing, 100 - late_before)
    share = newly / max(1, 100 - late_before)
    if LATE_SHARE < share <= DEAF_SHARE:
        assert found[:newly] == pytest.approx([LATE_SHARE / share] * newly)
        assert (found[newly:] == 1).all()
        assert float((1 - found).sum()) == pytest.approx(newly - LATE_SHARE * (100 - late_before))
    else:
        assert (found == 1).all()


def test_rows_of_another_cycle_may_be_others() -> None:
    absence = Absence()
    absence.expected_share(ROWS, in_time(0))
    others = np.arange(100, 200)
    found = absence.expected_share(others, np.arange(100) >= 8)
    assert found[:8] == pytest.approx([LATE_SHARE / 0.2] * 8), "8 of the 40 that were in time"
    assert (found[8:] == 1).all()
