"""An issued statement: a version with everything that it was made of, so that anybody can make it again.

Inputs in whole Wh, the rule as its version says, the contracts between agents and users: from these ``settle`` makes
the same lines, to the cent.  One fingerprint is over all of it, and it stands in the audit log.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from functools import cached_property
from typing import Any

import numpy as np

from models.canonical import canonical_json
from models.errors import InputError, InputFault
from models.settlement.agency import AgencyTerms
from models.settlement.exact import IntArray
from models.settlement.inputs import SettlementInputs
from models.settlement.lines import Amounts, Lines
from models.settlement.rules.schema import Rule
from models.settlement.settle import settle
from models.settlement.statement import Statement

INPUT_ARRAYS = ("baseline_wh", "metered_wh", "award_wh")
LINE_ARRAYS = tuple(item.name for item in fields(Amounts))


@dataclass(frozen=True, eq=False)
class IssuedStatement:
    """``statement`` has one part: the lines of the call under ``rule``; ``made_by``: a person, or the service."""

    statement: Statement
    inputs: SettlementInputs
    rule: Rule
    contracts: Mapping[str, AgencyTerms]
    made_at: datetime
    made_by: str

    def __post_init__(self) -> None:
        if len(self.statement.parts) != 1:
            rule = "must be the lines of one call under one rule"
            raise InputError([InputFault(self.statement.event_id, "parts", len(self.statement.parts), rule)])

    @property
    def lines(self) -> Lines:
        """All lines."""
        return self.statement.parts[0]

    def facts(self) -> dict[str, Any]:
        """Everything that is not an array: JSON."""
        inputs, lines = self.inputs, self.lines
        return {
            "event_id": self.statement.event_id,
            "version": self.statement.version,
            "corrects": self.statement.corrects,
            "reason": self.statement.reason,
            "made_at": self.made_at.isoformat(),
            "made_by": self.made_by,
            "rule": self.rule.model_dump(mode="json"),
            "contracts": {name: terms.model_dump(mode="json") for name, terms in sorted(self.contracts.items())},
            "inputs": {
                "edges": [edge.isoformat() for edge in inputs.grid.edges],
                "zone": str(inputs.zone),
                "stage": inputs.stage.value,
                "direction": inputs.direction.value,
                "resource_ids": list(inputs.resource_ids),
                "aggregator_ids": list(inputs.aggregator_ids),
                "protected": inputs.protected.tolist(),
                "clearing_cny_per_kwh": [str(price) for price in inputs.clearing_cny_per_kwh],
                "digests": list(inputs.digests),
            },
            "lines": {
                "parties": [[party.is_aggregator, party.party_id] for party in lines.parties],
                "digests": list(lines.digests),
                "spans": [[start.isoformat(), end.isoformat()] for start, end in lines.spans],
            },
        }

    def arrays(self) -> Iterator[tuple[str, IntArray]]:
        """Inputs (R, T) in Wh, then the columns of the lines, (N,) each."""
        for name in INPUT_ARRAYS:
            yield name, getattr(self.inputs, name)
        for name in LINE_ARRAYS:
            yield f"line.{name}", getattr(self.lines.amounts, name)

    @cached_property
    def sha256(self) -> str:
        """Over the facts as canonical JSON, then every array with its name and shape, as little-endian int64."""
        found = hashlib.sha256(canonical_json(self.facts()).encode())
        for name, values in self.arrays():
            found.update(f"\n{name} {values.shape}\n".encode())
            found.update(np.ascontiguousarray(values, dtype="<i8").tobytes())
        return found.hexdigest()

    def is_reproduced(self) -> bool:
        """True if the same lines come out of the inputs once more."""
        again = settle(self.inputs, self.rule, self.contracts)
        same = (again.parties, again.digests, again.spans) == (self.lines.parties, self.lines.digests, self.lines.spans)
        return same and all(
            np.array_equal(getattr(again.amounts, name), getattr(self.lines.amounts, name)) for name in LINE_ARRAYS
        )


def issued(
    inputs: SettlementInputs,
    rule: Rule,
    contracts: Mapping[str, AgencyTerms],
    made_at: datetime,
    made_by: str,
    *,
    corrects: Statement | None = None,
    reason: str = "",
) -> IssuedStatement:
    """Settle a call and issue its statement: version 1, or the next after ``corrects`` with the reason for it."""
    ordered = inputs.in_order()
    parts = (settle(ordered, rule, contracts),)
    statement = Statement(inputs.event_id, 1, parts) if corrects is None else corrects.corrected(parts, reason)
    used = {name: contracts[name] for name in sorted(contracts) if name in set(inputs.aggregator_ids)}
    return IssuedStatement(statement, ordered, rule, used, made_at, made_by)
