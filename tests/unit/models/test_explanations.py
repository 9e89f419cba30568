"""Why a resource does what it does: against days worked by hand, and against what Lagrange promises."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from models.dispatch.check import check_plan
from models.dispatch.explain import (
    Explanation,
    explain_resource,
    load_price_per_mwh,
    requirement_prices,
    requirement_sums,
    schedule_in,
)
from models.dispatch.explain.words import span
from models.dispatch.problem import DispatchProblem, Penalties, RealTimeTerms
from models.dispatch.reference.solve import ReferenceSolver
from models.errors import InputError
from models.events import Commitment, Direction, Event, ScopeKind
from models.intervals import IntervalGrid
from models.plan import DispatchPlan, Requirement, RequirementAmount
from models.plan_stream import plan_blocks
from models.resources import CurtailableLoad, ResourceKind, Storage
from tests.fleets import random_problem
from tests.hand import COMMON, MIDNIGHT, at, city, solve

SHANGHAI = ZoneInfo("Asia/Shanghai")
CONTINUOUS = (ResourceKind.STORAGE, ResourceKind.EV_SESSION, ResourceKind.THERMAL_LOAD, ResourceKind.PV)


def explained(problem: DispatchProblem, plan: DispatchPlan, resource_id: str) -> Explanation:
    return explain_resource(problem, resource_id, *schedule_in(plan, resource_id), plan.prices, SHANGHAI)


def curtailable(**more: Any) -> CurtailableLoad:
    fields: dict[str, Any] = {
        "baseline_profile": "p",
        "baseline_scale_kw": 100.0,
        "curtail_share": 0.5,
        "cost_per_kwh": 2.0,
        "energy_limit_kwh": 1000.0,
        "hours_limit_h": 24.0,
        **COMMON,
        **more,
    }
    return CurtailableLoad(**fields)


def test_an_unreliable_load_is_paid_less_and_says_which_event_pays() -> None:
    problem = city([curtailable(reliability_fraction=0.8)], [0.6] * 4, target_kw=[0, 0, 10, 0], event_id="dr-1")
    found = explained(problem, solve(problem), "x")
    here = found.reasons[2]
    # ρ (b - p) = 10, so 12.5 kW; the last kW costs 2.0 and saves 0.6, the event pays the rest through ρ
    assert here.change_kw == pytest.approx(-12.5)
    (term,) = here.terms
    assert (term.requirement, term.event_id) == (Requirement.EVENT_TARGET, "dr-1")
    assert term.price_per_kwh == pytest.approx(1.75)
    assert term.adds_per_kwh == pytest.approx(1.4)
    assert here.effective_per_kwh == pytest.approx(2.0)
    assert (here.worth_cny, here.own_cost_cny) == pytest.approx((25.0, 25.0))
    assert found.net_cny == pytest.approx(0.0, abs=1e-6)
    assert found.missed_cny == pytest.approx(0.0, abs=1e-6)
    assert "event dr-1 in the city pays 1.400 CNY/kWh" in here.en
    assert "gives 12.50 kW" in here.en
    assert here.en.startswith("10:00-11:00:")  # MIDNIGHT is 08:00 in Shanghai
    assert "事件 dr-1(全市) 支付 1.400 元/千瓦时" in here.zh
    assert here.elsewhere is not None
    assert here.elsewhere.effective_per_kwh == pytest.approx(0.6)


def test_a_load_that_is_too_dear_stays_and_says_so() -> None:
    rows = [curtailable(), curtailable(resource_id="y", cost_per_kwh=3.0)]
    problem = city(rows, [0.6] * 4, target_kw=[0, 0, 10, 0])
    plan = solve(problem)
    found = explained(problem, plan, "y")
    assert found.reasons[2].change_kw == pytest.approx(0.0, abs=1e-6)
    assert found.reasons[2].terms
    assert "although event e in the city has a price" in found.reasons[2].en
    assert "保持基线" in found.reasons[2].zh
    assert "no requirement has a price" in found.reasons[0].en
    assert found.worth_cny == pytest.approx(0.0, abs=1e-5)


def test_a_battery_tells_where_it_takes_back_what_it_gives() -> None:
    battery = Storage(
        charge_limit_kw=10, discharge_limit_kw=10, energy_min_kwh=0, energy_max_kwh=10, energy_start_kwh=0,
        energy_end_min_kwh=0, charge_efficiency=1, discharge_efficiency=1, wear_cost_per_kwh=0.5, **COMMON,
    )  # fmt: skip
    problem = city([battery], [0.5, 0.6, 0.7, 0.5], load_kw=100, limit_kw=np.inf)
    limit = np.array([[np.inf, np.inf, 95.0, np.inf]])
    problem = replace(problem, zone_limit_kw=limit)
    found = explained(problem, solve(problem), "x")
    give = found.reasons[2]
    assert give.change_kw == pytest.approx(-5.0)
    assert give.terms[0].requirement is Requirement.ZONE_LIMIT
    assert give.effective_per_kwh == pytest.approx(1.5)  # bought at 0.5, wears 0.5 each way
    assert give.taken_back_per_kwh == pytest.approx(0.5)
    assert give.elsewhere is not None
    assert give.elsewhere.effective_per_kwh == pytest.approx(0.6)
    assert found.worth_cny == pytest.approx(5.0)
    assert found.own_cost_cny == pytest.approx(5.0)


@pytest.mark.parametrize("seed", range(6))
def test_every_resource_does_what_is_best_for_it_at_the_plans_prices(seed: int) -> None:
    problem = random_problem(seed, resources=10, intervals=12, events=3, commitments=True)
    plan = ReferenceSolver().solve(problem, deadline_s=60, gap=1e-7)
    report = check_plan(problem, plan)
    assert report.ok
    assert report.lower_bound_cny is not None
    scale = 1e-6 * max(1.0, abs(plan.objective_cny))
    missed = 0.0
    for name in plan.resource_ids:
        found = explained(problem, plan, name)
        assert found.missed_cny is not None
        assert found.missed_cny >= -scale
        hydro = found.kind is ResourceKind.STORAGE and any(
            row.is_pumped_hydro for row in problem.fleet.rows(found.kind) if row.resource_id == name
        )
        if found.kind in CONTINUOUS and not hydro:
            assert found.missed_cny <= scale, name
            assert found.net_cny >= -scale, name
        missed += found.missed_cny
        by_interval = sum(reason.own_cost_cny for reason in found.reasons)
        if found.kind not in (ResourceKind.EV_SESSION, ResourceKind.GENERATOR) and not hydro:
            assert by_interval == pytest.approx(found.own_cost_cny, abs=scale)
    # what they miss together is a part of the gap between the schedule and the bound at these prices
    assert missed <= plan.objective_cny - report.lower_bound_cny + 10 * scale


def test_a_replan_counts_what_switching_and_straying_cost() -> None:
    terms = RealTimeTerms(
        now_kw=np.array([100.0]), plan_kw=np.full((1, 4), 100.0), stray_applies=np.array([1.0, 1.0, 0.0, 1.0])
    )
    penalties = Penalties(switch_cost_per_kw=0.3, stray_cost_per_kwh=0.1)
    problem = city([curtailable(cost_per_kwh=1.0)], [0.6] * 4, real_time=terms, penalties=penalties)
    power, flat = np.array([90.0, 90.0, 90.0, 100.0]), np.full(4, 100.0)
    found = explain_resource(problem, "x", power, flat, (), SHANGHAI)
    assert [reason.own_cost_cny for reason in found.reasons] == pytest.approx([10 + 3 + 1, 10 + 1, 10, 0])
    assert found.own_cost_cny == pytest.approx(35.0)
    assert found.worth_cny == pytest.approx(18.0)
    assert found.missed_cny is None


def test_filling_pays_those_who_take_more_and_caps_charge_them() -> None:
    event = Event(event_id="v", direction=Direction.FILL, start=at(0), end=at(4), target_kw=1.0)
    accepted = (Commitment(event_id="v", aggregator_id="a", interval_start=at(0), accepted_kw=1.0),)
    problem = city([curtailable(reliability_fraction=0.5)], [0.6] * 4, events=(event,), commitments=accepted)

    def price(requirement: Requirement, kind: ScopeKind, scope: str) -> RequirementAmount:
        return RequirementAmount(requirement, kind, scope, at(0), 0.2, "v")

    prices = (
        price(Requirement.EVENT_TARGET, ScopeKind.CITY, ""),
        price(Requirement.EVENT_CAP, ScopeKind.CITY, ""),
        price(Requirement.COMMITMENT_LOW, ScopeKind.AGGREGATOR, "a"),
        price(Requirement.COMMITMENT_HIGH, ScopeKind.AGGREGATOR, "a"),
        price(Requirement.COMMITMENT_LOW, ScopeKind.AGGREGATOR, "b"),
    )
    flat = np.full(4, 100.0)
    first = explain_resource(problem, "x", flat, flat, prices, SHANGHAI).reasons[0]
    assert {term.requirement: term.adds_per_kwh for term in first.terms} == {
        Requirement.EVENT_TARGET: -0.1,
        Requirement.EVENT_CAP: 0.1,
        Requirement.COMMITMENT_LOW: -0.1,
        Requirement.COMMITMENT_HIGH: 0.1,
    }


def test_times_in_sentences_know_midnight_and_the_repeated_hour() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    autumn = datetime(2025, 10, 26, 0, 30, tzinfo=UTC)
    assert span(autumn, autumn + timedelta(minutes=15), berlin) == "02:30-02:45 CEST"
    assert span(autumn + timedelta(hours=1), autumn + timedelta(minutes=75), berlin) == "02:30-02:45 CET"
    assert span(at(15.75), at(16), SHANGHAI) == "23:45-24:00"


def test_a_block_of_a_plan_is_as_good_as_the_plan_and_no_object_per_device_is_made() -> None:
    problem = random_problem(3, resources=9, intervals=8)
    plan = ReferenceSolver().solve(problem, deadline_s=60, gap=1e-6)
    fresh = replace(problem)
    name = plan.resource_ids[5]
    block = next(block for block in plan_blocks(plan, 3) if name in block.resource_ids)
    found = explain_resource(fresh, name, *schedule_in(block, name), plan.prices, SHANGHAI)
    assert found == explained(problem, plan, name)
    assert "attributes" not in vars(fresh)


def test_what_is_not_there_is_an_input_error() -> None:
    problem = city([curtailable()], [0.6] * 4)
    flat = np.full(4, 100.0)
    with pytest.raises(InputError, match="must be a resource of the portfolio"):
        explain_resource(problem, "nobody", flat, flat, (), SHANGHAI)
    with pytest.raises(InputError, match="each of the 4 intervals"):
        explain_resource(problem, "x", flat[:3], flat, (), SHANGHAI)
    block = next(iter(plan_blocks(solve(problem))))
    with pytest.raises(InputError):
        schedule_in(block, "nobody")


def test_one_more_megawatt_costs_what_its_price_says() -> None:
    def plan_of(target_kw: float) -> tuple[DispatchProblem, DispatchPlan]:
        rows = [curtailable(), curtailable(resource_id="y", cost_per_kwh=3.0)]
        problem = city(rows, [0.6] * 4, target_kw=[0, target_kw, target_kw, 0])
        return problem, solve(problem)

    problem, plan = plan_of(20.0)
    rows = requirement_prices(plan.prices, problem.grid, plan.penalties)
    assert [row.price_per_mwh for row in rows] == pytest.approx([1400.0, 1400.0])
    (total,) = requirement_sums(rows)
    assert (total.priced_h, total.one_mw_cny) == pytest.approx((2.0, 2800.0))
    dearer = plan_of(21.0)[1]
    assert dearer.objective_cny - plan.objective_cny == pytest.approx(total.one_mw_cny / 1000)


def test_a_requirement_that_is_short_is_priced_at_its_penalty() -> None:
    problem = city([curtailable()], [0.6] * 4, target_kw=[0, 0, 500, 0])
    plan = solve(problem)
    rows = requirement_prices(plan.prices, problem.grid, plan.penalties)
    assert rows[0].at_penalty
    assert rows[0].price_per_kwh == pytest.approx(50.0)


def test_prices_come_highest_first_and_know_their_intervals_length() -> None:
    grid = IntervalGrid((MIDNIGHT, at(0.25), at(1.25)))

    def price(start_h: float, amount: float, zone: str) -> RequirementAmount:
        return RequirementAmount(Requirement.ZONE_LIMIT, ScopeKind.ZONE, zone, at(start_h), amount)

    given = (price(0, 0.1, "A"), price(0.25, 0.4, "A"), price(0, 0.4, "B"), price(0, 0.0, "C"), price(9, 1.0, "A"))
    rebound = RequirementAmount(Requirement.REBOUND, ScopeKind.CITY, "", at(0.25), 0.05, "e")
    rows = requirement_prices((*given, rebound), grid, {"overload_per_kwh": 0.4})
    assert [(row.scope_id, row.price_per_mwh, row.one_mw_cny) for row in rows] == [
        ("B", 400.0, 100.0),
        ("A", 400.0, 400.0),
        ("A", 100.0, 25.0),
        ("", 50.0, 50.0),
    ]
    assert [row.at_penalty for row in rows] == [True, True, False, False]
    assert [(row.scope_id, row.one_mw_cny) for row in requirement_sums(rows)] == [
        ("A", 425.0),
        ("B", 100.0),
        ("", 50.0),
    ]
    loads = load_price_per_mwh((*given, rebound), grid, ("A", "B"))
    assert loads.tolist() == [[100.0, 450.0], [400.0, 50.0]]
    assert rows[0].end - rows[0].start == timedelta(minutes=15)
