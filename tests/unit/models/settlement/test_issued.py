"""Issued statements: one fingerprint over everything, and the same lines made again from the inputs."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from models.errors import InputError
from models.settlement.agency import AgencyTerms
from models.settlement.issued import IssuedStatement, issued
from models.settlement.statement import Statement
from tests.unit.models.settlement.calls import call, rule_named

AT = datetime(2025, 7, 17, tzinfo=UTC)
TERMS = {"sun": AgencyTerms(price_share_fraction=Decimal("0.8")), "moon": AgencyTerms()}


def made(**changes: Any) -> IssuedStatement:
    given: dict[str, Any] = {
        "inputs": call([[90.0, 120.0], [30.0, 50.0]], [[100.0, 100.0], [50.0, 50.0]], agents=["sun", None]),
        "rule": rule_named("sichuan_market_v1"),
        "contracts": TERMS,
        "made_at": AT,
        "made_by": "service",
    }
    return issued(**(given | changes))


def test_facts_are_json_and_the_contracts_are_those_of_the_call() -> None:
    one = made()
    assert json.loads(json.dumps(one.facts())) == one.facts()
    assert list(one.contracts) == ["sun"]
    assert one.statement.version == 1
    assert one.is_reproduced()


def test_the_fingerprint_is_of_everything() -> None:
    one = made()
    assert one.sha256 == made().sha256
    others = [
        made(inputs=call([[90.0, 120.001], [30.0, 50.0]], [[100.0, 100.0], [50.0, 50.0]], agents=["sun", None])),
        made(rule=rule_named("tier_80_120")),
        made(contracts={}),
        made(made_by="operator-li"),
        made(made_at=AT + timedelta(seconds=1)),
        made(corrects=one.statement, reason="a meter was read again"),
    ]
    assert len({one.sha256, *(each.sha256 for each in others)}) == len(others) + 1


def test_a_line_that_was_changed_is_not_reproduced() -> None:
    one = made()
    money = one.lines.amounts.payment_fen.copy()
    money[0] += 1
    forged = one.lines.with_amounts(replace(one.lines.amounts, payment_fen=money))
    other = replace(one, statement=Statement("e1", 1, (forged,)))
    assert not other.is_reproduced()
    assert other.sha256 != one.sha256


def test_a_correction_is_the_next_version_and_says_why() -> None:
    one = made()
    two = made(corrects=one.statement, reason="a meter was read again")
    assert (two.statement.version, two.statement.corrects, two.statement.reason) == (2, 1, "a meter was read again")
    with pytest.raises(InputError, match="must say why"):
        made(corrects=one.statement)
    with pytest.raises(InputError, match="one call under one rule"):
        replace(one, statement=Statement("e1", 1, (one.lines, one.lines)))
