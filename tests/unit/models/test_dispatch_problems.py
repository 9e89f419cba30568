"""A dispatch problem: every fault by table, column, row and rule; scopes; pickles."""

import pickle
from dataclasses import fields, replace
from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from models.dispatch.problem import Penalties, RealTimeTerms
from models.errors import InputError, InputFault
from models.events import Event, ScopeKind
from models.fleet import Fleet
from models.resources import RESOURCE_TYPES, TABLE_NAMES, ResourceKind
from tests.fleets import random_problem

GOOD = random_problem(7, resources=16, intervals=24, zones=3, events=0, sessions_per_charger=2)
T = len(GOOD.grid)
R = len(GOOD.fleet.resource_ids)


def faults(**changes: Any) -> tuple[InputFault, ...]:
    with pytest.raises(InputError) as caught:
        replace(GOOD, **changes)
    return caught.value.faults


def the_fault(**changes: Any) -> InputFault:
    (only,) = faults(**changes)
    return only


def spoiled(values: Any, place: Any, value: float) -> Any:
    made = np.array(values, dtype=float)
    made[place] = value
    return made


def event(**changes: Any) -> Event:
    window = {"start": GOOD.grid.edges[4], "end": GOOD.grid.edges[6]}
    return Event(**{"event_id": "e1", **window, "target_kw": 10.0, **changes})


def test_a_good_problem_is_taken_and_survives_the_way_to_a_worker() -> None:
    again = pickle.loads(pickle.dumps(GOOD))
    assert again.grid == GOOD.grid
    assert list(again.fleet.rows()) == list(GOOD.fleet.rows())
    assert again.attributes == GOOD.attributes
    assert np.array_equal(again.zone_load_kw, GOOD.zone_load_kw)


def test_a_limit_may_be_without_end_but_a_load_may_not() -> None:
    replace(GOOD, zone_limit_kw=spoiled(GOOD.zone_limit_kw, (1, 2), np.inf))
    for name, value in [
        ("zone_load_kw", np.nan),
        ("zone_load_kw", np.inf),
        ("zone_limit_kw", np.nan),
        ("zone_limit_kw", -np.inf),
    ]:
        fault = the_fault(**{name: spoiled(getattr(GOOD, name), (1, 2), value)})
        assert (fault.place, fault.field) == ("problem", name)
        assert fault.value == f"{value} in {GOOD.zones[1]} at {GOOD.grid.starts[2].isoformat()}"
        assert fault.rule.startswith("must have no holes: finite")


@pytest.mark.parametrize("name", ["zone_load_kw", "zone_limit_kw"])
def test_tables_of_the_wrong_shape_are_refused(name: str) -> None:
    fault = the_fault(**{name: np.zeros((3, T + 1))})
    assert (fault.field, fault.value, fault.rule) == (name, (3, T + 1), f"shape must be {(3, T)}")


@pytest.mark.parametrize("table", ["tariffs", "profiles"])
def test_series_have_a_finite_value_in_every_interval(table: str) -> None:
    series = getattr(GOOD, table)
    name = next(iter(series))
    fault = the_fault(**{table: {**series, name: np.zeros(T - 1)}})
    assert (fault.place, fault.field, fault.value, fault.rule) == (table, name, (T - 1,), f"shape must be {(T,)}")
    for value in (np.nan, np.inf):
        fault = the_fault(**{table: {**series, name: spoiled(series[name], 3, value)}})
        assert (fault.place, fault.field, fault.rule) == (table, name, "must be finite in every interval")


def test_the_shape_of_a_run_is_one_finite_row() -> None:
    for bad in (np.array([]), np.array([1.0, np.nan]), np.ones((2, 2))):
        fault = the_fault(run_profiles={**GOOD.run_profiles, "run-x": bad})
        assert (fault.place, fault.field) == ("profiles", "run-x")


