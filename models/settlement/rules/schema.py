"""What a settlement rule may say; rows of ``rules.toml`` are of these types, and nothing else in the code knows a rule.

A rule is a curve from delivery to *effective* quantity, a penalty, prices, conditions of validity and spans of netting.
Quantities are relative to the award B.  Over a period with delivery q a piece of the curve says

    effective = award_factor · B + delivered_factor · q      where q < to · B (and not below the piece before)

The numbers in a rule have at most three digits after the point, so that whole-number arithmetic on them is exact.
"""

import itertools
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from models.events import Direction
from models.units import Identifier, PositiveHours

Ratio = Annotated[Decimal, Field(ge=-100, le=100, decimal_places=3, allow_inf_nan=False)]
PositiveRatio = Annotated[Decimal, Field(gt=0, le=100, decimal_places=3, allow_inf_nan=False)]
Price = Annotated[Decimal, Field(ge=0, le=100, decimal_places=6, allow_inf_nan=False)]
Text = Annotated[str, Field(min_length=1)]
Span = Literal["period", "day"]


class Stage(StrEnum):
    """In which stage of the market a call was made: the notice types of events, and the minutes before the hour."""

    DAY_AHEAD = "day_ahead"
    INTRADAY = "intraday"
    EMERGENCY = "emergency"
    REAL_TIME = "real_time"


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Piece(_Row):
    """One straight piece of an effective-quantity curve, up to ``to`` times the award; the last one has no end."""

    to: Ratio | None = None
    award_factor: Ratio = Decimal(0)
    delivered_factor: Ratio = Decimal(0)


class Penalty(_Row):
    """A charge on the kWh by which the effective quantity is under ``below`` · B, or delivery over ``above`` · B."""

    price_factor: PositiveRatio
    below: PositiveRatio | None = None
    above: PositiveRatio | None = None

    @model_validator(mode="after")
    def _has_an_edge(self) -> Self:
        if self.below is None and self.above is None:
            raise ValueError("below: a penalty needs an edge, below or above (got None)")
        return self


class Assessment(_Row):
    """How one class of users is assessed."""

    effective: Annotated[tuple[Piece, ...], Field(min_length=1)]
    penalty: Penalty | None = None

    @model_validator(mode="after")
    def _pieces_rise_to_the_end(self) -> Self:
        ends = [piece.to for piece in self.effective]
        if ends[-1] is not None:
            raise ValueError(f"effective: the last piece must have no end (got {ends[-1]})")
        inner = [end for end in ends[:-1] if end is not None]
        if len(inner) != len(ends) - 1 or any(a >= b for a, b in itertools.pairwise(inner)):
            raise ValueError(f"effective: all pieces but the last must end, each later (got {[str(e) for e in ends]})")
        return self


class PriceTerms(_Row):
    """A price and to what it applies: the first row that fits a call is its price.

    Price = factor · clip(clearing or fixed, floor, cap).  ``capacity_cny_per_kw`` is paid besides, on the mean
    effective power of each period.  An empty list of stages or directions means all.
    """

    stages: tuple[Stage, ...] = ()
    directions: tuple[Direction, ...] = ()
    shorter_than_h: PositiveHours | None = None
    source: Literal["clearing", "fixed"]
    fixed_cny_per_kwh: Price | None = None
    floor_cny_per_kwh: Price = Decimal(0)
    cap_cny_per_kwh: Price | None = None
    factor: PositiveRatio = Decimal(1)
    capacity_cny_per_kw: Price = Decimal(0)
    penalised: bool = True

    @model_validator(mode="after")
    def _price_makes_sense(self) -> Self:
        if (self.fixed_cny_per_kwh is None) != (self.source == "clearing"):
            raise ValueError(f"fixed_cny_per_kwh: given if and only if source is fixed (got {self.fixed_cny_per_kwh})")
        if self.cap_cny_per_kwh is not None and self.cap_cny_per_kwh < self.floor_cny_per_kwh:
            raise ValueError(f"cap_cny_per_kwh: must not be under the floor (got {self.cap_cny_per_kwh})")
        return self

    def fits(self, stage: Stage, direction: Direction, duration_h: float) -> bool:
        """Whether a call of this kind has this price."""
        return (
            (not self.stages or stage in self.stages)
            and (not self.directions or direction in self.directions)
            and (self.shorter_than_h is None or duration_h < self.shorter_than_h)
        )


class Validity(_Row):
    """Without these nothing of a span counts: delivery / award; mean and peak of the load under the baseline's."""

    over: Span = "day"
    least_ratio: PositiveRatio | None = None
    mean_below_baseline: bool = False
    peak_below_baseline: bool = False


class Netting(_Row):
    """Over what span a shortfall is netted before it is penalised: one settlement period or one market day."""

    direct: Span = "period"
    agent: Span = "period"


class Reserve(_Row):
    """Capacity kept ready is paid by the kW; where response was called, at most the mean award if so said."""

    at_most_mean_award: bool = False
    cap_cny_per_kw: Price | None = None


class Rule(_Row):
    """One version of one rule; ``doubts``: what is not known of it, or is ours."""

    rule_id: Identifier
    version: Annotated[int, Field(ge=1)]
    valid_from: date
    source: Text
    verified: bool
    doubts: Annotated[tuple[Text, ...], Field(min_length=1)]
    period: Literal["clock_hour", "event"] = "clock_hour"
    ordinary: Assessment
    protected: Assessment | None = None
    validity: Validity | None = None
    netting: Netting = Netting()
    prices: Annotated[tuple[PriceTerms, ...], Field(min_length=1)]
    reserve: Reserve | None = None

    @property
    def name(self) -> str:
        """Id and version as one word."""
        return f"{self.rule_id}@{self.version}"

    def assessment(self, *, protected: bool) -> Assessment:
        """How a user is assessed; users under protection as all others where the rule knows no protection."""
        return self.protected if protected and self.protected is not None else self.ordinary
