"""Issued statements for the tests of what is printed of them: small ones by hand, and any that a rule can settle."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from models.events import Direction, Event, EventRecord
from models.life_cycle import EventStatus
from models.settlement.agency import AgencyTerms
from models.settlement.inputs import SettlementInputs
from models.settlement.issued import IssuedStatement, issued
from models.settlement.rules.schema import Stage
from tests.unit.models.settlement.calls import HOUR, START, call, rule_named

AT = datetime(2025, 7, 18, 2, 30, tzinfo=UTC)
TERMS = {
    "sun": AgencyTerms(
        floor_cny_per_kwh=Decimal("0.8"),
        price_share_fraction=Decimal("0.75"),
        penalty_share_fraction=Decimal("0.6"),
        capacity_share_fraction=Decimal("0.3"),
    ),
    "moon": AgencyTerms(mode="fixed", fixed_cny_per_kwh=Decimal("1.2")),
}
AGENTS = ["sun", "sun", "moon", None]
DELIVERED = [[90.123, 60.5, 100.0], [30.0, 20.25, 50.0], [80.0, 95.0, 130.0], [70.0, 100.0, 110.0]]
AWARD = [[100.0] * 3, [50.0] * 3, [100.0] * 3, [100.0] * 3]


def small_call(**changes: Any) -> SettlementInputs:
    given: dict[str, Any] = {
        "delivered_kwh": DELIVERED,
        "award_kwh": AWARD,
        "price": ["1.35", "2.10", "3.40"],
        "agents": AGENTS,
        "protected": [True, False, False, False],
    }
    return call(**(given | changes))


def small_statement(**changes: Any) -> IssuedStatement:
    return issued(small_call(**changes), rule_named("sichuan_market_v1"), TERMS, AT, "service")


def corrected(one: IssuedStatement, **changes: Any) -> IssuedStatement:
    changed = small_call(**({"delivered_kwh": [[99.0, 80.0, 101.0], *DELIVERED[1:]]} | changes))
    return issued(changed, one.rule, TERMS, AT, "operator-li", corrects=one.statement, reason="电表补采 read again")


def hostile(name: str) -> IssuedStatement:
    """Ids that no door would let in, in every place where a page could show them."""
    one = small_statement(ids=[f"{name}{k}" for k in range(4)], agents=[name, name, "moon", None])
    inputs = replace(one.inputs, event_id=name)
    first = issued(inputs, one.rule, {name: TERMS["sun"]}, AT, name)
    return issued(inputs, one.rule, {name: TERMS["sun"]}, AT, name, corrects=first.statement, reason=name)


def record(**changes: Any) -> EventRecord:
    kept: dict[str, Any] = {
        "ordered_kw": 350.0,
        "delivered_kw": 301.25,
        "credited_kw": None,
        "ratio_by_hour": [0.9, 0.7123456789, None],
        "rebound_kw_by_hour": [40.5, -2.25],
        "missing_readings": 3,
        "interpolated_readings": 1,
        "by_aggregator": {"sun": [1.0, 0.5, 1.1], "moon": [0.8, 0.95, 1.3]},
    }
    event = Event(event_id="e1", start=START, end=START + 3 * HOUR, target_kw=350)
    return EventRecord(event=event, status=EventStatus.EVALUATED, steps=(), evaluation=kept | changes)


CALLS = [
    ("sichuan_market_v1", Stage.DAY_AHEAD, Direction.SHAVE, HOUR),
    ("sichuan_market_v1", Stage.INTRADAY, Direction.FILL, timedelta(minutes=30)),
    ("sichuan_market_v1", Stage.EMERGENCY, Direction.SHAVE, HOUR),
    ("shenzhen_precise", Stage.REAL_TIME, Direction.SHAVE, HOUR),
    ("zhejiang", Stage.DAY_AHEAD, Direction.SHAVE, HOUR),
    ("tier_80_120", Stage.DAY_AHEAD, Direction.FILL, HOUR),
    ("guangzhou", Stage.DAY_AHEAD, Direction.SHAVE, HOUR),
    ("jiangsu", Stage.REAL_TIME, Direction.SHAVE, timedelta(minutes=5)),
]


@st.composite
def statements(draw: st.DrawFn) -> IssuedStatement:
    """Any small statement: every rule, users of two agents and direct ones, protected or not, over two days or not."""
    rule_id, stage, direction, step = draw(st.sampled_from(CALLS))
    rows, columns = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    same = columns if rule_id == "jiangsu" or step < HOUR else 1  # one price in what is assessed as one
    prices = draw(st.lists(st.decimals(-1, 6, places=4), min_size=columns, max_size=columns))
    energy = st.integers(-30_000, 150_000).map(lambda wh: wh / 1000)
    awards = st.integers(0, 100_000).map(lambda wh: wh / 1000)
    grid = lambda of: st.lists(st.lists(of, min_size=columns, max_size=columns), min_size=rows, max_size=rows)  # noqa: E731
    inputs = call(
        draw(grid(energy)),
        draw(grid(awards)),
        [str(prices[k // same]) for k in range(columns)],
        agents=draw(st.lists(st.sampled_from(["sun", "moon", "bare", None]), min_size=rows, max_size=rows)),
        protected=draw(st.lists(st.booleans(), min_size=rows, max_size=rows)),
        stage=stage,
        direction=direction,
        step=step,
        start=START + draw(st.sampled_from([0, 9])) * HOUR,
    )
    return issued(inputs, rule_named(rule_id), TERMS, AT, "service")
