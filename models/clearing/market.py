"""A market of one call as data: what is needed, what is offered, and the rule by which it is cleared.

All power is response in the direction of the event, 0 or more.  Prices are CNY per kWh of response.  Areas of one
interval are nested or apart: a feeder lies in a station, a station in a section.
"""

from enum import StrEnum
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from models.units import AggregatorId, Fraction, Identifier, NonNegativeKw, NonNegativePricePerKwh, UtcTime

PositiveKw = Annotated[float, Field(gt=0, allow_inf_nan=False)]
PositivePricePerKwh = Annotated[float, Field(gt=0, allow_inf_nan=False)]
CITY = ""
"""The area that holds every zone; its ``at_least_kw`` is the need."""
_ROUNDING = 1e-6


def is_multiple(value: float, unit: float) -> bool:
    """True if ``value`` is so many whole ``unit``, but for the rounding of decimal fractions."""
    return abs(value / unit - round(value / unit)) <= _ROUNDING


class Pricing(StrEnum):
    """What an accepted bid is paid: its own prices, or the clearing price of its zone."""

    AS_BID = "as_bid"
    AS_CLEARED = "as_cleared"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Step(_Frozen):
    """From where the step before it ends up to ``up_to_kw``, at this price."""

    price_per_kwh: NonNegativePricePerKwh
    up_to_kw: PositiveKw


class Offer(_Frozen):
    """What a bid offers in one interval; ``minimum_kw``: so much or nothing."""

    start: UtcTime
    steps: Annotated[tuple[Step, ...], Field(min_length=1, max_length=50)]
    minimum_kw: NonNegativeKw = 0.0

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        for k, (before, after) in enumerate(zip(self.steps, self.steps[1:], strict=False), start=1):
            if after.up_to_kw <= before.up_to_kw:
                raise ValueError(
                    f"steps.{k}.up_to_kw: must be more than that of the step before (got {after.up_to_kw})"
                )
            if after.price_per_kwh < before.price_per_kwh:
                raise ValueError(
                    f"steps.{k}.price_per_kwh: must not fall from step to step (got {after.price_per_kwh})"
                )
        if self.minimum_kw > self.offered_kw:
            raise ValueError(f"minimum_kw: must not be more than is offered (got {self.minimum_kw})")
        return self

    @property
    def offered_kw(self) -> float:
        """All of it."""
        return self.steps[-1].up_to_kw


class Bid(_Frozen):
    """All offers of an aggregator in one zone; equal prices are served in the order of ``submitted_at``."""

    bid_id: Identifier
    aggregator_id: AggregatorId
    zone_id: Identifier
    submitted_at: UtcTime
    offers: Annotated[tuple[Offer, ...], Field(min_length=1)]


class AreaNeed(_Frozen):
    """Limits of the response of some zones together: at least so much is needed there, at most so much is useful."""

    area_id: Identifier
    zone_ids: Annotated[frozenset[Identifier], Field(min_length=1)]
    at_least_kw: NonNegativeKw = 0.0
    at_most_kw: NonNegativeKw | None = None

    @model_validator(mode="after")
    def _limits(self) -> Self:
        if self.at_most_kw is not None and self.at_most_kw < self.at_least_kw:
            raise ValueError(f"at_most_kw: must not be less than at_least_kw (got {self.at_most_kw})")
        return self


class Need(_Frozen):
    """What the city needs in one interval, and where."""

    start: UtcTime
    end: UtcTime
    need_kw: NonNegativeKw
    areas: tuple[AreaNeed, ...] = ()

    @model_validator(mode="after")
    def _window(self) -> Self:
        if self.end <= self.start:
            raise ValueError(f"end: must be later than start (got {self.end.isoformat()!r})")
        return self

    @property
    def hours(self) -> float:
        """Δ, h."""
        return (self.end - self.start).total_seconds() / 3600


class MarketRule(_Frozen):
    """The market's rule as data.

    ``shortfall_per_kwh``: what a missing kWh counts, above the cap.  ``surplus_fraction``: so much more than the need
    may be accepted where minimum quantities do not add up to it.  ``cover_factor``: offers below so many times the
    need open the emergency stage.  Defaults: Sichuan, domain notes 2.3 and 2.4, second hand; shortfall, surplus (the
    band of 110 %), quantum and tick are ours.
    """

    rule_id: Identifier = "sichuan-bids-v1"
    pricing: Pricing = Pricing.AS_CLEARED
    floor_per_kwh: NonNegativePricePerKwh = 0.0
    cap_per_kwh: NonNegativePricePerKwh = 3.0
    shortfall_per_kwh: PositivePricePerKwh = 30.0
    surplus_fraction: Fraction = 0.1
    cover_factor: Annotated[float, Field(ge=1, le=10)] = 1.1
    quantum_kw: PositiveKw = 1.0
    tick_per_kwh: PositivePricePerKwh = 0.001

    @model_validator(mode="after")
    def _prices(self) -> Self:
        if self.cap_per_kwh < self.floor_per_kwh:
            raise ValueError(f"cap_per_kwh: must not be less than floor_per_kwh (got {self.cap_per_kwh})")
        if self.shortfall_per_kwh < self.cap_per_kwh + self.tick_per_kwh:
            raise ValueError(f"shortfall_per_kwh: must be above cap_per_kwh (got {self.shortfall_per_kwh})")
        for name in ("floor_per_kwh", "cap_per_kwh", "shortfall_per_kwh"):
            if not is_multiple(getattr(self, name), self.tick_per_kwh):
                raise ValueError(f"{name}: must be a multiple of tick_per_kwh (got {getattr(self, name)})")
        return self


class Market(_Frozen):
    """One call: its intervals, its zones, and the bids that came in time."""

    market_id: Identifier
    rule: MarketRule = MarketRule()
    zone_ids: Annotated[frozenset[Identifier], Field(min_length=1)]
    needs: Annotated[tuple[Need, ...], Field(min_length=1)]
    bids: tuple[Bid, ...] = ()
