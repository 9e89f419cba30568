"""What must hold for every method of the table, whatever the meter shows."""

from dataclasses import replace
from datetime import timedelta
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.settlement.days import ClockDays
from models.settlement.methods.case import BaselineCase
from models.settlement.methods.evaluate import baseline_by
from models.settlement.methods.spec import FirmLevel, GeneratorOutput, MethodSpec
from models.settlement.methods.table import packaged_table
from tests.baseline_days import HOUR, MONDAY, SHANGHAI

DAYS, CONTROL = 80, 150
METHODS = [m for m in packaged_table().method if not isinstance(m.parameters, GeneratorOutput | FirmLevel)]
EACH = pytest.mark.parametrize("method", METHODS, ids=lambda m: f"{m.id}_v{m.version}")
QUARTER = timedelta(minutes=15)


@cache
def case_of(seed: int, level: float | None = None) -> BaselineCase:
    """An event on the last of eighty days, some of them event days; a constant load if ``level`` is given."""
    dice = np.random.default_rng(seed)
    days = tuple(MONDAY + timedelta(days=k) for k in range(DAYS))
    heat = dice.normal(28, 3, DAYS)
    shape = 1 + 0.5 * np.sin(np.arange(96) / 96 * 2 * np.pi)
    values = 50 * shape * (1 + 0.02 * (heat[:, None] - 28)) + dice.normal(0, 0.5, (DAYS, 96))
    if level is not None:
        values = np.full((DAYS, 96), level)
    celsius = heat[:, None] + 4 * np.sin(np.arange(96) / 96 * 2 * np.pi)
    control = np.broadcast_to(values[None], (CONTROL, DAYS, 96))
    called = frozenset(day for day in days[:-1] if dice.random() < 0.1)
    grid = lambda table: ClockDays(days, table, QUARTER, SHANGHAI)  # noqa: E731
    day = days[-3]  # a weekday
    history, shown, weather = grid(values[None]), values[-3].copy(), grid(celsius[None])
    return BaselineCase(
        history,
        day,
        14,
        18,
        shown,
        event_days=called,
        temperature_celsius=weather,
        control_kw=grid(control),
    )


def moved(case: BaselineCase, factor: float = 1.0, offset_kw: float = 0.0) -> BaselineCase:
    """Everything metered times ``factor`` plus ``offset_kw``."""

    def changed(days: ClockDays) -> ClockDays:
        return replace(days, values=days.values * factor + offset_kw)

    assert case.control_kw is not None
    control, shown = changed(case.control_kw), case.day_kw * factor + offset_kw
    return replace(case, history=changed(case.history), day_kw=shown, control_kw=control)


@EACH
@settings(max_examples=20)
@given(level=st.floats(1.0, 1e4))
def test_a_constant_load_is_its_own_baseline(method: MethodSpec, level: float) -> None:
    found = baseline_by(method, case_of(1, level))
    assert found.missing is None
    np.testing.assert_allclose(found.kw, level, rtol=1e-9)


@EACH
@settings(max_examples=20)
@given(seed=st.integers(0, 19), power=st.integers(-6, 6))
def test_twice_the_load_has_twice_the_baseline(method: MethodSpec, seed: int, power: int) -> None:
    case, factor = case_of(seed), 2.0**power
    found = baseline_by(method, case)
    np.testing.assert_allclose(baseline_by(method, moved(case, factor)).kw, found.kw * factor, rtol=1e-6)


def shifts(method: MethodSpec) -> bool:
    """A factor and a limit in shares of the load do not."""
    days = getattr(method.parameters, "days", None)
    scalar = method.adjustment is not None and method.adjustment.kind == "scalar"
    return not scalar and (days is None or (days.low_use_fraction is None and days.outlier_fraction is None))


@pytest.mark.parametrize("method", [m for m in METHODS if shifts(m)], ids=lambda m: f"{m.id}_v{m.version}")
@settings(max_examples=20)
@given(seed=st.integers(0, 19), offset_kw=st.integers(0, 64))
def test_a_constant_more_is_a_constant_more(method: MethodSpec, seed: int, offset_kw: int) -> None:
    case = case_of(seed)
    found, more = baseline_by(method, case), baseline_by(method, moved(case, offset_kw=float(offset_kw)))
    np.testing.assert_allclose(more.kw, found.kw + offset_kw, rtol=1e-6)


@EACH
@settings(max_examples=20)
@given(seed=st.integers(0, 19))
def test_what_did_not_serve_may_have_been_anything(method: MethodSpec, seed: int) -> None:
    """Event days, later days, and the event's own hours are shuffled and raised: nothing changes, not even a reason."""
    case, dice = case_of(seed), np.random.default_rng(seed)
    found = baseline_by(method, case)
    blind = [day >= case.day or day in case.event_days for day in case.history.days]
    values = case.history.values.copy()
    values[0, blind] = dice.permutation(values[0, blind], axis=1) * 3 + 100
    shown = np.where(case.event, 1e6, case.day_kw)
    again = baseline_by(method, replace(case, history=replace(case.history, values=values), day_kw=shown))
    np.testing.assert_array_equal(again.kw, found.kw)
    assert again.days == found.days
    assert again.adjustment == found.adjustment


@EACH
@settings(max_examples=20)
@given(seed=st.integers(0, 19))
def test_an_event_day_never_serves(method: MethodSpec, seed: int) -> None:
    case = case_of(seed)
    found = baseline_by(method, case)
    assert not set(found.days_used) & (case.event_days | {case.day})
    assert all(day < case.day for day in found.days_used)
    if found.days_used:
        assert sum(each.weight for each in found.days) == pytest.approx(1.0)
        called = replace(case, event_days=case.event_days | {found.days_used[-1]})
        assert found.days_used[-1] not in baseline_by(method, called).days_used


def test_the_step_of_the_meter_does_not_matter_for_the_mean_of_days() -> None:
    case = case_of(3)
    hourly = replace(case.history, values=case.history.values.reshape(1, DAYS, 24, 4).mean(axis=3), step=HOUR)
    coarse = BaselineCase(hourly, case.day, 14, 18, case.day_kw.reshape(24, 4).mean(axis=1), event_days=case.event_days)
    for name in ("pjm_4_5_saa", "caiso_10_10", "learned_morning"):
        method = next(m for m in METHODS if m.id == name)
        fine_kw = baseline_by(method, case).kw.reshape(24, 4).mean(axis=1)
        np.testing.assert_allclose(baseline_by(method, coarse).kw, fine_kw, rtol=1e-3)
