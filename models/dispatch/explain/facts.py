"""What an explanation is made of: prices that act on a resource, one reason per interval, and the whole."""

from dataclasses import dataclass
from datetime import datetime

from models.events import ScopeKind
from models.plan import Requirement
from models.resources import ResourceKind


@dataclass(frozen=True, slots=True)
class PriceTerm:
    """One coupling row that acts on a resource in one interval.

    ``price_per_kwh``: the row's dual / Δ, never negative.  ``adds_per_kwh``: what it adds to the price of a kWh that
    this resource draws: positive where drawing less helps the row, negative where drawing more does, and weighted with
    the reliability where the row is.
    """

    requirement: Requirement
    scope_kind: ScopeKind
    scope_id: str
    event_id: str | None
    price_per_kwh: float
    adds_per_kwh: float


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """The best interval that a resource leaves alone although it could do there what it does here."""

    start: datetime
    end: datetime
    effective_per_kwh: float


@dataclass(frozen=True, slots=True)
class Reason:
    """One resource, one interval: what acts on it, what it does, what that is worth.

    ``effective_per_kwh`` = tariff + Σ ``adds_per_kwh``, CNY per kWh drawn.  ``worth_cny`` = Δ · effective · (baseline −
    power): what the change is worth at these prices.  ``own_cost_cny``: what the schedule costs the device here beyond
    what the baseline would (wear, discomfort, starts, straying from the day plan ...).  ``taken_back_per_kwh``: mean
    effective price of the change in the other direction over the horizon, None if there is none.
    """

    start: datetime
    end: datetime
    tariff_per_kwh: float
    terms: tuple[PriceTerm, ...]
    effective_per_kwh: float
    baseline_kw: float
    power_kw: float
    worth_cny: float
    own_cost_cny: float
    can_move: bool
    elsewhere: Elsewhere | None
    taken_back_per_kwh: float | None
    zh: str = ""
    en: str = ""

    @property
    def change_kw(self) -> float:
        """Power less baseline: negative where it draws less (or feeds in more)."""
        return self.power_kw - self.baseline_kw


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why one resource does what it does over the horizon.

    ``worth_cny`` and ``own_cost_cny`` are those of the whole schedule, virtual slots after the horizon and costs that
    belong to no single interval included.  ``missed_cny``: how much better it would be off by itself at these prices,
    by the checker's oracle (0 for what is optimal; positive where several resources share what one price cannot
    divide, or a schedule was rounded); None for a re-plan.  ``missed_is_exact``: False where that oracle is a
    relaxation, so that ``missed_cny`` is only an upper bound.
    """

    resource_id: str
    kind: ResourceKind
    zone_id: str
    aggregator_id: str
    pillar: str
    tariff_id: str
    reliability_fraction: float
    reasons: tuple[Reason, ...]
    worth_cny: float
    own_cost_cny: float
    missed_cny: float | None
    missed_is_exact: bool

    @property
    def net_cny(self) -> float:
        """What following the plan instead of the baseline is worth at the plan's prices."""
        return self.worth_cny - self.own_cost_cny
