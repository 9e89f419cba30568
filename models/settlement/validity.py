"""Conditions of a rule without which a call counts as nothing delivered, in whole numbers."""

import math

import numpy as np
from numpy.typing import NDArray

from models.events import Direction
from models.settlement.exact import IntArray
from models.settlement.inputs import Periods, SettlementInputs
from models.settlement.rules.schema import Span, Validity

_NEVER = np.iinfo(np.int64).min


def span_starts(periods: Periods, span: Span) -> NDArray[np.intp]:
    """The period that each span begins with: every period, or the first one of each market day."""
    days = periods.days
    return np.array([k for k in range(len(days)) if span == "period" or k == 0 or days[k] != days[k - 1]])


def valid(inputs: SettlementInputs, periods: Periods, validity: Validity | None) -> NDArray[np.bool_]:
    """Which resource has answered in which period so that it counts, (R, P).

    Only called intervals are looked at; of a filling event load and baseline change sign.
    """
    shape = (len(inputs.resource_ids), len(periods.spans))
    if validity is None:
        return np.ones(shape, dtype=np.bool_)
    sign = 1 if inputs.direction is Direction.SHAVE else -1
    called = inputs.award_wh > 0
    first = span_starts(periods, validity.over)
    begins = periods.first[first]
    base, load, award = (
        np.add.reduceat(np.where(called, amount, 0), begins, axis=1)
        for amount in (sign * inputs.baseline_wh, sign * inputs.metered_wh, inputs.award_wh)
    )
    good = np.ones(base.shape, dtype=np.bool_)
    if validity.least_ratio is not None:
        good &= 1000 * (base - load) >= int(validity.least_ratio * 1000) * award
    if validity.mean_below_baseline:
        good &= load < base
    if validity.peak_below_baseline:
        scale = _per_second(inputs)
        peak_base, peak_load = (
            np.maximum.reduceat(np.where(called, sign * scale * amount, _NEVER), begins, axis=1)
            for amount in (inputs.baseline_wh, inputs.metered_wh)
        )
        good &= peak_load < peak_base
    lengths = np.diff(np.append(first, shape[1]))
    return np.repeat(good, lengths, axis=1)


def _per_second(inputs: SettlementInputs) -> IntArray:
    """Whole factors (T,) by which energies of intervals of different lengths compare like powers."""
    seconds = interval_s(inputs)
    common = math.lcm(*seconds.tolist())
    return np.asarray(common // seconds, dtype=np.int64)


def interval_s(inputs: SettlementInputs) -> IntArray:
    """Length of every interval in whole seconds, (T,)."""
    return np.rint(inputs.grid.hours * 3600).astype(np.int64)
