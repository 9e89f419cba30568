"""Allocation: from a mix of columns to one schedule for every row.

A row's schedules may be mixed where a mix is a schedule again (``mixing``).  Everything that switches takes one of its
group's columns: a group that the master splits is cut, in the proportions of the mix, into pieces that take one column
each.  What that changes in the sums, the rows that can be mixed make good: the master is solved once more over them.
With many small rows against few coupling rows the loss vanishes (Shapley-Folkman); the true one is in the gap, because
the cost is computed from what is handed out.

Source: J.-P. Aubin, I. Ekeland, Math. Oper. Res. 1 (1976) 225 (the duality gap of many small integer resources).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.dispatch.fast.master import Pool
from models.dispatch.fast.setting import IndexArray
from models.dispatch.fast.shards import Shard
from models.dispatch.fast.sweeps import Point
from models.intervals import FloatArray

_NOTHING = 1e-9


@dataclass(frozen=True, slots=True)
class Part:
    """What rows first to last of a block do: the mix ``weights`` of their answers at ``points``."""

    block: int
    first: int
    last: int
    weights: tuple[float, ...]
    points: tuple[Point, ...]


def undivided(groups: Sequence[Shard], points: Sequence[Point]) -> list[Part]:
    """All rows of every group at their zone's of ``points`` (Z,)."""
    return [Part(group.block, group.first, group.last, (1.0,), (points[group.zone],)) for group in groups]


def supports(pool: Pool, theta: FloatArray, groups: int) -> list[IndexArray]:
    """Columns in use of every group, the heaviest first."""
    used = np.flatnonzero(theta > _NOTHING)
    order = used[np.lexsort((-theta[used], pool.group[used]))]
    edges = np.searchsorted(pool.group[order], np.arange(groups + 1))
    return [order[edges[g] : edges[g + 1]] for g in range(groups)]


def mixed(group: Shard, columns: IndexArray, pool: Pool, theta: FloatArray) -> Part:
    """A group whose rows may be mixed: the mix itself."""
    weights = tuple((theta[columns] / theta[columns].sum()).tolist())
    return Part(group.block, group.first, group.last, weights, tuple(pool.points[k] for k in columns))


def split(group: Shard, columns: IndexArray, pool: Pool, theta: FloatArray, carry: float) -> tuple[list[Part], float]:
    """A group cut into pieces that take one column each, in the proportions of the mix.

    ``carry``: what rounding the group before left over, in rows, so that the errors do not add up: among groups of
    single rows a column is taken as often as the mix asks for it.  Returns it for the next.
    """
    share = theta[columns] / theta[columns].sum()
    ends = np.cumsum(share) * len(group) + (carry if len(columns) > 1 else 0.0)
    edges = np.clip(np.floor(ends + 0.5).astype(np.int64), 0, len(group))
    edges[-1] = len(group)
    edges = np.maximum.accumulate(edges)
    if len(columns) > 1:
        carry = float(np.clip(ends[0] - edges[0], -0.5, 0.5))
    parts: list[Part] = []
    low = 0
    for column, high in zip(columns.tolist(), edges.tolist(), strict=True):
        if high > low:
            points = (pool.points[column],)
            parts.append(Part(group.block, group.first + low, group.first + high, (1.0,), points))
        low = max(low, high)
    return parts, carry
