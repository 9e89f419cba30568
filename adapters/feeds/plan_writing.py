"""The tables of a plan folder, written block by block: memory does not grow with the fleet beyond its ids.

Blocks come in byte order of the resource ids, so that sums per group and fingerprints are finished when the last
block is; the two schedule tables are written side by side, since compressing them is most of the work.
"""

import hashlib
import json
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from adapters.feeds.plan_tables import ADMISSIONS, AGGREGATE, BASELINE, PRICES, SETPOINTS, UNMET
from adapters.feeds.tables import TableSpec, write_table
from models.dispatch.problem import DispatchProblem
from models.fleet import Fleet
from models.intervals import FloatArray, IntervalGrid
from models.plan import DispatchPlan, RequirementAmount
from models.plan_stream import BLOCK_ROWS, PlanBlock, PlanHead, PlanStream, plan_blocks

SUMMARY = "summary.json"

_SCHEDULE = pa.schema(
    [
        ("resource_id", pa.dictionary(pa.int32(), pa.string())),
        ("interval_start", pa.timestamp("us", tz="UTC")),
        ("power_kw", pa.float64()),
        ("energy_kwh", pa.float64()),
    ]
)
_REPEATING = ["resource_id", "interval_start"]
_GROUPED_BY = ("zone_id", "aggregator_id", "pillar")


def write_plan(folder: Path, plan: DispatchPlan, problem: DispatchProblem, violations: int) -> None:
    """Write the plan's tables (Parquet) and its summary into ``folder``; an older plan in it is replaced."""
    _write_folder(folder, plan, plan_blocks(plan), problem, violations)


def write_plan_stream(
    folder: Path, stream: PlanStream, problem: DispatchProblem, violations: int, *, rows: int = BLOCK_ROWS
) -> None:
    """The same for a plan that is made ``rows`` resources at a time; at most two blocks are in memory."""
    _write_folder(folder, stream, stream.blocks(rows), problem, violations)


def _write_folder(
    folder: Path, head: PlanHead, blocks: Iterator[PlanBlock], problem: DispatchProblem, violations: int
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / SUMMARY).unlink(missing_ok=True)  # a folder without it is not a plan: it is written last
    for spec in (BASELINE, SETPOINTS, AGGREGATE, UNMET, PRICES, ADMISSIONS):
        (folder / f"{spec.name}.csv").unlink(missing_ok=True)
    sums = _Sums(head, problem.fleet)
    hashes = _write_schedules(folder, head.grid, blocks, sums)
    _write(folder, AGGREGATE, sums.columns())
    _write(folder, UNMET, _requirements("amount_kw", head.unmet))
    _write(folder, PRICES, _requirements("price_per_kwh", head.prices))
    rows = head.admissions
    _write(folder, ADMISSIONS, {name: [getattr(row, name) for row in rows] for name in ADMISSIONS.columns})
    summary = _summary(head, violations, *hashes)
    (folder / SUMMARY).write_text(json.dumps(summary, indent=2, allow_nan=False) + "\n", "utf-8")


def _write_schedules(folder: Path, grid: IntervalGrid, blocks: Iterator[PlanBlock], sums: "_Sums") -> tuple[str, str]:
    """Both schedule tables; returns ``plan_hash`` and ``baseline_hash``."""
    with (
        _ScheduleTable(folder, BASELINE, grid) as baseline,
        _ScheduleTable(folder, SETPOINTS, grid) as setpoints,
        ThreadPoolExecutor(2) as writers,
    ):
        under_way: list[Future[None]] = []
        for block in blocks:
            for done in under_way:
                done.result()
            names = block.resource_ids
            under_way = [
                writers.submit(baseline.add, names, block.baseline_kw, block.baseline_energy_kwh),
                writers.submit(setpoints.add, names, block.power_kw, block.energy_kwh),
            ]
            sums.add(block)
        for done in under_way:
            done.result()
    sums.require_all()
    return setpoints.hash, baseline.hash


