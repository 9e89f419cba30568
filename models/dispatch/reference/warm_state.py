"""The warm state of the reference solver as plain facts, and back into a solver that knows nothing.

What one solve of it hangs on, of all that the solver has kept: which chargers stand in the compiled city (those at
which nobody is expected included), whose lazy equations are awake, and the basis that the first program begins from.
"""

from typing import Any

import highspy
import numpy as np

from models.dispatch.packed import Array
from models.dispatch.problem import DispatchProblem
from models.dispatch.reference.charging import ChargingWriter
from models.dispatch.reference.program import Basis, Warm
from models.dispatch.reference.structure import Entry, entry_of
from models.dispatch.solve_clock import ReplayError
from models.dispatch.solve_record import Facts
from models.resources import EvSession, ResourceKind

_STATUS = {int(status): status for status in highspy.HighsBasisStatus.__members__.values()}


def warm_facts(warm: Warm, chargers: dict[str, Entry], problem: DispatchProblem) -> Facts:
    """State before a solve of ``problem``; of a charger that it does not name, the stay that stands for it."""
    said: dict[str, Any] = {
        "chargers": [
            [
                name,
                *_room(entry),
                None if name in problem.attributes else entry.row.model_dump(mode="json"),
            ]
            for name, entry in sorted(chargers.items())
        ],
    }
    arrays: dict[str, Array] = {"awake": np.array(sorted(warm.awake), dtype="<i4")}
    if warm.basis is not None:
        columns, rows = (np.frombuffer(each, dtype="|u1") for each in warm.basis.statuses)
        arrays |= {"columns": columns, "rows": rows}
    return Facts(said, arrays)


def chargers_of(facts: Facts, wanted: dict[str, Entry], problem: DispatchProblem) -> dict[str, Entry]:
    """The chargers of the compiled city again, by id."""
    found = {}
    for name, slots, both_ways, row in facts.said["chargers"]:
        if row is None and name not in wanted:
            raise ReplayError(f"the record has a charger {name}, the problem has none")
        rows = wanted[name].rows if row is None else [EvSession.model_validate(row)]
        entry = entry_of(name, ResourceKind.EV_SESSION, rows, problem)
        found[name] = Entry(name, entry.kind, rows, ChargingWriter(slots, both_ways=both_ways), entry.shape)
    return found


def warm_of(facts: Facts) -> Warm:
    """What the program begins from again."""
    awake = frozenset(facts.arrays["awake"].tolist())
    if "columns" not in facts.arrays:
        return Warm(awake)
    basis = highspy.HighsBasis()
    basis.col_status, basis.row_status = (
        [_STATUS[status] for status in facts.arrays[name].tolist()] for name in ("columns", "rows")
    )
    basis.valid, basis.alien, basis.was_alien = True, False, False
    return Warm(awake, Basis(basis, *(len(facts.arrays[name]) for name in ("columns", "rows"))))


def _room(entry: Entry) -> tuple[int, bool]:
    writer = entry.writer
    assert isinstance(writer, ChargingWriter)  # noqa: S101 - only chargers come here
    return writer.slots, writer.both_ways
