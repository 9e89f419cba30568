"""The rule that dispatches without a solver: cheapest first, and no device ever outside its limits."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.dispatch.check import check_plan
from models.dispatch.merit_order import first_steps_kw, merit_order, undisturbed_kw
from models.dispatch.problem import DispatchProblem, ResourceState
from models.dispatch.reference.solve import ReferenceSolver
from models.events import Commitment, Direction, Event, ScopeKind
from models.fleet import Fleet
from models.intervals import IntervalGrid
from models.plan import DispatchPlan, PlanSource, Requirement
from models.resources import EvSession, Generator, InterruptibleLoad, Pillar, ResourceBase, Storage, ThermalLoad
from tests.fleets import situation
from tests.strategies import FIRST, resources

START = datetime(2025, 7, 16, 4, tzinfo=UTC)
HOURLY = IntervalGrid.regular(START, timedelta(hours=1), 6)


def faults(problem: DispatchProblem, plan: DispatchPlan) -> list[str]:
    return [str(item) for item in check_plan(problem, plan, bound=False, baseline=False).violations]


# ---- every device stays inside its limits


@pytest.mark.parametrize("seed", range(40))
def test_its_plan_passes_the_checker_in_every_trouble(seed: int) -> None:
    problem = situation(seed)
    plan = merit_order(problem)
    assert faults(problem, plan) == []
    assert plan.source is PlanSource.RULE


@st.composite
def cities(draw: st.DrawFn) -> DispatchProblem:
    """Any resources that can be registered, in one zone, under an order as large as they are."""
    grid = IntervalGrid.regular(FIRST, timedelta(minutes=draw(st.sampled_from([15, 30, 60]))), 24)
    rows: list[ResourceBase] = draw(st.lists(resources(), min_size=1, max_size=6))
    named, states = [], {}
    for k, row in enumerate(rows):
        change: dict[str, Any] = {"resource_id": f"r{k}", "zone_id": "z", "tariff_id": "t"}
        for column in ("baseline_profile", "available_profile"):
            if hasattr(row, column):
                change[column] = "p"
        if getattr(row, "run_profile", None) is not None:
            change["run_profile"] = "run"
        named.append(row.model_copy(update=change))
        share = draw(st.floats(0, 1.2))
        states[f"r{k}"] = draw(
            st.sampled_from(
                [
                    ResourceState(),
                    ResourceState(on=False, hours_in_state_h=share, calls_used=1),
                    ResourceState(
                        energy_kwh=share * getattr(row, "energy_max_kwh", 50.0),
                        delivered_kwh=share * getattr(row, "energy_needed_kwh", 50.0),
                        store_kwh=(2 * share - 1) * getattr(row, "store_low_kwh", 0.0),
                        on=True,
                        hours_in_state_h=2 * share,
                        power_kw=-share * getattr(row, "power_max_kw", 0.0),
                    ),
                ]
            )
        )
    shape = np.array(draw(st.lists(st.floats(0, 1), min_size=24, max_size=24)))
    event = Event(
        event_id="e",
        direction=draw(st.sampled_from(Direction)),
        start=grid.edges[4],
        end=grid.edges[draw(st.integers(5, 12))],
        target_kw=draw(st.floats(0, 3e6)),
    )
    return DispatchProblem(
        grid=grid,
        fleet=Fleet.from_rows(named),
        zones=("z",),
        zone_load_kw=np.zeros((1, 24)),
        zone_limit_kw=np.full((1, 24), draw(st.sampled_from([np.inf, 1e5]))),
        tariffs={"t": np.linspace(0.3, 1.0, 24)},
        profiles={"p": shape},
        run_profiles={"run": np.array([1.0, 0.5])},
        events=(event,),
        states=states,
    )


@settings(max_examples=40, deadline=None)
@given(cities())
def test_whatever_is_registered_stays_inside_its_limits(problem: DispatchProblem) -> None:
    assert faults(problem, merit_order(problem)) == []


@pytest.mark.parametrize("reliability", [0.0, 5e-324, 1e-300, 1e-12])
def test_of_whom_next_to_nothing_comes_nothing_is_bought(reliability: float) -> None:
    problem = city([battery("b", reliability_fraction=reliability), battery("c", wear=5.0)], target_kw=40.0)
    plan = merit_order(problem)  # warnings are errors: nothing may be divided by next to nothing
    assert faults(problem, plan) == []
    assert plan.power_kw[1, problem.grid.inside(problem.events[0].start, problem.events[0].end)].max() < 0


@pytest.mark.parametrize("least_kw", [0.0, 1e-300, 1e-8])
def test_an_engine_whose_minimum_cannot_be_seen_may_idle_until_it_may_stop(least_kw: float) -> None:
    engine = Generator(
        resource_id="g",
        aggregator_id="a",
        zone_id="z",
        meter_id="m-g",
        pillar=Pillar.SOURCE,
        tariff_id="t",
        power_min_kw=least_kw,
        power_max_kw=50.0,
        ramp_kw_per_h=1e3,
        minimum_up_h=20.0,
        minimum_down_h=1.0,
        cost_per_kwh=3.0,
        no_load_cost_per_h=0.0,
        start_cost=5.0,
    )
    problem = city([engine], target_kw=0.0)
    problem = replace(problem, states={"g": ResourceState(on=True, hours_in_state_h=0.4, power_kw=-least_kw)})
    assert faults(problem, merit_order(problem)) == []


def test_what_a_baseline_asks_beyond_reach_is_missed_evenly() -> None:
    problem = city([battery("b", energy=100.0)], target_kw=0.0)
    wanted = np.tile([[-50.0]], (1, 6))
    plan = merit_order(replace(problem, baseline_kw=wanted))
    assert faults(replace(problem, baseline_kw=wanted), plan) == []
    assert plan.power_kw[0].tolist() == pytest.approx([-100.0 / 6] * 6)


def test_the_first_steps_are_those_of_the_plan() -> None:
    problem = situation(7)
    problem = replace(problem, baseline_kw=undisturbed_kw(problem))
    assert (first_steps_kw(problem, 3) == merit_order(problem).power_kw[:, :3]).all()


# ---- cheapest first


def battery(name: str, *, energy: float = 1_000.0, power: float = 50.0, wear: float = 0.1, **more: Any) -> Storage:
    fields: dict[str, Any] = {
        "resource_id": name,
        "aggregator_id": "a",
        "zone_id": "z",
        "meter_id": f"m-{name}",
        "pillar": Pillar.SOURCE,
        "tariff_id": "t",
        "charge_limit_kw": power,
        "discharge_limit_kw": power,
        "energy_min_kwh": 0.0,
        "energy_max_kwh": max(1_000.0, energy),
        "energy_start_kwh": energy,
        "energy_end_min_kwh": 0.0,
        "charge_efficiency": 1.0,
        "discharge_efficiency": 1.0,
        "wear_cost_per_kwh": wear,
    }
    return Storage(**{**fields, **more})


def block(name: str, kw: float, cost: float) -> InterruptibleLoad:
    return InterruptibleLoad(
        resource_id=name,
        aggregator_id="a",
        zone_id="z",
        meter_id=f"m-{name}",
        pillar=Pillar.LOAD,
        tariff_id="t",
        baseline_profile="p",
        baseline_scale_kw=2 * kw,
        cost_per_kwh=cost,
        block_kw=kw,
        shortest_h=1.0,
        longest_h=4.0,
        calls_per_day=1,
    )


def order(target_kw: float, first: int = 0, last: int = 2, **more: Any) -> Event:
    fields = {"event_id": "e", "start": HOURLY.edges[first], "end": HOURLY.edges[last], "target_kw": target_kw}
    return Event(**{**fields, **more})


def city(rows: list[ResourceBase], target_kw: float = 0.0, **more: Any) -> DispatchProblem:
    fields: dict[str, Any] = {
        "grid": HOURLY,
        "fleet": Fleet.from_rows(rows),
        "zones": ("y", "z"),
        "zone_load_kw": np.zeros((2, 6)),
        "zone_limit_kw": np.full((2, 6), np.inf),
        "tariffs": {"t": np.full(6, 0.5)},
        "profiles": {"p": np.ones(6)},
        "events": (order(target_kw),) if target_kw else (),
    }
    problem = DispatchProblem(**{**fields, **more})
    return replace(problem, baseline_kw=undisturbed_kw(problem))


def given_up_kw(problem: DispatchProblem, t: int = 0) -> dict[str, float]:
    plan = merit_order(problem)
    assert faults(problem, plan) == []
    assert problem.baseline_kw is not None
    change = problem.baseline_kw[:, t] - plan.power_kw[:, t]
    return {name: round(float(kw), 6) for name, kw in zip(plan.resource_ids, change, strict=True)}


def test_the_cheapest_moves_first_and_the_marginal_one_in_part() -> None:
    problem = city([battery("dear", wear=0.9), battery("cheap"), battery("middle", wear=0.5)], 70.0)
    assert given_up_kw(problem) == {"cheap": 50.0, "middle": 20.0, "dear": 0.0}


def test_who_comes_only_half_is_bought_twice() -> None:
    problem = city([battery("b", reliability_fraction=0.5), battery("c", wear=0.15)], 40.0)
    # what is delivered of b costs 0.2 a kWh: c comes first
    assert given_up_kw(problem) == {"b": 0.0, "c": 40.0}
    assert given_up_kw(city([battery("b", reliability_fraction=0.5, power=90.0)], 40.0)) == {"b": 80.0}


def test_a_block_that_is_too_large_is_passed_over_for_a_smaller_one() -> None:
    problem = city([block("large", 100.0, 0.6), block("small", 30.0, 0.9), battery("b", wear=2.0)], 40.0)
    assert given_up_kw(problem) == {"large": 0.0, "small": 30.0, "b": 10.0}


def test_a_block_larger_than_the_rest_goes_whole_only_as_far_as_the_cap() -> None:
    assert given_up_kw(city([block("one", 50.0, 0.6)], 46.0)) == {"one": 50.0}
    assert given_up_kw(city([block("one", 50.0, 0.6)], 45.0)) == {"one": 0.0}


def test_what_is_given_is_held_to_the_end_of_the_event() -> None:
    problem = city([battery("b", energy=60.0)], 50.0)
    assert [given_up_kw(problem, t)["b"] for t in range(3)] == [30.0, 30.0, 0.0]


def test_a_car_gives_up_only_what_it_can_make_up_before_it_leaves() -> None:
    car = EvSession(
        **battery("c").model_dump(include={"resource_id", "aggregator_id", "zone_id", "meter_id", "tariff_id"}),
        pillar=Pillar.LOAD,
        session_id="s",
        arrival=START - timedelta(hours=1),
        departure=START + timedelta(hours=3),
        energy_needed_kwh=24.0,
        charge_limit_kw=10.0,
        charge_efficiency=1.0,
    )
    problem = city([car], 50.0)
    plan = merit_order(problem)
    assert faults(problem, plan) == []
    assert plan.power_kw[0].tolist() == [7.0, 7.0, 10.0, 0.0, 0.0, 0.0]


def test_a_building_comes_back_after_the_event() -> None:
    house = ThermalLoad(
        **block("h", 50.0, 0.1).model_dump(
            include={"resource_id", "aggregator_id", "zone_id", "meter_id", "pillar", "tariff_id"}
        ),
        baseline_profile="p",
        baseline_scale_kw=100.0,
        increase_limit_kw=40.0,
        decrease_limit_kw=60.0,
        store_low_kwh=80.0,
        store_high_kwh=50.0,
        store_end_min_kwh=0.0,
        decay_per_hour=0.0,
        discomfort_cost_per_kwh=0.1,
    )
    problem = city([house], 60.0)
    assert [given_up_kw(problem, t)["h"] for t in range(6)] == [40.0, 40.0, -20.0, -20.0, -20.0, -20.0]


# ---- several requirements


def test_two_orders_at_once_are_both_met_and_the_inner_one_counts_in_the_outer() -> None:
    inner = order(40.0, event_id="inner", scope_kind=ScopeKind.ZONE, scope_id="y")
    rows: list[ResourceBase] = [battery("b", zone_id="y", wear=0.9), battery("c")]
    assert given_up_kw(city(rows, events=(order(60.0), inner))) == {"b": 40.0, "c": 20.0}


def test_a_zone_is_filled_to_its_limit_and_the_rest_elsewhere() -> None:
    rows: list[ResourceBase] = [battery("b", energy=0.0), battery("c", energy=0.0, zone_id="y", wear=0.5)]
    limit = np.stack([np.full(6, np.inf), np.full(6, 20.0)])
    problem = city(rows, events=(order(60.0, direction=Direction.FILL),), zone_limit_kw=limit)
    assert given_up_kw(problem) == {"b": -20.0, "c": -40.0}


def test_a_zone_over_its_limit_is_relieved_without_any_event() -> None:
    problem = city([battery("b"), battery("c", zone_id="y")])
    load = np.stack([np.zeros(6), np.full(6, 30.0)])
    problem = replace(problem, zone_load_kw=load, zone_limit_kw=np.full((2, 6), 20.0))
    assert given_up_kw(problem) == {"b": 10.0, "c": 0.0}


def test_an_aggregator_gives_what_it_accepted_and_no_more_than_a_tenth_beyond() -> None:
    rows: list[ResourceBase] = [battery("b"), battery("c", aggregator_id="other", wear=0.9, power=200.0)]
    accepted = tuple(
        Commitment(event_id="e", aggregator_id=name, interval_start=HOURLY.edges[t], accepted_kw=kw)
        for name, kw in (("a", 30.0), ("other", 70.0))
        for t in range(2)
    )
    assert given_up_kw(city(rows, 100.0, commitments=accepted)) == {"b": 33.0, "c": 67.0}


def test_it_misses_no_order_that_the_optimum_meets_with_devices_that_stay() -> None:
    rows = [battery(f"b{k}", energy=100.0 + 40 * k, wear=0.1 * k) for k in range(6)]
    most = sum(min(50.0, row.energy_start_kwh / 2) for row in rows)
    best = ReferenceSolver().solve(city([*rows], most), deadline_s=20, gap=1e-6)
    assert not best.unmet
    assert not merit_order(city([*rows], most)).unmet
    short = merit_order(city([*rows], most + 10.0)).unmet
    assert {row.requirement for row in short} == {Requirement.EVENT_TARGET}
    assert [row.amount for row in short] == pytest.approx([10.0, 10.0])
