"""The one baseline table b of a market day, put on other grids."""

from collections.abc import Sequence
from datetime import timedelta

import numpy as np

from models.intervals import FloatArray, IntervalGrid
from models.records import BaselineTable


def baseline_on(table: BaselineTable, grid: IntervalGrid) -> dict[str, FloatArray]:
    """Every resource's b on another grid (finer intervals inherit the mean power), NaN where the table ends."""
    values = grid.mean_from(table.grid, table.baseline_kw)
    return {name: values[row] for row, name in enumerate(table.resource_ids)}


def merged_baseline(tables: Sequence[BaselineTable], grid: IntervalGrid) -> dict[str, FloatArray]:
    """Baseline on ``grid`` from the tables of several market days, in their order: a later day wins where it begins.

    Beyond the last table b is what it is a day earlier: good enough for the far end of a horizon, and never judged.
    """
    merged: dict[str, FloatArray] = {}
    for table in tables:
        for name, values in baseline_on(table, grid).items():
            known = merged.get(name)
            merged[name] = values if known is None else np.where(np.isnan(values), known, values)
    if tables and grid.end > tables[-1].grid.end:
        day_earlier = IntervalGrid(tuple(edge - timedelta(days=1) for edge in grid.edges))
        for name, values in baseline_on(tables[-1], day_earlier).items():
            merged[name] = np.where(np.isnan(merged[name]), values, merged[name])
    return {name: values for name, values in merged.items() if not np.isnan(values).any()}
