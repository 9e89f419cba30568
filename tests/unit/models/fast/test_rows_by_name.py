"""Names looked up for whole tables at once: the same rows, states and strata as one by one."""

from collections import Counter
from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.dispatch.fast.admitted import admit_columns
from models.dispatch.fast.coupling import Classes
from models.dispatch.fast.setting import Setting, rows_in
from models.dispatch.fast.shards import STRATA, _depth, _strata, blocks_of
from models.dispatch.problem import DispatchProblem, ResourceState
from models.dispatch.states import FleetStates, StateColumns, StateTable
from models.fleet import Fleet, ResourceTable
from models.intervals import FloatArray
from models.resources import ResourceKind
from tests.fleets import random_problem, situation

SEEDS = st.integers(0, 100_000)
few = settings(max_examples=20, deadline=None)


# ---- rows of an index


def names_of(*names: str) -> np.ndarray:
    return np.array(names, dtype=object)


@given(st.lists(st.sampled_from(["", "a", "b", "c"]), max_size=20))
def test_the_row_of_a_name_is_that_of_the_index_and_none_for_the_empty_name(names: list[str]) -> None:
    index = {"c": 0, "a": 1, "b": 2}
    assert rows_in(index, names_of(*names)).tolist() == [index[name] if name else -1 for name in names]


def test_a_name_that_is_not_in_the_index_is_an_error() -> None:
    with pytest.raises(KeyError, match="nobody"):
        rows_in({"a": 0}, names_of("a", "nobody", "a"))


def test_a_zone_that_the_problem_does_not_know_is_an_error() -> None:
    problem = random_problem(1, resources=8)
    classes = Classes.of(problem, {kind: table.columns for kind, table in problem.fleet.tables.items()})
    table = {"zone_id": names_of("nowhere"), "aggregator_id": names_of(classes.aggregators[0])}
    with pytest.raises(KeyError, match="nowhere"):
        classes.attributes({**table, "pillar": names_of("industrial")})


# ---- states


def some_states(problem: DispatchProblem, dice: np.random.Generator) -> dict[str, ResourceState]:
    """States of most resources, in any order, a few of them with pieces that were cut, and one of a stranger."""
    states = {"stranger": ResourceState(power_kw=1.0)}
    for row in dice.permutation(len(problem.fleet.resource_ids)).tolist():
        if dice.random() < 0.8:
            pieces = tuple((float(k), 1.0, float(dice.uniform(1, 9))) for k in range(dice.integers(0, 3)))
            on = bool(dice.random() < 0.5) if dice.random() < 0.5 else None
            name = problem.fleet.resource_ids[row]
            states[name] = ResourceState(energy_kwh=float(dice.uniform(0, 9)), on=on, curtailed_history=pieces)
    return states


@few
@given(seed=SEEDS, pieces=st.booleans())
def test_a_fleet_finds_the_states_that_one_by_one_are_found(seed: int, pieces: bool) -> None:
    dice = np.random.default_rng(seed)
    problem = random_problem(seed, resources=int(dice.integers(1, 30)), sessions_per_charger=1 + seed % 3)
    states = some_states(problem, dice)
    if not pieces:
        states = {name: replace(state, curtailed_history=()) for name, state in states.items()}
    names = np.array(list(states), dtype=object)
    table = StateTable(names.tolist(), StateColumns.of(states, names))
    by_table, by_name = (FleetStates(replace(problem, states=each)) for each in (table, states))
    nothing = FleetStates(replace(problem, states={}))
    for kind, rows in problem.fleet.tables.items():
        wanted = StateColumns.of(states, rows.columns["resource_id"])
        silent = StateColumns.unknown(len(rows))
        for field in fields(StateColumns):
            for found in (by_table.of(kind), by_name.of(kind), table.take(rows.columns["resource_id"])):
                np.testing.assert_array_equal(getattr(found, field.name), getattr(wanted, field.name))
            np.testing.assert_array_equal(getattr(nothing.of(kind), field.name), getattr(silent, field.name))


# ---- blocks


