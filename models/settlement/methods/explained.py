"""A baseline and why it is what it is: a verdict for every day, and what the day itself changed."""

from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Literal

from models.intervals import FloatArray
from models.settlement.methods.spec import MethodSpec

Language = Literal["en", "zh"]


class Verdict(StrEnum):
    """What became of a day of the history."""

    USED = "used"
    NOT_BEFORE = "not_before"
    TOO_RECENT = "too_recent"
    BEYOND_LOOK_BACK = "beyond_look_back"
    HOLIDAY = "holiday"
    OTHER_KIND = "other_kind"
    EVENT_DAY = "event_day"
    OUTAGE_DAY = "outage_day"
    TOO_FEW_READINGS = "too_few_readings"
    LOW_USE = "low_use"
    NEWER_DAYS_SUFFICE = "newer_days_suffice"
    OUTLIER = "outlier"
    NOT_AMONG_HIGHEST = "not_among_highest"
    NOT_IN_THE_MIDDLE = "not_in_the_middle"
    LESS_ALIKE = "less_alike"
    NO_TEMPERATURE = "no_temperature"
    TOO_FEW_DAYS = "too_few_days"


class NoBaseline(StrEnum):
    """Why a method gives nothing."""

    TOO_FEW_DAYS = "too_few_days"
    NO_READINGS = "no_readings"
    NO_TEMPERATURE = "no_temperature"
    TOO_FEW_CUSTOMERS = "too_few_customers"
    NOT_BALANCED = "not_balanced"
    NO_SCHEDULE = "no_schedule"
    NO_FIRM_LEVEL = "no_firm_level"


class AdjustmentState(StrEnum):
    """What became of an adjustment."""

    APPLIED = "applied"
    CLIPPED = "clipped"
    NO_READINGS = "no_readings"
    NO_BASELINE = "no_baseline"


@dataclass(frozen=True, slots=True)
class DayVerdict:
    """One day of the history; ``fact`` is what decided, if it is a number (kW, °C or a share)."""

    day: date
    verdict: Verdict
    weight: float = 0.0
    fact: float | None = None

    def told(self, language: Language) -> str:
        """In words."""
        words = VERDICTS[self.verdict][language == "zh"]
        return f"{self.day:%Y-%m-%d} {words}" + ("" if self.fact is None else f" ({self.fact:.4g})")


@dataclass(frozen=True, slots=True)
class WindowFact:
    """What the meter showed and the baseline said in one window, clock hours; NaN if nothing is known."""

    from_h: float
    to_h: float
    known_slots: int
    metered_kw: float
    baseline_kw: float


@dataclass(frozen=True, slots=True)
class AdjustmentFact:
    """``raw`` and ``applied``: a factor (scalar) or kW (additive)."""

    kind: Literal["scalar", "additive"]
    state: AdjustmentState
    raw: float
    applied: float
    windows: tuple[WindowFact, ...]

    def told(self, language: Language) -> str:
        """In words."""
        shown = f"x {self.applied:.4f}" if self.kind == "scalar" else f"{self.applied:+.4g} kW"
        raw = f"x {self.raw:.4f}" if self.kind == "scalar" else f"{self.raw:+.4g} kW"
        words = STATES[self.state][language == "zh"].format(shown=shown, raw=raw)
        hours = ", ".join(f"{_clock(each.from_h)}-{_clock(each.to_h)}" for each in self.windows)
        return f"{'调整窗口' if language == 'zh' else 'adjustment window'} {hours}: {words}"


@dataclass(frozen=True, slots=True)
class LearnedFact:
    """A term learned from the site's own days: today's signal, and how much of it was carried into the event."""

    name: str
    signal_kw: float
    carried_kw: float
    learning_days: int

    def told(self, language: Language) -> str:
        """In words."""
        name = LEARNED[self.name][language == "zh"]
        if language == "zh":
            moved = f"事件期平均修正 {self.carried_kw:+.4g} kW"
            return f"{name} {self.signal_kw:+.4g} kW,据 {self.learning_days} 个历史日,{moved}"
        days = f"by {self.learning_days} days of the past"
        return f"{name} {self.signal_kw:+.4g} kW: {days} it moves the event's hours by {self.carried_kw:+.4g} kW"


