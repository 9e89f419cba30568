"""Benchmark fleets: any size, every kind, valid by the rules of the door, the same for the same seed, and hard."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from models.dispatch.admissions import admit
from models.dispatch.fast.explicit.solve import solve_explicit
from models.dispatch.problem import DispatchProblem
from models.events import ScopeKind
from models.fleet import Fleet
from models.plan import DispatchPlan, PlanSource
from models.plan_stream import PlanBlock, plan_blocks
from models.resources import RESOURCE_TYPES, ResourceKind
from vpp.bench.fleets import integer_share, undispatched
from vpp.bench.live import changed_problem
from vpp.bench.problem import SCOPES, Cycle, bench_city, bench_problem


@pytest.fixture(scope="module")
def day() -> DispatchProblem:
    return bench_problem(2_000)


@pytest.fixture(scope="module")
def live() -> DispatchProblem:
    return bench_problem(2_000, cycle=Cycle.REAL_TIME)


def _rows(fleet: Fleet) -> Iterator[object]:
    for kind, table in fleet.tables.items():
        for row in table.rows():
            yield RESOURCE_TYPES[kind].model_validate(row.model_dump())


@pytest.mark.parametrize("resources", [12, 60, 999, 3_001])
def test_a_fleet_has_as_many_resources_as_were_asked_for(resources: int) -> None:
    assert len(bench_problem(resources, zones=4).fleet.resource_ids) == resources


def test_every_kind_occurs_and_every_row_passes_the_door(day: DispatchProblem, live: DispatchProblem) -> None:
    assert set(day.fleet.tables) == set(ResourceKind)
    for problem in (day, live):
        assert sum(1 for _ in _rows(problem.fleet)) == len(problem.fleet)


def test_the_same_seed_gives_the_same_problem_and_another_seed_another(day: DispatchProblem) -> None:
    again, other = bench_problem(2_000), bench_problem(2_000, seed=2)
    for kind, table in day.fleet.tables.items():
        for name, column in table.columns.items():
            np.testing.assert_array_equal(column, again.fleet.tables[kind].columns[name])
    np.testing.assert_array_equal(day.zone_limit_kw, again.zone_limit_kw)
    assert day.events == again.events
    assert not np.array_equal(day.zone_load_kw, other.zone_load_kw)


def test_no_two_devices_are_alike(day: DispatchProblem) -> None:
    sizes = {
        ResourceKind.STORAGE: ("charge_limit_kw", "energy_max_kwh", "energy_start_kwh", "wear_cost_per_kwh"),
        ResourceKind.EV_SESSION: ("charge_limit_kw", "charge_efficiency", "energy_needed_kwh"),
        ResourceKind.CURTAILABLE_LOAD: ("baseline_scale_kw", "curtail_share", "cost_per_kwh", "energy_limit_kwh"),
        ResourceKind.INTERRUPTIBLE_LOAD: ("block_kw", "longest_h", "cost_per_kwh"),
        ResourceKind.SHIFTABLE_LOAD: ("energy_kwh", "power_max_kw", "cost_per_kwh"),
        ResourceKind.THERMAL_LOAD: ("baseline_scale_kw", "decay_per_hour", "discomfort_cost_per_kwh"),
        ResourceKind.GENERATOR: ("power_max_kw", "cost_per_kwh"),
        ResourceKind.PV: ("available_scale_kw",),
    }
    for kind, names in sizes.items():
        table = day.fleet.tables[kind].columns
        for name in (*names, "reliability_fraction"):
            column = table[name]
            rows = len(column) if name != "reliability_fraction" else len(set(table["resource_id"]))
            assert len(np.unique(column)) == rows, (kind, name)


def test_a_twentieth_or_more_of_the_devices_are_integer(day: DispatchProblem) -> None:
    assert integer_share(day.fleet) >= 0.05
    whole = {
        row.resource_id
        for row in day.fleet.rows()
        if row.kind in (ResourceKind.INTERRUPTIBLE_LOAD, ResourceKind.GENERATOR)
        or getattr(row, "is_pumped_hydro", False)
        or getattr(row, "is_integer", False)
        or getattr(row, "run_profile", None) is not None
    }
    assert integer_share(day.fleet) == pytest.approx(len(whole) / 2_000)
    assert sum(row.kind is ResourceKind.STORAGE and row.is_pumped_hydro for row in day.fleet.rows()) == 3


@pytest.mark.parametrize("cycle", Cycle)
def test_nothing_is_out_of_reach_at_the_start(cycle: Cycle) -> None:
    _, admissions = admit(bench_problem(3_000, seed=4, cycle=cycle))
    assert admissions == ()


def test_the_city_grows_with_the_fleet(day: DispatchProblem) -> None:
    small, large = bench_problem(500), bench_problem(5_000)
    for problem, count in ((small, 500), (large, 5_000)):
        peak = (problem.zone_load_kw.sum(axis=0)).max()
        assert 15 * count < peak < 22.6 * count, "the load without the portfolio, of 22.6 kW a device"
    share = [sum(event.target_kw for event in problem.events) for problem in (small, large)]
    assert share[1] / share[0] == pytest.approx(10, rel=0.3)


def test_only_the_kinds_asked_for(day: DispatchProblem) -> None:
    problem = bench_problem(400, kinds=[ResourceKind.PV, ResourceKind.STORAGE], zones=2)
    assert set(problem.fleet.tables) == {ResourceKind.PV, ResourceKind.STORAGE}
    assert len(problem.fleet.resource_ids) == 400


def test_both_undispatched_schedules_draw_the_same_energy_but_not_at_once() -> None:
    problem = bench_problem(2_000, kinds=[ResourceKind.EV_SESSION], zones=3)
    power = undispatched(bench_city(zones=3), problem.fleet)
    hours = problem.grid.hours
    # what is charged after the horizon differs, so the even schedule may hold less inside it
    assert power.cheapest_kw.max() > 1.5 * power.even_kw.max()
    assert power.cheapest_kw.sum(axis=0) @ hours == pytest.approx(power.even_kw.sum(axis=0) @ hours, rel=0.4)


def test_scopes_add_every_kind_of_scope_and_commitments() -> None:
    problem = bench_problem(1_000, tightness=SCOPES)
    kinds = {event.scope_kind for event in problem.events}
    assert kinds == {ScopeKind.CITY, ScopeKind.AREA, ScopeKind.ZONE, ScopeKind.AGGREGATOR, ScopeKind.PILLAR}
    assert {row.aggregator_id for row in problem.commitments} == {"industry-a", "buildings-b"}
    assert all(event.target_kw > 0 for event in problem.events)


def test_limits_bind_and_can_be_kept() -> None:
    problem = bench_problem(300, zones=5)
    found = solve_explicit(problem, deadline_s=100, gap=1e-3, relaxed=True)
    assert found.unmet == ()
    priced: dict[str, int] = {}
    for row in found.price_rows:
        if row.amount > 1e-6:
            priced[row.requirement.value] = priced.get(row.requirement.value, 0) + 1
    assert priced["zone_limit"] >= 0.1 * 5 * 96
    assert priced["event_target"] > 0
    assert priced["event_cap"] > 0
    assert priced["rebound"] > 0


# ---- the next cycle


def _last(problem: DispatchProblem) -> DispatchPlan:
    dice = np.random.default_rng(1)
    shape = (len(problem.fleet.resource_ids), len(problem.grid))
    power, baseline = dice.normal(size=shape), dice.normal(size=shape)
    energy = np.full(shape, np.nan)
    return DispatchPlan(
        problem.grid, problem.fleet.resource_ids, power, energy, baseline, energy,
        "optimal", PlanSource.FAST, 1.0, 1.0, 1.0, 1, 0.1, {},
    )  # fmt: skip


class _Stream:
    def __init__(self, plan: DispatchPlan) -> None:
        self.plan, self.resource_ids = plan, plan.resource_ids

    def blocks(self, rows: int = 300) -> Iterator[PlanBlock]:
        return plan_blocks(self.plan, rows)


@pytest.fixture(scope="module")
def last(live: DispatchProblem) -> DispatchPlan:
    return _last(live)


@pytest.fixture(scope="module")
def following(live: DispatchProblem, last: DispatchPlan) -> DispatchProblem:
    return changed_problem(live, _Stream(last), bench_city(cycle=Cycle.REAL_TIME))  # type: ignore[arg-type]


def test_a_hundredth_of_the_devices_changes(live: DispatchProblem, following: DispatchProblem) -> None:
    before, after = frozenset(live.fleet.resource_ids), frozenset(following.fleet.resource_ids)
    assert len(after - before) == len(before - after) == 6
    rows = {row.resource_id: row for row in live.fleet.rows() if row.resource_id in after}
    changed = sum(rows[row.resource_id] != row for row in following.fleet.rows() if row.resource_id in before)
    # second stays of a charger overwrite the first in `rows`: they count as changed here
    twice = len(live.fleet) - len(before)
    assert 1 <= changed - twice <= 25
    assert sum(1 for _ in _rows(following.fleet)) == len(following.fleet)


def test_states_stay_but_for_those_who_changed(live: DispatchProblem, following: DispatchProblem) -> None:
    both = [name for name in live.states if name in following.states]
    same = sum(live.states[name] == following.states[name] for name in both)
    assert 0.98 * len(both) <= same < len(both)
    _, admissions = admit(replace(following, real_time=None))
    assert admissions == ()


def test_the_day_plan_and_its_baseline_go_along(
    live: DispatchProblem, following: DispatchProblem, last: DispatchPlan
) -> None:
    assert following.baseline_kw is not None
    assert following.real_time is not None
    rows = {name: row for row, name in enumerate(following.fleet.resource_ids)}
    for name in ("battery-home-0000001", "hydro-0000002"):
        np.testing.assert_array_equal(following.baseline_kw[rows[name]], last.baseline_kw[last.row_of[name]])
        np.testing.assert_array_equal(following.real_time.plan_kw[rows[name]], last.power_kw[last.row_of[name]])
    new = [row for name, row in rows.items() if name.startswith("new-")]
    assert np.isnan(following.real_time.plan_kw[new]).all()
    for event in following.events:
        assert not following.real_time.stray_applies[following.grid.inside(event.start, event.end)].any()
    assert not np.array_equal(following.zone_load_kw, live.zone_load_kw)
    moved = following.zone_load_kw / live.zone_load_kw
    assert 0.95 <= moved.min() < moved.max() <= 1.05
    assert (following.zone_limit_kw - following.zone_load_kw >= live.zone_limit_kw - live.zone_load_kw - 1e-6).all()
