from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from models.errors import InputError
from models.events import Direction
from models.settlement.best_order import best_order
from models.settlement.delivery import NormalDelivery, SampledDelivery
from models.settlement.net_curve import NetCurve, net_curve
from models.settlement.rules.evaluate import price_terms
from models.settlement.rules.load import packaged_rules
from models.settlement.rules.schema import Rule, Stage
from models.settlement.settle import settle
from tests.unit.models.settlement.calls import call, rule_named

SICHUAN = rule_named("sichuan_market_v1")
CASES = [
    (rule, protected)
    for rule in packaged_rules().rules.values()
    for protected in ((False, True) if rule.protected else (False,))
]
every_case = pytest.mark.parametrize(
    ("rule", "protected"), CASES, ids=[rule.rule_id + " protected" * guarded for rule, guarded in CASES]
)


def stage_of(rule: Rule) -> Stage:
    return Stage.REAL_TIME if rule.prices[0].stages == (Stage.REAL_TIME,) else Stage.DAY_AHEAD


def curve_of(rule: Rule, price: str = "1", *, protected: bool = False) -> NetCurve:
    terms = price_terms(rule, stage_of(rule), Direction.SHAVE, 1)
    return net_curve(rule, terms, Decimal(price), Fraction(1), protected=protected)


def test_the_curve_of_sichuan_by_hand() -> None:
    # x < 0.9: x - 1.1 (0.9 - x) = -0.99 + 2.1 x; then x; over 1.1: 1.1 + 0.5 (x - 1.1) = 0.55 + 0.5 x
    # (the upper piece prolonged passes 0.9 at x = 0.7: a knot too many, with the same line on both sides)
    curve = curve_of(SICHUAN)
    assert curve.knots == (Fraction("0.7"), Fraction("0.9"), Fraction("1.1"))
    assert curve.a.tolist() == [-0.99, -0.99, 0, 0.55]
    assert curve.s.tolist() == [2.1, 2.1, 1, 0.5]
    assert not curve.jump.any()
    assert curve.best_per_kwh() == 1


@every_case
@given(delivered=st.integers(-300_000, 400_000), award=st.integers(1, 200_000), price=st.integers(0, 3000))
def test_the_curve_is_what_settlement_pays(
    rule: Rule, delivered: int, award: int, price: int, *, protected: bool
) -> None:
    clearing = str(Decimal(price) / 1000)
    inputs = call([[delivered / 1000]], [[award / 1000]], clearing, protected=[protected], stage=stage_of(rule))
    paid = float(settle(inputs, rule).market_total_cny())
    expected = curve_of(rule, clearing, protected=protected).paid(np.array([delivered / 1000]), award / 1000)[0]
    assert paid == pytest.approx(expected, abs=0.02)  # quantities are rounded to the Wh, money to the cent


def test_the_curve_knows_what_does_not_count() -> None:
    # Zhejiang, 100 awarded: nothing under 50, then what came, at most 100
    curve = curve_of(rule_named("zhejiang"))
    assert curve.paid(np.array([-5.0, 49.9, 50.0, 80.0, 130.0]), 100.0).tolist() == [0, 0, 50, 80, 100]
    assert curve.jump[curve.knot == 0.5] == pytest.approx(-0.5)


def test_the_most_that_a_kwh_can_earn_is_found_on_both_sides_of_a_knot() -> None:
    zero, one = Fraction(0), Fraction(1)
    # v = 3 x - 1 up to 1, then x: v / x rises to 2 just before 1; and v = 0 up to 1, then 1: v / x is 1 just at 1
    assert NetCurve((one,), (-one, zero), (Fraction(3), one)).best_per_kwh() == 2
    assert NetCurve((one,), (zero, one), (zero, zero)).best_per_kwh() == 1
    with pytest.raises(InputError, match="must not pay for nothing"):
        NetCurve((one,), (one, one), (zero, zero)).best_per_kwh()


def test_a_sample_on_the_edge_of_a_jump_counts_as_the_rule_says() -> None:
    # exactly 80 % is paid
    curve = curve_of(rule_named("tier_80_120"))
    assert SampledDelivery(np.array([80.0, 79.0])).expected(curve, np.array([100.0])).tolist() == [40.0]


