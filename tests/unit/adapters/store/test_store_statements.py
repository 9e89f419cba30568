"""Statements come back as they were issued, are never overwritten, and tell if somebody has changed them."""

import zlib
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.store import Store
from models.errors import StoreError
from models.events import Event, EventRecord
from models.life_cycle import EventStatus
from models.records import Dispute
from models.settlement.agency import AgencyTerms
from models.settlement.issued import IssuedStatement, issued
from tests.unit.models.settlement.calls import START, call, rule_named

AT = datetime(2025, 7, 17, tzinfo=UTC)
TERMS = {"sun": AgencyTerms(price_share_fraction=Decimal("0.8"))}


def statement(delivered: float = 90.0) -> IssuedStatement:
    inputs = call([[delivered, 120.0], [30.0, 50.0]], [[100.0, 100.0], [50.0, 50.0]], "1.25", agents=["sun", None])
    return issued(inputs, rule_named("sichuan_market_v1"), TERMS, AT, "service")


@pytest.fixture
def with_event(store: Store) -> Store:
    event = Event(event_id="e1", start=START, end=START + timedelta(hours=2), target_kw=150.0)
    store.save_event(EventRecord(event=event, status=EventStatus.ENDED, steps=()))
    return store


def test_a_statement_comes_back_as_it_was_issued(with_event: Store) -> None:
    one = statement()
    with_event.add_statement(one)
    found = with_event.statement("e1")
    assert found is not None
    assert (found.sha256, found.facts()) == (one.sha256, one.facts())
    assert list(found.lines) == list(one.lines)
    assert found.contracts == TERMS
    assert found.is_reproduced()
    assert with_event.statement("e1", 2) is None
    assert with_event.statement("other") is None


def test_versions_are_added_and_the_newest_holds(with_event: Store) -> None:
    one = statement()
    two = issued(one.inputs, rule_named("tier_80_120"), {}, AT, "li", corrects=one.statement, reason="another rule")
    with_event.add_statement(one)
    with_event.add_statement(two)
    with pytest.raises(StoreError):
        with_event.add_statement(two)
    facts = with_event.statements("e1")
    assert [(each.version, each.rule_id, each.reason) for each in facts] == [
        (1, "sichuan_market_v1", ""),
        (2, "tier_80_120", "another rule"),
    ]
    newest, first = with_event.statement("e1"), with_event.statement("e1", 1)
    assert newest is not None
    assert first is not None
    assert (newest.sha256, first.sha256) == (two.sha256, one.sha256) == tuple(each.sha256 for each in facts[::-1])
    assert with_event.statements() == facts
    assert with_event.statements("other") == []


def test_the_database_refuses_to_change_what_was_issued(with_event: Store) -> None:
    with_event.add_statement(statement())
    for forgery in (
        "UPDATE statements SET reason = 'no'",
        "DELETE FROM statement_parts",
        "DELETE FROM statements",
    ):
        with pytest.raises(StoreError, match="never changed"), with_event._db.writing() as connection:
            connection.exec_driver_sql(forgery)


def test_whoever_gets_around_that_is_found_out(with_event: Store) -> None:
    one = statement()
    with_event.add_statement(one)
    money = one.lines.amounts.payment_fen.copy()
    money[0] += 1
    body = zlib.compress(np.asarray(money, dtype="<i8").tobytes(), 1)
    with with_event._db.writing() as connection:
        if with_event._db.is_sqlite:
            connection.exec_driver_sql("DROP TRIGGER statement_parts_no_update")
            connection.exec_driver_sql("DROP TRIGGER statement_parts_no_delete")
        else:
            connection.exec_driver_sql("ALTER TABLE statement_parts DISABLE TRIGGER statement_parts_append_only")
        mark = "?" if with_event._db.is_sqlite else "%s"
        change = f"UPDATE statement_parts SET body = {mark} WHERE array = 'line.payment_fen'"
        if not with_event._db.is_sqlite:
            change = change.replace("array =", '"array" =')
        connection.exec_driver_sql(change, (body,))
    with pytest.raises(StoreError, match="version 1: has been changed since it was issued"):
        with_event.statement("e1")
    with with_event._db.writing() as connection:
        connection.exec_driver_sql("DELETE FROM statement_parts WHERE \"array\" = 'award_wh'")
    with pytest.raises(StoreError, match="version 1: cannot be read"):
        with_event.statement("e1")


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.floats(-1e5, 1e5), st.integers(0, 10**6))
def test_every_number_survives(with_event: Store, delivered: float, number: int) -> None:
    event = Event(event_id=f"e{number}", start=START, end=START + timedelta(hours=2), target_kw=1.0)
    if with_event.event(event.event_id) is not None:
        return
    with_event.save_event(EventRecord(event=event, status=EventStatus.ENDED, steps=()))
    inputs = call([[delivered, 0.0]], [[100.0, 1.0]])
    one = issued(inputs, rule_named("sichuan_market_v1"), {}, AT, "li")
    object.__setattr__(one.statement, "event_id", event.event_id)
    object.__setattr__(one.inputs, "event_id", event.event_id)
    with_event.add_statement(one)
    found = with_event.statement(event.event_id)
    assert found is not None
    assert found.sha256 == one.sha256


def test_disputes_are_kept_and_answered_once(with_event: Store) -> None:
    with_event.add_statement(statement())
    opened = Dispute("e1", 1, "sun", "r0", AT, "sun", "our meter says more")
    number = with_event.add_dispute(opened)
    with_event.add_dispute(Dispute("e1", 1, None, None, AT, "li", "a rule was read wrongly"))
    assert [each.reason for each in with_event.disputes("e1")] == ["our meter says more", "a rule was read wrongly"]
    assert with_event.disputes("e1")[0].dispute_key == number
    assert with_event.answer_disputes("e1", "read again", "li", AT + timedelta(days=1), 2) == 2
    assert with_event.answer_disputes("e1", "once more", "li", AT + timedelta(days=2)) == 0
    found = with_event.disputes("e1")[0]
    assert (found.answer, found.answered_by, found.corrected_version) == ("read again", "li", 2)
    with pytest.raises(StoreError):
        with_event.add_dispute(Dispute("e1", 7, None, None, AT, "li", "of a version that there is not"))
