"""Time series of a portfolio folder: the grid, and every tariff, profile and zone on it without holes or doubles."""

import itertools
from collections import defaultdict
from datetime import datetime
from typing import Any

import numpy as np

from adapters.feeds.tables import TableRows
from models.intervals import FloatArray, IntervalGrid


def grid_of(system: TableRows, hint: IntervalGrid | None) -> IntervalGrid | None:
    """The grid of the ``system`` table, None (with the fault noted) if it has none.

    Without ``interval_end`` the spacing is the smallest step; a missing interval is then found as a hole.
    """
    rows = system.rows
    if not rows:
        if not system.faults:
            system.fault(None, "interval_start", None, "must have at least one interval")
        return hint
    first_row: dict[datetime, int] = {}
    for row, value in rows:
        first_row.setdefault(value.interval_start, row)
    starts = sorted(first_row)
    with_end = [value.interval_end is not None for _, value in rows]
    if any(with_end) and not all(with_end):
        system.fault(rows[with_end.index(False)][0], "interval_end", None, "must be given in every row or in none")
        return None
    edges = _edges_with_end(system, starts) if all(with_end) else _edges_by_step(system, starts, first_row, hint)
    if edges is None:
        return None
    grid = IntervalGrid(tuple(edges))
    if hint is not None and hint.edges != grid.edges:
        system.fault(
            None,
            "interval_start",
            f"{grid.start} to {grid.end}",
            "must have the intervals that were asked for",
        )
    return grid


def _edges_with_end(system: TableRows, starts: list[datetime]) -> list[datetime] | None:
    following = dict(itertools.pairwise(starts))
    ends: dict[datetime, datetime] = {}
    fine = True
    for row, value in system.rows:
        start, end = value.interval_start, value.interval_end
        if end <= start:
            system.fault(row, "interval_end", end.isoformat(), "must be later than interval_start")
            fine = False
        elif end != ends.setdefault(start, end):
            system.fault(row, "interval_end", end.isoformat(), "must be the same for equal interval_start")
            fine = False
        elif start in following and end != following[start]:
            rule = f"must be the next interval_start ({following[start].isoformat()}): no holes, no overlap"
            system.fault(row, "interval_end", end.isoformat(), rule)
            fine = False
    return [*starts, ends[starts[-1]]] if fine else None


def _edges_by_step(
    system: TableRows, starts: list[datetime], first_row: dict[datetime, int], hint: IntervalGrid | None
) -> list[datetime] | None:
    if len(starts) == 1:
        if hint is not None and hint.starts == tuple(starts):
            return list(hint.edges)
        system.fault(1, "interval_end", None, "is required when there is one interval only")
        return None
    steps = [after - before for before, after in itertools.pairwise(starts)]
    usual = max(set(steps), key=steps.count)
    fine = True
    for start, step in zip(starts[1:], steps, strict=True):
        if step != usual:
            rule = f"must follow {usual} after the interval before it: equal spacing, or give interval_end"
            system.fault(first_row[start], "interval_start", start.isoformat(), rule)
            fine = False
    return [*starts, starts[-1] + usual] if fine else None


def _by_name(table: TableRows, name_column: str) -> dict[str, list[tuple[int, Any]]]:
    found: dict[str, list[tuple[int, Any]]] = defaultdict(list)
    for row, value in table.rows:
        found[getattr(value, name_column)].append((row, value))
    return found


def _placed(
    table: TableRows, grid: IntervalGrid, rows: list[tuple[int, Any]], value_column: str
) -> tuple[FloatArray, int]:
    """Values on the grid (NaN where absent) and how many were placed; foreign times and doubles are noted."""
    index = {start: t for t, start in enumerate(grid.starts)}
    values = np.full(len(grid), np.nan)
    placed: set[int] = set()
    for row, value in rows:
        t = index.get(value.interval_start)
        shown = value.interval_start.isoformat()
        if t is None:
            table.fault(row, "interval_start", shown, "must be an interval of the system table")
        elif t in placed:
            table.fault(row, "interval_start", shown, "must occur once")
        elif value.interval_end is not None and value.interval_end != grid.ends[t]:
            table.fault(
                row,
                "interval_end",
                value.interval_end.isoformat(),
                "must be the end of that interval in system",
            )
        else:
            placed.add(t)
            number = getattr(value, value_column)
            values[t] = np.inf if number is None else number
    return values, len(placed)


def series_of(
    table: TableRows, grid: IntervalGrid, name_column: str, value_column: str, may_be_short: frozenset[str]
) -> dict[str, FloatArray]:
    """Name → (T,) of every series that is to cover the horizon; a hole is a fault.  ``may_be_short`` are left out."""
    found: dict[str, FloatArray] = {}
    for name, rows in _by_name(table, name_column).items():
        if name in may_be_short:
            continue
        found[name], _ = _placed(table, grid, rows, value_column)
        _note_hole(table, grid, name, found[name])
    return found


def _note_hole(table: TableRows, grid: IntervalGrid, name: str, values: FloatArray) -> None:
    holes = np.flatnonzero(np.isnan(values))
    if holes.size and not table.faults:
        first = grid.starts[int(holes[0])].isoformat()
        rule = f"{name} must have every interval of the horizon ({holes.size} missing, the first is this)"
        table.fault(None, "interval_start", first, rule)


def run_profiles_of(table: TableRows, grid: IntervalGrid, names: frozenset[str]) -> dict[str, FloatArray]:
    """Name → (K,) of every run profile: its K rows are the first K intervals of the horizon."""
    found: dict[str, FloatArray] = {}
    for name, rows in _by_name(table, "profile_id").items():
        if name not in names:
            continue
        quiet = TableRows(table.file)
        values, count = _placed(quiet, grid, rows, "value")
        table.faults += [fault for fault in quiet.faults if fault not in table.faults]
        if not quiet.faults and np.isnan(values[:count]).any():
            hole = grid.starts[int(np.flatnonzero(np.isnan(values))[0])].isoformat()
            table.fault(rows[0][0], "interval_start", hole, f"run {name} must fill the first intervals of the horizon")
        found[name] = values[:count]
    return found


def zone_series_of(system: TableRows, grid: IntervalGrid) -> tuple[tuple[str, ...], FloatArray, FloatArray]:
    """Zones in the order of their first row, their load and their limit, (Z, T)."""
    by_zone = _by_name(system, "zone_id")
    zones = tuple(by_zone)
    load, limit = np.full((2, len(zones), len(grid)), np.nan)
    for z, zone in enumerate(zones):
        load[z], _ = _placed(system, grid, by_zone[zone], "load_forecast_kw")
        limit[z], _ = _placed(TableRows(system.file), grid, by_zone[zone], "limit_kw")
        _note_hole(system, grid, zone, load[z])
    return zones, load, limit


def event_edge_is_fine(moment: datetime, grid: IntervalGrid) -> bool:
    """True if the moment lies on an interval edge, or outside the horizon."""
    if not grid.start < moment < grid.end:
        return True
    return moment in grid.edges
