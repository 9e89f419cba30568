"""Money under every rule: nothing for nothing, no jumps where a rule has none, sums that are sums, nobody's order."""

from dataclasses import dataclass, fields
from decimal import ROUND_HALF_EVEN, Decimal
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.events import Direction
from models.settlement.agency import AgencyTerms
from models.settlement.inputs import SettlementInputs
from models.settlement.lines import LineKind, Lines
from models.settlement.rules.evaluate import effective_wh, shortfall_wh
from models.settlement.rules.load import packaged_rules
from models.settlement.rules.schema import Rule, Stage
from models.settlement.settle import settle
from tests.unit.models.settlement.calls import call, rule_named

RULES = list(packaged_rules().rules.values())
SICHUAN = rule_named("sichuan_market_v1")
CENT = Decimal("0.01")
every_rule = pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.rule_id)


def stage_of(rule: Rule) -> Stage:
    return Stage.REAL_TIME if rule.prices[0].stages == (Stage.REAL_TIME,) else Stage.DAY_AHEAD


WH = st.integers(-200_000, 300_000).map(lambda n: n / 1000)
AWARD = st.one_of(st.just(0.0), st.integers(1, 200_000).map(lambda n: n / 1000))
PRICE = st.integers(0, 3_000_000).map(lambda n: str(Decimal(n).scaleb(-6)))


@dataclass(frozen=True)
class Fleet:
    delivered: list[list[float]]
    award: list[list[float]]
    price: list[str]
    agents: list[str | None]
    protected: list[bool]

    def call(self, rule: Rule, order: list[int] | None = None, **more: object) -> SettlementInputs:
        rows = order or list(range(len(self.agents)))
        return call(
            [self.delivered[k] for k in rows],
            [self.award[k] for k in rows],
            self.price if rule.period == "clock_hour" else self.price[0],
            agents=[self.agents[k] for k in rows],
            protected=[self.protected[k] for k in rows],
            ids=[f"r{k}" for k in rows],
            stage=stage_of(rule),
            **more,  # type: ignore[arg-type]
        )


@st.composite
def fleets(draw: st.DrawFn, agents: tuple[str | None, ...] = (None, "a", "b")) -> Fleet:
    rows, columns = draw(st.integers(1, 6)), draw(st.integers(1, 4))

    def table(cell: st.SearchStrategy[float]) -> list[list[float]]:
        return draw(st.lists(st.lists(cell, min_size=columns, max_size=columns), min_size=rows, max_size=rows))

    def column(cell: st.SearchStrategy) -> list:
        return draw(st.lists(cell, min_size=rows, max_size=rows))

    prices = draw(st.lists(PRICE, min_size=columns, max_size=columns))
    return Fleet(table(WH), table(AWARD), prices, column(st.sampled_from(agents)), column(st.booleans()))


TERMS = st.builds(
    AgencyTerms,
    floor_cny_per_kwh=st.decimals(0, 2, places=3),
    price_share_fraction=st.decimals(0, 1, places=3),
    penalty_share_fraction=st.decimals(0, 1, places=3),
    capacity_share_fraction=st.decimals(0, 1, places=3),
)


