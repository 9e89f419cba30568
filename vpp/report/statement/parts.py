"""Parts that several reports have: cards of money, lines as tables, the picture, the working, rule and contract."""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from html import escape

from models.settlement.lines import LineKind, StatementLine
from vpp.report.statement.call_facts import Call
from vpp.report.statement.cells import SIGNS, Row, badge, code, facts, note, ratio_cell, section, sheet
from vpp.report.statement.columns import KIND_WORDS
from vpp.report.statement.numbers import or_dash, percent_of, ratio_of, shown
from vpp.report.statement.picture import Column, picture
from vpp.report.statement.rule_words import contract_said, rule_section
from vpp.report.statement.scope import Sums
from vpp.report.statement.working import Step, steps
from vpp.report.words import Speaker, both, both_of

MOST_ROWS = 10_000
"""More rows than this make a page that no browser opens: it then shows sums, and says that the CSV has them all."""


def cards(shown_cards: Iterable[tuple[tuple[str, str], str, tuple[str, str]]]) -> str:
    """The few figures that one wants to see first: name, value, remark."""
    boxes = "".join(
        f'<div class="card"><div class="label">{both(*name)}</div><div class="value">{value}</div>'
        f'<div class="note">{both(*remark) if remark[0] else ""}</div></div>'
        for name, value, remark in shown_cards
    )
    return f'<div class="cards">{boxes}</div>'


def money_cards(sums: Sums) -> list[tuple[tuple[str, str], str, tuple[str, str]]]:
    """Payment, capacity and penalty; the net stands last, and is the sum of the others."""
    found = [(("响应费用", "Payment"), shown(sums.payment_cny), ("元", "CNY"))]
    if sums.capacity_cny:
        found.append((("容量费用", "Capacity"), shown(sums.capacity_cny), ("元", "CNY")))
    found.append((("考核费用", "Penalty"), shown(-sums.penalty_cny), ("元", "CNY")))
    return [*found, (("净额", "Net"), f"<u>{shown(sums.net_cny)}</u>", ("元", "CNY"))]


def period(speaker: Speaker, line: StatementLine) -> str:
    """The period of a line, on one line, with its day."""
    return escape(f"{line.start.astimezone(speaker.zone):%m-%d} {speaker.window(line.start, line.end)}")


ENERGY_HEAD = (
    ("时段", "Period"),
    ("中标", "Award (kWh)"),
    ("响应", "Delivered (kWh)"),
    ("响应比", "Ratio"),
    ("有效", "Effective (kWh)"),
    ("价格", "Price (CNY/kWh)"),
    ("响应费用", "Payment (CNY)"),
)
PENALTY_HEAD = (
    ("考核电量", "Penalised (kWh)"),
    ("考核价格", "Penalty price (CNY/kWh)"),
    ("考核费用", "Penalty (CNY)"),
)
CAPACITY_HEAD = (
    ("容量", "Capacity (kW)"),
    ("容量价格", "Capacity price (CNY/kW)"),
    ("容量费用", "Capacity (CNY)"),
)
NET_HEAD = (("净额", "Net (CNY)"),)


def energy_table(speaker: Speaker, lines: Sequence[StatementLine]) -> str:
    """Energy lines of one party, by period; columns that hold nothing are left out."""
    energy = [line for line in lines if line.kind is LineKind.ENERGY]
    days = {line.start.astimezone(speaker.zone).date() for line in energy}
    penalised = any(line.penalised_kwh or line.penalty_cny for line in energy)
    paid = any(line.capacity_cny for line in energy)
    head = (*ENERGY_HEAD, *(CAPACITY_HEAD if paid else ()), *(PENALTY_HEAD if penalised else ()), *NET_HEAD)

    def row(line: StatementLine) -> Row:
        when = period(speaker, line) if len(days) > 1 else escape(speaker.window(line.start, line.end))
        cells = [when, *_energy_cells(line)]
        if paid:
            cells += _capacity_cells(line)
        if penalised:
            cells += _penalty_cells(line)
        return (*cells, shown(line.net_cny))

    sums = Sums.of_lines(energy)
    foot = [
        both("合计", "Total"),
        *(shown(sums.award_kwh), shown(sums.delivered_kwh), percent_of(ratio_of(sums.delivered_kwh, sums.award_kwh))),
        *(shown(sums.effective_kwh), "", shown(sums.payment_cny)),
        *(("", "", shown(sums.capacity_cny)) if paid else ()),
        *(("", "", shown(sums.penalty_cny)) if penalised else ()),
        shown(sums.net_cny),
    ]
    return sheet(head, map(row, energy), foot=foot, tag="line") + note(*SIGNS)


def _energy_cells(line: StatementLine) -> list[str]:
    return [
        shown(line.award_kwh),
        shown(line.delivered_kwh),
        ratio_cell(ratio_of(line.delivered_kwh, line.award_kwh)),
        shown(line.effective_kwh),
        shown(line.price_cny_per_kwh),
        shown(line.payment_cny),
    ]


def _penalty_cells(line: StatementLine) -> list[str]:
    return [or_dash(line.penalised_kwh), or_dash(line.penalty_price_cny_per_kwh), or_dash(line.penalty_cny)]


