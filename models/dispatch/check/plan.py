"""``check_plan``: a plan against its problem, with nothing of solver or model in between."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np

from models.dispatch.check.bound import baseline_prices, least_cost_of, lower_bound
from models.dispatch.check.coupling import Rows, coupling_rows, row_key
from models.dispatch.check.devices import Device, devices_of
from models.dispatch.check.horizon import RELATIVE_TOLERANCE, DeviceCheck, Finding, Horizon, tolerance
from models.dispatch.check.oracles.prices import Prices
from models.dispatch.check.report import AggregateKey, CheckReport, PlanClaims, Violation
from models.dispatch.problem import DispatchProblem
from models.intervals import FloatArray
from models.plan import DispatchPlan, PlanSource, relative_gap
from models.resources import ResourceKind

PROFILED = (ResourceKind.CURTAILABLE_LOAD, ResourceKind.INTERRUPTIBLE_LOAD, ResourceKind.THERMAL_LOAD)
"""Kinds whose baseline is profile x scale."""


def check_plan(
    problem: DispatchProblem,
    plan: DispatchPlan,
    *,
    bound: bool = True,
    baseline: bool = True,
    claims: PlanClaims | None = None,
) -> CheckReport:
    """Recompute every limit, sum and cost of ``plan``, and report what is off.

    ``baseline``: also the baseline table (feasible, and as cheap as the oracles can make it; if the problem gives the
    table, its fingerprint).  ``bound``: also the Lagrangian lower bound at the plan's prices, by the oracles.
    ``claims``: what a plan folder says beyond the plan: fingerprints, gap, sums per group.
    """
    found: list[Violation] = []
    if not _same_shape(problem, plan, found):
        nan = float("nan")
        return CheckReport(tuple(found), nan, nan, None, plan.lower_bound_cny)
    horizon = Horizon.of(problem)
    devices = devices_of(problem, horizon)
    checks = [device.check(power, horizon) for device, power in zip(devices, plan.power_kw, strict=True)]
    _collect(devices, checks, plan.energy_kwh, horizon, "setpoints", found)
    _check_admissions(devices, plan, found)
    table = plan.baseline_kw if problem.baseline_kw is None else problem.baseline_kw
    rows = coupling_rows(problem, table)
    slack_cost = _check_unmet(problem, rows, plan, found)
    objective = _schedule_cost(problem, devices, checks, plan.power_kw, horizon)
    objective += slack_cost + real_time_cost(problem, plan.power_kw)
    _compare("objective_cny", "plan", plan.objective_cny, objective, found)
    baseline_cost = plan.baseline_cost_cny
    if problem.baseline_kw is not None:
        _check_given_baseline(problem, plan, devices, found)
    elif baseline:
        baseline_cost = _check_baseline(problem, plan, devices, horizon, found)
        _compare("baseline_cost_cny", "plan", plan.baseline_cost_cny, baseline_cost, found)
    _check_penalties(problem, plan, found)
    own_bound: float | None = None
    kinds: dict[str, str] = {}
    if bound:
        own_bound, kinds = lower_bound(problem, plan, devices, rows, horizon)
        _check_bound(plan, objective, own_bound, found)
    report = CheckReport(
        tuple(found),
        objective,
        baseline_cost,
        own_bound,
        plan.lower_bound_cny,
        kinds,
        fingerprint(plan, plan.power_kw),
        fingerprint(plan, plan.baseline_kw),
    )
    if claims is None:
        return report
    return replace(report, violations=(*found, *_check_claims(problem, plan, claims, report)))


def _check_bound(plan: DispatchPlan, objective: float, own_bound: float, found: list[Violation]) -> None:
    """No bound may pass the objective; a fast plan's must be the one recomputed at its own prices."""
    slack = tolerance(max(abs(objective), abs(own_bound)))
    for name, value in (("lower_bound_cny", plan.lower_bound_cny), ("lower_bound at prices", own_bound)):
        if value > objective + slack:
            found.append(Violation("plan", "plan", name, None, value - objective, objective, value))
    if plan.source is PlanSource.FAST and not abs(plan.lower_bound_cny - own_bound) <= slack:
        said = plan.lower_bound_cny
        found.append(Violation("plan", "plan", "lower_bound_cny", None, abs(said - own_bound), own_bound, said))


