"""What is done for all devices at once is what would be done for each: tables, limits, states, what was heard."""

from datetime import timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from models.fleet import Fleet
from models.intervals import IntervalGrid
from models.moments import microseconds
from models.reading_columns import ReadingColumns
from models.resources import RegisteredResource, ResourceBase, ResourceKind, Storage, ThermalLoad
from tests.live import T0, battery, curtailable, generator, interruptible, pv, reading, registered, thermal
from vpp.heard import GAUGE_ERROR_SHARE, NEVER_US
from vpp.order_limits import OrderLimits, is_release, power_range_kw
from vpp.planning_rows import PlanningRows, with_end_energy, without_freedom
from vpp.planning_tables import COMFORT_RESERVE_SHARE, PlanningTables
from vpp.problem_states import states_of
from vpp.state import LiveState

GRID = IntervalGrid.regular(T0, timedelta(minutes=15), 4)
BERLIN = ZoneInfo("Europe/Berlin")


def fleet() -> list[RegisteredResource]:
    return [battery("b1"), battery("b2"), curtailable(), interruptible(), thermal(), generator(), pv()]


def heard() -> LiveState:
    state = LiveState([registered(resource) for resource in fleet()])
    for live in state:
        state.take(reading(live.resource_id, 0, -3.0, energy_kwh=41.0))
        state.take(reading(live.resource_id, 5, 12.5, energy_kwh=43.0))
    return state


def promised(row: ResourceBase) -> ResourceBase:
    """Of the last twentieth of a battery nothing is, nor of the last tenth of a comfort store."""
    if isinstance(row, ThermalLoad):
        return row.model_copy(update={"store_low_kwh": (1 - COMFORT_RESERVE_SHARE) * row.store_low_kwh})
    if not isinstance(row, Storage):
        return row
    span_kwh = row.energy_max_kwh - row.energy_min_kwh
    return row.model_copy(update={"energy_min_kwh": row.energy_min_kwh + GAUGE_ERROR_SHARE * span_kwh})


@pytest.mark.parametrize("is_frozen", [False, True])
@pytest.mark.parametrize("reliability", [None, {"b1": 0.5, "gas": 0.25}])
def test_tables_are_those_of_the_rows(is_frozen: bool, reliability: dict[str, float] | None) -> None:
    state = heard()
    end_energy = {"b2": 1e6}
    profiles = {live.resource_id: np.ones(4) for live in state}
    one_by_one: list[ResourceBase] = []
    planning = PlanningRows(state, BERLIN, lambda _a, _b: None)
    for live in state:
        made = planning.of(live, GRID, T0, (), profiles, reliability)
        made = [promised(row) for row in made]
        made = [without_freedom(row, live) for row in made] if is_frozen else made
        one_by_one.extend(with_end_energy(row, end_energy) for row in made)
    wanted = Fleet.from_rows(one_by_one).tables
    everyone = np.ones(len(state.columns.measured_us), dtype=np.bool_)
    found = PlanningTables(state).make(everyone, everyone, reliability, everyone & is_frozen, end_energy, now=T0)
    assert found.keys() == wanted.keys()
    for kind, table in wanted.items():
        assert found[kind].columns.keys() == table.columns.keys()
        for name, values in table.columns.items():
            np.testing.assert_array_equal(found[kind].columns[name], values, err_msg=f"{kind} {name}")


def test_who_has_no_profile_or_takes_no_part_is_in_no_table() -> None:
    state = heard()
    everyone = np.ones(len(state.columns.measured_us), dtype=np.bool_)
    tables = PlanningTables(state)
    without_profiles = tables.make(everyone, ~everyone, None, now=T0)
    assert sorted(str(name) for table in without_profiles.values() for name in table.columns["resource_id"]) == [
        "b1",
        "b2",
        "gas",
    ]
    assert tables.make(~everyone, everyone, None, now=T0) == {}
    state.put(registered(battery("b3")))
    everyone = np.ones(len(state.columns.measured_us), dtype=np.bool_)
    assert sum(len(table) for table in tables.make(everyone, ~everyone, None, now=T0).values()) == 4


