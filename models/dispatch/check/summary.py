"""What a plan says as a whole, against what was recomputed: requirements, admissions, costs, bound, penalties."""

from collections.abc import Iterable

import numpy as np

from models.dispatch.check.coupling import Rows, Sums, row_key
from models.dispatch.check.horizon import tolerance
from models.dispatch.check.report import Violation
from models.dispatch.problem import DispatchProblem
from models.intervals import FloatArray
from models.plan import NO_SOLVER, Admission, PlanSource
from models.plan_stream import PlanHead


def same_shape(problem: DispatchProblem, head: PlanHead) -> list[Violation]:
    """The plan must be of the problem's resources and intervals."""
    found = []
    if head.resource_ids != problem.fleet.resource_ids:
        ours, theirs = len(problem.fleet.resource_ids), len(head.resource_ids)
        found.append(Violation("plan", "plan", "resource_ids", None, abs(theirs - ours), ours, theirs))
    if head.grid.edges != problem.grid.edges:
        ours, theirs = len(problem.grid), len(head.grid)
        found.append(Violation("plan", "plan", "intervals", None, abs(theirs - ours), ours, theirs))
    return found


def check_admissions(admissions: Iterable[Admission], head: PlanHead) -> list[Violation]:
    """Every relaxation is listed with what was granted, and nothing else is."""
    found = []
    ours = {(a.resource_id, a.session_id, a.limit): a for a in admissions}
    theirs = {(a.resource_id, a.session_id, a.limit): a for a in head.admissions}
    for key in sorted(ours.keys() | theirs.keys(), key=str):
        either = ours.get(key) or theirs[key]
        wanted = ours[key].granted if key in ours else either.asked
        said = theirs[key].granted if key in theirs else either.asked
        if not abs(wanted - said) <= tolerance(wanted):
            found.append(Violation(key[0], "admission", key[2], None, abs(wanted - said), wanted, said))
    return found


def check_unmet(
    problem: DispatchProblem, rows: list[Rows], power: Sums, head: PlanHead
) -> tuple[float, list[Violation]]:
    """Slack of every row against the plan's list; returns what the slacks cost, and what is off.

    A shortfall that is listed is no violation; one that is not listed, or listed too high, is.
    """
    listed: dict[object, float] = {}
    for amount in head.unmet:
        listed[row_key(amount)] = listed.get(row_key(amount), 0.0) + amount.amount
    cost, found = 0.0, []
    for row in rows:
        slack = row.excess(power)
        cost += row.penalty * float(problem.grid.hours @ slack)
        margin = tolerance(row.reference)
        for t, start in enumerate(problem.grid.starts):
            said, ours = listed.pop(row.key(start), 0.0), float(slack[t])
            if abs(said - ours) > margin[t]:
                subject, limit = row.event_id or row.scope_id, row.requirement.value
                found.append(Violation(subject, "requirement", limit, start, abs(said - ours), ours, said))
    for amount in head.unmet:
        if row_key(amount) in listed and abs(listed[row_key(amount)]) > tolerance(0.0):
            subject, limit, start = amount.event_id or amount.scope_id, amount.requirement.value, amount.interval_start
            found.append(Violation(subject, "requirement", limit, start, amount.amount, 0.0, amount.amount))
    return cost, found


def claims_no_cost(head: PlanHead) -> bool:
    """A rule's plan, or one from before, may say nothing of what it costs (NaN): it then costs what is recomputed."""
    return head.source in NO_SOLVER and bool(np.isnan(head.objective_cny))


def compare(limit: str, said: float, recomputed: float) -> list[Violation]:
    """One figure of the plan against the same recomputed."""
    if abs(said - recomputed) <= tolerance(recomputed):
        return []
    return [Violation("plan", "plan", limit, None, abs(said - recomputed), recomputed, said)]


def check_penalties(problem: DispatchProblem, head: PlanHead) -> list[Violation]:
    """The penalties that the plan was made with are the problem's."""
    found = []
    for name, value in problem.penalties.as_dict().items():
        if name not in head.penalties or head.penalties[name] != value:
            said = head.penalties.get(name, float("nan"))
            found.append(Violation("plan", "plan", f"penalties.{name}", None, abs(said - value), value, said))
    return found


def check_bound(head: PlanHead, objective: float, own_bound: float) -> list[Violation]:
    """No bound may pass the objective; a fast plan's must be the one recomputed at its own prices."""
    found = []
    slack = tolerance(max(abs(objective), abs(own_bound)))
    said = head.lower_bound_cny
    for name, value in (("lower_bound_cny", said), ("lower_bound at prices", own_bound)):
        if value > objective + slack:
            found.append(Violation("plan", "plan", name, None, value - objective, objective, value))
    if head.source is PlanSource.FAST and not abs(said - own_bound) <= slack:
        found.append(Violation("plan", "plan", "lower_bound_cny", None, abs(said - own_bound), own_bound, said))
    return found


def not_finite(name: str, count: int) -> Violation:
    """A table of the plan has holes."""
    return Violation("plan", "plan", f"{name} must be finite", None, float(count), 0.0, float(count))


def holes(values: FloatArray) -> int:
    """How many values are no numbers."""
    return int((~np.isfinite(values)).sum())
