"""Statements against their lines in the audit log: whole, unchanged, and what their inputs come to once more."""

from collections.abc import Sequence

from adapters.store.record import RecordLine
from adapters.store.schema import to_us
from adapters.store.store import Store
from models.errors import StoreError
from vpp.recorder_findings import Verdict, What

Version = tuple[str, int]
"""Event and version."""


def versions(store: Store, lines: Sequence[RecordLine], event_id: str | None) -> list[Version]:
    """Those that have a line, and those that are there."""
    said = {(line.subject, line.details["version"]) for line in lines}
    said |= {(each.event_id, each.version) for each in store.statements()}
    return sorted(each for each in said if event_id in (None, each[0]))


def verify_statement(store: Store, verdict: Verdict, which: Version, lines: Sequence[RecordLine]) -> None:
    """One version."""
    event_id, version = which
    name = f"{event_id} version {version}"
    issued = {(line.subject, line.details["version"]): line.details["sha256"] for line in lines}
    rows = {(each.event_id, each.version): each for each in store.statements(event_id)}
    verdict.checked["statements"] += 1
    row, sha256 = rows.get(which), issued.get(which)
    if row is None:
        verdict.add(What.MISSING, "statements", name, f"sha256 {sha256}")
    elif sha256 is None:
        verdict.add(What.ADDED, "statements", name, f"sha256 {row.sha256}", to_us(row.made_at))
    elif row.sha256 != sha256:
        verdict.add(What.CHANGED, "statements", name, f"sha256: {sha256} → {row.sha256}", to_us(row.made_at))
    else:
        facts = (row.made_at, row.made_by, row.rule_id, row.rule_version, row.reason)
        differs = _differs(store, which, facts)
        if differs is not None:
            verdict.add(What.CHANGED, "statements", name, differs, to_us(row.made_at))


def _differs(store: Store, which: Version, facts: tuple[object, ...]) -> str | None:
    try:
        made = store.statement(*which)
    except StoreError as error:
        return str(error)
    if made is None:
        return "it went meanwhile"
    if facts != (made.made_at, made.made_by, made.rule.rule_id, made.rule.version, made.statement.reason):
        return "made_at, made_by, rule or reason"
    return None if made.is_reproduced() else "its lines do not follow from its inputs"
