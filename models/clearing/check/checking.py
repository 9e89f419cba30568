"""Check a clearing: everything recomputed from the market, without a solver."""

from collections import Counter
from dataclasses import dataclass

from models.clearing.check.amounts import check_areas, check_cost, check_cover, check_offers
from models.clearing.check.figures import Violation, interval_of
from models.clearing.check.money import check_payments, check_prices, check_reasons, check_turns
from models.clearing.market import Market
from models.clearing.result import Clearing


@dataclass(frozen=True)
class CheckReport:
    """Every violation, and by interval a bound on the cost that holds without any solver, CNY.

    The bound is the least cost itself where the minimum quantities are few enough to try all choices.
    """

    violations: tuple[Violation, ...]
    bounds_cny: tuple[float, ...]

    @property
    def ok(self) -> bool:
        """True if nothing is off."""
        return not self.violations


def check_clearing(market: Market, clearing: Clearing) -> CheckReport:
    """Hold a result against its market: limits, sums, prices, payments, turns, reasons, cost, cover."""
    found = list(_roster(market, clearing))
    if found:
        return CheckReport(tuple(found), ())
    awards: dict[object, dict[str, object]] = {need.start: {} for need in market.needs}
    for award in clearing.awards:
        awards[award.start][award.bid_id] = award
    rule, bounds, intervals = market.rule, [], []
    for need, result in zip(market.needs, clearing.intervals, strict=True):
        interval = interval_of(market, need, result, awards[need.start])  # type: ignore[arg-type]
        intervals.append(interval)
        cny = rule.quantum_kw * rule.tick_per_kwh * need.hours
        found += check_offers(interval, rule.quantum_kw)
        areas = list(check_areas(interval, rule.quantum_kw))
        found += areas
        costs, bound = check_cost(interval, cny)
        bounds.append(bound)
        found += costs
        if any(each.subject == "areas" for each in areas):
            continue
        found += check_prices(interval, rule.tick_per_kwh)
        found += check_payments(interval, rule.tick_per_kwh, cny, rule.pricing)
        found += check_turns(interval)
        found += check_reasons(interval, rule.tick_per_kwh)
    found += check_cover(market, intervals, clearing.cover)
    return CheckReport(tuple(found), tuple(bounds))


def _roster(market: Market, clearing: Clearing) -> list[Violation]:
    """Every interval and every offer has exactly one row, and its rule is the market's."""
    found = []
    for name in ("market_id", "rule_id", "pricing"):
        meant = getattr(market, name, None) or getattr(market.rule, name, None)
        if getattr(clearing, name) != meant:
            found.append(Violation("clearing", None, f"{name} is the market's", meant, getattr(clearing, name)))
    windows = [(need.start, need.end) for need in market.needs]
    if [(each.start, each.end) for each in clearing.intervals] != windows:
        found.append(Violation("clearing", None, "intervals are those of the market", len(windows), ""))
    meant = Counter((bid.bid_id, offer.start) for bid in market.bids for offer in bid.offers)
    got = Counter((award.bid_id, award.start) for award in clearing.awards)
    for bid_id, start in sorted((meant - got) + (got - meant)):
        found.append(Violation(bid_id, start, "every offer has one award", meant[bid_id, start], got[bid_id, start]))
    return found
