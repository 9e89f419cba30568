"""The report of one resource: its lines, and how each number follows from the one before, to be checked by hand."""

from collections.abc import Iterator

from models.settlement.issued import IssuedStatement
from models.settlement.lines import Party
from vpp.report.statement.call_facts import Call
from vpp.report.statement.cells import badge, code, note, section
from vpp.report.statement.changes import changes
from vpp.report.statement.correction import correction
from vpp.report.statement.frame import Sheet, document
from vpp.report.statement.numbers import shown
from vpp.report.statement.parts import (
    cards,
    energy_table,
    evidence,
    hours_picture,
    money_cards,
    other_table,
    rule_part,
    working,
)
from vpp.report.statement.scope import Scope, Sums
from vpp.report.words import both

_ROUNDING = (
    "电量取三位小数，价格取六位，金额取两位；每一步都用上面所示的数，四舍六入五成双。",
    "Energy has three digits, prices six, money two; each step uses the numbers shown above it, rounded half to even.",
)


def resource_report(
    issued: IssuedStatement,
    resource_id: str,
    *,
    previous: IssuedStatement | None = None,
    stamp: str = "",
) -> Iterator[str]:
    """HTML in pieces.  ``previous``: the version before, to tell what changed; ``stamp``: SIMULATED or the like."""
    signers = (("编制", "Prepared by"), ("复核", "Checked by"), ("用户", "User"))
    page = Sheet(issued, ("资源结算单", "Resource's statement"), resource_id, signers, False, stamp)
    return document(page, _sections(page, resource_id, previous))


def _sections(page: Sheet, resource_id: str, previous: IssuedStatement | None) -> Iterator[str]:
    issued, speaker, call = page.issued, page.speaker, Call(page.issued)
    scope = Scope.resource(resource_id)
    lines = issued.lines.of(resource_id)
    if not lines:
        text = note("本结算单没有该资源的任何一行。", "No line of this statement is of this resource.")
        yield section("totals", "合计", "Totals", text)
        return
    party = Party(False, resource_id)
    agent, sums = call.agent_of(party), Sums.of_lines(lines)
    payer = both("市场（直接参与）", "the market (it deals directly)") if agent is None else code(agent)
    kind = badge("warn", "民生保障", "protected") if call.is_protected(party) else both("普通", "ordinary")
    digest = lines[0].input_digest
    pairs = [
        (both("付款方", "Paid by"), payer),
        (both("用户类别", "Class"), kind),
        (both("输入数据指纹（SHA-256）", "Fingerprint of its inputs (SHA-256)"), f'<code class="hash">{digest}</code>'),
    ]
    yield section("totals", "合计", "Totals", cards(money_cards(sums)) + evidence(pairs))
    if previous is not None:
        yield correction(speaker, changes(previous, issued, scope))
    body = hours_picture(speaker, lines, 720) + energy_table(speaker, lines)
    if other := other_table(speaker, lines):
        body += f"<h3>{both('其他各行', 'Other lines')}</h3>{other}"
        body += (
            f'<p class="grand">{both("全部各行净额合计", "Net of all lines")} <b>{shown(sums.net_cny)}</b> 元 CNY</p>'
        )
    yield section("periods", "各行", "Line by line", body)
    worked = note(*_ROUNDING) + working(call, speaker, lines)
    yield section("working", "每个数如何得出", "How each number follows", worked)
    yield rule_part(call, scope.agents_of(issued))
