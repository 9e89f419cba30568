"""The programme of a capability test, as data: what is ordered from when to when, and how fast it must be there.

A programme is a row of steps without gaps.  A step orders a change of power against the baseline in one direction, in
kW or as a share of what is declared for that direction; a step that orders nothing is a rest.  Within ``settle_s`` of a
step's start the change must be there; from then to the step's end it must be held.

*Up* regulation is ``shave`` (less consumption or more generation), *down* regulation is ``fill``.

Source: domain notes 2.2 (classes of GB/T 44260) and 2.1 (hold of 1 h or more, GB/T 47241); second hand, no original was
read.  Neither says how a test runs: the steps and their lengths are ours, with the response times of domain notes 4.
"""

import itertools
from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from models.events import Direction
from models.resources import EvCharger, EvSession, Generator, Pv, ResourceBase, Storage
from models.units import Fraction, Identifier, NonNegativeKw

SHAVE, FILL = Direction.SHAVE, Direction.FILL
WEEK_S = 604_800.0
LARGEST_ORDER_KW = 1e9
"""A terawatt: beyond it a unit is wrong."""

StepSeconds = Annotated[float, Field(ge=0, le=WEEK_S, allow_inf_nan=False)]


class ResourceClass(StrEnum):
    """The three classes of GB/T 44260."""

    DISTRIBUTED_GENERATION = "DG"
    ENERGY_STORAGE = "ES"
    FLEXIBLE_LOAD = "FL"


def class_of(resource: ResourceBase) -> ResourceClass:
    """The class of a resource; a charger whose cars can feed in counts as storage, else as a load."""
    if isinstance(resource, Storage):
        return ResourceClass.ENERGY_STORAGE
    if isinstance(resource, Generator | Pv):
        return ResourceClass.DISTRIBUTED_GENERATION
    if isinstance(resource, EvCharger | EvSession) and resource.discharge_limit_kw > 0:
        return ResourceClass.ENERGY_STORAGE
    return ResourceClass.FLEXIBLE_LOAD


class ProgrammeStep(BaseModel):
    """One order: ``ordered_kw`` or ``ordered_share`` of the declared capacity, 0 for a rest; seconds from the start."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    start_s: StepSeconds
    length_s: Annotated[StepSeconds, Field(ge=1)]
    direction: Direction = SHAVE
    ordered_kw: Annotated[NonNegativeKw, Field(le=LARGEST_ORDER_KW)] | None = None
    ordered_share: Fraction | None = None
    settle_s: StepSeconds = 0.0

    @model_validator(mode="after")
    def _one_order_with_time_to_hold_it(self) -> Self:
        if (self.ordered_kw is None) == (self.ordered_share is None):
            both = (self.ordered_kw, self.ordered_share)
            raise ValueError(f"ordered_kw: must be given, or ordered_share, and not both (got {both})")
        if self.settle_s >= self.length_s:
            raise ValueError(f"settle_s: must be less than length_s {self.length_s:g} (got {self.settle_s!r})")
        return self

    @property
    def end_s(self) -> float:
        """End of the step."""
        return self.start_s + self.length_s

    def order_of(self, declared_kw: float) -> float:
        """The change that is ordered, kW, of a resource that declares ``declared_kw`` in this direction."""
        return self.ordered_kw if self.ordered_kw is not None else (self.ordered_share or 0.0) * declared_kw


class Programme(BaseModel):
    """One version of a programme; ``steps`` follow each other without gaps from 0 s."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    programme_id: Identifier
    version: Annotated[int, Field(ge=1)] = 1
    resource_class: ResourceClass
    steps: Annotated[tuple[ProgrammeStep, ...], Field(min_length=1)]
    source: str = ""
    verified: bool = False

    @model_validator(mode="after")
    def _steps_follow_each_other_and_ask_for_something(self) -> Self:
        if self.steps[0].start_s != 0:
            raise ValueError(f"steps: the first must start at 0 s (got {self.steps[0].start_s:g})")
        for before, after in itertools.pairwise(self.steps):
            if abs(after.start_s - before.end_s) > 1e-6:
                rule = f"steps: each must start where the one before ends, at {before.end_s:g} s"
                raise ValueError(f"{rule} (got {after.start_s:g})")
        if self.length_s > WEEK_S:
            raise ValueError(f"steps: must end within a week (got {self.length_s:g})")
        if not any(step.ordered_kw or step.ordered_share for step in self.steps):
            raise ValueError(f"steps: at least one must order something (got {len(self.steps)} rests)")
        return self

    @property
    def length_s(self) -> float:
        """From the first order to the end of the last."""
        return self.steps[-1].end_s


class Timing(BaseModel):
    """How a class is tested: ``rest_s``, then each direction (``settle_s`` and ``hold_s``), ``between_s`` apart."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rest_s: StepSeconds
    settle_s: StepSeconds
    hold_s: Annotated[StepSeconds, Field(ge=1)]
    between_s: StepSeconds
    directions: Annotated[tuple[Direction, ...], Field(min_length=1)]
    source: str


_HOLD = "hold of 1 h: GB/T 47241 by domain notes 2.1 [S15 2nd]; time to settle: domain notes 4 [D], "

TIMINGS: dict[ResourceClass, Timing] = {
    ResourceClass.DISTRIBUTED_GENERATION: Timing(
        rest_s=900,
        settle_s=600,
        hold_s=3600,
        between_s=1200,
        directions=(SHAVE, FILL),
        source=_HOLD + "gas and diesel, 5-10 min",
    ),
    ResourceClass.ENERGY_STORAGE: Timing(
        rest_s=900,
        settle_s=60,
        hold_s=3600,
        between_s=900,
        directions=(SHAVE, FILL),
        source=_HOLD + "storage 1-10 s, telecom batteries 1 min; discharge first, so that there is room to charge",
    ),
    ResourceClass.FLEXIBLE_LOAD: Timing(
        rest_s=900,
        settle_s=900,
        hold_s=3600,
        between_s=1800,
        directions=(SHAVE,),
        source=_HOLD + "air conditioning, 5-15 min; slower industry (30-120 min) needs a programme of its own",
    ),
}
"""The usual tests, by class; the rest shows what the baseline is worth before anything is ordered."""


def standard_programme(resource_class: ResourceClass, directions: Sequence[Direction] | None = None) -> Programme:
    """The default programme of a class: the whole declared capacity, each direction once."""
    timing = TIMINGS[resource_class]
    wanted = timing.directions if directions is None else tuple(directions)
    steps: list[ProgrammeStep] = []
    start = 0.0
    for number, direction in enumerate(wanted):
        rest = timing.rest_s if number == 0 else timing.between_s
        called = timing.settle_s + timing.hold_s
        steps += [
            ProgrammeStep(start_s=start, length_s=rest, ordered_share=0),
            ProgrammeStep(
                start_s=start + rest,
                length_s=called,
                direction=direction,
                ordered_share=1,
                settle_s=timing.settle_s,
            ),
        ]
        start += rest + called
    name = "-".join([resource_class.value.lower(), *(direction.value for direction in wanted)])
    return Programme(programme_id=name, resource_class=resource_class, steps=tuple(steps), source=timing.source)
