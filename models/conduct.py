"""How devices behave under orders: how much of what was ordered comes, and whose readings cannot be counted on.

**Response.**  In each cycle in which a device was ordered to move by o = b − ordered (kW) it moved by m = b − metered.
Its reliability ρ is the mean of m/o over such cycles, drawn towards what its registration says (ρ₀), forgetting slowly;
an order that is small beside the nameplate says less, and one cycle never says more than another:

    (Q1)  ρ = (PRIOR_CYCLES ρ₀ + N) / (PRIOR_CYCLES + D), within [0, 1]
    (Q2)  N ← λ N + w q,   D ← λ D + w,   q = m / o within RATIO_LIMITS,   w = min(1, |o| / (WHOLE_SHARE connected))

**Suspicion.**  One cycle's evidence is judged by ``suspicions``; who is suspected of the same in enough cycles running
(``STRIKES``) cannot be counted on.  A device is not blamed for a baseline that is off: to be called unresponsive it
must have stood still beside its baseline *and* beside what it drew before the order began.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from models.intervals import FloatArray

PRIOR_CYCLES = 6.0
"""The registration's word counts as much as so many cycles."""
WHOLE_SHARE = 0.2
"""An order of this share of the nameplate and more counts as a whole cycle."""
RATIO_LIMITS = (-1.0, 2.0)
"""What is beyond says more of the baseline than of the device."""
FORGETTING = 0.98
"""What a cycle's evidence is worth one cycle later."""

LEAST_ORDER_SHARE, LEAST_ORDER_KW = 0.1, 0.05
"""An order moves something if it is at least this share of the nameplate, and so many kW."""
STOOD_STILL_SHARE = 0.2
"""Less than this share of an order is no response."""
IDLE_SHARE = 0.05
"""Less than this share of the nameplate is auxiliary power or a meter's noise, whatever its sign."""
BEYOND_NAMEPLATE = 1.5
"""A reading this many times the nameplate is in another unit."""
THOUSANDTH = (0.5e-3, 2e-3)
"""A reading between these shares of what must be drawn is in megawatts."""
SKEW_SHARE = 0.5
"""A reading that was this share of a cycle old when it came is off by its clock, not by the wire."""
REFUSAL_HOLDS = timedelta(minutes=30)
"""A device that refused an order is not asked again for so long."""
REFUSED, REFUSED_ZH = "refused", "拒绝执行"
"""Why it is not, as operators read it: it said so itself, nobody had to find out."""
FROZEN_REPEATS = 2
"""A meter that varies says the same number again so often only if it is frozen; under an order once is enough."""


class Misconduct(IntEnum):
    """Why a device cannot be counted on; a smaller number goes before."""

    NONE = 0
    SILENT = 1
    CLOCK_SKEW = 2
    WRONG_SIGN = 3
    WRONG_SCALE = 4
    FROZEN_METER = 5
    NO_RESPONSE = 6

    @property
    def is_of_the_meter(self) -> bool:
        """True if what the device says of its power must not be counted as delivered."""
        return self in (Misconduct.CLOCK_SKEW, Misconduct.WRONG_SIGN, Misconduct.WRONG_SCALE, Misconduct.FROZEN_METER)


MISCONDUCT_ZH = {
    Misconduct.NONE: "正常",
    Misconduct.SILENT: "失联",
    Misconduct.CLOCK_SKEW: "时钟偏差",
    Misconduct.WRONG_SIGN: "电表方向错误",
    Misconduct.WRONG_SCALE: "电表量纲错误",
    Misconduct.FROZEN_METER: "电表冻结",
    Misconduct.NO_RESPONSE: "未响应",
}

SHOWS_UNDER_ORDERS = (Misconduct.WRONG_SIGN, Misconduct.WRONG_SCALE, Misconduct.NO_RESPONSE)
"""Suspicions that a cycle without an order says nothing about."""

STRIKES = np.array([0, 2, 2, 2, 2, 1, 2], dtype=np.int64)
"""Suspicious cycles running after which it is certain, by ``Misconduct``; a frozen meter has repeated itself before."""


@dataclass(frozen=True, slots=True)
class ConductRecord:
    """What is kept of one device: N and D of (Q2) in whole cycles, and its quarantine if it is in one.

    ``flowed_kwh``, ``told_kwh``: of a battery, what shows its state of health (``vpp.state_of_health``).
    ``quarantined_at``: None if it is free.  ``trial_at``: when it is tried again.  ``times``: how often it has been in
    quarantine lately.
    """

    resource_id: str
    share_sum: float
    weight_sum: float
    misconduct: Misconduct = Misconduct.NONE
    quarantined_at: datetime | None = None
    trial_at: datetime | None = None
    times: int = 0
    flowed_kwh: float = 0.0
    told_kwh: float = 0.0


