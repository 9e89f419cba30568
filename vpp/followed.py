"""Which plan devices followed when: orders leave some seconds after a cycle begins, until then older ones hold.

What was planned for a cycle is the mean of both plans, each for as long as its orders were in force.  Of a cycle of
five minutes the older plan has a twentieth; of a cycle of one minute it has a quarter.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from models.dispatch.problem import DispatchProblem
from models.events import Direction, Event
from models.intervals import FloatArray
from models.plan import DispatchPlan

_ALWAYS = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class _Sent:
    problem: DispatchProblem
    plan: DispatchPlan
    at: datetime


class FollowedPlans:
    """Remembers the two newest plans whose orders have left."""

    def __init__(self) -> None:
        self._sent: list[_Sent] = []

    def sent(self, problem: DispatchProblem, plan: DispatchPlan, at: datetime) -> None:
        """The orders of a plan were all out at ``at``; the next cycle sends the next."""
        self._sent = [*self._sent[-1:], _Sent(problem, plan, at)]

    def expected_kw(self, event: Event, ids: Sequence[str], start: datetime, end: datetime) -> FloatArray:
        """What was expected of each resource for an event, mean over [start, end), ρ (b - p), (n,) kW in its direction.

        0 of who was not in a plan: whatever it brings comes on top.  Nothing is known of before the older plan: it
        stands for that too.
        """
        total, edges = np.zeros(len(ids)), [_ALWAYS, *(each.at for each in self._sent[1:]), end]
        for each, (since, until) in zip(
            self._sent, itertools.pairwise(edges), strict=False
        ):  # at first nothing is sent
            begin, stop = max(since, start), min(until, end)
            if begin < stop:
                total += (stop - begin) / (end - start) * _moved_kw(each, ids, begin, stop)
        return total if event.direction is Direction.SHAVE else -total


def _moved_kw(each: _Sent, ids: Sequence[str], start: datetime, end: datetime) -> FloatArray:
    """ρ (b - p) of each resource, mean over [start, end), (n,) kW; a plan made later counts from its start on."""
    problem, plan = each.problem, each.plan
    hours = plan.grid.overlap_h(start, end)
    if not hours.any():
        hours[0] = 1.0
    known = np.array([name in plan.row_of and name in problem.attributes for name in ids], dtype=np.bool_)
    names = [name for name, is_known in zip(ids, known.tolist(), strict=True) if is_known]
    rows = np.array([plan.row_of[name] for name in names], dtype=np.int64)
    reliability = np.array([problem.attributes[name].reliability_fraction for name in names], dtype=np.float64)
    moved_kw = np.zeros(len(ids))
    moved_kw[known] = reliability * ((plan.baseline_kw[rows] - plan.power_kw[rows]) @ (hours / hours.sum()))
    return moved_kw
