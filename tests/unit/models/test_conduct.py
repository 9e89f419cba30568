"""Suspicions by example, and what is learned of a device's response as properties."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.conduct import (
    MISCONDUCT_ZH,
    STRIKES,
    CycleEvidence,
    Misconduct,
    forget_and_learn,
    reliability_fraction,
    suspicions,
)

CYCLE_S = 300.0


def good(count: int = 1) -> CycleEvidence:
    """Devices of 100 kW that were ordered from 80 down to 50 kW and did it."""
    return CycleEvidence(
        baseline_kw=np.full(count, 80.0),
        ordered_kw=np.full(count, 50.0),
        metered_kw=np.full(count, 51.0),
        before_kw=np.full(count, 79.0),
        connected_kw=np.full(count, 100.0),
        measured_age_s=np.full(count, 20.0),
        received_age_s=np.full(count, 5.0),
        patience_s=np.full(count, 300.0),
        repeats=np.zeros(count, dtype=np.int64),
        varies=np.ones(count, dtype=np.bool_),
        unusable=np.zeros(count, dtype=np.int64),
        may_draw=np.ones(count, dtype=np.bool_),
        may_feed_in=np.zeros(count, dtype=np.bool_),
        cycle_s=CYCLE_S,
    )


def said(**changed: float | bool) -> Misconduct:
    """What one such device is suspected of when these numbers are others."""
    before = good()
    columns: dict[str, Any] = {
        name: np.array([value], dtype=getattr(before, name).dtype) for name, value in changed.items()
    }
    return Misconduct(int(suspicions(replace(before, **columns))[0]))


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({}, Misconduct.NONE),
        ({"metered_kw": 79.0}, Misconduct.NO_RESPONSE),
        # the baseline is 25 kW too low, but the device did move when it was told
        ({"metered_kw": 79.0, "before_kw": 105.0}, Misconduct.NONE),
        # it did nothing, and its baseline says that it did
        ({"metered_kw": 50.0, "before_kw": 50.0}, Misconduct.NONE),
        ({"metered_kw": 79.0, "before_kw": float("nan")}, Misconduct.NONE),  # after a restart: not known
        ({"metered_kw": 70.0}, Misconduct.NONE),
        ({"ordered_kw": np.nan, "metered_kw": 30.0}, Misconduct.NONE),
        ({"ordered_kw": 75.0, "metered_kw": 80.0}, Misconduct.NONE),
        ({"metered_kw": -51.0}, Misconduct.WRONG_SIGN),
        ({"metered_kw": -4.0}, Misconduct.NONE),
        ({"metered_kw": 51.0, "may_draw": False, "may_feed_in": True}, Misconduct.WRONG_SIGN),
        ({"baseline_kw": 0.0, "ordered_kw": -60.0, "metered_kw": 55.0, "may_feed_in": True}, Misconduct.WRONG_SIGN),
        ({"baseline_kw": 0.0, "ordered_kw": -60.0, "metered_kw": -55.0, "may_feed_in": True}, Misconduct.NONE),
        ({"metered_kw": 51_000.0}, Misconduct.WRONG_SCALE),
        ({"metered_kw": 0.051}, Misconduct.WRONG_SCALE),
        ({"metered_kw": 0.0}, Misconduct.NONE),
        ({"ordered_kw": np.nan, "metered_kw": 0.08}, Misconduct.WRONG_SCALE),
        ({"repeats": 2}, Misconduct.FROZEN_METER),
        ({"repeats": 1}, Misconduct.NONE),
        ({"repeats": 1, "metered_kw": 79.0}, Misconduct.FROZEN_METER),
        ({"repeats": 40, "ordered_kw": 0.0, "metered_kw": 0.0}, Misconduct.NONE),
        ({"repeats": 90, "varies": False}, Misconduct.NONE),
        ({"measured_age_s": 720.0, "received_age_s": 5.0}, Misconduct.CLOCK_SKEW),
        ({"measured_age_s": 90.0, "received_age_s": 5.0}, Misconduct.NONE),
        ({"measured_age_s": 620.0, "received_age_s": 615.0}, Misconduct.SILENT),
        ({"measured_age_s": 620.0, "received_age_s": 615.0, "patience_s": 3600.0}, Misconduct.NONE),
        ({"measured_age_s": np.inf, "received_age_s": np.inf, "metered_kw": np.nan}, Misconduct.SILENT),
        ({"measured_age_s": 620.0, "received_age_s": 615.0, "unusable": Misconduct.CLOCK_SKEW}, Misconduct.CLOCK_SKEW),
        ({"unusable": Misconduct.WRONG_SCALE}, Misconduct.WRONG_SCALE),
    ],
)
def test_one_cycle_is_judged(changed: dict[str, float | bool], reason: Misconduct) -> None:
    assert said(**changed) is reason


def test_every_misconduct_has_a_chinese_name_and_a_number_of_strikes() -> None:
    assert set(MISCONDUCT_ZH) == set(Misconduct)
    assert len(STRIKES) == len(Misconduct)
    assert (STRIKES[1:] <= 2).all(), "two cycles are what is promised"


SHARES = st.floats(0.0, 1.0)


@given(true=SHARES, registered=SHARES, seed=st.integers(0, 1000), cycles=st.integers(1, 200))
def test_what_is_learned_lies_between_the_registration_and_what_comes(
    true: float, registered: float, seed: int, cycles: int
) -> None:
    dice, seen = np.random.default_rng(seed), good()
    sums = np.zeros(1), np.zeros(1)
    for _ in range(cycles):
        baseline = dice.uniform(40, 100, 1)
        ordered = baseline - dice.uniform(10, 40, 1)
        metered = baseline - true * (baseline - ordered)
        seen = replace(seen, baseline_kw=baseline, ordered_kw=ordered, metered_kw=metered)
        sums = forget_and_learn(*sums, seen, np.array([True]))
    (learned,) = reliability_fraction(np.array([registered]), *sums)
    assert min(true, registered) - 1e-9 <= learned <= max(true, registered) + 1e-9
    if cycles > 100:
        assert learned == pytest.approx(true, abs=0.3 * abs(registered - true) + 1e-9)


@given(seed=st.integers(0, 1000))
def test_noise_of_the_baseline_averages_out(seed: int) -> None:
    dice, sums = np.random.default_rng(seed), (np.zeros(200), np.zeros(200))
    for _ in range(60):
        wrong = 80.0 * dice.normal(1.0, 0.15, 200)
        seen = replace(good(200), baseline_kw=wrong, metered_kw=np.full(200, 80.0) - 0.7 * (wrong - 50.0))
        seen = replace(seen, metered_kw=80.0 - 0.7 * 30.0 + dice.normal(0, 2, 200))
        sums = forget_and_learn(*sums, seen, np.ones(200, dtype=np.bool_))
    learned = reliability_fraction(np.ones(200), *sums)
    assert learned.mean() == pytest.approx(0.7, abs=0.12)


def test_one_wild_cycle_moves_little_and_no_order_nothing() -> None:
    nothing, yes = (np.zeros(1), np.zeros(1)), np.array([True])
    wild = forget_and_learn(*nothing, replace(good(), metered_kw=np.array([-5000.0])), yes)
    assert reliability_fraction(np.array([0.9]), *wild)[0] <= 1.0
    dead = forget_and_learn(*nothing, replace(good(), metered_kw=np.array([5000.0])), yes)
    assert reliability_fraction(np.array([0.9]), *dead)[0] > 0.6
    without = forget_and_learn(*nothing, replace(good(), ordered_kw=np.array([np.nan])), yes)
    assert reliability_fraction(np.array([0.9]), *without)[0] == 0.9
    unheard = forget_and_learn(*nothing, replace(good(), measured_age_s=np.array([900.0])), yes)
    assert reliability_fraction(np.array([0.9]), *unheard)[0] == 0.9
