"""What was planned for a cycle is the mean of the plans whose orders were in force in it."""

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.events import Direction
from tests.live import T0, plan_made
from tests.unit.vpp.test_feedback import event
from vpp.followed import FollowedPlans

MINUTE = timedelta(minutes=1)
NAMES = ("one", "two")


def problem(reliability: float = 1.0) -> Any:
    return SimpleNamespace(attributes={name: SimpleNamespace(reliability_fraction=reliability) for name in NAMES})


def plan(less_kw: list[float], names: tuple[str, ...] = NAMES) -> Any:
    """Each draws so much less than 10 kW, quarter by quarter."""
    power_kw = np.array([[10.0 - less for less in less_kw]] * len(names))
    return plan_made(names, power_kw, step=15 * MINUTE, baseline_kw=10.0)


def expected(followed: FollowedPlans, start_min: float, end_min: float, **changes: Any) -> list[float]:
    order = event().model_copy(update=changes)
    found = followed.expected_kw(order, ["two", "stranger"], T0 + start_min * MINUTE, T0 + end_min * MINUTE)
    return [float(each) for each in found]


def test_orders_are_in_force_once_they_have_left() -> None:
    followed = FollowedPlans()
    followed.sent(problem(), plan([4.0] * 4), T0)
    followed.sent(problem(), plan([8.0] * 4), T0 + 5.25 * MINUTE)
    assert expected(followed, 5, 6) == pytest.approx([0.25 * 4.0 + 0.75 * 8.0, 0.0])
    assert expected(followed, 5, 10) == pytest.approx([0.05 * 4.0 + 0.95 * 8.0, 0.0])
    followed.sent(problem(), plan([2.0] * 4), T0 + 6.25 * MINUTE)
    assert expected(followed, 6, 7) == pytest.approx([0.25 * 8.0 + 0.75 * 2.0, 0.0])


@given(st.lists(st.floats(0, 10), min_size=4, max_size=4), st.floats(0, 50), st.floats(1, 10))
def test_one_plan_is_its_own_mean(less_kw: list[float], start_min: float, minutes: float) -> None:
    followed = FollowedPlans()
    followed.sent(problem(0.5), plan(less_kw), T0 - MINUTE)
    at = start_min + minutes * (np.arange(1000) + 0.5) / 1000
    mean = float(np.mean([less_kw[int(each // 15)] if each < 60 else np.nan for each in at]))
    if not np.isnan(mean):
        (found, _) = expected(followed, start_min, start_min + minutes)
        assert found == pytest.approx(0.5 * mean, abs=0.02)
        (filling, _) = expected(followed, start_min, start_min + minutes, direction=Direction.FILL)
        assert filling == pytest.approx(-found)


def test_nothing_is_expected_before_anything_was_sent_and_of_who_is_in_no_plan() -> None:
    followed = FollowedPlans()
    assert expected(followed, 0, 5) == [0.0, 0.0]
    followed.sent(problem(), plan([4.0] * 4, NAMES[:1]), T0)
    assert expected(followed, 0, 5) == [0.0, 0.0]


def test_the_first_plan_known_stands_for_what_was_before_it() -> None:
    """After a restart nobody knows what was planned until then: the same, most likely."""
    followed = FollowedPlans()
    followed.sent(problem(), plan([4.0] * 4), T0 + 5.25 * MINUTE)
    assert expected(followed, 5, 10) == pytest.approx([4.0, 0.0])
