"""Days made by hand for the tests of baselines."""

from collections.abc import Sequence
from datetime import date, timedelta
from zoneinfo import ZoneInfo

import numpy as np

from models.settlement.days import ClockDays
from models.settlement.methods.case import BaselineCase
from models.settlement.methods.explained import Baseline
from models.settlement.methods.spec import MethodSpec

SHANGHAI = ZoneInfo("Asia/Shanghai")
HOUR = timedelta(hours=1)
MONDAY = date(2025, 6, 2)


def weekdays(count: int, first: date = MONDAY) -> tuple[date, ...]:
    """``count`` weekdays from a Monday on."""
    return tuple(first + timedelta(days=k + 2 * (k // 5)) for k in range(count))


def clock_days(values: Sequence[Sequence[float]] | np.ndarray, days: Sequence[date] | None = None) -> ClockDays:
    """Rows are days of 24 hours, weekdays unless said otherwise."""
    table = np.array(values, dtype=np.float64)
    return ClockDays(tuple(days or weekdays(len(table))), table[None], HOUR, SHANGHAI)


def flat_days(levels: Sequence[float], days: Sequence[date] | None = None) -> ClockDays:
    """Each day draws its level in all hours."""
    return clock_days([[level] * 24 for level in levels], days)


def event_on_next_weekday(history: ClockDays, day_kw: np.ndarray | float | None = None, **more: object) -> BaselineCase:
    """An event from 14 to 18 o'clock on the weekday after the history."""
    day = history.days[-1] + timedelta(days=1 if history.days[-1].weekday() < 4 else 7 - history.days[-1].weekday())
    shown = np.full(24, np.nan) if day_kw is None else np.broadcast_to(np.asarray(day_kw, dtype=np.float64), 24).copy()
    given = {"day": day, "start_h": 14.0, "end_h": 18.0, "day_kw": shown} | more
    return BaselineCase(history=history, **given)  # type: ignore[arg-type]


def made(parameters: dict, adjustment: dict | None = None) -> MethodSpec:
    """A method with these parameters."""
    return MethodSpec.model_validate(
        {
            "id": "by_hand",
            "version": 1,
            "title_en": "by hand",
            "title_zh": "手工",
            "naesb": "none",
            "source": "a test",
            "verified": True,
            "parameters": parameters,
            "adjustment": adjustment,
        }
    )


def verdicts(found: Baseline) -> list[str]:
    """In the order of the history."""
    return [each.verdict.value for each in found.days]
