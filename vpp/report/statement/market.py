"""The report for the market's operator: all aggregators and direct users, margins, fairness."""

from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from html import escape

from models.settlement.fairness import fairness_ledger
from models.settlement.issued import IssuedStatement
from models.settlement.lines import LineKind, Lines, Party, StatementLine
from vpp.report.statement.call_facts import Call
from vpp.report.statement.cells import SIGNS, across, code, facts, note, ratio_cell, section, sheet
from vpp.report.statement.changes import changes
from vpp.report.statement.correction import correction
from vpp.report.statement.evaluation import Evaluation
from vpp.report.statement.frame import Sheet, document
from vpp.report.statement.head import head
from vpp.report.statement.numbers import or_dash, percent_of, ratio_of, shown
from vpp.report.statement.parts import MOST_ROWS, cards, money_cards, rule_part
from vpp.report.statement.picture import Column, picture
from vpp.report.statement.scope import Sums, by_party, paid_by_market
from vpp.report.words import Speaker, both

SIGNERS = (("编制", "Prepared by"), ("复核", "Checked by"), ("市场运营机构", "Market operator"), ("监管", "Regulator"))

Money = dict[Party, Decimal]


def market_report(
    issued: IssuedStatement,
    *,
    evaluation: Evaluation | None = None,
    previous: IssuedStatement | None = None,
    stamp: str = "",
) -> Iterator[str]:
    """HTML in pieces.  ``previous``: the version before, to tell what changed; ``stamp``: SIMULATED or the like."""
    page = Sheet(issued, ("市场结算单", "Market statement"), "", SIGNERS, True, stamp)
    return document(page, _sections(page, evaluation, previous))


def _sections(page: Sheet, evaluation: Evaluation | None, previous: IssuedStatement | None) -> Iterator[str]:
    issued, speaker, call = page.issued, page.speaker, Call(page.issued)
    paid = paid_by_market(issued.lines)
    sums, margins = Sums.of(paid), issued.lines.margins_cny()
    parties = list(by_party(paid))
    agents = [(party, lines) for party, lines in parties if party.is_aggregator]
    direct = [(party, lines) for party, lines in parties if not party.is_aggregator]
    left = sum(margins.values(), Decimal("0.00"))
    found = [
        *money_cards(sums),
        (("聚合商留存", "Left to aggregators"), shown(left), ("元", "CNY")),
        (
            ("主体", "Parties"),
            f"{len(agents):,} + {len(direct):,}",
            ("聚合商 + 直接用户", "aggregators + direct users"),
        ),
    ]
    yield section("totals", "市场付款合计", "What the market pays", cards(found))
    yield head(evaluation)
    if previous is not None:
        yield correction(speaker, changes(previous, issued))
    energy = [line for _, lines in agents for line in lines if line.kind is LineKind.ENERGY]
    yield section("periods", "各时段", "Period by period", _periods(speaker, paid))
    table = _agents(issued, agents, margins)
    yield section("aggregators", "各聚合商", "Aggregators", table + _matrix(speaker, energy))
    if direct:
        yield section("direct", "直接用户", "Direct users", _direct(direct))
    yield section("fairness", "公平性", "Fairness", _fairness(issued))
    yield rule_part(call, sorted(issued.contracts))


_PERIOD_HEAD = (
    ("时段", "Period"),
    ("中标", "Award (kWh)"),
    ("响应", "Delivered (kWh)"),
    ("响应比", "Ratio"),
    ("有效", "Effective (kWh)"),
    ("响应费用", "Payment (CNY)"),
    ("容量费用", "Capacity (CNY)"),
    ("时段考核", "Penalty in the period (CNY)"),
)


def _periods(speaker: Speaker, paid: Lines) -> str:
    """Sums over all whom the market pays, by period; netted penalties are of days and stand apart."""
    amounts = paid.amounts
    energy = amounts.kind == LineKind.ENERGY
    rows, columns = [], []
    for number in sorted(set(amounts.span[energy].tolist()), key=lambda k: paid.spans[k]):
        sums = Sums.of(paid.with_amounts(amounts.take((energy & (amounts.span == number)).nonzero()[0])))
        start, end = paid.spans[number]
        columns.append(Column(speaker.window(start, end), sums.award_kwh, sums.delivered_kwh, sums.effective_kwh))
        rows.append((escape(f"{speaker.stamp_of(start)}–{speaker.clock(end)}"), *_amounts(sums, judged=True)))
    total = Sums.of(paid.with_amounts(amounts.take(energy.nonzero()[0])))
    rest = Sums.of(paid.with_amounts(amounts.take((~energy).nonzero()[0])))
    said = ""
    if rest.lines:
        said = note(
            f"另有日净额考核 {shown(rest.penalty_cny)} 元、备用容量费用 {shown(rest.capacity_cny)} 元，不分时段。",
            f"Besides, of no single period: netted penalties {shown(rest.penalty_cny)} CNY, reserve "
            f"{shown(rest.capacity_cny)} CNY.",
        )
    table = sheet(_PERIOD_HEAD, rows, foot=(both("合计", "Total"), *_amounts(total)))
    return picture(columns, 1000) + table + said + note(*SIGNS)


