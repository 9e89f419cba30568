"""From tables and live state to a problem: baselines of several days, PV, processes, devices that may not move."""

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from models.conduct import Misconduct
from models.dispatch.problem import Penalties
from models.events import Event
from models.intervals import FloatArray, IntervalGrid
from models.plan import schedule_hash
from models.records import BaselineTable
from models.resources import RegisteredResource, ResourceKind
from tests.live import (
    HOUR,
    T0,
    battery,
    charger,
    curtailable,
    generator,
    interruptible,
    process,
    pv,
    reading,
    registered,
    stay,
    thermal,
)
from vpp.baseline_table import baseline_on, merged_baseline
from vpp.forecasting import CityForecast
from vpp.problem_builder import ProblemBuilder
from vpp.state import LiveState

BERLIN = ZoneInfo("Europe/Berlin")
QUARTER = timedelta(minutes=15)
GRID = IntervalGrid.regular(T0, QUARTER, 8)


def table(grid: IntervalGrid, **values: Any) -> BaselineTable:
    names = tuple(sorted(values, key=str.encode))
    b = np.array([np.broadcast_to(values[name], len(grid)) for name in names], dtype=float)
    return BaselineTable(date(2025, 7, 16), grid, names, b, schedule_hash(grid, names, b))


def city(grid: IntervalGrid, load_kw: float = 1000.0) -> CityForecast:
    shape = (1, len(grid))
    return CityForecast(("Z00",), np.full(shape, load_kw), np.full(shape, np.inf), {"tou": np.ones(len(grid))}, {})


def no_run(_aggregator_id: str, _profile_id: str) -> None:
    return None


def builder(*resources: RegisteredResource, heard: bool = True, zone: ZoneInfo = BERLIN) -> ProblemBuilder:
    state = LiveState([registered(resource) for resource in resources])
    if heard:
        for live in state:
            state.take(reading(live.resource_id, 0, 0.0))
    return ProblemBuilder(state, zone, Penalties(), no_run)


def real_time(made: ProblemBuilder, baseline: dict[str, FloatArray], **more: Any) -> Any:
    fields: dict[str, Any] = {"plan_kw": {}, "end_energy_kwh": {}, "expected": {}}
    return made.real_time(GRID, T0, city(GRID), baseline=baseline, **{**fields, **more})


# ---- baselines


def test_finer_intervals_inherit_the_mean_power_and_coarser_ones_the_mean() -> None:
    hourly = IntervalGrid.regular(T0, HOUR, 2)
    fine = baseline_on(table(hourly, a=[10.0, 20.0]), GRID)
    assert fine["a"].tolist() == [10.0] * 4 + [20.0] * 4
    coarse = baseline_on(table(GRID, a=np.arange(8.0)), hourly)
    assert coarse["a"] == pytest.approx([1.5, 5.5])
    beyond = baseline_on(table(hourly, a=[10.0, 20.0]), IntervalGrid.regular(T0, HOUR, 3))
    assert np.array_equal(beyond["a"], [10.0, 20.0, np.nan], equal_nan=True)


def test_a_later_day_wins_where_it_begins() -> None:
    today = table(IntervalGrid.regular(T0, HOUR, 4), a=1.0, gone=5.0)
    tomorrow = table(IntervalGrid.regular(T0 + 2 * HOUR, HOUR, 4), a=2.0, new=7.0)
    grid = IntervalGrid.regular(T0 + HOUR, HOUR, 4)
    merged = merged_baseline([today, tomorrow], grid)
    assert merged["a"].tolist() == [1.0, 2.0, 2.0, 2.0]
    assert set(merged) == {"a"}  # who has no b somewhere takes no part
    assert set(merged_baseline([today, tomorrow], IntervalGrid.regular(T0 + 2 * HOUR, HOUR, 2))) == {"a", "gone", "new"}
    assert merged_baseline([], grid) == {}


# ---- real time


def test_the_sun_of_a_pv_plant_is_what_its_baseline_feeds_in() -> None:
    b = -np.linspace(0, 70, 8)
    problem = real_time(builder(pv()), {"sun": b})
    (row,) = problem.fleet.rows()
    assert problem.profiles[row.available_profile] * row.available_scale_kw == pytest.approx(-b)
    assert problem.zone_load_kw == pytest.approx(1000.0 - b[None, :])


