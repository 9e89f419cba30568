r"""The seven indices of GB/T 44260 and 47241, from the readings of one test.

    (U1)  generating = max_k high_α(-p)                                 what it feeds in            [kW]
    (U2)  annual = 24 N mean(max(-p, 0)) of DG and ES, 24 N mean(max(p, 0)) of FL                   [kWh]
    (U3)  C = max_k high_α(p - b) - min_k low_α(p - b)                  regulating capacity         [kW]

(U4) response, (U5) ramp, (U6) deviation and (U7) duration are of one step: ``step_indices``.  Of a direction each is
that of its worst step, and none if one of its steps shows none.

======  =============  ====  ===================================================================
symbol  name here      unit  meaning
======  =============  ====  ===================================================================
p       power_kw       kW    measured, positive when consuming
b       baseline_kw    kW    what would have been drawn without the test
k       steps          -     of the programme, rests too
α       tail_share     -     of (X2), (X3)
N       year_days      -     days of a year; the mean is over all readings of ``year``
======  =============  ====  ===================================================================

(U1) and (U3) are told only if every step that orders something has its readings: what happened unseen could be larger.
Under ``least_change_share`` of the largest order neither counts as seen.  The annual energy is what DG and ES feed in
and what FL draws, and needs the readings of a year: a test of hours cannot tell it.

Source: domain notes 2.2 (restated, [S15 2nd]); what it leaves open: ``definitions``.
"""

from dataclasses import dataclass

import numpy as np

from models.capability.definitions import Definitions
from models.capability.explained import Figure, Missing, untold, worst
from models.capability.measured import MeasuredTest, PowerSeries
from models.capability.programme import ResourceClass
from models.capability.spans import Spans, spans_of
from models.capability.step_indices import Held, StepIndices, step_indices, tells
from models.events import Direction

DAY_US = 86_400_000_000


@dataclass(frozen=True, slots=True)
class DirectionIndices:
    """The four indices of a direction (its worst step), and what was held where most was ordered."""

    response_s: Figure
    ramp_percent_per_min: Figure
    deviation: Figure
    duration_s: Figure
    held: Held


@dataclass(frozen=True, slots=True)
class Indices:
    """The seven; ``by_step``: (number of the step, its direction, its indices) where something was ordered."""

    generating_kw: Figure
    annual_kwh: Figure
    regulating_kw: Figure
    by_direction: dict[Direction, DirectionIndices]
    by_step: tuple[tuple[int, Direction, StepIndices], ...]


def indices(test: MeasuredTest, definitions: Definitions) -> Indices:
    """All seven; whether the test counts at all is asked in ``assessment``."""
    longest_us = round(definitions.longest_span_s * 1e6)
    series = test.series
    power = spans_of(series.measured_us, series.power_kw, longest_us)
    change = spans_of(series.measured_us, series.power_kw - test.baseline_kw, longest_us)
    regulating = regulating_kw(test, change if definitions.regulating_of == "change" else power, definitions)
    by_step = tuple(
        (number, step.direction, step_indices(change, step, regulating, definitions))
        for number, step in enumerate(test.steps)
        if not step.is_rest
    )
    return Indices(
        generating_kw=generating_kw(test, power, definitions),
        annual_kwh=annual_kwh(test.programme.resource_class, test.year, definitions),
        regulating_kw=regulating,
        by_direction={direction: _of_direction(direction, by_step) for direction in Direction},
        by_step=by_step,
    )


def generating_kw(test: MeasuredTest, power: Spans, definitions: Definitions) -> Figure:
    """(U1)."""
    steps = _by_step(test, power, definitions)
    if steps is None:
        return untold(Missing.TOO_FEW_READINGS)
    most = max(each.times(-1.0).high(definitions.tail_share) for each in steps)
    seen = most > definitions.least_change_share * test.largest_order_kw
    return Figure(most) if seen else untold(Missing.NEVER_FED_IN)


def regulating_kw(test: MeasuredTest, level: Spans, definitions: Definitions) -> Figure:
    """(U3) of the change against the baseline, or of the power itself."""
    steps = _by_step(test, level, definitions)
    if steps is None:
        return untold(Missing.TOO_FEW_READINGS)
    tail = definitions.tail_share
    between = max(each.high(tail) for each in steps) - min(each.low(tail) for each in steps)
    seen = between > definitions.least_change_share * test.largest_order_kw
    return Figure(between) if seen else untold(Missing.NO_CHANGE)


def annual_kwh(kind: ResourceClass, year: PowerSeries | None, definitions: Definitions) -> Figure:
    """(U2)."""
    if year is None:
        return untold(Missing.YEAR_TOO_SHORT)
    sign = 1.0 if kind is ResourceClass.FLEXIBLE_LOAD else -1.0
    counted = np.maximum(sign * year.power_kw, 0.0)  # NaN stays NaN
    known = spans_of(year.measured_us, counted, round(definitions.year_longest_span_s * 1e6))
    if known.known_us < definitions.year_least_days * DAY_US:
        return untold(Missing.YEAR_TOO_SHORT)
    return Figure(known.mean() * 24 * definitions.year_days)


def _by_step(test: MeasuredTest, spans: Spans, definitions: Definitions) -> list[Spans] | None:
    """What is known of each step, rests of which nothing is known left out; None if an ordered one lacks readings."""
    found = []
    for step in test.steps:
        inside = spans.within(step.start_us, step.end_us)
        if not (step.is_rest or tells(inside, step.end_us - step.start_us, definitions)):
            return None
        if len(inside):
            found.append(inside)
    return found


def _of_direction(direction: Direction, by_step: tuple[tuple[int, Direction, StepIndices], ...]) -> DirectionIndices:
    mine = [step for _, where, step in by_step if where is direction]
    return DirectionIndices(
        response_s=worst([step.response_s for step in mine], lambda value: value),
        ramp_percent_per_min=worst([step.ramp_percent_per_min for step in mine], lambda value: -value),
        deviation=worst([step.deviation for step in mine], abs),
        duration_s=worst([step.duration_s for step in mine], lambda value: -value),
        held=_held_at_most([step.held for step in mine]),
    )


def _held_at_most(held: list[Held]) -> Held:
    """The lowest of the steps that ordered the most, and their shortest time."""
    if not held:
        return Held(0.0, missing=Missing.NOT_ORDERED)
    most = max(each.ordered_kw for each in held)
    largest = [each for each in held if each.ordered_kw == most]
    for each in largest:
        if each.missing is not None:
            return each
    return Held(
        most,
        min(each.kw for each in largest if each.kw is not None),
        min(each.holds_s for each in largest if each.holds_s is not None),
    )
