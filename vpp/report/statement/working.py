r"""How each number of a line follows from the one before, so that a pocket calculator can check it.

    b, m → q → e → p → money; then n, the penalty; then the net

Every step is computed here once more from numbers that the reader sees, in Decimal and not by the code that settled:
``follows`` says whether the line shows the same.  Rounding as in ``models.settlement.exact``.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from models.events import Direction
from models.settlement.lines import LineKind, StatementLine
from models.settlement.rules.schema import Penalty
from vpp.report.statement.call_facts import Call, Window
from vpp.report.statement.numbers import CENT, MICRO, MILLI, plain_number, rounded, shown
from vpp.report.statement.rule_words import edge, percent, piece_formula

NOTHING = Decimal("0.000")


@dataclass(frozen=True, slots=True)
class Step:
    """``sum_text``: the calculation with its numbers; ``result``: what comes out; ``line_shows``: what must."""

    symbol: str
    zh: str
    en: str
    sum_text: str
    result: Decimal
    unit: str
    line_shows: Decimal | None = None
    slack: Decimal = Decimal(0)

    @property
    def follows(self) -> bool:
        """True if the line shows what comes out; steps in between are in no line."""
        return self.line_shows is None or abs(self.result - self.line_shows) <= self.slack


def steps(call: Call, line: StatementLine) -> tuple[Step, ...]:
    """All steps of a line, ending with its net."""
    made = {
        LineKind.ENERGY: _energy,
        LineKind.NETTED: _netted,
        LineKind.SHARE: _share,
        LineKind.RESERVE: _reserve,
    }[line.kind](call, line)
    return (*made, _net(line))


def _energy(call: Call, line: StatementLine) -> Iterator[Step]:
    b, m = shown(line.baseline_kwh), shown(line.metered_kwh)
    shave = call.inputs.direction is Direction.SHAVE
    q = line.baseline_kwh - line.metered_kwh if shave else line.metered_kwh - line.baseline_kwh
    text = f"b − m = {b} − {m}" if shave else f"m − b = {m} − {b}"
    yield Step(
        "q", "响应电量：基线与实测之差", "delivered: baseline against metered", text, q, "kWh", line.delivered_kwh
    )
    if line.party.is_aggregator:
        count, total = call.users_effective_kwh(line.party.party_id, (line.start, line.end))
        zh, en = f"有效电量：{count} 个用户之和", f"effective: the sum of {count} users'"
        yield Step("e", zh, en, f"Σ eᵢ, i = 1 … {count}", total, "kWh", line.effective_kwh)
    else:
        yield _effective(call, line, q if call.counts(line) else NOTHING)
    yield from _price(call, line)
    e, p = shown(line.effective_kwh), shown(line.price_cny_per_kwh)
    money = rounded(line.effective_kwh * line.price_cny_per_kwh, CENT)
    yield Step("e·p", "响应费用", "payment", f"e × p = {e} × {p}", money, "CNY", line.payment_cny)
    if line.capacity_price_cny_per_kw:
        yield from _capacity(line, f"e ÷ Δ = {e} kWh × 3600 ÷ {line.called_s} s")
    alone = line.party.is_aggregator or call.agent_of(line.party) is None
    span = call.rule.netting.agent if line.party.is_aggregator else call.rule.netting.direct
    if alone and span == "period":
        yield from _penalty(call, line, [line])


def _effective(call: Call, line: StatementLine, counted: Decimal) -> Step:
    pieces = call.rule.assessment(protected=call.is_protected(line.party)).effective
    award, since = line.award_kwh, None
    for piece in pieces:
        if piece.to is None or counted < piece.to * award:
            break
        since = piece.to
    e = rounded(piece.award_factor * award + piece.delivered_factor * counted, MILLI)
    numbers = piece_formula(piece).replace("B", shown(award)).replace("q", shown(counted))
    where = " ≤ ".join(part for part in ("" if since is None else edge(since), "q") if part)
    where += "" if piece.to is None else f" < {edge(piece.to)}"
    text = f"{piece_formula(piece)} = {numbers}" if piece_formula(piece) != numbers else numbers
    if where != "q":
        text += f"  ({where}, B = {shown(award)})"
    if not call.counts(line):
        zh, en = "有效电量：未满足有效性条件，q 按 0 计", "effective: conditions not met, so q counts as 0"
        return Step("e", zh, en, text, e, "kWh", line.effective_kwh)
    return Step("e", "有效响应电量：按规则曲线", "effective: by the rule's curve", text, e, "kWh", line.effective_kwh)


def _price(call: Call, line: StatementLine) -> Iterator[Step]:
    terms = call.terms
    base = call.clearing(line) if terms.fixed_cny_per_kwh is None else terms.fixed_cny_per_kwh
    text = plain_number(base)
    if base < terms.floor_cny_per_kwh:
        base, text = terms.floor_cny_per_kwh, f"{text} → {plain_number(terms.floor_cny_per_kwh)} (floor)"
    if terms.cap_cny_per_kwh is not None and base > terms.cap_cny_per_kwh:
        base, text = terms.cap_cny_per_kwh, f"{text} → {plain_number(terms.cap_cny_per_kwh)} (cap)"
    if terms.factor != 1:
        text = f"{text} × {plain_number(terms.factor)}"
    market = rounded(terms.factor * base, MICRO)
    agent = call.agent_of(line.party)
    fixed = terms.fixed_cny_per_kwh is not None
    zh, en = (
        ("市场价：固定", "the market's price: fixed")
        if fixed
        else ("市场价：由出清价", "the market's price, from clearing")
    )
    if agent is None:
        yield Step("p", zh, en, text, market, "CNY/kWh", line.price_cny_per_kwh)
        return
    yield Step("pₘ", zh, en, text, market, "CNY/kWh", call.market_price(agent, (line.start, line.end)))
    contract = call.contract(agent)
    zh, en = "用户价：按与聚合商的合同", "the user's price, by its contract with the aggregator"
    if contract.fixed_cny_per_kwh is not None:
        price, text = contract.fixed_cny_per_kwh, f"{plain_number(contract.fixed_cny_per_kwh)} (fixed)"
    else:
        floor, share = contract.floor_cny_per_kwh, contract.price_share_fraction
        price = floor + share * max(market - floor, Decimal(0))
        f, a = plain_number(floor), plain_number(share)
        text = f"f + α × max(pₘ − f, 0) = {f} + {a} × max({shown(market)} − {f}, 0)"
    yield Step("p", zh, en, text, rounded(price, MICRO), "CNY/kWh", line.price_cny_per_kwh)


def _capacity(line: StatementLine, text: str) -> Iterator[Step]:
    kw = rounded(line.effective_kwh * 3600 / line.called_s, MILLI)
    yield Step("k", "平均有效功率", "mean effective power", text, kw, "kW", line.capacity_kw)
    price = line.capacity_price_cny_per_kw
    yield _capacity_money(line, price)


def _capacity_money(line: StatementLine, price: Decimal) -> Step:
    money = rounded(line.capacity_kw * price, CENT)
    text = f"k × c = {shown(line.capacity_kw)} × {shown(price)}"
    return Step("k·c", "容量费用", "capacity money", text, money, "CNY", line.capacity_cny)


def _penalty(call: Call, line: StatementLine, inside: list[StatementLine]) -> Iterator[Step]:
    """Energy and price that are penalised over a span, then the money; ``inside``: the energy lines of the span."""
    yield from _penalised(call, line, inside)
    n, p = shown(line.penalised_kwh), shown(line.penalty_price_cny_per_kwh)
    money = rounded(line.penalised_kwh * line.penalty_price_cny_per_kwh, CENT)
    yield Step("N", "考核费用", "penalty", f"n × pₙ = {n} × {p}", money, "CNY", line.penalty_cny)


def _penalised(call: Call, line: StatementLine, inside: list[StatementLine]) -> Iterator[Step]:
    penalty = call.rule.assessment(protected=call.is_protected(line.party)).penalty
    if penalty is None or not call.terms.penalised:
        zh, en = "考核电量：本次调用不考核", "penalised: nothing, such a call is not penalised"
        yield Step("n", zh, en, "0", NOTHING, "kWh", line.penalised_kwh)
        yield Step(
            "pₙ", "考核价格", "penalty price", "0", Decimal("0.000000"), "CNY/kWh", line.penalty_price_cny_per_kwh
        )
        return
    award = sum((one.award_kwh for one in inside), NOTHING)
    effective = sum((one.effective_kwh for one in inside), NOTHING)
    texts, total = [], NOTHING
    if penalty.below is not None:
        total += max(rounded(penalty.below * award - effective, MILLI), NOTHING)
        texts.append(f"max({percent(penalty.below)} × {shown(award)} − {shown(effective)}, 0)")
    excess = _excess(call, line, penalty, inside)
    if excess or penalty.above is not None:
        total += excess
        texts.append(f"{shown(excess)}")
    zh, en = "考核电量：不足部分", "penalised: what is short"
    if len(texts) > 1:
        zh, en = "考核电量：不足部分 + 超出部分", "penalised: what is short, and what is over"
    yield Step("n", zh, en, " + ".join(texts), total, "kWh", line.penalised_kwh)
    price, text = _span_price(call, line, inside)
    times = rounded(penalty.price_factor * price, MICRO)
    text = f"{plain_number(penalty.price_factor)} × {text}"
    yield Step("pₙ", "考核价格", "penalty price", text, times, "CNY/kWh", line.penalty_price_cny_per_kwh)


def _excess(call: Call, line: StatementLine, penalty: Penalty, inside: list[StatementLine]) -> Decimal:
    if line.party.is_aggregator:
        return call.users_excess_kwh(line.party.party_id, (line.start, line.end))
    if penalty.above is None:
        return NOTHING
    over = (one.delivered_kwh - penalty.above * one.award_kwh for one in inside if call.counts(one))
    return sum((max(rounded(each, MILLI), NOTHING) for each in over), NOTHING)


def _span_price(call: Call, line: StatementLine, inside: list[StatementLine]) -> tuple[Decimal, str]:
    """The market's price of a span, by award, and how it is told."""
    agent = call.agent_of(line.party)
    prices = [
        one.price_cny_per_kwh if agent is None else call.market_price(agent, (one.start, one.end)) for one in inside
    ]
    if len(set(prices)) == 1:
        return prices[0], shown(prices[0])
    award = sum((one.award_kwh for one in inside), NOTHING)
    total = sum((one.award_kwh * price for one, price in zip(inside, prices, strict=True)), NOTHING)
    return rounded(total / award, MICRO), f"(Σ B pₘ ÷ Σ B = {plain_number(total)} ÷ {shown(award)})"


