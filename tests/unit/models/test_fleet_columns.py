"""A fleet as columns: rows go in and come out the same, whatever the kind and whatever is not given."""

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.fleet import Column, Fleet, ResourceTable, column_types, numbered
from models.resources import RESOURCE_TYPES, Pillar, ResourceKind
from tests.fleets import random_problem
from tests.strategies import OF_KIND, resources

SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large]


@pytest.mark.parametrize("kind", list(ResourceKind))
@given(data=st.data())
@settings(max_examples=20, deadline=None, suppress_health_check=SLOW)
def test_rows_become_columns_and_rows_again(kind: ResourceKind, data: st.DataObject) -> None:
    rows = data.draw(st.lists(OF_KIND[kind], max_size=4))
    table = ResourceTable.from_rows(kind, rows)
    assert len(table) == len(rows)
    assert all(len(column) == len(rows) for column in table.columns.values())
    again = list(table.rows())
    assert again == rows
    for row in again:  # what comes out is as good as what was validated
        assert isinstance(row.pillar, Pillar)
        assert RESOURCE_TYPES[kind].model_validate(row.model_dump()) == row


@given(st.lists(resources(), max_size=8))
@settings(max_examples=30, deadline=None, suppress_health_check=SLOW)
def test_a_fleet_keeps_every_row_and_names_every_resource_once_in_byte_order(rows: list[Any]) -> None:
    fleet = Fleet.from_rows(rows)
    assert len(fleet) == len(rows)
    assert list(fleet.rows()) == sorted(rows, key=lambda row: list(ResourceKind).index(row.kind))
    assert list(fleet.resource_ids) == sorted({row.resource_id for row in rows}, key=str.encode)
    for kind in ResourceKind:
        assert list(fleet.rows(kind)) == [row for row in rows if row.kind is kind]


def test_what_is_not_given_is_nan_nat_or_empty_in_columns() -> None:
    rows = [row for row in random_problem(3, resources=24).fleet.rows() if row.kind is ResourceKind.EV_SESSION]
    bare = [row.model_copy(update={"discharge_limit_kw": 0.0, "battery_capacity_kwh": None}) for row in rows]
    assert np.isnan(ResourceTable.from_rows(ResourceKind.EV_SESSION, bare).columns["battery_capacity_kwh"]).all()
    loads = [row for row in random_problem(3, resources=24).fleet.rows() if row.kind is ResourceKind.SHIFTABLE_LOAD]
    bare = [row.model_copy(update={"preferred_start": None, "run_profile": None}) for row in loads]
    columns = ResourceTable.from_rows(ResourceKind.SHIFTABLE_LOAD, bare).columns
    assert np.isnat(columns["preferred_start"]).all()
    assert set(columns["run_profile"]) == {""}


def test_every_column_has_a_plain_type() -> None:
    types = column_types(ResourceKind.SHIFTABLE_LOAD)
    assert types["preferred_start"].__name__ == types["window_start"].__name__ == "datetime"
    assert (types["run_profile"], types["energy_kwh"], types["is_test"]) == (str, float, bool)
    assert column_types(ResourceKind.CURTAILABLE_LOAD)["calls_per_day"] is int
    assert all("kind" not in column_types(kind) for kind in ResourceKind)


@given(st.lists(resources(), max_size=8), st.integers(0, 1000))
@settings(max_examples=30, deadline=None, suppress_health_check=SLOW)
def test_every_row_of_a_table_finds_its_resource(rows: list[Any], seed: int) -> None:
    """Also where a charger has several stays, and whatever the order of the rows."""
    several = [*rows, *(row for row in rows if row.kind is ResourceKind.EV_SESSION)]
    fleet = Fleet.from_rows([several[k] for k in np.random.default_rng(seed).permutation(len(several))])
    for kind, table in fleet.tables.items():
        found = [fleet.resource_ids[row] for row in fleet.rows_of(kind)]
        assert found == table.columns["resource_id"].tolist()


def test_a_fleet_of_nobody_has_no_resources() -> None:
    assert Fleet({}).resource_ids == ()
    empty = Fleet({ResourceKind.PV: ResourceTable.from_rows(ResourceKind.PV, [])})
    assert empty.resource_ids == ()
    assert empty.rows_of(ResourceKind.PV).size == 0


def column_of(names: list[Any]) -> Column:
    column = np.empty(len(names), dtype=object)
    column[:] = names
    return column


@given(st.lists(st.sampled_from(["", "a", "b", "ä", "a name"]), max_size=20))
def test_numbers_stand_for_the_values_of_a_column(names: list[str]) -> None:
    numbers, values = numbered(column_of(names))
    assert numbers.dtype == np.int64
    assert [values[number] for number in numbers] == names
    assert values == list(dict.fromkeys(names))


@pytest.mark.parametrize("nothing", [None, float("nan")])
def test_a_column_of_names_has_no_holes(nothing: Any) -> None:
    with pytest.raises(ValueError, match="row 1"):
        numbered(column_of(["a", nothing, "b"]))