TABLE_OF_NAME = {
    "zone_id": "system",
    "tariff_id": "tariffs",
    "baseline_profile": "profiles",
    "available_profile": "profiles",
    "run_profile": "profiles",
}
NAMES = [
    (kind, column, table)
    for kind, made in RESOURCE_TYPES.items()
    for column, table in TABLE_OF_NAME.items()
    if column in made.model_fields
]


@pytest.mark.parametrize(("kind", "column", "table"), NAMES)
def test_a_name_that_no_table_knows_is_told_by_table_column_and_row(
    kind: ResourceKind, column: str, table: str
) -> None:
    rows = list(GOOD.fleet.rows(kind))
    wrong = [row.model_copy(update={column: "nowhere"}) if k == 1 else row for k, row in enumerate(rows)]
    others = [row for row in GOOD.fleet.rows() if row.kind is not kind]
    fault = the_fault(fleet=Fleet.from_rows([*others, *wrong]))
    assert fault == InputFault(TABLE_NAMES[kind], column, "nowhere", f"must be named in the {table} table", 2)


def test_a_resource_occurs_once_but_a_charger_has_many_stays() -> None:
    rows = list(GOOD.fleet.rows())
    assert len(GOOD.fleet) > R  # two stays a charger
    battery = next(row for row in rows if row.kind is ResourceKind.STORAGE)
    for twin in (battery, next(row for row in rows if row.kind is ResourceKind.PV), rows[3]):
        if twin.kind is ResourceKind.EV_SESSION:
            continue
        double = Fleet.from_rows([*rows, twin])
        assert {fault.field for fault in faults(fleet=double)} == {"resource_id"}
        assert {fault.value for fault in faults(fleet=double)} == {twin.resource_id}
    thief = next(row for row in rows if row.kind is ResourceKind.PV).model_copy(
        update={"resource_id": battery.resource_id}
    )
    found = faults(fleet=Fleet.from_rows([*rows, thief]))
    assert {(fault.place, fault.value) for fault in found} == {
        ("storage", battery.resource_id),
        ("pv", battery.resource_id),
    }
    assert all("must occur once in the fleet" in fault.rule for fault in found)


def test_zones_areas_and_events_have_names_that_are_known_and_one_each() -> None:
    zones = ("Z00", "Z01", "Z01")
    assert ("system", "every zone must be named once") in {(f.place, f.rule) for f in faults(zones=zones)}
    fault = the_fault(areas={"north": frozenset({"Z00", "Z99"})})
    assert fault == InputFault("areas", "zone_id", "Z99", "of area north must be named in the system table")
    fault = the_fault(events=(event(), event(event_id="e2"), event()))
    assert fault == InputFault("events", "event_id", "e1", "must occur once", 3)
    fault = the_fault(events=(event(), event(event_id="e2", scope_kind="area", scope_id="east")))
    assert fault == InputFault("events", "scope_id", "east", "must be an area of the areas table", 2)
    fault = the_fault(events=(event(scope_kind="zone", scope_id="Z99"),))
    assert fault == InputFault("events", "scope_id", "Z99", "must be a zone of the system table", 1)


def test_event_edges_lie_on_interval_edges_or_outside_the_horizon() -> None:
    off = GOOD.grid.edges[4] + timedelta(minutes=7)
    for name, row in (("start", {"start": off}), ("end", {"end": off, "start": GOOD.grid.edges[3]})):
        fault = the_fault(events=(event(**row),))
        assert fault == InputFault("events", name, off.isoformat(), "must lie on an interval edge", 1)
    before, after = GOOD.grid.start - timedelta(minutes=7), GOOD.grid.end + timedelta(minutes=7)
    wide = event(start=before, end=after)
    made = replace(GOOD, events=(wide,))
    assert (made.target_kw(wide) == 10.0).all()


