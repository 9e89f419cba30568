r"""From energy to money: every line of a call, for resources and aggregators, under any rule.

    (1)  q = Σ (b - L)                    over the called intervals of a period; fill: Σ (L - b)       [Wh]
    (2)  e_A = Σ_i e_i                    an agent's effective quantity: of its users' capped ones     [Wh]
    (3)  n_S = max(β Σ_S B - Σ_S e, 0)    shortfall over a span S: one period, or a market day         [Wh]
    (4)  p_S = Σ_S B p / Σ_S B            price of a span, by award                                    [µCNY/kWh]
    (5)  money = e p + c e / Δ - f p_S (n_S + Σ_S x)                                                   [CNY]

======  ================  ======  ===================================================================
symbol  name here         unit    meaning
======  ================  ======  ===================================================================
b, L    baseline, load    Wh      of one interval
B       award             Wh      an agent's: the sum of its users'
e, x    effective,        Wh      of the rule (``rules/evaluate.py``); nothing where not valid
        excess
f, c    price_factor,     -,      of the rule; c is paid for power besides
        capacity price    CNY/kW
Δ       called_s          h       called time of the period
======  ================  ======  ===================================================================

(2) and (3) are the two traps of the Sichuan text [S5 2nd]: one user's 150 % does not cover another's 50 % (over 110 %
it counts half), but an agent's good hour covers its bad one, which a direct user's does not.  Which spans are netted
is the rule's data.  Excess is never netted against shortfall.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from models.events import Direction
from models.settlement.agency import PASS_THROUGH, AgencyTerms
from models.settlement.exact import IntArray, cny_per_kwh, divided, fen, micro, split
from models.settlement.inputs import Periods, SettlementInputs, periods_of
from models.settlement.lines import Amounts, LineKind, Lines, Party, digest_of
from models.settlement.rules.evaluate import (
    effective_wh,
    excess_wh,
    penalty_micro,
    price_terms,
    prices_micro,
    shortfall_wh,
)
from models.settlement.rules.schema import PriceTerms, Rule, Span
from models.settlement.validity import interval_s, span_starts, valid


@dataclass(frozen=True)
class _Quantities:
    """Of N parties in P periods, (N, P) each."""

    called_s: IntArray
    baseline: IntArray
    metered: IntArray
    award: IntArray
    delivered: IntArray
    effective: IntArray
    excess: IntArray

    def of_owners(self, owner: IntArray, count: int) -> "_Quantities":
        """Sums over each owner's members, (2); an owner is called as long as the longest called of its members."""
        mine = owner >= 0

        def total(amount: IntArray) -> IntArray:
            sums = np.zeros((count, amount.shape[1]), dtype=np.int64)
            np.add.at(sums, owner[mine], amount[mine])
            return sums

        called = np.zeros((count, self.called_s.shape[1]), dtype=np.int64)
        np.maximum.at(called, owner[mine], self.called_s[mine])
        rest = (self.baseline, self.metered, self.award, self.delivered, self.effective, self.excess)
        return _Quantities(called, *(total(amount) for amount in rest))


@dataclass(frozen=True)
class _Penalties:
    """Of N parties in S spans, (N, S) each; ``first``: the period that each span begins with."""

    by_day: bool
    first: NDArray[np.intp]
    award: IntArray
    penalised: IntArray
    price: IntArray
    money: IntArray


@dataclass(frozen=True)
class _Call:
    """One call under one rule: what is the same for all parties."""

    inputs: SettlementInputs
    rule: Rule
    terms: PriceTerms
    periods: Periods
    price: IntArray
    owner: IntArray
    agents: tuple[str, ...]
    contracts: tuple[AgencyTerms, ...]

    @property
    def spans(self) -> list[tuple[int, int]]:
        """First and last period of everything that a line can be about: periods, then market days."""
        first, count = span_starts(self.periods, "day").tolist(), len(self.periods.spans)
        days = zip(first, [*first[1:], count], strict=True)
        return [(k, k) for k in range(count)] + [(begin, end - 1) for begin, end in days]

    def span_of(self, penalties: _Penalties) -> IntArray:
        """Positions of the spans of penalties among ``spans``, (S,)."""
        count = len(self.periods.spans)
        spans = self.spans
        ends = [*penalties.first[1:].tolist(), count]
        return np.array([spans.index((k, end - 1)) for k, end in zip(penalties.first.tolist(), ends, strict=True)])


