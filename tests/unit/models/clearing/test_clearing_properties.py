"""What holds in every market: least cost, prices that support it, nobody paid under its bid, order without effect."""

import itertools
from datetime import timedelta
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from scipy.optimize import linprog

from models.clearing.asking import price_to_be_accepted
from models.clearing.check.bound import best_of_all, least_cost
from models.clearing.check.checking import check_clearing
from models.clearing.check.figures import interval_of
from models.clearing.clear import clear
from models.clearing.market import Bid, Market, Offer, Pricing, Step
from models.clearing.result import Clearing, Reason
from tests.unit.models.clearing.markets import area, bid, hour, market, markets


def total_cny(clearing: Clearing) -> float:
    return sum(each.cost_cny + each.shortfall_cny for each in clearing.intervals)


def by_brute_force(asked: Market) -> float:
    """Least cost of every choice of minimums, each by a linear program written anew with every area as a row."""
    return sum(_least_of_interval(asked, k) for k in range(len(asked.needs)))


def _least_of_interval(asked: Market, k: int) -> float:
    need, rule = asked.needs[k], asked.rule
    here = [(b, each) for b in asked.bids for each in b.offers if each.start == need.start]
    gated = [n for n, (_, each) in enumerate(here) if each.minimum_kw]
    columns = [(n, s) for n, (_, each) in enumerate(here) for s in range(len(each.steps))]
    zones = [frozenset(asked.zone_ids), *(each.zone_ids for each in need.areas)]
    least = [need.need_kw, *(each.at_least_kw for each in need.areas)]
    most = [(1 + rule.surplus_fraction) * need.need_kw // 1, *(each.at_most_kw for each in need.areas)]
    most[0] = max(most[0] or 0, least[0])
    cost = [here[n][1].steps[s].price_per_kwh for n, s in columns] + [rule.shortfall_per_kwh] * len(zones)
    lengths = [here[n][1].steps[s].up_to_kw - (here[n][1].steps[s - 1].up_to_kw if s else 0) for n, s in columns]
    found = []
    for chosen in itertools.product((False, True), repeat=len(gated)):
        is_in = dict(zip(gated, chosen, strict=True))
        bounds: list[tuple[float, float | None]] = [
            (0, length if is_in.get(n, True) else 0) for (n, _), length in zip(columns, lengths, strict=True)
        ]
        bounds += [(0, None)] * len(zones)
        rows, limits = [], []
        for z, inside in enumerate(zones):
            mine = np.array([float(here[n][0].zone_id in inside) for n, _ in columns] + [0.0] * len(zones))
            lack = np.zeros(len(cost))
            lack[len(columns) + z] = 1
            rows.append(-mine - lack)
            limits.append(-least[z])
            limit = most[z]
            if limit is not None:
                rows.append(mine)
                limits.append(limit)
        for n in gated:
            if is_in[n]:
                rows.append(-np.array([float(m == n) for m, _ in columns] + [0.0] * len(zones)))
                limits.append(-here[n][1].minimum_kw)
        solved = linprog(cost, A_ub=np.array(rows), b_ub=limits, bounds=bounds)
        if solved.status == 0:
            found.append(float(solved.fun))
    return min(found)


@given(markets(most_bids=4))
def test_the_cost_is_the_least_of_all_choices(asked: Market) -> None:
    assert total_cny(clear(asked)) == pytest.approx(by_brute_force(asked), abs=1e-6)


@given(markets(most_bids=10))
def test_the_checker_finds_nothing_and_its_bound_holds(asked: Market) -> None:
    done = clear(asked)  # which checks too
    report = check_clearing(asked, done)
    assert report.violations == ()
    for interval in done.intervals:
        assert interval.checked_bound_cny <= interval.cost_cny + interval.shortfall_cny + 1e-9
        assert interval.bound_cny == pytest.approx(interval.cost_cny + interval.shortfall_cny)


@given(markets(most_bids=5))
def test_the_bound_without_a_choice_of_minimums_is_never_above_the_least_cost(asked: Market) -> None:
    done = clear(asked)
    for need, result in zip(asked.needs, done.intervals, strict=True):
        awards = {each.bid_id: each for each in done.awards if each.start == need.start}
        read = interval_of(asked, need, result, awards)
        bound, best = least_cost(read.city, None, read.shortfall), best_of_all(read.city, read.shortfall)
        assert bound is not None
        assert best is not None
        assert bound <= best


def test_the_bound_of_a_minimum_is_its_mean_price() -> None:
    # 100 at 1 or 3, of which 100 or nothing: 2 on average; half of it is needed: 50 x 2 is the bound, c costs 150.
    asked = market(50, [bid("a", (1.0, 50), (3.0, 100), minimum_kw=100), bid("c", (3.0, 50))])
    done = clear(asked)
    read = interval_of(asked, asked.needs[0], done.intervals[0], {each.bid_id: each for each in done.awards})
    assert least_cost(read.city, None, read.shortfall) == 50 * 2000
    assert best_of_all(read.city, read.shortfall) == 50 * 3000


@given(markets(most_bids=10, minimums=False))
def test_without_minimums_the_checked_bound_is_the_cost_and_there_are_no_supplements(asked: Market) -> None:
    done = clear(asked)
    for interval in done.intervals:
        assert interval.checked_bound_cny == pytest.approx(interval.cost_cny + interval.shortfall_cny)
        assert interval.surplus_kw == 0
    assert all(each.supplement_cny == 0 for each in done.awards)
    assert not any(each.reason is Reason.PARADOXICALLY_REJECTED for each in done.awards)


@given(markets(most_bids=8))
def test_nobody_is_paid_less_than_it_bid_and_bids_cost_no_more_than_prices(asked: Market) -> None:
    done = clear(asked)
    for each in done.awards:
        assert each.as_cleared_cny >= each.as_bid_cny - 1e-9
        assert each.as_cleared_cny == pytest.approx(each.price_per_kwh * each.accepted_kw + each.supplement_cny)
    assert sum(each.as_bid_cny for each in done.awards) <= sum(each.as_cleared_cny for each in done.awards) + 1e-9
    as_bid = clear(asked.model_copy(update={"rule": asked.rule.model_copy(update={"pricing": Pricing.AS_BID})}))
    assert as_bid.payment_cny <= done.payment_cny + 1e-9
    assert as_bid.payment_cny == pytest.approx(sum(each.cost_cny for each in done.intervals))


@given(markets(most_bids=7), st.randoms(use_true_random=False))
def test_the_order_of_bids_changes_nothing(asked: Market, chance: object) -> None:
    bids = list(asked.bids)
    chance.shuffle(bids)  # type: ignore[attr-defined]
    first, again = clear(asked), clear(asked.model_copy(update={"bids": tuple(bids)}))
    assert first == again


def with_need(asked: Market, more_kw: float) -> Market:
    needs = tuple(each.model_copy(update={"need_kw": each.need_kw + more_kw}) for each in asked.needs)
    return asked.model_copy(update={"needs": needs})


@given(markets(most_bids=7, minimums=False), st.integers(1, 10))
def test_more_need_never_lowers_the_cost(asked: Market, more_kw: int) -> None:
    assert total_cny(clear(with_need(asked, more_kw))) >= total_cny(clear(asked)) - 1e-9


@given(markets(most_bids=5, areas=False), st.integers(1, 10))
def test_more_need_never_lowers_the_cost_with_minimums_where_any_of_them_fits(asked: Market, more_kw: int) -> None:
    """A minimum that is too large for a small need may serve a larger one for less: the surplus limit must not tell."""
    largest = max((each.minimum_kw for b in asked.bids for each in b.offers), default=0.0)
    assume(all(each.need_kw >= 1 and each.need_kw + largest <= 2 * each.need_kw for each in asked.needs))
    wide = asked.model_copy(update={"rule": asked.rule.model_copy(update={"surplus_fraction": 1.0})})
    assert total_cny(clear(with_need(wide, more_kw))) >= total_cny(clear(wide)) - 1e-9


def test_with_a_surplus_limit_more_need_can_be_cheaper_and_this_is_why() -> None:
    # 10 needed: the 20 of a are too many, c costs 20.  20 needed: a serves them for 10.
    bids = [bid("a", (0.5, 20), minimum_kw=20), bid("c", (2.0, 20))]
    assert total_cny(clear(market(10, bids))) == pytest.approx(20)
    assert total_cny(clear(market(20, bids))) == pytest.approx(10)


def scaled(asked: Market, factor: int) -> Market:
    def larger(each: Offer) -> Offer:
        steps = tuple(Step(price_per_kwh=s.price_per_kwh, up_to_kw=factor * s.up_to_kw) for s in each.steps)
        return Offer(start=each.start, steps=steps, minimum_kw=factor * each.minimum_kw)

    bids = tuple(b.model_copy(update={"offers": tuple(larger(each) for each in b.offers)}) for b in asked.bids)
    needs = tuple(
        each.model_copy(
            update={
                "need_kw": factor * each.need_kw,
                "areas": tuple(
                    a.model_copy(
                        update={
                            "at_least_kw": factor * a.at_least_kw,
                            "at_most_kw": None if a.at_most_kw is None else factor * a.at_most_kw,
                        }
                    )
                    for a in each.areas
                ),
            }
        )
        for each in asked.needs
    )
    rule = asked.rule.model_copy(update={"quantum_kw": factor * asked.rule.quantum_kw})
    return asked.model_copy(update={"bids": bids, "needs": needs, "rule": rule})


@given(markets(most_bids=6), st.sampled_from([3, 10, 1000]))
def test_ten_times_as_much_of_everything_costs_ten_times_as_much(asked: Market, factor: int) -> None:
    small, large = clear(asked), clear(scaled(asked, factor))
    assert total_cny(large) == pytest.approx(factor * total_cny(small))
    assert [each.accepted_kw for each in large.awards] == pytest.approx(
        [factor * each.accepted_kw for each in small.awards]
    )
    assert [each.reason for each in large.awards] == [each.reason for each in small.awards]


@given(st.floats(1, 60), st.floats(0, 30), st.floats(0, 30), st.lists(st.integers(1, 12), min_size=1, max_size=4))
def test_amounts_are_whole_quanta_and_keep_need_and_limits_as_they_were_given(
    need_kw: float, least_kw: float, room_kw: float, lengths: list[int]
) -> None:
    assume(least_kw <= need_kw)
    quantum = 2.5
    bids = [
        bid(f"{zone.lower()}{n}", (0.5 + n / 2, quantum * length), zone=zone)
        for zone in "XY"
        for n, length in enumerate(lengths)
    ]
    done = clear(market(need_kw, bids, area("x", "X", least=least_kw, most=least_kw + room_kw), quantum_kw=quantum))
    city, x = done.intervals[0].areas
    assert x.accepted_kw <= least_kw + room_kw + 1e-6 * quantum
    assert city.accepted_kw + city.shortfall_kw >= need_kw - 1e-6 * quantum
    assert x.accepted_kw + x.shortfall_kw >= least_kw - 1e-6 * quantum
    assert all(Fraction(each.accepted_kw) % Fraction(5, 2) == 0 for each in done.awards)


def repriced(asked: Market, bid_id: str, price: float, minimum_kw: float) -> Market:
    """The market with one offer's minimum at another price, and nothing beyond it."""
    made = Offer(start=hour(0), steps=(Step(price_per_kwh=price, up_to_kw=minimum_kw),), minimum_kw=minimum_kw)
    bids = tuple(b.model_copy(update={"offers": (made,)}) if b.bid_id == bid_id else b for b in asked.bids)
    return asked.model_copy(update={"bids": bids})


@given(markets(most_bids=5))
def test_a_tick_below_the_price_that_was_asked_for_is_accepted_and_a_tick_above_is_not(asked: Market) -> None:
    asked = asked.model_copy(
        update={
            "needs": asked.needs[:1],
            "bids": tuple(b.model_copy(update={"offers": b.offers[:1]}) for b in asked.bids),
        }
    )
    done = clear(asked)
    for each in [each for each in done.awards if each.minimum_kw and not each.accepted_kw][:2]:
        price = price_to_be_accepted(asked, each.bid_id, hour(0))
        if price is None:
            assert each.reason in {Reason.MINIMUM_TOO_LARGE, Reason.NOTHING_NEEDED}
            continue
        below, above = np.floor(price * 1000 - 1e-6) / 1000, np.ceil(price * 1000 + 1e-6) / 1000
        assert each.next_price_per_kwh is not None
        assert each.next_price_per_kwh >= price - 1e-9
        for tried, is_in in ((below, True), (above, False)):
            if 0 <= tried <= asked.rule.cap_per_kwh:
                again = clear(repriced(asked, each.bid_id, float(round(tried, 3)), each.minimum_kw))
                amount = next(a.accepted_kw for a in again.awards if a.bid_id == each.bid_id)
                assert (amount > 0) is is_in


@example(market(100, [bid("a", (1.0, 60)), bid("b", (1.0, 60), minute=1)]))
@given(markets(most_bids=6, minimums=False))
def test_a_step_a_tick_below_the_clearing_price_is_accepted(asked: Market) -> None:
    """What an award says of the price to beat: a new first-come bid of one quantum below it is taken."""
    done = clear(asked)
    for award in done.awards:
        below = award.accepted_below_per_kwh
        if below is None or below < 0.001 - 1e-9:
            continue
        new = Bid(
            bid_id="new",
            aggregator_id="new",
            zone_id=award.zone_id,
            submitted_at=hour(0) + timedelta(hours=1),
            offers=(Offer(start=award.start, steps=(Step(price_per_kwh=round(below - 0.001, 3), up_to_kw=1.0),)),),
        )
        again = clear(asked.model_copy(update={"bids": (*asked.bids, new)}))
        assert next(each.accepted_kw for each in again.awards if each.bid_id == "new") == 1
        break
