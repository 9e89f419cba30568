"""The one baseline table b of a market day, put on other grids."""

from collections.abc import Sequence
from datetime import timedelta

import numpy as np

from models.intervals import FloatArray, IntervalGrid
from models.records import BaselineTable

Rows = tuple[IntervalGrid, Sequence[str], FloatArray]
"""A grid, whose rows, and their values on it, (R, T)."""


def baseline_on(table: BaselineTable, grid: IntervalGrid) -> dict[str, FloatArray]:
    """Every resource's b on another grid (finer intervals inherit the mean power), NaN where the table ends."""
    return _named(table.resource_ids, grid.mean_from(table.grid, table.baseline_kw))


def merged_rows(tables: Sequence[Rows], grid: IntervalGrid) -> dict[str, FloatArray]:
    """Every resource's values on ``grid``, (T,), from several tables in their order: where a later one says anything
    it wins; NaN where none does.
    """
    merged: dict[str, FloatArray] = {}
    ids: tuple[str, ...] = ()
    values: FloatArray = np.empty((0, len(grid)))
    for own_grid, own_ids, own in tables:
        moved = grid.mean_from(own_grid, own)
        if not merged or tuple(own_ids) != ids:
            merged |= _named(ids, values)
            row_of = {name: row for row, name in enumerate(own_ids)}
            known = np.full(moved.shape, np.nan)
            for name in merged.keys() & row_of.keys():
                known[row_of[name]] = merged[name]
            ids, values = tuple(own_ids), known
        values = np.asarray(np.where(np.isnan(moved), values, moved))
        merged |= _named(ids, values)
    return merged


def merged_baseline(tables: Sequence[BaselineTable], grid: IntervalGrid) -> dict[str, FloatArray]:
    """Baseline on ``grid`` from the tables of several market days, in their order: a later day wins where it begins.

    Beyond the last table b is what it is a day earlier: good enough for the far end of a horizon, and never judged.
    """
    merged = merged_rows([(table.grid, table.resource_ids, table.baseline_kw) for table in tables], grid)
    if tables and grid.end > tables[-1].grid.end:
        day_earlier = IntervalGrid(tuple(edge - timedelta(days=1) for edge in grid.edges))
        for name, values in baseline_on(tables[-1], day_earlier).items():
            merged[name] = np.where(np.isnan(merged[name]), values, merged[name])
    if not merged:
        return {}
    complete = ~np.isnan(np.array(list(merged.values()))).any(axis=1)
    return {name: values for (name, values), whole in zip(merged.items(), complete.tolist(), strict=True) if whole}


def _named(ids: Sequence[str], values: FloatArray) -> dict[str, FloatArray]:
    return dict(zip(ids, values, strict=True))
