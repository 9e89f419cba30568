"""The cheapest first until an amount is reached: a selection, not a sort, for most devices want few of many.

Ties go to the lower index, so that the same prices always give the same schedule.
"""

from models.dispatch.fast.pricing.jit import jit_row
from models.intervals import FloatArray


@jit_row
def take_cheapest(key: FloatArray, size: FloatArray, order: FloatArray, count: int, amount: float) -> tuple[int, float]:
    """(k, rest): ``order[:k]`` are the cheapest of ``order[:count]`` that fit whole into ``amount``.

    ``order`` holds indices into ``key`` and ``size`` (sizes positive) and is rearranged; of ``order[k]`` the part
    ``rest`` is taken as well (0 if k = count).  A weighted quickselect: linear in ``count`` on average.
    """
    low, high, left = 0, count, amount
    while low < high:
        _middle_first(key, order, low, high)
        pivot = int(order[low])
        here = low
        total = 0.0
        for j in range(low + 1, high):
            other = int(order[j])
            if key[other] < key[pivot] or (key[other] == key[pivot] and other < pivot):
                here += 1
                order[j], order[here] = order[here], order[j]
                total += size[other]
        order[low], order[here] = order[here], order[low]
        if total > left:
            high = here
            continue
        left -= total
        if size[pivot] > left:
            return here, left
        left -= size[pivot]
        low = here + 1
    if low == count:
        return low, 0.0
    return low, min(left, size[int(order[low])])


@jit_row
def _middle_first(key: FloatArray, order: FloatArray, low: int, high: int) -> None:
    """Put the median of three of ``order[low:high]`` at its beginning."""
    middle = (low + high) // 2
    a, b, c = key[int(order[low])], key[int(order[middle])], key[int(order[high - 1])]
    if (a < b) == (b < c):
        order[low], order[middle] = order[middle], order[low]
    elif (a < c) == (c < b):
        order[low], order[high - 1] = order[high - 1], order[low]