def _amounts(sums: Sums, *, judged: bool = False) -> tuple[str, ...]:
    """``judged``: of one period; of more there is a ratio, but no verdict."""
    ratio = ratio_of(sums.delivered_kwh, sums.award_kwh)
    return (
        shown(sums.award_kwh),
        shown(sums.delivered_kwh),
        ratio_cell(ratio) if judged else percent_of(ratio),
        shown(sums.effective_kwh),
        shown(sums.payment_cny),
        or_dash(sums.capacity_cny),
        or_dash(sums.penalty_cny),
    )


_PARTY_HEAD = (
    ("中标", "Award (kWh)"),
    ("响应", "Delivered (kWh)"),
    ("响应比", "Ratio"),
    ("有效", "Effective (kWh)"),
    ("响应费用", "Payment (CNY)"),
    ("容量费用", "Capacity (CNY)"),
    ("考核费用", "Penalty (CNY)"),
    ("净额", "Net (CNY)"),
)


def _agents(issued: IssuedStatement, agents: list[tuple[Party, Lines]], margins: dict[str, Decimal]) -> str:
    users: dict[str, int] = defaultdict(int)
    for name in issued.inputs.aggregator_ids:
        if name is not None:
            users[name] += 1

    def cells(name: str, count: int, sums: Sums, left: Decimal) -> tuple[str, ...]:
        return (
            name,
            f"{count:,}",
            *_amounts(sums),
            shown(sums.net_cny),
            shown(sums.net_cny - left),
            shown(left),
        )

    sums = {party.party_id: Sums.of(lines) for party, lines in agents}
    rows = [cells(code(name), users[name], each, margins[name]) for name, each in sums.items()]
    every = [line for _, lines in agents for line in lines]
    left = sum((margins[name] for name in sums), Decimal("0.00"))
    foot = cells(both("合计", "Total"), sum(users[name] for name in sums), Sums.of_lines(every), left)
    head_cells = (
        ("聚合商", "Aggregator"),
        ("用户", "Users"),
        *_PARTY_HEAD,
        ("付给用户", "To users (CNY)"),
        ("留存", "Left (CNY)"),
    )
    return sheet(head_cells, rows, foot=foot, tag="aggregator")


def _matrix(speaker: Speaker, energy: list[StatementLine]) -> str:
    """Ratio of every aggregator in every period."""
    spans = sorted({(line.start, line.end) for line in energy})
    names = sorted({line.party.party_id for line in energy})
    if not names:
        return ""
    ratios: dict[tuple[str, datetime], Decimal | None] = {
        (line.party.party_id, line.start): ratio_of(line.delivered_kwh, line.award_kwh) for line in energy
    }
    rows = [(code(name), [ratio_cell(ratios.get((name, start))) for start, _ in spans]) for name in names]
    return across([escape(speaker.window(*span)) for span in spans], rows, ("响应 / 中标", "Delivered / award"))


def _direct(direct: list[tuple[Party, Lines]]) -> str:
    def cells(name: str, sums: Sums) -> tuple[str, ...]:
        return (name, *_amounts(sums), shown(sums.net_cny))

    every = Sums.of_lines([line for _, lines in direct for line in lines])
    many = len(direct) > MOST_ROWS
    rows = [] if many else [cells(code(party.party_id), Sums.of(lines)) for party, lines in direct]
    head_cells = (("直接用户", "Direct user"), *_PARTY_HEAD)
    table = sheet(head_cells, rows, foot=cells(both("合计", "Total"), every), tag="direct")
    if not many:
        return table
    return table + note(f"共 {len(direct):,} 户，逐户见 CSV。", f"{len(direct):,} users; the CSV has them one by one.")


def _fairness(issued: IssuedStatement) -> str:
    ledger = fairness_ledger(issued.inputs.resource_ids, [issued.statement])
    pairs = [
        (both("资源", "Resources"), f"{len(ledger.resource_ids):,}"),
        (both("被调用", "Called"), f"{int(ledger.calls.sum()):,}"),
        (both("调用次数基尼系数", "Gini of calls"), f"{ledger.gini_of_calls:.4f}"),
        (both("调用时长基尼系数", "Gini of hours"), f"{ledger.gini_of_hours:.4f}"),
        (both("所得费用基尼系数", "Gini of money received"), f"{ledger.gini_of_money:.4f}"),
    ]
    return facts(pairs) + note(
        "0 为各资源相同，接近 1 为全归一户；包括本次调用范围内未被调用的资源，费用不扣考核。",
        "0: all resources have the same; near 1: one has all. Resources of this call that had no award count too; "
        "penalties are not taken off.",
    )
