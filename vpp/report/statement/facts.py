"""What a statement says of itself beside its lines, as JSON: no more of contracts than concerns who reads it."""

from typing import Any

from models.settlement.agency import PASS_THROUGH
from models.settlement.issued import IssuedStatement
from models.settlement.rules.schema import Rule
from vpp.report.statement.columns import Teller, digits
from vpp.report.statement.scope import Scope, Sums, paid_by_aggregators, paid_by_market


def facts_of(issued: IssuedStatement, scope: Scope) -> dict[str, Any]:
    """Event, version, rule, contracts, fingerprint and totals; money is text."""
    statement, inputs, teller = issued.statement, issued.inputs, Teller(issued.inputs.zone)
    lines = scope.of(issued.lines)
    return {
        **version_facts(issued),
        "time_zone": str(inputs.zone),
        "start": teller.time(inputs.grid.start),
        "end": teller.time(inputs.grid.end),
        "stage": inputs.stage.value,
        "direction": inputs.direction.value,
        "currency": "CNY",
        "rule": rule_facts(issued.rule),
        "contracts": {
            name: issued.contracts.get(name, PASS_THROUGH).model_dump(mode="json") for name in scope.agents_of(issued)
        },
        "scope": {"kind": scope.name, "party_id": None if scope.party is None else scope.party.party_id},
        "lines_of_the_whole_statement": sum(len(part) for part in statement.parts),
        "totals": {
            "paid_by_market": _sums(Sums.of(paid_by_market(lines))),
            "paid_by_aggregators": _sums(Sums.of(paid_by_aggregators(lines))),
        },
    }


def version_facts(issued: IssuedStatement) -> dict[str, Any]:
    """Which version this is, why, and its fingerprint."""
    statement = issued.statement
    return {
        "event_id": statement.event_id,
        "version": statement.version,
        "corrects": statement.corrects,
        "reason": statement.reason,
        "made_at": Teller(issued.inputs.zone).time(issued.made_at),
        "made_by": issued.made_by,
        "sha256": issued.sha256,
    }


def rule_facts(rule: Rule) -> dict[str, Any]:
    """Which rule, from where, and how sure we are of it."""
    return {
        "rule": rule.name,
        "rule_id": rule.rule_id,
        "version": rule.version,
        "valid_from": rule.valid_from.isoformat(),
        "source": rule.source,
        "verified": rule.verified,
        "doubts": list(rule.doubts),
    }


def _sums(sums: Sums) -> dict[str, Any]:
    money = {name: digits(getattr(sums, name)) for name in ("payment_cny", "capacity_cny", "penalty_cny", "net_cny")}
    energy = {name: digits(getattr(sums, name)) for name in ("award_kwh", "delivered_kwh", "effective_kwh")}
    return {"lines": sums.lines, **energy, **money}
