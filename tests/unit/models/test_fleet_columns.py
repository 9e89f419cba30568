"""A fleet as columns: rows go in and come out the same, whatever the kind and whatever is not given."""

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.fleet import Fleet, ResourceTable, column_types
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
