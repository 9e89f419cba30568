"""Which days, why not the others, and what the day itself changed."""

from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import InputError
from models.settlement.baseline import METHODS, baseline_profiles
from models.settlement.days import ClockDays
from models.settlement.methods.adjust import adjust
from models.settlement.methods.case import BaselineCase
from models.settlement.methods.evaluate import baseline_by
from models.settlement.methods.explained import MISSING, STATES, VERDICTS, AdjustmentState, NoBaseline, Verdict
from models.settlement.methods.spec import Adjustment
from models.settlement.methods.table import method_named
from tests.baseline_days import HOUR, MONDAY, SHANGHAI, event_on_next_weekday, flat_days, made, verdicts

TAKE_TWO = {
    "family": "day_matching",
    "days": {
        "weekday": {"take": 2, "of": 4, "minimum": 2},
        "weekend": {"take": 1, "of": 1, "minimum": 1},
        "pick": "high",
        "look_back_days": 21,
        "skip_days": 1,
        "low_use_fraction": 0.25,
        "outlier_fraction": 0.5,
    },
}


def test_every_day_has_its_verdict() -> None:
    days = [MONDAY + timedelta(days=k) for k in range(25)]  # 2 to 26 June 2025
    levels = [100.0] * 25
    history = flat_days(levels, days)
    history.values[0, 10, :6] = np.nan  # Thursday 12th: a quarter was not measured
    history.values[0, 11] = 5.0  # Friday 13th: shut
    history.values[0, 15] = 250.0  # Tuesday 17th: somebody tested a pump
    history.values[0, 18, 14:18] += 3  # Friday 20th
    history.values[0, 21, 14:18] += 2  # Monday 23rd
    case = event_on_next_weekday(
        history,
        day=date(2025, 6, 25),
        holidays=frozenset({date(2025, 6, 9)}),
        event_days=frozenset({date(2025, 6, 10)}),
        outage_days=frozenset({date(2025, 6, 11)}),
    )
    found = baseline_by(made(TAKE_TWO), case)
    by_day = {each.day.day: each.verdict.value for each in found.days}
    assert by_day == {
        **dict.fromkeys((2, 3), "beyond_look_back"),
        **dict.fromkeys((4, 5, 6), "newer_days_suffice"),
        **dict.fromkeys((7, 8, 14, 15, 21, 22), "other_kind"),
        9: "holiday",
        10: "event_day",
        11: "outage_day",
        12: "too_few_readings",
        13: "low_use",
        16: "newer_days_suffice",
        17: "newer_days_suffice",
        18: "not_among_highest",
        19: "not_among_highest",
        20: "used",
        23: "used",
        24: "too_recent",
        25: "not_before",
        26: "not_before",
    }
    np.testing.assert_allclose(found.kw[14:18], 102.5)
    assert found.days_used == (date(2025, 6, 20), date(2025, 6, 23))


def test_an_outlier_among_the_last_days_is_named_with_its_level() -> None:
    history = flat_days([100, 100, 100, 500, 100])
    found = baseline_by(made(TAKE_TWO), event_on_next_weekday(history))
    assert verdicts(found)[3] == "outlier"
    assert found.days[3].fact == pytest.approx(500.0)
    assert found.days[3].told("en") == "2025-06-05 an outlier, mean kW of the day (500)"
    assert found.days[3].told("zh") == "2025-06-05 偏差过大,日均 kW (500)"


def test_too_few_days_say_which_would_have_served() -> None:
    found = baseline_by(method_named("ten_of_ten"), event_on_next_weekday(flat_days([1, 2, 3, 4])))
    assert found.missing is NoBaseline.TOO_FEW_DAYS
    assert verdicts(found) == ["too_few_days"] * 4
    lines = found.told(method_named("ten_of_ten"), "zh")
    assert lines[:2] == ["ten_of_ten v1: 前10个相似日均值", "无基线:合格日不足"]


def test_four_kinds_of_day_do_not_mix_saturdays_with_holidays() -> None:
    days = [date(2025, 6, 1) + timedelta(days=k) for k in range(34)]
    history = flat_days([float(day.weekday()) for day in days], days)
    case = event_on_next_weekday(history, day=date(2025, 7, 5), holidays=frozenset({date(2025, 6, 7)}))
    found = baseline_by(method_named("aemo_wdr"), case)
    assert [day.day for day in found.days_used] == [14, 21, 28]
    assert (found.kw == 5).all()


def test_make_up_working_days_are_weekdays() -> None:
    saturday = date(2025, 6, 7)
    history = flat_days([1.0] * 5 + [9.0], [*(MONDAY + timedelta(days=k) for k in range(5)), saturday])
    case = event_on_next_weekday(history, working_weekends=frozenset({saturday}))
    assert saturday in baseline_by(method_named("ten_of_ten"), case).days_used


def test_every_verdict_has_words_in_both_languages() -> None:
    for enumeration, words in ((Verdict, VERDICTS), (NoBaseline, MISSING), (AdjustmentState, STATES)):
        assert set(words) == set(enumeration)
        assert all((en and zh and en != zh) or "{shown}" in en for en, zh in words.values())


# ---- the adjustment


def adjusted(kind: str, shown: np.ndarray | float, base: float = 100.0, **more: object) -> tuple[float, str, float]:
    rule = {"kind": kind, "windows": [{"from_h": -4, "to_h": -1}], **more}
    case = event_on_next_weekday(flat_days([base]), shown)
    kw, fact = adjust(case, Adjustment.model_validate(rule), np.full(24, base))
    return float(kw[14]), fact.state.value, fact.raw


