r"""Events that overlap in time and share resources: what each is judged against, and whose each kW is.

    (O1)  cap_{e,t} = max(ordered_{e,t}, largest Σ ordered_{f,t} of disjoint f inside e)                            [kW]
    (O2)  credited_{e,t} = Σ_i q_{i,t} over those i whose narrowest running event at t is e                         [kW]

======  =================  ====  ==================================================================================
symbol  name here          unit  meaning
q       delivered_kw       kW    (P1) of ``performance``, (R, T)
e, f    events             -     same direction; f lies inside e if its members do (equal allowed)
cap     caps_kw            kW    (E, T), 0 outside the window
======  =================  ====  ==================================================================================

*Judged.*  A kW less in a zone is a kW less in the city: a reduction counts in every scope that contains it, in dispatch
(M2) as in performance, so an event inside another is a part of it.  Events of the same scope do not add.
*Credited.*  Money is counted once: of all events that run at t and contain resource i the one with the fewest members
has its kW; of two with as many the one that comes first.  Over all events the credited kW are those of the union.

Source: dispatch-model §1 (scopes and cap); (O2) is ours, after the rule that one action earns once (domain notes 2.3).
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.intervals import FloatArray

Mask = NDArray[np.bool_]


def caps_kw(members: Sequence[Mask], ordered_kw: Sequence[FloatArray]) -> FloatArray:
    """(O1); ``members``: (R,) of every event, ``ordered_kw``: (T,) of every event, 0 outside its window."""
    caps = np.array(ordered_kw, dtype=np.float64)
    for e, own in enumerate(members):
        disjoint: list[tuple[Mask, FloatArray]] = [(np.zeros_like(own), np.zeros(caps.shape[1]))]
        for f, other in enumerate(members):
            if not (other & ~own).any():
                disjoint += [
                    (union | other, total + np.asarray(ordered_kw[f]))
                    for union, total in disjoint
                    if not (union & other).any()
                ]
        caps[e] = np.maximum(caps[e], np.max([total for _, total in disjoint], axis=0))
    return caps


def credited_kw(members: Sequence[Mask], running: Sequence[Mask], delivered_kw: FloatArray) -> FloatArray:
    """(O2), (E, T); ``running``: (T,) of every event, True inside its window."""
    credited = np.zeros((len(members), delivered_kw.shape[1]))
    free = np.ones(delivered_kw.shape, dtype=np.bool_)
    for e in sorted(range(len(members)), key=lambda number: int(members[number].sum())):
        mine = free & members[e][:, None] & running[e][None, :]
        credited[e] = np.where(mine, delivered_kw, 0.0).sum(axis=0)
        free &= ~mine
    return credited
