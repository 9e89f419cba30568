"""A rule and a contract in words: what was counted, at what price, what was penalised, and how sure we are of it."""

from collections.abc import Iterator
from decimal import Decimal
from html import escape

from models.settlement.agency import AgencyTerms
from models.settlement.rules.schema import Assessment, Penalty, Piece, PriceTerms, Rule, Validity
from vpp.report.statement.numbers import plain_number
from vpp.report.words import both

Said = tuple[str, str]


def percent(ratio: Decimal) -> str:
    """A rule's ratio: 0.9 is 90 %."""
    return f"{plain_number(100 * ratio)} %"


def edge(ratio: Decimal) -> str:
    """An edge of a curve, as a part of the award."""
    return f"{percent(ratio)} B" if ratio else "0"


def rule_section(rule: Rule, terms: PriceTerms) -> str:
    """``terms``: the row of the rule's prices that this call had."""
    said = [both(zh, en) for zh, en in rule_said(rule, terms)]
    doubts = "".join(f'<li lang="en-x-source">{escape(doubt)}</li>' for doubt in rule.doubts)
    valid = f"{rule.valid_from.isoformat()}"
    return (
        f'<p class="rule"><code>{escape(rule.name)}</code> · {both("自", "valid from")} {valid}</p>'
        + verification(rule)
        + f"<ul>{''.join(f'<li>{one}</li>' for one in said)}</ul>"
        + f"<p>{both('来源', 'Source')}: {escape(rule.source)}</p>"
        + f"<h3>{both('存疑之处（按规则库原文）', 'Doubts, as the table of rules has them')}</h3><ul>{doubts}</ul>"
    )


def verification(rule: Rule) -> str:
    """Whether anybody has compared the rule with the original, said plainly."""
    if rule.verified:
        text = both(
            "本规则已与原文核对（verified: true）。", "This rule was compared with its original (verified: true)."
        )
        return f'<p class="verified yes">✓ {text}</p>'
    text = both(
        "本规则未与官方原文核对（verified: false）：金额在核对之前仅供参考。",
        "This rule has not been compared with an official original (verified: false): until it is, the amounts are "
        "for information.",
    )
    return f'<p class="verified no">⚠ {text}</p>'


def rule_said(rule: Rule, terms: PriceTerms) -> Iterator[Said]:
    """One sentence for each thing that the rule decides."""
    if rule.period == "clock_hour":
        yield "结算时段：市场时区的自然小时。", "Settled by clock hours of the market's zone."
    else:
        yield "结算时段：整次调用。", "Settled as one call."
    if rule.validity is not None:
        yield _validity(rule.validity)
    ordinary = ("普通用户", "Ordinary users") if rule.protected else ("所有用户", "All users")
    yield from _assessment(rule.ordinary, ordinary)
    if rule.protected is not None:
        yield from _assessment(rule.protected, ("民生保障用户", "Users under protection"))
    yield price_said(terms)
    spans = {"period": ("每个时段", "each period"), "day": ("每个市场日（轧差后）", "each market day, netted")}
    direct, agent = spans[rule.netting.direct], spans[rule.netting.agent]
    if any(each is not None and each.penalty for each in (rule.ordinary, rule.protected)) and terms.penalised:
        yield (
            f"考核口径：直接用户按{direct[0]}，聚合商按{agent[0]}。",
            f"Penalties are taken over: {direct[1]} (direct users); {agent[1]} (aggregators).",
        )
    if not terms.penalised:
        yield "此类调用不考核。", "Calls of this kind are not penalised."


def _assessment(assessment: Assessment, who: Said) -> Iterator[Said]:
    pieces = list(_pieces(assessment.effective))
    yield (
        f"{who[0]}（B 中标，q 响应，e 有效）：" + "；".join(zh for zh, _ in pieces) + "。",
        f"{who[1]} (B award, q delivered, e effective): " + "; ".join(en for _, en in pieces) + ".",
    )
    if assessment.penalty is not None:
        yield _penalty(assessment.penalty, who)


def _pieces(pieces: tuple[Piece, ...]) -> Iterator[Said]:
    since: Decimal | None = None
    for piece in pieces:
        formula = piece_formula(piece)
        if piece.to is None:
            zh, en = ("始终", "always") if since is None else (f"q ≥ {edge(since)}", f"q ≥ {edge(since)}")
        else:
            zh = en = f"q < {edge(piece.to)}"
            if since is not None:
                zh = en = f"{edge(since)} ≤ q < {edge(piece.to)}"
        yield f"{zh} 时 e = {formula}", f"e = {formula} where {en}" if en != "always" else f"e = {formula}"
        since = piece.to