class _ScheduleTable:
    """One schedule table being written, and its fingerprint by the rule of ``models.plan.schedule_hash``."""

    def __init__(self, folder: Path, spec: TableSpec, grid: IntervalGrid) -> None:
        self._path = folder / f"{spec.name}.parquet"
        self._starts = np.array([start.replace(tzinfo=None) for start in grid.starts], dtype="datetime64[us]")
        self._digest = hashlib.sha256(self._starts.astype("<i8").tobytes())

    def __enter__(self) -> Self:
        # plain Parquet types: whoever reads it need not know that ids were a dictionary here
        self._writer = pq.ParquetWriter(
            self._path,
            _SCHEDULE,
            store_schema=False,
            compression="zstd",
            use_dictionary=_REPEATING,
            write_statistics=_REPEATING,
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()

    @property
    def hash(self) -> str:
        return self._digest.hexdigest()

    def add(self, names: tuple[str, ...], power_kw: FloatArray, energy_kwh: FloatArray) -> None:
        """Append resources (n names, two (n, T)) as one row group."""
        resources, count = power_kw.shape
        self._hash_on(names, power_kw)
        places = pa.array(np.repeat(np.arange(resources, dtype=np.int32), count))
        starts = pa.array(np.tile(self._starts, resources)).cast(_SCHEDULE.field("interval_start").type)
        columns = [
            pa.DictionaryArray.from_arrays(places, pa.array(names, type=pa.string())),
            starts,
            pa.array(np.asarray(power_kw, dtype=np.float64).ravel()),
            pa.array(np.asarray(energy_kwh, dtype=np.float64).ravel(), from_pandas=True),  # NaN: null
        ]
        self._writer.write_table(pa.table(columns, schema=_SCHEDULE), row_group_size=max(1, resources * count))

    def _hash_on(self, names: tuple[str, ...], power_kw: FloatArray) -> None:
        values = (np.asarray(power_kw, dtype="<f8") + 0.0).tobytes()  # + 0.0: -0 is 0
        width = power_kw.shape[1] * 8
        pieces: list[bytes] = [b""] * (2 * len(names))
        pieces[0::2] = [name.encode() + b"\x00" for name in names]
        pieces[1::2] = [values[first : first + width] for first in range(0, len(values), width)]
        self._digest.update(b"".join(pieces))


class _Sums:
    """Sums of baseline and power over zone, aggregator, pillar and kind, from the fleet's columns."""

    def __init__(self, head: PlanHead, fleet: Fleet) -> None:
        self._grid = head.grid
        self._keys, self._group_of = _groups(sorted(head.resource_ids), fleet)
        self._baseline_kw = np.zeros((len(self._keys), len(self._grid)))
        self._power_kw = np.zeros_like(self._baseline_kw)
        self._seen = 0

    def add(self, block: PlanBlock) -> None:
        groups = self._group_of[self._seen : self._seen + len(block.resource_ids)]
        self._seen += len(block.resource_ids)
        if not groups.size:
            return
        order = np.argsort(groups, kind="stable")
        found, firsts = np.unique(groups[order], return_index=True)
        self._baseline_kw[found] += np.add.reduceat(block.baseline_kw[order], firsts, axis=0)
        self._power_kw[found] += np.add.reduceat(block.power_kw[order], firsts, axis=0)

    def require_all(self) -> None:
        """``ValueError`` if the blocks were not the plan's resources: a fault of who made the stream."""
        if self._seen != len(self._group_of):
            raise ValueError(f"blocks: {self._seen} resources came, expected {len(self._group_of)}")

    def columns(self) -> dict[str, Any]:
        """The columns of the ``aggregate`` table."""
        count = len(self._grid)
        columns: dict[str, Any] = {"interval_start": list(self._grid.starts) * len(self._keys)}
        for place, name in enumerate((*_GROUPED_BY, "kind")):
            columns[name] = [key[place] for key in self._keys for _ in range(count)]
        columns["baseline_kw"], columns["power_kw"] = self._baseline_kw.ravel(), self._power_kw.ravel()
        return columns


def _groups(names: list[str], fleet: Fleet) -> tuple[list[tuple[str, ...]], NDArray[np.intp]]:
    """Keys (zone, aggregator, pillar, kind) in rising order, and the place among them of each of ``names``."""
    index = pd.Index(names, dtype=object)
    keys: list[tuple[str, ...]] = []
    group_of = np.full(len(names), -1, dtype=np.intp)
    for kind, table in fleet.tables.items():
        codes = np.zeros(len(table), dtype=np.int64)
        levels: list[Any] = []
        for column in _GROUPED_BY:
            code, level = pd.factorize(table.columns[column])
            codes = codes * max(1, len(level)) + code
            levels.append(level)
        mixed, codes = np.unique(codes, return_inverse=True)
        parts = np.unravel_index(mixed, [max(1, len(level)) for level in levels])
        # a charger with several stays is one resource: its last row speaks for it, as in DispatchProblem.attributes
        rows = index.get_indexer(pd.Index(table.columns["resource_id"], dtype=object))
        known = rows >= 0
        group_of[rows[known]] = codes[known] + len(keys)
        for place in range(len(mixed)):
            values = (str(level[part[place]]) for level, part in zip(levels, parts, strict=True))
            keys.append((*values, kind.value))
    if (group_of < 0).any():
        raise ValueError(f"plan: {names[int(np.argmin(group_of))]} is no resource of the problem")
    used, places = np.unique(group_of, return_inverse=True)
    keys = [keys[k] for k in used]
    order = sorted(range(len(keys)), key=keys.__getitem__)
    rank = np.empty(len(keys), dtype=np.intp)
    rank[order] = np.arange(len(keys))
    return [keys[k] for k in order], rank[places]


def _requirements(amount_column: str, rows: tuple[RequirementAmount, ...]) -> dict[str, Any]:
    return {
        "requirement": [row.requirement.value for row in rows],
        "event_id": [row.event_id for row in rows],
        "scope_kind": [row.scope_kind.value for row in rows],
        "scope_id": [row.scope_id for row in rows],
        "interval_start": [row.interval_start for row in rows],
        amount_column: [row.amount for row in rows],
    }


def _write(folder: Path, spec: TableSpec, columns: dict[str, Any]) -> None:
    write_table(folder / f"{spec.name}.parquet", {name: (spec.columns[name], columns[name]) for name in spec.columns})


def _summary(head: PlanHead, violations: int, plan_hash: str, baseline_hash: str) -> dict[str, Any]:
    return {
        "status": head.status,
        "source": head.source.value,
        "objective_cny": head.objective_cny,
        "baseline_cost_cny": head.baseline_cost_cny,
        "baseline_hash": baseline_hash,
        "lower_bound_cny": head.lower_bound_cny if np.isfinite(head.lower_bound_cny) else None,
        "gap": head.gap if np.isfinite(head.gap) else None,
        "penalties": head.penalties,
        "iterations": head.iterations,
        "resources": len(head.resource_ids),
        "intervals": len(head.grid),
        "wall_s": head.wall_s,
        "peak_rss_mb": head.peak_rss_mb,
        "plan_hash": plan_hash,
        "violations": violations,
        "made_at": None if head.made_at is None else head.made_at.astimezone(UTC).isoformat(),
    }