@every_rule
@given(award=st.integers(1, 10**7), low=st.integers(-(10**7), 10**7), more=st.integers(0, 10**6))
def test_who_delivers_more_is_never_paid_less_up_to_110_percent(rule: Rule, award: int, low: int, more: int) -> None:
    for protected in (False, True):
        nets = []
        for delivered in (min(low, 11 * award // 10), min(low + more, 11 * award // 10)):
            given_ = call([[delivered / 1000]], [[award / 1000]], protected=[protected], stage=stage_of(rule))
            nets.append(settle(given_, rule).market_total_cny())
        assert nets[0] <= nets[1]


@every_rule
@given(fleet=fleets())
def test_nobody_is_paid_for_what_did_not_come(rule: Rule, fleet: Fleet) -> None:
    for line in settle(fleet.call(rule), rule):
        assert line.effective_kwh <= max(line.delivered_kwh, Decimal(0)) or line.party.is_aggregator
        assert line.penalty_cny >= 0
        if line.delivered_kwh <= 0 and not line.party.is_aggregator:
            assert line.net_cny <= 0


@every_rule
@pytest.mark.parametrize("protected", [False, True])
def test_pieces_meet_wherever_they_are_meant_to(rule: Rule, *, protected: bool) -> None:
    pieces = rule.assessment(protected=protected).effective
    award = 1_000_000
    jumps = []
    for piece, following in pairwise(pieces):
        assert piece.to is not None
        edge = int(piece.to * award)
        q = np.array([edge - 1, edge, edge + 1])
        around = effective_wh(rule.assessment(protected=protected), q, np.full(3, award))
        left, right = (p.award_factor + p.delivered_factor * piece.to for p in (piece, following))
        if left != right:
            jumps.append(float(piece.to))
            assert abs(around[1] - around[0]) > 1000
        else:
            assert (np.abs(np.diff(around)) <= 1).all()
    assert jumps == ([0.8] if rule.rule_id in ("tier_80_120", "generic_bands") else [])


@every_rule
@given(fleet=fleets(), terms=TERMS)
@settings(max_examples=30)
def test_every_line_can_be_computed_again_from_what_it_shows(rule: Rule, fleet: Fleet, terms: AgencyTerms) -> None:
    lines = settle(fleet.call(rule), rule, {"a": terms})
    for line in lines:
        paid = (line.effective_kwh * line.price_cny_per_kwh).quantize(CENT, ROUND_HALF_EVEN)
        assert line.payment_cny == paid
        power = (line.capacity_kw * line.capacity_price_cny_per_kw).quantize(CENT, ROUND_HALF_EVEN)
        assert line.capacity_cny == power
        if line.kind is not LineKind.SHARE:
            charged = (line.penalised_kwh * line.penalty_price_cny_per_kwh).quantize(CENT, ROUND_HALF_EVEN)
            assert line.penalty_cny == charged
        assert line.net_cny == line.payment_cny + line.capacity_cny - line.penalty_cny
        assert line.net_cny.as_tuple().exponent == -2


@every_rule
@given(fleet=fleets(), terms=TERMS)
@settings(max_examples=30)
def test_totals_are_the_sums_of_their_lines_and_no_money_is_made_or_lost(
    rule: Rule, fleet: Fleet, terms: AgencyTerms
) -> None:
    lines = settle(fleet.call(rule), rule, {"a": terms, "b": terms})
    listed = list(lines)
    from_market = [line for line in listed if line.payer == ""]
    assert lines.market_total_cny() == sum(line.net_cny for line in from_market)
    for party, total in lines.totals_cny().items():
        assert total == sum((line.net_cny for line in listed if line.party == party), Decimal(0))
    to_resources = sum(line.net_cny for line in listed if not line.party.is_aggregator)
    assert lines.market_total_cny() == to_resources + sum(lines.margins_cny().values())


def same(one: Lines, other: Lines) -> bool:
    columns = (
        np.array_equal(getattr(one.amounts, field.name), getattr(other.amounts, field.name))
        for field in fields(one.amounts)
    )
    return all(columns) and one.parties == other.parties and one.digests == other.digests


@every_rule
@given(fleet=fleets(), terms=TERMS, draw=st.randoms(use_true_random=False))
@settings(max_examples=30)
def test_the_order_of_the_resources_changes_nothing(rule: Rule, fleet: Fleet, terms: AgencyTerms, draw: object) -> None:
    order = list(range(len(fleet.agents)))
    draw.shuffle(order)  # type: ignore[attr-defined]
    one, other = (settle(fleet.call(rule, rows), rule, {"a": terms}) for rows in (None, order))
    assert same(one, other)


@given(fleet=fleets(("a",)), terms=TERMS)
def test_an_agent_has_the_sum_of_its_users_and_pays_no_more_penalty_than_they_would_alone(
    fleet: Fleet, terms: AgencyTerms
) -> None:
    one_price = Fleet(fleet.delivered, fleet.award, [fleet.price[0]] * len(fleet.price), fleet.agents, fleet.protected)
    lines = list(settle(one_price.call(SICHUAN), SICHUAN, {"a": terms}))
    agent = [line for line in lines if line.party.is_aggregator]
    users = [line for line in lines if not line.party.is_aggregator]
    for line in agent:
        mine = [user for user in users if user.start == line.start and user.kind is LineKind.ENERGY]
        if line.kind is LineKind.ENERGY:
            assert line.effective_kwh == sum(user.effective_kwh for user in mine)
            assert line.award_kwh == sum(user.award_kwh for user in mine)
    penalty = sum((line.penalty_cny for line in agent), Decimal(0))
    borne = sum((line.penalty_cny for line in users), Decimal(0))
    share = (terms.penalty_share_fraction * penalty).quantize(CENT, ROUND_HALF_EVEN)
    assert borne == share or (borne == 0 and penalty <= CENT * len(users))
    # alone by the hour: never less, but for the rounding of each shortfall (half a Wh) and each sum (half a cent)
    alone = [
        max(Decimal("0.9") * user.award_kwh - user.effective_kwh, Decimal(0)) * Decimal("1.1")
        for user in users
        if user.kind is LineKind.ENERGY
    ]
    over = [
        max(user.delivered_kwh - Decimal("1.1") * user.award_kwh, Decimal(0)) * Decimal("1.1")
        for user in users
        if user.kind is LineKind.ENERGY and fleet.protected[int(user.party.party_id[1:])]
    ]
    price = min(Decimal(fleet.price[0]), Decimal(3))
    assert penalty <= (sum(alone) + sum(over)) * price + Decimal("0.005") * (len(alone) + len(over) + 1) + CENT


@given(fleet=fleets((None,)))
def test_direct_users_are_penalised_hour_by_hour(fleet: Fleet) -> None:
    for line in settle(fleet.call(SICHUAN), SICHUAN):
        short = max(900 * line.award_kwh - 1000 * line.effective_kwh, Decimal(0))
        protected = fleet.protected[int(line.party.party_id[1:])]
        over = max(1000 * line.delivered_kwh - 1100 * line.award_kwh, Decimal(0)) if protected else Decimal(0)
        expected = short.to_integral_value(ROUND_HALF_EVEN) + over.to_integral_value(ROUND_HALF_EVEN)
        assert 1000 * line.penalised_kwh == expected


@given(award=st.integers(0, 10**6), effective=st.integers(-(10**6), 10**6))
def test_a_shortfall_is_never_negative(award: int, effective: int) -> None:
    penalty = SICHUAN.ordinary.penalty
    short = int(shortfall_wh(penalty, np.array([effective]), np.array([award]))[0])
    assert short == max(round(Decimal("0.9") * award - effective), 0)


@given(fleet=fleets())
def test_a_filling_event_is_the_mirror_of_a_shaving_one(fleet: Fleet) -> None:
    one = settle(fleet.call(SICHUAN), SICHUAN)
    other = settle(fleet.call(SICHUAN, direction=Direction.FILL), SICHUAN)
    for name in ("delivered_wh", "effective_wh", "payment_fen", "penalty_fen"):
        assert np.array_equal(getattr(one.amounts, name), getattr(other.amounts, name)), name
