"""Parts of a plan folder: its prices, its penalties, and the schedule of one resource, without reading the others'."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from adapters.feeds.plan_tables import BASELINE, PRICES, SETPOINTS
from adapters.feeds.plan_writing import SUMMARY
from adapters.feeds.tables import find_table, read_table, require_folder
from models.errors import InputFault, PortfolioError
from models.intervals import FloatArray, IntervalGrid
from models.plan import RequirementAmount

_COLUMNS = ["resource_id", "interval_start", "power_kw"]
_TYPES = {"resource_id": pa.string(), "interval_start": pa.timestamp("us", tz="UTC"), "power_kw": pa.float64()}


def read_prices(folder: Path) -> tuple[RequirementAmount, ...]:
    """The ``prices`` table; ``PortfolioError`` with every fault."""
    require_folder(folder)
    path = _find(folder, PRICES.name)
    table = read_table(path, PRICES)
    if table.faults:
        raise PortfolioError(table.faults)
    return tuple(
        RequirementAmount(
            row.requirement, row.scope_kind, row.scope_id, row.interval_start, row.price_per_kwh, row.event_id
        )
        for _, row in table.rows
    )


def read_penalties(folder: Path) -> dict[str, float]:
    """The penalties that the plan was made with, by name, from ``summary.json``."""
    require_folder(folder)
    try:
        summary = json.loads((folder / SUMMARY).read_text("utf-8"))
        return {str(name): float(value) for name, value in summary["penalties"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise PortfolioError([InputFault(SUMMARY, "penalties", str(error), "must be a JSON object")]) from error


def read_one_schedule(folder: Path, grid: IntervalGrid, resource_id: str) -> tuple[FloatArray, FloatArray]:
    """(power, baseline) of one resource, (T,) each, in kW.

    ``PortfolioError`` if the plan does not have it, or not in every interval of the grid once.
    """
    require_folder(folder)
    return _one(folder, SETPOINTS.name, grid, resource_id), _one(folder, BASELINE.name, grid, resource_id)


def _one(folder: Path, name: str, grid: IntervalGrid, resource_id: str) -> FloatArray:
    path = _find(folder, name)
    try:
        rows = _rows_of(path, resource_id)
    except (pa.ArrowInvalid, pa.ArrowKeyError, OSError) as error:
        raise PortfolioError([InputFault(path.name, "", str(error), "must be a readable table")]) from error
    if not rows.num_rows:
        raise PortfolioError([InputFault(path.name, "resource_id", resource_id, "must be a resource of the plan")])
    place = {start: t for t, start in enumerate(grid.starts)}
    starts = rows.column("interval_start").cast(_TYPES["interval_start"]).to_pylist()
    values = rows.column("power_kw").cast(pa.float64()).to_numpy(zero_copy_only=False)
    found = np.full(len(grid), np.nan)
    for start, value in zip(starts, values, strict=True):
        t = place.get(start)
        if t is None or not np.isnan(found[t]):
            rule = "must be an interval of the portfolio, once for each resource"
            raise PortfolioError([InputFault(path.name, "interval_start", str(start), rule)])
        found[t] = value
    if not np.isfinite(found).all():
        rule = f"{resource_id} needs a finite power in every interval"
        raise PortfolioError([InputFault(path.name, "power_kw", int(np.isfinite(found).sum()), rule)])
    return found


def _rows_of(path: Path, resource_id: str) -> pa.Table:
    if path.suffix == ".csv":
        options = pa_csv.ConvertOptions(column_types=_TYPES, include_columns=_COLUMNS)
        table = pa_csv.read_csv(path, convert_options=options)
        return table.filter(pc.equal(table.column("resource_id"), resource_id))
    # row groups whose smallest and largest id exclude this one are never read
    return pq.read_table(path, columns=_COLUMNS, filters=[("resource_id", "=", resource_id)])


def _find(folder: Path, name: str) -> Path:
    faults: list[InputFault] = []
    path = find_table(folder, name, faults)
    if path is None:
        raise PortfolioError(faults or [InputFault(name, "", None, "table is required")])
    return path
