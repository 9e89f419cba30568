"""Who carries how much of an event: expected contributions, shares, and what was committed to.

contribution    what an aggregator gives at every moment, as a plan has it              (T,) kW
share           its mean over the window: what the aggregator is asked for              kW
commitment      what was accepted, in the shape of the contribution: what is planned    (T,) kW
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from models.events import Commitment, Direction, Event, EventRecord
from models.intervals import FloatArray, IntervalGrid
from vpp.day_ahead import DayPlan
from vpp.ramp import whole_event

_NO_SHARE_KW = 0.05
"""Whoever contributes no more than this on average is not asked."""


def contributions(day: DayPlan, event: Event) -> dict[str, FloatArray]:
    """Expected contribution of every aggregator to an event in a plan, (T,) kW, zero outside the window."""
    inside = day.plan.grid.inside(event.start, event.end)
    sign = 1.0 if event.direction is Direction.SHAVE else -1.0
    found: dict[str, FloatArray] = {}
    if day.problem is None:
        return found
    members: dict[str, list[str]] = {}
    for name in sorted(day.problem.in_scope(event)):
        members.setdefault(day.problem.attributes[name].aggregator_id, []).append(name)
    for aggregator_id, names in members.items():
        rows = np.array([day.plan.row_of[name] for name in names], dtype=np.int64)
        reliability = np.array([day.problem.attributes[name].reliability_fraction for name in names], dtype=np.float64)
        moved: FloatArray = reliability @ (day.plan.baseline_kw[rows] - day.plan.power_kw[rows])
        found[aggregator_id] = sign * moved * inside
    return found


def shares(day: DayPlan, event: Event) -> dict[str, float]:
    """Mean of the contributions over the window, kW, of those who contribute at all."""
    grid = day.plan.grid
    window_h = float(grid.hours[grid.inside(event.start, event.end)].sum())
    means = {name: float(values @ grid.hours) / window_h for name, values in contributions(day, event).items()}
    return {name: round(value, 3) for name, value in sorted(means.items()) if value > _NO_SHARE_KW}


class CommittedProfiles:
    """What every aggregator has taken on of every event, (T,) kW on the grid of the day plan it was taken from.

    It was taken on at the order of that moment; where the order has been changed since, it follows in proportion.
    """

    def __init__(self) -> None:
        self._committed_kw: dict[str, dict[str, tuple[IntervalGrid, FloatArray]]] = {}
        self._bound_kw: dict[str, float] = {}

    def forget(self, event_id: str) -> None:
        """Nobody is bound to this event any more."""
        self._committed_kw.pop(event_id, None)
        self._bound_kw.pop(event_id, None)

    def bind_only(
        self, event: Event, day: DayPlan, accepted_kw: Mapping[str, float], share_kw: Mapping[str, float]
    ) -> None:
        """Bind just those in ``accepted_kw`` to their part of their share of the plan; the others stay free."""
        shapes = contributions(day, event)
        self._bound_kw[event.event_id] = event.target_kw
        self._committed_kw[event.event_id] = {
            name: (day.plan.grid, shapes[name] * accepted / share_kw[name])
            for name, accepted in accepted_kw.items()
            if name in shapes
        }

    def bind_all(self, record: EventRecord, day: DayPlan) -> None:
        """Commitments: what was accepted, in the shape in which the day plan has it; of who takes no part, nothing."""
        shapes, planned = contributions(day, record.event), shares(day, record.event)
        nothing = np.zeros(len(day.plan.grid))
        self._bound_kw[record.event.event_id] = record.event.target_kw
        self._committed_kw[record.event.event_id] = {
            name: (
                day.plan.grid,
                shapes[name] * (record.accepted_kw.get(name) or 0.0) / planned[name] if name in planned else nothing,
            )
            for name in record.share_kw
        }

    def rows(
        self, orders: Iterable[tuple[str, FloatArray]], grid: IntervalGrid, pieces: Sequence[Event]
    ) -> list[Commitment]:
        """Commitments on ``grid`` to events that order so many kW, (T,): what was accepted, in the shape it was
        planned in, each to the one of ``pieces`` that stands for the event in that interval.
        """
        rows: list[Commitment] = []
        for event_id, ordered_kw in orders:
            of_event = [piece for piece in pieces if whole_event(piece.event_id) == event_id]
            places = [(piece.event_id, np.flatnonzero(grid.inside(piece.start, piece.end))) for piece in of_event]
            for aggregator_id, values in self.accepted_on(event_id, ordered_kw, grid).items():
                rows.extend(  # not validated: the name of a piece is none that a person could give an event
                    Commitment.model_construct(
                        event_id=name,
                        aggregator_id=aggregator_id,
                        interval_start=grid.starts[t],
                        accepted_kw=max(0.0, float(values[t])),
                    )
                    for name, inside in places
                    for t in inside.tolist()
                    if not np.isnan(values[t])
                )
        return rows

    def accepted_on(self, event_id: str, ordered_kw: FloatArray, grid: IntervalGrid) -> dict[str, FloatArray]:
        """What every aggregator has taken on of an event that orders so many kW, (T,); NaN where its plan says nothing,
        empty if unknown.
        """
        bound_kw = self._bound_kw.get(event_id, 0.0)
        share = ordered_kw / bound_kw if bound_kw > 0 else np.ones(len(grid))
        return {
            name: grid.mean_from(day_grid, kw) * share
            for name, (day_grid, kw) in self._committed_kw.get(event_id, {}).items()
        }
