"""What an aggregator is told of a statement: its own sums, to the cent, and what is corrected and why."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from models.market_notices import MOST_REASON, statement_notice, totals_of
from models.settlement.agency import AgencyTerms
from models.settlement.issued import IssuedStatement, issued
from tests.unit.models.settlement.calls import call, rule_named

AT = datetime(2025, 7, 17, tzinfo=UTC)
PATH = "/api/v1/statements/e1/1"
DELIVERED = [[90.0, 120.0], [30.0, 50.0], [10.0, 20.0]]
AWARD = [[100.0, 100.0], [50.0, 50.0], [50.0, 50.0]]


def made(**changes: Any) -> IssuedStatement:
    given: dict[str, Any] = {
        "inputs": call(DELIVERED, AWARD, agents=["sun", "sun", "moon"]),
        "rule": rule_named("sichuan_market_v1"),
        "contracts": {"sun": AgencyTerms(price_share_fraction=Decimal("0.8"))},
        "made_at": AT,
        "made_by": "service",
    }
    return issued(**(given | changes))


def test_totals_are_those_of_the_lines_and_what_users_do_not_get_is_kept() -> None:
    one = made()
    for name in ("sun", "moon"):
        totals = totals_of(one.statement, name)
        lines = one.statement.of(name, is_aggregator=True)
        assert totals.payment_cny == sum(line.payment_cny for line in lines)
        assert totals.penalty_cny == sum(line.penalty_cny for line in lines)
        assert totals.net_cny == sum(line.net_cny for line in lines)
        assert totals.to_users_cny == sum(line.net_cny for line in one.statement if line.payer == name)
        assert totals.kept_cny == totals.net_cny - totals.to_users_cny
    assert totals_of(one.statement, "sun").payment_cny > 0
    assert totals_of(one.statement, "sun").kept_cny > 0


def test_who_has_no_line_in_a_statement_is_told_nothing_but_zeros() -> None:
    assert set(totals_of(made().statement, "stars").model_dump().values()) == {Decimal("0.00")}


def test_a_notice_bears_the_fingerprint_and_what_it_corrects() -> None:
    one = made()
    first = statement_notice(one, "sun", PATH, dispute_until=AT)
    assert (first.version, first.status, first.corrects, first.reason) == (1, "issued", None, "")
    assert (first.sha256, first.path, first.issued_at, first.dispute_until) == (one.sha256, PATH, AT, AT)
    two = made(corrects=one.statement, reason="a meter was read again")
    second = statement_notice(two, "sun", PATH)
    assert (second.version, second.status, second.corrects) == (2, "corrected", 1)
    assert second.reason == "a meter was read again"
    assert statement_notice(two, "sun", PATH, settled=True).status == "settled"


def test_a_long_reason_is_told_in_part_rather_than_not_at_all() -> None:
    two = made(corrects=made().statement, reason="x" * 2000)
    assert len(statement_notice(two, "sun", PATH).reason) == MOST_REASON
