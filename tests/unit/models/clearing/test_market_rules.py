"""A market that breaks a rule is refused with bid or interval, field, value and rule; nothing is mended in silence."""

from typing import Any

import pytest
from pydantic import ValidationError

from models.clearing.clear import clear
from models.clearing.market import Market, MarketRule, Offer
from models.clearing.rules import faults_of_bid, read_market, require_sound
from models.errors import DeadlineError, InputError
from tests.unit.models.clearing.markets import area, bid, hour, market, offer


def faults(asked: Market) -> list[tuple[str, str, Any]]:
    with pytest.raises(InputError) as caught:
        require_sound(asked)
    return [(fault.place, fault.field, fault.value) for fault in caught.value.faults]


def test_steps_must_rise() -> None:
    with pytest.raises(ValidationError, match=r"steps\.1\.up_to_kw: must be more"):
        offer([(0.5, 60), (0.6, 60)])
    with pytest.raises(ValidationError, match=r"steps\.1\.price_per_kwh: must not fall"):
        offer([(0.5, 60), (0.4, 90)])
    with pytest.raises(ValidationError, match="minimum_kw: must not be more than is offered"):
        offer([(0.5, 60)], minimum_kw=61)


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"cap_per_kwh": 0.1, "floor_per_kwh": 0.2}, "cap_per_kwh"),
        ({"shortfall_per_kwh": 3.0}, "shortfall_per_kwh"),
        ({"cap_per_kwh": 2.0005}, "cap_per_kwh"),
        ({"quantum_kw": 0}, "quantum_kw"),
        ({"unknown": 1}, "unknown"),
    ],
)
def test_a_rule_that_contradicts_itself_is_refused(changed: dict[str, Any], field: str) -> None:
    with pytest.raises(ValidationError, match=field):
        MarketRule(**changed)


def test_prices_lie_between_floor_and_cap_in_whole_ticks_and_amounts_in_whole_quanta() -> None:
    asked = market(10, [bid("a", (3.5, 60)), bid("b", (0.5005, 60)), bid("c", (0.5, 60.5), minimum_kw=0.5)])
    assert faults(asked) == [
        ("bid a", "offers.0.steps.0.price_per_kwh", 3.5),
        ("bid b", "offers.0.steps.0.price_per_kwh", 0.5005),
        ("bid c", "offers.0.minimum_kw", 0.5),
        ("bid c", "offers.0.steps.0.up_to_kw", 60.5),
    ]


def test_a_bid_is_there_once_for_its_zone_and_its_intervals() -> None:
    again = bid("a", (0.5, 10)).model_copy(
        update={"offers": (offer([(0.5, 1)]), offer([(0.5, 1)]), offer([(1, 1)], k=7))}
    )
    found = faults(market(10, [bid("a", (0.5, 10)), again]))
    assert [(place, field) for place, field, _ in found] == [
        ("bid a", "bid_id"),
        ("bid a", "aggregator_id"),
        ("bid a", "offers.1.start"),
        ("bid a", "offers.2.start"),
    ]


def test_a_bid_for_an_unknown_zone_is_refused_at_the_door_too() -> None:
    one = bid("a", (0.5, 10), zone="Q")
    (fault,) = faults_of_bid(one, MarketRule(), {"Z"}, {hour(0)})
    assert str(fault) == "bid a, zone_id: must be a zone of the market (got 'Q')"
    assert not faults_of_bid(bid("a", (0.5, 10)), MarketRule(), {"Z"}, {hour(0)})


def test_areas_are_known_once_and_nested_or_apart() -> None:
    asked = market(10, [], area("p", "X", "Y"), area("q", "Y", "Z"), area("q", "X"))
    places = {(place, field, value) for place, field, value in faults(asked)}
    where = f"interval {hour(0).isoformat()}"
    assert places == {(where, "areas", "q"), (where, "areas.p.zone_ids", "q")}
    unknown = market(10, []).model_copy(update={"needs": market(10, [], area("p", "Q")).needs})
    assert faults(unknown) == [(where, "areas.p.zone_ids", "Q")]


def test_what_areas_need_fits_into_what_holds_them() -> None:
    where = f"interval {hour(0).isoformat()}"
    assert faults(market(10, [], area("p", "X", least=6), area("q", "Y", least=5))) == [(where, "need_kw", 10)]
    inner = [area("p", "X", least=6), area("q", "Y", least=6), area("o", "X", "Y", most=10)]
    assert (where, "areas.o.at_most_kw", 10) in faults(market(20, [], *inner))
    with pytest.raises(ValidationError, match="at_most_kw: must not be less than at_least_kw"):
        area("p", "X", least=6, most=5)


def test_intervals_follow_one_another() -> None:
    asked = market(10, [])
    assert faults(asked.model_copy(update={"needs": asked.needs * 2}))[0][1] == "start"


def test_plain_data_is_read_and_its_faults_name_the_bid() -> None:
    asked = market(10, [bid("a", (0.5, 60))], area("x", "Z", least=5))
    data = asked.model_dump(mode="json")
    assert read_market(data) == asked
    data["bids"][0]["offers"][0]["steps"][0]["up_to_kw"] = -1
    data["bids"][0]["colour"] = "red"
    with pytest.raises(InputError) as caught:
        read_market(data)
    assert {(fault.place, fault.field, fault.value) for fault in caught.value.faults} == {
        ("bid a", "offers.0.steps.0.up_to_kw", -1),
        ("bid a", "colour", "red"),
    }


def test_a_market_that_breaks_a_rule_is_not_cleared() -> None:
    with pytest.raises(InputError, match="bid a"):
        clear(market(10, [bid("a", (3.5, 60))]))


def test_no_time_no_result() -> None:
    with pytest.raises(DeadlineError):
        clear(market(10, [bid("a", (0.5, 60))]), deadline_s=0.0)


def test_an_offer_knows_all_of_it() -> None:
    made: Offer = offer([(0.5, 10), (0.6, 30)])
    assert made.offered_kw == 30