@few
@given(seed=SEEDS)
def test_every_row_of_a_block_is_a_row_of_its_table(seed: int) -> None:
    """With its own zone, tariff, class and reliability; the same rows, whoever makes the blocks."""
    problem = situation(seed)
    tables, _ = admit_columns(problem)
    setting, classes = Setting.of(problem), Classes.of(problem, tables)
    seen: Counter[tuple[ResourceKind, str]] = Counter()
    for block in blocks_of(problem, tables, classes, setting):
        members = block.members
        for zone, tariff, price_class, reliability, resource in zip(
            block.zone, members.tariff, members.price_class, members.reliability, members.resource, strict=True
        ):
            name = problem.fleet.resource_ids[resource]
            what = problem.attributes[name]
            assert problem.zones[zone] == what.zone_id
            assert setting.tariff_row[what.tariff_id] == tariff
            place = classes.aggregators.index(what.aggregator_id)
            assert price_class in classes.class_of[zone, place]
            assert reliability == what.reliability_fraction
            seen[block.pricer.kind, name] += 1
    assert seen == Counter(
        (kind, name) for kind, table in problem.fleet.tables.items() for name in table.columns["resource_id"].tolist()
    )


@few
@given(seed=SEEDS, per_charger=st.integers(1, 3))
def test_a_stay_is_alone_if_no_other_that_is_not_over_has_its_charger(seed: int, per_charger: int) -> None:
    problem = random_problem(
        seed, kinds=(ResourceKind.EV_SESSION,), resources=20, intervals=8, sessions_per_charger=per_charger
    )
    columns = dict(problem.fleet.tables[ResourceKind.EV_SESSION].columns)
    over = np.random.default_rng(seed).random(len(columns["departure"])) < 0.3
    edge = np.datetime64(problem.grid.start.replace(tzinfo=None), "us")
    columns["departure"] = np.where(over, edge - np.timedelta64(1, "h"), columns["departure"])
    columns["arrival"] = np.where(over, edge - np.timedelta64(3, "h"), columns["arrival"])
    fleet = Fleet({ResourceKind.EV_SESSION: ResourceTable(ResourceKind.EV_SESSION, columns)})
    problem = replace(problem, fleet=fleet)
    live = columns["departure"] > edge
    rows, still = Counter(columns["resource_id"].tolist()), Counter(columns["resource_id"][live].tolist())
    wanted = Counter(
        (name, (still if here else rows)[name] == 1) for name, here in zip(columns["resource_id"], live, strict=True)
    )
    tables = {ResourceKind.EV_SESSION: columns}
    found: Counter[tuple[str, bool]] = Counter()
    for block in blocks_of(problem, tables, Classes.of(problem, tables), Setting.of(problem)):
        names = [fleet.resource_ids[row] for row in block.members.resource]
        found.update(zip(names, block.members.alone.tolist(), strict=True))
    assert found == wanted


def plain_strata(zone: np.ndarray, size_kw: FloatArray, zone_kw: FloatArray) -> tuple[np.ndarray, np.ndarray]:
    """The order and the stratum of every place in it, by two sorts of everything."""
    dice = np.random.default_rng(7)
    order = np.lexsort((dice.random(len(zone)), -size_kw, zone))
    stratum, used = np.zeros(len(zone), dtype=np.int64), 0
    for z in np.unique(zone):
        rows = order[zone[order] == z]
        passed = np.cumsum(size_kw[rows])
        count = max(1, min(len(rows), round(STRATA * passed[-1] / zone_kw[z])))
        stratum[rows] = used + np.minimum((count * _depth(size_kw[rows])).astype(np.int64), count - 1)
        used += count
    order = np.lexsort((dice.random(len(zone)), stratum))
    return order, stratum[order]


@few
@given(seed=SEEDS, rows=st.integers(1, 400), zones=st.sampled_from([1, 3, 70_000]), ties=st.booleans())
def test_strata_in_counted_sorts_are_those_of_two_sorts_of_everything(
    seed: int,
    rows: int,
    zones: int,
    ties: bool,
) -> None:
    dice = np.random.default_rng(seed)
    zone = dice.integers(0, zones, rows)
    size_kw = dice.choice([1.0, 3.0, 11.0], rows) if ties else dice.uniform(1, 50, rows)
    zone_kw = np.zeros(zones)
    np.add.at(zone_kw, zone, size_kw * dice.uniform(1, 4))
    order, cells, strata = _strata(zone, size_kw, zone_kw, [7])
    wanted, stratum = plain_strata(zone, size_kw, zone_kw)
    assert order.tolist() == wanted.tolist()
    assert [first for first, _ in strata] == [0, *(np.flatnonzero(np.diff(stratum)) + 1).tolist()]
    assert [first for first, _ in cells] == [0, *(np.flatnonzero(np.diff(zone[order])) + 1).tolist()]