@dataclass(frozen=True)
class Baseline:
    """``kw``: (S,), on the event day's clock, all NaN if there is none, and then ``missing`` says why."""

    method_id: str
    version: int
    kw: FloatArray
    days: tuple[DayVerdict, ...]
    missing: NoBaseline | None = None
    adjustment: AdjustmentFact | None = None
    learned: tuple[LearnedFact, ...] = ()

    @property
    def days_used(self) -> tuple[date, ...]:
        """The days it was made of, oldest first."""
        return tuple(each.day for each in self.days if each.verdict is Verdict.USED)

    def told(self, method: MethodSpec, language: Language) -> list[str]:
        """The whole explanation, a line each."""
        title = method.title_zh if language == "zh" else method.title_en
        lines = [f"{self.method_id} v{self.version}: {title}"]
        if self.missing is not None:
            lines.append(MISSING[self.missing][language == "zh"])
        lines += [each.told(language) for each in self.days]
        lines += [] if self.adjustment is None else [self.adjustment.told(language)]
        return lines + [each.told(language) for each in self.learned]


def _clock(hour: float) -> str:
    minutes = round(60 * hour)
    return f"{minutes // 60:02d}:{minutes % 60:02d}"


VERDICTS: dict[Verdict, tuple[str, str]] = {
    Verdict.USED: ("used", "采用"),
    Verdict.NOT_BEFORE: ("not before the event day", "不早于事件日"),
    Verdict.TOO_RECENT: ("too close to the event day", "距事件日过近"),
    Verdict.BEYOND_LOOK_BACK: ("beyond the look-back", "超出回溯期"),
    Verdict.HOLIDAY: ("a holiday", "节假日"),
    Verdict.OTHER_KIND: ("another kind of day", "日类型不同"),
    Verdict.EVENT_DAY: ("an event day", "事件日"),
    Verdict.OUTAGE_DAY: ("an outage day", "停电日"),
    Verdict.TOO_FEW_READINGS: ("too few readings, share measured", "读数不足,实测比例"),
    Verdict.LOW_USE: ("low use, kW in the event's hours", "用电过低,事件时段 kW"),
    Verdict.NEWER_DAYS_SUFFICE: ("enough newer days", "已有足够的较近日"),
    Verdict.OUTLIER: ("an outlier, mean kW of the day", "偏差过大,日均 kW"),
    Verdict.NOT_AMONG_HIGHEST: ("not among the highest, kW in the event's hours", "不在最高日之列,事件时段 kW"),
    Verdict.NOT_IN_THE_MIDDLE: ("highest or lowest, kW in the event's hours", "最高或最低日,事件时段 kW"),
    Verdict.LESS_ALIKE: ("less alike than others, distance", "相似度较低,距离"),
    Verdict.NO_TEMPERATURE: ("no temperature", "无气温数据"),
    Verdict.TOO_FEW_DAYS: ("eligible, but there are too few", "合格,但合格日总数不足"),
}
MISSING: dict[NoBaseline, tuple[str, str]] = {
    NoBaseline.TOO_FEW_DAYS: ("no baseline: too few eligible days", "无基线:合格日不足"),
    NoBaseline.NO_READINGS: ("no baseline: no readings where the method looks", "无基线:所需时段无读数"),
    NoBaseline.NO_TEMPERATURE: ("no baseline: no temperature of the event day", "无基线:无事件日气温"),
    NoBaseline.TOO_FEW_CUSTOMERS: ("no baseline: the control group is too small", "无基线:对照组用户不足"),
    NoBaseline.NOT_BALANCED: ("no baseline: the control group is not balanced", "无基线:对照组未通过平衡检验"),
    NoBaseline.NO_SCHEDULE: ("no baseline: no schedule", "无基线:无计划曲线"),
    NoBaseline.NO_FIRM_LEVEL: ("no baseline: no reference level", "无基线:无参考水平"),
}
STATES: dict[AdjustmentState, tuple[str, str]] = {
    AdjustmentState.APPLIED: ("{shown}", "{shown}"),
    AdjustmentState.CLIPPED: ("{shown}, clipped from {raw}", "{shown},由 {raw} 限幅"),
    AdjustmentState.NO_READINGS: ("none, no readings there", "未调整,窗口无读数"),
    AdjustmentState.NO_BASELINE: ("none, the baseline has no energy there", "未调整,窗口基线无电量"),
}
LEARNED: dict[str, tuple[str, str]] = {
    "level": ("surplus of the morning", "上午偏差"),
    "trend": ("surplus of the morning's rise", "上午升幅偏差"),
}
