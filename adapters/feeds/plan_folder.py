"""A plan folder (dispatch-model §3): a ``DispatchPlan`` as tables that anyone can check us with, both ways.

``summary.json`` is written last: a folder without it is not a plan.  A folder also claims things that a
``DispatchPlan`` computes by itself (hashes, gap, sums); ``read_claims`` gives them to the checker.
"""

import json
from datetime import UTC
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from adapters.feeds.plan_schedule import read_schedule
from adapters.feeds.plan_tables import ADMISSIONS, AGGREGATE, BASELINE, PRICES, SETPOINTS, UNMET
from adapters.feeds.tables import TableRows, TableSpec, find_table, read_table, require_folder, write_table
from models.dispatch.check import AggregateKey, PlanClaims
from models.dispatch.problem import DispatchProblem
from models.errors import InputFault, PortfolioError
from models.intervals import FloatArray
from models.plan import Admission, DispatchPlan, PlanSource, RequirementAmount

_SUMMARY = "summary.json"
_NUMBERS = ("objective_cny", "baseline_cost_cny", "lower_bound_cny", "wall_s")


def write_plan(folder: Path, plan: DispatchPlan, problem: DispatchProblem, violations: int) -> None:
    """Write the plan's tables (Parquet) and its summary into ``folder``; an older plan in it is replaced."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _SUMMARY).unlink(missing_ok=True)
    for spec in (BASELINE, SETPOINTS, AGGREGATE, UNMET, PRICES, ADMISSIONS):
        (folder / f"{spec.name}.csv").unlink(missing_ok=True)
    _write_schedule(folder, BASELINE, plan, plan.baseline_kw, plan.baseline_energy_kwh)
    _write_schedule(folder, SETPOINTS, plan, plan.power_kw, plan.energy_kwh)
    _write_aggregate(folder, plan, problem)
    _write_requirements(folder, UNMET, "amount_kw", plan.unmet)
    _write_requirements(folder, PRICES, "price_per_kwh", plan.prices)
    rows = plan.admissions
    _write(folder, ADMISSIONS, {name: [getattr(row, name) for row in rows] for name in ADMISSIONS.columns})
    (folder / _SUMMARY).write_text(json.dumps(_summary(plan, violations), indent=2, allow_nan=False) + "\n", "utf-8")


def _summary(plan: DispatchPlan, violations: int) -> dict[str, Any]:
    return {
        "status": plan.status,
        "source": plan.source.value,
        "objective_cny": plan.objective_cny,
        "baseline_cost_cny": plan.baseline_cost_cny,
        "baseline_hash": plan.baseline_hash,
        "lower_bound_cny": plan.lower_bound_cny if np.isfinite(plan.lower_bound_cny) else None,
        "gap": plan.gap if np.isfinite(plan.gap) else None,
        "penalties": plan.penalties,
        "iterations": plan.iterations,
        "resources": len(plan.resource_ids),
        "intervals": len(plan.grid),
        "wall_s": plan.wall_s,
        "peak_rss_mb": plan.peak_rss_mb,
        "plan_hash": plan.plan_hash,
        "violations": violations,
        "made_at": None if plan.made_at is None else plan.made_at.astimezone(UTC).isoformat(),
    }


def _write(folder: Path, spec: TableSpec, columns: dict[str, Any]) -> None:
    write_table(folder / f"{spec.name}.parquet", {name: (spec.columns[name], columns[name]) for name in spec.columns})


def _starts(plan: DispatchPlan) -> Any:
    return np.array([start.replace(tzinfo=None) for start in plan.grid.starts], dtype="datetime64[us]")


def _write_schedule(
    folder: Path, spec: TableSpec, plan: DispatchPlan, power_kw: FloatArray, energy_kwh: FloatArray
) -> None:
    resources, count = power_kw.shape
    energy = energy_kwh.ravel()
    names = pa.array(plan.resource_ids, type=pa.string())
    columns = {
        "resource_id": names.take(pa.array(np.repeat(np.arange(resources), count))),
        "interval_start": pa.array(np.tile(_starts(plan), resources)).cast(pa.timestamp("us", tz="UTC")),
        "power_kw": power_kw.ravel(),
        "energy_kwh": pa.array(energy, mask=np.isnan(energy)),
    }
    _write(folder, spec, columns)


def _write_aggregate(folder: Path, plan: DispatchPlan, problem: DispatchProblem) -> None:
    groups: dict[tuple[str, str, str, str], list[int]] = {}
    for row, name in enumerate(plan.resource_ids):
        what = problem.attributes[name]
        groups.setdefault((what.zone_id, what.aggregator_id, what.pillar, what.kind.value), []).append(row)
    keys = sorted(groups)
    count = len(plan.grid)
    sums = [[table[groups[key]].sum(axis=0) for key in keys] for table in (plan.baseline_kw, plan.power_kw)]
    columns: dict[str, Any] = {"interval_start": list(plan.grid.starts) * len(keys)}
    for place, name in enumerate(("zone_id", "aggregator_id", "pillar", "kind")):
        columns[name] = [key[place] for key in keys for _ in range(count)]
    columns["baseline_kw"], columns["power_kw"] = (np.concatenate(each) if each else np.empty(0) for each in sums)
    _write(folder, AGGREGATE, columns)


def _write_requirements(folder: Path, spec: TableSpec, amount_column: str, rows: tuple[RequirementAmount, ...]) -> None:
    columns: dict[str, Any] = {
        "requirement": [row.requirement.value for row in rows],
        "event_id": [row.event_id for row in rows],
        "scope_kind": [row.scope_kind.value for row in rows],
        "scope_id": [row.scope_id for row in rows],
        "interval_start": [row.interval_start for row in rows],
        amount_column: [row.amount for row in rows],
    }
    _write(folder, spec, columns)


def read_plan(folder: Path, problem: DispatchProblem) -> DispatchPlan:
    """The plan of a folder, on the problem's grid and resources.

    ``PortfolioError`` names every fault: missing or foreign rows, wrong types, values that are no numbers.
    """
    faults: list[InputFault] = []
    summary = _read_summary(folder, faults)
    small = {spec.name: _read(folder, spec, faults) for spec in (UNMET, PRICES, ADMISSIONS)}
    baseline, baseline_energy = read_schedule(folder, BASELINE.name, problem, faults)
    power, energy = read_schedule(folder, SETPOINTS.name, problem, faults)
    if faults:
        raise PortfolioError(faults)
    bound = summary["lower_bound_cny"]
    return DispatchPlan(
        grid=problem.grid,
        resource_ids=problem.fleet.resource_ids,
        power_kw=power,
        energy_kwh=energy,
        baseline_kw=baseline,
        baseline_energy_kwh=baseline_energy,
        status=summary["status"],
        source=PlanSource(summary["source"]),
        objective_cny=float(summary["objective_cny"]),
        baseline_cost_cny=float(summary["baseline_cost_cny"]),
        lower_bound_cny=-np.inf if bound is None else float(bound),
        iterations=int(summary["iterations"]),
        wall_s=float(summary["wall_s"]),
        penalties={name: float(value) for name, value in summary["penalties"].items()},
        unmet=_amounts(small[UNMET.name], "amount_kw"),
        prices=_amounts(small[PRICES.name], "price_per_kwh"),
        admissions=tuple(Admission(**row.model_dump()) for _, row in small[ADMISSIONS.name].rows),
        peak_rss_mb=float(summary["peak_rss_mb"]),
    )


def read_claims(folder: Path) -> PlanClaims:
    """What the folder says of its plan beyond the tables of ``read_plan``: hashes, gap, sums per group."""
    faults: list[InputFault] = []
    summary = _read_summary(folder, faults)
    table = _read(folder, AGGREGATE, faults)
    if faults:
        raise PortfolioError(faults)
    aggregate = {
        AggregateKey(row.interval_start, row.zone_id, row.aggregator_id, row.pillar.value, row.kind.value): (
            row.baseline_kw,
            row.power_kw,
        )
        for _, row in table.rows
    }
    return PlanClaims(summary["plan_hash"], summary["baseline_hash"], summary["gap"], aggregate)


def _amounts(table: TableRows, column: str) -> tuple[RequirementAmount, ...]:
    return tuple(
        RequirementAmount(
            row.requirement,
            row.scope_kind,
            row.scope_id,
            row.interval_start,
            getattr(row, column),
            row.event_id,
        )
        for _, row in table.rows
    )


def _read(folder: Path, spec: TableSpec, faults: list[InputFault]) -> TableRows:
    path = find_table(folder, spec.name, faults)
    if path is None:
        faults.append(InputFault(spec.name, "", None, "table is required"))
        return TableRows(spec.name)
    table = read_table(path, spec)
    faults += table.faults
    return table


def _read_summary(folder: Path, faults: list[InputFault]) -> dict[str, Any]:
    require_folder(folder)
    path = folder / _SUMMARY
    try:
        summary = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise PortfolioError([InputFault(_SUMMARY, "", str(error), "must be a JSON object")]) from error
    rules: dict[str, type | tuple[type, ...]] = {
        "status": str, "source": str, "objective_cny": (int, float), "baseline_cost_cny": (int, float),
        "lower_bound_cny": (int, float, type(None)), "gap": (int, float, type(None)), "penalties": dict,
        "iterations": int, "wall_s": (int, float), "peak_rss_mb": (int, float),
        "plan_hash": str, "baseline_hash": str, "violations": int,
    }  # fmt: skip
    if not isinstance(summary, dict):
        raise PortfolioError([InputFault(_SUMMARY, "", summary, "must be a JSON object")])
    found = [
        InputFault(_SUMMARY, name, summary.get(name), "is required and must be of its type")
        for name, kind in rules.items()
        if name not in summary or isinstance(summary[name], bool) or not isinstance(summary[name], kind)
    ]
    if not found and summary["source"] not in set(PlanSource):
        found = [InputFault(_SUMMARY, "source", summary["source"], f"must be one of {', '.join(PlanSource)}")]
    if found:
        raise PortfolioError(found)
    faults += found
    return summary
