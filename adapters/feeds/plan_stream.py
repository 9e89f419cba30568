"""A plan folder read as a stream: its two large tables block by block, for schedules that do not fit in memory.

That needs tables whose rows stand in byte order of the resource and then in order of time, as ``plan_writing`` writes
them.  The order is no rule of plan folders, though: where a table turns out to be in another one, or wrong in any way,
the whole of it is read as ``read_plan`` does, which names every fault.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from adapters.feeds.plan_folder import read_head
from adapters.feeds.plan_schedule import read_schedule
from adapters.feeds.plan_tables import BASELINE, SETPOINTS
from adapters.feeds.tables import find_table
from models.dispatch.problem import DispatchProblem
from models.errors import InputFault, PortfolioError
from models.intervals import FloatArray, IntervalGrid
from models.plan import Admission, PlanSource, RequirementAmount, relative_gap
from models.plan_stream import BLOCK_ROWS, PlanBlock

Tables = tuple[FloatArray, FloatArray]
"""Power and energy of n resources, (n, T) each."""

_NAMES = ("resource_id", "interval_start", "power_kw", "energy_kwh")
_START_TYPE = pa.timestamp("us", tz="UTC")


@dataclass(frozen=True)
class FolderStream:
    """The plan of a folder as a ``PlanStream``; the fields are those of ``DispatchPlan``."""

    folder: Path
    problem: DispatchProblem
    status: str
    source: PlanSource
    objective_cny: float
    baseline_cost_cny: float
    lower_bound_cny: float
    iterations: int
    wall_s: float
    penalties: dict[str, float]
    unmet: tuple[RequirementAmount, ...]
    prices: tuple[RequirementAmount, ...]
    admissions: tuple[Admission, ...]
    peak_rss_mb: float
    made_at: datetime | None = None

    @property
    def grid(self) -> IntervalGrid:
        """The problem's grid: a table on another one is a fault."""
        return self.problem.grid

    @property
    def resource_ids(self) -> tuple[str, ...]:
        """The problem's resources: a table of others is a fault."""
        return self.problem.fleet.resource_ids

    @property
    def gap(self) -> float:
        """Gap by the rule of ``DispatchPlan``."""
        return relative_gap(self.objective_cny, self.lower_bound_cny, self.baseline_cost_cny)

    def blocks(self, rows: int = BLOCK_ROWS) -> Iterator[PlanBlock]:
        """The schedules in byte order of the ids, at most ``rows`` resources at a time.

        ``PortfolioError`` names every fault of the first table that has any.
        """
        setpoints = _tables(self.folder, SETPOINTS.name, self.problem, rows)
        baseline = _tables(self.folder, BASELINE.name, self.problem, rows)
        first = 0
        for (power_kw, energy_kwh), (baseline_kw, baseline_energy_kwh) in zip(setpoints, baseline, strict=True):
            names = self.resource_ids[first : first + len(power_kw)]
            first += len(names)
            yield PlanBlock(names, power_kw, energy_kwh, baseline_kw, baseline_energy_kwh)


def open_plan_stream(folder: Path, problem: DispatchProblem) -> FolderStream:
    """The plan of a folder, on the problem's grid and resources, with its schedules left on disk until asked for.

    ``PortfolioError`` names every fault of the summary and the small tables; those of the schedules come with them.
    """
    faults: list[InputFault] = []
    head = read_head(folder, faults)
    for spec in (SETPOINTS, BASELINE):
        before = len(faults)
        if find_table(folder, spec.name, faults) is None and len(faults) == before:
            faults.append(InputFault(spec.name, "", None, "table is required"))
    if faults:
        raise PortfolioError(faults)
    return FolderStream(folder, problem, **head)


def _tables(folder: Path, name: str, problem: DispatchProblem, rows: int) -> Iterator[Tables]:
    """Power and energy of all resources, ``rows`` of them at a time (fewer at the end)."""
    done, total = 0, len(problem.fleet.resource_ids)
    path = folder / f"{name}.parquet"
    if path.is_file():
        for tables in _in_order(path, problem, rows):
            if tables is None:
                break
            yield tables
            done += len(tables[0])
        else:
            return
    faults: list[InputFault] = []
    power_kw, energy_kwh = read_schedule(folder, name, problem, faults)
    if faults:
        raise PortfolioError(faults)
    for first in range(done, total, rows):
        yield power_kw[first : first + rows], energy_kwh[first : first + rows]


def _in_order(path: Path, problem: DispatchProblem, rows: int) -> Iterator[Tables | None]:
    """The same from a table in order; None, and nothing more, as soon as it is not what it should be."""
    names, count = problem.fleet.resource_ids, len(problem.grid)
    starts = np.array([start.replace(tzinfo=None) for start in problem.grid.starts], dtype="datetime64[us]")
    done = 0
    try:
        with pq.ParquetFile(path, read_dictionary=["resource_id"]) as file:
            if not _readable(file.schema_arrow):
                yield None
                return
            for part in _parts(file, rows * count):
                wanted = names[done : done + rows]
                tables = _block(part, wanted, starts)
                yield tables
                if tables is None:
                    return
                done += len(wanted)
    except (pa.ArrowInvalid, OSError):
        yield None
        return
    if done < len(names):
        yield None


def _readable(schema: pa.Schema) -> bool:
    if tuple(sorted(schema.names)) != tuple(sorted(_NAMES)):
        return False
    name, start, power, energy = (schema.field(column).type for column in _NAMES)
    is_name = pa.types.is_string(name) or (pa.types.is_dictionary(name) and pa.types.is_string(name.value_type))
    return bool(is_name and start == _START_TYPE and power == pa.float64() and energy in (pa.float64(), pa.null()))


def _parts(file: pq.ParquetFile, size: int) -> Iterator[pa.Table]:
    """The rows of a file in parts of ``size`` (fewer at the end), whatever its row groups are."""
    waiting: list[pa.RecordBatch] = []
    held = 0
    for arrived in file.iter_batches(batch_size=size, columns=list(_NAMES)):
        batch = arrived
        while held + batch.num_rows >= size:
            rest = size - held
            yield pa.Table.from_batches([*waiting, batch.slice(0, rest)])
            batch, waiting, held = batch.slice(rest), [], 0
        if batch.num_rows:
            waiting.append(batch)
            held += batch.num_rows
    if waiting:
        yield pa.Table.from_batches(waiting)


def _block(part: pa.Table, names: tuple[str, ...], starts: np.ndarray) -> Tables | None:
    """The schedules of ``names`` from their rows; None if these are not exactly the rows that they must have."""
    shape = (len(names), len(starts))
    if (
        part.num_rows != shape[0] * shape[1]
        or part.column("power_kw").null_count
        or part.column("resource_id").null_count
    ):
        return None
    ids = part.unify_dictionaries().column("resource_id").combine_chunks()
    if isinstance(ids, pa.ChunkedArray):
        ids = ids.chunk(0)
    codes = ids.indices.to_numpy().reshape(shape)
    moments = part.column("interval_start").to_numpy().astype("datetime64[us]").reshape(shape)
    same = (codes == codes[:, :1]).all() and (moments == starts).all()
    if not same or tuple(ids.dictionary.take(pa.array(codes[:, 0])).to_pylist()) != names:
        return None
    power_kw = part.column("power_kw").to_numpy().reshape(shape)
    energy_kwh = part.column("energy_kwh").cast(pa.float64()).to_numpy().reshape(shape)
    if not np.isfinite(power_kw).all() or np.isinf(energy_kwh).any():
        return None
    return power_kw, energy_kwh
