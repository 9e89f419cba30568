"""A figure or the reason why there is none, and the words for both languages."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

Language = Literal["en", "zh"]


class Missing(StrEnum):
    """Why a figure is not told."""

    READINGS_MISSING = "readings_missing"
    TOO_FEW_READINGS = "too_few_readings"
    NO_READING_BEFORE = "no_reading_before"
    NO_CHANGE = "no_change"
    NO_MOVE_ORDERED = "no_move_ordered"
    NO_RESPONSE = "no_response"
    NOT_REACHED = "not_reached"
    NEVER_FED_IN = "never_fed_in"
    YEAR_TOO_SHORT = "year_too_short"
    NOT_ORDERED = "not_ordered"
    NEVER_TESTED = "never_tested"


WORDS: dict[Missing, tuple[str, str]] = {
    Missing.READINGS_MISSING: ("the test is void: too much time without readings", "测试无效:缺失读数过多"),
    Missing.TOO_FEW_READINGS: ("too few readings there", "该时段读数不足"),
    Missing.NO_READING_BEFORE: ("no reading before the order", "指令前无读数"),
    Missing.NO_CHANGE: ("no change seen", "未见功率变化"),
    Missing.NO_MOVE_ORDERED: ("the same was ordered before: nothing had to move", "指令与前一步相同,无需变化"),
    Missing.NO_RESPONSE: ("the change never stayed over the threshold", "变化未持续超过阈值"),
    Missing.NOT_REACHED: ("the change never came near the order", "变化未达到目标"),
    Missing.NEVER_FED_IN: ("it never fed in", "未见上网功率"),
    Missing.YEAR_TOO_SHORT: ("too few days of readings for a year", "读数天数不足以推算全年"),
    Missing.NOT_ORDERED: ("nothing was ordered in this direction", "该方向未下达指令"),
    Missing.NEVER_TESTED: ("no test that counts in this direction", "该方向尚无有效测试"),
}
"""What people read, (English, Chinese)."""


@dataclass(frozen=True, slots=True)
class Figure:
    """``value``, or None and the reason.  ``resolution_s``: so much shorter a time may be, by the readings' spacing."""

    value: float | None = None
    missing: Missing | None = None
    resolution_s: float | None = None

    def told(self, language: Language) -> str:
        """In words; the unit stands with the index."""
        if self.missing is not None:
            return WORDS[self.missing][language == "zh"]
        return f"{self.value:.6g}"


def untold(missing: Missing) -> Figure:
    """No figure, and why."""
    return Figure(missing=missing)


def worst(figures: Sequence[Figure], badness: Callable[[float], float]) -> Figure:
    """The figure of largest badness; not told if one is not told, unless nothing had to move there."""
    asked = [each for each in figures if each.missing is not Missing.NO_MOVE_ORDERED] or list(figures)
    for each in asked:
        if each.value is None:
            return each
    return max(asked, key=lambda each: badness(each.value or 0.0), default=untold(Missing.NOT_ORDERED))
