"""What a corrected version changed: the lines whose money moved, and what is due from whom because of it."""

from collections.abc import Sequence
from html import escape

from models.settlement.lines import MARKET
from models.settlement.statement import LineDifference
from vpp.report.statement.cells import code, note, section, sheet
from vpp.report.statement.changes import Dues
from vpp.report.statement.columns import KIND_WORDS
from vpp.report.statement.numbers import shown
from vpp.report.words import Speaker, both, both_of

MOST_CHANGES = 500


def correction(speaker: Speaker, differences: Sequence[LineDifference]) -> str:
    """The sums stand by payer: what an aggregator still gets and what it passes on are not to be added up."""
    moved = [each for each in differences if each.due_cny]
    same = len(differences) - len(moved)
    cut = len(moved) > MOST_CHANGES
    said = note(
        f"共 {len(differences):,} 行不同，其中 {same:,} 行仅依据变化、金额不变。负数为应退。"
        + (f"仅列前 {MOST_CHANGES} 行，全部见差异 CSV。" if cut else ""),
        f"{len(differences):,} lines differ, {same:,} of them in their evidence only. Negative: to be paid back."
        + (f" The first {MOST_CHANGES} are listed; all are in the CSV of differences." if cut else ""),
    )
    return section(
        "changes", "与上一版的差异", "What this version changed", _dues(differences) + _moved(speaker, moved) + said
    )


def _dues(differences: Sequence[LineDifference]) -> str:
    rows = [
        (both("市场", "the market") if payer == MARKET else f"{both('聚合商', 'aggregator')} {code(payer)}", shown(due))
        for payer, due in sorted(Dues.of(differences).by_payer.items())
    ]
    return sheet([("付款方", "Who pays"), ("还应付（元）", "Still due (CNY)")], rows, tag="due")


def _moved(speaker: Speaker, moved: Sequence[LineDifference]) -> str:
    rows = [
        (
            code(each.key.party.party_id),
            escape(f"{speaker.stamp_of(each.key.start)}–{speaker.clock(each.key.end)}"),
            both_of(KIND_WORDS[each.key.kind]),
            "–" if each.before is None else shown(each.before.net_cny),
            "–" if each.after is None else shown(each.after.net_cny),
            shown(each.due_cny),
        )
        for each in moved[:MOST_CHANGES]
    ]
    head = [
        ("主体", "Party"),
        ("时段", "Period"),
        ("科目", "Line"),
        ("原净额（元）", "Net before (CNY)"),
        ("新净额（元）", "Net now (CNY)"),
        ("应补（元）", "Due (CNY)"),
    ]
    return sheet(head, rows, texts=3)
