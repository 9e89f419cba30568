"""What a plan folder claims beyond the plan itself, recomputed: fingerprints, gap, and sums per group of devices."""

import hashlib
from collections.abc import Iterable, Mapping

import numpy as np

from models.dispatch.check.horizon import tolerance
from models.dispatch.check.report import AggregateKey, CheckReport, PlanClaims, Violation
from models.dispatch.problem import DispatchProblem
from models.intervals import FloatArray
from models.plan import DispatchPlan, relative_gap

_COLUMNS = ("baseline_kw", "power_kw")


def fingerprint(plan: DispatchPlan, power_kw: FloatArray) -> str:
    """SHA-256 as dispatch-model §3 defines it, by own code.

    Over the int64 microsecond interval starts, then per resource in byte order of its id: the UTF-8 id, 0x00,
    its power of all intervals as little-endian float64 with −0 as 0.
    """
    digest = hashlib.sha256()
    for start in plan.grid.starts:
        seconds = int(start.replace(microsecond=0).timestamp())
        digest.update((seconds * 1_000_000 + start.microsecond).to_bytes(8, "little", signed=True))
    by_id = sorted((name.encode("utf-8"), row) for row, name in enumerate(plan.resource_ids))
    for name, row in by_id:
        values = np.where(power_kw[row] == 0, 0.0, power_kw[row])
        digest.update(name + b"\0" + values.astype("<f8").tobytes())
    return digest.hexdigest()


def check_claims(
    problem: DispatchProblem, plan: DispatchPlan, claims: PlanClaims, report: CheckReport
) -> list[Violation]:
    """Fingerprints, gap and sums as the folder has them."""
    found = [
        Violation("plan", "plan", limit, None, 1.0, 1.0, 0.0)
        for limit, said, ours in (
            ("plan_hash", claims.plan_hash, report.plan_hash),
            ("baseline_hash", claims.baseline_hash, report.baseline_hash),
        )
        if said != ours
    ]
    gap = relative_gap(plan.objective_cny, plan.lower_bound_cny, plan.baseline_cost_cny)
    said = np.inf if claims.gap is None else claims.gap
    if said != gap and not abs(said - gap) <= tolerance(gap):
        found.append(Violation("plan", "plan", "gap", None, abs(said - gap), gap, said))
    _check_aggregate(problem, plan, claims.aggregate, found)
    return found


def _check_aggregate(
    problem: DispatchProblem,
    plan: DispatchPlan,
    said: Mapping[AggregateKey, tuple[float, float]],
    found: list[Violation],
) -> None:
    """Σ of the devices of every zone, aggregator, pillar and kind, to 1e-6."""
    sums: dict[tuple[str, str, str, str], list[int]] = {}
    for row, name in enumerate(plan.resource_ids):
        what = problem.attributes[name]
        sums.setdefault((what.zone_id, what.aggregator_id, what.pillar, what.kind.value), []).append(row)
    wanted = {
        AggregateKey(start, *group): (
            float(plan.baseline_kw[members, t].sum()),
            float(plan.power_kw[members, t].sum()),
        )
        for group, members in sums.items()
        for t, start in enumerate(plan.grid.starts)
    }
    nothing = (float("nan"), float("nan"))
    for key in _either(wanted, said):
        for ours, theirs, column in zip(wanted.get(key, nothing), said.get(key, nothing), _COLUMNS, strict=True):
            if not abs(ours - theirs) <= tolerance(ours):
                subject = "/".join(key[1:])
                found.append(
                    Violation(subject, "plan", f"aggregate.{column}", key[0], abs(ours - theirs), ours, theirs)
                )


def _either(one: Mapping[AggregateKey, object], other: Mapping[AggregateKey, object]) -> Iterable[AggregateKey]:
    yield from one
    yield from (key for key in other if key not in one)
