"""Markets small enough to be cleared on paper, with the arithmetic beside them."""

from zoneinfo import ZoneInfo

import pytest

from models.clearing.asking import price_to_be_accepted
from models.clearing.clear import clear
from models.clearing.market import Pricing
from models.clearing.result import Reason
from models.clearing.words import emergency_en, emergency_zh, sentence_en, sentence_zh
from tests.unit.models.clearing.markets import accepted, area, award, bid, hour, market

CHENGDU = ZoneInfo("Asia/Shanghai")


def test_the_last_step_accepted_sets_one_price_for_all() -> None:
    # 100 kW for an hour: 60 at 0.5, then 40 of the 50 at 0.8; c at 1.2 is not reached.  The price is 0.8.
    asked = market(100, [bid("a", (0.5, 60)), bid("b", (0.8, 50)), bid("c", (1.2, 90))])
    done = clear(asked)
    assert accepted(done) == {"a": 60, "b": 40, "c": 0}
    (interval,) = done.intervals
    assert interval.city.price_per_kwh == pytest.approx(0.8)
    assert interval.cost_cny == pytest.approx(60 * 0.5 + 40 * 0.8)  # 62
    assert interval.bound_cny == interval.checked_bound_cny == pytest.approx(62)
    assert done.payment_cny == pytest.approx(100 * 0.8)
    assert [award(done, name).reason for name in "abc"] == [
        Reason.IN_FULL,
        Reason.AT_THE_MARGIN,
        Reason.ABOVE_THE_PRICE,
    ]
    assert award(done, "b").margin_share == pytest.approx(0.8)
    assert award(done, "c").accepted_below_per_kwh == pytest.approx(0.8)
    assert price_to_be_accepted(asked, "c", hour(0)) == pytest.approx(0.8)


def test_as_bid_everybody_is_paid_its_own_price() -> None:
    done = clear(market(100, [bid("a", (0.5, 60)), bid("b", (0.8, 50))], pricing=Pricing.AS_BID))
    assert done.payment_cny == pytest.approx(60 * 0.5 + 40 * 0.8)
    assert award(done, "a").payment_cny == pytest.approx(30)
    assert award(done, "a").as_cleared_cny == pytest.approx(48)


def test_an_exact_fit_has_the_lower_of_the_possible_prices() -> None:
    # 60 + 40 = 100: any price from 0.8 to 1.2 supports it.  The lowest is taken.
    done = clear(market(100, [bid("a", (0.5, 60)), bid("b", (0.8, 40)), bid("c", (1.2, 90))]))
    assert done.intervals[0].city.price_per_kwh == pytest.approx(0.8)


def test_a_full_zone_has_a_price_of_its_own() -> None:
    # X may give 30 at most: 30 of a at 0.4.  The other 70 come from Y: 50 at 0.6, 20 at 0.9.
    done = clear(
        market(
            100,
            [bid("a", (0.4, 80), zone="X"), bid("b", (0.6, 50), zone="Y"), bid("c", (0.9, 60), zone="Y")],
            area("X-line", "X", most=30),
        )
    )
    assert accepted(done) == {"a": 30, "b": 50, "c": 20}
    prices = done.intervals[0].zone_price_per_kwh
    assert prices == pytest.approx({"X": 0.4, "Y": 0.9, "Z": 0.9})
    assert done.payment_cny == pytest.approx(30 * 0.4 + 70 * 0.9)  # 75


def test_what_would_do_outside_a_full_area_is_told_so() -> None:
    bids = [bid("a", (0.4, 30), zone="X"), bid("d", (0.5, 30), zone="X"), bid("c", (0.9, 90), zone="Y")]
    done = clear(market(100, bids, area("X-line", "X", most=30)))
    told = award(done, "d")
    assert (told.reason, told.limit_area_id, told.accepted_kw) == (Reason.AREA_LIMIT, "X-line", 0)
    assert told.accepted_below_per_kwh == pytest.approx(0.4)
    assert "area X-line is full" in sentence_en(told, CHENGDU)
    assert "区域 X-line已达上限" in sentence_zh(told, CHENGDU)


def test_a_place_that_is_short_pays_more() -> None:
    # The section needs 40 of its own: 10 at 0.5 and 30 at 2.  The other 60 come from elsewhere at 0.6.
    bids = [bid("a", (0.5, 10), (2.0, 50), zone="X"), bid("b", (0.6, 200), zone="Y")]
    done = clear(market(100, bids, area("section", "X", least=40)))
    assert accepted(done) == {"a": 40, "b": 60}
    assert done.intervals[0].zone_price_per_kwh == pytest.approx({"X": 2.0, "Y": 0.6, "Z": 0.6})


