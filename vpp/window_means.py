"""What a plan comes to over the time for which one set of setpoints holds: the mean, but for cars that leave meanwhile.

The mean over an hour, ordered of a charger whose car leaves after twenty minutes, would give it a third of what was
planned.  Such a car is ordered the mean of the time in which it is there and the plan charges it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from models.intervals import FloatArray
from models.moments import microseconds, moment_of
from models.plan import DispatchPlan
from vpp.heard import HeardColumns


@dataclass(frozen=True, slots=True)
class Window:
    """For how long one set of setpoints holds, and over which part of the plan its power is the mean."""

    valid_from: datetime
    plan_until: datetime
    valid_until: datetime


def window_means(
    plan: DispatchPlan,
    plan_rows: NDArray[np.int64] | Sequence[int],
    rows: NDArray[np.int64],
    columns: HeardColumns,
    window: Window,
) -> tuple[FloatArray, FloatArray] | None:
    """Power and baseline over a window of some rows of a plan, (n,) kW each; ``rows``: theirs in the live state.  None
    where the plan says nothing of that time.
    """
    shares = plan.grid.overlap_h(window.valid_from, window.plan_until)
    hours = float(shares.sum())
    if hours <= 0:
        return None
    power_kw, baseline_kw = (table[plan_rows] @ (shares / hours) for table in (plan.power_kw, plan.baseline_kw))
    leaves_us = columns.departure_us[rows]
    leaves = columns.is_charger[rows] & columns.has_session[rows] & (leaves_us < microseconds(window.plan_until))
    for place in np.flatnonzero(leaves & (leaves_us > microseconds(window.valid_from)) & (power_kw > 0)).tolist():
        planned_kw = plan.power_kw[plan_rows[place]]
        there_h = plan.grid.overlap_h(window.valid_from, moment_of(int(leaves_us[place])))
        charging_h = there_h * (planned_kw > 0)
        if charging_h.any():
            power_kw[place] = planned_kw @ charging_h / charging_h.sum()
    return power_kw, baseline_kw
