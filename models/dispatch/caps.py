"""How much an event may deliver: its target, or more where events of smaller scope lie inside it."""

from collections.abc import Sequence

import numpy as np

from models.dispatch.problem import DispatchProblem
from models.events import Event
from models.intervals import FloatArray


def cap_kw(problem: DispatchProblem, event: Event) -> FloatArray:
    """cap_{e,t}, (T,): max(target, the largest sum of targets of same-direction events active at t whose resource sets
    lie within the event's own (equal allowed) and are pairwise disjoint); 0 outside the window.
    """
    own = problem.target_kw(event)
    scope = problem.in_scope(event)
    inner = [
        (problem.in_scope(other), problem.target_kw(other), problem.grid.inside(other.start, other.end))
        for other in problem.events
        if other.direction is event.direction
    ]
    inner = [entry for entry in inner if entry[0] <= scope]
    caps = own.copy()
    for t in np.flatnonzero(problem.grid.inside(event.start, event.end)):
        active = [(members, float(target[t])) for members, target, inside in inner if inside[t]]
        caps[t] = max(own[t], _largest_disjoint(active))
    return caps


def _largest_disjoint(sets: Sequence[tuple[frozenset[str], float]]) -> float:
    """The largest sum of values over pairwise disjoint sets (few events, so: with and without the first)."""
    if not sets:
        return 0.0
    (members, value), rest = sets[0], sets[1:]
    without = _largest_disjoint(rest)
    return max(without, value + _largest_disjoint([other for other in rest if not (other[0] & members)]))
