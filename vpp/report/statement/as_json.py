"""Statements and their differences as JSON: facts first, then the lines, in chunks of text.

Money, energy and prices are strings with the digits that are shown; times are RFC 3339 in the market's zone.
"""

import json
from collections.abc import Iterable, Iterator
from typing import Any

from models.settlement.issued import IssuedStatement
from models.settlement.lines import MARKET, StatementLine
from models.settlement.statement import LineDifference
from vpp.report.statement.as_csv import change_of
from vpp.report.statement.changes import NOTHING, Dues, changes
from vpp.report.statement.columns import Teller, digits
from vpp.report.statement.facts import facts_of, version_facts
from vpp.report.statement.scope import EVERYTHING, Scope, one_by_one

LINES = 1000
"""So many lines make a chunk."""


def statement_json(issued: IssuedStatement, scope: Scope = EVERYTHING) -> Iterator[str]:
    """Facts, and ``lines``: every line of a scope once, under the names of the CSV."""
    teller = Teller(issued.inputs.zone)
    lines = (line for part in issued.statement.parts for line in one_by_one(scope.of(part)))
    return _chunks(facts_of(issued, scope), "lines", (_line(teller, line) for line in lines))


def difference_json(old: IssuedStatement, new: IssuedStatement, scope: Scope = EVERYTHING) -> Iterator[str]:
    """Both versions, what is due by payer, and ``differences``: ``before`` and ``after`` of each line, or null."""
    found = changes(old, new, scope)
    teller = Teller(new.inputs.zone)
    payers = Dues.of(found).by_payer
    facts = {
        "event_id": new.statement.event_id,
        "old": version_facts(old),
        "new": version_facts(new),
        "currency": "CNY",
        "scope": {"kind": scope.name, "party_id": None if scope.party is None else scope.party.party_id},
        "due_from_market_cny": digits(payers.pop(MARKET, NOTHING)),
        "due_from_aggregators_cny": {name: digits(due) for name, due in sorted(payers.items())},
    }
    return _chunks(facts, "differences", (_difference(teller, each) for each in found))


def _line(teller: Teller, line: StatementLine) -> dict[str, Any]:
    return {**teller.values(line), "called_s": line.called_s}


def _difference(teller: Teller, each: LineDifference) -> dict[str, Any]:
    before, after = (None if line is None else _line(teller, line) for line in (each.before, each.after))
    return {"change": change_of(each), "due_cny": digits(each.due_cny), "before": before, "after": after}


def _chunks(facts: dict[str, Any], name: str, items: Iterable[dict[str, Any]]) -> Iterator[str]:
    yield f"{json.dumps(facts, indent=1, allow_nan=False)[:-2]},\n {json.dumps(name)}: ["
    held: list[str] = []
    between = "\n  "
    for item in items:
        held.append(between + json.dumps(item))
        between = ",\n  "
        if len(held) == LINES:
            yield "".join(held)
            held.clear()
    yield "".join(held) + "\n ]\n}\n"