def test_a_target_stands_in_its_window_and_nowhere_else() -> None:
    target = replace(GOOD, events=(event(),)).target_kw(event())
    assert target.tolist() == [10.0 if k in (4, 5) else 0.0 for k in range(T)]


def test_a_baseline_has_a_finite_row_for_every_resource() -> None:
    replace(GOOD, baseline_kw=np.zeros((R, T)))
    fault = the_fault(baseline_kw=np.zeros((R + 1, T)))
    assert (fault.field, fault.rule) == ("baseline_kw", "must have a row per resource")
    fault = the_fault(baseline_kw=spoiled(np.zeros((R, T)), (2, 5), np.nan))
    rule = "must be finite in every interval"
    assert fault == InputFault("problem", "baseline_kw", GOOD.fleet.resource_ids[2], rule, 3)


def test_real_time_terms_fit_the_fleet_and_the_grid() -> None:
    good = RealTimeTerms(np.full(R, np.nan), np.full((R, T), np.nan), np.ones(T))
    replace(GOOD, real_time=good)
    for item in fields(RealTimeTerms):
        values = getattr(good, item.name)
        assert the_fault(real_time=replace(good, **{item.name: values[..., :-1]})).field == item.name
        endless = spoiled(values, (0,) * values.ndim, np.inf)
        fault = the_fault(real_time=replace(good, **{item.name: endless}))
        assert (fault.place, fault.field, fault.value) == ("real_time", item.name, "infinity")


@pytest.mark.parametrize("name", [item.name for item in fields(Penalties)])
@pytest.mark.parametrize("value", [-1.0, np.nan, np.inf])
def test_a_penalty_is_finite_and_not_negative(name: str, value: float) -> None:
    with pytest.raises(InputError, match=f"penalties, {name}: must be finite and not negative"):
        Penalties(**{name: value})
    assert Penalties(**{name: 0.0}).as_dict()[name] == 0.0


def test_all_faults_are_told_at_once() -> None:
    found = faults(
        zone_load_kw=spoiled(GOOD.zone_load_kw, (0, 0), np.nan),
        areas={"north": frozenset({"Z99"})},
        events=(event(scope_kind="zone", scope_id="Z98"),),
    )
    assert [fault.place for fault in found] == ["problem", "areas", "events"]


@pytest.mark.parametrize("seed", range(5))
def test_a_scope_contains_exactly_the_resources_it_names(seed: int) -> None:
    problem = random_problem(seed, resources=30, zones=4, sessions_per_charger=2)
    rows = {row.resource_id: row for row in problem.fleet.rows()}
    some = rows[problem.fleet.resource_ids[0]]
    wanted = {
        (ScopeKind.CITY, ""): set(rows),
        (ScopeKind.AREA, "north"): {n for n, row in rows.items() if row.zone_id in problem.areas["north"]},
        (ScopeKind.ZONE, some.zone_id): {n for n, row in rows.items() if row.zone_id == some.zone_id},
        (ScopeKind.AGGREGATOR, some.aggregator_id): {
            n for n, row in rows.items() if row.aggregator_id == some.aggregator_id
        },
        (ScopeKind.PILLAR, "source"): {n for n, row in rows.items() if row.pillar == "source"},
        (ScopeKind.PILLAR, "load"): {n for n, row in rows.items() if row.pillar == "load"},
        (ScopeKind.AGGREGATOR, "nobody"): set(),
    }
    for (kind, name), ids in wanted.items():
        assert problem.in_scope(event(scope_kind=kind, scope_id=name)) == ids, (kind, name)
    assert 0 < len(wanted[ScopeKind.AREA, "north"]) < len(rows)


def test_attributes_are_those_of_the_rows() -> None:
    for row in GOOD.fleet.rows():
        what = GOOD.attributes[row.resource_id]
        assert what.kind is row.kind
        for name in ("zone_id", "aggregator_id", "pillar", "tariff_id", "reliability_fraction"):
            assert getattr(what, name) == getattr(row, name)