def test_the_own_profile_of_a_load_is_its_baseline() -> None:
    b = np.linspace(50, 70, 8)
    problem = real_time(builder(curtailable()), {"load": b})
    (row,) = problem.fleet.rows()
    assert np.array_equal(problem.profiles[row.baseline_profile] * row.baseline_scale_kw, b)


def test_a_city_without_devices_is_a_problem_too() -> None:
    problem = real_time(builder(), {})
    assert problem.baseline_kw is not None
    assert problem.baseline_kw.shape == (0, 8)
    assert problem.zone_load_kw == pytest.approx(1000.0)


def test_who_is_silent_stays_in_the_problem_and_nothing_is_promised_of_it() -> None:
    things = (battery(), charger(), curtailable(), interruptible(), thermal(), generator())
    b = {each.resource_id: np.full(8, 5.0) for each in things}
    silent = real_time(builder(*things, heard=False), b)
    free = {
        ResourceKind.EV_SESSION: ("charge_limit_kw", "discharge_limit_kw", "energy_needed_kwh"),
        ResourceKind.CURTAILABLE_LOAD: ("curtail_share",),
        ResourceKind.INTERRUPTIBLE_LOAD: ("block_kw",),
        ResourceKind.THERMAL_LOAD: ("increase_limit_kw", "decrease_limit_kw"),
        ResourceKind.GENERATOR: ("reliability_fraction",),
    }
    still = {row.kind: row for row in silent.fleet.rows()}
    assert set(still) == {ResourceKind.STORAGE, *free}
    for kind, names in free.items():
        assert all(getattr(still[kind], name) == 0.0 for name in names), kind
    store = still[ResourceKind.STORAGE]
    assert store.energy_min_kwh == store.energy_max_kwh == store.energy_end_min_kwh == store.energy_start_kwh
    heard = real_time(builder(*things), b)
    assert heard.fleet.resource_ids == silent.fleet.resource_ids  # the structure stays
    rows = {row.kind: row for row in heard.fleet.rows()}
    assert rows[ResourceKind.CURTAILABLE_LOAD].curtail_share == 0.4
    assert np.isnan(silent.real_time.now_kw).all()
    assert (heard.real_time.now_kw == 0.0).all()
    # a battery that is held at its level while it was to discharge at the peak is no lack that others must make good
    of_silent = dict(zip(silent.fleet.resource_ids, silent.baseline_kw.tolist(), strict=True))
    assert of_silent == {each.resource_id: [5.0] * 8 for each in things} | {"battery": [0.0] * 8, "charger": [0.0] * 8}
    assert (heard.baseline_kw == 5.0).all()
    assert silent.zone_load_kw == pytest.approx(1000.0 - 4 * 5.0)


@pytest.mark.parametrize("told_kwh", [60.0, 12.0])
def test_a_battery_that_is_not_listening_is_held_where_it_stands(told_kwh: float) -> None:
    """Last heard of three minutes ago while it discharged, or found below what is promised of it: had it to be anywhere
    else, the plan would see it charge to get there, and buy as much from others.
    """
    state = LiveState([registered(battery())])
    state.take(reading("battery", 0, -9.5, energy_kwh=told_kwh))
    state.columns.misconduct[:] = int(Misconduct.NO_RESPONSE)
    now, made = T0 + timedelta(minutes=3), ProblemBuilder(state, BERLIN, Penalties(), no_run)
    b = {"battery": np.full(8, -9.5)}
    problem = made.real_time(GRID, now, city(GRID), baseline=b, plan_kw={}, end_energy_kwh={}, expected={})
    (row,) = problem.fleet.rows()
    stands_kwh = problem.states["battery"].energy_kwh
    assert stands_kwh == pytest.approx(max(told_kwh - 9.5 / 0.95 * 0.05, 10.0))
    assert {row.energy_min_kwh, row.energy_max_kwh, row.energy_end_min_kwh} == {stands_kwh}


def test_a_silent_charger_promises_nothing() -> None:
    made = real_time(
        builder(charger(), curtailable(), heard=False), {"charger": np.full(8, 5.0), "load": np.full(8, 60.0)}
    )
    b = dict(zip(made.fleet.resource_ids, made.baseline_kw, strict=True))
    assert (b["charger"] == 0.0).all()
    assert (b["load"] == 60.0).all()


