"""Plans and setpoints: what every resource shall do, and the fingerprint that says which plan it was."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from math import isfinite, isnan, nan

import numpy as np
from pydantic import BaseModel, ConfigDict

from models.events import ScopeKind
from models.intervals import FloatArray, IntervalGrid
from models.moments import microseconds
from models.units import Identifier, Kw, UtcTime


class Requirement(StrEnum):
    """The coupling rows of the city problem, each with its own slack and its own price."""

    ZONE_LIMIT = "zone_limit"
    EVENT_TARGET = "event_target"
    EVENT_CAP = "event_cap"
    REBOUND = "rebound"
    COMMITMENT_LOW = "commitment_low"
    COMMITMENT_HIGH = "commitment_high"


class PlanSource(StrEnum):
    """Who made a plan: the better ones first."""

    REFERENCE = "reference"
    FAST = "fast"
    LAST_GOOD = "last_good"
    RULE = "rule"
    HOLD = "hold"


class LadderStep(StrEnum):
    """How good a plan is, from the top of the ladder down: what stands where nothing better could be had."""

    OPTIMAL = "optimal"
    INCUMBENT = "incumbent"
    LAST_GOOD = "last_good"
    RULE = "rule"
    HOLD = "hold"


LADDER_ZH: dict[LadderStep, str] = {
    LadderStep.OPTIMAL: "最优计划",
    LadderStep.INCUMBENT: "可行计划（附最优性差距）",
    LadderStep.LAST_GOOD: "沿用上一次有效计划",
    LadderStep.RULE: "按成本排序的规则计划",
    LadderStep.HOLD: "不下发指令，设备回落自有控制",
}
"""What operators call each of them in Chinese."""

LADDER_EN: dict[LadderStep, str] = {
    LadderStep.OPTIMAL: "optimal plan",
    LadderStep.INCUMBENT: "best plan found, with its gap",
    LadderStep.LAST_GOOD: "last good plan, as far as devices can still follow it",
    LadderStep.RULE: "merit order: cheapest first, by rule",
    LadderStep.HOLD: "no orders: devices fall back to their own control",
}
"""And in English."""

NO_SOLVER = frozenset({PlanSource.LAST_GOOD, PlanSource.RULE, PlanSource.HOLD})
"""Sources that prove nothing and claim no cost."""


@dataclass(frozen=True, slots=True)
class RequirementAmount:
    """One row of ``unmet`` (kW of slack) or of ``prices`` (row dual / Δ, CNY per kWh, never negative)."""

    requirement: Requirement
    scope_kind: ScopeKind
    scope_id: str
    interval_start: datetime
    amount: float
    event_id: str | None = None


@dataclass(frozen=True, slots=True)
class Admission:
    """A limit that a measured state made unreachable, and what it was relaxed to before the solve."""

    resource_id: str
    limit: str
    asked: float
    granted: float
    reason: str
    session_id: str | None = None


@dataclass(frozen=True)
class DispatchPlan:
    """A schedule for R resources on a grid of T intervals, with its baseline, its costs and its certificate.

    ``power_kw``, ``baseline_kw``: (R, T), kW, positive when consuming.  ``energy_kwh``: (R, T), kWh at
    interval ends:
    level (storage, V2G), delivered since arrival (V1G), comfort store (thermal), NaN for the others.
    Rows are in the order of ``resource_ids`` (byte order); a charger with several sessions is one row.
    """

    grid: IntervalGrid
    resource_ids: tuple[str, ...]
    power_kw: FloatArray
    energy_kwh: FloatArray
    baseline_kw: FloatArray
    baseline_energy_kwh: FloatArray
    status: str
    source: PlanSource
    objective_cny: float
    baseline_cost_cny: float
    lower_bound_cny: float
    iterations: int
    wall_s: float
    penalties: dict[str, float]
    unmet: tuple[RequirementAmount, ...] = ()
    prices: tuple[RequirementAmount, ...] = ()
    admissions: tuple[Admission, ...] = ()
    peak_rss_mb: float = 0.0
    made_at: datetime | None = None
    row_of: dict[str, int] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        shape = (len(self.resource_ids), len(self.grid))
        for name in ("power_kw", "energy_kwh", "baseline_kw", "baseline_energy_kwh"):
            if getattr(self, name).shape != shape:
                raise ValueError(f"{name}: shape {getattr(self, name).shape}, expected {shape}")
        object.__setattr__(self, "row_of", {name: row for row, name in enumerate(self.resource_ids)})

    @property
    def step(self) -> LadderStep:
        """Where on the ladder this plan stands."""
        if self.source in NO_SOLVER:
            return LadderStep(self.source.value)
        return LadderStep.OPTIMAL if self.status == "optimal" else LadderStep.INCUMBENT

    @property
    def gap(self) -> float:
        """(objective - bound) over the larger of |objective - baseline cost| and a thousandth of the baseline cost."""
        return relative_gap(self.objective_cny, self.lower_bound_cny, self.baseline_cost_cny)

    @cached_property
    def plan_hash(self) -> str:
        """Fingerprint of the schedule (see ``schedule_hash``)."""
        return schedule_hash(self.grid, self.resource_ids, self.power_kw)

    @property
    def baseline_hash(self) -> str:
        """Fingerprint of the baseline table, by the same rule."""
        return schedule_hash(self.grid, self.resource_ids, self.baseline_kw)


def relative_gap(objective_cny: float, bound_cny: float, baseline_cost_cny: float) -> float:
    """The gap of dispatch-model §3: the constant cost of the baseline must not flatter it.

    NaN where a cost is unknown (a fallback plan has no certificate), inf where there is no bound.
    """
    if isnan(bound_cny) or not (isfinite(objective_cny) and isfinite(baseline_cost_cny)):
        return nan
    scale = max(abs(objective_cny - baseline_cost_cny), 1e-3 * abs(baseline_cost_cny), 1e-9)
    return max(0.0, (objective_cny - bound_cny) / scale)


def schedule_hash(grid: IntervalGrid, resource_ids: Sequence[str], power_kw: FloatArray) -> str:
    """SHA-256 of a schedule: int64 microsecond interval starts, then per resource in byte order of its id the UTF-8
    id, 0x00 and its power of all intervals as little-endian float64 with -0 as 0.
    """
    digest = hashlib.sha256()
    starts = np.array([microseconds(start) for start in grid.starts], dtype="<i8")
    digest.update(starts.tobytes())
    encoded = [name.encode() for name in resource_ids]
    for row in sorted(range(len(encoded)), key=encoded.__getitem__):
        digest.update(encoded[row] + b"\x00")
        digest.update((np.asarray(power_kw[row], dtype="<f8") + 0.0).tobytes())
    return digest.hexdigest()


class Setpoint(BaseModel):
    """What one resource shall do: mean net power, or None to release it to its own control."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    resource_id: Identifier
    power_kw: Kw | None


class SetpointBatch(BaseModel):
    """Setpoints of one aggregator for one interval; after ``valid_until`` every device returns to its own fallback."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    command_id: Identifier
    aggregator_id: str
    sequence: int
    plan_hash: str
    valid_from: UtcTime
    valid_until: UtcTime
    setpoints: tuple[Setpoint, ...]
