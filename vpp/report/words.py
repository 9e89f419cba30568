"""Both languages, units and times: how the report says things. Everything that goes into HTML is escaped here."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from html import escape
from zoneinfo import ZoneInfo

from vpp.report.result_folder import Summary, Text

KIND_NAMES: Mapping[str, Text] = {
    "storage": Text(zh="储能", en="Storage"),
    "ev_session": Text(zh="电动汽车充电", en="EV charging"),
    "curtailable_load": Text(zh="可削减负荷", en="Curtailable loads"),
    "interruptible_load": Text(zh="可中断负荷", en="Interruptible loads"),
    "shiftable_load": Text(zh="可转移负荷", en="Shiftable loads"),
    "thermal_load": Text(zh="空调等温控负荷", en="Thermal loads"),
    "generator": Text(zh="发电机组", en="Generators"),
    "pv": Text(zh="光伏", en="PV"),
}
BASIS_NAMES: Mapping[str, Text] = {
    "published": Text(zh="公开数据", en="published"),
    "measured": Text(zh="实测", en="measured"),
    "derived": Text(zh="推算", en="derived"),
    "assumption": Text(zh="假设", en="assumption"),
}


def both(zh: str, en: str) -> str:
    """A text in both languages as HTML; style and the language switch decide which of them shows, and how."""
    return f'<span lang="zh">{escape(zh)}</span> <span lang="en">{escape(en)}</span>'


def both_of(text: Text) -> str:
    """``both`` of a stored text."""
    return both(text.zh, text.en)


def plain(zh: str, en: str) -> str:
    """Both languages in one line, for the inside of a figure (escaped: figures read a little HTML)."""
    return f"{escape(zh)} {escape(en)}"


@dataclass(frozen=True)
class Unit:
    """A unit of power that suits a figure."""

    name: str
    kw: float

    @classmethod
    def fit(cls, largest_kw: float) -> "Unit":
        """GW, MW or kW, so that the largest figure has a digit or two before the point."""
        size = abs(largest_kw)
        return cls("GW", 1e6) if size >= 1e6 else cls("MW", 1e3) if size >= 1e3 else cls("kW", 1.0)


def power(kw: float | None, *, sign: bool = False) -> str:
    """A power in the unit that suits it; an en dash where there is none."""
    if kw is None:
        return "–"
    unit = Unit.fit(kw)
    digits = 2 if unit.kw > 1 else 1
    return f"{kw / unit.kw:{'+' if sign else ''},.{digits}f} {unit.name}"


def percent(ratio: float | None) -> str:
    """A ratio as percent with one digit; an en dash where there is none."""
    return "–" if ratio is None else f"{100 * ratio:.1f} %"


def factor(scale: float) -> str:
    """The scale factor, with three significant digits."""
    return f"{scale:.3g}"


@dataclass(frozen=True)
class Speaker:
    """What every figure of one report must say: its zone, its scale, and that it is simulated."""

    zone: ZoneInfo
    stamp: str

    @classmethod
    def of(cls, summary: Summary) -> "Speaker":
        """For one result."""
        marks = []
        if summary.simulated:
            marks.append("仿真 SIMULATED")
        if summary.labels.replayed:
            marks.append("回放 replayed day")
        if summary.labels.reconstruction:
            marks.append("重构场景 reconstruction")
        marks.append(f"比例 scale ×{factor(summary.scale)}")
        return cls(ZoneInfo(summary.time_zone), " · ".join(marks))

    def clock(self, moment: datetime) -> str:
        """Time of day in the market's zone; the repeated autumn hour shows its offset."""
        local = moment.astimezone(self.zone)
        repeated = local.utcoffset() != local.replace(fold=1 - local.fold).utcoffset()
        return f"{local:%H:%M}" + (f" ({local:%Z})" if repeated else "")

    def stamp_of(self, moment: datetime) -> str:
        """Day and time in the market's zone."""
        return f"{moment.astimezone(self.zone):%m-%d} {self.clock(moment)}"

    def window(self, start: datetime, end: datetime) -> str:
        """A window as 13:00–14:00."""
        return f"{self.clock(start)}–{self.clock(end)}"
