"""What platform and aggregators say to each other about a market, whatever wire carries it.

An invitation opens an event for bids; bids come up, zone by zone; awards go down with a reason for every offer.  A
price per kWh is a number, as in the offers that it is compared with; sums of money are ``models.money_messages.Cny``.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_serializer, model_validator

from models.clearing.market import AreaNeed, Bid, Need, Offer, PositiveKw, PositivePricePerKwh, Pricing
from models.clearing.result import Reason
from models.errors import InputFault
from models.events import Direction, Remark
from models.money_messages import Cny
from models.units import AggregatorId, Count, Identifier, NonNegativeKw, NonNegativePricePerKwh, PricePerKwh, UtcTime

MOST_ZONE_BIDS = 1_000
MOST_OFFERS = 400
"""Of a bid: more than a day has intervals of five minutes."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


# ---- invitation


class InvitedArea(AreaNeed):
    """An area of an invitation; its zones are written in order, so that equal invitations are equal bytes."""

    @field_serializer("zone_ids")
    def _in_order(self, zone_ids: frozenset[str]) -> list[str]:
        return sorted(zone_ids)


class InvitedInterval(Need):
    """An interval of an invitation."""

    areas: tuple[InvitedArea, ...] = ()


class Invitation(_Frozen):
    """An event takes bids, or does no more; the newest invitation of an event says all there is to know.

    ``open`` again, with other content, replaces what was said before.  ``zone_ids``: where may be bid.  Prices are CNY
    per kWh of response, multiples of ``tick_per_kwh`` from floor to cap; power is a multiple of ``quantum_kw``.
    ``bids_until``: the gate; what the platform has received by then counts.
    """

    event_id: Identifier
    status: Literal["open", "closed", "cancelled"]
    direction: Direction
    start: UtcTime
    end: UtcTime
    zone_ids: Annotated[frozenset[Identifier], Field(min_length=1)]
    intervals: Annotated[tuple[InvitedInterval, ...], Field(min_length=1)]
    rule_id: Identifier
    pricing: Pricing
    floor_per_kwh: NonNegativePricePerKwh
    cap_per_kwh: NonNegativePricePerKwh
    tick_per_kwh: PositivePricePerKwh
    quantum_kw: PositiveKw
    bids_until: UtcTime
    reason: Remark = ""

    @field_serializer("zone_ids")
    def _in_order(self, zone_ids: frozenset[str]) -> list[str]:
        return sorted(zone_ids)

    @model_validator(mode="after")
    def _window(self) -> Self:
        if self.end <= self.start:
            raise ValueError(f"end: must be later than start (got {self.end.isoformat()!r})")
        if self.bids_until > self.start:
            raise ValueError(f"bids_until: must not be later than start (got {self.bids_until.isoformat()!r})")
        if self.cap_per_kwh < self.floor_per_kwh:
            raise ValueError(f"cap_per_kwh: must not be less than floor_per_kwh (got {self.cap_per_kwh})")
        if self.status == "cancelled" and not self.reason.strip():
            raise ValueError(f"reason: is required when an invitation is cancelled (got {self.reason!r})")
        return self

    @model_validator(mode="after")
    def _inside(self) -> Self:
        for before, after in pairwise(self.intervals):
            if after.start < before.end:
                rule = "must not begin before the last one ends"
                raise ValueError(f"intervals: {rule} (got {after.start.isoformat()!r})")
        for each in self.intervals:
            if each.start < self.start or each.end > self.end:
                raise ValueError(f"intervals: must lie in the window (got {each.start.isoformat()!r})")
            for area in each.areas:
                for zone in sorted(area.zone_ids - self.zone_ids):
                    raise ValueError(f"intervals: areas must have zones of the market only (got {zone!r})")
        return self

    @property
    def starts(self) -> Collection[datetime]:
        """Starts of all intervals."""
        return frozenset(each.start for each in self.intervals)


# ---- bids


