r"""What the day of the event itself says about its baseline.

    (J1)  b'_t = b_t · clip(Σ_w L / Σ_w b, low, high)     scalar, low = 1 - c or 1/(1+c), high = 1 + c     [kW]
    (J2)  b'_t = b_t + clip(mean_w(L - b), ±c · b̄)        additive, b̄ the mean |b| of the event's hours    [kW]

======  ==================  ====  =========================================
symbol  name here           unit  meaning
======  ==================  ====  =========================================
L       case.day_kw         kW    measured on the day of the event
w       adjustment.windows  -     its windows, all outside of the event
c       adjustment.limit    -     how far it may go; without it any way
======  ==================  ====  =========================================

Source: the domain notes, §3.1.  Without readings in the windows, or with a baseline of no energy there, the baseline
stays as it is, and the explanation says so.
"""

import numpy as np

from models.intervals import FloatArray
from models.settlement.methods.case import BaselineCase, BoolArray
from models.settlement.methods.explained import AdjustmentFact, AdjustmentState, WindowFact
from models.settlement.methods.spec import Adjustment, Window


def adjust(case: BaselineCase, adjustment: Adjustment, base_kw: FloatArray) -> tuple[FloatArray, AdjustmentFact]:
    """The adjusted baseline (S,), and what was done."""
    windows = tuple(_fact(case, window, base_kw) for window in adjustment.windows)
    slots = np.logical_or.reduce([case.window(window) for window in adjustment.windows])
    known = _known(case, base_kw, slots)
    neutral = 1.0 if adjustment.kind == "scalar" else 0.0
    expected = float(base_kw[known].sum())
    if not known.any():
        return base_kw, AdjustmentFact(adjustment.kind, AdjustmentState.NO_READINGS, neutral, neutral, windows)
    if adjustment.kind == "scalar":
        if expected <= 0:
            return base_kw, AdjustmentFact("scalar", AdjustmentState.NO_BASELINE, neutral, neutral, windows)
        raw = float(case.day_kw[known].sum()) / expected
        low, high = _factors(adjustment)
        applied = min(max(raw, low), high)
        adjusted = base_kw * applied
    else:
        raw = float((case.day_kw[known] - base_kw[known]).mean())
        most = np.inf if adjustment.limit is None else adjustment.limit * _level(base_kw[case.event])
        applied = min(max(raw, -most), most)
        adjusted = base_kw + applied
    state = AdjustmentState.APPLIED if applied == raw else AdjustmentState.CLIPPED
    return adjusted, AdjustmentFact(adjustment.kind, state, raw, applied, windows)


def _factors(adjustment: Adjustment) -> tuple[float, float]:
    if adjustment.limit is None:
        return 0.0, np.inf
    low = 1 / (1 + adjustment.limit) if adjustment.reciprocal else 1 - adjustment.limit
    return low, 1 + adjustment.limit


def _level(event_kw: FloatArray) -> float:
    known = np.abs(event_kw[np.isfinite(event_kw)])
    return float(known.mean()) if len(known) else 0.0


def _known(case: BaselineCase, base_kw: FloatArray, slots: BoolArray) -> BoolArray:
    return np.asarray(slots & np.isfinite(case.day_kw) & np.isfinite(base_kw))


def _fact(case: BaselineCase, window: Window, base_kw: FloatArray) -> WindowFact:
    origin_h = case.start_h if window.at == "start" else case.end_h
    known = _known(case, base_kw, case.window(window))
    count = int(known.sum())
    metered = float(case.day_kw[known].mean()) if count else float("nan")
    expected = float(base_kw[known].mean()) if count else float("nan")
    return WindowFact(origin_h + window.from_h, origin_h + window.to_h, count, metered, expected)
