"""A baseline frozen: one SHA-256 over the rule, what it looked at and what came out.

Canonical is JSON with sorted keys, no spaces, ASCII; numbers are rounded to 1e-6 (kW, °C), NaN is null, -0 is 0.
So many digits are the same on every machine; the last bits of a least-squares solution are not.
"""

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

import numpy as np

from models.canonical import sha256_of
from models.intervals import FloatArray
from models.settlement.days import ClockDays
from models.settlement.methods.case import BaselineCase
from models.settlement.methods.explained import Baseline
from models.settlement.methods.spec import MethodSpec


def frozen_sha256(method: MethodSpec, case: BaselineCase, found: Baseline) -> str:
    """Fingerprint of method (id, version, every parameter), input and result with its explanation."""
    result = {key: value for key, value in asdict(found).items() if key != "kw"} | {"kw": _numbers(found.kw)}
    # Words may be mended; a field that a later version of the table brings is left out while it has its default.
    rule = method.model_dump(mode="json", include={"id", "version", "parameters", "adjustment"}, exclude_defaults=True)
    return _sha256({"method": rule, "input": input_sha256(case), "result": result})


def input_sha256(case: BaselineCase) -> str:
    """Fingerprint of everything that a method may look at."""
    return _sha256(
        {
            "history": _days(case.history),
            "day": case.day.isoformat(),
            "hours": [case.start_h, case.end_h],
            "day_kw": _numbers(case.day_kw),
            **{
                name: sorted(day.isoformat() for day in getattr(case, name))
                for name in ("holidays", "working_weekends", "event_days", "outage_days")
            },
            "temperature_celsius": _days(case.temperature_celsius),
            "control_kw": _days(case.control_kw),
            "called_customers": case.called_customers,
            "schedule_kw": None if case.schedule_kw is None else _numbers(case.schedule_kw),
            "firm_kw": case.firm_kw,
        }
    )


def _days(days: ClockDays | None) -> dict[str, Any] | None:
    if days is None:
        return None
    return {
        "days": [day.isoformat() for day in days.days],
        "values": _numbers(days.values),
        "step_s": days.step.total_seconds(),
        "zone": str(days.zone),
    }


def _numbers(values: FloatArray) -> list[Any]:
    listed: list[Any] = np.asarray(values, dtype=np.float64).tolist()
    return listed


def _sha256(content: dict[str, Any]) -> str:
    return sha256_of(_canonical(content))


def _canonical(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _canonical(each) for key, each in value.items()}
    if isinstance(value, float):
        return round(value, 6) + 0.0 if np.isfinite(value) else None
    if isinstance(value, str | int | bool) or value is None:
        return value
    if isinstance(value, Iterable):
        return [_canonical(each) for each in value]
    return str(value)  # a day