@pytest.mark.parametrize(
    ("kind", "shown", "more", "kw", "state"),
    [
        ("scalar", 110.0, {"limit": 0.2}, 110.0, "applied"),
        ("scalar", 150.0, {"limit": 0.2}, 120.0, "clipped"),
        ("scalar", 10.0, {"limit": 0.2}, 80.0, "clipped"),
        ("scalar", 10.0, {"limit": 0.4, "reciprocal": True}, 100 / 1.4, "clipped"),
        ("scalar", 350.0, {}, 350.0, "applied"),
        ("additive", 103.0, {}, 103.0, "applied"),
        ("additive", 150.0, {"limit": 0.2}, 120.0, "clipped"),
        ("additive", 50.0, {"limit": 0.2}, 80.0, "clipped"),
        ("additive", np.nan, {}, 100.0, "no_readings"),
        ("scalar", np.nan, {"limit": 0.2}, 100.0, "no_readings"),
    ],
)
def test_an_adjustment_goes_as_far_as_it_may(kind: str, shown: float, more: dict, kw: float, state: str) -> None:
    found_kw, found_state, _ = adjusted(kind, shown, **more)
    assert found_kw == pytest.approx(kw)
    assert found_state == state


def test_a_baseline_of_no_energy_is_not_multiplied() -> None:
    assert adjusted("scalar", 5.0, base=0.0, limit=0.2)[:2] == (0.0, "no_baseline")


def test_only_the_window_is_looked_at_and_each_is_told() -> None:
    shown = np.full(24, 1e6)
    shown[10:12], shown[20:22] = 110.0, 150.0
    case = event_on_next_weekday(flat_days([100.0] * 5), shown)
    found = baseline_by(method_named("caiso_res_5_10"), case)
    assert found.adjustment is not None
    np.testing.assert_allclose(found.kw, 130.0)
    assert [(each.from_h, each.to_h, each.metered_kw) for each in found.adjustment.windows] == [
        (10, 12, 110.0),
        (20, 22, 150.0),
    ]
    assert found.adjustment.told("en") == "adjustment window 10:00-12:00, 20:00-22:00: x 1.3000"
    shown[10:12] = 1000.0
    clipped = baseline_by(method_named("caiso_res_5_10"), event_on_next_weekday(flat_days([100.0] * 5), shown))
    assert clipped.adjustment is not None
    assert clipped.adjustment.told("zh").endswith("x 1.4000,由 x 5.7500 限幅")


def test_a_window_of_the_day_before_is_not_there() -> None:
    case = event_on_next_weekday(flat_days([100.0] * 5), 50.0, start_h=0.0, end_h=2.0)
    found = baseline_by(method_named("pjm_4_5_saa"), case)
    assert found.adjustment is not None
    assert found.adjustment.state is AdjustmentState.NO_READINGS


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ({"start_h": 18.0, "end_h": 14.0}, "start_h"),
        ({"end_h": 25.0}, "start_h"),
        ({"start_h": 14.2, "end_h": 14.7}, "whole clock slot"),
        ({"day_kw": np.zeros(96)}, "day_kw"),
        ({"schedule_kw": np.zeros(23)}, "schedule_kw"),
        ({"history": ClockDays((MONDAY, MONDAY), np.zeros((1, 2, 24)), HOUR, SHANGHAI)}, "ascend"),
        ({"history": ClockDays((MONDAY,), np.zeros((2, 1, 24)), HOUR, SHANGHAI)}, "history"),
    ],
)
def test_a_case_that_cannot_be_is_refused(more: dict, named: str) -> None:
    good: dict = {"history": flat_days([1.0]), "day": date(2025, 6, 3), "start_h": 14.0, "end_h": 18.0}
    good["day_kw"] = np.zeros(24)
    BaselineCase(**good)
    with pytest.raises(InputError, match=named):
        BaselineCase(**(good | more))


# ---- the same as what the service plans with


@given(
    seed=st.integers(0, 2**32 - 1),
    count=st.integers(8, 60),
    method_id=st.sampled_from(sorted(METHODS)),
    later=st.integers(1, 5),
)
def test_one_meter_with_reasons_and_the_whole_fleet_without_are_the_same_rule(
    seed: int, count: int, method_id: str, later: int
) -> None:
    dice = np.random.default_rng(seed)
    days = tuple(MONDAY + timedelta(days=k) for k in range(count))
    values = np.round(dice.gamma(4, 25, (1, count, 1)) + dice.gamma(2, 5, (1, count, 24)), 1)
    values[dice.random(values.shape) < 0.02] = np.nan
    values[:, dice.random(count) < 0.05, :10] = np.nan
    history = ClockDays(days, values, HOUR, SHANGHAI)
    called = dice.random(count) < 0.15
    holidays = frozenset(day for day in days if dice.random() < 0.05)
    target = days[-1] + timedelta(days=later)
    case = event_on_next_weekday(
        history,
        day=target,
        holidays=holidays,
        event_days=frozenset(day for day, yes in zip(days, called, strict=True) if yes),
    )
    fleet = baseline_profiles(
        history, target, METHODS[method_id], holidays=holidays, excluded=called, event_slots=case.event
    )
    row = method_named(method_id, 1).model_copy(update={"adjustment": None})
    single = baseline_by(row, case)
    assert (single.missing is None) == bool(fleet.enough[0])
    np.testing.assert_array_equal([each.verdict is Verdict.USED for each in single.days], fleet.days_used[0])
    np.testing.assert_allclose(single.kw, fleet.profile[0], rtol=1e-12)
