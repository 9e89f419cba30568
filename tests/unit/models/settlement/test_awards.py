"""Awards of resources: they add up to what was accepted, and follow what each was told."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from models.errors import InputError
from models.events import Direction
from models.intervals import FloatArray
from models.settlement.awards import asked_kw, awards_kw

HOURS = np.array([0.25, 0.25, 0.5])


def test_what_was_asked_is_baseline_less_order_in_the_direction_of_the_event() -> None:
    baseline = np.array([[10.0, 10.0, -2.0], [5.0, 5.0, 5.0]])
    told = np.array([[4.0, 12.0, -6.0], [np.nan, 5.0, 0.0]])
    assert asked_kw(baseline, told, Direction.SHAVE).tolist() == [[6.0, 0.0, 4.0], [0.0, 0.0, 5.0]]
    assert asked_kw(baseline, told, Direction.FILL).tolist() == [[0.0, 2.0, 0.0], [0.0, 0.0, 0.0]]


def test_parts_follow_the_orders_then_the_usual_then_are_equal() -> None:
    asked = np.array([[6.0, 0.0, 4.0], [2.0, 0.0, 0.0], [0.0, 0.0, 0.0], [1.0, 2.0, 3.0]])
    accepted = {"sun": np.array([4.0, 9.0, 2.0])}
    found = awards_kw(asked, ["sun", "sun", "sun", None], accepted, HOURS)
    # by hand: 6:2 of 4; nobody told: 6·0.25 + 4·0.5 = 3.5 h·kW against 2·0.25 = 0.5; the first alone of 2
    wanted = [[3.0, 9 * 3.5 / 4, 2.0], [1.0, 9 * 0.5 / 4, 0.0], [0.0, 0.0, 0.0], [1.0, 2.0, 3.0]]
    assert found == pytest.approx(np.array(wanted))
    nobody = awards_kw(np.zeros((2, 3)), ["sun", "sun"], accepted, HOURS)
    assert nobody == pytest.approx(np.array([[2.0, 4.5, 1.0]] * 2))


@given(
    arrays(np.float64, (6, 3), elements=st.floats(0, 1e5)),
    arrays(np.float64, (2, 3), elements=st.floats(0, 1e6)),
    st.lists(st.sampled_from(["sun", "moon"]), min_size=4, max_size=4),
)
@settings(max_examples=100, deadline=None)
def test_awards_of_an_aggregator_add_up_to_what_it_accepted(
    asked: FloatArray, accepted: FloatArray, owners: list[str]
) -> None:
    names = ["sun", "moon", *owners]
    found = awards_kw(asked, names, {"sun": accepted[0], "moon": accepted[1]}, HOURS)
    assert (found >= 0).all()
    for name, wanted in zip(("sun", "moon"), accepted, strict=True):
        mine = np.array([each == name for each in names])
        assert found[mine].sum(axis=0) == pytest.approx(wanted, rel=1e-9, abs=1e-9)
        told = asked[mine].sum(axis=0) > 1e-6
        assert (found[mine][:, told][asked[mine][:, told] == 0] == 0).all()  # who was not told owes nothing


def test_nobody_owes_what_has_no_one_to_give_it() -> None:
    with pytest.raises(InputError, match="aggregator moon has accepted this and has no resource"):
        awards_kw(np.zeros((1, 3)), ["sun"], {"moon": np.ones(3)}, HOURS)
    assert awards_kw(np.zeros((1, 3)), ["sun"], {"moon": np.zeros(3)}, HOURS).tolist() == [[0.0, 0.0, 0.0]]
    with pytest.raises(InputError, match="shape must be"):
        awards_kw(np.zeros((2, 3)), ["sun"], {}, HOURS)
    with pytest.raises(InputError, match="shape must be"):
        awards_kw(np.zeros((1, 3)), ["sun"], {"sun": np.ones(2)}, HOURS)
