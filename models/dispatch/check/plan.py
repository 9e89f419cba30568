"""``check_plan``: a plan against its problem, with nothing of solver or model in between."""

from dataclasses import replace

import numpy as np

from models.dispatch.check.bound import baseline_prices, least_cost_of, lower_bound
from models.dispatch.check.claims import check_claims, fingerprint
from models.dispatch.check.coupling import Rows, coupling_rows, row_key
from models.dispatch.check.devices import Device, devices_of
from models.dispatch.check.horizon import RELATIVE_TOLERANCE, DeviceCheck, Finding, Horizon, tolerance
from models.dispatch.check.oracles.prices import Prices
from models.dispatch.check.report import CheckReport, PlanClaims, Violation
from models.dispatch.problem import DispatchProblem
from models.intervals import FloatArray
from models.plan import DispatchPlan, PlanSource
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
    return replace(report, violations=(*found, *check_claims(problem, plan, claims, report)))


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
