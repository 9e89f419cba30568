"""What a meter said while it was known to lie does not count, and nothing else is left out."""

from datetime import UTC, datetime, timedelta

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from models.conduct import Misconduct
from models.intervals import IntervalGrid
from models.records import AuditEntry
from vpp.meter_spells import SET_ASIDE, TAKEN_BACK, leave_out, meter_spells

START = datetime(2025, 7, 16, 5, 0, tzinfo=UTC)
CYCLE = timedelta(minutes=5)
GRID = IntervalGrid.regular(START, CYCLE, 24)
IDS = ("a", "b", "c")


def line(k: int, action: str, reason: str, *names: str) -> AuditEntry:
    return AuditEntry(k, START + k * CYCLE, "service", action, reason, {"resource_ids": list(names)}, "", "")


def test_a_spell_runs_from_the_first_cycle_that_held_against_it_until_it_is_taken_back() -> None:
    log = [
        line(4, SET_ASIDE, "wrong_sign", "a", "b"),
        line(5, SET_ASIDE, "silent", "c"),
        line(9, TAKEN_BACK, "wrong_sign", "a"),
        line(10, "approved", "wrong_sign", "c"),
    ]
    first, second = meter_spells(log, CYCLE)
    assert (first.resource_id, first.reason) == ("a", Misconduct.WRONG_SIGN)
    assert (first.start, first.end) == (START + 2 * CYCLE, START + 9 * CYCLE)
    assert (second.resource_id, second.start) == ("b", START + 2 * CYCLE)
    assert second.end > GRID.end + timedelta(days=9999), "it has not been taken back"
    kept = leave_out(np.ones((3, 24)), IDS, GRID, [first, second])
    assert np.flatnonzero(np.isnan(kept[0])).tolist() == list(range(2, 9))
    assert np.flatnonzero(np.isnan(kept[1])).tolist() == list(range(2, 24))
    assert not np.isnan(kept[2]).any()


@given(st.lists(st.tuples(st.integers(0, 23), st.booleans(), st.sampled_from(IDS)), max_size=12))
def test_nothing_is_left_out_of_who_was_never_set_aside(moves: list[tuple[int, bool, str]]) -> None:
    log = [line(k, SET_ASIDE if aside else TAKEN_BACK, "frozen_meter", name) for k, aside, name in sorted(moves)]
    metered = np.arange(72.0).reshape(3, 24)
    kept = leave_out(metered, IDS, GRID, meter_spells(log, CYCLE))
    accused = {name for _, aside, name in moves if aside}
    for row, name in enumerate(IDS):
        assert name in accused or not np.isnan(kept[row]).any()
        assert np.array_equal(kept[row][~np.isnan(kept[row])], metered[row][~np.isnan(kept[row])])