@given(order=st.floats(0.1, 1e6))
def test_an_order_between_two_edges_is_found(order: float) -> None:
    # only ``order`` pays both in full: the lower is 80 % of it, the higher 120 %
    found = best_order(rule_named("tier_80_120"), SampledDelivery(np.array([0.8 * order, 1.2 * order])))
    assert found.order_kwh == pytest.approx(order)
    assert found.share_of_perfect == pytest.approx(1, abs=1e-9)


def test_the_curve_counts_money_for_power_besides() -> None:
    # a quarter of an hour under Jiangsu's rule: 2.4 + 10 / 0.25 = 42.4 CNY for each kWh up to the order
    rule = rule_named("jiangsu")
    terms = price_terms(rule, Stage.REAL_TIME, Direction.SHAVE, 0.25)
    curve = net_curve(rule, terms, Decimal(1), Fraction(1, 4))
    assert curve.best_per_kwh() == Fraction("42.4")
    assert curve.paid(np.array([80.0, 120.0]), 100.0).tolist() == pytest.approx([3392.0, 4240.0])


@every_case
@pytest.mark.parametrize("sigma", [0.05, 0.2, 0.6])
def test_expected_money_is_what_a_monte_carlo_finds(rule: Rule, sigma: float, *, protected: bool) -> None:
    curve = curve_of(rule, "1.5", protected=protected)
    q = 1000 + 1000 * sigma * np.random.default_rng(7).standard_normal(200_000)
    orders = np.array([300.0, 800.0, 950.0, 1000.0, 1150.0, 1600.0, 3000.0])
    closed = NormalDelivery(1000, 1000 * sigma).expected(curve, orders)
    for order, expected in zip(orders, closed, strict=True):
        paid = curve.paid(q, order)
        assert abs(paid.mean() - expected) < 5 * paid.std() / np.sqrt(q.size) + 1e-4  # what is too rare to be drawn


@every_case
def test_the_slope_is_that_of_the_expected_money(rule: Rule, *, protected: bool) -> None:
    curve, delivery = curve_of(rule, protected=protected), NormalDelivery(1000, 150)
    orders, step = np.linspace(300, 2500, 80), 1e-3
    rise = (delivery.expected(curve, orders + step) - delivery.expected(curve, orders - step)) / (2 * step)
    np.testing.assert_allclose(delivery.slope(curve, orders), rise, atol=1e-6)


@every_case
@pytest.mark.parametrize("sigma", [0.01, 0.05, 0.1, 0.2, 0.5])
def test_no_other_order_on_a_fine_grid_earns_more(rule: Rule, sigma: float, *, protected: bool) -> None:
    delivery = NormalDelivery(1000, 1000 * sigma)
    found = best_order(rule, delivery, stage=stage_of(rule), protected=protected)
    curve = curve_of(rule, protected=protected)
    others = delivery.expected(curve, np.linspace(1, 6000, 60_001))
    assert found.expected_cny >= others.max() - 1e-9 * found.perfect_cny
    assert found.share_of_perfect is not None
    assert 0.5 < found.share_of_perfect <= 1


@pytest.mark.parametrize(
    ("sigma", "order_percent", "share_percent"),
    # The domain notes say 99.5/98/95 and 99.96/98.7/94.2; closed form, brute force and Monte Carlo say this:
    [(0.05, 99.378, 99.935), (0.1, 98.054, 98.735), (0.2, 94.770, 94.023)],
)
def test_sichuan_best_order_of_a_normal(sigma: float, order_percent: float, share_percent: float) -> None:
    found = best_order(SICHUAN, NormalDelivery(1000, 1000 * sigma), Decimal("1.3"))
    assert found.order_kwh / 10 == pytest.approx(order_percent, abs=0.001)
    assert found.share_of_perfect is not None
    assert 100 * found.share_of_perfect == pytest.approx(share_percent, abs=0.001)
    # by counting: 400 000 draws, orders in steps of half a per cent
    q = 1000 + 1000 * sigma * np.random.default_rng(3).standard_normal(400_000)
    curve = curve_of(SICHUAN)
    paid = {order: curve.paid(q, order).mean() for order in np.arange(930.0, 1010.0, 5.0)}
    assert max(paid, key=lambda order: paid[order]) == pytest.approx(found.order_kwh, abs=5)
    assert max(paid.values()) / 10 == pytest.approx(share_percent, abs=0.1)


