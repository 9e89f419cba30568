"""What must be kept of a solve, beside its problem, to make the same schedule again bit by bit.

A solve is a function of its problem, of who solves it and how, of what the solver still knew (``warm``), and of what
the clock said (``tape``).  The rest must be the same code on the same kind of machine: ``made_with`` says which it was.
As bytes: facts and plain arrays (``models.dispatch.packed``).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from models.dispatch.made_with import made_with
from models.dispatch.packed import Array, pack, unpack
from models.dispatch.solve_clock import ReplayError, RunNote, Tape

_MAGIC = b"vpp solve 1\n"


@dataclass(frozen=True)
class Facts:
    """Facts that JSON can tell, and arrays."""

    said: Mapping[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, Array] = field(default_factory=dict)


@dataclass(frozen=True)
class SolveRecord:
    """One solve: ``solver`` (reference or fast) with its ``options``, what it was asked, and what it knew."""

    solver: str
    options: Mapping[str, Any]
    deadline_s: float
    gap: float
    made_with: Mapping[str, Any]
    warm: Facts
    tape: Facts

    def to_bytes(self) -> bytes:
        """The record as one piece."""
        arrays = {f"warm.{name}": each for name, each in self.warm.arrays.items()}
        arrays |= {f"tape.{name}": each for name, each in self.tape.arrays.items()}
        facts = {
            "solver": self.solver,
            "options": dict(self.options),
            "deadline_s": self.deadline_s,
            "gap": self.gap,
            "made_with": dict(self.made_with),
            "warm": dict(self.warm.said),
            "tape": dict(self.tape.said),
        }
        return pack(_MAGIC, facts, arrays)

    @classmethod
    def from_bytes(cls, data: bytes) -> "SolveRecord":
        """The record again; ``ReplayError`` if a bit of it has changed."""
        facts, found = unpack(_MAGIC, data, "the record of the solve")
        arrays: dict[str, dict[str, Array]] = {"warm": {}, "tape": {}}
        for name, each in found.items():
            part, _, own = name.partition(".")
            arrays[part][own] = each
        warm, tape = (Facts(facts[part], arrays[part]) for part in ("warm", "tape"))
        asked = {name: facts[name] for name in ("solver", "options", "deadline_s", "gap", "made_with")}
        return cls(**asked, warm=warm, tape=tape)


@dataclass
class Recording:
    """A solve while it runs; what it hangs on is put down when it is known, and written out when somebody asks."""

    solver: str
    options: Mapping[str, Any]
    deadline_s: float
    gap: float
    tape: Tape
    warm: Callable[[], Facts] = Facts

    def record(self) -> SolveRecord:
        """All of it."""
        made = made_with()
        return SolveRecord(
            self.solver, self.options, self.deadline_s, self.gap, made, self.warm(), tape_facts(self.tape)
        )


def tape_facts(tape: Tape) -> Facts:
    """A tape in a few bytes for each entry: who asked as a number, moments as steps from the one before."""
    number: dict[str, int] = {}
    who = [number.setdefault(name, len(number)) for name, _ in tape.entries]
    moments = [found for _, found in tape.entries if isinstance(found, int)]
    runs = [found for _, found in tape.entries if isinstance(found, RunNote)]
    return Facts(
        {"who": list(number)},
        {
            "who": np.array(who, dtype="<i4"),
            "is_run": np.array([isinstance(found, RunNote) for _, found in tape.entries], dtype="|u1"),
            "moments": np.diff(np.array([0, *moments], dtype="<i8")),
            "runs": np.array([[r.ending, r.status, r.nodes, len(r.whole)] for r in runs], dtype="<i8").reshape(-1, 4),
            "costs": np.array([[r.objective, r.bound] for r in runs], dtype="<f8").reshape(-1, 2),
            "whole": np.frombuffer(b"".join(r.whole for r in runs), dtype="|u1"),
        },
    )


def entries_of_tape(facts: Facts) -> list[tuple[str, int | RunNote]]:
    """The tape's entries again."""
    names, arrays = facts.said["who"], facts.arrays
    moments, whole = iter(np.cumsum(arrays["moments"]).tolist()), arrays["whole"].tobytes()
    ends = np.cumsum(arrays["runs"][:, 3]).tolist()
    runs = iter(
        RunNote(ending, status, objective, bound, nodes, whole[end - size : end])
        for (ending, status, nodes, size), (objective, bound), end in zip(
            arrays["runs"].tolist(), arrays["costs"].tolist(), ends, strict=True
        )
    )
    try:
        return [
            (names[who], next(runs) if is_run else next(moments))
            for who, is_run in zip(arrays["who"].tolist(), arrays["is_run"].tolist(), strict=True)
        ]
    except (StopIteration, IndexError, ValueError) as error:
        raise ReplayError("the tape of the record does not fit together") from error
