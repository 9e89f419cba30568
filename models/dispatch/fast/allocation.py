"""Allocation: from a mix of columns to one schedule for every row.

A row's schedules may be mixed where a mix is a schedule again (charging one way, curtailing, shifting, thermal, sun).
Rows of other kinds (stores: mixing charge with discharge wastes less and overfills; everything that switches) take
one of their shard's columns each: a shard that the master splits is cut, in the proportions of the mix, into pieces
that take one column each.  What that changes in the sums, the rows that can be mixed make good: the master is solved
once more over them.  With many small rows against few coupling rows the loss vanishes (Shapley-Folkman); the true
one is in the gap, because the cost is computed from what is handed out.

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
    noise: tuple[float, ...]


def supports(pool: Pool, theta: FloatArray, shards: int) -> list[IndexArray]:
    """Columns in use of every shard, the heaviest first."""
    used = np.flatnonzero(theta > _NOTHING)
    order = used[np.lexsort((-theta[used], pool.shard[used]))]
    edges = np.searchsorted(pool.shard[order], np.arange(shards + 1))
    return [order[edges[s] : edges[s + 1]] for s in range(shards)]


def mixed(shard: Shard, columns: IndexArray, pool: Pool, theta: FloatArray) -> Part:
    """The mix itself, for rows that may be mixed."""
    weights = theta[columns] / theta[columns].sum()
    return Part(
        shard.block,
        shard.first,
        shard.last,
        tuple(weights.tolist()),
        tuple(pool.points[k] for k in columns),
        tuple(pool.noise[columns].tolist()),
    )


def split(shards: Sequence[Shard], columns: Sequence[IndexArray], pool: Pool, theta: FloatArray) -> list[Part]:
    """Shards cut into pieces of one column each.

    What rounding a shard leaves over is carried to the next one of the same block and zone, so that the errors do not
    add up: single rows take a column as often as the mix asks for it.
    """
    parts: list[Part] = []
    carry: dict[tuple[int, int], float] = {}
    for shard, own in zip(shards, columns, strict=True):
        share = theta[own] / theta[own].sum()
        count = len(shard)
        key = (shard.block, shard.zone)
        ends = np.cumsum(share) * count + carry.get(key, 0.0)
        edges = np.clip(np.floor(ends + 0.5).astype(np.int64), 0, count)
        edges[-1] = count
        edges = np.maximum.accumulate(edges)
        if len(own) > 1:
            carry[key] = float(np.clip(ends[0] - edges[0], -0.5, 0.5))
        low = 0
        for column, high in zip(own.tolist(), edges.tolist(), strict=True):
            if high > low:
                parts.append(
                    Part(
                        shard.block,
                        shard.first + low,
                        shard.first + high,
                        (1.0,),
                        (pool.points[column],),
                        (float(pool.noise[column]),),
                    )
                )
            low = high
    return parts
