"""One planted violation per limit and kind: the checker must name exactly that limit of exactly that resource."""

from dataclasses import replace

import numpy as np
import pytest

from models.dispatch.check import check_plan
from models.events import ScopeKind
from models.intervals import FloatArray
from models.plan import Admission, PlanSource, Requirement, RequirementAmount
from tests.unit.models import planted
from tests.unit.models.planted import cut, dips, row

PROBLEM = planted.problem()


def test_the_good_schedule_passes_and_costs_what_it_costs_by_hand() -> None:
    report = check_plan(PROBLEM, planted.plan(PROBLEM), bound=False, baseline=False)
    assert [str(item) for item in report.violations] == []
    assert report.objective_cny == pytest.approx(planted.good_cost(), rel=1e-9)


PLANTS: list[tuple[str, str, FloatArray]] = [
    # storage
    ("battery", "charge_limit_kw", row({3: 10.5, 15: -8})),
    ("battery", "discharge_limit_kw", row({3: 10, 15: -8.5})),
    ("battery", "energy_max_kwh", row(dict.fromkeys(range(4), 10))),
    ("battery", "energy_min_kwh", row({0: -8, 1: -8, 2: -8, 5: 10, 6: 10})),
    ("battery", "energy_end_min_kwh", row({20: -8, 21: -8, 22: -3})),
    ("hydro", "charge_min_kw", row({4: 3})),
    ("hydro", "discharge_min_kw", row({16: -2})),
    # charging
    ("car", "plugged_in", row({**dict.fromkeys(range(2, 6), 16 / 0.9 / 4), 8: 1})),
    ("car", "charge_limit_kw", row({2: 8, 3: 16 / 0.9 - 8 - 5, 4: 5})),
    ("car", "discharge_limit_kw", row({2: -1, **dict.fromkeys(range(3, 6), 17 / 0.9 / 3)})),
    ("car", "energy_needed_kwh", row({2: 4, 3: 4})),
    ("part", "charge_limit_kw", row({2: 4, 3: 6})),
    ("late", "energy_needed_kwh", row({22: 1, 23: 1})),
    ("v2g", "battery_capacity_kwh", row({1: 10, 2: 10, 3: 10, 4: -8, 5: -7.3})),
    ("v2g", "battery_empty", row({1: -10, 2: -10, **dict.fromkeys(range(3, 7), (30 + 20 / 0.9 - 20) / 0.9 / 4)})),
    ("v2g", "discharge_limit_kw", row({1: -10.5, **dict.fromkeys(range(3, 6), (10 + 10.5 / 0.9) / 0.9 / 3)})),
    ("v2g", "energy_needed_kwh", row({1: 5, 2: 5})),
    ("v2g", "plugged_in", row({**dict.fromkeys(range(1, 3), 10 / 0.9 / 2), 12: -1})),
    # curtailable
    ("cut", "curtail_share", cut({10: 35}, 0.5, 2)),
    ("cut", "rebound_share", cut({10: 5}, 0.5, 2) + row({11: 1})),
    ("cut", "energy_limit_kwh", cut({10: 25, 11: 25}, 0.5, 2)),
    ("cut", "notice_h", cut({1: 5}, 0.5, 2)),
    ("hours", "hours_limit_h", cut({10: 20, 11: 20})),
    ("hours", "baseline_profile", cut({10: -1})),
    ("calls", "calls_per_day", cut({5: 5, 11: 5, 17: 5})),
    ("calls", "rest_h", cut({8: 5, 11: 5})),
    # interruptible
    ("block", "block_kw", cut(dict.fromkeys((14, 15), 40), 0.25) + row({18: -20})),
    ("block", "shortest_h", cut({14: 40}, 0.25)),
    ("block", "longest_h", cut(dict.fromkeys(range(14, 18), 40), 0.25)),
    ("block", "calls_per_day", cut(dict.fromkeys((4, 5, 10, 11, 16, 17), 40), 0.25)),
    ("block", "rest_h", cut(dict.fromkeys((10, 11, 14, 15), 40), 0.25)),
    ("block", "notice_h", cut(dict.fromkeys((1, 2), 40), 0.25)),
    ("block", "rebound_share", cut(dict.fromkeys((14, 15), 40), 0.25) - row({16: 10})),
    # shiftable
    ("shift", "window", row({**dict.fromkeys(range(4, 12), 5), 5: 4, 13: 1})),
    ("shift", "power_max_kw", row({**dict.fromkeys(range(4, 12), 5), 4: 11, 5: 2, 6: 2})),
    ("shift", "power_min_kw", row({**dict.fromkeys(range(4, 12), 5), 4: 1, 5: 9})),
    ("shift", "energy_kwh", row({**dict.fromkeys(range(4, 12), 5), 5: 6})),
    ("run", "run_profile", row({5: 10, 6: 6})),
    ("run", "run_profile", row({5: 10, 7: 5})),
    ("run", "run_profile", row({11: 10, 12: 5})),
    ("run", "run_profile", row()),
    # thermal
    ("cool", "increase_limit_kw", 50 * dips() + row({1: 11})),
    ("cool", "decrease_limit_kw", 50 * dips() + row({0: 10, 2: -21, 4: 10})),
    ("cool", "store_low_kwh", 50 * dips() + row({2: -16, 3: 10, 4: 5})),
    ("cool", "store_high_kwh", 50 * dips() + row({2: 10, 3: 5})),
    ("cool", "store_end_min_kwh", 50 * dips() + row({2: -5})),
    ("cool", "power_kw", 50 * dips() + row({20: -1})),
    # generator
    ("engine", "power_max_kw", -row({8: 4, 9: 7, 10: 10, 11: 11, 12: 8, 13: 5, 14: 4})),
    ("engine", "power_min_kw", -row({12: 4, 13: 3, 14: 4})),
    ("engine", "ramp_kw_per_h", -row({12: 4, 13: 8, 14: 5, 15: 4})),
    ("engine", "ramp_kw_per_h", -row({11: 4, 12: 7, 13: 8, 14: 4})),
    ("engine", "start_ramp", -row({12: 6, 13: 4})),
    ("engine", "stop_ramp", -row({12: 4, 13: 7})),
    ("engine", "minimum_up_h", -row({12: 4})),
    ("engine", "minimum_down_h", -row({8: 4, 9: 4, 12: 4, 13: 4})),
    ("engine", "power_kw", row({12: 1})),
    # photovoltaics
    ("panel", "available_profile", -20 * dips() - row({9: 1})),
    ("panel", "power_kw", -20 * dips() + row({20: 1})),
]


