"""Reasons in one sentence each, Chinese and English: what an aggregator reads beside its award."""

from datetime import tzinfo

from models.clearing.market import CITY
from models.clearing.result import Award, Clearing, Reason


def sentence_en(award: Award, zone: tzinfo) -> str:
    """One award in English."""
    when = f"{award.start.astimezone(zone):%H:%M}"
    head = f"{when}, {award.zone_id}: {award.accepted_kw:,.10g} of {award.offered_kw:,.10g} kW accepted"
    return f"{head}; {_reason_en(award)}{_supplement_en(award)}."


def sentence_zh(award: Award, zone: tzinfo) -> str:
    """One award in Chinese."""
    when = f"{award.start.astimezone(zone):%H:%M}"
    head = f"{when}，{award.zone_id}：申报 {award.offered_kw:,.10g} 千瓦，中标 {award.accepted_kw:,.10g} 千瓦"
    return f"{head}；{_reason_zh(award)}{_supplement_zh(award)}。"


def _reason_en(award: Award) -> str:
    price, own = f"{award.price_per_kwh:.4g} CNY/kWh", f"{award.next_price_per_kwh or 0:.4g} CNY/kWh"
    area = _area_en(award.limit_area_id)
    rest = "the rest" if award.accepted_kw else "it"
    return {
        Reason.IN_FULL: f"accepted in full at a clearing price of {price}",
        Reason.AT_THE_MARGIN: (
            f"at the margin: its step at {own} is the clearing price and was accepted to "
            f"{100 * (award.margin_share or 0):.4g} %, equal prices in the order of submission; "
            f"below {price} more would have been accepted"
        ),
        Reason.ABOVE_THE_PRICE: (
            f"{rest} was offered at {own}, not below the clearing price of {price}; "
            f"only below {price} could more have been accepted"
        ),
        Reason.AREA_LIMIT: (
            f"{area} is full: there the clearing price is {price}, and {rest} was offered at {own}; outside it the "
            f"price would have been high enough; only below {price} could more have been accepted"
        ),
        Reason.MINIMUM_TOO_LARGE: (
            f"its minimum of {award.minimum_kw:,.10g} kW is more than {area} can take, at any price"
        ),
        Reason.PARADOXICALLY_REJECTED: (
            f"paradoxically rejected: at {own} it is not dearer than the clearing price of {price}, but its minimum of "
            f"{award.minimum_kw:,.10g} kW does not fit, and to make room for it would have cost more in all"
        ),
        Reason.NOTHING_NEEDED: "nothing was needed",
    }[award.reason]


def _reason_zh(award: Award) -> str:
    price, own = f"{award.price_per_kwh:.4g} 元/千瓦时", f"{award.next_price_per_kwh or 0:.4g} 元/千瓦时"
    area = _area_zh(award.limit_area_id)
    rest = "其余部分" if award.accepted_kw else "该申报"
    return {
        Reason.IN_FULL: f"全部中标，出清价格 {price}",
        Reason.AT_THE_MARGIN: (
            f"边际中标：报价 {own} 的一段即为出清价格，中标 {100 * (award.margin_share or 0):.4g} %，"
            f"同价按申报时间先后；报价低于 {price} 可多中标"
        ),
        Reason.ABOVE_THE_PRICE: f"{rest}报价 {own}，不低于出清价格 {price}；报价须低于 {price} 才可能多中标",
        Reason.AREA_LIMIT: (
            f"{area}已达上限，区内出清价格 {price}，{rest}报价 {own}；在区外该报价本可中标；"
            f"报价须低于 {price} 才可能多中标"
        ),
        Reason.MINIMUM_TOO_LARGE: f"最小中标量 {award.minimum_kw:,.10g} 千瓦超过{area}可接受的量，任何价格均无法中标",
        Reason.PARADOXICALLY_REJECTED: (
            f"价格合格而未中标：报价 {own} 不高于出清价格 {price}，但最小中标量 {award.minimum_kw:,.10g} 千瓦无法容纳，"
            "为其腾出空间将使总费用更高"
        ),
        Reason.NOTHING_NEEDED: "该时段无需求",
    }[award.reason]


def _supplement_en(award: Award) -> str:
    if not award.supplement_cny:
        return ""
    return (
        f"; needed with its minimum quantity at a clearing price below its bid, hence paid {award.supplement_cny:,.2f} "
        "CNY on top, up to its bid"
    )


def _supplement_zh(award: Award) -> str:
    if not award.supplement_cny:
        return ""
    return f"；因最小中标量被整体选用而出清价格低于其报价，另补偿 {award.supplement_cny:,.2f} 元至其报价"


def emergency_en(clearing: Clearing, zone: tzinfo) -> list[str]:
    """One sentence for every interval and area whose offers do not cover the need with its margin."""
    return [
        f"{row.start.astimezone(zone):%H:%M}: the emergency stage opens: usable offers of {_area_en(row.area_id)} come "
        f"to {row.usable_kw:,.10g} kW of the {row.asked_kw:,.10g} kW that the rule asks for, "
        f"{row.missing_kw:,.10g} kW are missing."
        for row in clearing.cover
        if row.opens_emergency
    ]


def emergency_zh(clearing: Clearing, zone: tzinfo) -> list[str]:
    """The same in Chinese."""
    return [
        f"{row.start.astimezone(zone):%H:%M}：启动应急阶段：{_area_zh(row.area_id)}"
        f"可用申报 {row.usable_kw:,.10g} 千瓦，规则要求 {row.asked_kw:,.10g} 千瓦，缺口 {row.missing_kw:,.10g} 千瓦。"
        for row in clearing.cover
        if row.opens_emergency
    ]


def _area_en(area_id: str | None) -> str:
    return "the city" if area_id in {None, CITY} else f"area {area_id}"


def _area_zh(area_id: str | None) -> str:
    return "全市" if area_id in {None, CITY} else f"区域 {area_id}"
