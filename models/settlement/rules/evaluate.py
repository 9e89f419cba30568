r"""The one evaluator of settlement rules: whole Wh in, whole Wh and prices out, of any shape, whatever the rule.

    (1)  e = a_k B + s_k q       on the piece k of the curve that q / B lies on; 0 where B = 0     [Wh]
    (2)  n = max(β B - e, 0)     shortfall, of one period or of sums over a span                   [Wh]
    (3)  x = max(q - γ B, 0)     excess that is charged, always per period                         [Wh]
    (4)  p = f · clip(p_source, floor, cap)                                                        [µCNY/kWh]

======  ================  =====  ==========================================================
symbol  name here         unit   meaning
======  ================  =====  ==========================================================
B       award_wh          Wh     what was awarded for the period
q       delivered_wh      Wh     baseline less load, the other way round when filling
e       effective_wh      Wh     what is paid
a, s    award_factor,     -      of a piece of the rule's curve
        delivered_factor
β, γ    below, above      -      edges of the rule's penalty
f       factor            -      of the price row
======  ================  =====  ==========================================================

Where nothing was awarded nothing is paid: else a curve that counts over-delivery would pay for what comes by itself.
Each result is rounded once, half to even (``models.settlement.exact``); comparisons with edges are exact.
"""

from decimal import Decimal

import numpy as np

from models.errors import InputError, InputFault
from models.events import Direction
from models.settlement.exact import IntArray, divided, micro
from models.settlement.rules.schema import Assessment, Penalty, PriceTerms, Rule, Stage

MILLI = 1000


def _milli(ratio: Decimal) -> np.int64:
    return np.int64(int(ratio * MILLI))


def effective_wh(assessment: Assessment, delivered_wh: IntArray, award_wh: IntArray) -> IntArray:
    """(1)."""
    effective = np.zeros_like(delivered_wh)
    left = award_wh > 0
    for piece in assessment.effective:
        here = left if piece.to is None else left & (MILLI * delivered_wh < _milli(piece.to) * award_wh)
        amount = _milli(piece.award_factor) * award_wh + _milli(piece.delivered_factor) * delivered_wh
        effective = np.where(here, divided(amount, MILLI), effective)
        left = left & ~here
    return effective


def shortfall_wh(penalty: Penalty | None, effective: IntArray, award_wh: IntArray) -> IntArray:
    """(2)."""
    if penalty is None or penalty.below is None:
        return np.zeros_like(effective)
    return np.maximum(divided(_milli(penalty.below) * award_wh - MILLI * effective, MILLI), 0)


def excess_wh(penalty: Penalty | None, delivered_wh: IntArray, award_wh: IntArray) -> IntArray:
    """(3)."""
    if penalty is None or penalty.above is None:
        return np.zeros_like(delivered_wh)
    over = divided(MILLI * delivered_wh - _milli(penalty.above) * award_wh, MILLI)
    return np.where(award_wh > 0, np.maximum(over, 0), 0)


def price_terms(rule: Rule, stage: Stage, direction: Direction, duration_h: float) -> PriceTerms:
    """The first price row that fits a call; ``InputError`` if the rule has none."""
    for terms in rule.prices:
        if terms.fits(stage, direction, duration_h):
            return terms
    call = f"{stage}, {direction}, {duration_h:g} h"
    raise InputError([InputFault("settlement rules", "prices", call, f"rule {rule.name} must have a price for it")])


def price_cny_per_kwh(terms: PriceTerms, clearing_cny_per_kwh: Decimal) -> Decimal:
    """(4), not yet rounded."""
    base = clearing_cny_per_kwh if terms.fixed_cny_per_kwh is None else terms.fixed_cny_per_kwh
    base = max(base, terms.floor_cny_per_kwh)
    return terms.factor * (base if terms.cap_cny_per_kwh is None else min(base, terms.cap_cny_per_kwh))


def penalty_micro(penalty: Penalty | None, price_micro: IntArray) -> IntArray:
    """Price of a kWh that is penalised, µCNY/kWh."""
    return np.zeros_like(price_micro) if penalty is None else divided(_milli(penalty.price_factor) * price_micro, MILLI)


def prices_micro(terms: PriceTerms, clearing_cny_per_kwh: tuple[Decimal, ...]) -> IntArray:
    """(4) of every period, µCNY/kWh."""
    return np.array([micro(price_cny_per_kwh(terms, price)) for price in clearing_cny_per_kwh], dtype=np.int64)
