"""The market side of a gateway: answers invitations by a policy, keeps awards and statements, disputes.

A *bidder* is a function of an invitation; what it offers is sent as one message for all zones.  An invitation that
comes again with nothing new is not answered again; one with news replaces the bid.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from simulations.wire import market_codec
from simulations.wire.market_codec import IntervalOffer, ReceivedAward, ReceivedInvitation, ReceivedStatement

ZoneOffers = Mapping[str, Sequence[IntervalOffer]]
"""Offers by zone; a zone with none has its bid withdrawn, if there is one."""

Bidder = Callable[[ReceivedInvitation], ZoneOffers]
Put = Callable[[str, Mapping[str, Any]], str]
"""Sends fields up on a topic until they are answered; the id of the message."""


def no_bids(invitation: ReceivedInvitation) -> ZoneOffers:
    """The policy of an aggregator that hears of markets and stays away."""
    del invitation
    return {}


def flat_price(power_kw: Mapping[str, float], price_per_kwh: float) -> Bidder:
    """So many kW of a zone in every interval at one price, as near as tick, quantum, floor and cap allow."""

    def bidder(invitation: ReceivedInvitation) -> ZoneOffers:
        tick, quantum_kw = invitation.tick_per_kwh, invitation.quantum_kw
        price = min(max(round(price_per_kwh / tick) * tick, invitation.floor_per_kwh), invitation.cap_per_kwh)
        offers: dict[str, Sequence[IntervalOffer]] = {}
        for zone_id in sorted(power_kw.keys() & invitation.zone_ids):
            whole_kw = int(power_kw[zone_id] / quantum_kw + 1e-9) * quantum_kw
            if whole_kw > 0:
                step = (round(price, 9), whole_kw)
                offers[zone_id] = [IntervalOffer(each.start, (step,)) for each in invitation.intervals]
        return offers

    return bidder


@dataclass
class KeptAwards:
    """Awards of one clearing; complete when all parts are there."""

    cleared_at: datetime
    parts: int
    by_part: dict[int, tuple[ReceivedAward, ...]] = field(default_factory=dict)

    @property
    def is_complete(self) -> bool:
        """True if no part is missing."""
        return len(self.by_part) == self.parts

    @property
    def awards(self) -> tuple[ReceivedAward, ...]:
        """What has come, in the order of the parts."""
        return tuple(award for part in sorted(self.by_part) for award in self.by_part[part])


class MarketDesk:
    """What a gateway knows of markets: the newest invitation, awards and statement of every event.

    ``counts``: invitations, awards, statements as they came; bids and disputes as they were sent; duplicates.
    """

    def __init__(self, put: Put, counts: Counter[str], bidder: Bidder = no_bids) -> None:
        self.invitations: dict[str, ReceivedInvitation] = {}
        self.awards: dict[str, KeptAwards] = {}
        self.statements: dict[str, list[ReceivedStatement]] = {}
        self.bidder = bidder
        self._put, self._counts = put, counts
        self._sequences: Counter[str] = Counter()
        self._placed: dict[str, set[str]] = {}

    def take(self, news: market_codec.MarketNews) -> None:
        """One message from the platform."""
        match news:
            case market_codec.ReceivedInvitation():
                self._take_invitation(news)
            case market_codec.ReceivedAwards():
                self._take_awards(news)
            case market_codec.ReceivedStatement():
                self._take_statement(news)

    def bid(self, event_id: str, offers: ZoneOffers) -> str | None:
        """Send bids, and withdraw those of zones without an offer; the message's id, None if nothing was to be said."""
        placed = self._placed.setdefault(event_id, set())
        bids = []
        for zone_id, wanted in offers.items():
            if wanted:
                bids.append(market_codec.place(zone_id, wanted))
                placed.add(zone_id)
            elif zone_id in placed:
                bids.append(market_codec.withdraw(zone_id))
                placed.remove(zone_id)
        if not bids:
            return None
        self._sequences[event_id] += 1
        self._counts["bids"] += len(bids)
        return self._put("bids", {"event_id": event_id, "sequence": self._sequences[event_id], "bids": bids})

    def dispute(self, event_id: str, version: int, reason: str, resource_id: str | None = None) -> str:
        """Contest a version of a statement; the message's id."""
        self._counts["disputes"] += 1
        return self._put("disputes", market_codec.dispute(event_id, version, reason, resource_id))

    def _take_invitation(self, invitation: ReceivedInvitation) -> None:
        self._counts["invitations"] += 1
        if self.invitations.get(invitation.event_id) == invitation:
            self._counts["duplicates"] += 1
            return
        self.invitations[invitation.event_id] = invitation
        if invitation.status == "open":
            wanted = self.bidder(invitation)
            dropped = {zone: () for zone in self._placed.get(invitation.event_id, set()) if zone not in wanted}
            self.bid(invitation.event_id, {**wanted, **dropped})

    def _take_awards(self, news: market_codec.ReceivedAwards) -> None:
        self._counts["awards"] += 1
        kept = self.awards.get(news.event_id)
        if kept is None or kept.cleared_at < news.cleared_at:
            kept = self.awards[news.event_id] = KeptAwards(news.cleared_at, news.parts)
        if kept.cleared_at == news.cleared_at:
            self._counts["duplicates"] += news.part in kept.by_part
            kept.by_part[news.part] = news.awards

    def _take_statement(self, statement: ReceivedStatement) -> None:
        self._counts["statements"] += 1
        kept = self.statements.setdefault(statement.event_id, [])
        if statement in kept:
            self._counts["duplicates"] += 1
            return
        kept.append(statement)