@pytest.mark.parametrize(
    ("level_kwh", "planned_to_kwh"),
    [(0.0, 36.0), (20.0, 36.0), (-30.0, 36.0), (-38.0, 38.0), (-40.0, 40.0), (-45.0, 40.0)],
)
def test_a_building_is_planned_to_its_reserve_and_no_further_where_it_is_in_it(
    level_kwh: float, planned_to_kwh: float
) -> None:
    """What was registered is 40 kWh; beyond it a breach is named, within the reserve nothing is."""
    state = LiveState([registered(thermal())])
    state.columns.comfort_store_kwh[:] = level_kwh
    everyone = np.ones(len(state.columns.measured_us), dtype=np.bool_)
    table = PlanningTables(state).make(everyone, everyone, None, now=T0)[ResourceKind.THERMAL_LOAD]
    assert table.columns["store_low_kwh"] == pytest.approx([planned_to_kwh])


def test_limits_and_releases_of_many_are_those_of_each() -> None:
    state = heard()
    limits = OrderLimits(state)
    for power_kw, baseline_kw in [
        (0.0, 80.0),
        (79.9995, 80.0),
        (80.0, 80.0),
        (500.0, 80.0),
        (-500.0, 0.0),
        (60.0, 80.0),
    ]:
        rows = state.everyone
        power, baseline = np.full(len(rows), power_kw), np.full(len(rows), baseline_kw)
        resources = [live.record.resource for live in state]
        ranges = [power_range_kw(resource, baseline_kw) for resource in resources]
        clamped = [min(max(power_kw, low), high) for low, high in ranges]
        assert limits.clamped(rows, power, baseline) == pytest.approx(clamped)
        released = [is_release(resource, power_kw, baseline_kw) for resource in resources]
        assert limits.released(rows, power, baseline).tolist() == released


def test_a_building_that_an_event_has_moved_is_held_at_its_baseline_and_no_other() -> None:
    state = heard()
    columns, rows, kw = state.columns, state.everyone, np.full(len(state), 80.0)
    at_rest = OrderLimits(state).released(rows, kw, kw)
    assert at_rest[columns.is_thermal[rows]].all()
    columns.stands_until_us[:] = microseconds(T0 + timedelta(hours=1))  # an event runs
    assert OrderLimits(state).released(rows, kw, kw).tolist() == at_rest.tolist(), "it has not been moved"
    columns.ordered_kw[rows] = 60.0
    held = at_rest & columns.is_thermal[rows]
    assert held.any()
    assert OrderLimits(state).released(rows, kw, kw).tolist() == (at_rest & ~held).tolist()
    columns.stands_until_us[:] = NEVER_US  # the event has let it go
    assert OrderLimits(state).released(rows, kw, kw).tolist() == at_rest.tolist()


def test_states_in_columns_are_those_of_each_resource() -> None:
    state = heard()
    now = T0 + timedelta(minutes=10)
    planning = PlanningRows(state, BERLIN, lambda _a, _b: None)
    everyone = Fleet.from_rows([live.record.resource for live in state])
    found = states_of(state, planning, everyone, now, GRID, BERLIN)
    midnight = now.astimezone(BERLIN).replace(hour=0, minute=0)
    assert {name: found[name] for name in found} == {
        live.resource_id: live.problem_state(now, midnight) for live in state
    }
    later = IntervalGrid.regular(now + timedelta(hours=2), timedelta(minutes=15), 4)
    assert states_of(state, planning, everyone, now, later, BERLIN) == {}


def test_a_withdrawn_resource_is_heard_no_more_and_keeps_its_row_to_itself() -> None:
    state = heard()
    row = state.rows(["b1"])[0]
    state.remove("b1")
    assert not state.take(reading("b1", 10, 1.0))
    assert state.rows(["b1", "b2"]).tolist() == [-1, state.rows(["b2"])[0]]
    assert state.at(int(row)) is None
    assert row not in state.everyone
    state.put(registered(battery("b1")))
    again = state.get("b1")
    assert again is not None
    assert again.latest is None
    assert again.row != row


def test_of_two_readings_of_one_device_in_a_message_the_newest_counts_whatever_their_order() -> None:
    for order in (1, -1):
        state = heard()
        rows = [reading("b1", minute, float(minute)) for minute in (10, 20, 15)][::order]
        state.take_columns(ReadingColumns.of([*rows, reading("nobody", 10, 1.0)]))
        live = state.get("b1")
        assert live is not None
        assert live.latest is not None
        assert live.latest.power_kw == 20.0