def test_a_minimum_that_fits_nowhere_is_passed_over() -> None:
    # b gives 150 or nothing, and no more than 110 may come: the dearer c serves the rest.
    asked = market(100, [bid("a", (0.5, 60)), bid("b", (0.6, 150), minimum_kw=150), bid("c", (1.2, 90))])
    done = clear(asked)
    assert accepted(done) == {"a": 60, "b": 0, "c": 40}
    told = award(done, "b")
    assert (told.reason, told.limit_area_id) == (Reason.MINIMUM_TOO_LARGE, "")
    assert "can take, at any price" in sentence_en(told, CHENGDU)
    assert price_to_be_accepted(asked, "b", hour(0)) is None


def test_a_cheap_minimum_can_be_rejected_and_is_told_that_it_was_not_its_price() -> None:
    # a 60 at 0.5 and c 40 at 1.2 cost 78.  With b: 50 at 1.1 = 55, then 50 of a = 25: 80, dearer.  b's price of 1.1 is
    # below the clearing price of 1.2 all the same.  It saves 78 - 25 = 53 for 50 kW: below 1.06 it would be in.
    asked = market(100, [bid("a", (0.5, 60)), bid("b", (1.1, 50), minimum_kw=50), bid("c", (1.2, 90))])
    done = clear(asked)
    assert accepted(done) == {"a": 60, "b": 0, "c": 40}
    told = award(done, "b")
    assert told.reason is Reason.PARADOXICALLY_REJECTED
    assert told.price_per_kwh == pytest.approx(1.2)
    assert price_to_be_accepted(asked, "b", hour(0)) == pytest.approx(1.06)
    assert "价格合格而未中标" in sentence_zh(told, CHENGDU)
    cheaper = market(100, [bid("a", (0.5, 60)), bid("b", (1.05, 50), minimum_kw=50), bid("c", (1.2, 90))])
    assert accepted(clear(cheaper)) == {"a": 50, "b": 50, "c": 0}


def test_a_minimum_that_is_needed_below_its_price_is_paid_up_to_its_bid_and_nobody_else_is() -> None:
    # Only a and b are there: b must give its 50, so a gives 50 of its 80 and is the one that can move: the price is 1.
    # b bid 2: 50 x 1 from the price and a supplement of 50.  Without the rule b would lose 50 CNY by being accepted.
    done = clear(market(100, [bid("a", (1.0, 80)), bid("b", (2.0, 50), minimum_kw=50)]))
    assert accepted(done) == {"a": 50, "b": 50}
    assert done.intervals[0].city.price_per_kwh == pytest.approx(1.0)
    paid = award(done, "b")
    assert (paid.as_bid_cny, paid.supplement_cny, paid.payment_cny) == pytest.approx((100, 50, 100))
    assert award(done, "a").supplement_cny == 0
    assert done.payment_cny == pytest.approx(150)
    assert "paid 50.00 CNY on top" in sentence_en(paid, CHENGDU)
    assert "另补偿 50.00 元" in sentence_zh(paid, CHENGDU)


def test_a_minimum_that_nobody_contradicts_sets_the_price_and_needs_no_supplement() -> None:
    # All or nothing and just enough: any price up to c's 2 supports it, below 1 with a supplement.
    done = clear(market(100, [bid("a", (1.0, 100), minimum_kw=100), bid("c", (2.0, 100))]))
    assert accepted(done) == {"a": 100, "c": 0}
    assert done.intervals[0].city.price_per_kwh == pytest.approx(1.0)
    assert award(done, "a").supplement_cny == 0


def test_a_little_too_much_is_bought_where_minimums_do_not_add_up() -> None:
    # 105 of a for 52.5 is cheaper than 100 of c for 120, and within the 110 % of the rule.
    done = clear(market(100, [bid("a", (0.5, 105), minimum_kw=105), bid("c", (1.2, 100))]))
    assert accepted(done) == {"a": 105, "c": 0}
    assert done.intervals[0].surplus_kw == 5
    assert done.intervals[0].city.price_per_kwh == pytest.approx(0.5)
    strict = clear(market(100, [bid("a", (0.5, 105), minimum_kw=105), bid("c", (1.2, 100))], surplus_fraction=0))
    assert accepted(strict) == {"a": 0, "c": 100}


def test_equal_prices_are_served_in_the_order_of_submission() -> None:
    bids = [bid("a", (1.0, 60), minute=9), bid("b", (1.0, 60), minute=3), bid("c", (1.0, 60), minute=6)]
    done = clear(market(100, bids))
    assert accepted(done) == {"b": 60, "c": 40, "a": 0}
    assert [award(done, name).reason for name in "bca"] == [Reason.IN_FULL, Reason.AT_THE_MARGIN, Reason.AT_THE_MARGIN]
    assert award(done, "a").margin_share == 0


def test_equal_prices_are_served_in_turn_across_zones_too_but_not_past_a_limit() -> None:
    bids = [bid("a", (1.0, 60), zone="X", minute=0), bid("b", (1.0, 90), zone="Y", minute=1)]
    assert accepted(clear(market(100, bids))) == {"a": 60, "b": 40}
    assert accepted(clear(market(100, bids, area("x", "X", most=20)))) == {"a": 20, "b": 80}


