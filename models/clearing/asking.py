"""The price at which a minimum quantity would have been accepted, all else as it was: asked for one offer at a time."""

import time
from dataclasses import replace
from datetime import datetime
from fractions import Fraction

from models.clearing.book import Book, open_book, order_of_bids
from models.clearing.market import Market
from models.clearing.rules import require_sound
from models.clearing.solve import solve_interval
from models.errors import InputError, InputFault

DEADLINE_S = 10.0


def price_to_be_accepted(
    market: Market, bid_id: str, start: datetime, *, deadline_s: float = DEADLINE_S
) -> float | None:
    r"""Mean price of its minimum (of its first quantum, if it has none) below which an offer is accepted, CNY/kWh.

    The price is what it saves: (Z_without - Z_with) / M, with Z the least cost of the interval without the offer, and
    with its minimum given for nothing and no more of it: then so much less is needed, and useful, in every area around
    it.  At this price itself the two are a tie; a negative one says that not even a gift would be taken.  None: its
    minimum is more than an area around it can take.  Two solves of one interval.

    Raises ``InputError`` if there is no such offer, ``DeadlineError`` and ``SolverError`` as ``clear`` does.
    """
    require_sound(market)
    until = time.monotonic() + deadline_s
    need = next((each for each in market.needs if each.start == start), None)
    book = None if need is None else open_book(market, need, order_of_bids(market))
    mine = [] if book is None else [k for k, offer in enumerate(book.offers) if market.bids[offer.bid].bid_id == bid_id]
    if book is None or not mine:
        raise InputError(
            [InputFault(f"bid {bid_id}", "offers", start.isoformat(), "must have an offer in this interval")]
        )
    offer = book.offers[mine[0]]
    others = book.offers[: mine[0]] + book.offers[mine[0] + 1 :]
    amount, path = offer.minimum or 1, book.path(offer.area)
    areas = [
        replace(area, least=max(0, area.least - amount), most=area.most - amount) if k in path else area
        for k, area in enumerate(book.areas)
    ]
    if any(area.most < 0 for area in areas):
        return None
    without = _least(replace(book, offers=others), until)
    given = _least(replace(book, offers=others, areas=tuple(areas)), until)
    return float(Fraction(without - given, amount)) * market.rule.tick_per_kwh


def _least(book: Book, until: float) -> int:
    return book.cost(solve_interval(book, gap=0.0, until=until).accepted)
