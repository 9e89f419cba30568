"""The independent checker of plans: it knows neither solver nor reference model (an import rule sees to that)."""

from models.dispatch.check.plan import check_plan, check_stream
from models.dispatch.check.report import AggregateKey, CheckReport, PlanClaims, Violation

__all__ = ["AggregateKey", "CheckReport", "PlanClaims", "Violation", "check_plan", "check_stream"]
