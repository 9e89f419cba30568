"""Baselines that an oracle cannot vouch for, solved one by one as plain arrays.

The oracle of a store is exact above the price at which burning energy pays, −wear (1+η)/(1−η).  That of pumped hydro is
exact at any price; only a unit whose minimum powers leave no way to its end has the bound of a battery without them.
There a schedule may be dearer than the least cost that the oracle proves, and the baseline, which events and delivery
are judged by, would not be the cheapest.  In fleets of up to ``MOST_ROWS`` rows those resources are found by halving
the blocks until single rows differ, and solved whole.  In larger ones they keep the oracle's schedule: a unit takes
branch and bound up to a second, and the few there are weigh little.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from models.dispatch.admissions import admit
from models.dispatch.fast.explicit.baseline import explicit_baseline
from models.dispatch.fast.pricing.common import NOTHING_NEAR, Prices
from models.dispatch.fast.setting import IndexArray
from models.dispatch.fast.shards import Block, Shard
from models.dispatch.fast.sweeps import Sweeper
from models.dispatch.problem import DispatchProblem
from models.dispatch.solve_clock import look
from models.fleet import Fleet, ResourceTable
from models.intervals import FloatArray

MOST_ROWS = 2_000
DEADLINE_S = 60.0
_EXACT = 1e-9
_DOUBTED = ("hydro", "storage", "vehicle_to_grid")
"""Pricers whose schedule may be dearer than their bound: the stores where a price is negative, pumped hydro where its
modes leave no way to the end, at any price."""


@dataclass(frozen=True)
class Corrected:
    """``power_kw``: row of the resource → its baseline, (T,).  ``cost_cny``: what they cost at tariff and own cost."""

    power_kw: Mapping[int, FloatArray] = field(default_factory=dict)
    cost_cny: float = 0.0


def corrected(problem: DispatchProblem, blocks: Sequence[Block], sweeper: Sweeper, prices: Prices) -> Corrected:
    """The baselines of all resources whose oracle is not sure at the baseline's ``prices``; none in a large fleet."""
    if sum(len(block) for block in blocks) > MOST_ROWS:
        return Corrected()
    # With the tie-breaking term in the tariff the cost of a schedule is counted as its least cost is.
    full = prices._replace(tariff=prices.tariff + prices.zone, zone=np.zeros_like(prices.zone), late_cost=prices.late)
    negative = bool((full.tariff < 0).any() or (full.late < 0).any())
    rows = [_doubted(b, block, sweeper, full) for b, block in enumerate(blocks) if _may_err(block, negative=negative)]
    resources = np.unique(np.concatenate([*rows, np.empty(0, dtype=np.int64)]))
    if not resources.size:
        return Corrected()
    alone = _only(problem, [problem.fleet.resource_ids[row] for row in resources])
    power, cost = explicit_baseline(admit(alone)[0], until=look("doubtful") + DEADLINE_S)
    return Corrected(dict(zip(resources.tolist(), power, strict=True)), cost)


def _may_err(block: Block, *, negative: bool) -> bool:
    return block.pricer.name in _DOUBTED and (negative or block.pricer.name == "hydro")


def _doubted(b: int, block: Block, sweeper: Sweeper, prices: Prices) -> IndexArray:
    """Resources of a block whose schedule costs more than the oracle's least cost."""
    found, open_ranges = [], list(block.cells)
    while open_ranges:
        first, last = open_ranges.pop()
        sums = sweeper.sums_near(Shard(b, first, last, int(block.zone[first])), prices, NOTHING_NEAR)
        least, cost = float(sums.totals[0]), float(sums.totals[1])
        if cost - least <= _EXACT * max(1.0, abs(least)):
            continue
        if last - first == 1:
            found.append(int(block.members.resource[first]))
            continue
        middle = (first + last) // 2
        open_ranges += [(first, middle), (middle, last)]
    return np.array(found, dtype=np.int64)


def _only(problem: DispatchProblem, names: Sequence[str]) -> DispatchProblem:
    """The problem of some resources alone, with nothing that couples them."""
    tables = {}
    for kind, table in problem.fleet.tables.items():
        chosen = np.isin(table.columns["resource_id"], names)
        if chosen.any():
            tables[kind] = ResourceTable(kind, {name: values[chosen] for name, values in table.columns.items()})
    return replace(problem, fleet=Fleet(tables), commitments=(), baseline_kw=None, real_time=None)