def _same_shape(problem: DispatchProblem, plan: DispatchPlan, found: list[Violation]) -> bool:
    def note(limit: str, allowed: float, got: float) -> None:
        found.append(Violation("plan", "plan", limit, None, abs(got - allowed), allowed, got))

    if plan.resource_ids != problem.fleet.resource_ids:
        note("resource_ids", len(problem.fleet.resource_ids), len(plan.resource_ids))
    if plan.grid.edges != problem.grid.edges:
        note("intervals", len(problem.grid), len(plan.grid))
    for name in ("power_kw", "baseline_kw"):
        bad = int((~np.isfinite(getattr(plan, name))).sum())
        if bad:
            note(f"{name} must be finite", 0, bad)
    return not found


def _violation(device: Device, finding: Finding, horizon: Horizon, table: str) -> Violation:
    start = None if finding.t is None else horizon.grid.starts[finding.t]
    off = abs(finding.got - finding.allowed)
    return Violation(
        device.resource_id, device.kind.value, finding.limit, start, off, finding.allowed, finding.got, table
    )


def _collect(
    devices: list[Device],
    checks: list[DeviceCheck],
    energy_kwh: FloatArray,
    horizon: Horizon,
    table: str,
    found: list[Violation],
) -> None:
    """Findings of all devices as violations, and the energy column against what was recomputed."""
    for device, check, energy in zip(devices, checks, energy_kwh, strict=True):
        findings = list(check.findings)
        if check.energy_kwh is None:
            wrong, wanted = np.isfinite(energy), np.full_like(energy, np.nan)
        else:
            wanted = check.energy_kwh
            wrong = np.isfinite(wanted) & ~(np.abs(energy - wanted) <= tolerance(wanted))
        findings += [
            Finding("energy_column", int(t), float(wanted[t]), float(energy[t])) for t in np.flatnonzero(wrong)
        ]
        found += [_violation(device, finding, horizon, table) for finding in findings]


def _check_given_baseline(
    problem: DispatchProblem, plan: DispatchPlan, devices: list[Device], found: list[Violation]
) -> None:
    """The table of the market day is given: the plan must carry it unchanged."""
    given = problem.baseline_kw
    assert given is not None  # noqa: S101 - the caller asked
    for row, t in np.argwhere(given != plan.baseline_kw):
        ours, said = float(given[row, t]), float(plan.baseline_kw[row, t])
        device, start = devices[row], problem.grid.starts[t]
        found.append(
            Violation(
                device.resource_id,
                device.kind.value,
                "baseline_given",
                start,
                abs(said - ours),
                ours,
                said,
                "baseline",
            )
        )


def _check_baseline(
    problem: DispatchProblem,
    plan: DispatchPlan,
    devices: list[Device],
    horizon: Horizon,
    found: list[Violation],
) -> float:
    """The baseline table: feasible for every device, and of least cost; returns what it costs."""
    checks = [device.check(power, horizon) for device, power in zip(devices, plan.baseline_kw, strict=True)]
    for device, check in zip(devices, checks, strict=True):
        if device.kind in PROFILED:  # undisturbed by definition, whatever the state still demands of it
            check.findings, check.own_cost = [], 0.0
    _collect(devices, checks, plan.baseline_energy_kwh, horizon, "baseline", found)
    for device, check, power in zip(devices, checks, plan.baseline_kw, strict=True):
        _check_least(device, check, power, baseline_prices(problem, device, horizon), horizon, found)
    return _schedule_cost(problem, devices, checks, plan.baseline_kw, horizon)


def _check_least(
    device: Device, check: DeviceCheck, power_kw: FloatArray, prices: Prices, horizon: Horizon, found: list[Violation]
) -> None:
    """A load's baseline is its profile; any other's is as cheap as can be, the tie-breaking term included."""
    kind = device.kind.value
    if device.kind in PROFILED:
        profile = horizon.profiles[device.row.baseline_profile] * device.row.baseline_scale_kw
        for t in np.flatnonzero(np.abs(power_kw - profile) > tolerance(profile)):
            ours, said, start = float(profile[t]), float(power_kw[t]), horizon.grid.starts[t]
            off = abs(said - ours)
            found.append(Violation(device.resource_id, kind, "baseline_profile", start, off, ours, said, "baseline"))
        return
    least = least_cost_of(device, prices, horizon)
    cost = float((horizon.hours * prices.per_kwh) @ power_kw) + check.own_cost + prices.late_per_kwh * check.late_kwh
    slack = RELATIVE_TOLERANCE * max(1.0, abs(least.cost))
    if least.exact and abs(cost - least.cost) > slack and not check.findings:
        off = abs(cost - least.cost)
        found.append(Violation(device.resource_id, kind, "baseline_cost", None, off, least.cost, cost, "baseline"))
    elif cost < least.cost - slack and not check.findings:
        off = least.cost - cost
        found.append(Violation(device.resource_id, kind, "baseline_cost", None, off, least.cost, cost, "baseline"))


