"""A plan folder (dispatch-model §3): a ``DispatchPlan`` as tables that anyone can check us with, both ways.

``summary.json`` is written last: a folder without it is not a plan.  A folder also claims things that a
``DispatchPlan`` computes by itself (hashes, gap, sums); ``read_claims`` gives them to the checker.  Writing is in
``plan_writing``.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from adapters.feeds.plan_schedule import read_schedule
from adapters.feeds.plan_tables import ADMISSIONS, AGGREGATE, BASELINE, PRICES, SETPOINTS, UNMET
from adapters.feeds.plan_writing import SUMMARY, write_plan, write_plan_stream
from adapters.feeds.tables import TableRows, TableSpec, find_table, read_table, require_folder
from models.dispatch.check import AggregateKey, PlanClaims
from models.dispatch.problem import DispatchProblem
from models.errors import InputFault, PortfolioError
from models.plan import Admission, DispatchPlan, PlanSource, RequirementAmount

__all__ = ["read_claims", "read_plan", "write_plan", "write_plan_stream"]
_NUMBERS = ("objective_cny", "baseline_cost_cny", "lower_bound_cny", "wall_s")


def read_plan(folder: Path, problem: DispatchProblem) -> DispatchPlan:
    """The plan of a folder, on the problem's grid and resources.

    ``PortfolioError`` names every fault: missing or foreign rows, wrong types, values that are no numbers.
    """
    faults: list[InputFault] = []
    head = read_head(folder, faults)
    baseline, baseline_energy = read_schedule(folder, BASELINE.name, problem, faults)
    power, energy = read_schedule(folder, SETPOINTS.name, problem, faults)
    if faults:
        raise PortfolioError(faults)
    return DispatchPlan(
        grid=problem.grid,
        resource_ids=problem.fleet.resource_ids,
        power_kw=power,
        energy_kwh=energy,
        baseline_kw=baseline,
        baseline_energy_kwh=baseline_energy,
        **head,
    )


def read_head(folder: Path, faults: list[InputFault]) -> dict[str, Any]:
    """Everything of a folder's plan beside its schedules, by the names of ``DispatchPlan``; faults go into ``faults``.

    ``PortfolioError`` if there is no summary that could be read.
    """
    summary = _read_summary(folder, faults)
    small = {spec.name: _read(folder, spec, faults) for spec in (UNMET, PRICES, ADMISSIONS)}
    bound = summary["lower_bound_cny"]
    return {
        "status": summary["status"],
        "source": PlanSource(summary["source"]),
        "objective_cny": float(summary["objective_cny"]),
        "baseline_cost_cny": float(summary["baseline_cost_cny"]),
        "lower_bound_cny": -np.inf if bound is None else float(bound),
        "iterations": int(summary["iterations"]),
        "wall_s": float(summary["wall_s"]),
        "penalties": {name: float(value) for name, value in summary["penalties"].items()},
        "unmet": _amounts(small[UNMET.name], "amount_kw"),
        "prices": _amounts(small[PRICES.name], "price_per_kwh"),
        "admissions": tuple(Admission(**row.model_dump()) for _, row in small[ADMISSIONS.name].rows),
        "peak_rss_mb": float(summary["peak_rss_mb"]),
    }


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
    path = folder / SUMMARY
    try:
        summary = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise PortfolioError([InputFault(SUMMARY, "", str(error), "must be a JSON object")]) from error
    rules: dict[str, type | tuple[type, ...]] = {
        "status": str, "source": str, "objective_cny": (int, float), "baseline_cost_cny": (int, float),
        "lower_bound_cny": (int, float, type(None)), "gap": (int, float, type(None)), "penalties": dict,
        "iterations": int, "wall_s": (int, float), "peak_rss_mb": (int, float),
        "plan_hash": str, "baseline_hash": str, "violations": int,
    }  # fmt: skip
    if not isinstance(summary, dict):
        raise PortfolioError([InputFault(SUMMARY, "", summary, "must be a JSON object")])
    found = [
        InputFault(SUMMARY, name, summary.get(name), "is required and must be of its type")
        for name, kind in rules.items()
        if name not in summary or isinstance(summary[name], bool) or not isinstance(summary[name], kind)
    ]
    if not found and summary["source"] not in set(PlanSource):
        found = [InputFault(SUMMARY, "source", summary["source"], f"must be one of {', '.join(PlanSource)}")]
    if found:
        raise PortfolioError(found)
    faults += found
    return summary
