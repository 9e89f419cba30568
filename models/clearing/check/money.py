"""Prices, payments, turns and reasons: recomputed by relaxation of inequalities, not along the tree."""

import itertools
from collections.abc import Iterator
from fractions import Fraction

from models.clearing.check.amounts import differ, lines_of
from models.clearing.check.figures import Interval, Line, Node, Violation, nearest
from models.clearing.market import Pricing
from models.clearing.result import Reason


def check_prices(interval: Interval, tick: float) -> Iterator[Violation]:
    """Every price is the lowest of those that support what can be divided and leave the least supplements."""
    start, nodes = interval.need.start, list(interval.city.walk())
    shown = {area.area_id: area.price_per_kwh for area in interval.result.areas}
    low = {node.area_id: interval.floor for node in nodes}
    high = {node.area_id: interval.cap for node in nodes}
    for node in nodes:
        got = nearest(shown[node.area_id], tick)
        for line in node.lines:
            for price, taken in line.parts():
                side = "not below what was accepted" if taken else "not above what was not accepted"
                if (taken and got < price) or (not taken and got > price):
                    yield Violation(line.bid_id, start, f"clearing price is {side}", price, got)
                low[node.area_id] = max(low[node.area_id], price) if taken else low[node.area_id]
                high[node.area_id] = high[node.area_id] if taken else min(high[node.area_id], price)
    not_dearer = list(_not_dearer(interval.city))
    highest = _relaxed(high, not_dearer, down=True)
    for node in nodes:
        for line in node.lines:
            if line.minimum and line.accepted:
                mean = -(-line.cost(line.accepted) // line.accepted)
                low[node.area_id] = max(low[node.area_id], min(mean, highest[node.area_id]))
    lowest = _relaxed(low, not_dearer, down=False)
    for node in nodes:
        meant = lowest[node.area_id] * tick
        if differ(shown[node.area_id], meant):
            yield Violation(node.area_id or "city", start, "clearing price by rule", meant, shown[node.area_id])
    zones = interval.result.zone_price_per_kwh
    for zone in interval.city.zone_ids:
        inner = min((node for node in nodes if zone in node.zone_ids), key=lambda node: len(node.zone_ids))
        inner = next((n for n in inner.inner if zone in n.zone_ids), inner)
        if zone not in zones or differ(zones[zone], shown[inner.area_id]):
            yield Violation(zone, start, "a zone has the price of its area", shown[inner.area_id], zones.get(zone))


def _not_dearer(node: Node) -> Iterator[tuple[str, str]]:
    """Pairs of areas of which the first may not be dearer than the second."""
    for inner in node.inner:
        total = inner.accepted
        forced = max((line.minimum for line in inner.all_lines() if line.accepted), default=0)
        if inner.most is None or total < inner.most:
            yield node.area_id, inner.area_id
        is_short_without = total <= inner.least or total - forced < inner.least
        if not is_short_without:
            yield inner.area_id, node.area_id
        yield from _not_dearer(inner)


def _relaxed(bounds: dict[str, int], not_dearer: list[tuple[str, str]], *, down: bool) -> dict[str, int]:
    """Bounds drawn along the pairs until nothing moves."""
    found, moved = dict(bounds), True
    while moved:
        moved = False
        for cheap, dear in not_dearer:
            if found[cheap] > found[dear]:
                if down:
                    found[cheap] = found[dear]
                else:
                    found[dear] = found[cheap]
                moved = True
    return found


def check_payments(interval: Interval, tick: float, cny: float, pricing: Pricing) -> Iterator[Violation]:
    """Nobody is paid less than it bid, and everybody what the rule says."""
    for line in interval.city.all_lines():
        award, start = line.award, interval.need.start
        price = interval.result.zone_price_per_kwh[line.zone_id]
        as_bid, at_price = line.cost(line.accepted) * cny, price / tick * line.accepted * cny
        supplement = max(0.0, as_bid - at_price)
        as_cleared = max(as_bid, at_price)
        rows = (
            ("price_per_kwh", award.price_per_kwh, price),
            ("as_bid_cny", award.as_bid_cny, as_bid),
            ("as_cleared_cny", award.as_cleared_cny, as_cleared),
            ("supplement_cny", award.supplement_cny, supplement if line.minimum else 0.0),
            ("payment_cny", award.payment_cny, as_bid if pricing is Pricing.AS_BID else as_cleared),
        )
        for name, got, meant in rows:
            if differ(got, meant):
                yield Violation(line.bid_id, start, f"{name} by rule", meant, got)
        if award.payment_cny < as_bid and differ(award.payment_cny, as_bid):
            yield Violation(line.bid_id, start, "nobody is paid less than it bid", as_bid, award.payment_cny)


def check_turns(interval: Interval) -> Iterator[Violation]:
    """Equal prices in the order of submission, wherever the one could stand for the other."""
    start, lines = interval.need.start, lines_of(interval)
    homes = {line.bid_id: node for node in interval.city.walk() for line in node.lines}
    waiting, served = (_by_price(lines, taken=taken) for taken in (False, True))
    for price in sorted(waiting.keys() & served.keys()):
        for line, other in itertools.product(waiting[price], served[price]):
            if line.turn < other.turn and _may_replace(interval.city, homes[line.bid_id], homes[other.bid_id]):
                yield Violation(line.bid_id, start, "equal prices are served in turn", line.bid_id, other.bid_id)
    for line, other in itertools.combinations([line for line in lines if line.minimum], 2):
        same = line.steps == other.steps and line.minimum == other.minimum
        if same and homes[line.bid_id] is homes[other.bid_id] and not line.accepted and other.accepted:
            yield Violation(line.bid_id, start, "equal minimums are served in turn", line.bid_id, other.bid_id)


def _by_price(lines: list[Line], *, taken: bool) -> dict[int, list[Line]]:
    """Lines that have something at a price which was accepted, or was not."""
    found: dict[int, list[Line]] = {}
    for line in lines:
        for price, is_taken in line.parts():
            if is_taken is taken:
                found.setdefault(price, []).append(line)
    return found


def _may_replace(city: Node, more: Node, less: Node) -> bool:
    """True if a quantum more in one area and less in another keeps every limit."""
    for node in city.walk():
        gains, loses = more.zone_ids <= node.zone_ids, less.zone_ids <= node.zone_ids
        if gains and not loses and node.most is not None and node.accepted >= node.most:
            return False
        if loses and not gains and node.accepted <= node.least:
            return False
    return True


def check_reasons(interval: Interval, tick: float) -> Iterator[Violation]:
    """The reason given for every award is true."""
    for path in _paths([interval.city]):
        for line in path[-1].lines:
            if not _is_true(line, path, interval, tick):
                yield Violation(line.bid_id, interval.need.start, "the reason is true", "", line.award.reason.value)


def _paths(path: list[Node]) -> Iterator[list[Node]]:
    yield path
    for inner in path[-1].inner:
        yield from _paths([*path, inner])


def _is_true(line: Line, path: list[Node], interval: Interval, tick: float) -> bool:
    award, reason = line.award, line.award.reason
    if reason is Reason.IN_FULL or line.accepted == line.offered:
        return reason is Reason.IN_FULL and line.accepted == line.offered
    prices = {area.area_id: nearest(area.price_per_kwh, tick) for area in interval.result.areas}
    is_rejected = bool(line.minimum) and not line.accepted
    if is_rejected:
        own = Fraction(line.cost(line.minimum), line.minimum)
    else:
        own = Fraction(line.cost(line.accepted + 1) - line.cost(line.accepted))
    price = prices[path[-1].area_id]
    if award.next_price_per_kwh is None or differ(award.next_price_per_kwh, float(own) * tick):
        return False
    told_below = award.accepted_below_per_kwh
    has_price = reason in {Reason.AT_THE_MARGIN, Reason.ABOVE_THE_PRICE, Reason.AREA_LIMIT}
    if (told_below is None) == has_price or (has_price and differ(told_below or 0.0, price * tick)):
        return False
    full = {
        inner.area_id
        for outer, inner in itertools.pairwise(path)
        if prices[inner.area_id] < prices[outer.area_id] and own <= prices[outer.area_id]
    }
    too_small = {node.area_id for node in path if node.most is not None and node.most < line.minimum}
    return {
        Reason.NOTHING_NEEDED: not any(node.least for node in path),
        Reason.AT_THE_MARGIN: not is_rejected and own == price,
        Reason.ABOVE_THE_PRICE: own > price and not full,
        Reason.AREA_LIMIT: own > price and award.limit_area_id in full,
        Reason.MINIMUM_TOO_LARGE: award.limit_area_id in too_small,
        Reason.PARADOXICALLY_REJECTED: is_rejected and own <= price,
    }[reason]
