"""``vpp explain``: why a resource does what it does, and what one more megawatt would cost, here and now.

Exit codes: 0 done, 2 wrong usage or input.
"""

from collections.abc import Sequence
from datetime import tzinfo
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import typer
from rich.console import Console
from rich.table import Table

from adapters.feeds.plan_excerpt import read_one_schedule, read_penalties, read_prices
from adapters.feeds.portfolio_folder import read_portfolio
from models.dispatch.explain import (
    Explanation,
    Reason,
    RequirementPrice,
    RequirementSum,
    explain_resource,
    requirement_en,
    requirement_prices,
    requirement_sums,
    requirement_zh,
    table_of,
)
from models.dispatch.problem import DispatchProblem
from models.errors import InputError, InputFault
from vpp.cli.plan_answers import print_json, show_faults

_WIDTH = 200


def explain(
    portfolio: Annotated[Path, typer.Argument(help="Portfolio folder.")],
    plan_folder: Annotated[Path, typer.Argument(metavar="PLAN", help="Plan folder.")],
    resource_id: Annotated[str | None, typer.Argument(help="A resource; without it: what one more MW costs.")] = None,
    top: Annotated[int, typer.Option(min=1, help="How many prices to show, the highest first.")] = 30,
    every: Annotated[bool, typer.Option("--every", help="Also the intervals in which nothing moves it.")] = False,
    time_zone: Annotated[str, typer.Option(help="Time zone of what is shown.")] = "Asia/Shanghai",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")] = False,
) -> None:
    """Why this resource, why now; without a resource: what one more MW would cost, by requirement and interval."""
    try:
        zone = _zone(time_zone)
        problem = read_portfolio(portfolio)
        prices = read_prices(plan_folder)
        if resource_id is None:
            rows = requirement_prices(prices, problem.grid, read_penalties(plan_folder))
            sums = requirement_sums(rows)
        else:
            table_of(problem.fleet, resource_id)  # a wrong name is said before the plan is searched for it
            power, baseline = read_one_schedule(plan_folder, problem.grid, resource_id)
            found = explain_resource(problem, resource_id, power, baseline, prices, zone)
    except InputError as error:
        show_faults(error, as_json)
    if resource_id is None:
        _answer_prices(problem, rows, sums, zone, top, as_json)
    elif as_json:
        print_json(_explanation_facts(found, zone))
    else:
        _show_explanation(found, zone, every)


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as error:
        rule = "must be an IANA time zone such as Asia/Shanghai"
        raise InputError([InputFault("command line", "--time-zone", name, rule)]) from error


def _console() -> Console:
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=_WIDTH)


# ---- what one more MW costs


def _answer_prices(
    problem: DispatchProblem,
    rows: Sequence[RequirementPrice],
    sums: Sequence[RequirementSum],
    zone: tzinfo,
    top: int,
    as_json: bool,
) -> None:
    if as_json:
        print_json(
            {
                "time_zone": str(zone),
                "intervals": len(problem.grid),
                "prices": [_price_facts(row, zone) for row in rows],
                "requirements": [_sum_facts(row, zone) for row in sums],
            }
        )
        return
    console = _console()
    if not rows:
        console.print("没有约束有价格 no requirement has a price: one more MW costs nothing beyond its tariff")
        return
    table = Table(title=f"价格最高的 {min(top, len(rows))} / {len(rows)} highest prices", title_justify="left")
    for name in (f"时段 interval ({zone})", "约束 requirement", "元/MWh CNY per MWh", "1 MW 元 CNY", ""):
        table.add_column(name, overflow="fold", justify="right" if "CNY" in name else "left")
    for row in rows[:top]:
        short = "短缺价 at the penalty" if row.at_penalty else ""
        cost = (f"{row.price_per_mwh:,.1f}", f"{row.one_mw_cny:,.1f}")
        table.add_row(_when(row, zone), _named(row), *cost, short)
    console.print(table, markup=False)
    whole = Table(title="全时段 over the horizon", title_justify="left")
    for name in ("约束 requirement", "小时 hours", "最高 highest CNY/MWh", "时段 at", "全程 1 MW all along, CNY"):
        whole.add_column(name, overflow="fold", justify="right" if "CNY" in name or "hours" in name else "left")
    for each in sums[:top]:
        dearest = (f"{each.highest.price_per_mwh:,.1f}", _when(each.highest, zone))
        whole.add_row(_named(each), f"{each.priced_h:g}", *dearest, f"{each.one_mw_cny:,.1f}")
    console.print(whole, markup=False)


def _when(row: RequirementPrice | Reason, zone: tzinfo) -> str:
    first, last = row.start.astimezone(zone), row.end.astimezone(zone)
    return f"{first:%Y-%m-%d %H:%M}-{last:%H:%M}"


