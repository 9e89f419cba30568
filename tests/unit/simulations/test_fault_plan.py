from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from simulations.devices.meter import Meters
from simulations.faults import SKEW, Fault, FaultKind, FaultPlan

NAMES = [f"device-{k}" for k in range(3000)]
START = datetime(2025, 7, 16, 5, tzinfo=UTC)


def at(hours: float) -> datetime:
    return START + timedelta(hours=hours)


def test_about_three_percent_of_commands_are_refused() -> None:
    plan = FaultPlan(NAMES, 1)
    share = np.mean([plan.refusing(at(hour)).mean() for hour in range(20)])
    assert share == pytest.approx(0.03, abs=0.005)


def test_about_five_percent_of_devices_are_mute_some_time_of_the_day() -> None:
    plan = FaultPlan(NAMES, 1)
    flags = np.array([plan.mute(at(minutes / 60)) for minutes in range(0, 24 * 60, 10)])
    assert flags.any(axis=0).mean() == pytest.approx(0.05, abs=0.02)
    hours = flags.sum(axis=0)[flags.any(axis=0)] / 6
    assert 0.5 < hours.mean() < 2.5


def test_late_answers_are_five_to_sixty_seconds_late() -> None:
    plan = FaultPlan(NAMES, 1)
    late = np.concatenate([plan.late_s(at(hour)) for hour in range(10)])
    assert (late > 0).mean() == pytest.approx(0.10, abs=0.01)
    assert late[late > 0].min() >= 5
    assert late.max() <= 60


def test_everyday_faults_can_be_switched_off() -> None:
    plan = FaultPlan.none(NAMES)
    assert not plan.refusing(at(0)).any()
    assert not plan.mute(at(0)).any()
    assert not plan.late_s(at(0)).any()


def test_a_planned_silence_takes_its_fraction_for_its_time_alone() -> None:
    plan = FaultPlan.none(NAMES)
    chosen = plan.silence_fraction(0.10, at=at(1), until=at(2))
    assert len(chosen) == 300
    assert not plan.silent(at(0.99)).any()
    assert plan.silent(at(1)).sum() == plan.mute(at(1.5)).sum() == 300
    assert not plan.silent(at(2)).any()
    assert {NAMES[row] for row in np.flatnonzero(plan.silent(at(1)))} == set(chosen)
    again = FaultPlan.none(NAMES).silence_fraction(0.10, at=at(1), until=at(2))
    assert again == chosen


def test_a_silence_spread_over_groups_takes_its_share_of_each() -> None:
    plan = FaultPlan.none(NAMES)
    groups = {name: ("rare" if k < 40 else "common") for k, name in enumerate(NAMES)}
    chosen = plan.silence_fraction(0.10, at=at(1), until=at(2), groups=groups)
    assert len(chosen) == 300
    assert sum(groups[name] == "rare" for name in chosen) == 4


@pytest.mark.parametrize("kind", list(FaultKind))
def test_a_planned_fault_hits_its_device_alone(kind: FaultKind) -> None:
    plan = FaultPlan.none(NAMES)
    plan.add([Fault("device-7", kind, at(0), at(1))])
    flags = {
        FaultKind.SILENT: plan.silent,
        FaultKind.MUTE: plan.mute,
        FaultKind.REFUSE: plan.refusing,
        FaultKind.STUCK: plan.stuck,
        FaultKind.LATE: lambda now: plan.late_s(now) > 0,
        FaultKind.IGNORE: plan.ignoring,
        FaultKind.PARTIAL: plan.partial,
        FaultKind.REVERSED: lambda now: plan.meter_factor(now) == -1,
        FaultKind.MEGAWATT: lambda now: plan.meter_factor(now) == 1e-3,
        FaultKind.SLOW_CLOCK: lambda now: plan.skew_s(now) == -SKEW.total_seconds(),
        FaultKind.FAST_CLOCK: lambda now: plan.skew_s(now) == SKEW.total_seconds(),
    }[kind]
    assert np.flatnonzero(flags(at(0.5))).tolist() == [7]
    assert not flags(at(1)).any()


def test_an_unknown_device_cannot_fail() -> None:
    with pytest.raises(KeyError):
        FaultPlan.none(NAMES).add([Fault("nobody", FaultKind.SILENT, at(0), at(1))])


def test_meters_err_by_about_half_a_percent_each_way() -> None:
    meters = Meters(NAMES, 1)
    true = np.full(len(NAMES), 100.0)
    read = np.array([meters.read(true, 60.0 * k) for k in range(30)])
    assert abs(read.mean() - 100) < 0.05
    assert 0.002 < read.mean(axis=0).std() / 100 < 0.007
    assert 0.004 < (read - read.mean(axis=0)).std() / 100 < 0.008
    assert np.array_equal(meters.read(true, 60.0), meters.read(true, 60.0))
