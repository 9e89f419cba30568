"""A fast plan: its head, and its schedules block by block (``models.plan_stream``)."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np

from models.dispatch.fast.pricing.common import NOTHING_NEAR, Members, Near, Prices, empty_sums
from models.dispatch.fast.setting import IndexArray
from models.dispatch.fast.shards import Block
from models.dispatch.fast.stays import Stays
from models.dispatch.fast.sweeps import Workers
from models.intervals import FloatArray, IntervalGrid
from models.plan import Admission, DispatchPlan, PlanSource, RequirementAmount, relative_gap
from models.plan_stream import BLOCK_ROWS, PlanBlock, gathered

_ABREAST = 4
"""Blocks made side by side."""


@dataclass(frozen=True)
class FastSolution:
    """Implements ``PlanStream``.

    ``power_kw``: (R, T) in the order of ``resource_ids``.  Baselines and energies are computed when a block is asked
    for: ``baseline_table`` (R, T) is the market day's, if the problem gave one.
    """

    grid: IntervalGrid
    resource_ids: tuple[str, ...]
    status: str
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
    power_kw: FloatArray
    schedules: "Schedules"
    phases: Mapping[str, float] = field(default_factory=dict)
    facts: Mapping[str, float] = field(default_factory=dict)
    source: PlanSource = PlanSource.FAST
    made_at: datetime | None = None

    @property
    def gap(self) -> float:
        """As ``DispatchPlan.gap``."""
        return relative_gap(self.objective_cny, self.lower_bound_cny, self.baseline_cost_cny)

    def blocks(self, rows: int = BLOCK_ROWS) -> Iterator[PlanBlock]:
        """The schedules, at most ``rows`` resources at a time; a few blocks are made side by side."""
        edges = [*range(0, len(self.resource_ids), rows), len(self.resource_ids)]
        ranges = list(itertools.pairwise(edges))
        for few in range(0, len(ranges), _ABREAST):
            yield from self.schedules.workers.map(self._block, ranges[few : few + _ABREAST])

    def _block(self, span: tuple[int, int]) -> PlanBlock:
        first, last = span
        power = self.power_kw[first:last]
        baseline, parts = self.schedules.baseline(first, last)
        return PlanBlock(
            self.resource_ids[first:last],
            power,
            self.schedules.energy_of(first, last, power),
            baseline,
            self.schedules.energy_of(first, last, baseline) if parts is None else parts,
        )

    def plan(self) -> DispatchPlan:
        """Everything in memory."""
        return gathered(self)


class Schedules:
    """What the schedules of any resources mean: their baseline, and the energy column of given power."""

    def __init__(
        self,
        blocks: Sequence[Block],
        workers: Workers,
        baseline_prices: Prices,
        baseline_kw: FloatArray | None,
        resources: int,
        corrected: Mapping[int, FloatArray] | None = None,
    ) -> None:
        self.workers = workers
        self._blocks, self._prices, self._given, self._resources = blocks, baseline_prices, baseline_kw, resources
        self._order = [np.argsort(block.members.resource, kind="stable") for block in blocks]
        self._stays = Stays.of(blocks)
        self._corrected = {} if corrected is None else dict(corrected)
        self._sorted = [block.members.resource[order] for block, order in zip(blocks, self._order, strict=True)]

    def _rows(self, b: int, first: int, last: int) -> IndexArray:
        low, high = np.searchsorted(self._sorted[b], [first, last])
        return self._order[b][low:high]

    def baseline(self, first: int, last: int) -> tuple[FloatArray, FloatArray | None]:
        """Baseline power of resources first to last, (n, T), and its energy column unless it must be computed."""
        if self._given is not None:
            return self._given[first:last], None
        found = np.zeros((last - first, len(self._prices.hours)))
        for b, block in enumerate(self._blocks):
            rows = self._rows(b, first, last)
            if rows.size:
                np.add.at(found, block.members.resource[rows] - first, baseline_rows(block, rows, self._prices))
        for row in range(first, last) if self._corrected else ():
            if row in self._corrected:
                found[row - first] = self._corrected[row]
        return found, None

    def energy_of(self, first: int, last: int, power_kw: FloatArray) -> FloatArray:
        """Energy column, (n, T), of resources first to last at ``power_kw`` (n, T); NaN where the kind has none."""
        found, power_kw = np.full(power_kw.shape, np.nan), np.ascontiguousarray(power_kw, dtype=np.float64)
        for b, block in enumerate(self._blocks):
            energy = block.pricer.energy
            rows = self._rows(b, first, last)
            rows = rows[block.members.alone[rows]]
            if energy is None or not rows.size:
                continue
            place = block.members.resource[rows] - first
            energy(block.units, rows, place, power_kw, found)
        self._stays.show(first, last, power_kw, found)
        return found


def baseline_rows(block: Block, rows: IndexArray, prices: Prices) -> FloatArray:
    """Baseline of some rows of a block, (m, T): the profile, or the cheapest schedule at the baseline's prices."""
    pricer, count = block.pricer, len(prices.hours)
    units = pricer.take(block.units, rows)
    power = np.zeros((len(rows), count))
    if pricer.base is not None:
        for i in range(len(rows)):
            pricer.base(units, i, power[i])
        return power
    own = block.members
    members = Members(
        own.tariff[rows], own.price_class[rows], own.reliability[rows], own.resource[rows], own.alone[rows]
    )
    sums = empty_sums(count, prices.by_class.shape[0])
    near: Near = NOTHING_NEAR
    pricer.sweep(units, members, near, 0, len(rows), prices, sums, power)
    return power
