"""A result that is wrong in one thing is found wrong in that thing."""

from collections.abc import Callable
from typing import Any

import pytest

from models.clearing.check.checking import CheckReport, check_clearing
from models.clearing.clear import clear
from models.clearing.market import Market
from models.clearing.prices import clearing_prices
from models.clearing.result import Clearing, Reason
from models.errors import SolverError
from tests.unit.models.clearing.markets import area, bid, market


def asked() -> Market:
    """X is full at 30; in Y d goes first of two equal bids, e must give its 50, f is dear and rejected.

    30 of a at 0.4; 50 of e at 1.5 are cheaper than 50 of f at 2; d and b share the rest at 1: 40 and 30.
    """
    return market(
        150,
        [
            bid("a", (0.4, 80), zone="X"),
            bid("b", (1.0, 40), zone="Y", minute=2),
            bid("d", (1.0, 40), zone="Y", minute=1),
            bid("e", (1.5, 50), zone="Y", minimum_kw=50),
            bid("f", (2.0, 90), zone="Y"),
        ],
        area("x-line", "X", most=30),
        area("section", "Y", least=40),
    )


def edited(done: Clearing, name: str, **changed: Any) -> Clearing:
    awards = tuple(each.model_copy(update=changed) if each.bid_id == name else each for each in done.awards)
    return done.model_copy(update={"awards": awards})


def interval_edited(done: Clearing, **changed: Any) -> Clearing:
    return done.model_copy(update={"intervals": (done.intervals[0].model_copy(update=changed),)})


def area_edited(done: Clearing, name: str, **changed: Any) -> Clearing:
    areas = tuple(each.model_copy(update=changed) if each.area_id == name else each for each in done.intervals[0].areas)
    return interval_edited(done, areas=areas)


def shared(done: Clearing, **amounts: float) -> Clearing:
    for name, amount in amounts.items():
        done = edited(done, name, accepted_kw=amount)
    return done


def priced(done: Clearing, price: float) -> Clearing:
    """Everything in Y at another price, consistently."""
    zones = done.intervals[0].zone_price_per_kwh | {"Y": price, "Z": price}
    done = area_edited(area_edited(done, "", price_per_kwh=price), "section", price_per_kwh=price)
    return interval_edited(done, zone_price_per_kwh=zones)


def rules(report: CheckReport) -> set[str]:
    return {each.rule for each in report.violations}


