"""The tested figure: discounted by the spread of a history that only grows, and for a time only."""

import math
from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import ValidationError

from models.capability.assessment import AssessedTest
from models.capability.explained import Missing
from models.capability.history import History
from models.capability.programme import FILL, SHAVE
from models.capability.verdict import CapacityVerdict, VerdictRules, lower_bound, verdict, verdicts
from tests.unit.models.capability.runs import history, shown

KW = st.floats(1, 100)


def figure_of(*tests: AssessedTest, **rules: Any) -> CapacityVerdict:
    return verdict(history(*tests), SHAVE, VerdictRules(**rules))


# ---- the bound


def test_one_test_says_what_it_has_shown() -> None:
    found = figure_of(shown(80))
    assert (found.kw, found.holds_s, found.ordered_kw) == (80, 3600, 100)
    assert found.bound is not None
    assert (found.bound.mean_kw, found.bound.spread_kw, found.bound.factor) == (80, 0, 0)


def test_several_tests_by_hand() -> None:
    # 80, 84, 82: mean 82, s = √((4 + 4 + 0) / 2) = 2; t of 2 degrees at 90 % is 1.8856; √(4/3)
    found = figure_of(shown(80), shown(84, 1), shown(82, 2))
    assert found.bound is not None
    assert found.bound.mean_kw == pytest.approx(82)
    assert found.bound.spread_kw == pytest.approx(2)
    assert found.bound.factor == pytest.approx(1.8856 * math.sqrt(4 / 3), abs=1e-4)
    assert found.kw == pytest.approx(82 - 2 * 1.8856 * math.sqrt(4 / 3), abs=1e-3)
    assert figure_of(shown(80), shown(84, 1), shown(82, 2), confidence=0.975).kw == pytest.approx(
        82 - 2 * 4.3027 * math.sqrt(4 / 3), abs=1e-3
    )


def test_the_newest_test_is_never_exceeded_and_nothing_is_less_than_none() -> None:
    steady = [shown(100, day) for day in range(20)]
    found = figure_of(*steady, shown(90, 20))
    assert found.bound is not None
    assert found.bound.kw > 90
    assert found.kw == 90
    assert figure_of(shown(100), shown(20, 1)).kw == 0


def test_one_bad_test_among_many_good_ones_does_not_bind_for_ever() -> None:
    found = figure_of(shown(90), *[shown(100, day) for day in range(1, 21)])
    assert found.kw is not None
    assert 96 < found.kw < 97  # mean 99.52, s 2.18: 99.52 - 1.325 · 2.18 · 1.024


def test_tests_recorded_late_are_put_in_their_place() -> None:
    late = figure_of(shown(90, 2), shown(95, 1))
    assert late.tested_at == shown(90, 2).ended_at
    assert late.used == (shown(95, 1).inputs_sha256, shown(90, 2).inputs_sha256)


@given(st.lists(KW, min_size=1, max_size=8))
def test_the_figure_is_never_above_the_best_that_was_measured(values: list[float]) -> None:
    found = figure_of(*[shown(value, day) for day, value in enumerate(values)])
    assert found.kw is not None
    assert 0 <= found.kw <= values[-1] <= max(values)
    assert found.kw <= np.mean(values) + 1e-9


@given(st.lists(KW, min_size=2, max_size=8), st.floats(0, 1), st.floats(0.55, 0.95))
def test_a_wider_spread_lowers_the_bound(values: list[float], share: float, confidence: float) -> None:
    mean = float(np.mean(values))
    narrower = [mean + share * (value - mean) for value in values]
    wide, narrow = lower_bound(values, confidence), lower_bound(narrower, confidence)
    assert wide.kw <= narrow.kw + 1e-9
    assert narrow.spread_kw == pytest.approx(share * wide.spread_kw, abs=1e-9)
    assert lower_bound(values, confidence + 0.04).kw <= wide.kw + 1e-9


@given(st.lists(KW, min_size=1, max_size=6), st.integers(-8, 8))
def test_scaled_tests_scale_the_figure(values: list[float], power: int) -> None:
    factor = 2.0**power
    plain = figure_of(*[shown(value, day) for day, value in enumerate(values)])
    scaled = figure_of(*[shown(factor * value, day, ordered=factor * 100) for day, value in enumerate(values)])
    assert plain.kw is not None
    assert scaled.kw == pytest.approx(factor * plain.kw, rel=1e-9, abs=1e-9)


@given(st.lists(KW, min_size=1, max_size=6), st.randoms())
def test_the_order_in_which_tests_were_recorded_is_none_of_the_verdicts_business(
    values: list[float], dice: Any
) -> None:
    tests = [shown(value, day) for day, value in enumerate(values)]
    late = tests.copy()
    dice.shuffle(late)
    plain, other = figure_of(*tests), figure_of(*late)
    assert replace(plain, inputs_sha256="") == replace(other, inputs_sha256="")
    assert (plain.inputs_sha256 == other.inputs_sha256) == (tests == late)


