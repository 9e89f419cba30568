"""The two large tables of a plan folder, read as columns: one row per resource and interval, none missing,
none twice.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from adapters.feeds.tables import find_table
from models.dispatch.problem import DispatchProblem
from models.errors import InputFault
from models.intervals import FloatArray

_TYPES = {
    "resource_id": pa.string(),
    "interval_start": pa.timestamp("us", tz="UTC"),
    "power_kw": pa.float64(),
    "energy_kwh": pa.float64(),
}
_SHOWN = 20


def read_schedule(
    folder: Path, name: str, problem: DispatchProblem, faults: list[InputFault]
) -> tuple[FloatArray, FloatArray]:
    """Power and energy (R, T) in the problem's order; NaN where energy is null; faults are added to ``faults``."""
    shape = (len(problem.fleet.resource_ids), len(problem.grid))
    power, energy = np.full(shape, np.nan), np.full(shape, np.nan)
    before = len(faults)
    path = find_table(folder, name, faults)
    if path is None:
        if len(faults) == before:
            faults.append(InputFault(name, "", None, "table is required"))
        return power, energy
    columns = _columns(path, faults)
    if columns is None:
        return power, energy
    rows, intervals = _places(path, columns, problem, faults)
    fine = (rows >= 0) & (intervals >= 0)
    place = rows * shape[1] + intervals
    twice = fine & pd.Series(np.where(fine, place, -1 - np.arange(len(place)))).duplicated().to_numpy()
    _note(faults, path, twice, "resource_id", columns["resource_id"], "resource and interval must occur once")
    values = columns["power_kw"]
    _note(faults, path, ~np.isfinite(values), "power_kw", values, "must be a finite number")
    levels = columns["energy_kwh"]
    _note(faults, path, np.isinf(levels), "energy_kwh", levels, "must be a finite number or null")
    power.ravel()[place[fine]] = values[fine]
    energy.ravel()[place[fine]] = levels[fine]
    written = np.zeros(shape, dtype=np.bool_)
    written.ravel()[place[fine]] = True
    for row, t in np.argwhere(~written)[:_SHOWN]:
        missing = f"{problem.fleet.resource_ids[row]} at {problem.grid.starts[t].isoformat()}"
        faults.append(InputFault(path.name, "resource_id", missing, "every resource needs a row in every interval"))
    return power, energy


def _note(faults: list[InputFault], path: Path, bad: Any, column: str, values: Any, rule: str) -> None:
    faults += [InputFault(path.name, column, values[k], rule, int(k) + 1) for k in np.flatnonzero(bad)[:_SHOWN]]


def _columns(path: Path, faults: list[InputFault]) -> dict[str, Any] | None:
    try:
        if path.suffix == ".csv":
            table = pa_csv.read_csv(path, convert_options=pa_csv.ConvertOptions(column_types=_TYPES))
        else:
            table = pq.read_table(path)
    except (pa.ArrowInvalid, OSError) as error:
        faults.append(InputFault(path.name, "", str(error), "must be a readable table"))
        return None
    wrong = [
        InputFault(path.name, column, None, "column is required")
        for column in _TYPES
        if column not in table.column_names
    ]
    wrong += [
        InputFault(path.name, column, str(table.schema.field(column).type), f"column type must be {kind}")
        for column, kind in _TYPES.items()
        if column in table.column_names and table.schema.field(column).type not in (kind, pa.null())
    ]
    if wrong or set(table.column_names) != set(_TYPES):
        extra = sorted(set(table.column_names) - set(_TYPES))
        faults += wrong + [InputFault(path.name, column, column, "unknown column") for column in extra]
        return None
    return {
        "resource_id": table.column("resource_id").to_numpy(zero_copy_only=False),
        "interval_start": table.column("interval_start").cast(pa.int64()).to_numpy(zero_copy_only=False),
        "power_kw": table.column("power_kw").cast(pa.float64()).to_numpy(zero_copy_only=False),
        "energy_kwh": table.column("energy_kwh").cast(pa.float64()).to_numpy(zero_copy_only=False),
    }


def _places(path: Path, columns: dict[str, Any], problem: DispatchProblem, faults: list[InputFault]) -> tuple[Any, Any]:
    """Row of the resource and index of the interval, -1 where unknown (and noted)."""
    rows = pd.Index(problem.fleet.resource_ids).get_indexer(pd.Index(columns["resource_id"]))
    starts = [round(start.timestamp() * 1e6) for start in problem.grid.starts]
    intervals = pd.Index(starts).get_indexer(pd.Index(columns["interval_start"]))
    _note(faults, path, rows < 0, "resource_id", columns["resource_id"], "must be a resource of the portfolio")
    stamps = columns["interval_start"].astype("datetime64[us]") if columns["interval_start"].dtype.kind == "i" else None
    shown = columns["interval_start"] if stamps is None else np.datetime_as_string(stamps, timezone="UTC")
    _note(faults, path, intervals < 0, "interval_start", shown, "must be an interval of the portfolio")
    return rows, intervals
