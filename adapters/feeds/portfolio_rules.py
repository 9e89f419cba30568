"""Rules between the rows and tables of a portfolio folder: identities, references, and what the market forbids."""

import itertools
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from adapters.feeds.portfolio_series import event_edge_is_fine
from adapters.feeds.portfolio_tables import RESOURCES
from adapters.feeds.tables import TableRows
from models.events import Event, ScopeKind
from models.intervals import IntervalGrid
from models.resources import Pillar

Tables = Mapping[str, TableRows]

_PROFILE_COLUMNS = ("baseline_profile", "available_profile", "run_profile")
_CHARGER_COLUMNS = (
    "aggregator_id",
    "zone_id",
    "meter_id",
    "pillar",
    "tariff_id",
    "reliability_fraction",
    "is_test",
)


def check_tables(tables: Tables, grid: IntervalGrid | None) -> frozenset[str]:
    """Note every fault between tables; returns the profiles that only runs use (they may be short)."""
    _identities(tables)
    _meters(tables)
    _overlapping_stays(tables["ev_sessions"])
    zones = {row.zone_id for _, row in tables["system"].rows}
    tariffs = {row.tariff_id for _, row in tables["tariffs"].rows}
    profiles = {row.profile_id for _, row in tables["profiles"].rows}
    for name in (spec.name for spec in RESOURCES.values()):
        table = tables[name]
        _references(table, "zone_id", zones, "must be a zone of the system table")
        _references(table, "tariff_id", tariffs, "must be a tariff of the tariffs table")
        for column in _PROFILE_COLUMNS:
            _references(table, column, profiles, "must be a profile of the profiles table")
    _references(tables["areas"], "zone_id", zones, "must be a zone of the system table")
    _curtailment_price(tables)
    resources = {row.resource_id for _, row in _resources(tables)}
    _references(tables["state"], "resource_id", resources, "must be a resource of this folder")
    _unique(tables["state"], ("resource_id",))
    _unique(tables["areas"], ("area_id", "zone_id"))
    _unique(tables["events"], ("event_id",))
    _unique(tables["commitments"], ("event_id", "aggregator_id", "interval_start"))
    _events(tables, grid, zones)
    _commitments(tables, grid)
    whole = {
        getattr(row, column, None)
        for _, row in _resources(tables)
        for column in ("baseline_profile", "available_profile")
    }
    runs = {row.run_profile for _, row in tables["shiftable_loads"].rows if row.run_profile is not None}
    return frozenset(runs - whole)


def _resources(tables: Tables) -> Iterable[tuple[int, Any]]:
    for spec in RESOURCES.values():
        yield from tables[spec.name].rows


def _unique(table: TableRows, columns: tuple[str, ...]) -> None:
    first: dict[tuple[Any, ...], int] = {}
    for row, value in table.rows:
        key = tuple(getattr(value, column) for column in columns)
        if first.setdefault(key, row) != row:
            shown = ", ".join(_shown(part) for part in key)
            table.fault(
                row,
                columns[0],
                shown,
                f"{' + '.join(columns)} must occur once, is in row {first[key]} already",
            )


def _shown(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _references(table: TableRows, column: str, known: set[str], rule: str) -> None:
    for row, value in table.rows:
        named = getattr(value, column, None)
        if named is not None and named not in known:
            table.fault(row, column, named, rule)


def _identities(tables: Tables) -> None:
    """A resource id names one resource; a charger may have several stays, which then agree on the charger."""
    first: dict[str, tuple[str, int, Any]] = {}
    for spec in RESOURCES.values():
        table = tables[spec.name]
        for row, value in table.rows:
            name = value.resource_id
            where, at, other = first.setdefault(name, (table.file, row, value))
            if where == table.file and at == row:
                continue
            if where != table.file or spec.name != "ev_sessions":
                table.fault(row, "resource_id", name, f"must be unique, is in {where} row {at} already")
                continue
            for column in _CHARGER_COLUMNS:
                if getattr(value, column) != getattr(other, column):
                    rule = f"stays at one charger must agree, row {at} says {getattr(other, column)}"
                    table.fault(row, column, getattr(value, column), rule)
    _unique(tables["ev_sessions"], ("session_id",))


def _overlapping_stays(table: TableRows) -> None:
    stays = sorted(table.rows, key=lambda item: (item[1].resource_id, item[1].arrival))
    for (row, before), (later_row, after) in itertools.pairwise(stays):
        if before.resource_id == after.resource_id and after.arrival < before.departure:
            rule = f"stays at one charger must not overlap, row {row} departs {before.departure.isoformat()}"
            table.fault(later_row, "arrival", after.arrival.isoformat(), rule)


def _meters(tables: Tables) -> None:
    """One meter account belongs to one aggregator."""
    owner: dict[str, tuple[str, str, int]] = {}
    for spec in RESOURCES.values():
        table = tables[spec.name]
        for row, value in table.rows:
            name, where, at = owner.setdefault(value.meter_id, (value.aggregator_id, table.file, row))
            if name != value.aggregator_id:
                rule = f"a meter account belongs to one aggregator; {name} has it in {where} row {at}"
                table.fault(row, "meter_id", value.meter_id, rule)


def _curtailment_price(tables: Tables) -> None:
    """A curtailable load cheaper than its dearest hour would be cut every day and sold as response."""
    highest: dict[str, float] = {}
    for _, row in tables["tariffs"].rows:
        highest[row.tariff_id] = max(row.price_per_kwh, highest.get(row.tariff_id, row.price_per_kwh))
    table = tables["curtailable_loads"]
    for row, value in table.rows:
        limit = highest.get(value.tariff_id)
        if limit is not None and value.cost_per_kwh < limit:
            rule = f"must be at least the highest price of {value.tariff_id} ({limit:g})"
            table.fault(row, "cost_per_kwh", value.cost_per_kwh, rule)


def _events(tables: Tables, grid: IntervalGrid | None, zones: set[str]) -> None:
    table = tables["events"]
    scopes: dict[ScopeKind, set[str]] = {
        ScopeKind.AREA: {row.area_id for _, row in tables["areas"].rows},
        ScopeKind.ZONE: zones,
        ScopeKind.AGGREGATOR: {row.aggregator_id for _, row in _resources(tables)},
        ScopeKind.PILLAR: {pillar.value for pillar in Pillar},
    }
    for row, event in table.rows:
        known = scopes.get(event.scope_kind)
        if known is not None and event.scope_id not in known:
            table.fault(row, "scope_id", event.scope_id, f"must name a known {event.scope_kind.value}")
        for column, moment in (("start", event.start), ("end", event.end)):
            if grid is not None and not event_edge_is_fine(moment, grid):
                table.fault(row, column, moment.isoformat(), "must lie on an interval edge")


def _commitments(tables: Tables, grid: IntervalGrid | None) -> None:
    table = tables["commitments"]
    events: dict[str, Event] = {row.event_id: row for _, row in tables["events"].rows}
    aggregators = {row.aggregator_id for _, row in _resources(tables)}
    _references(table, "event_id", set(events), "must be an event of the events table")
    _references(table, "aggregator_id", aggregators, "must be an aggregator of this folder")
    starts = None if grid is None else set(grid.starts)
    for row, value in table.rows:
        event = events.get(value.event_id)
        shown = value.interval_start.isoformat()
        if starts is not None and value.interval_start not in starts:
            table.fault(row, "interval_start", shown, "must be an interval of the system table")
        elif event is not None and not event.start <= value.interval_start < event.end:
            table.fault(row, "interval_start", shown, "must lie in the window of its event")
