r"""Capacity kept ready: paid by the kW of a month (or whatever period the price is for), called or not.

    (1)  K = capacity                          where no response was called       [kW]
    (2)  K = min(capacity, mean award)         where it was, if the rule says so  [kW]
    (3)  money = K · min(price, cap)                                              [CNY]

======  =====================  ======  ===========================================
symbol  name here              unit    meaning
======  =====================  ======  ===========================================
K       capacity_kw of a line  kW      what is paid; to the W, half to even
price   price_cny_per_kw       CNY/kW  of the whole period
======  =====================  ======  ===========================================

An agent is paid for the sum of its users' K and keeps γ of each user's money (``models.settlement.agency``).
Source: the restatement of Sichuan's rule [S5 2nd]; it says "hour" and "month" side by side, so the period is whoever's
the price is.
"""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

import numpy as np

from models.errors import InputError, InputFault
from models.settlement.agency import PASS_THROUGH, AgencyTerms
from models.settlement.exact import fen, micro, wh
from models.settlement.lines import Amounts, LineKind, Lines, Party, digest_of
from models.settlement.rules.schema import Rule


@dataclass(frozen=True, slots=True)
class KeptReady:
    """What one resource kept ready; ``mean_award_kw`` None: it was not called in the period."""

    resource_id: str
    aggregator_id: str | None
    capacity_kw: float
    mean_award_kw: float | None
    digest: str


def reserve_lines(
    kept: tuple[KeptReady, ...],
    span: tuple[datetime, datetime],
    price_cny_per_kw: Decimal,
    rule: Rule,
    contracts: Mapping[str, AgencyTerms] | None = None,
) -> Lines:
    """Lines of kind ``reserve`` for resources and aggregators; ``InputError`` if the rule pays no reserve."""
    if rule.reserve is None:
        raise InputError([InputFault("settlement rules", "reserve", None, f"rule {rule.name} must pay reserve")])
    kept = tuple(sorted(kept, key=lambda row: row.resource_id))
    _check(kept)
    cap = rule.reserve.cap_cny_per_kw
    price = price_cny_per_kw if cap is None else min(price_cny_per_kw, cap)
    paid_w = wh([_paid_kw(row, at_most_award=rule.reserve.at_most_mean_award) for row in kept], "capacity_kw")
    agents = sorted({row.aggregator_id for row in kept if row.aggregator_id is not None})
    number = {name: len(kept) + k for k, name in enumerate(agents)}
    payer = np.array([-1 if row.aggregator_id is None else number[row.aggregator_id] for row in kept], dtype=np.int64)
    sums = np.array([paid_w[payer == number[name]].sum() for name in agents], dtype=np.int64)
    terms = [(contracts or {}).get(row.aggregator_id or "", PASS_THROUGH) for row in kept]
    user_price = [
        micro(price if row.aggregator_id is None else price * (1 - agreed.capacity_share_fraction))
        for row, agreed in zip(kept, terms, strict=True)
    ]
    prices = np.array([*user_price, *(micro(price) for _ in agents)], dtype=np.int64)
    power = np.concatenate([paid_w, sums])
    amounts = Amounts.of(
        len(power),
        party=np.arange(len(power)),
        payer=np.concatenate([payer, np.full(len(agents), -1)]),
        kind=LineKind.RESERVE,
        capacity_w=power,
        capacity_price_micro=prices,
        capacity_fen=fen(power, prices),
    )
    members = ([(row.resource_id, row.digest) for row in kept if row.aggregator_id == name] for name in agents)
    return Lines(
        (*(Party(False, row.resource_id) for row in kept), *(Party(True, name) for name in agents)),
        (*(row.digest for row in kept), *(digest_of(rows) for rows in members)),
        (span,),
        amounts,
        rule.rule_id,
        rule.version,
    )


def _paid_kw(row: KeptReady, *, at_most_award: bool) -> float:
    if row.mean_award_kw is None or not at_most_award:
        return row.capacity_kw
    return min(row.capacity_kw, row.mean_award_kw)


def _check(kept: tuple[KeptReady, ...]) -> None:
    faults = [
        InputFault(row.resource_id, "capacity_kw", (row.capacity_kw, row.mean_award_kw), "must not be negative")
        for row in kept
        if not row.capacity_kw >= 0 or not (row.mean_award_kw or 0) >= 0
    ]
    names = [row.resource_id for row in kept]
    faults += [
        InputFault("reserve", "resource_id", a, "each resource must stand once")
        for a, b in itertools.pairwise(names)
        if a == b
    ]
    if faults:
        raise InputError(faults)
