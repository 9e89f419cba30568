"""Registered resources, the meter-account rule, and the profiles that came with them."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np
from pydantic import TypeAdapter
from sqlalchemy import Connection, Row, bindparam, delete, exists, select, update

from adapters.store import schema
from adapters.store.bulk import chunked
from adapters.store.connection import Part
from adapters.store.schema import from_us, to_us
from models.errors import InputError, InputFault, RegistrationError, StoreError
from models.records import ProfileRecord, RegisteredResourceRecord
from models.resources import RegisteredResource

FEW_KEYS = 20_000
"""Up to so many unknown keys are asked for by name; for more all are read at once."""

_RESOURCE: TypeAdapter[RegisteredResource] = TypeAdapter(RegisteredResource)


def _record(row: Row[Any]) -> RegisteredResourceRecord:
    return RegisteredResourceRecord(
        resource=_RESOURCE.validate_json(row.resource),
        fallback_power_kw=row.fallback_power_kw,
        telemetry_ttl_s=row.telemetry_ttl_s,
        connected_kw=row.connected_kw,
        declared_kw=row.declared_kw,
        registered_at=row.registered_at,
        tested_kw=row.tested_kw,
        tested_at=row.tested_at,
        withdrawn_at=row.withdrawn_at,
    )


def _values(record: RegisteredResourceRecord) -> dict[str, Any]:
    resource = record.resource
    return {
        "resource_id": resource.resource_id,
        "aggregator_id": resource.aggregator_id,
        "claimed_meter_id": None if record.withdrawn_at else resource.meter_id,
        "kind": resource.kind.value,
        "zone_id": resource.zone_id,
        "resource": _RESOURCE.dump_json(resource).decode(),
        "fallback_power_kw": record.fallback_power_kw,
        "telemetry_ttl_s": record.telemetry_ttl_s,
        "connected_kw": record.connected_kw,
        "declared_kw": record.declared_kw,
        "tested_kw": record.tested_kw,
        "tested_at": record.tested_at,
        "registered_at": record.registered_at,
        "withdrawn_at": record.withdrawn_at,
    }


class Registry(Part):
    """Resources by id.  An id stays with the aggregator that used it first, also after it was withdrawn."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._keys: dict[str, int] = {}
        self._ids: dict[int, str] = {}
        self._db.after_rollback.append(self._forget_keys)  # a key that was never committed may be given out again

    # ---- keys

    def _learn_keys(self, connection: Connection, missing: Collection[str] | None = None) -> None:
        """Read the keys of ``missing``, of everybody if it is None or many: a message must not wait for a million."""
        table = schema.resources
        everybody = select(table.c.resource_key, table.c.resource_id)
        queries = [everybody]
        if missing is not None and len(missing) <= FEW_KEYS:
            queries = [everybody.where(table.c.resource_id.in_(part)) for part in chunked(list(missing))]
        for query in queries:
            for key, name in connection.execute(query):
                self._keys[name] = key
                self._ids[key] = name

    def _key_of(self, connection: Connection, resource_ids: Iterable[str]) -> dict[str, int]:
        """Keys of known resources, by id; ``InputError`` names the unknown ones."""
        wanted = set(resource_ids)
        if not wanted <= self._keys.keys():
            self._learn_keys(connection, wanted - self._keys.keys())
        unknown = sorted(wanted - self._keys.keys())
        if unknown:
            rule = "is not registered"
            raise InputError([InputFault("store", "resource_id", name, rule) for name in unknown])
        return self._keys

    def _known_keys(self, connection: Connection, resource_ids: Iterable[str]) -> dict[str, int]:
        """Keys of those that are registered; the others are left out."""
        wanted = set(resource_ids)
        if not wanted <= self._keys.keys():
            self._learn_keys(connection, wanted - self._keys.keys())
        return {name: self._keys[name] for name in wanted if name in self._keys}

    def _id_of(self, connection: Connection, keys: Iterable[int]) -> dict[int, str]:
        if not set(keys) <= self._ids.keys():
            self._learn_keys(connection)
        return self._ids

    def _forget_keys(self) -> None:
        self._keys, self._ids = {}, {}

    # ---- resources

    def upsert_resource(self, record: RegisteredResourceRecord) -> None:
        """Register or update one; ``RegistrationError`` as in ``upsert_resources``."""
        for error in self.upsert_resources([record]).values():
            raise error

    def upsert_resources(self, records: Sequence[RegisteredResourceRecord]) -> dict[str, RegistrationError]:
        """Register or update many at once; what is refused comes back by resource id, the rest is stored.

        Refused are ids that belong to another aggregator and meter accounts that another aggregator has
        claimed (the error names it).  Of several records with one id the last counts.  An update keeps
        ``registered_at``, and ``tested_kw`` unless the record brings its own test.
        """
        unique = {record.resource_id: record for record in records}
        with self._db.writing() as connection:
            before = self._stored(connection, unique)
            refused = self._foreign_ids(unique, before)
            wanted = [record for name, record in unique.items() if name not in refused]
            refused.update(self._claim(connection, [record for record in wanted if record.withdrawn_at is None]))
            taken = [record for record in wanted if record.resource_id not in refused]
            if taken:
                self._write(connection, taken, before)
            self._release(connection, [row.claimed_meter_id for row in before.values() if row.claimed_meter_id])
        return refused

    def _stored(self, connection: Connection, names: Iterable[str]) -> dict[str, Any]:
        table = schema.resources
        found: dict[str, Any] = {}
        for chunk in chunked(names):
            query = select(table.c.resource_id, table.c.aggregator_id, table.c.claimed_meter_id)
            for row in connection.execute(query.where(table.c.resource_id.in_(chunk))):
                found[row.resource_id] = row
        return found

    @staticmethod
    def _foreign_ids(
        records: dict[str, RegisteredResourceRecord], before: dict[str, Any]
    ) -> dict[str, RegistrationError]:
        return {
            name: RegistrationError(
                name, "resource_id", name, f"is already used by aggregator {before[name].aggregator_id}"
            )
            for name, record in records.items()
            if name in before and before[name].aggregator_id != record.aggregator_id
        }

    def _claim(
        self, connection: Connection, records: Sequence[RegisteredResourceRecord]
    ) -> dict[str, RegistrationError]:
        """Claim the meters; the database keeps the first claim, and we tell the others whose it is."""
        if not records:
            return {}
        claims = schema.meter_claims
        rows = [
            {"meter_id": r.resource.meter_id, "aggregator_id": r.aggregator_id, "claimed_at": r.registered_at}
            for r in records
        ]
        connection.execute(self._db.insert(claims).on_conflict_do_nothing(), rows)
        owners: dict[str, str] = {}
        for chunk in chunked({row["meter_id"] for row in rows}):
            found = select(claims.c.meter_id, claims.c.aggregator_id).where(claims.c.meter_id.in_(chunk))
            owners.update((row.meter_id, row.aggregator_id) for row in connection.execute(found))
        refused = {}
        for record in records:
            meter = record.resource.meter_id
            if meter not in owners:
                raise StoreError(f"meter account {meter} was released at this very moment: try again")
            if owners[meter] != record.aggregator_id:
                rule = f"this meter account belongs to aggregator {owners[meter]}"
                refused[record.resource_id] = RegistrationError(record.resource_id, "meter_id", meter, rule)
        return refused

    def _write(
        self, connection: Connection, records: Sequence[RegisteredResourceRecord], before: dict[str, Any]
    ) -> None:
        table = schema.resources
        new = [_values(record) for record in records if record.resource_id not in before]
        if new:
            connection.execute(table.insert(), new)
        # Not ON CONFLICT DO UPDATE: PostgreSQL would use up a key for every update.
        known = [record for record in records if record.resource_id in before]
        kept = {"resource_id", "registered_at"}
        for tested in (True, False):
            rows = [
                {f"to_{name}": value for name, value in _values(record).items()}
                for record in known
                if (record.tested_at is not None) is tested
            ]
            left = kept if tested else kept | {"tested_kw", "tested_at"}
            changes: dict[str, Any] = {
                c.name: bindparam(f"to_{c.name}") for c in table.c if c.name not in left | {"resource_key"}
            }
            if rows:
                where = table.c.resource_id == bindparam("to_resource_id")
                connection.execute(update(table).where(where).values(changes), rows)

    def _release(self, connection: Connection, meter_ids: Iterable[str]) -> None:
        """Give up claims on which no active resource rests any more."""
        claims, resources = schema.meter_claims, schema.resources
        still = exists().where(resources.c.claimed_meter_id == claims.c.meter_id)
        for chunk in chunked(set(meter_ids)):
            connection.execute(delete(claims).where(claims.c.meter_id.in_(chunk), ~still))

    def withdraw_resource(self, resource_id: str, at: datetime, aggregator_id: str | None = None) -> bool:
        """Take a resource out and release its meter if it was the last on it; False if there is none.

        With ``aggregator_id`` only a resource of that aggregator.
        """
        table = schema.resources
        where = [table.c.resource_id == resource_id, table.c.withdrawn_at.is_(None)]
        if aggregator_id is not None:
            where.append(table.c.aggregator_id == aggregator_id)
        with self._db.writing() as connection:
            row = connection.execute(select(table.c.claimed_meter_id).where(*where)).one_or_none()
            if row is None:
                return False
            gone = {"withdrawn_at": at, "claimed_meter_id": None}
            connection.execute(update(table).where(table.c.resource_id == resource_id).values(**gone))
            self._release(connection, [row.claimed_meter_id])
        return True

    def record_test(self, resource_id: str, tested_kw: float, at: datetime) -> RegisteredResourceRecord | None:
        """Keep the result of a capability test; None if there is no such active resource."""
        table = schema.resources
        with self._db.writing() as connection:
            connection.execute(
                update(table)
                .where(table.c.resource_id == resource_id, table.c.withdrawn_at.is_(None))
                .values(tested_kw=tested_kw, tested_at=at)
            )
            record = self.get_resource(resource_id)
        return record if record is not None and record.withdrawn_at is None else None

    def record_tests(self, tested_kw: Mapping[str, float], at: datetime) -> int:
        """Keep the results of many capability tests at once; returns how many are of active resources."""
        table = schema.resources
        statement = update(table).where(table.c.resource_id == bindparam("whose"), table.c.withdrawn_at.is_(None))
        statement = statement.values(tested_kw=bindparam("found_kw"), tested_at=bindparam("found_at"))
        rows = [{"whose": name, "found_kw": value, "found_at": at} for name, value in tested_kw.items()]
        if not rows:
            return 0
        with self._db.writing() as connection:
            return int(connection.execute(statement, rows).rowcount)

    def get_resource(self, resource_id: str) -> RegisteredResourceRecord | None:
        """One resource, withdrawn or not."""
        query = select(schema.resources).where(schema.resources.c.resource_id == resource_id)
        with self._db.reading() as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else _record(row)

    def resources(
        self,
        aggregator_id: str | None = None,
        active: bool | None = True,
        *,
        kind: str | None = None,
        zone_id: str | None = None,
        after_id: str | None = None,
        limit: int | None = None,
    ) -> list[RegisteredResourceRecord]:
        """Resources in the order in which they were first registered; ``active`` None: withdrawn ones too.

        ``after_id``, ``limit``: a page, beginning behind that resource.
        """
        table = schema.resources
        query = select(table).order_by(table.c.resource_key)
        for column, value in (
            (table.c.aggregator_id, aggregator_id),
            (table.c.kind, kind),
            (table.c.zone_id, zone_id),
        ):
            if value is not None:
                query = query.where(column == value)
        if active is not None:
            query = query.where(table.c.withdrawn_at.is_(None) if active else table.c.withdrawn_at.is_not(None))
        if after_id is not None:
            behind = select(table.c.resource_key).where(table.c.resource_id == after_id).scalar_subquery()
            query = query.where(table.c.resource_key > behind)
        with self._db.reading() as connection:
            return [_record(row) for row in connection.execute(query.limit(limit))]

    # ---- profiles

    def save_profiles(self, records: Sequence[ProfileRecord]) -> None:
        """Keep series sent inline; a series of the same name replaces the older one."""
        statement = self._db.insert(schema.profiles)
        changes = {"starts": statement.excluded.starts, "series": statement.excluded.series}
        statement = statement.on_conflict_do_update(index_elements=["aggregator_id", "profile_id"], set_=changes)
        rows = [
            {
                "aggregator_id": record.aggregator_id,
                "profile_id": record.profile_id,
                "starts": np.array([to_us(start) for start in record.interval_starts], dtype="<i8").tobytes(),
                "series": np.array(record.values, dtype="<f8").tobytes(),
            }
            for record in records
        ]
        if rows:
            with self._db.writing() as connection:
                connection.execute(statement, rows)

    def profiles(self, aggregator_id: str | None = None) -> list[ProfileRecord]:
        """The series of one aggregator, or of all."""
        table = schema.profiles
        query = select(table)
        if aggregator_id is not None:
            query = query.where(table.c.aggregator_id == aggregator_id)
        with self._db.reading() as connection:
            rows = connection.execute(query).all()
        made = [
            ProfileRecord(
                row.aggregator_id,
                row.profile_id,
                tuple(from_us(int(start)) for start in np.frombuffer(row.starts, dtype="<i8")),
                tuple(float(value) for value in np.frombuffer(row.series, dtype="<f8")),
            )
            for row in rows
        ]
        return sorted(made, key=lambda record: (record.aggregator_id, record.profile_id))