def _capacity_cells(line: StatementLine) -> list[str]:
    return [or_dash(line.capacity_kw), or_dash(line.capacity_price_cny_per_kw), or_dash(line.capacity_cny)]


def other_table(speaker: Speaker, lines: Sequence[StatementLine]) -> str:
    """The lines that are not of energy: netted penalties, shares of a penalty, reserve."""
    others = [line for line in lines if line.kind is not LineKind.ENERGY]
    if not others:
        return ""
    head = [("科目", "Line"), ("时段", "Period"), ("中标", "Award (kWh)"), *PENALTY_HEAD]
    paid = any(line.capacity_cny for line in others)
    head += [*(CAPACITY_HEAD if paid else ()), *NET_HEAD]
    rows = (
        (
            both_of(KIND_WORDS[line.kind]),
            period(speaker, line),
            shown(line.award_kwh),
            *_penalty_cells(line),
            *(_capacity_cells(line) if paid else ()),
            shown(line.net_cny),
        )
        for line in others
    )
    sums = Sums.of_lines(others)
    total = ("", "", shown(sums.capacity_cny)) if paid else ()
    foot = (both("合计", "Total"), "", "", "", "", shown(sums.penalty_cny), *total, shown(sums.net_cny))
    return sheet(head, rows, foot=foot, texts=2, tag="line")


def hours_picture(speaker: Speaker, lines: Sequence[StatementLine], width: int) -> str:
    """The picture of the energy lines of one party."""
    energy = [line for line in lines if line.kind is LineKind.ENERGY]
    days = {line.start.astimezone(speaker.zone).date() for line in energy}
    columns = [
        Column(
            period(speaker, line) if len(days) > 1 else speaker.window(line.start, line.end),
            *(line.award_kwh, line.delivered_kwh, line.effective_kwh),
        )
        for line in energy
    ]
    return picture(columns, width)


def working(call: Call, speaker: Speaker, lines: Iterable[StatementLine]) -> str:
    """Line by line how its numbers follow; a step that does not is marked."""
    return "".join(_worked(call, speaker, line) for line in lines)


def _worked(call: Call, speaker: Speaker, line: StatementLine) -> str:
    rows = [_step_row(step) for step in steps(call, line)]
    head = [("", ""), ("内容", "What"), ("计算", "Calculation"), ("结果", "Result"), ("单位", "Unit")]
    body = "".join(
        f'<tr{" class=wrong" if wrong else ""}><td class="symbol">{cells[0]}</td><td>{cells[1]}</td>'
        f'<td class="sum">{cells[2]}</td><td class="num">{cells[3]}</td><td class="unit">{cells[4]}</td></tr>'
        for wrong, cells in rows
    )
    top = "".join(
        f'<th scope="col"{" class=num" if k == 3 else ""}>{both(*n) if n[0] else ""}</th>' for k, n in enumerate(head)
    )
    title = f"{both_of(KIND_WORDS[line.kind])} · {period(speaker, line)}"
    given = ""
    if line.kind is LineKind.ENERGY:
        given = (
            f'<p class="given">{both("基线", "baseline")} b = {shown(line.baseline_kwh)} kWh · '
            f"{both('实测', 'metered')} m = {shown(line.metered_kwh)} kWh · "
            f"{both('中标', 'award')} B = {shown(line.award_kwh)} kWh · "
            f"{both('调用', 'called')} {line.called_s:,} s</p>"
        )
    return (
        f'<div class="worked"><h3>{title}</h3>{given}<table class="steps"><colgroup><col class="c1"><col class="c2">'
        f'<col class="c3"><col class="c4"><col class="c5"></colgroup><thead><tr>{top}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _step_row(step: Step) -> tuple[bool, tuple[str, ...]]:
    mark = "" if step.follows else f" ✗ {shown(step.line_shows or Decimal(0))}"
    # A share shows what its line says: the cut into cents is part of it.
    value = step.result if step.line_shows is None or not step.follows else step.line_shows
    cells = (
        f"<i>{escape(step.symbol)}</i>",
        both(step.zh, step.en),
        escape(step.sum_text),
        shown(value) + (f'<span class="fault">{both("行中为", "the line says")}{mark}</span>' if mark else ""),
        step.unit.replace("CNY", "元"),
    )
    return not step.follows, cells


def rule_part(call: Call, agents: Sequence[str]) -> str:
    """The rule in words, and the contracts that matter to who reads this."""
    contracts = "".join(_contract(call, name) for name in agents)
    said = f"<h3>{both('聚合商与用户的合同', 'Contract of aggregator and users')}</h3><ul>{contracts}</ul>"
    return section(
        "rule", "所用规则", "The rule that was used", rule_section(call.rule, call.terms) + (said if agents else "")
    )


def _contract(call: Call, name: str) -> str:
    none = "" if name in call.issued.contracts else " " + badge("idle", "无合同", "no contract")
    return f"<li>{code(name)}: {both(*contract_said(call.contract(name)))}{none}</li>"


def evidence(pairs: Sequence[tuple[str, str]]) -> str:
    """Fingerprints of what was settled from."""
    return facts(pairs)
