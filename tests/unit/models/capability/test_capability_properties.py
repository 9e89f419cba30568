"""What no unit, clock, sign or rate of reading may change; a power of two scales floats without rounding."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.capability.assessment import AssessedTest, assess
from models.capability.explained import Figure
from models.capability.indices import DirectionIndices, Indices
from models.capability.measured import MeasuredTest, PowerSeries
from models.capability.programme import FILL, SHAVE, Programme
from models.capability.step_indices import StepIndices
from models.events import Direction
from tests.unit.models.capability.runs import DAY_US, PLAIN, UP_AND_DOWN, run

LEVELS = st.one_of(st.floats(-130, 130), st.sampled_from([0.0, 10.0, -10.0, -90.0, -100.0, 45.0, 50.0, 55.0]))
NOISE = st.sampled_from([0.0, 1.0, 7.0])
SHAPE = np.array([0.0] * 5 + [-1.0] * 10 + [0.0] * 5 + [0.5] * 10)


@st.composite
def measured_tests(draw: st.DrawFn, holes: bool) -> MeasuredTest:
    """Anything at all, or something like what was ordered; ``holes``: a reading or two may have failed."""
    if draw(st.booleans()):
        change = np.array(draw(st.lists(LEVELS, min_size=30, max_size=30)))
    else:
        wobble = np.array(draw(st.lists(st.floats(-1, 1), min_size=30, max_size=30)))
        change = draw(st.floats(60, 120)) * SHAPE + draw(NOISE) * wobble
    if holes:
        change[draw(st.lists(st.integers(0, 29), max_size=3))] = np.nan
    baseline = draw(st.sampled_from([0.0, 40.0, 200.0])) + draw(NOISE) * np.arange(31)
    return run(change.tolist(), baseline_kw=baseline)


def figures(found: AssessedTest) -> Indices:
    assert found.indices is not None
    return found.indices


def times(figure: Figure, factor: float) -> Figure:
    return figure if figure.value is None else replace(figure, value=factor * figure.value)


def scaled_programme(plan: Programme, factor: float) -> Programme:
    steps = tuple(step.model_copy(update={"ordered_kw": factor * (step.ordered_kw or 0.0)}) for step in plan.steps)
    return plan.model_copy(update={"steps": steps})


def mirrored_programme(plan: Programme) -> Programme:
    other = {SHAVE: FILL, FILL: SHAVE}
    steps = tuple(step.model_copy(update={"direction": other[step.direction]}) for step in plan.steps)
    return plan.model_copy(update={"steps": steps})


@given(measured_tests(holes=True), st.integers(-9, 9))
def test_scaled_power_scales_what_is_in_kw_and_nothing_else(test: MeasuredTest, power: int) -> None:
    factor = 2.0**power
    scaled = replace(
        test,
        programme=scaled_programme(test.programme, factor),
        series=PowerSeries(test.series.measured_us, factor * test.series.power_kw),
        baseline_kw=factor * test.baseline_kw,
    )
    plain, other = figures(assess(test, PLAIN)), figures(assess(scaled, PLAIN))
    assert other.regulating_kw == times(plain.regulating_kw, factor)
    assert other.generating_kw == times(plain.generating_kw, factor)
    for direction in Direction:
        a, b = plain.by_direction[direction], other.by_direction[direction]
        assert replace(a, held=b.held) == b
        assert b.held.kw == (None if a.held.kw is None else factor * a.held.kw)
        assert b.held.holds_s == a.held.holds_s


@given(measured_tests(holes=True), st.integers(-900 * DAY_US, 900 * DAY_US))
def test_the_date_changes_nothing(test: MeasuredTest, later_us: int) -> None:
    moved = replace(
        test,
        start_us=test.start_us + later_us,
        series=PowerSeries(test.series.measured_us + later_us, test.series.power_kw),
    )
    plain, other = assess(test, PLAIN), assess(moved, PLAIN)
    assert other.start_us - plain.start_us == other.end_us - plain.end_us == later_us
    same = replace(
        other, start_us=plain.start_us, end_us=plain.end_us, inputs_sha256=plain.inputs_sha256, indices=plain.indices
    )
    assert same == plain
    assert other.indices == plain.indices


@given(measured_tests(holes=True))
def test_the_other_direction_is_a_mirror(test: MeasuredTest) -> None:
    mirror = replace(
        test,
        programme=mirrored_programme(test.programme),
        series=PowerSeries(test.series.measured_us, -test.series.power_kw),
        baseline_kw=-test.baseline_kw,
        declared_shave_kw=test.declared_fill_kw,
        declared_fill_kw=test.declared_shave_kw,
    )
    plain, other = figures(assess(test, PLAIN)), figures(assess(mirror, PLAIN))
    assert other.regulating_kw == plain.regulating_kw
    assert other.by_direction[SHAVE] == plain.by_direction[FILL]
    assert other.by_direction[FILL] == plain.by_direction[SHAVE]


@given(
    measured_tests(holes=False),
    st.lists(st.tuples(st.integers(1, 30), st.integers(1, 59_999_999)), min_size=1, max_size=20),
)
def test_a_reading_between_two_that_says_what_they_say_changes_nothing(
    test: MeasuredTest, extra: list[tuple[int, int]]
) -> None:
    """But that it knows better when a level was passed: a response gets no longer and a ramp no slower."""
    cuts = {int(test.series.measured_us[after] - before): after for after, before in extra}
    at, of = np.array(list(cuts)), np.array(list(cuts.values()))
    order = np.argsort(every := np.concatenate([test.series.measured_us, at]))
    more = replace(
        test,
        series=PowerSeries(every[order], np.concatenate([test.series.power_kw, test.series.power_kw[of]])[order]),
        baseline_kw=np.concatenate([test.baseline_kw, test.baseline_kw[of]])[order],
    )
    plain, other = figures(assess(test, PLAIN)), figures(assess(more, PLAIN))
    assert other.regulating_kw == plain.regulating_kw
    assert other.generating_kw == plain.generating_kw
    for (_, _, a), (_, _, b) in zip(plain.by_step, other.by_step, strict=True):
        assert b.deviation.value == pytest.approx(a.deviation.value, abs=1e-9)
        assert b.duration_s == a.duration_s
        assert b.held.kw == pytest.approx(a.held.kw, abs=1e-9)
        assert b.held.holds_s == a.held.holds_s
        assert (b.response_s.missing, b.ramp_percent_per_min.missing) == (
            a.response_s.missing,
            a.ramp_percent_per_min.missing,
        )
        if a.response_s.value is not None and b.response_s.value is not None:
            assert b.response_s.value <= a.response_s.value
            assert earliest(b) == pytest.approx(earliest(a), abs=1e-6)
        if a.ramp_percent_per_min.value is not None and b.ramp_percent_per_min.value is not None:
            assert b.ramp_percent_per_min.value >= a.ramp_percent_per_min.value * (1 - 1e-9)


def earliest(step: StepIndices) -> float:
    assert step.response_s.value is not None
    assert step.response_s.resolution_s is not None
    return step.response_s.value - step.response_s.resolution_s


@given(measured_tests(holes=True))
def test_what_was_held_lies_between_nothing_and_order_and_measurement(test: MeasuredTest) -> None:
    found = figures(assess(test, PLAIN))
    change = np.where(np.isfinite(test.series.power_kw), test.series.power_kw - test.baseline_kw, 0.0)
    for direction, best in ((SHAVE, -change.min()), (FILL, change.max())):
        mine: DirectionIndices = found.by_direction[direction]
        if mine.held.kw is not None:
            assert mine.held.holds_s is not None
            assert 0 <= mine.held.kw <= min(mine.held.ordered_kw, max(0.0, best)) + 1e-9
            assert 0 < mine.held.holds_s <= 480
        if mine.duration_s.value is not None:
            assert 0 <= mine.duration_s.value <= (mine.held.holds_s or 0.0)
        if mine.duration_s.value == 480:
            assert abs(mine.deviation.value or 0.0) <= 0.1 + 1e-9


@given(measured_tests(holes=False), st.floats(0, 50))
def test_who_gives_more_in_every_minute_has_held_no_less(test: MeasuredTest, more_kw: float) -> None:
    called = np.zeros(31)
    called[6:16] = -more_kw
    called[21:] = more_kw
    better = replace(test, series=PowerSeries(test.series.measured_us, test.series.power_kw + called))
    plain, other = figures(assess(test, PLAIN)), figures(assess(better, PLAIN))
    for direction in Direction:
        a, b = plain.by_direction[direction], other.by_direction[direction]
        assert a.held.kw is not None
        assert b.held.kw is not None
        assert a.held.kw <= b.held.kw + 1e-9
        assert (a.deviation.value or 0.0) <= (b.deviation.value or 0.0) + 1e-9 or a.deviation.value is None


@given(measured_tests(holes=True))
def test_a_test_assessed_again_says_the_same(test: MeasuredTest) -> None:
    assert test.programme == UP_AND_DOWN
    again = replace(test, series=PowerSeries(test.series.measured_us.copy(), test.series.power_kw.copy()))
    assert assess(again, PLAIN) == assess(test, PLAIN)
