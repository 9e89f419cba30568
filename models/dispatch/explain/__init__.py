"""Why a resource does what it does, and what one more megawatt would cost, here and now (solver-independent)."""

from models.dispatch.explain.facts import Elsewhere, Explanation, PriceTerm, Reason
from models.dispatch.explain.requirements import (
    RequirementPrice,
    RequirementSum,
    load_price_per_mwh,
    requirement_prices,
    requirement_sums,
)
from models.dispatch.explain.resource import explain_resource, schedule_in, table_of
from models.dispatch.explain.words import requirement_en, requirement_zh

__all__ = [
    "Elsewhere",
    "Explanation",
    "PriceTerm",
    "Reason",
    "RequirementPrice",
    "RequirementSum",
    "explain_resource",
    "load_price_per_mwh",
    "requirement_en",
    "requirement_prices",
    "requirement_sums",
    "requirement_zh",
    "schedule_in",
    "table_of",
]
