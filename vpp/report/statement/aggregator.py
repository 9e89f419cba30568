"""The report of one aggregator: what the market pays it and why, what it pays its users, and what is left."""

from collections.abc import Iterator

from models.settlement.issued import IssuedStatement
from models.settlement.lines import LineKind, Lines
from vpp.report.statement.call_facts import Call
from vpp.report.statement.cells import badge, code, folded, note, section, sheet
from vpp.report.statement.changes import changes
from vpp.report.statement.columns import KIND_WORDS
from vpp.report.statement.correction import correction
from vpp.report.statement.evaluation import Evaluation
from vpp.report.statement.frame import Sheet, document
from vpp.report.statement.head import head
from vpp.report.statement.numbers import in_band, or_dash, percent_of, ratio_of, shown
from vpp.report.statement.parts import (
    MOST_ROWS,
    cards,
    energy_table,
    hours_picture,
    money_cards,
    other_table,
    period,
    rule_part,
    working,
)
from vpp.report.statement.scope import Scope, Sums, by_party, paid_by_aggregators
from vpp.report.words import Speaker, both, both_of

SIGNERS = (
    ("编制", "Prepared by"),
    ("复核", "Checked by"),
    ("聚合商", "Aggregator"),
    ("市场运营机构", "Market operator"),
)


def aggregator_report(
    issued: IssuedStatement,
    aggregator_id: str,
    *,
    evaluation: Evaluation | None = None,
    previous: IssuedStatement | None = None,
    stamp: str = "",
) -> Iterator[str]:
    """HTML in pieces.  ``previous``: the version before, to tell what changed; ``stamp``: SIMULATED or the like."""
    title = ("聚合商结算单", "Aggregator's statement")
    page = Sheet(issued, title, aggregator_id, SIGNERS, True, stamp)
    return document(page, _sections(page, aggregator_id, evaluation, previous))


def _sections(
    page: Sheet, aggregator_id: str, evaluation: Evaluation | None, previous: IssuedStatement | None
) -> Iterator[str]:
    issued, speaker, call = page.issued, page.speaker, Call(page.issued)
    scope = Scope.aggregator(aggregator_id)
    own = issued.lines.of(aggregator_id, is_aggregator=True)
    users = paid_by_aggregators(scope.of(issued.lines))
    sums, paid = Sums.of_lines(own), Sums.of(users)
    energy = [line for line in own if line.kind is LineKind.ENERGY]
    ratios = [ratio_of(line.delivered_kwh, line.award_kwh) for line in energy]
    good = sum(ratio is not None and in_band(ratio) for ratio in ratios)
    found = [
        (
            ("区间内时段", "Periods in band"),
            f"{good} / {len(energy)}",
            ("90–110 %", "of the award"),
        ),
        *money_cards(sums),
        (("付给用户", "Paid to users"), shown(paid.net_cny), ("元", "CNY")),
        (("留存", "Left to it"), f"<u>{shown(sums.net_cny - paid.net_cny)}</u>", ("元", "CNY")),
    ]
    yield section("totals", "合计", "Totals", cards(found))
    yield head(None if evaluation is None else evaluation.narrowed(aggregator_id))
    if previous is not None:
        yield correction(speaker, changes(previous, issued, scope))
    body = hours_picture(speaker, own, 1000) + energy_table(speaker, own)
    if other := other_table(speaker, own):
        body += f"<h3>{both('其他各行', 'Other lines')}</h3>{other}"
    yield section("periods", "各时段", "Period by period", body)
    yield section("users", "用户", "Users", _users(call, users) + _folded_lines(speaker, users))
    worked = folded("逐步计算", "Step by step", working(call, speaker, own))
    yield section("working", "聚合商各数如何得出", "How the aggregator's numbers follow", worked)
    yield rule_part(call, (aggregator_id,))


_USER_HEAD = (
    ("用户", "User"),
    ("中标", "Award (kWh)"),
    ("响应", "Delivered (kWh)"),
    ("响应比", "Ratio"),
    ("有效", "Effective (kWh)"),
    ("响应费用", "Payment (CNY)"),
    ("容量费用", "Capacity (CNY)"),
    ("分摊考核", "Share of penalty (CNY)"),
    ("净额", "Net (CNY)"),
)


def _users(call: Call, users: Lines) -> str:
    sums = Sums.of(users)

    def cells(name: str, one: Sums) -> tuple[str, ...]:
        return (
            name,
            shown(one.award_kwh),
            shown(one.delivered_kwh),
            percent_of(ratio_of(one.delivered_kwh, one.award_kwh)),
            shown(one.effective_kwh),
            shown(one.payment_cny),
            or_dash(one.capacity_cny),
            or_dash(one.penalty_cny),
            shown(one.net_cny),
        )

    rows: list[tuple[str, ...]] = []
    if len(users) <= MOST_ROWS:
        for party, lines in by_party(users):
            mark = " " + badge("warn", "民生", "protected") if call.is_protected(party) else ""
            rows.append(cells(code(party.party_id) + mark, Sums.of(lines)))
    return sheet(_USER_HEAD, rows, foot=cells(both("合计", "Total"), sums), tag="user")


_LINE_HEAD = (
    ("用户", "User"),
    ("时段", "Period"),
    ("科目", "Line"),
    ("中标", "Award (kWh)"),
    ("响应", "Delivered (kWh)"),
    ("有效", "Effective (kWh)"),
    ("价格", "Price (CNY/kWh)"),
    ("响应费用", "Payment (CNY)"),
    ("容量费用", "Capacity (CNY)"),
    ("考核电量", "Penalised (kWh)"),
    ("考核价格", "Penalty price (CNY/kWh)"),
    ("考核", "Penalty (CNY)"),
    ("净额", "Net (CNY)"),
)


def _folded_lines(speaker: Speaker, users: Lines) -> str:
    if len(users) > MOST_ROWS:
        return note(
            f"共 {len(users):,} 行，此处只列合计；逐行见 CSV。",
            f"{len(users):,} lines: sums only; the CSV has them one by one.",
        )
    rows = (
        (
            code(line.party.party_id),
            period(speaker, line),
            both_of(KIND_WORDS[line.kind]),
            *(or_dash(line.award_kwh), or_dash(line.delivered_kwh), or_dash(line.effective_kwh)),
            *(or_dash(line.price_cny_per_kwh), or_dash(line.payment_cny), or_dash(line.capacity_cny)),
            *(or_dash(line.penalised_kwh), or_dash(line.penalty_price_cny_per_kwh), or_dash(line.penalty_cny)),
            shown(line.net_cny),
        )
        for line in users
    )
    sums = Sums.of(users)
    total = (shown(sums.payment_cny), shown(sums.capacity_cny), "", "", shown(sums.penalty_cny), shown(sums.net_cny))
    foot = (both("合计", "Total"), "", "", *(shown(sums.award_kwh), shown(sums.delivered_kwh)))
    table = sheet(_LINE_HEAD, rows, foot=(*foot, shown(sums.effective_kwh), "", *total), texts=3, tag="line")
    return folded(f"用户各行（{len(users):,}）", f"All lines of users ({len(users):,})", table)
