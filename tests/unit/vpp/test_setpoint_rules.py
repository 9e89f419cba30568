"""What a device may be ordered, and when it is released to its own control."""

import numpy as np
import pytest

from models.resources import RegisteredResource, ResourceBase
from tests.live import (
    battery,
    charger,
    common,
    curtailable,
    generator,
    interruptible,
    process,
    pv,
    registered,
    thermal,
)
from vpp.order_limits import OrderLimits, is_release, power_range_kw
from vpp.state import LiveState


@pytest.mark.parametrize(
    ("resource", "baseline_kw", "low", "high"),
    [
        (battery(), 0.0, -40.0, 50.0),
        (charger(), 3.0, 0.0, 7.0),
        (charger(discharge_limit_kw=6.0), 3.0, -6.0, 7.0),
        (generator(), 0.0, -500.0, 0.0),
        (pv(), -100.0, -300.0, 0.0),
        (process(), 5.0, 0.0, 10.0),
        (thermal(), 80.0, 50.0, 100.0),
        (thermal(), 10.0, 0.0, 30.0),
        (curtailable(), 80.0, 48.0, 120.0),
        (interruptible(), 100.0, 20.0, 100.0),
        (interruptible(), 30.0, 0.0, 30.0),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, ResourceBase) else str(value),
)
def test_the_range_of_a_device_is_that_of_its_registration(
    resource: RegisteredResource, baseline_kw: float, low: float, high: float
) -> None:
    assert power_range_kw(resource, baseline_kw) == pytest.approx((low, high))


def test_an_unknown_kind_has_no_range() -> None:
    with pytest.raises(TypeError, match="unknown kind of resource: ResourceBase"):
        power_range_kw(ResourceBase(**common("x")), 0.0)


@pytest.mark.parametrize("load", [curtailable(), interruptible()], ids=["curtailable", "interruptible"])
def test_a_load_at_or_above_its_baseline_is_released(load: RegisteredResource) -> None:
    assert is_release(load, 80.0, 80.0)
    assert is_release(load, 79.9995, 80.0)
    assert is_release(load, 95.0, 80.0)  # what comes back afterwards comes by itself
    assert not is_release(load, 79.9, 80.0)


def test_a_thermal_load_is_released_at_its_baseline_only() -> None:
    assert is_release(thermal(), 80.0005, 80.0)
    assert not is_release(thermal(), 81.0, 80.0)  # pre-cooling is an order
    assert not is_release(thermal(), 79.0, 80.0)


@pytest.mark.parametrize("unit", [battery(), charger(), generator(), pv()], ids=lambda unit: unit.resource_id)
def test_what_is_not_a_load_is_always_told_what_to_do(unit: RegisteredResource) -> None:
    assert not is_release(unit, 0.0, 0.0)


HYDRO = battery().model_copy(update={"charge_min_kw": 20.0, "discharge_min_kw": 30.0})


@pytest.mark.parametrize(
    ("unit", "planned_kw", "told_kw"),
    [
        (generator(), -8.0, 0.0),  # on for five minutes of an hour
        (generator(), -60.0, -100.0),
        (generator(), -100.0, -100.0),
        (generator(), -300.0, -300.0),
        (generator(), -900.0, -500.0),
        (HYDRO, 9.0, 0.0),
        (HYDRO, 11.0, 20.0),
        (HYDRO, -14.0, 0.0),
        (HYDRO, -16.0, -30.0),
        (battery(), -1.0, -1.0),
    ],
)
def test_what_runs_above_a_least_power_is_told_to_run_there_or_to_stand_still(
    unit: RegisteredResource, planned_kw: float, told_kw: float
) -> None:
    state = LiveState([registered(unit)])
    rows = state.everyone
    assert OrderLimits(state).clamped(rows, np.array([planned_kw]), np.zeros(1)).tolist() == [told_kw]
