"""Spells in which a meter lied: what it said then is not counted as measured.

A device that is set aside because of its meter (reversed, in another unit, frozen, its clock wrong) is known to lie
from the first cycle that held against it until it is taken back.  Both moments stand in the audit log, so a judgement
made years later leaves out the same readings.  What is left out is a gap like any other (policy ``gap15`` of
``models.settlement.performance``): at most 15 minutes are a straight line, anything longer delivers nothing.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np

from models.conduct import STRIKES, Misconduct
from models.intervals import FloatArray, IntervalGrid
from models.records import AuditEntry

SET_ASIDE, TAKEN_BACK = "quarantine", "back from quarantine"
"""Actions of the audit log; the subject is the reason."""
LOOKED_BACK = timedelta(days=31)
"""A meter that has lied for longer is found in no event: nobody has been ordered anything by it for a month."""
_METERS = {each.name.lower(): each for each in Misconduct if each.is_of_the_meter}


@dataclass(frozen=True, slots=True)
class MeterSpell:
    """The meter of one resource lied in [start, end)."""

    resource_id: str
    start: datetime
    end: datetime
    reason: Misconduct


def meter_spells(log: Iterable[AuditEntry], cycle: timedelta) -> list[MeterSpell]:
    """The spells that lines of the audit log tell of, in the order in which they began."""
    open_since: dict[tuple[str, str], datetime] = {}
    spells = []
    for entry in log:
        if entry.subject not in _METERS or entry.action not in (SET_ASIDE, TAKEN_BACK):
            continue
        reason = _METERS[entry.subject]
        for name in entry.details["resource_ids"]:
            if entry.action == SET_ASIDE:
                open_since.setdefault((name, entry.subject), entry.at - int(STRIKES[reason]) * cycle)
            elif (begun := open_since.pop((name, entry.subject), None)) is not None:
                spells.append(MeterSpell(name, begun, entry.at, reason))
    never = datetime.max.replace(tzinfo=UTC)
    spells += [MeterSpell(name, begun, never, _METERS[subject]) for (name, subject), begun in open_since.items()]
    return sorted(spells, key=lambda each: (each.start, each.resource_id))


def leave_out(
    metered_kw: FloatArray, resource_ids: Sequence[str], grid: IntervalGrid, spells: Iterable[MeterSpell]
) -> FloatArray:
    """Metered power (R, T), kW, with NaN wherever an interval touches a spell of its resource."""
    row_of = {name: row for row, name in enumerate(resource_ids)}
    starts, ends = (np.array([each.timestamp() for each in edges]) for edges in (grid.starts, grid.ends))
    kept = metered_kw.copy()
    for spell in spells:
        row = row_of.get(spell.resource_id)
        if row is not None:
            kept[row, (ends > spell.start.timestamp()) & (starts < spell.end.timestamp())] = np.nan
    return kept