def settle(inputs: SettlementInputs, rule: Rule, contracts: Mapping[str, AgencyTerms] | None = None) -> Lines:
    """Lines of a call, ordered by party and time; ``contracts``: by aggregator, else all is passed through.

    ``InputError`` if the rule has no price for such a call or the numbers are too large to stay exact.
    """
    inputs = inputs.in_order()
    call = _call(inputs, rule, contracts or {})
    users = _quantities(call)
    agents = users.of_owners(call.owner, len(call.agents))
    user_price, user_capacity = _user_prices(call)
    direct = _penalties(call, users, inputs.protected, rule.netting.direct)
    of_users = _penalties(call, users, inputs.protected, rule.netting.agent)
    of_agents = _penalties(call, agents, np.zeros(len(call.agents), dtype=np.bool_), rule.netting.agent)
    count = len(inputs.resource_ids)
    position = np.arange(count, count + len(call.agents))
    payer = np.where(call.owner >= 0, call.owner + count, -1)
    market = np.broadcast_to(call.price, agents.award.shape)
    capacity = np.full(len(call.agents), micro(call.terms.capacity_cny_per_kw))
    alone = np.where(call.owner[:, None] >= 0, 0, 1)  # an agent's users have their penalties in lines of their own
    parts = [
        _energy(users, np.arange(count), payer, (user_price, user_capacity), direct, alone),
        _energy(agents, position, np.full(len(call.agents), -1), (market, capacity), of_agents, 1),
        _netted(call, direct, np.arange(count), alone),
        _netted(call, of_agents, position, 1),
        _shares(call, of_users, of_agents, payer),
    ]
    spans = tuple((call.periods.spans[a][0], call.periods.spans[b][1]) for a, b in call.spans)
    members: list[list[tuple[str, str]]] = [[] for _ in call.agents]
    for owner, name, digest in zip(call.owner.tolist(), inputs.resource_ids, inputs.digests, strict=True):
        if owner >= 0:
            members[owner].append((name, digest))
    digests = (*inputs.digests, *(digest_of(rows) for rows in members))
    parties = (*(Party(False, name) for name in inputs.resource_ids), *(Party(True, name) for name in call.agents))
    return Lines(parties, digests, spans, Amounts.joined(parts), rule.rule_id, rule.version)


def _call(inputs: SettlementInputs, rule: Rule, contracts: Mapping[str, AgencyTerms]) -> _Call:
    called = inputs.award_wh.any(axis=0)
    duration_h = int(interval_s(inputs)[called].sum()) / 3600  # six twelfths of an hour are less than half in floats
    terms = price_terms(rule, inputs.stage, inputs.direction, duration_h)
    periods = periods_of(inputs, rule)
    agents = tuple(sorted({name for name in inputs.aggregator_ids if name is not None}))
    number = {name: k for k, name in enumerate(agents)}
    owner = np.array([-1 if name is None else number[name] for name in inputs.aggregator_ids], dtype=np.int64)
    agreed = tuple(contracts.get(name, PASS_THROUGH) for name in agents)
    price = prices_micro(terms, periods.clearing_cny_per_kwh)
    call = _Call(inputs, rule, terms, periods, price, owner, agents, agreed)
    dearest = [micro(terms.capacity_cny_per_kw), *_agents_prices(call).ravel().tolist(), *price.tolist()]
    factors = [3600 / int(interval_s(inputs).min()) if terms.capacity_cny_per_kw else 1.0]  # W per Wh
    for assessment in (rule.ordinary, rule.protected or rule.ordinary):
        dearest += penalty_micro(assessment.penalty, price).tolist()
        factors += [float(abs(piece.award_factor) + abs(piece.delivered_factor)) for piece in assessment.effective]
        factors += [float(assessment.penalty.below or 0) if assessment.penalty else 0.0]
    inputs.check_exact(max(factors), max(dearest))
    return call


def _quantities(call: _Call) -> _Quantities:
    inputs, periods, rule = call.inputs, call.periods, call.rule
    called = inputs.award_wh > 0
    base = periods.total(np.where(called, inputs.baseline_wh, 0))
    load = periods.total(np.where(called, inputs.metered_wh, 0))
    award = periods.total(inputs.award_wh)
    delivered = base - load if inputs.direction is Direction.SHAVE else load - base
    counts = np.where(valid(inputs, periods, rule.validity), delivered, 0)
    guarded = inputs.protected[:, None]
    one, other = rule.assessment(protected=True), rule.assessment(protected=False)
    effective = np.where(guarded, effective_wh(one, counts, award), effective_wh(other, counts, award))
    excess = np.where(guarded, excess_wh(one.penalty, counts, award), excess_wh(other.penalty, counts, award))
    called_s = periods.total(np.where(called, interval_s(inputs), 0))
    return _Quantities(called_s, base, load, award, delivered, effective, excess)


def _agents_prices(call: _Call) -> IntArray:
    """What the users of every agent get, (A, P) µCNY/kWh."""
    market = [cny_per_kwh(price) for price in call.price.tolist()]
    rows = [[micro(terms.user_price_cny_per_kwh(price)) for price in market] for terms in call.contracts]
    return np.array(rows, dtype=np.int64).reshape(len(call.agents), len(market))