def _named(row: RequirementPrice | RequirementSum) -> str:
    what = (row.requirement, row.event_id, row.scope_kind, row.scope_id)
    return f"{requirement_zh(*what)} {requirement_en(*what).rstrip(',')}"


def _name_facts(row: RequirementPrice | RequirementSum) -> dict[str, Any]:
    return {
        "requirement": row.requirement.value,
        "event_id": row.event_id,
        "scope_kind": row.scope_kind.value,
        "scope_id": row.scope_id,
    }


def _price_facts(row: RequirementPrice, zone: tzinfo) -> dict[str, Any]:
    return {
        **_name_facts(row),
        "interval_start": row.start.astimezone(zone).isoformat(),
        "interval_end": row.end.astimezone(zone).isoformat(),
        "price_per_mwh": row.price_per_mwh,
        "one_mw_cny": row.one_mw_cny,
        "at_penalty": row.at_penalty,
    }


def _sum_facts(row: RequirementSum, zone: tzinfo) -> dict[str, Any]:
    return {
        **_name_facts(row),
        "priced_h": row.priced_h,
        "one_mw_cny": row.one_mw_cny,
        "highest": _price_facts(row.highest, zone),
    }


# ---- why a resource does what it does


def _show_explanation(found: Explanation, zone: tzinfo, every: bool) -> None:
    console = _console()
    who = f"{found.resource_id} ({found.kind.value}, {found.zone_id}, {found.aggregator_id})"
    console.print(f"{who}: 按方案而非基线 following the plan instead of its baseline", markup=False)
    money = f"价值 worth {found.worth_cny:,.2f} - 成本 own cost {found.own_cost_cny:,.2f}"
    console.print(f"  {money} = 净值 net {found.net_cny:,.2f} CNY, 按方案价格 at the plan's prices")
    if found.missed_cny is not None and found.missed_cny > _noticeable(found):
        how = "" if found.missed_is_exact else "最多 at most "
        console.print(f"  单独最优可多得 by itself it could gain {how}{found.missed_cny:,.2f} CNY more")
    day = None
    for reason in found.reasons:
        if not every and not reason.terms and abs(reason.change_kw) <= 1e-6:
            continue
        local = reason.start.astimezone(zone).date()
        if local != day:
            console.print(f"{local.isoformat()} ({zone})", style="bold")
            day = local
        console.print(f"  {reason.zh}", markup=False, soft_wrap=True)
        console.print(f"  {reason.en}", markup=False, soft_wrap=True)
    if day is None:
        console.print("  没有调整 nothing moves it: no requirement has a price for it, and it stays at its baseline")


def _noticeable(found: Explanation) -> float:
    return 1e-6 * max(1.0, abs(found.worth_cny), abs(found.own_cost_cny))


def _explanation_facts(found: Explanation, zone: tzinfo) -> dict[str, Any]:
    return {
        "resource_id": found.resource_id,
        "kind": found.kind.value,
        "zone_id": found.zone_id,
        "aggregator_id": found.aggregator_id,
        "pillar": found.pillar,
        "tariff_id": found.tariff_id,
        "reliability_fraction": found.reliability_fraction,
        "worth_cny": found.worth_cny,
        "own_cost_cny": found.own_cost_cny,
        "net_cny": found.net_cny,
        "missed_cny": found.missed_cny,
        "missed_is_exact": found.missed_is_exact,
        "time_zone": str(zone),
        "intervals": [_reason_facts(reason, zone) for reason in found.reasons],
    }


def _reason_facts(reason: Reason, zone: tzinfo) -> dict[str, Any]:
    elsewhere = reason.elsewhere
    return {
        "interval_start": reason.start.astimezone(zone).isoformat(),
        "interval_end": reason.end.astimezone(zone).isoformat(),
        "tariff_per_kwh": reason.tariff_per_kwh,
        "terms": [
            {
                "requirement": term.requirement.value,
                "event_id": term.event_id,
                "scope_kind": term.scope_kind.value,
                "scope_id": term.scope_id,
                "price_per_kwh": term.price_per_kwh,
                "adds_per_kwh": term.adds_per_kwh,
            }
            for term in reason.terms
        ],
        "effective_per_kwh": reason.effective_per_kwh,
        "baseline_kw": reason.baseline_kw,
        "power_kw": reason.power_kw,
        "worth_cny": reason.worth_cny,
        "own_cost_cny": reason.own_cost_cny,
        "can_move": reason.can_move,
        "next_best_start": None if elsewhere is None else elsewhere.start.astimezone(zone).isoformat(),
        "next_best_per_kwh": None if elsewhere is None else elsewhere.effective_per_kwh,
        "taken_back_per_kwh": reason.taken_back_per_kwh,
        "zh": reason.zh,
        "en": reason.en,
    }
