"""The tables of a plan folder: one row type each (dispatch-model §3)."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from adapters.feeds.tables import TableSpec
from models.events import ScopeKind
from models.plan import Requirement
from models.resources import Pillar, ResourceKind
from models.units import AggregatorId, Identifier, Kw, Kwh, NonNegativeKw, NonNegativePricePerKwh, UtcTime


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ScheduleRow(_Row):
    """Power of one resource in one interval, and the energy at its end (null where the kind has none)."""

    resource_id: Identifier
    interval_start: UtcTime
    power_kw: Kw
    energy_kwh: Kwh | None = None


class AggregateRow(_Row):
    """Sum over the resources of one zone, aggregator, pillar and kind in one interval."""

    interval_start: UtcTime
    zone_id: Identifier
    aggregator_id: AggregatorId
    pillar: Pillar
    kind: ResourceKind
    baseline_kw: Kw
    power_kw: Kw


class _RequirementRow(_Row):
    requirement: Requirement
    event_id: Identifier | None = None
    scope_kind: ScopeKind
    scope_id: str = ""
    interval_start: UtcTime


class UnmetRow(_RequirementRow):
    """How many kW a requirement was missed by."""

    amount_kw: NonNegativeKw


class PriceRow(_RequirementRow):
    """Dual of a requirement's row over the interval's hours, at which the lower bound was taken."""

    price_per_kwh: NonNegativePricePerKwh


class AdmissionRow(_Row):
    """A limit that a measured state made unreachable, and what it was relaxed to."""

    resource_id: Identifier
    session_id: str | None = None
    limit: str
    asked: Annotated[float, Field(allow_inf_nan=False)]
    granted: Annotated[float, Field(allow_inf_nan=False)]
    reason: str = ""


BASELINE = TableSpec("baseline", ScheduleRow)
SETPOINTS = TableSpec("setpoints", ScheduleRow)
AGGREGATE = TableSpec("aggregate", AggregateRow)
UNMET = TableSpec("unmet", UnmetRow)
PRICES = TableSpec("prices", PriceRow)
ADMISSIONS = TableSpec("admissions", AdmissionRow)
