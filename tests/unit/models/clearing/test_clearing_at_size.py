"""A market as large as a city's: every aggregator in one zone, ten steps, sixteen quarter hours, minimum quantities."""

import random
from datetime import timedelta

import pytest

from models.clearing.clear import clear
from models.clearing.market import Bid, Market, Need, Offer, Step
from models.clearing.result import Clearing
from models.errors import DeadlineError
from tests.unit.models.clearing.markets import NOON, area, bid, market

QUARTER = timedelta(minutes=15)
ZONES = [f"Z{k}" for k in range(5)]


def large(seed: int, intervals: int = 16) -> Market:
    chance = random.Random(seed)
    bids = [_bid(chance, k, intervals) for k in range(100)]
    needs = []
    for k in range(intervals):
        need_kw = sum(each.offers[k].offered_kw for each in bids) * chance.uniform(0.3, 0.7)
        areas = (area("south", *ZONES[:2], least=need_kw / 2), area("north", *ZONES[3:], most=0.3 * need_kw))
        needs.append(Need(start=NOON + k * QUARTER, end=NOON + (k + 1) * QUARTER, need_kw=need_kw, areas=areas))
    return Market(market_id="m", zone_ids=frozenset(ZONES), needs=tuple(needs), bids=tuple(bids))


def _bid(chance: random.Random, number: int, intervals: int) -> Bid:
    has_minimum = chance.random() < 0.3
    offers = []
    for k in range(intervals):
        ticks, end, steps = chance.randint(200, 1200), 0, []
        for _ in range(10):
            end, ticks = end + chance.randint(20, 200), min(ticks + chance.randint(0, 200), 3000)
            steps.append(Step(price_per_kwh=ticks / 1000, up_to_kw=float(end)))
        minimum = float(chance.randint(1, end)) if has_minimum else 0.0
        offers.append(Offer(start=NOON + k * QUARTER, steps=tuple(steps), minimum_kw=minimum))
    name = f"agg-{number}"
    return Bid(
        bid_id=name,
        aggregator_id=name,
        zone_id=chance.choice(ZONES),
        submitted_at=NOON - timedelta(hours=20, seconds=chance.randint(0, 3000)),
        offers=tuple(offers),
    )


def gaps(done: Clearing) -> list[float]:
    """By interval, how far the cost may be from the least, relative, by the checker's bound alone."""
    costs = [(each.cost_cny + each.shortfall_cny, each.checked_bound_cny) for each in done.intervals]
    return [(cost - bound) / cost for cost, bound in costs]


def test_a_large_market_is_cleared_to_the_end_and_the_checker_needs_no_solver_to_know_it_is_cheap() -> None:
    done = clear(large(1), deadline_s=100)  # about 2 s of one core
    assert {each.status for each in done.intervals} == {"optimal"}
    assert max(gaps(done)) < 1e-3
    assert len(done.awards) == 1600


def knapsack() -> Market:
    """A hundred blocks of all sizes at nearly equal prices, and a need that must be met to the kW."""
    chance = random.Random(1)
    sizes = [float(chance.randint(50, 2000)) for _ in range(100)]
    bids = [bid(f"b{k}", (chance.randint(800, 900) / 1000, size), minimum_kw=size) for k, size in enumerate(sizes)]
    return market(float(sum(sizes) * 0.4 // 1), bids, surplus_fraction=0)


@pytest.mark.parametrize("gap", [0.0, 0.5])
def test_what_is_not_proven_is_not_called_optimal(gap: float) -> None:
    done = clear(knapsack(), gap=gap, deadline_s=100)
    (interval,) = done.intervals
    cost = interval.cost_cny + interval.shortfall_cny
    assert (interval.status == "optimal") == (cost - interval.bound_cny < 1e-6)
    assert cost - interval.bound_cny <= gap * cost + 1e-3
    if not gap:
        assert interval.status == "optimal"


def test_little_time_gives_a_sound_result_with_its_gap_or_an_error() -> None:
    try:
        done = clear(knapsack(), deadline_s=0.15)
    except DeadlineError:
        return  # nothing at all was found in time: that is its word for it
    (interval,) = done.intervals
    cost = interval.cost_cny + interval.shortfall_cny
    assert interval.checked_bound_cny <= cost
    assert interval.bound_cny <= cost
    assert interval.status == ("feasible" if interval.bound_cny < cost - 1e-6 else "optimal")
