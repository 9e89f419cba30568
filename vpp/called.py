"""Who was called for how much: the orders in force over a window, and what they asked beside the baseline.

An order holds from its time until its end or the next one to the same device, whichever comes first.  Who refused was
not called, and owes nothing: the customer has a veto.
"""

from collections.abc import Iterable

import numpy as np

from adapters.store.commands import OrderColumns
from models.events import Direction
from models.intervals import FloatArray, IntervalGrid
from models.settlement.awards import asked_kw


def asked_on(
    orders: Iterable[OrderColumns], baseline_kw: FloatArray, grid: IntervalGrid, direction: Direction
) -> FloatArray:
    """What devices were asked to move, mean over every interval, (R, T) kW; ``baseline_kw``: (R, T).

    ``orders`` in the order in which they were sent, with places among the R rows.
    """
    kept = list(orders)
    moments = {moment for each in kept for moment in (each.valid_from, each.valid_until)}
    inner = {moment for moment in moments if grid.start < moment < grid.end}
    fine = IntervalGrid(tuple(sorted({*grid.edges, *inner})))
    told = np.full((len(baseline_kw), len(fine)), np.nan)
    begin_of = {edge: k for k, edge in enumerate(fine.edges)}
    for each in kept:
        span = slice(begin_of[max(each.valid_from, fine.start)], begin_of[min(each.valid_until, fine.end)])
        told[each.places, span] = np.where(each.refused, np.nan, each.power_kw)[:, None]
    owner = np.array([grid.index_at(start) for start in fine.starts], dtype=np.int64)
    asked = asked_kw(baseline_kw[:, owner], told, direction)
    if len(fine) == len(grid):
        return asked
    first = np.searchsorted(owner, np.arange(len(grid)))
    return np.asarray(np.add.reduceat(asked * fine.hours, first, axis=1) / grid.hours)
