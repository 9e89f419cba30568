"""Small tests of small resources, for the tests of capability."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from models.capability.assessment import AssessedTest
from models.capability.definitions import Definitions
from models.capability.explained import Missing, untold
from models.capability.history import History
from models.capability.indices import DirectionIndices, Indices, indices
from models.capability.measured import MeasuredTest, PowerSeries
from models.capability.programme import FILL, SHAVE, Programme, ProgrammeStep, ResourceClass
from models.capability.step_indices import Held
from models.events import Direction

T0_US = 1_752_642_000_000_000  # 16 July 2025, 05:00 UTC
DAY_US = 86_400_000_000
PLAIN = Definitions()


def programme(*steps: tuple[float, Direction, float, float], kind: str = "FL") -> Programme:
    """Steps of (length s, direction, kW, seconds to settle), one after the other."""
    made, start = [], 0.0
    for length, direction, ordered, settle in steps:
        made.append(
            ProgrammeStep(start_s=start, length_s=length, direction=direction, ordered_kw=ordered, settle_s=settle)
        )
        start += length
    return Programme(programme_id="p", resource_class=ResourceClass(kind), steps=tuple(made))


UP_AND_DOWN = programme((300, SHAVE, 0, 0), (600, SHAVE, 100, 120), (300, SHAVE, 0, 0), (600, FILL, 50, 120))
UP = programme((300, SHAVE, 0, 0), (600, SHAVE, 100, 120))


def run(
    change_kw: Sequence[float],
    plan: Programme = UP_AND_DOWN,
    *,
    baseline_kw: float | np.ndarray = 200.0,
    every_s: float = 60,
    first_s: float = 0,
    **others: Any,
) -> MeasuredTest:
    """Readings every ``every_s``, the first one (which says nothing) at ``first_s``; change against the baseline."""
    power = np.concatenate([[0.0], np.asarray(change_kw, dtype=float)])
    times = T0_US + np.round(1e6 * (first_s + every_s * np.arange(len(power)))).astype(np.int64)
    baseline = np.broadcast_to(np.asarray(baseline_kw, dtype=float), power.shape)
    facts = {"resource_id": "r1", "start_us": T0_US, "declared_shave_kw": 100.0, "declared_fill_kw": 50.0, **others}
    return MeasuredTest(programme=plan, series=PowerSeries(times, power + baseline), baseline_kw=baseline, **facts)


REST = [0.0] * 5
SHAVED = [-5.0, -50.0, -92.0] + [-95.0] * 7
BACK = [-60.0, 0.0, 0.0, 0.0, 0.0]
FILLED = [25.0, 46.0] + [48.0] * 8
BY_HAND = REST + SHAVED + BACK + FILLED


def of(change_kw: list[float], plan: Any = UP_AND_DOWN, definitions: Any = None, **others: Any) -> Indices:
    chosen = PLAIN if definitions is None else PLAIN.model_copy(update=definitions)
    return indices(run(change_kw, plan, **others), chosen)


def shave(change_kw: list[float], definitions: Any = None, plan: Any = UP, **others: Any) -> DirectionIndices:
    return of(change_kw, plan, definitions, **others).by_direction[SHAVE]


def shown(
    kw: float | None,
    day: float = 0,
    *,
    ordered: float = 100.0,
    holds_s: float = 3600.0,
    direction: Direction = SHAVE,
    resource_id: str = "r1",
) -> AssessedTest:
    """A test of two hours on a day that has held so much in one direction; None: it is void."""
    start = T0_US + round(day * DAY_US)
    end = start + DAY_US // 12
    sha = f"sha of {direction} {kw} on {day}"
    if kw is None:
        return AssessedTest(resource_id, start, end, 0.5, Missing.READINGS_MISSING, None, sha)
    none = untold(Missing.NOT_ORDERED)
    of = {each: DirectionIndices(none, none, none, none, Held(0.0, missing=Missing.NOT_ORDERED)) for each in Direction}
    of[direction] = DirectionIndices(none, none, none, none, Held(ordered, kw, holds_s))
    return AssessedTest(resource_id, start, end, 0.0, None, Indices(none, none, none, of, ()), sha)


def history(*tests: AssessedTest) -> History:
    made = History("r1")
    for test in tests:
        made = made.with_test(test)
    return made
