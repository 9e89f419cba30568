"""Amounts, sums and cost: what was accepted against what was offered, needed, useful and cheapest."""

from collections.abc import Iterator
from fractions import Fraction

from models.clearing.check.bound import best_of_all, least_cost
from models.clearing.check.figures import Interval, Line, Node, Violation, nearest, whole
from models.clearing.cover import Cover
from models.clearing.market import Market, Need

NEAR = 1e-6
"""Relative slip of money, which comes as floats."""


def differ(left: float, right: float) -> bool:
    """True if two figures are not the same but for floating point."""
    return abs(left - right) > NEAR * max(1.0, abs(left), abs(right))


def check_offers(interval: Interval, quantum_kw: float) -> Iterator[Violation]:
    """Every award: whole quanta, no more than offered, its minimum or nothing."""
    for line in interval.city.all_lines():
        start, amount = interval.need.start, line.award.accepted_kw
        if abs(whole(amount, quantum_kw) - line.accepted) > Fraction(1, 10**6):
            yield Violation(line.bid_id, start, "accepted_kw is a multiple of the quantum", quantum_kw, amount)
        if line.accepted > line.offered:
            yield Violation(line.bid_id, start, "accepted_kw is no more than offered", line.offered, line.accepted)
        if 0 < line.accepted < line.minimum:
            yield Violation(line.bid_id, start, "accepted_kw is its minimum or nothing", line.minimum, line.accepted)
        for name, got, meant in (
            ("offered_kw", line.award.offered_kw, line.offered),
            ("minimum_kw", line.award.minimum_kw, line.minimum),
        ):
            if nearest(got, quantum_kw) != meant:
                yield Violation(line.bid_id, start, f"{name} is as bid", meant * quantum_kw, got)
        if line.award.zone_id != line.zone_id:
            yield Violation(line.bid_id, start, "zone_id is as bid", line.zone_id, line.award.zone_id)


def check_areas(interval: Interval, quantum_kw: float) -> Iterator[Violation]:
    """Limits of areas, and what the result says of them."""
    start, shown = interval.need.start, {area.area_id: area for area in interval.result.areas}
    nodes = list(interval.city.walk())
    if sorted(shown) != sorted(node.area_id for node in nodes) or len(shown) != len(interval.result.areas):
        yield Violation("areas", start, "every area is there once", [node.area_id for node in nodes], sorted(shown))
        return
    for node in nodes:
        name, total, area = node.area_id or "city", node.accepted, shown[node.area_id]
        if node.most is not None and total > node.most:
            yield Violation(name, start, "response is no more than is useful", node.most, total)
        if nearest(area.accepted_kw, quantum_kw) != total:
            yield Violation(name, start, "accepted_kw is the sum of awards", total * quantum_kw, area.accepted_kw)
        lack = max(0, node.least - total)
        if nearest(area.shortfall_kw, quantum_kw) != lack:
            yield Violation(name, start, "shortfall_kw is what is missing", lack * quantum_kw, area.shortfall_kw)
    surplus = max(0, interval.city.accepted - interval.city.least) * quantum_kw
    if differ(interval.result.surplus_kw, surplus):
        yield Violation("city", start, "surplus_kw is what is too much", surplus, interval.result.surplus_kw)


def check_cost(interval: Interval, cny: float) -> tuple[list[Violation], float]:
    """Costs as reported, cheapest for the accepted minimums, and no bound above what is possible; the bound, CNY.

    ``cny``: worth of a tick x quantum in this interval.
    """
    start, city, result = interval.need.start, interval.city, interval.result
    lines = city.all_lines()
    bids = sum(line.cost(line.accepted) for line in lines)
    lack = interval.shortfall * sum(max(0, node.least - node.accepted) for node in city.walk())
    found = []
    for name, got, meant in (("cost_cny", result.cost_cny, bids), ("shortfall_cny", result.shortfall_cny, lack)):
        if differ(got, meant * cny):
            found.append(Violation("city", start, f"{name} is the sum", meant * cny, got))
    decided = {line.bid_id: line.accepted > 0 for line in lines if line.minimum}
    least = least_cost(city, decided, interval.shortfall)
    if least is None or bids + lack != least:
        found.append(Violation("city", start, "cheapest for the accepted minimums", least, bids + lack))
    bound = least_cost(city, None, interval.shortfall) or 0
    best = best_of_all(city, interval.shortfall)
    if best is not None and result.bound_cny > float(best * cny if isinstance(best, int) else float(best) * cny) + NEAR:
        found.append(
            Violation("city", start, "bound_cny is not above the least cost", float(best) * cny, result.bound_cny)
        )
    if result.status == "optimal" and best is not None and differ(float(best) * cny, (bids + lack) * cny):
        found.append(Violation("city", start, "optimal is the cheapest of all choices", best, bids + lack))
    if result.bound_cny > (bids + lack) * cny * (1 + NEAR) + NEAR:
        found.append(Violation("city", start, "bound_cny is not above the cost", (bids + lack) * cny, result.bound_cny))
    best_bound = float(best if best is not None else bound) * cny
    return found, min(best_bound, (bids + lack) * cny)


def check_cover(market: Market, intervals: list[Interval], cover: tuple[Cover, ...]) -> Iterator[Violation]:
    """The rows of the emergency rule, and no other."""
    shown = {(row.start, row.area_id): row for row in cover}
    meant: dict[tuple[object, str], tuple[float, float]] = {}
    for interval in intervals:
        given = {area.area_id: area for area in interval.need.areas}
        for node in interval.city.walk():
            least = given[node.area_id].at_least_kw if node.area_id else interval.need.need_kw
            if least or not node.area_id:
                asked = market.rule.cover_factor * least
                meant[interval.need.start, node.area_id] = (asked, _usable_kw(node, interval.need, market))
    if set(shown) != set(meant) or len(shown) != len(cover):
        yield Violation("cover", None, "a row for every interval and area that needs something", len(meant), len(cover))
        return
    for (start, area_id), (asked, usable) in meant.items():
        row = shown[start, area_id]  # type: ignore[index]
        for name, got, right in (
            ("asked_kw", row.asked_kw, asked),
            ("usable_kw", row.usable_kw, usable),
            ("missing_kw", row.missing_kw, max(0.0, asked - usable)),
        ):
            if differ(got, right):
                yield Violation(area_id or "city", row.start, f"cover: {name}", right, got)


def _usable_kw(node: Node, need: Need, market: Market) -> float:
    total = sum(line.offered for line in node.lines) * market.rule.quantum_kw
    total += sum(_usable_kw(inner, need, market) for inner in node.inner)
    limit = next((area.at_most_kw for area in need.areas if area.area_id == node.area_id), None)
    return total if limit is None or not node.area_id else min(limit, total)


def lines_of(interval: Interval) -> list[Line]:
    """All lines in turn."""
    return sorted(interval.city.all_lines(), key=lambda line: line.turn)
