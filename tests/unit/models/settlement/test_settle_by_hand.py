"""Every rule on examples that are worked by hand: the arithmetic stands beside them (B award, q delivered, P price)."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import numpy as np
import pytest

from models.errors import InputError
from models.events import Direction
from models.intervals import IntervalGrid
from models.settlement.agency import AgencyTerms
from models.settlement.lines import LineKind, digest_of
from models.settlement.rules.schema import Stage
from models.settlement.settle import settle
from tests.unit.models.settlement.calls import START, call, net_of, rule_named

SICHUAN = rule_named("sichuan_market_v1")
QUARTER, FIVE = timedelta(minutes=15), timedelta(minutes=5)


@pytest.mark.parametrize(
    ("delivered", "price", "net"),
    [
        (100, "1.2", "120.00"),  # 100 · 1.2
        (110, "1.2", "132.00"),  # 110 · 1.2
        (150, "1.2", "156.00"),  # (110 + 0.5 · 40) · 1.2 = 130 · 1.2
        (90, "1.2", "108.00"),  # 90 · 1.2, and 0.9 · 100 - 90 = 0
        (80, "1.2", "82.80"),  # 80 · 1.2 - (90 - 80) · 1.1 · 1.2 = 96 - 13.20
        (0, "1.2", "-118.80"),  # 0 - 90 · 1.32
        (-10, "1.2", "-144.00"),  # -12 - 100 · 1.32
        (100, "4", "300.00"),  # the price is cut to 3
        (50, "-1", "0.00"),  # ... and to 0
    ],
)
def test_sichuan_direct_user(delivered: float, price: str, net: str) -> None:
    assert net_of(settle(call([[delivered]], [[100]], price), SICHUAN), "r0") == net


def test_sichuan_direct_user_is_judged_by_the_hour() -> None:
    # 13 h: 130 · 1 = 130; 14 h: 50 - (90 - 50) · 1.1 = 6; the surplus of the first hour helps nothing
    lines = settle(call([[150, 50]], [[100, 100]]), SICHUAN)
    assert [str(line.net_cny) for line in lines] == ["130.00", "6.00"]
    assert [line.kind for line in lines] == [LineKind.ENERGY] * 2


def test_sichuan_agent_is_judged_by_the_day() -> None:
    # the same load: e = 130 + 50 = 180, 0.9 · 200 - 180 = 0: 130 + 50 = 180, and a line that says so
    lines = settle(call([[150, 50]], [[100, 100]], agents=["a"]), SICHUAN)
    assert net_of(lines, "a", is_aggregator=True) == "180.00"
    last = lines.of("a", is_aggregator=True)[-1]
    assert (last.kind, str(last.award_kwh), str(last.penalty_cny)) == (LineKind.NETTED, "200.000", "0.00")
    assert (last.start, last.end) == (START, START + timedelta(hours=2))


def test_sichuan_agent_counts_the_capped_quantities_of_its_users() -> None:
    # q = 150 + 40 = 190 would be enough for 0.9 · 200, but e = 130 + 40 = 170: 170 - (180 - 170) · 1.1 = 159
    lines = settle(call([[150], [40]], [[100], [100]], agents=["a", "a"]), SICHUAN)
    assert net_of(lines, "a", is_aggregator=True) == "159.00"
    agent, one, two = lines.of("a", is_aggregator=True)[0], lines.of("r0")[0], lines.of("r1")[0]
    assert (str(agent.delivered_kwh), str(agent.effective_kwh)) == ("190.000", "170.000")
    assert agent.called_s == 3600  # both at the same time
    assert agent.input_digest == digest_of([(line.party.party_id, line.input_digest) for line in (two, one)])


def test_two_days_are_netted_apart() -> None:
    # 23 h (16 July): 150 → 130; 0 h (17 July): 50; day 1: 0, day 2: (90 - 50) · 1.1 = 44; 130 + 50 - 44 = 136
    late = START.replace(hour=23)
    lines = settle(call([[150, 50]], [[100, 100]], agents=["a"], start=late), SICHUAN)
    assert net_of(lines, "a", is_aggregator=True) == "136.00"


def test_the_price_of_a_netted_day_is_weighted_by_award() -> None:
    # (100 · 1 + 300 · 3) / 400 = 2.5; nothing came: -(0.9 · 400) · 1.1 · 2.5 = -360 · 2.75 = -990
    lines = settle(call([[0, 0]], [[100, 300]], ["1", "3"], agents=["a"]), SICHUAN)
    assert net_of(lines, "a", is_aggregator=True) == "-990.00"
    assert str(lines.of("a", is_aggregator=True)[-1].penalty_price_cny_per_kwh) == "2.750000"


@pytest.mark.parametrize(
    ("terms", "price", "user", "margin"),
    [
        # floor 0.8 + 0.5 · (1.2 - 0.8) = 1.0: 100 · 1.0; the agent keeps 120 - 100
        (AgencyTerms(floor_cny_per_kwh=Decimal("0.8"), price_share_fraction=Decimal("0.5")), "1.2", "100.00", "20.00"),
        # under the floor: 100 · 0.8; the agent adds 60 - 80
        (AgencyTerms(floor_cny_per_kwh=Decimal("0.8"), price_share_fraction=Decimal("0.5")), "0.6", "80.00", "-20.00"),
        (AgencyTerms(mode="fixed", fixed_cny_per_kwh=Decimal("0.7")), "1.2", "70.00", "50.00"),
        (None, "1.2", "120.00", "0.00"),
    ],
)
def test_sichuan_agent_pays_its_users_by_contract(
    terms: AgencyTerms | None, price: str, user: str, margin: str
) -> None:
    lines = settle(call([[100]], [[100]], price, agents=["a"]), SICHUAN, {} if terms is None else {"a": terms})
    assert net_of(lines, "r0") == user
    assert str(lines.margins_cny()["a"]) == margin
    assert {line.payer for line in lines.of("r0")} == {"a"}


def test_sichuan_users_bear_a_share_of_what_their_agent_pays() -> None:
    # alone: r0 (90 - 50) · 1.1 = 44, r1 (90 - 0) · 1.1 = 99, r2 (100) nothing; agent: (270 - 150) · 1.1 = 132
    # θ = 0.5: 66 in the proportion 44 : 99 = 20.307… : 45.692… → 20.31 + 45.69; the agent bears 66
    terms = {"a": AgencyTerms(penalty_share_fraction=Decimal("0.5"))}
    lines = settle(call([[50], [0], [100]], [[100], [100], [100]], agents=["a"] * 3), SICHUAN, terms)
    shares = {line.party.party_id: str(line.penalty_cny) for line in lines if line.kind is LineKind.SHARE}
    assert shares == {"r0": "20.31", "r1": "45.69"}
    assert net_of(lines, "a", is_aggregator=True) == "18.00"  # 150 - 132
    assert str(lines.margins_cny()["a"]) == "-66.00"  # 18 - (50 - 20.31) - (0 - 45.69) - 100


def test_sichuan_protected_user_is_charged_for_what_is_over() -> None:
    # e = 110; 110 - (150 - 110) · 1.1 = 66; up to 110 % as everybody
    assert net_of(settle(call([[150]], [[100]], protected=[True]), SICHUAN), "r0") == "66.00"
    assert net_of(settle(call([[110]], [[100]], protected=[True]), SICHUAN), "r0") == "110.00"
    assert net_of(settle(call([[80]], [[100]], protected=[True]), SICHUAN), "r0") == "69.00"  # 80 - 10 · 1.1


def test_an_agent_is_charged_for_its_protected_users_though_others_fell_short() -> None:
    # r0: e = 110, x = 40; r1: e = 60; day: max(180 - 170, 0) + 40 = 50; 170 - 50 · 1.1 = 115
    lines = settle(call([[150], [60]], [[100], [100]], agents=["a", "a"], protected=[True, False]), SICHUAN)
    assert net_of(lines, "a", is_aggregator=True) == "115.00"


def test_sichuan_emergency_has_its_odd_price_and_no_penalty() -> None:
    # 50 · 0.1 · 1.2 = 6, although 50 is under 90
    lines = settle(call([[50]], [[100]], "1.2", stage=Stage.EMERGENCY), SICHUAN)
    assert net_of(lines, "r0") == "6.00"


def test_shenzhen_pays_five_for_what_was_ordered() -> None:
    rule = rule_named("shenzhen_precise")
    for delivered, net in ((60, "300.00"), (150, "500.00"), (-5, "0.00")):  # 60 · 5; 100 · 5; nothing
        lines = settle(call([[delivered]], [[100]], "0.3", stage=Stage.REAL_TIME), rule)
        assert net_of(lines, "r0") == net


def test_zhejiang_pays_from_half_of_the_order() -> None:
    rule = rule_named("zhejiang")
    for delivered, net in ((50, "100.00"), (49.999, "0.00"), (120, "200.00")):  # 50 · 2; under half; 100 · 2
        assert net_of(settle(call([[delivered]], [[100]], "2"), rule), "r0") == net
    # the conditions hold for the day: 120 + 30 = 150 of 200 is enough; 100 · 2 + 30 · 2 = 260
    assert net_of(settle(call([[120, 30]], [[100, 100]], "2"), rule), "r0") == "260.00"


@pytest.mark.parametrize(
    ("load", "net"),
    [
        ([119, 50, 50, 50], "240.00"),  # delivered 420 - 269 = 151, of 120 awarded: 120 · 2
        ([121, 50, 50, 50], "0.00"),  # 149 delivered, but the highest load 121 is over the baseline's 120
        ([120, 50, 50, 50], "0.00"),  # as high is not under it
    ],
)
def test_zhejiang_wants_the_peak_under_the_baselines_peak(load: list[float], net: str) -> None:
    baseline = np.array([[100.0, 100, 100, 120]])
    given = call((baseline - np.array([load])).tolist(), [[30] * 4], "2", step=QUARTER, baseline_kwh=baseline)
    assert net_of(settle(given, rule_named("zhejiang")), "r0") == net


@pytest.mark.parametrize(("load", "net"), [([31.0, 20.0], "0.00"), ([29.0, 22.0], "78.00")])
def test_peaks_of_intervals_of_different_lengths_are_compared_as_power(load: list[float], net: str) -> None:
    # 15 and 45 minutes; baseline 30 / 0.25 = 120 kW and 80 kW; 31 kWh are 124 kW: over it; 29 kWh 116 kW: 39 · 2
    baseline = np.array([[30.0, 60.0]])
    given = call((baseline - np.array([load])).tolist(), [[20, 20]], "2", baseline_kwh=baseline)
    grid = IntervalGrid((START, START + QUARTER, START + 4 * QUARTER))
    assert net_of(settle(replace(given, grid=grid), rule_named("zhejiang")), "r0") == net


def test_zhejiang_filling_wants_the_load_over_the_baseline() -> None:
    # filling: price at most 1; 80 more than the baseline: 80 · 1
    given = call([[80]], [[100]], "2", direction=Direction.FILL)
    assert net_of(settle(given, rule_named("zhejiang")), "r0") == "80.00"


def test_tier_80_120() -> None:
    rule = rule_named("tier_80_120")
    for delivered, net in ((79.999, "0.00"), (80, "120.00"), (120, "180.00"), (130, "180.00")):  # 80, 120, 120 · 1.5
        assert net_of(settle(call([[delivered]], [[100]], "1.5"), rule), "r0") == net


def test_guangzhou_pays_no_more_than_three_and_a_half() -> None:
    assert net_of(settle(call([[80]], [[100]], "4"), rule_named("guangzhou")), "r0") == "280.00"  # 80 · 3.5


def test_jiangsu_pays_a_short_real_time_call_in_two_parts() -> None:
    # 20 minutes from 13:50, across the full hour: 4 · 7.5 = 30 kWh; 30 · 2.4 = 72; 30 / (1/3 h) = 90 kW · 10 = 900
    start = START.replace(minute=50)
    given = call([[7.5] * 4], [[25 / 3] * 4], "1", stage=Stage.REAL_TIME, step=FIVE, start=start)
    (line,) = settle(given, rule_named("jiangsu"))
    assert [str(x) for x in (line.payment_cny, line.capacity_kw, line.capacity_cny)] == ["72.00", "90.000", "900.00"]


def test_jiangsu_caps_the_price_of_other_calls() -> None:
    # half an hour is not under half an hour: 6 · 5 = 30 kWh · 4.8, and no part for power
    given = call([[5] * 6], [[6] * 6], "5", stage=Stage.REAL_TIME, step=FIVE)
    assert net_of(settle(given, rule_named("jiangsu")), "r0") == "144.00"


def test_generic_bands_in_real_time() -> None:
    given = call([[100]], [[100]], "9", stage=Stage.REAL_TIME)
    assert net_of(settle(given, rule_named("generic_bands")), "r0") == "250.00"  # 100 · 2.5


def test_only_called_intervals_count() -> None:
    # quarters 1 and 2 are called: 25 + 25 of 50; what the others did is no part of it
    lines = settle(call([[25, 25, 99, -99]], [[25, 25, 0, 0]], step=QUARTER), SICHUAN)
    (line,) = lines
    assert (str(line.net_cny), line.called_s, str(line.baseline_kwh)) == ("50.00", 1800, "20000.000")


def test_filling_is_settled_by_what_was_drawn_more() -> None:
    (line,) = settle(call([[80]], [[100]], "1.2", direction=Direction.FILL), SICHUAN)
    assert (str(line.delivered_kwh), str(line.metered_kwh), str(line.net_cny)) == ("80.000", "10080.000", "82.80")


def test_a_line_says_all_that_it_was_computed_from() -> None:
    given = call([[80]], [[100]], "1.2")
    (line,) = settle(given, SICHUAN)
    assert (line.start, line.end, line.called_s) == (START, START + timedelta(hours=1), 3600)
    assert (line.rule_id, line.rule_version, line.input_digest) == ("sichuan_market_v1", 1, given.digests[0])
    shown = (line.baseline_kwh, line.metered_kwh, line.award_kwh, line.delivered_kwh, line.effective_kwh)
    assert [str(x) for x in shown] == ["10000.000", "9920.000", "100.000", "80.000", "80.000"]
    money = (line.price_cny_per_kwh, line.payment_cny, line.penalised_kwh, line.penalty_price_cny_per_kwh)
    assert [str(x) for x in (*money, line.penalty_cny)] == ["1.200000", "96.00", "10.000", "1.320000", "13.20"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"prices": ["1", "2", "2", "2"]}, "must be one price from"),
        ({"award": [[-1.0] * 4]}, "must not be negative"),
        ({"award": [[float("nan")] * 4]}, "must be finite"),
        ({"delivered": [[3e9] * 4]}, "to be exact"),
        ({"start": START.replace(minute=10)}, "must not cross the full hour"),
        ({"prices": ["1e9"] * 4}, "within ±100"),
    ],
)
def test_what_cannot_be_settled_is_refused(change: dict, said: str) -> None:
    given = {"delivered": [[20.0] * 4], "award": [[25.0] * 4], "prices": ["1"] * 4, "start": START} | change
    with pytest.raises(InputError, match=said):
        settle(call(given["delivered"], given["award"], given["prices"], step=QUARTER, start=given["start"]), SICHUAN)


def test_a_resource_stands_once_and_digests_are_digests() -> None:
    with pytest.raises(InputError, match="each resource must stand once"):
        call([[1], [1]], [[1], [1]], ids=["x", "x"])
