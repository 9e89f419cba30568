"""What the checker says: violations with a name and a number each, and the figures it computed by itself."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from models.plan import relative_gap


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing that is off.

    ``subject``: the resource (or session, aggregator group, requirement, figure) it is about.  ``kind``: the
    resource's kind, or ``requirement``, ``plan``, ``baseline``, ``admission``.  ``limit``: name of the limit, the
    column's name where there is one.  ``amount``: by how much ``got`` passes ``allowed``, in the limit's unit (1 for
    a text that differs).  ``interval_start``: None where the limit is about the whole horizon.  ``table``: the
    schedule it was found in, setpoints or baseline.
    """

    subject: str
    kind: str
    limit: str
    interval_start: datetime | None
    amount: float
    allowed: float
    got: float
    table: str = "setpoints"

    def __str__(self) -> str:
        when = "" if self.interval_start is None else f" at {self.interval_start.isoformat()}"
        where = " in the baseline" if self.table == "baseline" else ""
        return (
            f"{self.subject} ({self.kind}){where}: {self.limit}{when} is {self.got:.9g}, "
            f"allowed {self.allowed:.9g}, off by {self.amount:.3g}"
        )


class AggregateKey(NamedTuple):
    """A row of ``aggregate``: the interval and what its resources have in common."""

    interval_start: datetime
    zone_id: str
    aggregator_id: str
    pillar: str
    kind: str


@dataclass(frozen=True)
class PlanClaims:
    """What a plan folder says of its plan beyond the plan itself: ``aggregate`` holds (baseline_kw, power_kw)."""

    plan_hash: str
    baseline_hash: str
    gap: float | None
    aggregate: Mapping[AggregateKey, tuple[float, float]]


@dataclass(frozen=True)
class CheckReport:
    """The outcome of a check: every violation, and the figures recomputed without the solver.

    ``lower_bound_cny``: the Lagrangian bound at the plan's prices by the checker's own oracles; None if not asked
    for. ``bound_kinds``: per kind, whether its oracle is ``exact`` or a valid ``relaxed`` one. ``claimed_bound_cny``:
    what the plan itself says (of a reference plan: its solver's bound, printed beside).  ``unlisted``: resources that
    look off too, but were not looked at because the list was full.
    """

    violations: tuple[Violation, ...]
    objective_cny: float
    baseline_cost_cny: float
    lower_bound_cny: float | None
    claimed_bound_cny: float
    bound_kinds: Mapping[str, str] = field(default_factory=dict)
    plan_hash: str = ""
    baseline_hash: str = ""
    unlisted: int = 0

    @property
    def ok(self) -> bool:
        """True if nothing is off."""
        return not self.violations

    @property
    def gap(self) -> float | None:
        """Gap between the recomputed objective and the recomputed bound, None without a bound."""
        if self.lower_bound_cny is None:
            return None
        return relative_gap(self.objective_cny, self.lower_bound_cny, self.baseline_cost_cny)
