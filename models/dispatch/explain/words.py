"""Reasons in one sentence each, Chinese and English, times in a given zone."""

from datetime import datetime, tzinfo

from models.dispatch.explain.facts import PriceTerm, Reason
from models.events import ScopeKind
from models.plan import Requirement

STILL_KW = 1e-6
"""A change of power below this is none."""

_SCOPE_EN = {"city": "the city", "area": "area", "zone": "zone", "aggregator": "aggregator", "pillar": "pillar"}
_SCOPE_ZH = {"city": "全市", "area": "区域", "zone": "分区", "aggregator": "聚合商", "pillar": "体系"}


def scope_en(kind: ScopeKind, name: str) -> str:
    """Scope in words."""
    return _SCOPE_EN["city"] if kind is ScopeKind.CITY else f"{_SCOPE_EN[kind.value]} {name}"


def scope_zh(kind: ScopeKind, name: str) -> str:
    """Scope in words."""
    return _SCOPE_ZH["city"] if kind is ScopeKind.CITY else f"{_SCOPE_ZH[kind.value]} {name}"


def requirement_en(requirement: Requirement, event_id: str | None, kind: ScopeKind, name: str) -> str:
    """A requirement in words."""
    scope = scope_en(kind, name)
    return {
        Requirement.ZONE_LIMIT: f"the limit of {scope}",
        Requirement.EVENT_TARGET: f"event {event_id} in {scope}",
        Requirement.EVENT_CAP: f"the cap on over-delivery of event {event_id} in {scope}",
        Requirement.REBOUND: f"the cap on rebound after event {event_id}",
        Requirement.COMMITMENT_LOW: f"the commitment of {scope} to event {event_id}, lower band,",
        Requirement.COMMITMENT_HIGH: f"the commitment of {scope} to event {event_id}, upper band,",
    }[requirement]


def requirement_zh(requirement: Requirement, event_id: str | None, kind: ScopeKind, name: str) -> str:
    """A requirement in words."""
    scope = scope_zh(kind, name)
    return {
        Requirement.ZONE_LIMIT: f"{scope} 负荷限额",
        Requirement.EVENT_TARGET: f"事件 {event_id}({scope})",
        Requirement.EVENT_CAP: f"事件 {event_id}({scope})超额响应上限",
        Requirement.REBOUND: f"事件 {event_id} 结束后的反弹上限",
        Requirement.COMMITMENT_LOW: f"{scope} 对事件 {event_id} 的承诺下限",
        Requirement.COMMITMENT_HIGH: f"{scope} 对事件 {event_id} 的承诺上限",
    }[requirement]


def span(start: datetime, end: datetime, zone: tzinfo) -> str:
    """An interval as 13:00-13:15; midnight at its end is 24:00, and the repeated autumn hour shows its zone."""
    first, last = start.astimezone(zone), end.astimezone(zone)
    shown = "24:00" if (last.hour, last.minute) == (0, 0) and last.date() > first.date() else f"{last:%H:%M}"
    repeated = first.utcoffset() != first.replace(fold=1 - first.fold).utcoffset()
    return f"{first:%H:%M}-{shown}" + (f" {first:%Z}" if repeated else "")


def sentence_en(reason: Reason, zone: tzinfo) -> str:
    """One reason in English."""
    when = span(reason.start, reason.end, zone)
    change = reason.change_kw
    if abs(change) <= STILL_KW:
        return f"{when}: {_still_en(reason)}"
    pays = [_paid_en(term, change) for term in reason.terms]
    why = "; ".join(pays) if pays else "no requirement has a price here, only the tariff acts"
    what = "gives" if change < 0 else "takes"
    text = (
        f"{when}: {why}; effective price {reason.effective_per_kwh:.3f} CNY/kWh (tariff {reason.tariff_per_kwh:.3f}); "
        f"{what} {abs(change):,.2f} kW against its baseline of {reason.baseline_kw:,.2f} kW, "
        f"worth {reason.worth_cny:,.2f} CNY at an own cost of {reason.own_cost_cny:,.2f} CNY"
    )
    if reason.taken_back_per_kwh is not None:
        text += f"; the other way at {reason.taken_back_per_kwh:.3f} CNY/kWh on average"
    if reason.elsewhere is not None:
        other = span(reason.elsewhere.start, reason.elsewhere.end, zone)
        text += f"; next best was {other} at {reason.elsewhere.effective_per_kwh:.3f}"
    return text + "."


