"""Load raised for the meter is found; a hot day is not taken for it."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.settlement.inflation import days_inflation, window_inflation
from models.settlement.methods.case import BaselineCase
from models.settlement.methods.spec import Window
from tests.baseline_days import clock_days, event_on_next_weekday, weekdays

WINDOW = [Window(from_h=-4, to_h=-1)]


def warm_and_cool_days(seed: int = 5, heat_today: float = 1.0) -> BaselineCase:
    """Forty days whose whole course goes with the heat, one reading in a hundred off, and the day of the event."""
    dice = np.random.default_rng(seed)
    heat = np.append(dice.uniform(0.8, 1.2, 40), heat_today)
    course = 100 + 50 * np.sin((np.arange(24) - 6) / 24 * 2 * np.pi)
    values = heat[:, None] * course + dice.normal(0, 1, (41, 24))
    return event_on_next_weekday(clock_days(values[:40]), values[40])


def raised(case: BaselineCase, factor: float) -> BaselineCase:
    return replace(case, day_kw=np.where(case.window(WINDOW[0]), case.day_kw * factor, case.day_kw))


def test_a_raised_window_stands_out_and_says_by_how_much() -> None:
    case = raised(warm_and_cool_days(), 1.2)
    found = window_inflation(case, WINDOW)
    assert found is not None
    assert found.score > 8
    assert found.learning_days == 40
    (fact,) = found.days
    assert fact.shown_kw - fact.expected_kw == pytest.approx(0.2 / 1.2 * fact.shown_kw, rel=0.1)
    assert f"{fact.shown_kw:.4g} kW" in fact.told("en")
    assert "通常离散" in fact.told("zh")


def test_a_hot_day_is_hot_from_the_morning_on() -> None:
    quiet = window_inflation(warm_and_cool_days(heat_today=1.0), WINDOW)
    hot = window_inflation(warm_and_cool_days(heat_today=1.35), WINDOW)
    assert quiet is not None
    assert hot is not None
    assert abs(quiet.score) < 3
    assert abs(hot.score) < 3


def test_who_cools_in_the_heat_of_the_window_is_not_suspected_if_the_heat_is_known() -> None:
    dice = np.random.default_rng(2)
    celsius = dice.normal(28, 4, (41, 24))
    celsius[40, 10:13] = 38.0
    values = 100 + 5 * celsius + dice.normal(0, 1, (41, 24))
    days = weekdays(41)
    case = event_on_next_weekday(clock_days(values[:40], days[:40]), values[40])
    blind = window_inflation(case, WINDOW)
    told = window_inflation(replace(case, temperature_celsius=clock_days(celsius, days)), WINDOW)
    assert blind is not None
    assert told is not None
    assert blind.score > 3
    assert abs(told.score) < 3


def test_raised_like_days_are_judged_by_days_before_them() -> None:
    case = warm_and_cool_days()
    suspected = case.history.days[-5:]
    honest = days_inflation(case, suspected)
    values = case.history.values.copy()
    values[0, -5:, case.event] *= 1.1
    caught = days_inflation(replace(case, history=replace(case.history, values=values)), suspected)
    assert honest is not None
    assert caught is not None
    assert caught.learning_days == 35
    assert abs(honest.score) < 3
    assert caught.score > 8
    assert [fact.day for fact in caught.days] == list(suspected)


@given(seed=st.integers(0, 200), power=st.integers(-4, 4))
def test_a_score_has_no_unit(seed: int, power: int) -> None:
    case = raised(warm_and_cool_days(seed), 1.1)
    factor = 2.0**power
    history = replace(case.history, values=case.history.values * factor)
    plain = window_inflation(case, WINDOW)
    scaled = window_inflation(replace(case, history=history, day_kw=case.day_kw * factor), WINDOW)
    assert plain is not None
    assert scaled is not None
    assert scaled.score == pytest.approx(plain.score, rel=1e-6)


@given(seed=st.integers(0, 200), more=st.floats(1.01, 2.0))
def test_who_raises_more_scores_more(seed: int, more: float) -> None:
    case = warm_and_cool_days(seed)
    scores = [window_inflation(raised(case, factor), WINDOW) for factor in (1.0, more, more + 0.1)]
    assert [each.score for each in scores if each] == sorted(each.score for each in scores if each)
    assert all(scores)


def test_what_comes_after_the_window_does_not_matter_on_the_day_of_the_event() -> None:
    case = warm_and_cool_days()
    later = np.where(np.arange(24) >= 13, 1e5, case.day_kw)
    assert window_inflation(replace(case, day_kw=later), WINDOW) == window_inflation(case, WINDOW)


def test_event_days_teach_nothing() -> None:
    case = warm_and_cool_days()
    strange = case.history.values.copy()
    strange[0, 7] *= 50
    called = replace(case, event_days=frozenset({case.history.days[7]}))
    assert window_inflation(called, WINDOW) == window_inflation(
        replace(called, history=replace(case.history, values=strange)), WINDOW
    )


def test_nothing_is_said_without_ground() -> None:
    case = warm_and_cool_days()
    assert window_inflation(case, [Window(from_h=1, to_h=3, at="end")]) is None
    assert window_inflation(replace(case, day_kw=np.full(24, np.nan)), WINDOW) is None
    assert days_inflation(case, ()) is None
    assert days_inflation(case, case.history.days[10:15]) is None  # ten days to learn from
    short = event_on_next_weekday(clock_days(case.history.values[0, :19], weekdays(19)), case.day_kw)
    assert window_inflation(short, WINDOW) is None
    early = replace(case, start_h=2.0, end_h=4.0)
    assert window_inflation(early, [Window(from_h=-2, to_h=-1)]) is None  # no hour lies before it
    assert case.history.days[-1] - case.history.days[0] > timedelta(days=50)
