"""A solve again, from its problem and its record: the same schedule bit by bit, or an error that says why not."""

from models.dispatch.fast.solve import FastSolver
from models.dispatch.made_with import differences
from models.dispatch.problem import DispatchProblem
from models.dispatch.reference.solve import ReferenceSolver
from models.dispatch.solve_clock import Replay, ReplayError, going_by
from models.dispatch.solve_record import SolveRecord, entries_of_tape
from models.plan import DispatchPlan


def replayed(problem: DispatchProblem, record: SolveRecord) -> DispatchPlan:
    """The plan of the recorded solve.

    Raises the error that the solve raised (``DeadlineError`` above all), if it did, and ``ReplayError`` where it asks
    for something that the record does not have: it belongs to another problem or another version, or was changed.
    """
    solver = _solver(record)
    clock = Replay(entries_of_tape(record.tape))
    try:
        if record.warm.said:
            solver.recall(problem, record.warm)
        with going_by(clock):
            plan = solver.solve(problem, deadline_s=record.deadline_s, gap=record.gap)
        clock.finish()
    except ReplayError as error:
        other = "; ".join(
            f"{name}: {then!r}, here {here!r}" for name, (then, here) in differences(record.made_with).items()
        )
        raise ReplayError(f"{error}; made with other things ({other})" if other else str(error)) from error
    return plan


def _solver(record: SolveRecord) -> ReferenceSolver | FastSolver:
    if record.solver == "reference":
        return ReferenceSolver(branch=record.options["branch"])
    if record.solver == "fast":
        return FastSolver(small=record.options["small"])
    raise ReplayError(f"the record names a solver {record.solver!r}: known are reference and fast")