def sentence_zh(reason: Reason, zone: tzinfo) -> str:
    """One reason in Chinese."""
    when = span(reason.start, reason.end, zone)
    change = reason.change_kw
    if abs(change) <= STILL_KW:
        return f"{when}:{_still_zh(reason)}"
    pays = [_paid_zh(term, change) for term in reason.terms]
    why = ";".join(pays) if pays else "此时段无约束价格,仅电价起作用"
    what = "少用电(或多送电)" if change < 0 else "多用电(或少送电)"
    text = (
        f"{when}:{why};综合价格 {reason.effective_per_kwh:.3f} 元/千瓦时(电价 {reason.tariff_per_kwh:.3f});"
        f"相对基线 {reason.baseline_kw:,.2f} 千瓦{what} {abs(change):,.2f} 千瓦,"
        f"价值 {reason.worth_cny:,.2f} 元,自身成本 {reason.own_cost_cny:,.2f} 元"
    )
    if reason.taken_back_per_kwh is not None:
        text += f";反向调整的平均价格 {reason.taken_back_per_kwh:.3f} 元/千瓦时"
    if reason.elsewhere is not None:
        other = span(reason.elsewhere.start, reason.elsewhere.end, zone)
        text += f";次优时段 {other},价格 {reason.elsewhere.effective_per_kwh:.3f}"
    return text + "。"


def _paid_en(term: PriceTerm, change_kw: float) -> str:
    name = requirement_en(term.requirement, term.event_id, term.scope_kind, term.scope_id)
    pays = term.adds_per_kwh if change_kw < 0 else -term.adds_per_kwh
    return f"{name} {'pays' if pays >= 0 else 'charges'} {abs(pays):.3f} CNY/kWh"


def _paid_zh(term: PriceTerm, change_kw: float) -> str:
    name = requirement_zh(term.requirement, term.event_id, term.scope_kind, term.scope_id)
    pays = term.adds_per_kwh if change_kw < 0 else -term.adds_per_kwh
    return f"{name} {'支付' if pays >= 0 else '收取'} {abs(pays):.3f} 元/千瓦时"


def _still_en(reason: Reason) -> str:
    stays = f"stays at its baseline of {reason.baseline_kw:,.2f} kW"
    if not reason.can_move:
        return f"{stays}: it cannot move here."
    price = f"effective price {reason.effective_per_kwh:.3f} CNY/kWh (tariff {reason.tariff_per_kwh:.3f})"
    if not reason.terms:
        return f"{stays}: no requirement has a price here, {price}."
    names = ", ".join(
        requirement_en(term.requirement, term.event_id, term.scope_kind, term.scope_id).rstrip(",")
        for term in reason.terms
    )
    return f"{stays} although {names} has a price: {price} does not outweigh its own cost and limits."


def _still_zh(reason: Reason) -> str:
    stays = f"保持基线 {reason.baseline_kw:,.2f} 千瓦"
    if not reason.can_move:
        return f"{stays}:此时段无法调整。"
    price = f"综合价格 {reason.effective_per_kwh:.3f} 元/千瓦时(电价 {reason.tariff_per_kwh:.3f})"
    if not reason.terms:
        return f"{stays}:此时段无约束价格,{price}。"
    names = "、".join(
        requirement_zh(term.requirement, term.event_id, term.scope_kind, term.scope_id) for term in reason.terms
    )
    return f"{stays}:{names} 有价格,但{price}不足以抵偿自身成本与限制。"
