"""Solvers for the worker of a ``SolverPool`` that do what they should not.

Each worker that starts imports this file: it imports no more than it needs.
"""

import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from models.dispatch.problem import DispatchProblem
from models.errors import SolverError
from models.plan import DispatchPlan
from vpp.solver_pool import BlockingSolver, Voice, fast_solver


class StubbornSolver:
    """Minds no deadline at all: it sleeps as long as the problem has zones times a minute, then crashes or not."""

    def __init__(self, voice: Voice) -> None:
        """Says nothing."""

    def solve(self, problem: DispatchProblem, *, deadline_s: float, gap: float = 1e-4) -> DispatchPlan:
        time.sleep(60 * len(problem.zones))
        raise SolverError("unreachable")

    def prepare(self, problem: DispatchProblem) -> None:
        raise SolverError("there is nothing to prepare")


class TalkingSolver:
    """Says something before it is ready, while it works, and when it is done; solves nothing."""

    def __init__(self, voice: Voice) -> None:
        self._voice = voice
        voice.tell("unpacking")
        voice.tell("oiling")

    def solve(self, problem: DispatchProblem, *, deadline_s: float, gap: float = 1e-4) -> DispatchPlan:
        self._voice.tell("turning")
        self._voice.note({"turns": len(problem.zones)})
        raise SolverError("nothing", "it only turns")

    def prepare(self, problem: DispatchProblem) -> None:
        self._voice.tell("measuring")


class LateSolver:
    """Answers half a second after its deadline, with an error of its own."""

    def __init__(self, voice: Voice) -> None:
        """Says nothing."""

    def solve(self, problem: DispatchProblem, *, deadline_s: float, gap: float = 1e-4) -> DispatchPlan:
        time.sleep(deadline_s + 0.5)
        raise SolverError("nothing", "late, but here")

    def prepare(self, problem: DispatchProblem) -> None:
        """Nothing to prepare."""


@dataclass(frozen=True)
class Troubled:
    """Makes the usual solver in the worker; while ``folder/stall`` is there a solve says so, and hangs."""

    folder: Path

    def __call__(self, voice: Voice) -> BlockingSolver:
        return _Troubled(self.folder, voice)


class _Troubled:
    def __init__(self, folder: Path, voice: Voice) -> None:
        self._folder, self._voice = folder, voice

    @cached_property
    def _solver(self) -> BlockingSolver:
        """Made when it is first needed: a worker that is to hang is there sooner."""
        return fast_solver(self._voice)

    def solve(self, problem: DispatchProblem, *, deadline_s: float, gap: float = 1e-4) -> DispatchPlan:
        if (self._folder / "stall").exists():
            (self._folder / "solving").touch()
            time.sleep(600)
        return self._solver.solve(problem, deadline_s=deadline_s, gap=gap)

    def prepare(self, problem: DispatchProblem) -> None:
        self._solver.prepare(problem)
