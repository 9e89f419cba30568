r"""The least cost of one interval without a solver: exact where minimum quantities are decided, else a lower bound.

    (H1)  f_a(q) = min Σ f_i(q_i)  over  Σ q_i = q           the children and lines of a node: infimal convolution
    (H2)  f_a(q) + V max(0, L_a - q)   for   q ≤ U_a         its own need and limit
    (H3)  least cost = min_q f_city(q)

Every f is convex and piecewise linear, so (H1) sorts the slopes of its parts together, (H2) takes V from the slopes of
the first L_a quanta and cuts at U_a, and (H3) takes all negative slopes: exact, as the areas form a tree.  A line of
which the minimum is accepted begins there; one that is not accepted is left out.  Undecided, its cost is replaced by
the largest convex function below it: the mean price of the minimum along it, then its steps.  That gives the bound of
the Lagrangian dual, which no acceptance can beat.  Whole numbers and fractions throughout.
"""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from models.clearing.check.figures import Line, Node

Slope = int | Fraction
MOST_MINIMUMS = 6
MOST_LINES = 40


@dataclass
class Convex:
    """Cost from ``begin`` quanta upwards: ``at_begin`` there, then (slope, length) in rising order."""

    begin: int
    at_begin: Slope
    slopes: list[tuple[Slope, int]]


def least_cost(city: Node, decided: Mapping[str, bool] | None, shortfall: int) -> Slope | None:
    """(H3), ticks x quanta; ``decided``: which minimums are accepted, None for the bound; None if they do not fit."""
    cost = _of_node(city, decided, shortfall)
    if cost is None:
        return None
    return cost.at_begin + sum(slope * length for slope, length in cost.slopes if slope < 0)


def best_of_all(city: Node, shortfall: int) -> Slope | None:
    """The least cost over all choices of minimums; None where these are too many to try."""
    gated = [line.bid_id for line in city.all_lines() if line.minimum]
    if len(gated) > MOST_MINIMUMS or len(city.all_lines()) > MOST_LINES:
        return None
    choices = itertools.product((False, True), repeat=len(gated))
    costs = [least_cost(city, dict(zip(gated, choice, strict=True)), shortfall) for choice in choices]
    return min(cost for cost in costs if cost is not None)


def _of_node(node: Node, decided: Mapping[str, bool] | None, shortfall: int) -> Convex | None:
    parts = [_of_line(line, decided) for line in node.lines]
    for inner in node.inner:
        part = _of_node(inner, decided, shortfall)
        if part is None:
            return None
        parts.append(part)
    begin, at_begin = sum(part.begin for part in parts), sum(part.at_begin for part in parts)
    if node.most is not None and begin > node.most:
        return None
    room = sum(length for part in parts for _, length in part.slopes) if node.most is None else node.most - begin
    lack = max(0, node.least - begin)
    slopes: list[tuple[Slope, int]] = []
    for slope, length in sorted((each for part in parts for each in part.slopes), key=lambda each: each[0]):
        usable = min(length, room)
        needed = min(usable, max(0, lack))
        slopes += [(slope - shortfall, needed)] if needed else []
        slopes += [(slope, usable - needed)] if usable > needed else []
        room, lack = room - usable, lack - needed
    return Convex(begin, at_begin + shortfall * max(0, node.least - begin), slopes)


def _of_line(line: Line, decided: Mapping[str, bool] | None) -> Convex:
    if not line.minimum:
        return Convex(0, 0, [(price, quantity) for quantity, price in line.steps])
    if decided is not None and not decided[line.bid_id]:
        return Convex(0, 0, [])
    beyond: list[tuple[Slope, int]] = []
    at = 0
    for quantity, price in line.steps:
        length = at + quantity - max(at, line.minimum)
        beyond += [(price, length)] if length > 0 else []
        at += quantity
    if decided is None:
        return Convex(0, 0, [(Fraction(line.cost(line.minimum), line.minimum), line.minimum), *beyond])
    return Convex(line.minimum, line.cost(line.minimum), beyond)
