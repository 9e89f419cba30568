r"""The market of one interval in whole numbers: quanta of power, ticks of price.

    (K1)  L_a = ⌈least_a / q⌉                                what an area needs, up                  [quanta]
    (K2)  U_a = ⌊most_a / q⌋                                 what it takes at most, down             [quanta]
    (K3)  L_0 = max(⌈need / q⌉, Σ_{a outermost} L_a)         the city's need covers that of areas    [quanta]
    (K4)  U_0 = max(L_0, ⌊(1 + surplus) need / q⌋)           what the city takes at most             [quanta]

=======  ================  ======  ================================================================
symbol   name here         unit    meaning
=======  ================  ======  ================================================================
q        quantum_kw        kW      what is accepted is a multiple of it; bids are, needs need not be
least    at_least_kw       kW      needed in an area
most     at_most_kw        kW      useful in an area, any amount where there is none
need     need_kw           kW      needed in the city, which is area 0
surplus  surplus_fraction  -       so much more may be accepted
L, U     least, most       quanta  the limits that clearing keeps
=======  ================  ======  ================================================================

So a rounded result keeps the limits as they were given.  Areas are nested or apart, hence with the minimum quantities
decided the rows form a network: its corners, and its prices, are whole numbers by themselves and nothing is rounded
after the solve.  Offers stand in the order in which equal prices are served: submitted, then by name.
"""

import itertools
import math
from dataclasses import dataclass

from models.clearing.market import CITY, Bid, Market, Need, Offer

_ROUNDING = 1e-6


@dataclass(frozen=True, slots=True)
class BookOffer:
    """One offer: ``bid`` is its index in the market, ``area`` that of the innermost area it lies in."""

    bid: int
    area: int
    quantities: tuple[int, ...]
    prices: tuple[int, ...]
    minimum: int

    @property
    def offered(self) -> int:
        """All of it, quanta."""
        return sum(self.quantities)

    def cost(self, accepted: int) -> int:
        """What the first ``accepted`` quanta cost at the bid's own prices, ticks x quanta."""
        cost = 0
        for quantity, price in zip(self.quantities, self.prices, strict=True):
            taken = min(quantity, accepted)
            cost, accepted = cost + taken * price, accepted - taken
        return cost


@dataclass(frozen=True, slots=True)
class BookArea:
    """One area: ``parent`` is the index of the innermost area around it, −1 for the city, which is the first."""

    area_id: str
    zone_ids: frozenset[str]
    parent: int
    least: int
    most: int


@dataclass(frozen=True)
class Book:
    """One interval: parents stand before their children in ``areas``; prices in ticks."""

    areas: tuple[BookArea, ...]
    offers: tuple[BookOffer, ...]
    floor: int
    cap: int
    shortfall: int

    def path(self, area: int) -> list[int]:
        """The area, what it lies in, and so on up to the city."""
        found = []
        while area >= 0:
            found.append(area)
            area = self.areas[area].parent
        return found

    def sums(self, accepted: list[int]) -> list[int]:
        """Response of every area, quanta, for what is accepted of every offer."""
        total = [0] * len(self.areas)
        for offer, amount in zip(self.offers, accepted, strict=True):
            total[offer.area] += amount
        for k in range(len(self.areas) - 1, 0, -1):
            total[self.areas[k].parent] += total[k]
        return total

    def in_area(self, area: int) -> list[int]:
        """Indices of the offers that lie in an area."""
        return [k for k, offer in enumerate(self.offers) if area in self.path(offer.area)]

    def cost(self, accepted: list[int]) -> int:
        """The objective: what is accepted at bid prices, and what every area lacks, ticks x quanta."""
        lack = sum(max(0, area.least - total) for area, total in zip(self.areas, self.sums(accepted), strict=True))
        bids = sum(offer.cost(amount) for offer, amount in zip(self.offers, accepted, strict=True))
        return bids + self.shortfall * lack


def up(value_kw: float, quantum_kw: float) -> int:
    """Quanta that cover so much power."""
    return math.ceil(value_kw / quantum_kw - _ROUNDING)


def down(value_kw: float, quantum_kw: float) -> int:
    """Quanta that fit into so much power."""
    return math.floor(value_kw / quantum_kw + _ROUNDING)


def order_of_bids(market: Market) -> list[int]:
    """Indices of bids as they are served at equal prices."""
    return sorted(range(len(market.bids)), key=lambda k: _turn(market.bids[k]))


def _turn(bid: Bid) -> tuple[float, str, str]:
    return bid.submitted_at.timestamp(), bid.aggregator_id, bid.zone_id


def open_book(market: Market, need: Need, order: list[int]) -> Book:
    """The market of one interval; ``order`` from ``order_of_bids``."""
    tick = market.rule.tick_per_kwh
    areas = _areas(market, need)
    innermost = {zone: max(k for k, area in enumerate(areas) if zone in area.zone_ids) for zone in market.zone_ids}
    offers = [
        _offer(k, innermost[market.bids[k].zone_id], offer, market)
        for k in order
        for offer in market.bids[k].offers
        if offer.start == need.start
    ]
    rule = market.rule
    prices = (round(price / tick) for price in (rule.floor_per_kwh, rule.cap_per_kwh, rule.shortfall_per_kwh))
    return Book(tuple(areas), tuple(offers), *prices)


def _offer(bid: int, area: int, offer: Offer, market: Market) -> BookOffer:
    quantum, tick = market.rule.quantum_kw, market.rule.tick_per_kwh
    ends = [0, *(round(step.up_to_kw / quantum) for step in offer.steps)]
    quantities = tuple(b - a for a, b in itertools.pairwise(ends))
    prices = tuple(round(step.price_per_kwh / tick) for step in offer.steps)
    return BookOffer(bid, area, quantities, prices, round(offer.minimum_kw / quantum))


def _areas(market: Market, need: Need) -> list[BookArea]:
    """(K1) to (K4); large areas first, so that parents stand before their children."""
    quantum = market.rule.quantum_kw
    named = sorted(need.areas, key=lambda area: (-len(area.zone_ids), area.area_id))
    zones = [market.zone_ids, *(area.zone_ids for area in named)]
    parents = [-1] + [max(j for j in range(k) if zones[k] <= zones[j]) for k in range(1, len(zones))]
    least = [up(need.need_kw, quantum), *(up(area.at_least_kw, quantum) for area in named)]
    least[0] = max(least[0], _asked_inside(0, least, parents))
    most = [max(least[0], down((1 + market.rule.surplus_fraction) * need.need_kw, quantum))]
    here = [offer.offered_kw for bid in market.bids for offer in bid.offers if offer.start == need.start]
    no_limit = up(sum(here), quantum) + 1  # more than is offered
    most += [no_limit if area.at_most_kw is None else down(area.at_most_kw, quantum) for area in named]
    ids = [CITY, *(area.area_id for area in named)]
    return [BookArea(*each) for each in zip(ids, zones, parents, least, most, strict=True)]


def _asked_inside(area: int, least: list[int], parents: list[int]) -> int:
    """What the areas directly inside one need together, each at least what those inside it need."""
    inner = [k for k, parent in enumerate(parents) if parent == area]
    return sum(max(least[k], _asked_inside(k, least, parents)) for k in inner)
