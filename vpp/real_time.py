"""The real-time stage: every cycle the rest of the horizon is planned again from what was measured.

During an event the order is kept by feedback: what was measured to be missing (or too much) in the last cycle is added
to (or taken from) what the next cycle buys, slowly and within limits, so that devices that are silent, refuse or do
less than they promised are made up for by the others.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from time import monotonic
from zoneinfo import ZoneInfo

import numpy as np

from models.conduct import Misconduct
from models.dispatch.problem import DispatchProblem
from models.events import Commitment, Direction, Event
from models.intervals import FloatArray, IntervalGrid
from models.moments import microseconds
from models.plan import NO_SOLVER, DispatchPlan
from models.ports import Clock, Solver
from models.telemetry import ChargingSession
from vpp.asked import asked_pieces, commitments_in_step
from vpp.day_ahead import delivered_kw
from vpp.feedback import READING_WITHIN, Contributions, EventFeedback, MeasuredCycle
from vpp.forecasting import CityFeed
from vpp.heard import NEVER_US
from vpp.ladder import Ladder, Noted
from vpp.problem_builder import ProblemBuilder
from vpp.ramp import is_guard, is_ramp, whole_event
from vpp.ramp_up import RampUp
from vpp.response import ResponseTimes
from vpp.state import LiveState

FINE, COARSE = timedelta(minutes=5), timedelta(minutes=30)
"""Steps of the plan: soon, and later.  A shorter cycle plans in the same steps, more often."""
TRIES = 4
"""A plan that does not give what it should is asked for otherwise, as long as half the deadline is left."""
LEAST_SPAN = timedelta(hours=24)
SPAN_STEP = timedelta(hours=12)
"""Lengths of the real-time horizon: 24, 36 h ..., never less than the model asks for (14 h, 6 h past events)."""


@dataclass(frozen=True)
class RealTimeInputs:
    """What the stage needs from its neighbours for one cycle."""

    baseline: Mapping[str, FloatArray]
    plan_kw: Mapping[str, FloatArray]
    end_energy_kwh: Mapping[str, float]
    expected: Mapping[str, Sequence[ChargingSession]]
    events: Sequence[Event]
    commitments: Sequence[Commitment]
    reliability: Mapping[str, float] = field(default_factory=dict)


class RealTimeStage:
    """Re-plans the rest of the horizon, and goes down the ladder where that fails (``vpp/ladder.py``)."""

    def __init__(
        self,
        *,
        clock: Clock,
        state: LiveState,
        feed: CityFeed,
        builder: ProblemBuilder,
        solver: Solver,
        cycle: timedelta,
        zone: ZoneInfo,
        deadline_s: float,
        gap: float,
        on_plan: Noted,
        reserve_fraction: float = 0.0,
    ) -> None:
        self._clock = clock
        self._state = state
        self._feed = feed
        self._builder = builder
        self._solver = solver
        self._cycle = cycle
        self._zone = zone
        self._deadline_s = deadline_s
        self._gap = gap
        self._reserve_fraction = reserve_fraction
        self.ladder = Ladder(clock=clock, solver=solver, on_plan=on_plan)
        self.feedback: dict[str, EventFeedback] = {}
        self.responses = ResponseTimes(state.columns, cycle)

    def grid(self, now: datetime, events: Sequence[Event]) -> IntervalGrid:
        """The horizon of this cycle, as ``IntervalGrid.real_time`` but rounded up to one of few lengths.

        A horizon that shrank with every half hour would be a new structure for the solver each time; rounded up to
        multiples of ``SPAN_STEP`` there are six structures (the phases of the half hour) for each length that occurs.

        Steps lie on the marks of the clock however short the cycle is.  The first one holds both stretches for which
        orders are sent: with one of its own for the second, that would be given to other devices, equally cheap.
        """
        windows = [(event.start, event.end) for event in events if event.end > now]
        fine = max(self._cycle, FINE)
        midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
        mark = midnight + fine * ((now - midnight) // fine)
        exact = IntervalGrid.real_time(mark, fine=fine, windows=windows)
        span = SPAN_STEP * (-(-(exact.end - exact.start - COARSE) // SPAN_STEP))
        rounded = IntervalGrid.real_time(mark, fine=fine, span=max(span, LEAST_SPAN))
        inside = {edge for window in windows for edge in window if now < edge < rounded.end}
        first_end = now + max(self._cycle, min(2 * self._cycle, fine))
        return IntervalGrid(tuple(sorted({now, *(edge for edge in rounded.edges if edge >= first_end), *inside})))

    def feedback_of(self, event_id: str) -> EventFeedback:
        """What is known of an event, from nothing if it is new."""
        return self.feedback.setdefault(event_id, EventFeedback(ramp_up=RampUp(self._cycle)))

    def learn(
        self,
        now: datetime,
        event: Event,
        baseline_now_kw: Mapping[str, float],
        ids: Sequence[str],
        planned_kw: FloatArray,
        unheard_kw: float = 0.0,
    ) -> None:
        """Compare what the event's devices drew over the last cycle with their baseline, and correct the order.

        ``planned_kw``: what the plan in force expected of each of ``ids`` in that cycle, (n,).  It counts for those
        only who can be ordered again: who has been set aside since is in no plan any more, and what it did not bring
        must not be bought twice.  The first cycle of an event holds the ramp of the devices and says little about what
        they can hold: it counts for what its hour owes only.  ``unheard_kw``: what the silent bring (``vpp.unheard``).
        """
        begun = now - event.start
        if now > event.end:
            return
        rows, columns = self._state.rows(ids), self._state.columns
        known = rows >= 0
        rows = rows[known]
        baseline_kw = np.array([baseline_now_kw.get(name, 0.0) for name in ids], dtype=np.float64)[known]
        lies = np.isin(columns.misconduct, [each for each in Misconduct if each.is_of_the_meter])
        age_us = microseconds(now) - np.maximum(columns.measured_us[rows], NEVER_US // 2)
        heard = (age_us <= max(self._cycle, READING_WITHIN) // timedelta(microseconds=1)) & ~lies[rows]
        feedback = self.feedback_of(event.event_id)
        feedback.absent_kw = 0.0
        feedback.unheard_kw = unheard_kw
        if not heard.any():  # it is we who are deaf: that says nothing about what was delivered
            return
        sign = 1.0 if event.direction is Direction.SHAVE else -1.0
        moved_kw = np.where(heard, sign * (baseline_kw - columns.power_kw[rows]), 0.0)
        ordered_again = columns.is_dispatchable(now)[rows]
        reported = columns.measured_us[rows] >= microseconds(now)
        at_hand = heard & ordered_again
        counts = at_hand & reported & (begun >= self._cycle)  # a call comes in the middle of a cycle
        before_kw = feedback.ramp_up.before_kw(rows)
        if before_kw is not None:
            self.responses.learn(rows, planned_kw[known], planned_kw[known] - before_kw, moved_kw, counts)
        expected_share = feedback.absence.expected_share(rows, reported)
        on_its_way = at_hand & ~reported
        moved_kw = np.where(on_its_way, expected_share * planned_kw[known], moved_kw)
        feedback.absent_kw = float(((1 - expected_share) * planned_kw[known])[on_its_way].sum())
        delivered = float(moved_kw.sum())
        planned = float(planned_kw[known][ordered_again].sum()) - feedback.absent_kw
        seems_kw = np.where(on_its_way, planned_kw[known], moved_kw)  # who is missing for good is no lasting lack
        lacking_kw = feedback.ramp_up.on_the_way_kw(rows, planned_kw[known], seems_kw)
        early_kw = self.responses.early_kw(rows, planned_kw[known], seems_kw)
        gone_kw = float(moved_kw[~ordered_again & (planned_kw[known] != 0)].sum())
        if begun < self._cycle:
            feedback.foresee(event.target_kw, planned, delivered - early_kw - gone_kw)
        else:
            measured = MeasuredCycle(now - self._cycle, now, event.target_kw, delivered, unheard_kw)
            counted = Contributions(rows, moved_kw, reported, baseline_kw, sign)
            feedback.take(
                measured,
                None if begun < 2 * self._cycle else planned,
                counted,
                rows[ordered_again],
                float(lacking_kw[ordered_again].sum()) - early_kw,
                gone_kw,
                is_reported=bool(2 * reported[at_hand].sum() >= at_hand.sum()),
            )
            feedback.look_back(columns.measured_us, columns.power_kw, lies)
        feedback.owe(now, event, self._zone)

    def asked(self, events: Sequence[Event], grid: IntervalGrid, *, again: bool = False) -> list[Event]:
        """The events as the optimiser shall see them on ``grid`` (``vpp.asked``)."""
        return [
            piece
            for event in events
            for piece in asked_pieces(
                event,
                self.feedback.get(whole_event(event.event_id)),
                grid,
                again=again,
                reserve_fraction=self._reserve_fraction,
            )
        ]

    async def prepare(self, start: datetime, busiest_day: Mapping[str, int]) -> None:
        """Let the solver get ready for every phase of the half hour, before the first cycle needs it."""
        step = max(self._cycle, FINE)
        for phase in range(COARSE // step):
            grid = self.grid(start + phase * step, ())
            city = self._feed.forecast(self._clock.now(), grid)
            await self._solver.prepare(self._builder.shape(grid, city, busiest_day, real_time=True))

    async def cycle(self, grid: IntervalGrid, inputs: RealTimeInputs) -> tuple[DispatchProblem, DispatchPlan]:
        """One re-plan: the best step of the ladder whose plan passes the checker; never nothing."""
        now, began = self._clock.now(), monotonic()
        city = self._feed.forecast(now, grid)
        asked, in_force = self.asked(inputs.events, grid), self.ladder.in_force
        problem = self._builder.real_time(
            grid,
            now,
            city,
            baseline=inputs.baseline,
            plan_kw=inputs.plan_kw,
            end_energy_kwh=inputs.end_energy_kwh,
            expected=inputs.expected,
            events=asked,
            commitments=commitments_in_step(inputs.commitments, inputs.events, asked),
            reliability=inputs.reliability,
            in_force=None if in_force is None else in_force.plan,
        )
        plan = await self.ladder.plan(problem, inputs.events, deadline_s=self._deadline_s, gap=self._gap)
        if plan.source in NO_SOLVER:
            return problem, plan
        best, best_off_kw = (problem, plan), self._taken(problem, plan)
        for _ in range(TRIES - 1):
            left_s = self._deadline_s - (monotonic() - began)
            if left_s < self._deadline_s / 2 or not self._can_ask_again(problem, grid):
                break
            asked = self.asked(inputs.events, grid, again=True)
            committed = tuple(commitments_in_step(inputs.commitments, inputs.events, asked))
            problem = replace(problem, events=tuple(asked), commitments=committed)
            found = await self.ladder.another(problem, deadline_s=left_s, gap=self._gap)
            if found is None:
                break
            off_kw = self._taken(problem, found)
            if off_kw < best_off_kw:
                best, best_off_kw = (problem, found), off_kw
        if best[1] is not plan:
            self.ladder.published(best[1], inputs.events)
        self._taken(*best)  # the next cycle begins where this one ended
        return best

    def _running(self, problem: DispatchProblem, grid: IntervalGrid) -> list[tuple[Event, EventFeedback]]:
        """Events (or pieces of them) that run now and are corrected, with what is known of them."""
        found = [(event, self.feedback.get(whole_event(event.event_id))) for event in problem.events]
        return [
            (event, known)
            for event, known in found
            if known is not None
            and event.start <= grid.start < event.end
            and not (is_ramp(event.event_id) or is_guard(event.event_id))
        ]

    def _taken(self, problem: DispatchProblem, plan: DispatchPlan) -> float:
        """Take note of what running events are given now; how far that is from what they should get, kW."""
        return sum(
            feedback.taken(event.target_kw, float(delivered_kw(problem, plan, event)[0]))
            for event, feedback in self._running(problem, plan.grid)
        )

    def _can_ask_again(self, problem: DispatchProblem, grid: IntervalGrid) -> bool:
        return any(feedback.can_ask_again for _, feedback in self._running(problem, grid))
