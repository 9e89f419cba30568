"""Event days under faults: what is drawn by the seed, and how a day is judged."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.store import Store
from models.intervals import IntervalGrid
from simulations.clock import VirtualClock
from simulations.day import FAR_SIDE_FILE, PROMISES_FILE
from simulations.day_driver import Driver
from simulations.day_setup import day_settings
from simulations.event_cases import DEVICES, MATRIX, NOTHING, judged
from simulations.event_days import (
    accuracy_mean,
    broken_invariants,
    event_day,
    far_side,
    in_band_share,
    score,
    summary_of,
)
from simulations.faults import FAULT_TEXTS, FaultKind
from simulations.kept_promises import BrokenPromise
from simulations.seat import Seat
from simulations.wire_faults import WireFaults, WireShares
from tests.unit.vpp.result_days import day_result

RATIOS = st.lists(st.floats(0.0, 2.0), min_size=1, max_size=40).map(np.array)


def test_the_same_seed_gives_the_same_day_and_another_seed_another() -> None:
    base = event_day(90, 5, None, NOTHING)
    days = [event_day(90, 5, seed, judged(0.2), base=base) for seed in (1, 1, 2)]
    assert days[0].troubles == days[1].troubles
    assert days[0].troubles != days[2].troubles
    assert all(each.generated is base.generated for each in days)
    assert event_day(90, 6, 1, NOTHING).generated.seed != base.generated.seed
    hours = IntervalGrid.regular(days[0].orders[0].start, timedelta(hours=1), 6)
    when = days[0].declare_at
    first, again, other = (each.feed.forecast(when, hours).load_kw for each in days)
    assert np.array_equal(first, again)
    assert not np.allclose(first / first.sum(), other / other.sum(), rtol=1e-6), "the city's forecast is thrown too"


def test_troubles_begin_in_the_first_half_of_each_event_and_hold_beyond_it() -> None:
    setup = event_day(90, 3, 3, judged(0.3))
    assert len(setup.troubles) == len(setup.orders) * (1 + len(DEVICES))
    for order in setup.orders:
        own = [each for each in setup.troubles if order.start <= each.start < order.end]
        assert {each.kind for each in own} == {FaultKind.SILENT, *DEVICES}
        assert all(each.start <= order.start + (order.end - order.start) / 2 for each in own)
        assert all(each.end > order.end for each in own)
    assert event_day(90, 3, 3, NOTHING).troubles == ()
    assert len({case.name for case in MATRIX}) == len(MATRIX)
    assert set(FAULT_TEXTS) == set(FaultKind)


def test_a_day_is_judged_by_the_hour_as_its_own_report_does() -> None:
    result = day_result(weak_hour=True)
    found = score(result, judged(0.2), (0, 7), ())
    by_hour = np.array([ratio for event in result.summary.events for ratio in event.ratio_by_hour], dtype=float)
    assert found.hours == len(by_hour) == 3
    assert found.hours_in_band_share == pytest.approx(in_band_share(by_hour)) == pytest.approx(2 / 3)
    assert found.accuracy_mean == pytest.approx(accuracy_mean(by_hour))
    assert found.accuracy_true_mean < found.accuracy_mean
    assert min(found.worst_ratios) == pytest.approx(by_hour.min(), abs=1e-4)
    assert found.rebound_ok
    high = result.city.assign(load_with_kw=result.city.load_with_kw * 1.5)
    assert not score(replace(result, city=high), NOTHING, (0, 7), ()).rebound_ok


@given(ratios=RATIOS)
def test_accuracy_is_one_only_where_every_hour_is_kept_and_the_band_needs_no_more_than_a_tenth(
    ratios: np.ndarray,
) -> None:
    assert accuracy_mean(ratios) <= 1.0
    assert (accuracy_mean(ratios) == 1.0) == bool(np.all(ratios == 1.0))
    if accuracy_mean(ratios) > 1 - 0.1 / len(ratios):
        assert in_band_share(ratios) == 1.0


def test_the_sum_over_days_weighs_hours() -> None:
    first = score(day_result(), NOTHING, (0, 1), ())
    second = replace(score(day_result(weak_hour=True), NOTHING, (0, 2), ()), rebound_ok=False, invariants_broken=("x",))
    found = summary_of([first, second])
    assert found["days"] == 2
    assert found["hours"] == first.hours + second.hours
    assert found["hours_in_band_share"] == pytest.approx(5 / 6)
    assert found["rebound_ok_share"] == 0.5
    assert found["invariants_broken"] == 1


def test_gaps_and_repeats_in_a_sequence_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "service").mkdir()
    with Store(f"sqlite:///{tmp_path / 'service' / 'vpp.db'}") as store:
        store.migrate()
    assert broken_invariants(tmp_path) == ()
    sent = [("a", 1), ("a", 2), ("b", 1), ("b", 3), ("a", 2)]
    monkeypatch.setattr(Store, "sequences_sent", lambda _: sent)
    assert broken_invariants(tmp_path) == (
        "commands: a sequence number was used twice",
        "commands: a has gaps in its sequence",
        "commands: b has gaps in its sequence",
    )
    (tmp_path / FAR_SIDE_FILE).write_text(json.dumps({"broken": ["orders: a: one twice"], "wire": {"lost_ups": 3}}))
    assert broken_invariants(tmp_path)[0] == "orders: a: one twice"
    assert far_side(tmp_path)["wire"] == {"lost_ups": 3}


def test_a_broken_promise_that_nobody_was_told_of_is_a_broken_invariant(tmp_path: Path) -> None:
    (tmp_path / "service").mkdir()
    with Store(f"sqlite:///{tmp_path / 'service' / 'vpp.db'}") as store:
        store.migrate()
    leaves = datetime(2025, 7, 16, 8, tzinfo=UTC)
    broken = BrokenPromise("c", "monday", leaves, needed_kwh=20.0, delivered_kwh=15.0, without_kwh=20.0, named=True)
    (tmp_path / PROMISES_FILE).write_text(json.dumps([broken.as_dict()]))
    assert broken_invariants(tmp_path) == ()
    (tmp_path / PROMISES_FILE).write_text(json.dumps([broken.as_dict(), replace(broken, named=False).as_dict()]))
    assert broken_invariants(tmp_path) == (
        "promises: monday left c at 2025-07-16T08:00:00+00:00 with 15.0 kWh of 20.0 kWh, and nobody had been told",
    )


def test_every_second_kill_of_the_service_hits_a_delivery() -> None:
    (case,) = [each for each in MATRIX if each.name == "everything"]
    setup = event_day(90, 3, 3, case)
    for order in setup.orders:
        own = [each for each in setup.outages if order.start <= each.at < order.end]
        assert [each.what for each in own] == ["broker", "service", "service"]
        calm, cut = own[1:]
        assert (calm.after_commands, cut.after_commands > 0) == (0, True)
        assert (cut.at - order.start) % timedelta(minutes=5) == timedelta(seconds=15), "when a cycle begins"


def test_a_case_with_a_faulty_wire_reaches_the_day_and_its_score() -> None:
    (case,) = [each for each in MATRIX if each.name == "wire"]
    setup = event_day(90, 3, 3, case)
    assert setup.wire == WireShares.of_everything(0.05)
    assert setup.is_watched
    found = score(day_result(), case, (0, 3), (), wire={"lost_ups": 3})
    assert found.faults == vars(setup.wire)
    assert found.as_dict()["wire"] == {"lost_ups": 3}
    assert event_day(90, 3, 3, NOTHING).wire is None


def test_every_gateway_has_its_own_faulty_wire_around_the_events(tmp_path: Path) -> None:
    (case,) = [each for each in MATRIX if each.name == "wire-bad"]
    setup = event_day(90, 3, 4, case)
    clock = VirtualClock(setup.declare_at)
    seat = Seat(lambda: pytest.fail("no service is needed"))
    driver = Driver(setup, day_settings(setup, tmp_path), clock, lambda *_: None, seat)
    assert all(each.transit.wire is None for each in driver.fleet.gateways.values())
    driver.expect_trouble()
    spans = [(each.start - timedelta(minutes=10), each.end + timedelta(hours=1)) for each in setup.orders]
    for name, gateway in driver.fleet.gateways.items():
        assert gateway.transit.wire == WireFaults(name, 4, spans, WireShares.of_everything(0.2))