def piece_formula(piece: Piece) -> str:
    """A piece of the curve as a formula."""
    parts = []
    if piece.award_factor:
        parts.append(_times(piece.award_factor, "B"))
    if piece.delivered_factor:
        parts.append(_times(piece.delivered_factor, "q"))
    return " + ".join(parts) or "0"


def _times(factor: Decimal, letter: str) -> str:
    return letter if factor == 1 else f"{plain_number(factor)} × {letter}"


def _penalty(penalty: Penalty, who: Said) -> Said:
    zh, en = [], []
    if penalty.below is not None:
        zh.append(f"有效电量低于 {percent(penalty.below)} B 的差额")
        en.append(f"what effective energy is under {percent(penalty.below)} B")
    if penalty.above is not None:
        zh.append(f"响应高于 {percent(penalty.above)} B 的部分")
        en.append(f"what delivery is over {percent(penalty.above)} B")
    times = plain_number(penalty.price_factor)
    return (
        f"{who[0]}考核：{'、'.join(zh)}，按结算价格的 {times} 倍。",
        f"Penalty ({who[1].lower()}): {' and '.join(en)}, at {times} times the price.",
    )


def _validity(validity: Validity) -> Said:
    zh, en = [], []
    if validity.least_ratio is not None:
        zh.append(f"响应不低于中标的 {percent(validity.least_ratio)}")
        en.append(f"delivery is at least {percent(validity.least_ratio)} of the award")
    if validity.mean_below_baseline:
        zh.append("平均负荷低于基线平均")
        en.append("the mean load is under the mean baseline")
    if validity.peak_below_baseline:
        zh.append("最大负荷低于基线最大")
        en.append("the highest load is under the highest baseline")
    over = ("每个市场日", "a market day") if validity.over == "day" else ("每个时段", "a period")
    return (
        f"有效性（按{over[0]}）：{'、'.join(zh)}；否则不计。",
        f"Nothing of {over[1]} counts unless {', '.join(en)} (filling: the other way round).",
    )


def price_said(terms: PriceTerms) -> Said:
    """The price of this call."""
    if terms.fixed_cny_per_kwh is not None:
        zh, en = (
            f"固定 {plain_number(terms.fixed_cny_per_kwh)} 元/kWh",
            f"{plain_number(terms.fixed_cny_per_kwh)} CNY/kWh",
        )
    else:
        zh, en = "出清价", "the clearing price"
    zh, en = (
        f"{zh}，不低于 {plain_number(terms.floor_cny_per_kwh)}",
        f"{en}, at least {plain_number(terms.floor_cny_per_kwh)}",
    )
    if terms.cap_cny_per_kwh is not None:
        zh, en = (
            f"{zh}，不高于 {plain_number(terms.cap_cny_per_kwh)}",
            f"{en}, at most {plain_number(terms.cap_cny_per_kwh)}",
        )
    if terms.factor != 1:
        times = plain_number(terms.factor)
        zh, en = f"{zh}，再乘以 {times}", f"{en}, times {times}"
    if terms.capacity_cny_per_kw:
        paid = plain_number(terms.capacity_cny_per_kw)
        zh, en = f"{zh}；另付平均有效功率 {paid} 元/kW", f"{en}; and {paid} CNY/kW for mean effective power"
    return f"价格：{zh}。", f"Price: {en}."


def contract_said(terms: AgencyTerms) -> Said:
    """What an aggregator and its users have agreed."""
    if terms.fixed_cny_per_kwh is not None:
        fixed = plain_number(terms.fixed_cny_per_kwh)
        zh, en = f"用户得固定价 {fixed} 元/kWh", f"users get a fixed {fixed} CNY/kWh"
    else:
        floor, share = plain_number(terms.floor_cny_per_kwh), percent(terms.price_share_fraction)
        zh = f"用户得保底价 {floor} 元/kWh，另得市场价超出部分的 {share}"
        en = f"users get a floor of {floor} CNY/kWh and {share} of what the market's price is above it"
    bears, keeps = percent(terms.penalty_share_fraction), percent(terms.capacity_share_fraction)
    return (
        f"{zh}；用户分摊聚合商考核的 {bears}；容量费用聚合商留 {keeps}。",
        f"{en}; users bear {bears} of the aggregator's penalty; the aggregator keeps {keeps} of capacity money.",
    )
