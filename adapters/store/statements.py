"""Statements of events: every version with all that it was made of, added and never overwritten."""

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
from sqlalchemy import Connection, Row, select, update

from adapters.store import schema
from adapters.store.arrays import PART_BYTES
from adapters.store.connection import Part
from models.canonical import canonical_json
from models.errors import StoreError
from models.events import Direction
from models.intervals import IntervalGrid
from models.records import Dispute
from models.settlement.agency import AgencyTerms
from models.settlement.exact import WH_PER_KWH, IntArray
from models.settlement.inputs import SettlementInputs
from models.settlement.issued import INPUT_ARRAYS, LINE_ARRAYS, IssuedStatement
from models.settlement.lines import Amounts, Lines, Party
from models.settlement.rules.schema import Rule, Stage
from models.settlement.statement import Statement


@dataclass(frozen=True, slots=True)
class StatementFacts:
    """A version without its lines."""

    event_id: str
    version: int
    made_at: datetime
    made_by: str
    rule_id: str
    rule_version: int
    reason: str
    sha256: str


class Statements(Part):
    """Added, read, never changed: the database itself refuses."""

    def add_statement(self, issued: IssuedStatement) -> None:
        """Keep a version; ``StoreError`` if that version of the event stands already."""
        table, parts, statement = schema.statements, schema.statement_parts, issued.statement
        values = {
            "event_id": statement.event_id,
            "version": statement.version,
            "made_at": issued.made_at,
            "made_by": issued.made_by,
            "rule_id": issued.rule.rule_id,
            "rule_version": issued.rule.version,
            "reason": statement.reason,
            "sha256": issued.sha256,
        }
        pieces = {"facts": canonical_json(issued.facts()).encode()}
        pieces |= {name: np.ascontiguousarray(array, dtype="<i8").tobytes() for name, array in issued.arrays()}
        with self._db.writing() as connection:
            key = connection.execute(table.insert().values(values).returning(table.c.statement_key)).scalar_one()
            for name, body in pieces.items():
                for part, low in enumerate(range(0, max(1, len(body)), PART_BYTES)):
                    piece = zlib.compress(body[low : low + PART_BYTES], 1)
                    row = {"statement_key": key, "array": name, "part": part, "body": piece}
                    connection.execute(parts.insert().values(row))

    def statements(self, event_id: str | None = None) -> list[StatementFacts]:
        """All versions (of an event), oldest first."""
        table = schema.statements
        query = select(table).order_by(table.c.statement_key)
        if event_id is not None:
            query = query.where(table.c.event_id == event_id)
        with self._db.reading() as connection:
            return [_facts(row) for row in connection.execute(query)]

    def statement(self, event_id: str, version: int | None = None) -> IssuedStatement | None:
        """One version, the newest if none is named; None if there is none; ``StoreError`` if it was changed."""
        table = schema.statements
        query = select(table).where(table.c.event_id == event_id)
        if version is not None:
            query = query.where(table.c.version == version)
        with self._db.reading() as connection:
            row = connection.execute(query.order_by(table.c.version.desc()).limit(1)).one_or_none()
            if row is None:
                return None
            pieces = _pieces(connection, row.statement_key)
        place = f"statement of event {event_id}, version {row.version}"
        try:
            issued = _issued(pieces)
        except (KeyError, ValueError, zlib.error) as error:
            raise StoreError(f"{place}: cannot be read, something of it is missing or was changed") from error
        if issued.sha256 != row.sha256:
            raise StoreError(f"{place}: has been changed since it was issued")
        return issued

    # ---- disputes

    def add_dispute(self, dispute: Dispute) -> int:
        """Keep a dispute; returns its number."""
        table = schema.disputes
        values = {field.name: getattr(dispute, field.name) for field in fields(Dispute) if field.name != "dispute_key"}
        with self._db.writing() as connection:
            insert = table.insert().values(values).returning(table.c.dispute_key)
            return int(connection.execute(insert).scalar_one())

    def disputes(self, event_id: str) -> list[Dispute]:
        """All disputes of an event, oldest first."""
        table = schema.disputes
        query = select(table).where(table.c.event_id == event_id).order_by(table.c.dispute_key)
        with self._db.reading() as connection:
            return [Dispute(**row._mapping) for row in connection.execute(query)]  # noqa: SLF001 - its public name

    def answer_disputes(
        self, event_id: str, answer: str, by: str, at: datetime, corrected_version: int | None = None
    ) -> int:
        """Answer every open dispute of an event; returns how many there were."""
        table = schema.disputes
        values = {"answer": answer, "answered_by": by, "answered_at": at, "corrected_version": corrected_version}
        change = update(table).where(table.c.event_id == event_id, table.c.answered_at.is_(None)).values(values)
        with self._db.writing() as connection:
            return int(connection.execute(change).rowcount)