@given(mean=st.floats(1, 1e6), sigma=st.floats(0.03, 0.6))
def test_sichuan_best_order_weighs_both_sides_five_to_nine(mean: float, sigma: float) -> None:
    order = best_order(SICHUAN, NormalDelivery(mean, mean * sigma)).order_kwh
    under = norm.cdf((0.9 * order - mean) / (mean * sigma))
    over = norm.sf((1.1 * order - mean) / (mean * sigma))
    assert under == pytest.approx(5 / 9 * over, rel=1e-6)


@every_case
@given(values=st.lists(st.integers(-50, 300), min_size=1, max_size=12))
@settings(max_examples=30)
def test_no_other_order_earns_more_on_a_sample(rule: Rule, values: list[int], *, protected: bool) -> None:
    sample = np.array(values, dtype=float)
    found = best_order(rule, SampledDelivery(sample), stage=stage_of(rule), protected=protected)
    curve = curve_of(rule, protected=protected)
    orders = np.concatenate([np.linspace(0.01, 500, 2000), np.arange(1, 501) / 2])
    others = np.array([curve.paid(sample, order).mean() for order in orders])
    assert found.expected_cny >= others.max() - 1e-6
    if found.order_kwh > 0:
        assert found.expected_cny == pytest.approx(curve.paid(sample, found.order_kwh).mean(), abs=1e-9)
    assert found.expected_cny <= found.perfect_cny + 1e-9


@every_case
def test_a_large_sample_of_a_normal_leads_to_the_same_order(rule: Rule, *, protected: bool) -> None:
    sample = norm.ppf((np.arange(20_000) + 0.5) / 20_000, loc=1000, scale=200)
    normal, counted = (
        best_order(rule, delivery, stage=stage_of(rule), protected=protected)
        for delivery in (NormalDelivery(1000, 200), SampledDelivery(sample))
    )
    assert counted.expected_cny == pytest.approx(normal.expected_cny, rel=1e-4)
    if rule.ordinary.penalty is not None:
        assert counted.order_kwh == pytest.approx(normal.order_kwh, rel=1e-3)


def test_the_only_value_of_a_sample_is_ordered_and_ratios_scale_with_capability() -> None:
    assert best_order(SICHUAN, SampledDelivery(np.array([80.0]))).order_kwh == pytest.approx(80)
    ratios = np.array([0.8, 0.95, 1.0, 1.05, 1.3])
    one, ten = (best_order(SICHUAN, SampledDelivery.of_ratios(ratios, kwh)) for kwh in (100.0, 1000.0))
    assert ten.order_kwh == pytest.approx(10 * one.order_kwh)
    assert ten.share_of_perfect == pytest.approx(one.share_of_perfect)


def test_where_nothing_can_be_earned_nothing_is_ordered() -> None:
    found = best_order(SICHUAN, SampledDelivery(np.array([-5.0, -1.0])))
    assert (found.order_kwh, found.expected_cny, found.share_of_perfect) == (0.0, 0.0, None)


def test_where_promising_costs_nothing_no_more_is_promised_than_is_worth_it() -> None:
    found = best_order(rule_named("guangzhou"), SampledDelivery(np.array([70.0, 100.0, 120.0])))
    assert found.order_kwh == pytest.approx(120)
    assert found.share_of_perfect == pytest.approx(1)


@pytest.mark.parametrize(("mean", "sigma"), [(0, 1), (1, 0), (float("nan"), 1), (1, float("inf"))])
def test_a_normal_has_a_mean_and_a_width(mean: float, sigma: float) -> None:
    with pytest.raises(InputError, match="must be positive"):
        NormalDelivery(mean, sigma)


@pytest.mark.parametrize("values", [[], [float("nan")]])
def test_a_sample_has_numbers(values: list[float]) -> None:
    with pytest.raises(InputError, match="finite numbers"):
        SampledDelivery(np.array(values))
