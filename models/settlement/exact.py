r"""The rounding rule of settlement, defined once: what a line shows is what its money was computed from.

- Energy enters as kWh and is rounded to whole **Wh** at the door; effective and penalised quantities too.
- Prices are rounded to **1e-6 CNY/kWh**, after clip, factor and share.
- Money is one shown quantity times one shown price, rounded to the **cent (fen)**.  Totals are sums of rounded lines,
  never the rounding of an unrounded sum, so they equal their lines exactly and a pocket calculator checks each line.
- Always half to even: it favours neither payer nor paid over many lines, and rounds -x to the opposite of x, so that
  a correction cancels exactly.

Inside, all of this is whole numbers in int64 (Wh, µCNY/kWh, fen); ``Decimal`` is made where somebody looks at a line.
``EXACT`` is the largest product that is let in: beyond it numpy would wrap around in silence.
"""

from collections.abc import Sequence
from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import InputError, InputFault

IntArray = NDArray[np.int64]

WH_PER_KWH = 1000
MICRO_PER_CNY = 1_000_000
MICRO_WH_PER_FEN = 10_000_000
"""Wh times µCNY/kWh in one fen: 1000 Wh/kWh · 1e6 µCNY/CNY / 100 fen/CNY."""

EXACT = 4 * 10**18
_MICRO = Decimal("0.000001")


def wh(energy_kwh: Any, field: str) -> IntArray:
    """Whole Wh, half to even, of kWh in any shape; ``InputError`` where a number is missing or beyond 9e12 Wh."""
    given = np.asarray(energy_kwh, dtype=np.float64)
    odd = ~(np.abs(given) < 9e9)  # NaN too
    if odd.any():
        raise InputError([InputFault("settlement", field, float(given[odd][0]), "must be finite and below 9e9 kWh")])
    return np.rint(given * WH_PER_KWH).astype(np.int64)


def divided(numerator: IntArray, denominator: IntArray | int) -> IntArray:
    """``numerator / denominator`` (positive) in whole numbers, half to even."""
    quotient, rest = np.divmod(numerator, np.asarray(denominator, dtype=np.int64))
    up = (2 * rest > denominator) | ((2 * rest == denominator) & (quotient % 2 == 1))
    return np.asarray(quotient + up, dtype=np.int64)


def micro(price_cny_per_kwh: Decimal) -> int:
    """µCNY/kWh, half to even."""
    return int(price_cny_per_kwh.quantize(_MICRO, rounding=ROUND_HALF_EVEN) * MICRO_PER_CNY)


def fen(energy_wh: IntArray, price_micro: IntArray) -> IntArray:
    """Money in fen of Wh at µCNY/kWh, each product rounded once."""
    return divided(energy_wh * price_micro, MICRO_WH_PER_FEN)


def whole(value: Fraction) -> int:
    """The nearest whole number, half to even, of any size."""
    return round(value)


def split(total: int, weights: Sequence[int]) -> list[int]:
    """``total`` in whole parts proportional to ``weights`` (not negative, not all 0) that sum to it exactly.

    Largest remainder; of equal remainders the first in the given order gets its unit first.
    """
    whole_weight = sum(weights)
    parts = [total * weight // whole_weight for weight in weights]
    by_remainder = sorted(range(len(parts)), key=lambda k: -(total * weights[k] % whole_weight))
    for k in by_remainder[: total - sum(parts)]:
        parts[k] += 1
    return parts


def kwh(energy_wh: int) -> Decimal:
    """Wh as kWh with three digits."""
    return Decimal(energy_wh).scaleb(-3)


def cny(money_fen: int) -> Decimal:
    """Fen as CNY with two digits."""
    return Decimal(money_fen).scaleb(-2)


def cny_per_kwh(price_micro: int) -> Decimal:
    """µCNY/kWh as CNY/kWh with six digits."""
    return Decimal(price_micro).scaleb(-6)
