"""Statements and their differences as CSV, one row for a line; a head in English field names, or in Chinese."""

from collections.abc import Iterator, Mapping

from models.settlement.issued import IssuedStatement
from models.settlement.lines import StatementLine
from models.settlement.statement import LineDifference
from vpp.report.statement.changes import changes
from vpp.report.statement.columns import COLUMNS, KEYS, NUMBERS, Language, Teller, digits, in_chinese
from vpp.report.statement.csv_text import csv_chunks, harmless
from vpp.report.statement.scope import EVERYTHING, Scope, one_by_one

STATEMENT_HEAD: Mapping[str, str] = {"event_id": "事件编号", "statement_version": "结算单版本", **COLUMNS}

_TEXTS = ("event_id", "party_id", "payer_id", "rule")
_GUARDED = (*_TEXTS, *(f"{when}_{name}" for name in _TEXTS for when in ("before", "after")))
_PAYERS = ("payer_kind", "payer_id")
_IDENTITY = tuple(name for name in KEYS if name not in _PAYERS)
_COMPARED = (*_PAYERS, "called_s", *NUMBERS, "rule", "input_sha256")
_CHANGES: Mapping[str, str] = {"new": "新增", "gone": "删除", "changed": "变更"}

DIFFERENCE_HEAD: Mapping[str, str] = {
    "event_id": "事件编号",
    "old_version": "旧版本",
    "new_version": "新版本",
    "change": "变化",
    **{name: KEYS[name] for name in _IDENTITY},
    "due_cny": "应补（元，负为应退）",
    **{
        f"{when}_{name}": f"{zh}{COLUMNS[name]}"
        for name in _COMPARED
        for when, zh in (("before", "原"), ("after", "新"))
    },
}


def statement_csv(issued: IssuedStatement, scope: Scope = EVERYTHING, *, language: Language = "en") -> Iterator[str]:
    """Every line of a scope once, in the statement's order."""
    statement, teller = issued.statement, Teller(issued.inputs.zone)
    mine = {"event_id": statement.event_id, "statement_version": str(statement.version)}
    lines = (line for part in statement.parts for line in one_by_one(scope.of(part)))
    rows = (_row({**mine, **_told(teller, line, language)}) for line in lines)
    return csv_chunks(_head(STATEMENT_HEAD, language), rows)


def difference_csv(
    old: IssuedStatement, new: IssuedStatement, scope: Scope = EVERYTHING, *, language: Language = "en"
) -> Iterator[str]:
    """Every line of a scope that differs, before and after, and what is due for it; empty where it was not."""
    teller = Teller(new.inputs.zone)
    versions = (str(old.statement.version), str(new.statement.version))
    mine = {"event_id": new.statement.event_id, "old_version": versions[0], "new_version": versions[1]}
    rows = (_row({**mine, **_change(teller, each, language)}) for each in changes(old, new, scope))
    return csv_chunks(_head(DIFFERENCE_HEAD, language), rows)


def change_of(each: LineDifference) -> str:
    """In one word."""
    return "new" if each.before is None else "gone" if each.after is None else "changed"


def _change(teller: Teller, each: LineDifference, language: Language) -> dict[str, str]:
    told = [{} if line is None else _told(teller, line, language) for line in (each.before, each.after)]
    one = told[0] or told[1]
    word = change_of(each)
    return {
        "change": _CHANGES[word] if language == "zh" else word,
        **{name: one[name] for name in _IDENTITY},
        "due_cny": digits(each.due_cny),
        **{
            f"{when}_{name}": values.get(name, "")
            for name in _COMPARED
            for when, values in zip(("before", "after"), told, strict=True)
        },
    }


def _told(teller: Teller, line: StatementLine, language: Language) -> dict[str, str]:
    values = teller.values(line)
    return in_chinese(values) if language == "zh" else values


def _head(names: Mapping[str, str], language: Language) -> list[str]:
    return list(names.values() if language == "zh" else names)


def _row(values: dict[str, str]) -> list[str]:
    for name in _GUARDED:
        if name in values:
            values[name] = harmless(values[name])
    return list(values.values())