def _check_admissions(devices: list[Device], plan: DispatchPlan, found: list[Violation]) -> None:
    """Every relaxation is listed with what was granted, and nothing else is."""
    ours = {(a.resource_id, a.session_id, a.limit): a for device in devices for a in device.admissions}
    theirs = {(a.resource_id, a.session_id, a.limit): a for a in plan.admissions}
    for key in sorted(ours.keys() | theirs.keys(), key=str):
        either = ours.get(key) or theirs[key]
        wanted = ours[key].granted if key in ours else either.asked
        said = theirs[key].granted if key in theirs else either.asked
        if not abs(wanted - said) <= tolerance(wanted):
            found.append(Violation(key[0], "admission", key[2], None, abs(wanted - said), wanted, said))


def _schedule_cost(
    problem: DispatchProblem,
    devices: list[Device],
    checks: list[DeviceCheck],
    power_kw: FloatArray,
    horizon: Horizon,
) -> float:
    """Tariff, own costs, and what is drawn after the horizon at the tariff's mean."""
    total = 0.0
    for device, check, power in zip(devices, checks, power_kw, strict=True):
        tariff = problem.tariffs[device.row.tariff_id]
        total += float((horizon.hours * tariff) @ power) + check.own_cost
        total += horizon.mean(tariff) * check.late_kwh
    return total


def real_time_cost(problem: DispatchProblem, power_kw: FloatArray) -> float:
    """What switching now, and straying from the day plan outside events, costs a re-plan."""
    terms, penalties = problem.real_time, problem.penalties
    if terms is None:
        return 0.0
    switched = np.nansum(np.abs(power_kw[:, 0] - terms.now_kw))
    strayed = np.nansum(np.abs(power_kw - terms.plan_kw) * terms.stray_applies * problem.grid.hours)
    return float(penalties.switch_cost_per_kw * switched + penalties.stray_cost_per_kwh * strayed)


def _check_unmet(problem: DispatchProblem, rows: list[Rows], plan: DispatchPlan, found: list[Violation]) -> float:
    """Slack of every row against the plan's list; returns what the slacks cost.

    A shortfall that is listed is no violation; one that is not listed, or listed too high, is.
    """
    listed: dict[object, float] = {}
    for amount in plan.unmet:
        listed[row_key(amount)] = listed.get(row_key(amount), 0.0) + amount.amount
    cost = 0.0
    for row in rows:
        slack = row.excess(plan.power_kw)
        cost += row.penalty * float(problem.grid.hours @ slack)
        margin = tolerance(row.reference)
        for t, start in enumerate(problem.grid.starts):
            said = listed.pop(row.key(start), 0.0)
            if abs(said - slack[t]) > margin[t]:
                subject = row.event_id or row.scope_id
                found.append(
                    Violation(
                        subject,
                        "requirement",
                        row.requirement.value,
                        start,
                        abs(said - slack[t]),
                        float(slack[t]),
                        said,
                    )
                )
    for amount in plan.unmet:
        if row_key(amount) in listed and abs(listed[row_key(amount)]) > tolerance(0.0):
            subject = amount.event_id or amount.scope_id
            found.append(
                Violation(
                    subject,
                    "requirement",
                    amount.requirement.value,
                    amount.interval_start,
                    amount.amount,
                    0.0,
                    amount.amount,
                )
            )
    return cost


def _compare(limit: str, kind: str, said: float, recomputed: float, found: list[Violation]) -> None:
    if not abs(said - recomputed) <= tolerance(recomputed):
        found.append(Violation("plan", kind, limit, None, abs(said - recomputed), recomputed, said))


def _check_penalties(problem: DispatchProblem, plan: DispatchPlan, found: list[Violation]) -> None:
    for name, value in problem.penalties.as_dict().items():
        if name not in plan.penalties or plan.penalties[name] != value:
            said = plan.penalties.get(name, float("nan"))
            found.append(Violation("plan", "plan", f"penalties.{name}", None, abs(said - value), value, said))


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


def _check_claims(
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


_COLUMNS = ("baseline_kw", "power_kw")


def _either(one: Mapping[AggregateKey, object], other: Mapping[AggregateKey, object]) -> Iterable[AggregateKey]:
    yield from one
    yield from (key for key in other if key not in one)
