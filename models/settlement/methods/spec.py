"""What a baseline method is made of, as data: one frozen type per family, and the adjustment of the day itself.

Hours are counted from the event: ``{ from_h = -4, to_h = -1 }`` ends one hour before it starts, and with
``at = "end"`` they are counted from its end.  A clock slot belongs to a window if it lies in it as a whole.
"""

from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

Fraction = Annotated[float, Field(gt=0, le=1)]


class Frozen(BaseModel):
    """No unknown keys, no change afterwards."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Window(Frozen):
    """Clock hours [from_h, to_h), counted from the event's start or end."""

    from_h: float
    to_h: float
    at: Literal["start", "end"] = "start"

    @model_validator(mode="after")
    def _is_outside_of_the_event(self) -> Self:
        if self.from_h >= self.to_h:
            raise ValueError("from_h must lie before to_h")
        if (self.at == "start" and self.to_h > 0) or (self.at == "end" and self.from_h < 0):
            raise ValueError("a window must not reach into the event")
        return self


def _not_empty(windows: tuple[Window, ...]) -> tuple[Window, ...]:
    if not windows:
        raise ValueError("must name at least one window")
    return windows


Windows = Annotated[tuple[Window, ...], AfterValidator(_not_empty)]


class DayCount(Frozen):
    """``take`` of the last ``of`` eligible days; fewer than ``minimum`` give no baseline; weights by rank."""

    take: PositiveInt
    of: PositiveInt
    minimum: PositiveInt
    weights: tuple[PositiveFloat, ...] = ()

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if max(self.take, self.minimum) > self.of:
            raise ValueError("take and minimum must not exceed of")
        if self.weights and len(self.weights) != self.take:
            raise ValueError("weights must be one per day taken, the first for the highest day")
        return self


class DayRule(Frozen):
    """Which days are eligible, how many of the last are looked at, and which of them are picked.

    ``day_kinds``: two = weekday and weekend (holidays are weekends), four = weekday, Saturday, Sunday, holiday.
    ``skip_days``: so many days just before the event day do not serve.  ``low_use_fraction``: days below that share
    of the mean use in the event's hours, over all eligible days, are dropped.  ``outlier_fraction``: of the last
    days those whose daily mean is off by more are dropped.
    """

    weekday: DayCount
    weekend: DayCount
    pick: Literal["all", "high", "mid"]
    look_back_days: PositiveInt
    day_kinds: Literal["two", "four"] = "two"
    skip_days: NonNegativeInt = 0
    low_use_fraction: Fraction | None = None
    outlier_fraction: Fraction | None = None


class Adjustment(Frozen):
    """What the day itself says, from windows outside of the event.

    scalar: factor ΣL/Σb in 1 ± ``limit`` (``reciprocal``: in 1/(1+limit) … 1+limit); additive: mean of L - b, at most
    ``limit`` times the mean baseline of the event.  Without ``limit`` there is none.
    """

    kind: Literal["scalar", "additive"]
    windows: Windows
    limit: PositiveFloat | None = None
    reciprocal: bool = False


class DayMatching(Frozen):
    """Mean of picked like days."""

    family: Literal["day_matching"]
    days: DayRule


class MeterWindow(Frozen):
    """Mean of the meter around the event, constant over it."""

    family: Literal["meter_window"]
    windows: Windows


class Rolling(Frozen):
    """b ← keep·b + (1 - keep)·L over the like days, from the mean of the first ``start_days``."""

    family: Literal["rolling"]
    keep_fraction: Annotated[float, Field(gt=0, lt=1)]
    start_days: PositiveInt
    look_back_days: PositiveInt


class NearestTemperature(Frozen):
    """Mean of the like days whose highest temperature is nearest to the event day's."""

    family: Literal["nearest_temperature"]
    take: PositiveInt
    look_back_days: PositiveInt


class MatchDay(Frozen):
    """Mean of the like days most alike outside of the event and ``margin_h`` on both sides."""

    family: Literal["match_day"]
    take: PositiveInt
    margin_h: Annotated[float, Field(ge=0)]
    look_back_days: PositiveInt


class ControlGroup(Frozen):
    """Mean of customers who were not called, times the number called (``count``) or the ratio of old days.

    Balanced if on the like days of the look-back the difference of the two groups in the event's hours is within
    ``tolerance`` of the called ones' mean, with its one-sided ``z`` (1.645 for 90 % two-sided).
    """

    family: Literal["control_group"]
    minimum_customers: PositiveInt
    scale: Literal["count", "history"]
    balance_days: Annotated[int, Field(ge=2)]
    look_back_days: PositiveInt
    tolerance: Fraction
    z: PositiveFloat


class Regression(Frozen):
    """Time of week and piecewise linear temperature, fitted on the like days of the look-back."""

    family: Literal["regression"]
    knots_celsius: tuple[float, ...]
    minimum_days: PositiveInt
    look_back_days: PositiveInt

    @model_validator(mode="after")
    def _ascends(self) -> Self:
        if list(self.knots_celsius) != sorted(set(self.knots_celsius)):
            raise ValueError("knots_celsius must ascend")
        return self


class GeneratorOutput(Frozen):
    """A device with a meter of its own: its schedule."""

    family: Literal["generator_output"]


class FirmLevel(Frozen):
    """Maximum base load: what the customer has promised not to exceed is measured against a reference level."""

    family: Literal["firm_level"]


class LearnedMorning(Frozen):
    """Day matching, and how much of a morning's surplus stays, learned from the site's own days."""

    family: Literal["learned_morning"]
    days: DayRule
    morning: Window
    signals: Annotated[tuple[Literal["level", "trend"], ...], Field(min_length=1)]
    ridge_days: PositiveFloat
    minimum_learning_days: PositiveInt
    learning_look_back_days: PositiveInt


Parameters = Annotated[
    DayMatching
    | MeterWindow
    | Rolling
    | NearestTemperature
    | MatchDay
    | ControlGroup
    | Regression
    | GeneratorOutput
    | FirmLevel
    | LearnedMorning,
    Field(discriminator="family"),
]


class MethodSpec(Frozen):
    """One row of the table.  A rule that changes gets a new version; the old one stays as it is.

    ``planning``: the service may plan with it (``METHODS`` in ``models/settlement/baseline.py``).
    """

    id: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    version: PositiveInt
    title_en: Annotated[str, Field(min_length=1)]
    title_zh: Annotated[str, Field(min_length=1)]
    naesb: Literal[
        "Baseline Type-I", "Baseline Type-II", "Maximum Base Load", "Meter Before/After", "Generator Output", "none"
    ]
    source: Annotated[str, Field(min_length=1)]
    verified: bool
    planning: bool = False
    parameters: Parameters
    adjustment: Adjustment | None = None


class UnknownMethod(Frozen):
    """A method that is known by name only: it has no row until somebody has read its text."""

    id: str
    missing: str
    source: str


class MethodTable(Frozen):
    """The packaged file."""

    method: tuple[MethodSpec, ...]
    unknown: tuple[UnknownMethod, ...] = ()
