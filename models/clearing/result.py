"""What clearing gives back: prices and sums of intervals, an award with its reason for every offer, the cover."""

from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from models.clearing.cover import Cover
from models.clearing.market import Pricing
from models.units import AggregatorId, Fraction, Identifier, NonNegativeKw, NonNegativeMoney, PricePerKwh, UtcTime


class Reason(StrEnum):
    """Why an offer was accepted in full, or why no more of it was."""

    IN_FULL = "in_full"
    AT_THE_MARGIN = "at_the_margin"
    ABOVE_THE_PRICE = "above_the_price"
    AREA_LIMIT = "area_limit"
    MINIMUM_TOO_LARGE = "minimum_too_large"
    PARADOXICALLY_REJECTED = "paradoxically_rejected"
    NOTHING_NEEDED = "nothing_needed"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Award(_Frozen):
    """What became of one offer, and why.

    ``price_per_kwh``: the clearing price of its zone.  ``supplement_cny``: (R6), paid on top of it as cleared.
    ``as_bid_cny``, ``as_cleared_cny``: what it is paid by either pricing; ``payment_cny`` by the market's.
    ``next_price_per_kwh``: its own price of the first kW that was not accepted (of a rejected minimum its mean).
    ``margin_share``: the part accepted of its step at the clearing price, where that is divided.
    ``accepted_below_per_kwh``: more of it could be accepted only at a price below this; None if all was, or if no price
    would help.  Where a step sets the price a tick less is enough; for a minimum ``asking`` gives the exact answer.
    ``limit_area_id``: the area (``""`` the city) whose limit is the reason.
    """

    bid_id: Identifier
    aggregator_id: AggregatorId
    zone_id: Identifier
    start: UtcTime
    offered_kw: NonNegativeKw
    minimum_kw: NonNegativeKw
    accepted_kw: NonNegativeKw
    price_per_kwh: PricePerKwh
    as_bid_cny: NonNegativeMoney
    as_cleared_cny: NonNegativeMoney
    supplement_cny: NonNegativeMoney
    payment_cny: NonNegativeMoney
    reason: Reason
    next_price_per_kwh: PricePerKwh | None = None
    margin_share: Fraction | None = None
    accepted_below_per_kwh: PricePerKwh | None = None
    limit_area_id: str | None = None


class AreaCleared(_Frozen):
    """One area in one interval, the city (``""``) first; its zones have the price of their innermost area."""

    area_id: str
    accepted_kw: NonNegativeKw
    at_least_kw: NonNegativeKw
    at_most_kw: NonNegativeKw | None
    shortfall_kw: NonNegativeKw
    price_per_kwh: PricePerKwh


class IntervalCleared(_Frozen):
    """One interval.

    ``cost_cny``: what is accepted at bid prices, the cost that was minimised; ``shortfall_cny``: what is missing at
    its price.  ``bound_cny``: no acceptance can bring both together below this, by the solver; ``checked_bound_cny``:
    the same by the checker.  ``status``: ``optimal``, or ``feasible`` where time was up or a gap was
    allowed.
    """

    start: UtcTime
    end: UtcTime
    need_kw: NonNegativeKw
    surplus_kw: NonNegativeKw
    areas: tuple[AreaCleared, ...]
    zone_price_per_kwh: dict[str, PricePerKwh]
    cost_cny: NonNegativeMoney
    shortfall_cny: NonNegativeMoney
    bound_cny: NonNegativeMoney
    checked_bound_cny: NonNegativeMoney = 0.0
    status: str

    @property
    def city(self) -> AreaCleared:
        """The whole city."""
        return self.areas[0]


class Clearing(_Frozen):
    """The result of one market; ``awards`` in the order in which equal prices are served, interval by interval."""

    market_id: Identifier
    rule_id: Identifier
    pricing: Pricing
    intervals: tuple[IntervalCleared, ...]
    awards: tuple[Award, ...]
    cover: tuple[Cover, ...]

    @property
    def opens_emergency(self) -> bool:
        """True if offers do not cover the need with its margin, somewhere: the emergency stage opens."""
        return any(row.opens_emergency for row in self.cover)

    @property
    def payment_cny(self) -> float:
        """What all awards are paid."""
        return sum(award.payment_cny for award in self.awards)