class ZoneBid(_Frozen):
    """Place a bid in a zone, in the place of an earlier one if there is one, or withdraw it."""

    action: Literal["place", "withdraw"]
    zone_id: Identifier
    offers: Annotated[tuple[Offer, ...], Field(max_length=MOST_OFFERS)] = ()

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.action == "place" and not self.offers:
            raise ValueError("offers: must be there when a bid is placed (got 'none')")
        if self.action == "withdraw" and self.offers:
            raise ValueError(f"offers: must not be there when a bid is withdrawn (got '{len(self.offers)} offers')")
        return self

    def as_bid(self, bid_id: str, aggregator_id: str, submitted_at: datetime) -> Bid:
        """The bid for clearing; ``submitted_at`` is when the platform received it, whatever its sender says."""
        return Bid(
            bid_id=bid_id,
            aggregator_id=aggregator_id,
            zone_id=self.zone_id,
            submitted_at=submitted_at,
            offers=self.offers,
        )


class BidSubmission(_Frozen):
    """Bids of one aggregator for one event; zones that are not named keep the bid they have.

    ``sequence``: messages may overtake each other when they are sent again; a zone's bid is never replaced by one of a
    lower sequence.
    """

    event_id: Identifier
    sequence: Count = 0
    bids: Annotated[tuple[ZoneBid, ...], Field(max_length=MOST_ZONE_BIDS)]


# ---- awards


class OfferAward(_Frozen):
    """What became of one offer, and why.

    ``price_per_kwh``: the clearing price of the zone.  ``paid_per_kwh``: what an accepted kWh is paid on the mean, by
    the pricing of the market, None where nothing is accepted.  ``payment_cny``: what all of it is paid if delivered;
    ``supplement_cny`` of it on top of the clearing price (``models.clearing.result.Award`` has more words).
    ``limit_area_id``: whose limit is the reason; ``""`` is the city.
    """

    bid_id: Identifier
    zone_id: Identifier
    start: UtcTime
    end: UtcTime
    offered_kw: NonNegativeKw
    minimum_kw: NonNegativeKw
    accepted_kw: NonNegativeKw
    price_per_kwh: PricePerKwh
    paid_per_kwh: NonNegativePricePerKwh | None
    payment_cny: Cny
    supplement_cny: Cny
    reason: Reason
    next_price_per_kwh: PricePerKwh | None = None
    accepted_below_per_kwh: PricePerKwh | None = None
    limit_area_id: str | None = None
    reason_zh: str
    reason_en: str

    @model_validator(mode="after")
    def _sizes(self) -> Self:
        if self.end <= self.start:
            raise ValueError(f"end: must be later than start (got {self.end.isoformat()!r})")
        if self.accepted_kw > self.offered_kw:
            raise ValueError(f"accepted_kw: must not be more than offered_kw (got {self.accepted_kw})")
        return self


class AwardNotice(_Frozen):
    """What became of all offers of one aggregator; of two for an event the one cleared later counts."""

    event_id: Identifier
    cleared_at: UtcTime
    rule_id: Identifier
    pricing: Pricing
    awards: tuple[OfferAward, ...]


# ---- arrival


@dataclass(frozen=True, slots=True)
class Arrival:
    """How a message of an aggregator came; who takes it must keep its answer beside its effects.

    ``aggregator_id`` is proven by the wire.  ``refused``: items that the wire's reader has refused already, ``row`` as
    they were sent.  ``answer(faults)``: the bytes to keep, of faults whose ``row`` is a place in the list that was
    handed over, None for the whole.
    """

    aggregator_id: AggregatorId
    message_id: str
    received_at: datetime
    payload: bytes
    answer: Callable[[Sequence[InputFault]], bytes]
    refused: tuple[InputFault, ...] = ()

    def all_faults(self, faults: Sequence[InputFault]) -> Iterator[InputFault]:
        """What to set aside: the reader's and these."""
        yield from self.refused
        yield from faults