def _facts(row: Row[Any]) -> StatementFacts:
    return StatementFacts(
        row.event_id,
        row.version,
        row.made_at,
        row.made_by,
        row.rule_id,
        row.rule_version,
        row.reason,
        row.sha256,
    )


def _pieces(connection: Connection, key: int) -> dict[str, bytes]:
    table = schema.statement_parts
    query = select(table).where(table.c.statement_key == key).order_by(table.c.array, table.c.part)
    found: dict[str, list[bytes]] = {}
    for row in connection.execute(query):
        bodies = found.setdefault(row.array, [])
        if row.part != len(bodies):
            raise StoreError(f"a stored statement is incomplete: {row.array} has no part {len(bodies)}")
        try:
            bodies.append(zlib.decompress(row.body))
        except zlib.error as error:
            raise StoreError(f"a stored statement cannot be read: {row.array} was changed") from error
    return {name: b"".join(bodies) for name, bodies in found.items()}


def _issued(pieces: Mapping[str, bytes]) -> IssuedStatement:
    facts = json.loads(pieces["facts"])
    rule = Rule.model_validate(facts["rule"])
    made, given = facts["inputs"], facts["lines"]
    grid = IntervalGrid(tuple(datetime.fromisoformat(edge) for edge in made["edges"]))
    shape = (len(made["resource_ids"]), len(grid))
    energy = {name: _array(pieces[name]).reshape(shape) / WH_PER_KWH for name in INPUT_ARRAYS}
    inputs = SettlementInputs(
        event_id=facts["event_id"],
        grid=grid,
        zone=ZoneInfo(made["zone"]),
        stage=Stage(made["stage"]),
        direction=Direction(made["direction"]),
        resource_ids=tuple(made["resource_ids"]),
        aggregator_ids=tuple(made["aggregator_ids"]),
        protected=np.array(made["protected"], dtype=np.bool_),
        baseline_kwh=energy["baseline_wh"],
        metered_kwh=energy["metered_wh"],
        award_kwh=energy["award_wh"],
        clearing_cny_per_kwh=tuple(Decimal(price) for price in made["clearing_cny_per_kwh"]),
        digests=tuple(made["digests"]),
    )
    lines = Lines(
        tuple(Party(is_aggregator, name) for is_aggregator, name in given["parties"]),
        tuple(given["digests"]),
        tuple((datetime.fromisoformat(start), datetime.fromisoformat(end)) for start, end in given["spans"]),
        Amounts(*(_array(pieces[f"line.{name}"]) for name in LINE_ARRAYS)),
        rule.rule_id,
        rule.version,
    )
    statement = Statement(facts["event_id"], facts["version"], (lines,), facts["corrects"], facts["reason"])
    contracts = {name: AgencyTerms.model_validate(terms) for name, terms in facts["contracts"].items()}
    made_at = datetime.fromisoformat(facts["made_at"])
    return IssuedStatement(statement, inputs, rule, contracts, made_at, facts["made_by"])


def _array(body: bytes) -> IntArray:
    return np.frombuffer(body, dtype="<i8").astype(np.int64)
