"""Runs of HiGHS under a deadline that come out the same when they are run again.

HiGHS is deterministic but for its time limit.  So a run that ended by itself is run again in a replay, without a limit,
and must end the same.  What a limit ended is a fact of the recorded solve (``RunNote``), and is not run again:

- a linear program that was late has no answer, in both worlds;
- branch and bound that was late (or nearly: time may have ended one of its sub-problems) has an incumbent, whose
  integers are noted.  Stopping the replay at as many improving solutions would not do: a sub-problem that time has cut
  hands over less than one that has not been cut.  What follows uses nothing but these integers, the bound and the cost,
  and finds out by a linear program of its own whether they are feasible and what they cost.

After such a run HiGHS is told to forget, but for the basis that it had before, so that what follows begins where the
replay begins, which did not run it.
"""

from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any

import highspy
import numpy as np
from numpy.typing import NDArray

from models.dispatch.solve_clock import ReplayError, RunNote, Untaped, clock
from models.errors import DeadlineError
from models.intervals import FloatArray

IntArray = NDArray[np.int64]
SURELY = 0.5
"""Branch and bound that ended by itself within this part of its limit was not touched by it."""
_LATE = frozenset({highspy.HighsModelStatus.kTimeLimit, highspy.HighsModelStatus.kInterrupt})
_ANSWERED = frozenset({highspy.HighsModelStatus.kOptimal, highspy.HighsModelStatus.kModelEmpty})
_FEASIBLE = int(highspy.SolutionStatus.kSolutionStatusFeasible)
_NOTHING: IntArray = np.empty(0, dtype=np.int64)


class Ending(IntEnum):
    """How a run ended: by itself, late without an answer, or with an incumbent that time may have chosen."""

    BY_ITSELF = 0
    LATE = 1
    INCUMBENT = 2


@dataclass(frozen=True)
class Incumbent:
    """What branch and bound had when time was up.

    ``x``: (columns,) with integers in their places, zero elsewhere; all of it where no tape is kept.
    """

    x: FloatArray
    objective: float
    bound: float
    nodes: int
    is_optimal: bool


def run(
    highs: Any,  # highspy declares only a part of itself
    who: str,
    left_s: float,
    *,
    columns: int = 0,
    whole: IntArray = _NOTHING,
    again: bool = False,
) -> Incumbent | None:
    """Run for at most ``left_s`` seconds; None if HiGHS ended by itself, and then it holds the answer.

    ``whole``: (n,) integer columns of ``columns``, empty for a linear program.  ``again``: once more from anew where a
    warm start ends in nothing.  Raises ``DeadlineError`` if there is no answer in time, ``ReplayError`` where a replay
    ends otherwise.
    """
    if left_s <= 0:
        raise DeadlineError(0.0)
    known, basis = clock().noted(who), highs.getBasis() if whole.size else None
    if known is not None and known.ending == Ending.LATE:
        highs.clearSolver()
        raise DeadlineError(left_s)
    if known is not None and known.ending == Ending.INCUMBENT:
        _forget(highs, basis)
        return _incumbent(known, columns, whole)
    limit = highs.getRunTime() + left_s
    highs.setOptionValue("time_limit", limit if known is None else highspy.kHighsInf)
    highs.run()
    if again and highs.getModelStatus() == highspy.HighsModelStatus.kUnknown:
        highs.clearSolver()
        highs.run()
    note = _note(highs, whole, sure=known is not None or limit - highs.getRunTime() > (1 - SURELY) * left_s)
    clock().note(who, note)
    if note.ending == Ending.BY_ITSELF:
        return None
    if note.ending == Ending.LATE:
        highs.clearSolver()
        raise DeadlineError(left_s)
    x = _answer(highs)
    _forget(highs, basis)
    found = _incumbent(note, columns, whole)
    return replace(found, x=x) if isinstance(clock(), Untaped) else found


def _forget(highs: Any, basis: Any) -> None:
    """What was run is over; the linear program that follows begins from the basis of the one before."""
    highs.clearSolver()
    if basis is not None and basis.valid:
        highs.setBasis(basis)


def _note(highs: Any, whole: IntArray, *, sure: bool) -> RunNote:
    status, info = highs.getModelStatus(), highs.getInfo()
    late = status in _LATE
    objective = float(info.objective_function_value) if late or status in _ANSWERED else 0.0
    if late and not (whole.size and info.primal_solution_status == _FEASIBLE):
        return RunNote(Ending.LATE, int(status), 0.0)
    if not whole.size:
        return RunNote(Ending.BY_ITSELF, int(status), objective)
    bound, nodes = float(info.mip_dual_bound), int(info.mip_node_count)
    if not late and (sure or status != highspy.HighsModelStatus.kOptimal):
        return RunNote(Ending.BY_ITSELF, int(status), objective, bound, nodes)
    return RunNote(Ending.INCUMBENT, int(status), objective, bound, nodes, packed(_answer(highs)[whole]))


def _answer(highs: Any) -> FloatArray:
    return np.asarray(highs.getSolution().col_value, dtype=np.float64)


def _incumbent(note: RunNote, columns: int, whole: IntArray) -> Incumbent:
    x = np.zeros(columns)
    x[whole] = unpacked(note.whole, len(whole))
    is_optimal = note.status == int(highspy.HighsModelStatus.kOptimal)
    return Incumbent(x, note.objective, note.bound, note.nodes, is_optimal)


def packed(values: FloatArray) -> bytes:
    """Integers (n,) as bits if all are 0 or 1, else as 32-bit numbers; the first byte tells."""
    rounded = np.round(values)
    if ((rounded == 0) | (rounded == 1)).all():
        return b"\x00" + np.packbits(rounded.astype(np.uint8)).tobytes()
    return b"\x01" + rounded.astype("<i4").tobytes()


def unpacked(data: bytes, count: int) -> FloatArray:
    """The integers (n,) again; ``ReplayError`` if there are not as many."""
    size = 1 + (-(-count // 8) if data[:1] == b"\x00" else 4 * count)
    if len(data) != size:
        raise ReplayError(f"the record has an answer of {len(data)} bytes where {count} integers take {size}")
    if data[:1] == b"\x00":
        return np.unpackbits(np.frombuffer(data, np.uint8, offset=1), count=count).astype(np.float64)
    return np.frombuffer(data, "<i4", offset=1).astype(np.float64)
