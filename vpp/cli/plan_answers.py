"""How a plan, its check and the faults of a folder are told: as JSON, or as text and tables for people."""

import json
import sys
from pathlib import Path
from typing import Any, NoReturn

import typer
from rich.console import Console
from rich.table import Table

from models.dispatch.check import CheckReport
from models.errors import InputError, InputFault
from models.plan_stream import PlanHead

_SHOWN = 50


def show_faults(error: InputError, as_json: bool) -> NoReturn:
    """Every fault of a folder with its place, and the end of the command (exit code 2)."""
    if as_json:
        print_json({"valid": False, "faults": [_fault_facts(fault) for fault in error.faults]})
        raise typer.Exit(2) from error
    table = Table(title=f"{len(error.faults)} faults", title_justify="left")
    for name in ("file", "row", "column", "value", "rule"):
        table.add_column(name, overflow="fold")
    for fault in error.faults:
        row = "" if fault.row is None else str(fault.row)
        table.add_row(fault.place, row, fault.field, f"{fault.value}"[:80], fault.rule)
    _wide_console(stderr=True).print(table, markup=False)
    raise typer.Exit(2) from error


def _wide_console(*, stderr: bool = False) -> Console:
    """A console that does not squeeze tables when it writes into a file or pipe."""
    console = Console(stderr=stderr, highlight=False)
    return console if console.is_terminal else Console(stderr=stderr, highlight=False, width=200)


def _fault_facts(fault: InputFault) -> dict[str, Any]:
    return {
        "file": fault.place,
        "row": fault.row,
        "column": fault.field,
        "value": fault.value if isinstance(fault.value, str | int | float | bool | None) else str(fault.value),
        "rule": fault.rule,
    }


def plan_facts(made: PlanHead, report: CheckReport) -> dict[str, Any]:
    """A plan in numbers, its fingerprints as the check took them."""
    return {
        "status": made.status,
        "source": made.source.value,
        "objective_cny": made.objective_cny,
        "baseline_cost_cny": made.baseline_cost_cny,
        "lower_bound_cny": made.lower_bound_cny,
        "gap": made.gap,
        "iterations": made.iterations,
        "plan_hash": report.plan_hash or None,
        "baseline_hash": report.baseline_hash or None,
        "resources": len(made.resource_ids),
        "intervals": len(made.grid),
        "unmet": len(made.unmet),
        "admissions": len(made.admissions),
    }


def report_facts(report: CheckReport) -> dict[str, Any]:
    """A check with all its violations."""
    return {
        "ok": report.ok,
        "violations": len(report.violations),
        "checked_objective_cny": report.objective_cny,
        "checked_baseline_cost_cny": report.baseline_cost_cny,
        "checked_lower_bound_cny": report.lower_bound_cny,
        "claimed_lower_bound_cny": report.claimed_bound_cny,
        "bound_kinds": dict(report.bound_kinds),
        "list": [
            {
                "subject": item.subject,
                "kind": item.kind,
                "table": item.table,
                "limit": item.limit,
                "interval_start": None if item.interval_start is None else item.interval_start.isoformat(),
                "amount": item.amount,
                "allowed": item.allowed,
                "got": item.got,
            }
            for item in report.violations
        ],
    }


def print_json(content: Any) -> None:
    """One JSON document on standard output."""
    sys.stdout.write(json.dumps(_finite(content), indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def _finite(content: Any) -> Any:
    """JSON knows no NaN and no infinity: null."""
    if isinstance(content, dict):
        return {name: _finite(value) for name, value in content.items()}
    if isinstance(content, list):
        return [_finite(value) for value in content]
    if isinstance(content, float) and not -float("inf") < content < float("inf"):
        return None
    return content


def show_plan(made: PlanHead, report: CheckReport, spans: dict[str, float], out: Path) -> None:
    """A plan that was made, how long that took (``spans``: s by name), and its check."""
    console = _wide_console()
    if report.ok:
        console.print(f"{out}: {made.status}, {len(made.resource_ids)} resources x {len(made.grid)} intervals")
        console.print(f"objective {made.objective_cny:,.2f} CNY, bound {made.lower_bound_cny:,.2f}, gap {made.gap:.2e}")
        console.print(f"unmet requirements: {len(made.unmet)}, admissions: {len(made.admissions)}")
        console.print(", ".join(f"{name} {value:.2f}" for name, value in spans.items()))
    show_report(report)


def show_report(report: CheckReport) -> None:
    """A check, with its first violations as a table."""
    console = _wide_console()
    if report.ok:
        console.print("check: nothing is off")
    else:
        table = Table(title=f"{len(report.violations)} violations", title_justify="left")
        for name in ("subject", "kind", "table", "limit", "interval_start", "allowed", "got", "off by"):
            table.add_column(name, overflow="fold")
        for item in report.violations[:_SHOWN]:
            when = "" if item.interval_start is None else item.interval_start.isoformat()
            numbers = (f"{item.allowed:.9g}", f"{item.got:.9g}", f"{item.amount:.3g}")
            table.add_row(item.subject, item.kind, item.table, item.limit, when, *numbers)
        console.print(table, markup=False)
        if len(report.violations) > _SHOWN:
            console.print(f"... and {len(report.violations) - _SHOWN} more (--json lists all)")
    console.print(
        f"recomputed: objective {report.objective_cny:,.4f} CNY, baseline {report.baseline_cost_cny:,.4f} CNY"
    )
    if report.lower_bound_cny is not None:
        relaxed = [kind for kind, how in report.bound_kinds.items() if how != "exact"]
        how = f"relaxed for {', '.join(relaxed)}" if relaxed else "oracles exact"
        own, said = report.lower_bound_cny, report.claimed_bound_cny
        console.print(f"lower bound at the plan's prices {own:,.4f} CNY ({how}); the plan's own {said:,.4f} CNY")
