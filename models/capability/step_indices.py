r"""What one step of a test shows: response, ramp, deviation, duration, and what was held.

    (U4)  response = t - start, t the end of the first reading from which on y ≥ θ |m| for τ      [s]
    (U5)  ramp = 100 (ρ₂ - ρ₁) |m| / C / (t₂ - t₁)   t₁, t₂: where y first reaches ρ₁ |m|, ρ₂ |m|  [%/min]
    (U6)  deviation = (mean d - D) / D               over the hold                                [-]
    (U7)  duration = the longest run of blocks with β₁ ≤ d_j / D ≤ β₂                             [s]
    (U8)  held = min(D, min_j d_j), not below 0                                                   [kW]

======  ==================  =====  ========================================================================
symbol  name here           unit   meaning
======  ==================  =====  ========================================================================
d       delivered           kW     change against the baseline in the step's direction; d_j: mean of block j
D, m    ordered_kw,         kW     the order, and what of it is new: D less what the step before ordered
        move_kw
y       moved               kW     d less its mean before the order, times the sign of m
θ, τ    response_share,     -, s   threshold of the response, and how long the move must stay over it
        response_stays_s
ρ₁, ρ₂  ramp_from, ramp_to  -      from where to where the ramp is looked at
C       regulating_kw       kW     (U3)
β       band_low,           -      band of the duration
        band_high
======  ==================  =====  ========================================================================

A reading is a mean: when within its time a level was passed it does not say.  (U4) takes the end of that time, (U5)
the beginning for t₁ and the end for t₂, so that a response is *at most* and a ramp *at least* what is told;
``resolution_s`` is how much time that leaves open (time without readings before it is part of it).  More readings can
only make these two better, and change nothing else.

(U8) ends at the order: a test shows nothing that it did not ask for.  A block without readings ends a run, and what is
held is told only for the longest run of blocks that are known.
"""

import math
from dataclasses import dataclass

import numpy as np

from models.capability.definitions import Definitions
from models.capability.explained import Figure, Missing, untold
from models.capability.measured import OrderedStep
from models.capability.spans import ROUNDING_US, Spans, block_edges, longest_run

SLACK = 1e-9
"""What rounding may take from a level that is reached exactly, relative."""


@dataclass(frozen=True, slots=True)
class Held:
    """(U8) and for how long, s: the lowest block mean of the hold.  ``missing``: why there is none."""

    ordered_kw: float
    kw: float | None = None
    holds_s: float | None = None
    missing: Missing | None = None


@dataclass(frozen=True, slots=True)
class StepIndices:
    """(U4) to (U8) of one step that ordered something."""

    response_s: Figure
    ramp_percent_per_min: Figure
    deviation: Figure
    duration_s: Figure
    held: Held


@dataclass(frozen=True, slots=True)
class _Crossing:
    """A level was passed between these two."""

    first_us: int
    last_us: int


def tells(spans: Spans, length_us: int, definitions: Definitions) -> bool:
    """True if there are readings enough for a time of ``length_us``."""
    enough = len(spans) >= definitions.least_readings
    return enough and spans.known_us >= (1 - definitions.missing_most) * length_us - ROUNDING_US


def step_indices(change: Spans, step: OrderedStep, regulating: Figure, definitions: Definitions) -> StepIndices:
    """Of a step that orders something; ``change``: power less baseline, whole test; ``regulating``: (U3), kW."""
    inside = change.within(step.start_us, step.end_us).times(step.sign)
    before = change.within(step.start_us - round(definitions.before_s * 1e6), step.start_us).times(step.sign)
    reason = _no_move(inside, before, step, definitions)
    if reason is not None:
        response = ramp = untold(reason)
    else:
        toward = math.copysign(1.0, step.move_kw)
        moved = Spans(inside.start_us, inside.end_us, toward * (inside.values - before.mean()) / abs(step.move_kw))
        response = response_s(moved, step, definitions)
        ramp = ramp_percent_per_min(moved, step, regulating, definitions)
    hold = inside.within(step.hold_us, step.end_us)
    if not tells(hold, step.end_us - step.hold_us, definitions):
        none = untold(Missing.TOO_FEW_READINGS)
        return StepIndices(response, ramp, none, none, Held(step.ordered_kw, missing=none.missing))
    deviation = Figure((hold.mean() - step.ordered_kw) / step.ordered_kw)
    return StepIndices(response, ramp, deviation, *_held(hold, step, definitions))


def _no_move(inside: Spans, before: Spans, step: OrderedStep, definitions: Definitions) -> Missing | None:
    if abs(step.move_kw) <= SLACK * step.ordered_kw:
        return Missing.NO_MOVE_ORDERED
    if not tells(inside, step.end_us - step.start_us, definitions):
        return Missing.TOO_FEW_READINGS
    return None if len(before) else Missing.NO_READING_BEFORE


def _held(hold: Spans, step: OrderedStep, definitions: Definitions) -> tuple[Figure, Held]:
    """(U7), (U8); of a hold that tells something at least one block is known."""
    edges = block_edges(step.hold_us, step.end_us, round(definitions.block_s * 1e6))
    means = hold.block_means(edges, 1 - definitions.missing_most)
    known = np.isfinite(means)
    low, high = definitions.band_low - SLACK, definitions.band_high + SLACK
    in_band = (means >= low * step.ordered_kw) & (means <= high * step.ordered_kw)
    duration = Figure(longest_run(in_band, edges) / 1e6)
    lowest = min(step.ordered_kw, max(0.0, float(means[known].min())))
    return duration, Held(step.ordered_kw, lowest, longest_run(known, edges) / 1e6)


def response_s(moved: Spans, step: OrderedStep, definitions: Definitions) -> Figure:
    """(U4); ``moved``: y over the size of m, inside the step."""
    stays_us = round(definitions.response_stays_s * 1e6)
    over = moved.values >= definitions.response_share - SLACK
    for place in np.flatnonzero(over):
        begins = int(moved.start_us[place])
        if over[(moved.start_us >= begins) & (moved.start_us < begins + stays_us)].all():
            found = _crossing(moved, step, int(place))
            return Figure((found.last_us - step.start_us) / 1e6, resolution_s=(found.last_us - found.first_us) / 1e6)
    return untold(Missing.NO_RESPONSE)


def ramp_percent_per_min(moved: Spans, step: OrderedStep, regulating: Figure, definitions: Definitions) -> Figure:
    """(U5); ``moved``: y over the size of m, inside the step."""
    if regulating.value is None:
        return regulating
    reached = np.flatnonzero(moved.values >= definitions.ramp_to - SLACK)
    if not reached.size:
        return untold(Missing.NOT_REACHED)
    begun = np.flatnonzero(moved.values >= definitions.ramp_from - SLACK)
    first, last = _crossing(moved, step, int(begun[0])), _crossing(moved, step, int(reached[0]))
    minutes = (last.last_us - first.first_us) / 60e6
    share = (definitions.ramp_to - definitions.ramp_from) * abs(step.move_kw) / regulating.value
    open_us = (first.last_us - first.first_us) + (last.last_us - last.first_us)
    return Figure(100 * share / minutes, resolution_s=open_us / 1e6)


def _crossing(moved: Spans, step: OrderedStep, place: int) -> _Crossing:
    """When stretch ``place`` passed a level that none before it held: after the stretch before it, if there is one."""
    first = int(moved.end_us[place - 1]) if place else step.start_us
    return _Crossing(first, int(moved.end_us[place]))