@pytest.mark.parametrize(("resource_id", "limit", "power"), PLANTS, ids=[f"{who}-{limit}" for who, limit, _ in PLANTS])
def test_a_planted_violation_is_named(resource_id: str, limit: str, power: FloatArray) -> None:
    plan = planted.plan(PROBLEM, {**planted.good(), resource_id: power})
    report = check_plan(PROBLEM, plan, bound=False, baseline=False)
    about = {item.limit for item in report.violations if item.subject == resource_id}
    assert about == {limit}
    others = {item.subject for item in report.violations if item.kind not in ("requirement", "plan")}
    assert others == {resource_id}


@pytest.mark.parametrize(("resource_id", "limit", "power"), PLANTS[:5])
def test_a_violation_in_the_baseline_is_named_as_the_baselines(resource_id: str, limit: str, power: FloatArray) -> None:
    good = planted.plan(PROBLEM)
    table = good.baseline_kw.copy()
    table[good.row_of[resource_id]] = power
    report = check_plan(PROBLEM, replace(good, baseline_kw=table), bound=False)
    assert limit in {
        item.limit for item in report.violations if item.subject == resource_id and item.table == "baseline"
    }


def test_a_baseline_that_is_not_the_cheapest_is_named() -> None:
    good = planted.plan(PROBLEM)
    table = good.baseline_kw.copy()
    table[good.row_of["battery"]] = row({3: 5})
    table[good.row_of["hours"]] = row(base=99.0)
    report = check_plan(PROBLEM, replace(good, baseline_kw=table), bound=False)
    named = {(item.subject, item.limit) for item in report.violations if item.table == "baseline"}
    assert ("battery", "baseline_cost") in named
    assert ("hours", "baseline_profile") in named


def test_a_given_baseline_must_be_carried_unchanged() -> None:
    good = planted.plan(PROBLEM)
    given = good.baseline_kw.copy()
    assert check_plan(replace(PROBLEM, baseline_kw=given), good, bound=False).ok
    given[2, 7] += 1e-9
    report = check_plan(replace(PROBLEM, baseline_kw=given), good, bound=False)
    assert {item.limit for item in report.violations} == {"baseline_given"}


def amount(requirement: Requirement, kw: float, scope: ScopeKind = ScopeKind.CITY, name: str = "") -> RequirementAmount:
    return RequirementAmount(requirement, scope, name, planted.at(10), kw, "e")


SHORT = {**planted.good(), "cut": cut({})}
SHORT_AMOUNTS = (
    amount(Requirement.EVENT_TARGET, 5.0),
    amount(Requirement.COMMITMENT_LOW, 4.5, ScopeKind.AGGREGATOR, "a"),
)


def test_a_shortfall_that_is_listed_is_no_violation() -> None:
    cost = planted.good_cost() - 1.5 * 5 + 0.6 * (5 - 2.5) + 50 * 5 + 20 * 4.5
    plan = planted.plan(PROBLEM, SHORT, unmet=SHORT_AMOUNTS, objective_cny=cost)
    assert [str(item) for item in check_plan(PROBLEM, plan, bound=False, baseline=False).violations] == []


