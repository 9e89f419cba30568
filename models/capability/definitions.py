"""What the source leaves open about the seven indices, and what was chosen: every choice a field with its reason.

The restatement of GB/T 44260 and 47241 in domain notes 2.2 names the indices in a line; thresholds, bands and
percentiles are not in it.  All defaults are ours (``verified`` is false until somebody reads the originals), and a test
is judged by the definitions that it is given: they are a part of its fingerprint.
"""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from models.capability.programme import ResourceClass
from models.settlement.performance import BAND

OpenShare = Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)]
Tail = Annotated[float, Field(ge=0, lt=0.5, allow_inf_nan=False)]
PositiveSeconds = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]


class Definitions(BaseModel):
    """Definitions of the seven indices and of what a test needs to count."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    longest_span_s: PositiveSeconds = Field(
        default=180,
        description="a reading is the mean since the one before; over more than this it shows nothing: three readings "
        "at the 1-min floor of telemetry (domain 2.3)",
    )
    missing_most: OpenShare = Field(
        default=0.1, description="a test in which more than this share of the time has no reading is void"
    )
    least_readings: Annotated[int, Field(ge=1)] = Field(
        default=3, description="with fewer readings in a step or in its hold nothing is said of it"
    )
    least_change_share: OpenShare = Field(
        default=0.05, description="up to this share of the largest order a change or a feed-in counts as none"
    )
    tail_share: Tail = Field(
        default=0.05,
        description="maximum and minimum of a step: the level that is passed for no more than this share of its time, "
        "so 5 % stands for the 95th and the 5th percentile; 0 is the very highest and lowest reading",
    )
    regulating_of: Literal["change", "power"] = Field(
        default="change",
        description="regulating capacity is max - min of the change against the baseline (a load that falls by itself "
        "regulates nothing), or of the power as it is measured",
    )
    before_s: PositiveSeconds = Field(
        default=300, description="what a change starts from: the mean over this time before the order"
    )
    response_share: OpenShare = Field(
        default=0.1, description="threshold of the response: this share of the ordered move"
    )
    response_stays_s: Annotated[float, Field(ge=0, le=86_400)] = Field(
        default=60, description="and the move must stay over it for this long, so that a spike is no response"
    )
    ramp_from: OpenShare = Field(default=0.1, description="the ramp begins at this share of the ordered move")
    ramp_to: OpenShare = Field(default=0.9, description="and ends at this share")
    block_s: PositiveSeconds = Field(
        default=60, description="held, and in the band or not: judged on means over blocks of at least this length"
    )
    band_low: OpenShare = Field(
        default=BAND[0], description="lower edge of the band of the duration, share of the order (edges of settlement)"
    )
    band_high: Annotated[float, Field(gt=1, le=10)] = Field(default=BAND[1], description="upper edge of that band")
    year_days: Annotated[float, Field(gt=0, le=366)] = Field(
        default=365, description="annual energy is the measured mean power over so many days"
    )
    year_least_days: Annotated[float, Field(gt=0, le=366)] = Field(
        default=330, description="with fewer days of readings nothing is said of a year: seasons differ"
    )
    year_longest_span_s: PositiveSeconds = Field(
        default=3600, description="longest time that one reading of the year may stand for"
    )
    source: str = "domain notes 2.2 [S15 2nd] names the indices; all numbers [D]"
    verified: bool = False

    @model_validator(mode="after")
    def _ramp_has_a_length(self) -> Self:
        if self.ramp_to <= self.ramp_from:
            raise ValueError(f"ramp_to: must be more than ramp_from {self.ramp_from:g} (got {self.ramp_to!r})")
        return self

    def choices(self) -> list[tuple[str, object, str]]:
        """Every choice as (name, value, what it means): what a report prints."""
        told = type(self).model_fields
        return [(name, getattr(self, name), field.description) for name, field in told.items() if field.description]


USUAL: dict[ResourceClass, Definitions] = {
    ResourceClass.DISTRIBUTED_GENERATION: Definitions(),
    ResourceClass.ENERGY_STORAGE: Definitions(longest_span_s=30, response_stays_s=10, before_s=60),
    ResourceClass.FLEXIBLE_LOAD: Definitions(block_s=300),
}
"""By class: storage is read every 10 s or faster (domain 2.3), a load swings too much to be judged by the minute."""
