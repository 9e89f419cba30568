r"""How much to promise: the award that earns most under a rule, when what will come is uncertain.

    (1)  G(B) = E[f(q, B)]                                  expected money of a period                       [CNY]
    (2)  B* = argmax G(B), B > 0                                                                             [kWh]
    (3)  share = G(B*) / (ρ E[max(q, 0)])                   of what perfect foresight would earn             [-]

======  ==================  =======  ==================================================================
symbol  name here           unit     meaning
======  ==================  =======  ==================================================================
f       ``NetCurve.paid``   CNY      what the rule pays for q if B was awarded: piecewise linear
q       delivery            kWh      does not depend on B: nobody tries harder or less for an order
B*      order_kwh           kWh
ρ       ``best_per_kwh``    CNY/kWh  most that a delivered kWh can earn
======  ==================  =======  ==================================================================

G is a closed form for a normal and a sum for a sample (``delivery``).  Its slope for a curve without jumps is the
constants of the pieces, weighted with the chance to end up on each: G'(B) = Σ_k a_k P(q on piece k).

*Sichuan.*  Relative to the price, e = q up to 1.1 B, then 0.55 B + 0.5 q; the penalty takes 1.1 (0.9 B - q) below
0.9 B.  So the pieces are -0.99 B + 2.1 q, q, and 0.55 B + 0.5 q, and G' = 0 reads

    (4)  P(q < 0.9 B*) = (0.55 / 0.99) P(q > 1.1 B*) = (5/9) P(q > 1.1 B*)

that is, an order a little under the mean.  For a normal with σ = 5, 10, 20 % of the mean B* is 99.4, 98.1 and 94.8 % of
it and earns 99.94, 98.73 and 94.02 % of perfect foresight.  (The domain notes, §2.4, say 99.5/98/95 % and
99.96/98.7/94.2 %: the same orders on a grid of half a per cent, and two shares that (1), counting and simulation do not
confirm.)  The money at stake between the three is the value of a better forecast.

Where G is flat (an order over all that can come costs nothing under a rule without penalty) B* is the order next to
the mean among the best: no more is promised than is worth it.
"""

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

import numpy as np
from scipy.optimize import brentq

from models.events import Direction
from models.settlement.delivery import Delivery, NormalDelivery
from models.settlement.net_curve import NetCurve, net_curve
from models.settlement.rules.evaluate import price_terms
from models.settlement.rules.schema import Rule, Stage

_SAME = 1e-12
"""Expected money that differs by less, relative to perfect foresight, is the same."""


@dataclass(frozen=True, slots=True)
class BestOrder:
    """(2) and (3); an order of 0 where every other one would lose money."""

    order_kwh: float
    expected_cny: float
    perfect_cny: float

    @property
    def share_of_perfect(self) -> float | None:
        """(3); None where even perfect foresight earns nothing."""
        return self.expected_cny / self.perfect_cny if self.perfect_cny > 0 else None


def best_order(
    rule: Rule,
    delivery: Delivery,
    clearing_cny_per_kwh: Decimal = Decimal(1),
    *,
    stage: Stage = Stage.DAY_AHEAD,
    direction: Direction = Direction.SHAVE,
    duration_h: Fraction = Fraction(1),
    protected: bool = False,
) -> BestOrder:
    """The award of one period that maximises expected money; ``InputError`` if the rule has no price for the call."""
    terms = price_terms(rule, stage, direction, float(duration_h))
    curve = net_curve(rule, terms, clearing_cny_per_kwh, duration_h, protected=protected)
    perfect = float(curve.best_per_kwh()) * delivery.expected_positive_kwh()
    order = _argmax(curve, delivery, _SAME * max(perfect, 1e-9))
    expected = float(delivery.expected(curve, np.array([order]))[0])
    if expected < 0:
        return BestOrder(0.0, 0.0, perfect)
    return BestOrder(order, expected, perfect)


def _argmax(curve: NetCurve, delivery: Delivery, same_cny: float) -> float:
    mean = delivery.mean_kwh
    orders = delivery.candidates(curve)
    if mean > 0:
        orders = np.unique(np.append(orders, mean))
    values = delivery.expected(curve, orders)
    top = int(np.argmax(values))
    good = orders[values >= values[top] - same_cny]
    nearest = float(good[np.argmin(np.abs(good - mean))])
    if not isinstance(delivery, NormalDelivery):
        return nearest
    low, high = orders[max(top - 1, 0)], orders[min(top + 1, len(orders) - 1)]
    if len(good) > 2:  # flat: up to the foot of the plateau, if the mean is not on it
        return nearest if nearest <= mean else _foot(curve, delivery, nearest, float(values[top]) - same_cny)
    slopes = delivery.slope(curve, np.array([low, high]))
    if slopes[0] > 0 > slopes[1]:
        return float(
            brentq(lambda order: float(delivery.slope(curve, np.array([order]))[0]), low, high, xtol=1e-14 * mean)
        )
    return float(orders[top])


def _foot(curve: NetCurve, delivery: NormalDelivery, high: float, wanted_cny: float) -> float:
    """The lowest order under ``high`` that still earns ``wanted_cny``, by halving."""
    low = delivery.mean_kwh
    for _ in range(60):
        middle = (low + high) / 2
        if float(delivery.expected(curve, np.array([middle]))[0]) >= wanted_cny:
            high = middle
        else:
            low = middle
    return high
