"""Who may speak to us: aggregators on the broker, users on the HTTP interface."""

from datetime import datetime
from typing import Any

from sqlalchemy import Row, delete, func, select, update

from adapters.store import schema
from adapters.store.connection import Part
from models.errors import InputError, InputFault
from models.records import AggregatorRecord, UserRecord
from models.roles import Role


def _aggregator(row: Row[Any]) -> AggregatorRecord:
    return AggregatorRecord(
        row.aggregator_id,
        row.display_name,
        row.secret_hash,
        created_at=row.created_at,
        removed_at=row.removed_at,
    )


def _user(row: Row[Any]) -> UserRecord:
    return UserRecord(
        name=row.name,
        role=Role(row.role),
        token_id=row.token_id,
        token_hash=row.token_hash,
        created_at=row.created_at,
        aggregator_id=row.aggregator_id,
        revoked_at=row.revoked_at,
    )


class Accounts(Part):
    """Aggregators and users; nobody is ever erased, so that old records keep their names."""

    def add_aggregator(self, record: AggregatorRecord) -> None:
        """Add an aggregator, or take a removed one back; ``InputError`` if it is there already."""
        table = schema.aggregators
        values = {
            "display_name": record.display_name,
            "secret_hash": record.secret_hash,
            "created_at": record.created_at,
            "removed_at": None,
        }
        with self._db.writing() as connection:
            statement = self._db.insert(table).values(aggregator_id=record.aggregator_id, **values)
            statement = statement.on_conflict_do_update(
                index_elements=["aggregator_id"], set_=values, where=table.c.removed_at.is_not(None)
            )
            if connection.execute(statement.returning(table.c.aggregator_id)).first() is None:
                fault = InputFault("aggregators", "aggregator_id", record.aggregator_id, "exists already")
                raise InputError([fault])

    def aggregators(self) -> list[AggregatorRecord]:
        """All that have not been removed, by name."""
        query = select(schema.aggregators).where(schema.aggregators.c.removed_at.is_(None))
        with self._db.reading() as connection:
            return sorted(map(_aggregator, connection.execute(query)), key=lambda record: record.aggregator_id)

    def aggregator(self, aggregator_id: str) -> AggregatorRecord | None:
        """One that has not been removed."""
        table = schema.aggregators
        query = select(table).where(table.c.aggregator_id == aggregator_id, table.c.removed_at.is_(None))
        with self._db.reading() as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else _aggregator(row)

    def set_secret_hash(self, aggregator_id: str, secret_hash: str) -> bool:
        """Give an aggregator another MQTT password; False if there is none of that name."""
        table = schema.aggregators
        where = table.c.aggregator_id == aggregator_id, table.c.removed_at.is_(None)
        with self._db.writing() as connection:
            changed = connection.execute(update(table).where(*where).values(secret_hash=secret_hash)).rowcount
        return changed == 1

    def remove_aggregator(self, aggregator_id: str, at: datetime) -> bool:
        """Withdraw its resources, release its meters, revoke its tokens; False if it is unknown."""
        aggregators, resources, users = schema.aggregators, schema.resources, schema.users
        with self._db.writing() as connection:
            removed = connection.execute(
                update(aggregators)
                .where(aggregators.c.aggregator_id == aggregator_id, aggregators.c.removed_at.is_(None))
                .values(removed_at=at)
            ).rowcount
            connection.execute(
                update(resources)
                .where(resources.c.aggregator_id == aggregator_id, resources.c.withdrawn_at.is_(None))
                .values(withdrawn_at=at, claimed_meter_id=None)
            )
            claims = schema.meter_claims
            connection.execute(delete(claims).where(claims.c.aggregator_id == aggregator_id))
            connection.execute(
                update(users)
                .where(users.c.aggregator_id == aggregator_id, users.c.revoked_at.is_(None))
                .values(revoked_at=at)
            )
        return removed == 1

    def add_user(self, record: UserRecord) -> None:
        """Add a user with its token's hash; ``InputError`` if an active one has that name."""
        users = schema.users
        with self._db.writing() as connection:
            same = users.c.name == record.name, users.c.revoked_at.is_(None)
            if connection.execute(select(func.count()).select_from(users).where(*same)).scalar_one():
                raise InputError([InputFault("users", "name", record.name, "exists already: revoke it first")])
            connection.execute(
                users.insert().values(
                    token_id=record.token_id,
                    name=record.name,
                    role=record.role.value,
                    token_hash=record.token_hash,
                    aggregator_id=record.aggregator_id,
                    created_at=record.created_at,
                )
            )

    def user_by_token_id(self, token_id: str) -> UserRecord | None:
        """The active user to whom the token with this public part belongs."""
        users = schema.users
        query = select(users).where(users.c.token_id == token_id, users.c.revoked_at.is_(None))
        with self._db.reading() as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else _user(row)

    def users(self) -> list[UserRecord]:
        """All users, revoked ones too, oldest first."""
        with self._db.reading() as connection:
            rows = connection.execute(select(schema.users).order_by(schema.users.c.created_at, schema.users.c.name))
            return [_user(row) for row in rows]

    def revoke_user(self, name: str, at: datetime) -> bool:
        """Its token is worth nothing from now on; False if there is no active user of that name."""
        users = schema.users
        active = users.c.name == name, users.c.revoked_at.is_(None)
        with self._db.writing() as connection:
            return connection.execute(update(users).where(*active).values(revoked_at=at)).rowcount == 1