@dataclass(frozen=True, slots=True)
class CycleEvidence:
    """One cycle of n devices, arrays (n,); powers are means over the cycle, kW, positive when consuming.

    ``ordered_kw``: NaN without an order.  ``metered_kw``: NaN before the first reading.  ``before_kw``: what was
    metered before the order in force began, NaN where that is not known (it was there before a restart).
    ``measured_age_s``, ``received_age_s``: of the newest reading at the end of the cycle, by its own time and by ours,
    inf before the first.  ``patience_s``: how long a reading is good for.  ``repeats``: how many readings before it
    said exactly the same.  ``varies``: hardly any reading of this meter repeats the one before.  ``unusable``: what was
    wrong with readings that had to be refused in this cycle.  ``may_draw``, ``may_feed_in``: what its kind can do.
    """

    baseline_kw: FloatArray
    ordered_kw: FloatArray
    metered_kw: FloatArray
    before_kw: FloatArray
    connected_kw: FloatArray
    measured_age_s: FloatArray
    received_age_s: FloatArray
    patience_s: FloatArray
    repeats: NDArray[np.int64]
    varies: NDArray[np.bool_]
    unusable: NDArray[np.int64]
    may_draw: NDArray[np.bool_]
    may_feed_in: NDArray[np.bool_]
    cycle_s: float

    @property
    def ordered_change_kw(self) -> FloatArray:
        """The ordered change o = b − ordered, 0 without an order that moves something, (n,)."""
        change = np.nan_to_num(self.baseline_kw - self.ordered_kw)
        least = np.maximum(LEAST_ORDER_SHARE * self.connected_kw, LEAST_ORDER_KW)
        return np.where(np.abs(change) >= least, change, 0.0)

    @property
    def is_heard(self) -> NDArray[np.bool_]:
        """True where a reading of this cycle is there, (n,)."""
        return np.asarray(self.measured_age_s <= self.cycle_s)


def suspicions(seen: CycleEvidence) -> NDArray[np.int64]:
    """The ``Misconduct`` that each device is suspected of after one cycle, (n,)."""
    order, power, nameplate = seen.ordered_change_kw, seen.metered_kw, seen.connected_kw
    heard = seen.is_heard
    comes = seen.received_age_s <= np.maximum(seen.patience_s, seen.cycle_s)
    late_s = np.nan_to_num(seen.measured_age_s, posinf=0.0) - np.nan_to_num(seen.received_age_s, posinf=0.0)
    found = np.zeros(len(power), dtype=np.int64)

    moved = order != 0
    drawn = np.where(moved, seen.ordered_kw, seen.baseline_kw)
    size = np.abs(power) / np.maximum(np.abs(drawn), 1e-9)
    large = np.abs(drawn) >= LEAST_ORDER_SHARE * nameplate
    idle_kw = IDLE_SHARE * nameplate
    share = (seen.baseline_kw - power) / np.where(moved, order, 1.0)
    beside_before = (seen.before_kw - power) / np.where(moved, order, 1.0)
    still = moved & (share < STOOD_STILL_SHARE) & (beside_before < STOOD_STILL_SHARE)  # not known before: not blamed
    both_ways = seen.may_draw & seen.may_feed_in
    mirrored = moved & large & (np.abs(power + drawn) < 0.3 * np.abs(drawn))
    never = (~seen.may_feed_in & (power < -idle_kw)) | (~seen.may_draw & (power > idle_kw))
    on = power != 0  # what is off says 0 again and again
    repeated = seen.repeats >= FROZEN_REPEATS

    def judge(kind: Misconduct, where: NDArray[np.bool_]) -> None:
        found[where & (found == 0)] = kind

    judge(Misconduct.CLOCK_SKEW, seen.unusable == Misconduct.CLOCK_SKEW)
    judge(Misconduct.WRONG_SCALE, seen.unusable == Misconduct.WRONG_SCALE)
    judge(Misconduct.CLOCK_SKEW, comes & (late_s > SKEW_SHARE * seen.cycle_s))
    judge(Misconduct.SILENT, ~heard & (seen.measured_age_s > seen.patience_s))
    judge(Misconduct.WRONG_SIGN, heard & (never | (both_ways & mirrored)))
    judge(Misconduct.WRONG_SCALE, heard & (np.abs(power) > BEYOND_NAMEPLATE * nameplate))
    judge(Misconduct.WRONG_SCALE, heard & large & (size >= THOUSANDTH[0]) & (size <= THOUSANDTH[1]))
    judge(Misconduct.FROZEN_METER, heard & on & seen.varies & (repeated | (still & (seen.repeats > 0))))
    judge(Misconduct.NO_RESPONSE, heard & still)
    return found


def forget_and_learn(
    share_sum: FloatArray, weight_sum: FloatArray, seen: CycleEvidence, counts: NDArray[np.bool_]
) -> tuple[FloatArray, FloatArray]:
    """N and D of (Q2), (n,) each, in whole cycles, after one more cycle of those where ``counts``."""
    order = np.where(counts & seen.is_heard, seen.ordered_change_kw, 0.0)
    under = order != 0
    ratio = np.where(under, (seen.baseline_kw - seen.metered_kw) / np.where(under, order, 1.0), 0.0)
    weight = np.minimum(1.0, np.abs(order) / np.maximum(WHOLE_SHARE * seen.connected_kw, 1e-9))
    keep = np.where(under, FORGETTING, 1.0)
    return keep * share_sum + weight * np.clip(ratio, *RATIO_LIMITS), keep * weight_sum + weight


def reliability_fraction(registered: FloatArray, share_sum: FloatArray, weight_sum: FloatArray) -> FloatArray:
    """ρ of (Q1), (n,)."""
    return np.asarray(np.clip((PRIOR_CYCLES * registered + share_sum) / (PRIOR_CYCLES + weight_sum), 0.0, 1.0))
