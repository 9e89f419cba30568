r"""Clearing prices of one interval, from what is accepted: no solver.

    (R1)  p_a ≥ c_bs      b in a directly, a part of s beyond the minimum M_b is accepted                  [ticks]
    (R2)  p_a ≤ c_bs      b in a directly, u_b = 1 or M_b = 0, a part of s beyond M_b is not accepted      [ticks]
    (R3)  p_a ≥ p_a'      a' around a, unless the most of a binds      Y_a = U_a                           [ticks]
    (R4)  p_a ≤ p_a'      a' around a, unless the least of a binds     Y_a - M* < L_a  or  Y_a = L_a       [ticks]
    (R5)  floor ≤ p_a ≤ cap                                                                                [ticks]
    (R6)  w_b = max(0, C_b - p_a y_b)     the supplement                                       [ticks x quanta]

    p: the lowest of all prices that leave the least supplements Σ_b w_b.

======  ==============  ==============  ==================================================================
symbol  name here       unit            meaning
======  ==============  ==============  ==================================================================
p       prices[a]       ticks           clearing price of an area; a zone has that of its innermost area
c       prices[s]       ticks           bid price of a step
Y       sums[a]         quanta          accepted in an area
M*      -               quanta          largest minimum of an accepted offer in a, 0 if there is none
L, U    least, most     quanta          limits of an area
C       cost(y)         ticks x quanta  what is accepted of an offer, at its own prices
w       supplements[b]  ticks x quanta  paid on top, so that nobody is paid less than it bid
======  ==============  ==============  ==================================================================

Why so.  Without minimum quantities R1-R4 are complementary slackness: p is a vector of dual prices, the lowest one,
and there are no supplements.  That is the price of the dearest step accepted; a shortfall does not lift it to V or to
the cap, so holding back offers does not pay.  With minimum quantities no price need support the optimum.  R1-R2 ask it
of everything that can be divided; an offer that is held at its minimum by itself (all or nothing was its own wish)
and would lose money is paid the difference to its own bid, and nobody else is.  The other way, to reject such an
offer and clear again, would leave a shortfall where only it could help.  A cheap all-or-nothing offer may be rejected
because it does not fit (paradoxically rejected): it is told so.  A row that would be short without one of its
all-or-nothing offers counts as binding in R4: what is too much of it is not anybody's free gift.

A solution exists: the duals of the linear program with its binaries held satisfy R1-R4, and stay so when they are cut
to [floor, cap], between which all bids lie.  R1-R5 bound differences of prices along the tree of areas, so the
lowest solution comes from one pass up and one down, in whole ticks.
"""

from dataclasses import dataclass

from models.clearing.book import Book, BookOffer
from models.errors import SolverError


@dataclass(frozen=True)
class Prices:
    """Prices of areas and supplements of offers, ticks and ticks x quanta."""

    areas: list[int]
    supplements: list[int]


@dataclass
class _Tree:
    """Bounds of prices, and who may not be cheaper or dearer than the area around it."""

    parents: list[int]
    low: list[int]
    high: list[int]
    not_below: list[bool]
    not_above: list[bool]

    def lowest(self, low: list[int]) -> list[int]:
        """The lowest prices from ``low`` upwards that satisfy (R3) and (R4)."""
        found = list(low)
        for k in range(len(found) - 1, 0, -1):
            if self.not_above[k]:
                found[self.parents[k]] = max(found[self.parents[k]], found[k])
        for k in range(1, len(found)):
            if self.not_below[k]:
                found[k] = max(found[k], found[self.parents[k]])
        return found

    def highest(self) -> list[int]:
        """The highest prices below ``high``."""
        found = list(self.high)
        for k in range(len(found) - 1, 0, -1):
            if self.not_below[k]:
                found[self.parents[k]] = min(found[self.parents[k]], found[k])
        for k in range(1, len(found)):
            if self.not_above[k]:
                found[k] = min(found[k], found[self.parents[k]])
        return found


def clearing_prices(book: Book, accepted: list[int]) -> Prices:
    """(R1) to (R6); ``SolverError`` if what is accepted is no optimum for its minimum quantities."""
    tree = _tree(book, accepted)
    high, low = tree.highest(), list(tree.low)
    for offer, amount in zip(book.offers, accepted, strict=True):
        if offer.minimum and amount:
            low[offer.area] = max(low[offer.area], min(-(-offer.cost(amount) // amount), high[offer.area]))
    found = tree.lowest(low)
    if any(price > limit for price, limit in zip(found, high, strict=True)):
        raise SolverError("no price", f"what is accepted is not the cheapest: {found} above {high}")
    supplements = [
        max(0, offer.cost(amount) - found[offer.area] * amount)
        for offer, amount in zip(book.offers, accepted, strict=True)
    ]
    return Prices(found, supplements)


def _tree(book: Book, accepted: list[int]) -> _Tree:
    count = len(book.areas)
    low, high = [book.floor] * count, [book.cap] * count
    forced = [0] * count
    for offer, amount in zip(book.offers, accepted, strict=True):
        if offer.minimum and amount:
            for k in book.path(offer.area):
                forced[k] = max(forced[k], offer.minimum)
        taken, left = divisible(offer, amount)
        low[offer.area] = max([low[offer.area], *taken])
        high[offer.area] = min([high[offer.area], *left])
    sums = book.sums(accepted)
    limits = list(zip(book.areas, sums, forced, strict=True))
    not_below = [total < area.most for area, total, _ in limits]
    not_above = [max(area.least + 1, area.least + most) <= total for area, total, most in limits]
    return _Tree([area.parent for area in book.areas], low, high, not_below, not_above)


def divisible(offer: BookOffer, amount: int) -> tuple[list[int], list[int]]:
    """Prices of the steps beyond the minimum of which a part is accepted, and of which a part is not."""
    if offer.minimum and not amount:
        return [], []
    taken, left, begin = [], [], 0
    for quantity, price in zip(offer.quantities, offer.prices, strict=True):
        end = begin + quantity
        if min(end, amount) > max(begin, offer.minimum):
            taken.append(price)
        if end > max(begin, amount):
            left.append(price)
        begin = end
    return taken, left