def _user_prices(call: _Call) -> tuple[IntArray, IntArray]:
    """What every resource gets: (R, P) µCNY/kWh and (R,) µCNY/kW."""
    energy = np.vstack([_agents_prices(call), call.price[None, :]])  # the last row is the market's: owner -1
    paid = call.terms.capacity_cny_per_kw
    capacity = [micro(paid * (1 - terms.capacity_share_fraction)) for terms in call.contracts]
    return energy[call.owner], np.array([*capacity, micro(paid)], dtype=np.int64)[call.owner]


def _penalties(call: _Call, of: _Quantities, protected: NDArray[np.bool_], span: Span) -> _Penalties:
    """(3) and (4); agents are assessed as ordinary users."""
    first = span_starts(call.periods, span)
    award, effective, excess = (np.add.reduceat(x, first, axis=1) for x in (of.award, of.effective, of.excess))
    price = divided(np.add.reduceat(of.award * call.price, first, axis=1), np.maximum(award, 1))
    guarded = protected[:, None]
    one, other = (call.rule.assessment(protected=kind).penalty for kind in (True, False))
    penalised = np.where(guarded, shortfall_wh(one, effective, award), shortfall_wh(other, effective, award)) + excess
    dear = np.where(guarded, penalty_micro(one, price), penalty_micro(other, price))
    if not call.terms.penalised:
        penalised, dear = np.zeros_like(penalised), np.zeros_like(dear)
    return _Penalties(span == "day", first, award, penalised, dear, fen(penalised, dear))


def _energy(
    of: _Quantities,
    position: IntArray,
    payer: IntArray,
    prices: tuple[IntArray, IntArray],
    penalties: _Penalties,
    bears: IntArray | int,
) -> Amounts:
    """Lines of periods; the penalty stands in them where it is not netted over more."""
    row, period = np.nonzero(of.award > 0)
    paid, capacity_price = prices[0][row, period], prices[1][row]
    called_s, effective = of.called_s[row, period], of.effective[row, period]
    capacity_w = np.where(capacity_price > 0, divided(3600 * effective, np.maximum(called_s, 1)), 0)
    columns = [np.zeros_like(of.award)] * 3
    if not penalties.by_day:
        columns = [np.where(bears, x, 0) for x in (penalties.penalised, penalties.price, penalties.money)]
    penalised, dear, money = (column[row, period] for column in columns)
    return Amounts.of(
        len(row),
        party=position[row],
        payer=payer[row],
        kind=LineKind.ENERGY,
        span=period,
        called_s=called_s,
        baseline_wh=of.baseline[row, period],
        metered_wh=of.metered[row, period],
        award_wh=of.award[row, period],
        delivered_wh=of.delivered[row, period],
        effective_wh=effective,
        price_micro=paid,
        payment_fen=fen(effective, paid),
        penalised_wh=penalised,
        penalty_price_micro=dear,
        penalty_fen=money,
        capacity_w=capacity_w,
        capacity_price_micro=capacity_price,
        capacity_fen=fen(capacity_w, capacity_price),
    )


def _netted(call: _Call, penalties: _Penalties, position: IntArray, bears: IntArray | int) -> Amounts:
    """A line for every netted span of who bears its own penalty, also where netting left nothing of it."""
    if not penalties.by_day:
        return Amounts.of(0)
    row, span = np.nonzero((penalties.award > 0) & np.asarray(bears, dtype=np.bool_))
    return Amounts.of(
        len(row),
        party=position[row],
        payer=np.full(len(row), -1),
        kind=LineKind.NETTED,
        span=call.span_of(penalties)[span],
        award_wh=penalties.award[row, span],
        penalised_wh=penalties.penalised[row, span],
        penalty_price_micro=penalties.price[row, span],
        penalty_fen=penalties.money[row, span],
    )


def _shares(call: _Call, of_users: _Penalties, of_agents: _Penalties, payer: IntArray) -> Amounts:
    """What users bear of their agents' penalties, in proportion to their own, to the cent."""
    borne = np.zeros_like(of_users.money)
    for agent, span in zip(*np.nonzero(of_agents.money > 0), strict=True):
        mine = np.flatnonzero((call.owner == agent) & (of_users.money[:, span] > 0))
        share = Fraction(call.contracts[agent].penalty_share_fraction) * int(of_agents.money[agent, span])
        if mine.size:  # else each fell short by less than half a cent, and the agent bears it
            borne[mine, span] = split(round(share), of_users.money[mine, span].tolist())
    row, span = np.nonzero((of_users.penalised > 0) & (call.owner[:, None] >= 0))
    return Amounts.of(
        len(row),
        party=row,
        payer=payer[row],
        kind=LineKind.SHARE,
        span=call.span_of(of_users)[span],
        award_wh=of_users.award[row, span],
        penalised_wh=of_users.penalised[row, span],
        penalty_price_micro=of_users.price[row, span],
        penalty_fen=borne[row, span],
    )