PLANTED: dict[str, tuple[Callable[[Clearing], Clearing], str]] = {
    "half a quantum": (lambda r: shared(r, b=29.5, d=40.5), "accepted_kw is a multiple of the quantum"),
    "more than offered": (lambda r: shared(r, d=41, b=29), "accepted_kw is no more than offered"),
    "half of a minimum": (lambda r: shared(r, e=25, b=40, f=15), "accepted_kw is its minimum or nothing"),
    "past the limit of an area": (lambda r: shared(r, a=31, b=29), "response is no more than is useful"),
    "more than the city takes": (lambda r: shared(r, f=20), "response is no more than is useful"),
    "a sum that is none": (lambda r: area_edited(r, "", accepted_kw=149), "accepted_kw is the sum of awards"),
    "a shortfall kept quiet": (lambda r: shared(r, b=20), "shortfall_kw is what is missing"),
    "a surplus kept quiet": (lambda r: shared(r, b=35), "surplus_kw is what is too much"),
    "a dear bid before a cheap one": (lambda r: shared(r, b=20, f=10), "cheapest for the accepted minimums"),
    "... and against the price": (lambda r: shared(r, b=20, f=10), "clearing price is not below what was accepted"),
    "not the cheapest choice": (lambda r: shared(r, e=0, b=40, f=40), "optimal is the cheapest of all choices"),
    "a cost that is none": (lambda r: interval_edited(r, cost_cny=1.0), "cost_cny is the sum"),
    "a cost of nothing missing": (lambda r: interval_edited(r, shortfall_cny=1.0), "shortfall_cny is the sum"),
    "a bound too high": (lambda r: interval_edited(r, bound_cny=1e6), "bound_cny is not above the least cost"),
    "a bound above the cost": (lambda r: interval_edited(r, bound_cny=1e6), "bound_cny is not above the cost"),
    "a price too low": (lambda r: priced(r, 0.9), "clearing price is not below what was accepted"),
    "a price too high": (lambda r: priced(r, 1.2), "clearing price by rule"),
    "a price above what was not accepted": (
        lambda r: priced(r, 1.2),
        "clearing price is not above what was not accepted",
    ),
    "a zone with a price of its own": (
        lambda r: interval_edited(r, zone_price_per_kwh=r.intervals[0].zone_price_per_kwh | {"Z": 0.5}),
        "a zone has the price of its area",
    ),
    "paid under its bid": (lambda r: edited(r, "e", payment_cny=50.0), "nobody is paid less than it bid"),
    "no supplement": (lambda r: edited(r, "e", supplement_cny=0.0), "supplement_cny by rule"),
    "paid too much": (lambda r: edited(r, "b", payment_cny=99.0, as_cleared_cny=99.0), "payment_cny by rule"),
    "told another price": (lambda r: edited(r, "b", price_per_kwh=1.1), "price_per_kwh by rule"),
    "the later bid first": (lambda r: shared(r, b=40, d=30), "equal prices are served in turn"),
    "told a wrong reason": (
        lambda r: edited(r, "f", reason=Reason.AREA_LIMIT, limit_area_id="section"),
        "the reason is true",
    ),
    "told a wrong price to beat": (lambda r: edited(r, "f", accepted_below_per_kwh=1.9), "the reason is true"),
    "told of price, not of limit": (
        lambda r: edited(r, "a", reason=Reason.ABOVE_THE_PRICE, accepted_below_per_kwh=0.4),
        "the reason is true",
    ),
    "in full but not": (lambda r: edited(r, "f", reason=Reason.IN_FULL), "the reason is true"),
    "paradox without one": (lambda r: edited(r, "f", reason=Reason.PARADOXICALLY_REJECTED), "the reason is true"),
    "offered otherwise": (lambda r: edited(r, "f", offered_kw=91.0), "offered_kw is as bid"),
    "in another zone": (lambda r: edited(r, "f", zone_id="X"), "zone_id is as bid"),
    "an award lost": (lambda r: r.model_copy(update={"awards": r.awards[1:]}), "every offer has one award"),
    "an award twice": (
        lambda r: r.model_copy(update={"awards": (*r.awards, r.awards[0])}),
        "every offer has one award",
    ),
    "an area lost": (lambda r: interval_edited(r, areas=r.intervals[0].areas[:2]), "every area is there once"),
    "another market": (lambda r: r.model_copy(update={"market_id": "n"}), "market_id is the market's"),
    "no emergency row": (
        lambda r: r.model_copy(update={"cover": ()}),
        "a row for every interval and area that needs something",
    ),
    "a cover too wide": (
        lambda r: r.model_copy(update={"cover": (r.cover[0].model_copy(update={"usable_kw": 999.0}), *r.cover[1:])}),
        "cover: usable_kw",
    ),
}


def test_the_market_is_as_it_is_described() -> None:
    done = clear(asked())
    assert {each.bid_id: each.accepted_kw for each in done.awards} == {"a": 30, "b": 30, "d": 40, "e": 50, "f": 0}
    assert done.intervals[0].zone_price_per_kwh == pytest.approx({"X": 0.4, "Y": 1.0, "Z": 1.0})
    assert check_clearing(asked(), done).ok


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_violation_is_found(name: str) -> None:
    plant, rule = PLANTED[name]
    assert rule in rules(check_clearing(asked(), plant(clear(asked()))))


def test_equal_minimums_out_of_turn_are_found() -> None:
    pair = market(60, [bid("a", (1.0, 60), minimum_kw=60, minute=1), bid("b", (1.0, 60), minimum_kw=60, minute=2)])
    assert "equal minimums are served in turn" in rules(check_clearing(pair, shared(clear(pair), a=0, b=60)))


def test_a_price_that_jumps_where_no_limit_binds_is_found() -> None:
    plain = market(
        100, [bid("a", (1.0, 60), zone="X"), bid("b", (1.0, 90), zone="Y", minute=1)], area("x", "X", most=90)
    )
    done = area_edited(clear(plain), "x", price_per_kwh=1.5)
    assert "clearing price by rule" in rules(check_clearing(plain, done))


def test_nothing_is_returned_that_the_checker_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(book: Any, accepted: list[int]) -> Any:
        prices = clearing_prices(book, accepted)
        return type(prices)([price + 1 for price in prices.areas], prices.supplements)

    monkeypatch.setattr("models.clearing.clear.clearing_prices", wrong)
    with pytest.raises(SolverError, match="refused by the checker"):
        clear(asked())
