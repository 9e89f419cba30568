"""The main job, end to end: a city's day with a small fleet, on the real broker, database and solver."""

import asyncio
from datetime import datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest

from adapters.store import Store
from models.life_cycle import EventStatus
from simulations.day import run_day
from simulations.demo import demo_setup
from simulations.event_days import broken_invariants
from vpp.report.result_folder import DayResult, read_result
from vpp.report.write import write_report

# A whole day of a city is minutes of work, on a busy machine many: the limit of a single test is no limit for it.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

DEVICES = 90


def _silently(_zh: str, _en: str, _share: float) -> None:
    """Nobody watches a test."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("demo")
    asyncio.run(run_day(demo_setup(DEVICES), out, _silently))
    return out


@pytest.fixture(scope="module")
def result(folder: Path) -> DayResult:
    return read_result(folder)


def test_every_device_registers_and_its_history_comes_in(result: DayResult) -> None:
    assert result.summary.resources == result.summary.registrations.accepted == DEVICES
    assert result.summary.registrations.refused == 0
    assert result.summary.aggregators == 7
    assert result.summary.readings > DEVICES * 96 * 13  # two weeks of quarter hours at least


def test_the_order_is_the_smaller_of_five_percent_and_what_is_callable_with_margin(result: DayResult) -> None:
    assert [event.event_id for event in result.summary.events] == ["midday", "evening"]
    for event in result.summary.events:
        assert event.ordered_kw == pytest.approx(min(event.five_percent_kw, event.callable_kw), rel=1e-3)
        assert event.ordered_kw > 0.3 * event.five_percent_kw


def test_the_order_is_delivered_hour_by_hour(result: DayResult) -> None:
    """Ninety devices are few: one building more or less is a percent or two, so the band here is a little wider."""
    for event in result.summary.events:
        for ratio in event.ratio_by_hour:
            assert ratio is not None
            assert 0.8 <= ratio <= 1.2


def test_the_city_is_lower_in_the_windows_and_its_curve_without_the_event_is_the_published_one(
    result: DayResult,
) -> None:
    city = result.city.set_index("interval_start")
    for event in result.summary.events:
        inside = city.loc[event.start : event.end - timedelta(minutes=5)]
        assert (inside.load_with_kw < inside.load_without_kw).mean() > 0.9
    peak_gw = city.load_without_kw.max() / result.summary.scale / 1e6
    assert peak_gw == pytest.approx(22.13, rel=2e-3)


def test_a_tenth_falls_silent_and_is_bought_again_within_two_cycles(result: DayResult) -> None:
    evening = result.summary.events[1]
    silence = evening.start + timedelta(minutes=40)
    devices = result.devices.set_index("interval_start").silent
    assert devices.loc[silence + timedelta(minutes=10)] >= devices.loc[silence] + round(0.06 * DEVICES)
    delivery = result.delivery[result.delivery.event_id == "evening"].set_index("interval_start")
    after = delivery.loc[silence + timedelta(minutes=15) : evening.end - timedelta(minutes=10)]
    assert (after.delivered_kw / after.ordered_kw).mean() > 0.85


def test_what_was_sent_was_answered_and_the_store_tells_the_same_story(folder: Path, result: DayResult) -> None:
    assert result.summary.acknowledged > 0.85 * result.summary.setpoints
    with Store(f"sqlite:///{folder / 'service' / 'vpp.db'}") as store:
        records = {record.event.event_id: record for record in store.events()}
        assert {record.status for record in records.values()} == {EventStatus.EVALUATED}
        for event in result.summary.events:
            steps = [step.status for step in records[event.event_id].steps]
            assert steps[:3] == [EventStatus.DECLARED, EventStatus.APPROVED, EventStatus.NOTIFIED]
            by = [step.by for step in records[event.event_id].steps[:2]]
            assert by[0] != by[1]
            assert records[event.event_id].baseline_hash == result.summary.plan.baseline_hash
        assert store.reading_count() == result.summary.readings
        store.verify_audit()


def test_nothing_happened_that_must_never_happen(folder: Path) -> None:
    assert broken_invariants(folder) == ()


def test_the_page_is_written_and_marked_simulated(folder: Path) -> None:
    page = write_report(folder).read_text(encoding="utf-8")
    assert "simulated" in page
    assert "仿真" in page


def test_the_journal_begins_with_registrations_and_tells_the_silence(result: DayResult) -> None:
    journal = result.journal.sort_values("at")
    assert "registered" in journal.what_en.iloc[0]
    assert journal.what_en.str.contains("fall silent").any()
    assert isinstance(journal["at"].iloc[0], pd.Timestamp | datetime)
