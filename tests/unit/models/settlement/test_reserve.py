from datetime import timedelta
from decimal import Decimal

import pytest

from models.errors import InputError
from models.settlement.agency import AgencyTerms
from models.settlement.reserve import KeptReady, reserve_lines
from tests.unit.models.settlement.calls import START, net_of, rule_named

SICHUAN = rule_named("sichuan_market_v1")
MONTH = (START, START + timedelta(days=31))
DIGEST = "a" * 64


def kept(name: str, capacity_kw: float, award_kw: float | None = None, agent: str | None = None) -> KeptReady:
    return KeptReady(name, agent, capacity_kw, award_kw, DIGEST)


def test_capacity_is_paid_up_to_the_mean_award_where_response_was_called() -> None:
    rows = (kept("idle", 500), kept("called", 500, 300), kept("more", 500, 700))
    lines = reserve_lines(rows, MONTH, Decimal("2.5"), SICHUAN)
    assert net_of(lines, "idle") == "1250.00"  # 500 · 2.5
    assert net_of(lines, "called") == "750.00"  # min(500, 300) · 2.5
    assert net_of(lines, "more") == "1250.00"  # min(500, 700) · 2.5
    assert str(lines.market_total_cny()) == "3250.00"


def test_an_agent_keeps_its_share_of_capacity_money() -> None:
    # 300 · 2 = 600 to the agent; users get (1 - 0.2) · 2 = 1.6: 160 and 320; 120 is left
    terms = {"a": AgencyTerms(capacity_share_fraction=Decimal("0.2"))}
    lines = reserve_lines((kept("x", 100, None, "a"), kept("y", 200, None, "a")), MONTH, Decimal(2), SICHUAN, terms)
    assert (net_of(lines, "x"), net_of(lines, "y")) == ("160.00", "320.00")
    assert net_of(lines, "a", is_aggregator=True) == "600.00"
    assert str(lines.margins_cny()["a"]) == "120.00"


def test_interruptible_auctions_have_a_highest_price_and_no_tie_to_awards() -> None:
    lines = reserve_lines((kept("x", 100, 10),), MONTH, Decimal(20), rule_named("generic_bands"))
    assert net_of(lines, "x") == "1500.00"  # 100 · min(20, 15)


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(InputError, match="rule zhejiang@1 must pay reserve"):
        reserve_lines((kept("x", 1),), MONTH, Decimal(1), rule_named("zhejiang"))
    with pytest.raises(InputError, match="must not be negative"):
        reserve_lines((kept("x", -1),), MONTH, Decimal(1), SICHUAN)
    with pytest.raises(InputError, match="must stand once"):
        reserve_lines((kept("x", 1), kept("x", 2)), MONTH, Decimal(1), SICHUAN)
