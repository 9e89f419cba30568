"""Clear a market: solve every interval, price it, explain it, check it, and only then return it."""

import time

from models.clearing.book import Book, open_book, order_of_bids
from models.clearing.check.checking import check_clearing
from models.clearing.cover import cover
from models.clearing.explain import why
from models.clearing.market import CITY, Market, Need, Pricing
from models.clearing.prices import Prices, clearing_prices
from models.clearing.result import AreaCleared, Award, Clearing, IntervalCleared
from models.clearing.rules import require_sound
from models.clearing.solve import Cleared, solve_interval
from models.errors import SolverError

DEADLINE_S = 60.0


def clear(market: Market, *, deadline_s: float = DEADLINE_S, gap: float = 0.0) -> Clearing:
    """The cheapest acceptance of bids within ``gap`` (0: proven cheapest), with prices and reasons.

    Raises ``InputError`` for a market that breaks a rule, ``DeadlineError`` if nothing was found in time,
    ``SolverError`` if the solver fails or the checker finds anything wrong with what came of it.
    """
    require_sound(market)
    until = time.monotonic() + deadline_s
    order = order_of_bids(market)
    intervals, awards = [], []
    for k, need in enumerate(market.needs):
        book = open_book(market, need, order)
        now = time.monotonic()
        solved = solve_interval(book, gap=gap, until=now + (until - now) / (len(market.needs) - k))
        prices = clearing_prices(book, solved.accepted)
        intervals.append(_interval(market, need, book, solved, prices))
        awards += _awards(market, need, book, solved.accepted, prices)
    found = Clearing(
        market_id=market.market_id,
        rule_id=market.rule.rule_id,
        pricing=market.rule.pricing,
        intervals=tuple(intervals),
        awards=tuple(awards),
        cover=cover(market),
    )
    report = check_clearing(market, found)
    if report.violations:
        raise SolverError("refused by the checker", "; ".join(str(each) for each in report.violations[:5]))
    checked = [
        each.model_copy(update={"checked_bound_cny": bound})
        for each, bound in zip(found.intervals, report.bounds_cny, strict=True)
    ]
    return found.model_copy(update={"intervals": tuple(checked)})


def _interval(market: Market, need: Need, book: Book, solved: Cleared, prices: Prices) -> IntervalCleared:
    quantum, tick = market.rule.quantum_kw, market.rule.tick_per_kwh
    cny = quantum * tick * need.hours
    sums = book.sums(solved.accepted)
    zone_price: dict[str, float] = {}
    for area, price in zip(book.areas, prices.areas, strict=True):  # inner areas come later and have the last word
        zone_price |= dict.fromkeys(sorted(area.zone_ids), _neat(price * tick))
    given = {area.area_id: area for area in need.areas}
    lacks = [max(0, area.least - total) for area, total in zip(book.areas, sums, strict=True)]
    bids = sum(offer.cost(amount) for offer, amount in zip(book.offers, solved.accepted, strict=True))
    return IntervalCleared(
        start=need.start,
        end=need.end,
        need_kw=need.need_kw,
        surplus_kw=_neat(max(0, sums[0] - book.areas[0].least) * quantum),
        areas=tuple(
            AreaCleared(
                area_id=area.area_id,
                accepted_kw=_neat(total * quantum),
                at_least_kw=need.need_kw if area.area_id == CITY else given[area.area_id].at_least_kw,
                at_most_kw=_neat(area.most * quantum) if area.area_id == CITY else given[area.area_id].at_most_kw,
                shortfall_kw=_neat(lack * quantum),
                price_per_kwh=_neat(price * tick),
            )
            for area, total, lack, price in zip(book.areas, sums, lacks, prices.areas, strict=True)
        ),
        zone_price_per_kwh=zone_price,
        cost_cny=bids * cny,
        shortfall_cny=book.shortfall * sum(lacks) * cny,
        bound_cny=max(0.0, solved.bound) * cny,
        status=solved.status,
    )


def _awards(market: Market, need: Need, book: Book, accepted: list[int], prices: Prices) -> list[Award]:
    quantum, tick = market.rule.quantum_kw, market.rule.tick_per_kwh
    cny = quantum * tick * need.hours
    awards = []
    for offer, amount, supplement in zip(book.offers, accepted, prices.supplements, strict=True):
        bid, price = market.bids[offer.bid], prices.areas[offer.area]
        reason = why(book, offer, amount, prices.areas)
        as_bid, as_cleared = offer.cost(amount) * cny, (price * amount + supplement) * cny
        as_bid_pricing = market.rule.pricing is Pricing.AS_BID
        awards.append(
            Award(
                bid_id=bid.bid_id,
                aggregator_id=bid.aggregator_id,
                zone_id=bid.zone_id,
                start=need.start,
                offered_kw=_neat(offer.offered * quantum),
                minimum_kw=_neat(offer.minimum * quantum),
                accepted_kw=_neat(amount * quantum),
                price_per_kwh=_neat(price * tick),
                as_bid_cny=as_bid,
                as_cleared_cny=as_cleared,
                supplement_cny=supplement * cny,
                payment_cny=as_bid if as_bid_pricing else as_cleared,
                reason=reason.reason,
                next_price_per_kwh=None if reason.next_price is None else _neat(reason.next_price * tick),
                margin_share=reason.margin_share,
                accepted_below_per_kwh=None if reason.below is None else _neat(reason.below * tick),
                limit_area_id=None if reason.area is None else book.areas[reason.area].area_id,
            )
        )
    return awards


def _neat(value: float) -> float:
    """A multiple of a decimal fraction as people write it: 1029 ticks of 0.001 are 1.029."""
    return round(value, 9)
