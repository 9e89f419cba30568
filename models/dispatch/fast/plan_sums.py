"""What the last plan of some rows adds up to, read once, in place (a million plans are half a gigabyte)."""

import numpy as np

from models.dispatch.fast.pricing.common import Members, Near, Sums, followed_kw
from models.dispatch.fast.pricing.jit import jit
from models.dispatch.fast.setting import IndexArray
from models.intervals import FloatArray


@jit
def add_plans(
    members: Members,
    near: Near,
    first: int,
    last: int,
    window: tuple[IndexArray, IndexArray],
    hours: FloatArray,
    tariffs: FloatArray,
    sums: Sums,
) -> None:
    """Add what rows first to last (exclusive) follow (``followed_kw``), and what ``tariffs`` (K, T) take for it.

    ``window``: (n,) the intervals in which the plan of its resource is a row's, from one to before the other; both
    empty: in all.  The cost goes where that of schedules is (``Sums``).
    """
    for i in range(first, last):
        begin, end = 0, hours.size
        if window[0].size > 0:
            begin, end = window[0][i], window[1][i]
        rho = members.reliability[i]
        class_kw, tariff = sums.class_kw[members.price_class[i]], tariffs[members.tariff[i]]
        for t in range(begin, end):
            planned = followed_kw(near, i, t)
            if not np.isnan(planned):
                sums.power_kw[t] += planned
                class_kw[t] += rho * planned
                sums.totals[1] += hours[t] * tariff[t] * planned