@given(st.lists(KW, min_size=2, max_size=6))
def test_more_of_the_same_discounts_less(values: list[float]) -> None:
    assume(np.std(values) > 1e-3)
    once, twice = lower_bound(values, 0.9), lower_bound(values + values, 0.9)
    assert once.kw < twice.kw < twice.mean_kw


# ---- which tests count


def test_void_tests_and_those_of_the_other_direction_do_not_count() -> None:
    assert figure_of().missing is Missing.NEVER_TESTED
    assert figure_of(shown(None)).missing is Missing.NEVER_TESTED
    assert figure_of(shown(80, direction=FILL)).missing is Missing.NEVER_TESTED
    found = figure_of(shown(80), shown(None, 1), shown(50, 2, direction=FILL))
    assert found.kw == 80
    assert found.tested_at == shown(80).ended_at
    assert found.used == (shown(80).inputs_sha256,)


def test_both_directions_have_a_figure_of_their_own() -> None:
    found = verdicts(history(shown(80), shown(50, 2, direction=FILL)))
    assert [(found[each].direction, found[each].kw) for each in (SHAVE, FILL)] == [(SHAVE, 80), (FILL, 50)]
    assert found[SHAVE].inputs_sha256 != found[FILL].inputs_sha256
    assert found[FILL].tested_at == shown(50, 2).ended_at
    ten_days = verdicts(history(shown(80)), VerdictRules(validity_days=10))
    assert ten_days[SHAVE].expires_at == shown(80).ended_at + timedelta(days=10)


def test_old_tests_are_forgotten() -> None:
    assert figure_of(shown(60), shown(80, 1095)).used == (shown(60).inputs_sha256, shown(80, 1095).inputs_sha256)
    assert figure_of(shown(60), shown(80, 1095.01)).kw == 80
    assert figure_of(shown(60), shown(80, 11), memory_days=10).kw == 80


def test_a_test_that_asked_for_less_and_got_it_cannot_tell() -> None:
    small = shown(49, ordered=50)
    assert figure_of(small, shown(95, 1)).kw == 95
    assert figure_of(small, shown(95, 1)).used == (shown(95, 1).inputs_sha256,)
    assert figure_of(shown(44.9, ordered=50), shown(95, 1)).kw == 0  # it gave way: that counts
    assert figure_of(shown(45, ordered=50), shown(95, 1)).kw == 95
    assert figure_of(shown(40, ordered=50), shown(95, 1), held_share=0.8).kw == 95


def test_a_bad_test_is_not_lost_by_declaring_more() -> None:
    found = figure_of(shown(60), shown(101, 1, ordered=101))
    assert len(found.used) == 2
    assert found.kw == 0  # 80.5 less 3.078 · 29.0 · √1.5


def test_what_came_beyond_the_newest_order_is_not_counted() -> None:
    found = figure_of(shown(95), shown(80, 1, ordered=80))
    assert found.kw == 80
    assert found.ordered_kw == 80
    assert len(found.used) == 2


def test_the_newest_test_counts_though_it_asked_for_less_than_others() -> None:
    found = figure_of(shown(50, ordered=50), shown(60, 1), shown(40, 2, ordered=40))
    assert len(found.used) == 3
    assert found.kw == 40


def test_the_time_is_the_shortest_that_was_held() -> None:
    assert figure_of(shown(80, holds_s=3600), shown(80, 1, holds_s=1800), shown(80, 2)).holds_s == 1800


# ---- when it expires


def test_a_figure_holds_from_its_newest_test_until_it_expires() -> None:
    found = figure_of(shown(80), shown(80, 10), shown(None, 20), validity_days=30)
    newest = shown(80, 10).ended_at
    assert found.tested_at == newest
    assert found.expires_at == newest + timedelta(days=30)
    moments = [newest - timedelta(seconds=1), newest, newest + timedelta(days=29.9), newest + timedelta(days=30)]
    assert [found.is_in_force(moment) for moment in moments] == [False, True, True, False]
    assert not figure_of().is_in_force(newest)
    assert figure_of(shown(80)).expires_at == shown(80).ended_at + timedelta(days=365)


@pytest.mark.parametrize(
    "change", [{"confidence": 0.5}, {"confidence": 1}, {"validity_days": 0}, {"held_share": 1.1}, {"validity": 1}]
)
def test_rules_that_make_no_sense_are_refused(change: dict[str, Any]) -> None:
    usual = VerdictRules()
    assert (usual.confidence, usual.validity_days, usual.memory_days, usual.held_share) == (0.9, 365, 1095, 0.9)
    assert not usual.verified
    with pytest.raises(ValidationError, match=next(iter(change))):
        VerdictRules(**change)


def test_the_fingerprint_is_of_history_direction_and_rules() -> None:
    plain = figure_of(shown(80))
    assert figure_of(shown(80)).inputs_sha256 == plain.inputs_sha256
    assert figure_of(shown(80.5)).inputs_sha256 != plain.inputs_sha256
    assert figure_of(shown(80), shown(None, 1)).inputs_sha256 != plain.inputs_sha256
    assert figure_of(shown(80), confidence=0.95).inputs_sha256 != plain.inputs_sha256
    assert figure_of().inputs_sha256 != verdict(History("r2"), SHAVE).inputs_sha256
