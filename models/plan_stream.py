"""A plan as a stream of blocks: a million schedules that are never all in memory at once.

``PlanHead`` is what a plan says beside its schedules, ``PlanBlock`` the schedules of some consecutive resources, and
``PlanStream`` both.  A ``DispatchPlan`` is a head with all its blocks in memory: ``plan_blocks`` cuts it up,
``gathered`` puts a stream together again.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import numpy as np

from models.intervals import FloatArray, IntervalGrid
from models.plan import Admission, DispatchPlan, PlanSource, RequirementAmount

BLOCK_ROWS = 20_000
"""Resources of a block if nobody asks for another number: 96 intervals and four tables of them are 60 MB."""


@dataclass(frozen=True)
class PlanBlock:
    """Schedules and baselines of n consecutive resources, in byte order of their ids, over T intervals.

    All arrays (n, T); power in kW, positive when consuming; energy in kWh at interval ends, NaN where the kind has none
    (the same meanings as in ``DispatchPlan``).
    """

    resource_ids: tuple[str, ...]
    power_kw: FloatArray
    energy_kwh: FloatArray
    baseline_kw: FloatArray
    baseline_energy_kwh: FloatArray

    def __post_init__(self) -> None:
        for name in ("power_kw", "energy_kwh", "baseline_kw", "baseline_energy_kwh"):
            values: FloatArray = getattr(self, name)
            if values.ndim != 2 or values.shape[0] != len(self.resource_ids):
                raise ValueError(f"{name}: shape {values.shape}, expected ({len(self.resource_ids)}, T)")


class PlanHead(Protocol):
    """Everything that a plan says beside its (R, T) schedules; the meanings are those of ``DispatchPlan``."""

    @property
    def grid(self) -> IntervalGrid: ...
    @property
    def resource_ids(self) -> tuple[str, ...]: ...
    @property
    def status(self) -> str: ...
    @property
    def source(self) -> PlanSource: ...
    @property
    def objective_cny(self) -> float: ...
    @property
    def baseline_cost_cny(self) -> float: ...
    @property
    def lower_bound_cny(self) -> float: ...
    @property
    def iterations(self) -> int: ...
    @property
    def wall_s(self) -> float: ...
    @property
    def penalties(self) -> dict[str, float]: ...
    @property
    def unmet(self) -> tuple[RequirementAmount, ...]: ...
    @property
    def prices(self) -> tuple[RequirementAmount, ...]: ...
    @property
    def admissions(self) -> tuple[Admission, ...]: ...
    @property
    def peak_rss_mb(self) -> float: ...
    @property
    def made_at(self) -> datetime | None: ...
    @property
    def gap(self) -> float: ...


class PlanStream(PlanHead, Protocol):
    """A plan whose schedules are made block by block, as often as they are asked for."""

    def blocks(self, rows: int = BLOCK_ROWS) -> Iterator[PlanBlock]:
        """The schedules of all resources, at most ``rows`` at a time, in byte order of the ids, each resource once."""
        ...


def plan_blocks(plan: DispatchPlan, rows: int = BLOCK_ROWS) -> Iterator[PlanBlock]:
    """A plan in memory as blocks of at most ``rows`` resources, in byte order of the ids."""
    encoded = [name.encode() for name in plan.resource_ids]
    order = np.array(sorted(range(len(encoded)), key=encoded.__getitem__), dtype=np.intp)
    for first in range(0, len(order), rows):
        part = order[first : first + rows]
        yield PlanBlock(
            tuple(plan.resource_ids[row] for row in part),
            plan.power_kw[part],
            plan.energy_kwh[part],
            plan.baseline_kw[part],
            plan.baseline_energy_kwh[part],
        )


def gathered(stream: PlanStream, rows: int = BLOCK_ROWS) -> DispatchPlan:
    """The whole plan of a stream in memory: (R, T) four times, so for fleets that fit."""
    shape = (len(stream.resource_ids), len(stream.grid))
    tables = [np.empty(shape) for _ in range(4)]
    names: list[str] = []
    for block in stream.blocks(rows):
        place = slice(len(names), len(names) + len(block.resource_ids))
        blocks = (block.power_kw, block.energy_kwh, block.baseline_kw, block.baseline_energy_kwh)
        for table, values in zip(tables, blocks, strict=True):
            table[place] = values
        names += block.resource_ids
    if len(names) != shape[0]:
        raise ValueError(f"blocks: {len(names)} resources came, expected {shape[0]}")
    power_kw, energy_kwh, baseline_kw, baseline_energy_kwh = tables
    return DispatchPlan(
        grid=stream.grid,
        resource_ids=tuple(names),
        power_kw=power_kw,
        energy_kwh=energy_kwh,
        baseline_kw=baseline_kw,
        baseline_energy_kwh=baseline_energy_kwh,
        status=stream.status,
        source=stream.source,
        objective_cny=stream.objective_cny,
        baseline_cost_cny=stream.baseline_cost_cny,
        lower_bound_cny=stream.lower_bound_cny,
        iterations=stream.iterations,
        wall_s=stream.wall_s,
        penalties=stream.penalties,
        unmet=stream.unmet,
        prices=stream.prices,
        admissions=stream.admissions,
        peak_rss_mb=stream.peak_rss_mb,
        made_at=stream.made_at,
    )