def _netted(call: Call, line: StatementLine) -> Iterator[Step]:
    inside = call.inside(line.party, (line.start, line.end))
    yield _award(line, inside)
    yield from _penalty(call, line, inside)


def _award(line: StatementLine, inside: list[StatementLine]) -> Step:
    award = sum((one.award_kwh for one in inside), NOTHING)
    text = " + ".join(shown(one.award_kwh) for one in inside)
    return Step("ΣB", "中标电量之和", "the sum of awards", text, award, "kWh", line.award_kwh)


def _share(call: Call, line: StatementLine) -> Iterator[Step]:
    agent, window = call.agent_of(line.party), (line.start, line.end)
    assert agent is not None, "only users of an aggregator bear a share"  # noqa: S101
    inside = call.inside(line.party, window)
    yield _award(line, inside)
    yield from _penalised(call, line, inside)
    n, p = shown(line.penalised_kwh), shown(line.penalty_price_cny_per_kwh)
    alone = rounded(line.penalised_kwh * line.penalty_price_cny_per_kwh, CENT)
    yield Step("nᵢ", "若单独结算应承担的考核", "what it would owe alone", f"n × pₙ = {n} × {p}", alone, "CNY")
    yield _borne(call, line, agent, alone, window)


def _borne(call: Call, line: StatementLine, agent: str, alone: Decimal, window: Window) -> Step:
    owed, all_alone = call.agents_penalty_cny(agent, window), call.users_alone_cny(agent, window)
    share = call.contract(agent).penalty_share_fraction
    borne = share * owed * alone / all_alone if all_alone else Decimal(0)
    text = f"θ × N × nᵢ ÷ Σ nⱼ = {plain_number(share)} × {shown(owed)} × {shown(alone)} ÷ {shown(all_alone)}"
    zh, en = "分摊：零分按最大余数分给各户", "its share; odd cents go to the largest remainders"
    # θN is rounded to the cent, then cut into cents: at most one cent and half a cent's part away.
    return Step("N", zh, en, text, rounded(borne, CENT), "CNY", line.penalty_cny, slack=CENT)


def _reserve(_: Call, line: StatementLine) -> Iterator[Step]:
    yield _capacity_money(line, line.capacity_price_cny_per_kw)


def _net(line: StatementLine) -> Step:
    parts = [shown(line.payment_cny), f"+ {shown(line.capacity_cny)}", f"− {shown(line.penalty_cny)}"]
    net = line.payment_cny + line.capacity_cny - line.penalty_cny
    return Step("=", "净额", "net", " ".join(parts), net, "CNY", line.net_cny)
