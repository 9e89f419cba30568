"""The checker's own reading of a market and a result: whole quanta and ticks, areas as a tree of nodes."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from fractions import Fraction

from models.clearing.market import Market, Need
from models.clearing.result import Award, IntervalCleared

SLIP = Fraction(1, 1_000_000)
"""Parts of a quantum that are the rounding of decimal fractions, not power."""


@dataclass(frozen=True)
class Violation:
    """One thing that is off: ``subject`` a bid or area, ``rule`` what should have been true, and what was found."""

    subject: str
    start: datetime | None
    rule: str
    allowed: object
    got: object

    def __str__(self) -> str:
        when = "" if self.start is None else f" at {self.start.isoformat()}"
        return f"{self.subject}{when}: {self.rule} (allowed {self.allowed}, got {self.got})"


@dataclass
class Line:
    """One offer with what became of it; ``steps``: (quanta, ticks); ``turn``: its place among equal prices."""

    bid_id: str
    zone_id: str
    steps: list[tuple[int, int]]
    minimum: int
    turn: tuple[datetime, str, str]
    award: Award
    accepted: int

    @property
    def offered(self) -> int:
        """All of it, quanta."""
        return sum(quantity for quantity, _ in self.steps)

    def parts(self) -> Iterator[tuple[int, bool]]:
        """Price of every quantum that can be given or kept by itself, run by run, and whether it was accepted."""
        if self.minimum and not self.accepted:
            return
        at = 0
        for quantity, price in self.steps:
            for low, high, taken in ((self.minimum, self.accepted, True), (self.accepted, at + quantity, False)):
                if min(high, at + quantity) > max(low, at, self.minimum):
                    yield price, taken
            at += quantity

    def cost(self, amount: int) -> int:
        """Own prices of the first ``amount`` quanta."""
        prices = (min(max(amount - begin, 0), quantity) * price for begin, (quantity, price) in self._begun())
        return sum(prices)

    def _begun(self) -> Iterator[tuple[int, tuple[int, int]]]:
        at = 0
        for step in self.steps:
            yield at, step
            at += step[0]


@dataclass
class Node:
    """An area (``""`` the city) with its limits, the areas directly inside, and the lines in none of those."""

    area_id: str
    zone_ids: frozenset[str]
    least: int
    most: int | None
    inner: list["Node"] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)

    def walk(self) -> Iterator["Node"]:
        """The node and all inside it."""
        yield self
        for node in self.inner:
            yield from node.walk()

    def all_lines(self) -> list[Line]:
        """Lines of this node and of all inside it."""
        return [line for node in self.walk() for line in node.lines]

    @property
    def accepted(self) -> int:
        """Response of this area, quanta."""
        return sum(line.accepted for line in self.all_lines())

    @property
    def asked(self) -> int:
        """What it needs, or what those inside it need together."""
        return max(self.least, sum(node.asked for node in self.inner))


def whole(value: float, unit: float) -> Fraction:
    """So many units, exactly as the decimals are written."""
    return Fraction(repr(float(value))) / Fraction(repr(float(unit)))


def nearest(value: float, unit: float) -> int:
    """So many whole units."""
    return round(value / unit)


@dataclass
class Interval:
    """One interval of the market as the checker sees it."""

    need: Need
    result: IntervalCleared
    city: Node
    shortfall: int
    floor: int
    cap: int


def interval_of(market: Market, need: Need, result: IntervalCleared, awards: dict[str, Award]) -> Interval:
    """Read one interval; ``awards`` by bid."""
    rule = market.rule
    quantum, tick = rule.quantum_kw, rule.tick_per_kwh
    city = Node("", market.zone_ids, math.ceil(whole(need.need_kw, quantum) - SLIP), None)
    for area in sorted(need.areas, key=lambda each: len(each.zone_ids), reverse=True):
        most = None if area.at_most_kw is None else math.floor(whole(area.at_most_kw, quantum) + SLIP)
        made = Node(area.area_id, area.zone_ids, math.ceil(whole(area.at_least_kw, quantum) - SLIP), most)
        _home(city, area.zone_ids).inner.append(made)
    city.least = city.asked
    beyond = (1 + Fraction(repr(rule.surplus_fraction))) * whole(need.need_kw, quantum)
    city.most = max(city.least, math.floor(beyond + SLIP))
    for bid in market.bids:
        for offer in bid.offers:
            if offer.start != need.start:
                continue
            ends = [nearest(step.up_to_kw, quantum) for step in offer.steps]
            steps = [
                (end - begin, nearest(step.price_per_kwh, tick))
                for begin, end, step in zip([0, *ends], ends, offer.steps, strict=False)
            ]
            award = awards[bid.bid_id]
            turn = (bid.submitted_at, bid.aggregator_id, bid.zone_id)
            minimum, accepted = nearest(offer.minimum_kw, quantum), nearest(award.accepted_kw, quantum)
            line = Line(bid.bid_id, bid.zone_id, steps, minimum, turn, award, accepted)
            _home(city, frozenset({bid.zone_id})).lines.append(line)
    prices = (nearest(price, tick) for price in (rule.shortfall_per_kwh, rule.floor_per_kwh, rule.cap_per_kwh))
    return Interval(need, result, city, *prices)


def _home(node: Node, zone_ids: frozenset[str]) -> Node:
    """The innermost node around some zones."""
    for inner in node.inner:
        if zone_ids <= inner.zone_ids:
            return _home(inner, zone_ids)
    return node
