r"""Awards of resources: what an aggregator has taken on, decomposed to those whom its orders called.

    (W1)  a_{i,t} = max(±(b_{i,t} - o_{i,t}), 0)                what resource i was asked to move      [kW]
    (W2)  B_{i,t} = A_t a_{i,t} / Σ_{j in A} a_{j,t}            its part of what its aggregator owes   [kW]

======  ===========  ====  ================================================================================
symbol  name here    unit  meaning
======  ===========  ====  ================================================================================
b       baseline_kw  kW    (R, T), of the frozen table
o       told_kw      kW    (R, T), the order in force; NaN where there was none, or none but "do as you like"
A       accepted_kw  kW    (T,) of an aggregator; + for shave, - for fill
======  ===========  ====  ================================================================================

Orders change from cycle to cycle, and a user can only be held to what it was told; what all of them together owe is
what the aggregator accepted, whatever it was asked for.  Where nobody was told anything, the aggregator owes all the
same: (W2) then takes the mean of (W1) over the window, and where that is nothing too, equal parts.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from models.errors import InputError, InputFault
from models.events import Direction
from models.intervals import FloatArray

_NOTHING_KW = 1e-9


def asked_kw(baseline_kw: FloatArray, told_kw: FloatArray, direction: Direction) -> FloatArray:
    """(W1), (R, T)."""
    sign = 1.0 if direction is Direction.SHAVE else -1.0
    return np.nan_to_num(np.maximum(sign * (baseline_kw - told_kw), 0.0))


def awards_kw(
    asked: FloatArray, aggregator_ids: Sequence[str | None], accepted_kw: Mapping[str, FloatArray], hours: FloatArray
) -> FloatArray:
    """(W2), (R, T); of who belongs to no aggregator in ``accepted_kw``, what it was asked.

    ``hours``: (T,) lengths of the intervals.  ``InputError`` if an aggregator has accepted something and has no
    resource, or if shapes differ.
    """
    if asked.shape != (len(aggregator_ids), len(hours)):
        rule = f"shape must be {(len(aggregator_ids), len(hours))}"
        raise InputError([InputFault("awards", "asked", asked.shape, rule)])
    owner = np.array([name or "" for name in aggregator_ids], dtype=object)
    found = asked.copy()
    for name, accepted in accepted_kw.items():
        mine = np.flatnonzero(owner == name)
        if accepted.shape != hours.shape:
            raise InputError([InputFault("awards", "accepted_kw", accepted.shape, f"shape must be {hours.shape}")])
        if mine.size:
            found[mine] = accepted[None, :] * _parts(asked[mine], hours)
        elif (np.abs(accepted) > _NOTHING_KW).any():
            rule = f"aggregator {name} has accepted this and has no resource in the event"
            raise InputError([InputFault("awards", "accepted_kw", float(np.abs(accepted).max()), rule)])
    return found


def _parts(asked: FloatArray, hours: FloatArray) -> FloatArray:
    """Parts of an aggregator's members in every interval, (M, T); every column adds up to 1."""
    total = asked.sum(axis=0)
    mean = asked @ hours
    usual = mean / mean.sum() if mean.sum() > _NOTHING_KW else np.full(len(asked), 1 / len(asked))
    told: NDArray[np.bool_] = total > _NOTHING_KW
    return np.where(told, asked / np.where(told, total, 1.0), usual[:, None])
