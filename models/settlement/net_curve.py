r"""What a rule pays in all for one period, as one piecewise-linear function of delivery over award.

    (1)  f(q, B) = B · v(q / B)
    (2)  v(x) = w e(x) - g [max(β - e(x), 0) + max(x - γ, 0)]
    (3)  v(x) = a_k + s_k x      for c_k ≤ x < c_{k+1}

======  ===============  =======  ==================================================================
symbol  name here        unit     meaning
======  ===============  =======  ==================================================================
q, B    delivered,       kWh      of one period
        order
x       -                -        q / B
v       value            CNY/kWh  net money per kWh of the award
e       effective        -        the rule's curve over B; at x = 0 where the call is not valid
w       -                CNY/kWh  price, and the money for power over the hours of the call
g       -                CNY/kWh  price of a penalised kWh
β, γ    below, above     -        edges of the penalty
c, a,   knots, award,    -        knots between the pieces, their constants and slopes; exact fractions
s       delivered
======  ===============  =======  ==================================================================

(3) splits every piece of e where a maximum in (2) changes sides.  A piece holds its left end, as in the rules.
Of conditions of validity the share delivered and "mean under the baseline" (x > 0) can be said of q alone; the one on
peaks cannot and is left out.
"""

import itertools
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import cached_property

import numpy as np

from models.errors import InputError, InputFault
from models.intervals import FloatArray
from models.settlement.rules.evaluate import price_cny_per_kwh
from models.settlement.rules.schema import Penalty, Piece, PriceTerms, Rule


@dataclass(frozen=True)
class NetCurve:
    """(3): K pieces ``award`` + ``delivered`` · x, between K - 1 ``knots``."""

    knots: tuple[Fraction, ...]
    award: tuple[Fraction, ...]
    delivered: tuple[Fraction, ...]

    @cached_property
    def knot(self) -> FloatArray:
        """c, (K - 1,)."""
        return np.array([float(c) for c in self.knots], dtype=np.float64)

    @cached_property
    def a(self) -> FloatArray:
        """(K,)."""
        return np.array([float(a) for a in self.award])

    @cached_property
    def s(self) -> FloatArray:
        """(K,)."""
        return np.array([float(s) for s in self.delivered])

    @cached_property
    def jump(self) -> FloatArray:
        """How much v is higher just left of each knot than at it, (K - 1,); 0 where it is continuous."""
        sides = itertools.pairwise(zip(self.award, self.delivered, strict=True))
        return np.array([float(a - b + (s - t) * c) for ((a, s), (b, t)), c in zip(sides, self.knots, strict=True)])

    def paid(self, delivered: FloatArray, order: FloatArray | float) -> FloatArray:
        """(1), of any shapes that go together; ``order`` positive."""
        x = delivered / order
        piece = np.searchsorted(self.knot, x, side="right")
        return np.asarray(self.a[piece] * order + self.s[piece] * delivered)

    def best_per_kwh(self) -> Fraction:
        """The most that a delivered kWh can earn, sup of v(x) / x over x > 0: the award of perfect foresight."""
        found = [self.delivered[-1]]
        edges = [Fraction(0), *(c for c in self.knots if c > 0)]
        first = len(self.knots) - len(edges) + 1
        for k, low in enumerate(edges, start=first):
            a, s = self.award[k], self.delivered[k]
            high = self.knots[k] if k < len(self.knots) else None
            if low > 0:
                found.append(a / low + s)
            elif a > 0:
                raise InputError([InputFault("settlement rules", "effective", str(a), "must not pay for nothing")])
            if high is not None:
                found.append(a / high + s)
        return max(found)


def net_curve(
    rule: Rule,
    terms: PriceTerms,
    clearing_cny_per_kwh: Decimal,
    duration_h: Fraction,
    *,
    protected: bool = False,
) -> NetCurve:
    """The curve of one class of users, called for ``duration_h`` at a clearing price."""
    assessment = rule.assessment(protected=protected)
    penalty = assessment.penalty if terms.penalised else None
    price = Fraction(price_cny_per_kwh(terms, clearing_cny_per_kwh))
    worth = price + Fraction(terms.capacity_cny_per_kw) / duration_h
    charge = price * Fraction(penalty.price_factor) if penalty else Fraction(0)
    least = _least_that_counts(rule)
    knots = sorted(_kinks(assessment.effective, penalty) | (set() if least is None else {least}))
    award, delivered = [], []
    for x in _between(knots):
        counts = least is None or x >= least
        a, s = _line(assessment.effective, x) if counts else (_at(assessment.effective, Fraction(0)), Fraction(0))
        n, m = _penalised(penalty, (a, s), x, counts=counts)
        award.append(worth * a - charge * n)
        delivered.append(worth * s - charge * m)
    return NetCurve(tuple(knots), tuple(award), tuple(delivered))


def _least_that_counts(rule: Rule) -> Fraction | None:
    validity = rule.validity
    if validity is None:
        return None
    if validity.least_ratio is not None:
        return Fraction(validity.least_ratio)
    return Fraction(0) if validity.mean_below_baseline or validity.peak_below_baseline else None


def _line(pieces: tuple[Piece, ...], x: Fraction) -> tuple[Fraction, Fraction]:
    """Constant and slope of e where x lies."""
    piece = next(piece for piece in pieces if piece.to is None or x < Fraction(piece.to))
    return Fraction(piece.award_factor), Fraction(piece.delivered_factor)


def _at(pieces: tuple[Piece, ...], x: Fraction) -> Fraction:
    a, s = _line(pieces, x)
    return a + s * x


def _kinks(pieces: tuple[Piece, ...], penalty: Penalty | None) -> set[Fraction]:
    """Ends of pieces, the penalty's upper edge, and where e passes its lower one (on lines prolonged: too many do)."""
    found = {Fraction(piece.to) for piece in pieces if piece.to is not None}
    if penalty is None:
        return found
    if penalty.above is not None:
        found.add(Fraction(penalty.above))
    if penalty.below is not None:
        sloping = (piece for piece in pieces if piece.delivered_factor)
        found |= {Fraction(penalty.below - piece.award_factor) / Fraction(piece.delivered_factor) for piece in sloping}
    return found


def _between(knots: list[Fraction]) -> list[Fraction]:
    """A point inside every piece."""
    if not knots:
        return [Fraction(0)]
    return [knots[0] - 1, *((a + b) / 2 for a, b in itertools.pairwise(knots)), knots[-1] + 1]


def _penalised(
    penalty: Penalty | None, e: tuple[Fraction, Fraction], x: Fraction, *, counts: bool
) -> tuple[Fraction, Fraction]:
    """Constant and slope of the two maxima in (2) where x lies."""
    constant, slope = Fraction(0), Fraction(0)
    if penalty is not None and penalty.below is not None and e[0] + e[1] * x < Fraction(penalty.below):
        constant, slope = Fraction(penalty.below) - e[0], -e[1]
    if penalty is not None and penalty.above is not None and counts and x > Fraction(penalty.above):
        constant, slope = constant - Fraction(penalty.above), slope + 1
    return constant, slope