@pytest.mark.parametrize("said", [None, 4.0, 6.0], ids=["unlisted", "under-listed", "over-listed"])
def test_a_shortfall_listed_wrongly_is_named(said: float | None) -> None:
    listed = SHORT_AMOUNTS[1:] if said is None else (replace(SHORT_AMOUNTS[0], amount=said), SHORT_AMOUNTS[1])
    report = check_plan(PROBLEM, planted.plan(PROBLEM, SHORT, unmet=listed), bound=False, baseline=False)
    named = [item for item in report.violations if item.kind == "requirement"]
    assert [(item.subject, item.limit, item.interval_start) for item in named] == [
        ("e", "event_target", planted.at(10))
    ]
    assert named[0].allowed == pytest.approx(5.0)


def test_a_requirement_that_does_not_exist_may_not_be_listed() -> None:
    ghost = RequirementAmount(Requirement.REBOUND, ScopeKind.CITY, "", planted.at(12), 3.0, "e")
    report = check_plan(PROBLEM, planted.plan(PROBLEM, unmet=(ghost,)), bound=False, baseline=False)
    assert [(item.limit, item.got) for item in report.violations] == [("rebound", 3.0)]


def test_an_overloaded_zone_and_too_much_delivery_are_named() -> None:
    tight = replace(PROBLEM, zone_limit_kw=np.full((1, planted.T), 1100.0))
    report = check_plan(tight, planted.plan(tight), bound=False, baseline=False)
    assert {item.limit for item in report.violations if item.kind == "requirement"} == {"zone_limit"}
    much = {**planted.good(), "calls": cut({10: 5})}
    report = check_plan(PROBLEM, planted.plan(PROBLEM, much), bound=False, baseline=False)
    named = {item.limit for item in report.violations if item.kind == "requirement"}
    assert named == {"event_cap", "commitment_high"}


def test_a_wrong_objective_energy_or_penalty_is_named() -> None:
    plan = planted.plan(PROBLEM, objective_cny=planted.good_cost() + 0.01)
    report = check_plan(PROBLEM, plan, bound=False, baseline=False)
    assert [item.limit for item in report.violations] == ["objective_cny"]
    energy = planted.energies(planted.good())
    energy["battery"] = energy["battery"] + row({4: 0.01})
    energy["panel"] = row()
    report = check_plan(PROBLEM, planted.plan(PROBLEM, energy=energy), bound=False, baseline=False)
    assert {(item.subject, item.limit) for item in report.violations} == {
        ("battery", "energy_column"), ("panel", "energy_column"),
    }  # fmt: skip
    plan = planted.plan(PROBLEM, penalties={**PROBLEM.penalties.as_dict(), "shortfall_per_kwh": 1.0})
    report = check_plan(PROBLEM, plan, bound=False, baseline=False)
    assert [item.limit for item in report.violations] == ["penalties.shortfall_per_kwh"]


def test_an_admission_that_nothing_calls_for_is_named() -> None:
    plan = planted.plan(PROBLEM, admissions=(Admission("battery", "energy_min_kwh", 2.0, 1.0, "so"),))
    report = check_plan(PROBLEM, plan, bound=False, baseline=False)
    assert [(item.subject, item.kind, item.limit) for item in report.violations] == [
        ("battery", "admission", "energy_min_kwh")
    ]


def test_a_bound_above_the_objective_is_named() -> None:
    plan = planted.plan(PROBLEM, lower_bound_cny=planted.good_cost() + 1)
    report = check_plan(PROBLEM, plan, baseline=False)
    assert [item.limit for item in report.violations] == ["lower_bound_cny"]


def test_a_fast_plans_bound_must_be_the_recomputed_one() -> None:
    honest = planted.plan(PROBLEM)
    bound = check_plan(PROBLEM, honest, baseline=False).lower_bound_cny
    assert bound is not None
    assert bound < planted.good_cost()
    fast = PlanSource.FAST
    assert check_plan(PROBLEM, replace(honest, source=fast, lower_bound_cny=bound), baseline=False).ok
    report = check_plan(PROBLEM, replace(honest, source=fast, lower_bound_cny=bound + 0.1), baseline=False)
    assert [item.limit for item in report.violations] == ["lower_bound_cny"]


def test_a_plan_of_other_resources_or_with_holes_is_refused_by_name() -> None:
    good = planted.plan(PROBLEM)
    swapped = replace(good, resource_ids=good.resource_ids[::-1])
    assert [item.limit for item in check_plan(PROBLEM, swapped).violations] == ["resource_ids"]
    holes = good.power_kw.copy()
    holes[0, 0] = np.nan
    assert [item.limit for item in check_plan(PROBLEM, replace(good, power_kw=holes)).violations] == [
        "power_kw must be finite"
    ]