def test_who_opted_out_of_an_event_cannot_move_in_it() -> None:
    made = builder(curtailable())
    for live in made._state:
        live.opted_out_of.add("e1")
    for event_id, share in (("e1", 0.0), ("e1~ramp", 0.0), ("e2", 0.4)):
        event = Event(event_id="e", start=T0, end=T0 + HOUR, target_kw=5.0).model_copy(update={"event_id": event_id})
        (row,) = real_time(made, {"load": np.full(8, 60.0)}, events=[event]).fleet.rows()
        assert row.curtail_share == share


def test_stray_cost_rests_during_events() -> None:
    event = Event(event_id="e1", start=T0 + HOUR, end=T0 + 1.5 * HOUR, target_kw=5.0)
    made = real_time(builder(curtailable()), {"load": np.full(8, 60.0)}, events=[event])
    assert made.real_time.stray_applies.tolist() == [1, 1, 1, 1, 0, 0, 1, 1]
    assert np.isnan(made.real_time.plan_kw).all()


@pytest.mark.parametrize(("wanted", "given"), [(60.0, 60.0), (5.0, 14.5), (500.0, 100.0)])
def test_a_storage_ends_at_the_level_of_the_day_plan_within_its_own_limits(wanted: float, given: float) -> None:
    """From 10 to 100 kWh, and nothing is promised of the lowest twentieth."""
    made = real_time(builder(battery()), {"battery": np.zeros(8)}, end_energy_kwh={"battery": wanted})
    (row,) = made.fleet.rows()
    assert row.energy_end_min_kwh == given


def test_a_car_that_is_there_comes_before_those_expected() -> None:
    made = builder(charger())
    state = made._state
    state.take(reading("charger", 1, 7.0, session=stay(departure=T0 + HOUR)))
    meant = stay(session_id="x", arrival=T0 + 0.5 * HOUR, departure=T0 + 3 * HOUR)
    to_come = stay(session_id="y", arrival=T0 + 1.5 * HOUR, departure=T0 + 3 * HOUR)
    problem = real_time(made, {"charger": np.zeros(8)}, expected={"charger": [meant, to_come]})
    assert [row.session_id for row in problem.fleet.rows()] == ["s1", "y"]
    empty = real_time(builder(charger()), {"charger": np.zeros(8)})
    assert [row.energy_needed_kwh for row in empty.fleet.rows()] == [0.0]  # the charger keeps its row


# ---- day ahead


def day_ahead(made: ProblemBuilder, **more: Any) -> Any:
    fields: dict[str, Any] = {"load_profiles": {}, "expected": {}}
    return made.day_ahead(GRID, T0, city(GRID), **{**fields, **more})


def test_without_a_baseline_the_citys_rows_are_left_out() -> None:
    blind = day_ahead(builder(battery()))
    assert (blind.zone_load_kw == 0).all()
    assert np.isposinf(blind.zone_limit_kw).all()
    assert blind.baseline_kw is None


def test_who_registered_after_the_table_was_made_waits_for_the_next_day() -> None:
    problem = day_ahead(builder(battery(), battery("late")), baseline=table(GRID, battery=3.0))
    assert problem.fleet.resource_ids == ("battery",)
    assert problem.zone_load_kw == pytest.approx(997.0)


def test_a_load_without_a_profile_promises_nothing_yet() -> None:
    problem = day_ahead(builder(battery(), curtailable(), thermal(), pv()), load_profiles={"cool": np.ones(8)})
    assert problem.fleet.resource_ids == ("battery", "cool")


@pytest.mark.parametrize(
    "day", [date(2025, 1, 20), date(2025, 3, 30), date(2025, 7, 16), date(2025, 10, 26), date(2025, 12, 1)]
)
def test_a_daily_process_keeps_its_clock_times_in_summer_and_winter(day: date) -> None:
    registered_at = datetime(2025, 1, 15, 8, tzinfo=BERLIN).astimezone(UTC)
    grid = IntervalGrid.market_day(day, BERLIN, QUARTER)
    made = builder(process(start=registered_at))._rows.on_day(process(start=registered_at), grid)
    local = made.window_start.astimezone(BERLIN)
    assert (local.date(), local.hour, local.minute) == (day, 8, 0)
    assert made.window_end - made.window_start == 6 * HOUR
    assert made.preferred_start == made.window_start + HOUR
    evening = IntervalGrid.regular(datetime(day.year, day.month, day.day, 20, tzinfo=BERLIN), QUARTER, 96)
    after = builder(process(start=registered_at))._rows.on_day(process(start=registered_at), evening)
    local = after.window_start.astimezone(BERLIN)
    assert (local.date(), local.hour) == (day + timedelta(days=1), 8)
