r"""Families that look at no other day: the meter around the event, a schedule, a reference level, a control group.

    (G1)  b_t = mean_w L                              meter before, or before and after                    [kW]
    (G2)  b_t = schedule_t                            generator output                                     [kW]
    (G3)  b_t = reference level                       maximum base load                                    [kW]
    (G4)  b_t = n · mean_i L_{i,t}                    control group; n customers called, or the ratio ȳ/x̄   [kW]
    (G5)  |x̄_d - y_d| averaged over the last balance days, and z of its standard error, within tolerance · ȳ

In (G4) and (G5) y_d is the called customers' and x_d the scaled control group's mean in the event's hours of a like
day.  Difference in differences is (G4) with an additive adjustment.  Source: the domain notes, §3.1 and §3.2.
"""

import numpy as np

from models.intervals import FloatArray
from models.settlement.methods.case import BaselineCase, means
from models.settlement.methods.choose import like_days, settle, weigh
from models.settlement.methods.explained import NoBaseline, Verdict
from models.settlement.methods.outcome import Outcome, nothing
from models.settlement.methods.spec import ControlGroup, MeterWindow


def meter_window(case: BaselineCase, rule: MeterWindow) -> Outcome:
    """(G1); every window must have a reading, or else one side would speak for both."""
    windows = [case.window(window) & np.isfinite(case.day_kw) for window in rule.windows]
    if not all(slots.any() for slots in windows):
        return nothing(NoBaseline.NO_READINGS)
    slots = np.logical_or.reduce(windows)
    return Outcome(np.full(case.slots, case.day_kw[slots].mean()))


def generator_output(case: BaselineCase) -> Outcome:
    """(G2)."""
    return nothing(NoBaseline.NO_SCHEDULE) if case.schedule_kw is None else Outcome(case.schedule_kw.copy())


def firm_level(case: BaselineCase) -> Outcome:
    """(G3)."""
    return nothing(NoBaseline.NO_FIRM_LEVEL) if case.firm_kw is None else Outcome(np.full(case.slots, case.firm_kw))


def control_group(case: BaselineCase, rule: ControlGroup) -> Outcome:
    """(G4) if (G5) holds."""
    verdicts, rows = like_days(case, rule.look_back_days)
    control = case.control_kw
    place = {} if control is None else {day: k for k, day in enumerate(control.days)}
    if control is None or case.day not in place:
        return nothing(NoBaseline.TOO_FEW_CUSTOMERS, verdicts)
    shared = rows[[case.history.days[row] in place for row in rows]] if len(rows) else rows
    settle(verdicts, rows, shared, Verdict.TOO_FEW_READINGS)
    recent = settle(verdicts, shared, shared[-rule.balance_days :], Verdict.NEWER_DAYS_SUFFICE)
    if len(recent) < rule.balance_days:
        settle(verdicts, recent, recent[:0], Verdict.TOO_FEW_DAYS)
        return nothing(NoBaseline.TOO_FEW_DAYS, verdicts)
    # The same customers on all days, or else their number would move the mean.
    columns = [place[case.history.days[row]] for row in recent.tolist()] + [place[case.day]]
    loads = control.values[:, columns]
    whole = np.isfinite(loads).all(axis=(1, 2))
    if int(whole.sum()) < rule.minimum_customers:
        return nothing(NoBaseline.TOO_FEW_CUSTOMERS, verdicts)
    mean_kw = loads[whole].mean(axis=0)
    x, y = means(mean_kw[:-1], case.event), means(case.values[recent], case.event)
    scale = float(case.called_customers) if rule.scale == "count" else _ratio(y, x)
    weigh(verdicts, recent, np.full(len(recent), 1 / len(recent)))
    if not _balanced(scale * x, y, rule):
        return nothing(NoBaseline.NOT_BALANCED, verdicts)
    return Outcome(scale * mean_kw[-1], tuple(verdicts))


def _ratio(called_kw: FloatArray, control_kw: FloatArray) -> float:
    below = float(control_kw.sum())
    return float(called_kw.sum()) / below if below > 0 else float("nan")


def _balanced(control_kw: FloatArray, called_kw: FloatArray, rule: ControlGroup) -> bool:
    off = control_kw - called_kw
    width = rule.z * float(off.std(ddof=1)) / np.sqrt(len(off))
    return bool(abs(float(off.mean())) + width <= rule.tolerance * abs(float(called_kw.mean())))