def test_of_equal_minimums_the_earlier_is_taken() -> None:
    bids = [bid("a", (1.0, 60), minimum_kw=60, minute=9), bid("b", (1.0, 60), minimum_kw=60, minute=3)]
    assert accepted(clear(market(60, bids))) == {"a": 0, "b": 60}


def test_a_shortfall_is_reported_and_does_not_lift_the_price() -> None:
    # 90 of 100 kW are offered; 10 kWh are missing and count 30 CNY each; the price stays that of the dearest bid.
    done = clear(market(100, [bid("a", (0.5, 60)), bid("b", (0.8, 30))]))
    (interval,) = done.intervals
    assert accepted(done) == {"a": 60, "b": 30}
    assert interval.city.shortfall_kw == 10
    assert interval.shortfall_cny == pytest.approx(300)
    assert interval.city.price_per_kwh == pytest.approx(0.8)
    assert interval.bound_cny == pytest.approx(60 * 0.5 + 30 * 0.8 + 300)


def test_the_emergency_stage_opens_below_eleven_tenths_of_the_need() -> None:
    # 105 kW are offered for 100: all of it is served, but 1.1 x 100 = 110 are asked for, 5 are missing.
    done = clear(market(100, [bid("a", (0.5, 60)), bid("b", (0.8, 45))]))
    assert done.intervals[0].city.shortfall_kw == 0
    assert done.opens_emergency
    (row,) = done.cover
    assert (row.asked_kw, row.usable_kw, row.missing_kw) == pytest.approx((110, 105, 5))
    assert "5 kW are missing" in emergency_en(done, CHENGDU)[0]
    assert "启动应急阶段" in emergency_zh(done, CHENGDU)[0]
    assert emergency_zh(done, CHENGDU)[0].startswith("13:00")


def test_offers_at_eleven_tenths_of_the_need_open_nothing() -> None:
    done = clear(market(100, [bid("a", (0.5, 60)), bid("b", (0.8, 50))]))
    assert not done.opens_emergency
    assert clear(market(100, [bid("a", (0.5, 60)), bid("b", (0.8, 50))], cover_factor=1.2)).opens_emergency


def test_cover_is_looked_at_in_every_area_and_behind_every_limit() -> None:
    # X offers 100, of which 30 are useful: 30 + 70 from Y are short of 110.  The section needs 1.1 x 60 = 66 of Y's 70.
    bids = [bid("a", (0.5, 100), zone="X"), bid("b", (0.6, 70), zone="Y")]
    done = clear(market(100, bids, area("x-line", "X", most=30), area("section", "Y", least=60)))
    assert {row.area_id: (row.usable_kw, row.opens_emergency) for row in done.cover} == {
        "": (100, True),
        "section": (70, False),
    }


def test_where_nothing_is_needed_nothing_is_accepted() -> None:
    done = clear(market(0, [bid("a", (0.0, 60))]))
    assert accepted(done) == {"a": 0}
    assert award(done, "a").reason is Reason.NOTHING_NEEDED
    assert done.payment_cny == 0


def test_a_market_without_bids_is_all_shortfall() -> None:
    done = clear(market(100, []))
    assert done.intervals[0].city.shortfall_kw == 100
    assert done.opens_emergency


def test_prices_and_amounts_are_written_as_people_write_them() -> None:
    done = clear(market(0.3, [bid("a", (1.029, 0.7))], quantum_kw=0.1))
    told = award(done, "a")
    assert (str(told.accepted_kw), str(told.price_per_kwh), str(told.offered_kw)) == ("0.3", "1.029", "0.7")


def test_rounding_keeps_the_need_and_the_limits() -> None:
    # In quanta of 5 kW: 98 needed is 100, of X's 33 kW 30 are used.
    bids = [bid("a", (0.4, 80), zone="X"), bid("b", (0.6, 90), zone="Y")]
    done = clear(market(98, bids, area("x", "X", most=33), quantum_kw=5))
    assert accepted(done) == {"a": 30, "b": 70}
    assert done.intervals[0].city.accepted_kw >= 98


def test_the_city_takes_what_its_areas_need_after_rounding() -> None:
    # 50.4 and 49.6 are 51 and 50 in whole kW: 101, although no more than the 100 needed may come otherwise.
    bids = [bid("a", (0.4, 80), zone="X"), bid("b", (0.6, 90), zone="Y")]
    areas = (area("x", "X", least=50.4), area("y", "Y", least=49.6))
    done = clear(market(100, bids, *areas, surplus_fraction=0))
    assert accepted(done) == {"a": 51, "b": 50}
    assert all(each.shortfall_kw == 0 for each in done.intervals[0].areas)


def test_a_quarter_of_an_hour_is_a_quarter_of_the_money() -> None:
    whole = market(100, [bid("a", (0.5, 200))])
    need = whole.needs[0].model_copy(update={"end": hour(0) + (hour(1) - hour(0)) / 4})
    quarter = whole.model_copy(update={"needs": (need,)})
    assert clear(whole).payment_cny == pytest.approx(50)
    assert clear(quarter).payment_cny == pytest.approx(12.5)
