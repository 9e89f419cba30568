"""The tables, the same on SQLite and PostgreSQL.

Times are int64 microseconds since 1970 UTC; durations seconds; power kW, energy kWh.  Big tables have integer
keys in the order (time, resource).  The history is in ``migrations``; a test holds the two together.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Dialect,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    text,
)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def to_us(moment: datetime) -> int:
    """Aware time as whole microseconds since 1970 UTC."""
    return (moment - EPOCH) // _MICROSECOND


def from_us(value: int) -> datetime:
    """Microseconds since 1970 as aware UTC."""
    return EPOCH + timedelta(microseconds=value)


class UtcMicroseconds(TypeDecorator[datetime]):
    """Aware UTC outside, int64 inside: exact on both databases, and no driver guesses a zone."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:  # noqa: ARG002 - its interface
        return None if value is None else to_us(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        return None if value is None else from_us(value)


NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}
metadata = MetaData(naming_convention=NAMES)
Key = BigInteger().with_variant(Integer, "sqlite")  # SQLite counts up only a column of exactly this type
Name = String(128)
Hash = String(64)


def _key(name: str) -> Column[Any]:
    return Column(name, Key, primary_key=True, autoincrement=True)


def _resource_key(primary: bool = False) -> Column[Any]:
    return Column("resource_key", Integer, ForeignKey("resources.resource_key"), primary_key=primary, nullable=False)


aggregators = Table(
    "aggregators",
    metadata,
    Column("aggregator_id", String(64), primary_key=True),
    Column("display_name", Text, nullable=False),
    Column("secret_hash", Text, nullable=False),
    Column("created_at", UtcMicroseconds, nullable=False),
    Column("removed_at", UtcMicroseconds),
)

users = Table(
    "users",
    metadata,
    Column("token_id", String(32), primary_key=True),
    Column("name", Name, nullable=False),
    Column("role", String(16), nullable=False),
    Column("token_hash", Hash, nullable=False),
    Column("aggregator_id", ForeignKey("aggregators.aggregator_id")),
    Column("created_at", UtcMicroseconds, nullable=False),
    Column("revoked_at", UtcMicroseconds),
    CheckConstraint("(role = 'aggregator') = (aggregator_id IS NOT NULL)", name="aggregator_has_one"),
)
Index(
    "uq_users_active_name",
    users.c.name,
    unique=True,
    sqlite_where=text("revoked_at IS NULL"),
    postgresql_where=text("revoked_at IS NULL"),
)

# One meter account belongs to one aggregator at a time: the claim is unique, and an active resource must
# refer to the claim of its own aggregator.  A withdrawn resource holds no claim (NULL refers to nothing).
meter_claims = Table(
    "meter_claims",
    metadata,
    Column("meter_id", Name, primary_key=True),
    Column("aggregator_id", ForeignKey("aggregators.aggregator_id"), nullable=False),
    Column("claimed_at", UtcMicroseconds, nullable=False),
    UniqueConstraint("meter_id", "aggregator_id"),
)

resources = Table(
    "resources",
    metadata,
    Column("resource_key", Integer, primary_key=True, autoincrement=True),
    Column("resource_id", Name, nullable=False, unique=True),
    Column("aggregator_id", ForeignKey("aggregators.aggregator_id"), nullable=False, index=True),
    Column("claimed_meter_id", Name, index=True),
    Column("kind", String(32), nullable=False),
    Column("zone_id", Name, nullable=False),
    Column("resource", Text, nullable=False),
    Column("fallback_power_kw", Double),
    Column("telemetry_ttl_s", Double, nullable=False),
    Column("connected_kw", Double, nullable=False),
    Column("declared_kw", Double, nullable=False),
    Column("tested_kw", Double),
    Column("tested_at", UtcMicroseconds),
    Column("registered_at", UtcMicroseconds, nullable=False),
    Column("withdrawn_at", UtcMicroseconds),
    CheckConstraint("(claimed_meter_id IS NULL) = (withdrawn_at IS NOT NULL)", name="active_has_claim"),
    ForeignKeyConstraint(
        ["claimed_meter_id", "aggregator_id"],
        ["meter_claims.meter_id", "meter_claims.aggregator_id"],
        name="fk_resources_meter_claim",
    ),
)

profiles = Table(
    "profiles",
    metadata,
    Column("aggregator_id", ForeignKey("aggregators.aggregator_id"), primary_key=True),
    Column("profile_id", Name, primary_key=True),
    Column("starts", LargeBinary, nullable=False),
    Column("series", LargeBinary, nullable=False),
)

# No foreign key: it would be checked for each of millions of rows, and the keys come from a lookup anyway.
readings = Table(
    "readings",
    metadata,
    Column("measured_at", BigInteger, primary_key=True, autoincrement=False),
    Column("resource_key", Integer, primary_key=True, autoincrement=False),
    Column("received_at", BigInteger, nullable=False),
    Column("power_kw", Double, nullable=False),
    Column("energy_kwh", Double),
    Column("temperature_celsius", Double),
    Column("available", Boolean, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("session", Text),
    sqlite_with_rowid=False,
    postgresql_partition_by="RANGE (measured_at)",
)
Index(
    "ix_readings_session",
    readings.c.measured_at,
    sqlite_where=text("session IS NOT NULL"),
    postgresql_where=text("session IS NOT NULL"),
)

# What is left of readings that are older than raw ones are kept (``retention.raw_days``).
reading_means = Table(
    "reading_means",
    metadata,
    Column("start", BigInteger, primary_key=True, autoincrement=False),
    Column("resource_key", Integer, primary_key=True, autoincrement=False),
    Column("mean_kw", Double, nullable=False),
    Column("min_kw", Double, nullable=False),
    Column("max_kw", Double, nullable=False),
    Column("count", Integer, nullable=False),
    Column("energy_kwh", Double),
    sqlite_with_rowid=False,
)

sessions = Table(
    "sessions",
    metadata,
    _resource_key(primary=True),
    Column("session_id", Name, primary_key=True),
    Column("arrival", UtcMicroseconds, nullable=False, index=True),
    Column("departure", UtcMicroseconds, nullable=False, index=True),
    Column("energy_needed_kwh", Double, nullable=False),
    Column("battery_capacity_kwh", Double),
    Column("battery_start_kwh", Double),
    Column("delivered_kwh", Double),
    Column("unplugged_at", UtcMicroseconds),
)

events = Table(
    "events",
    metadata,
    Column("event_id", Name, primary_key=True),
    Column("version", Integer, nullable=False),
    Column("status", String(16), nullable=False, index=True),
    Column("window_start", UtcMicroseconds, nullable=False, index=True),
    Column("window_end", UtcMicroseconds, nullable=False),
    Column("record", Text, nullable=False),
)

# What aggregators are to be told of events (``adapters.store.notices``); it waits while neither of the last two is set.
event_notices = Table(
    "event_notices",
    metadata,
    _key("notice_key"),
    Column("event_id", ForeignKey("events.event_id"), nullable=False, index=True),
    Column("aggregator_id", String(64), nullable=False),
    Column("notice", Text, nullable=False),
    Column("made_at", UtcMicroseconds, nullable=False),
    Column("tries", Integer, nullable=False, server_default="0"),
    Column("tried_at", UtcMicroseconds),
    Column("told_at", UtcMicroseconds),
    Column("given_up_at", UtcMicroseconds),
)
Index(
    "ix_event_notices_waiting",
    event_notices.c.notice_key,
    sqlite_where=text("told_at IS NULL AND given_up_at IS NULL"),
    postgresql_where=text("told_at IS NULL AND given_up_at IS NULL"),
)

plans = Table(
    "plans",
    metadata,
    _key("plan_key"),
    Column("kind", String(16), nullable=False),
    Column("market_day", String(10), nullable=False),
    Column("made_at", UtcMicroseconds, nullable=False),
    Column("plan_hash", Hash, nullable=False, index=True),
    Column("facts", Text, nullable=False),
    Column("edges", LargeBinary, nullable=False),
    Column("resource_ids", LargeBinary, nullable=False),
    Index("ix_plans_kind_made_at", "kind", "made_at"),
)

baselines = Table(
    "baselines",
    metadata,
    _key("baseline_key"),
    Column("market_day", String(10), nullable=False),
    Column("baseline_hash", Hash, nullable=False),
    Column("edges", LargeBinary, nullable=False),
    Column("resource_ids", LargeBinary, nullable=False),
    UniqueConstraint("market_day", "baseline_hash"),
)


def _parts(name: str, owner: str) -> Table:
    """Arrays of a plan in pieces: a million resources do not fit into one value of either database."""
    return Table(
        name,
        metadata,
        Column(owner.split(".")[1], Key, ForeignKey(owner, ondelete="CASCADE"), primary_key=True),
        Column("array", String(32), primary_key=True),
        Column("part", SmallInteger, primary_key=True, autoincrement=False),
        Column("body", LargeBinary, nullable=False),
    )


plan_parts = _parts("plan_parts", "plans.plan_key")
baseline_parts = _parts("baseline_parts", "baselines.baseline_key")

sequences = Table(
    "sequences",
    metadata,
    Column("aggregator_id", String(64), primary_key=True),
    Column("last", BigInteger, nullable=False),
)

setpoint_batches = Table(
    "setpoint_batches",
    metadata,
    _key("batch_key"),
    Column("command_id", Name, nullable=False, unique=True),
    Column("aggregator_id", String(64), nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("plan_hash", Hash, nullable=False),
    Column("valid_from", UtcMicroseconds, nullable=False),
    Column("valid_until", UtcMicroseconds, nullable=False),
    Column("sent_at", UtcMicroseconds, nullable=False, index=True),
    Column("tries", Integer, nullable=False, server_default="1"),
    Column("retried_at", UtcMicroseconds),
    Column("given_up_at", UtcMicroseconds),
    UniqueConstraint("aggregator_id", "sequence"),
)

setpoints = Table(
    "setpoints",
    metadata,
    Column("batch_key", Key, ForeignKey("setpoint_batches.batch_key"), primary_key=True),
    _resource_key(primary=True),
    Column("power_kw", Double),
    Column("outcome", String(16)),
    Column("reason", Text),
    Column("answered_at", UtcMicroseconds),
    sqlite_with_rowid=False,
)

last_setpoints = Table(
    "last_setpoints",
    metadata,
    _resource_key(primary=True),
    Column("batch_key", Key, ForeignKey("setpoint_batches.batch_key"), nullable=False),
)

# How each device behaves (``models.conduct``); nobody who has always done what he was told stands here.
conduct = Table(
    "conduct",
    metadata,
    _resource_key(primary=True),
    Column("share_sum", Double, nullable=False),
    Column("weight_sum", Double, nullable=False),
    Column("misconduct", SmallInteger, nullable=False),
    Column("quarantined_at", UtcMicroseconds),
    Column("trial_at", UtcMicroseconds),
    Column("times", Integer, nullable=False),
    Column("flowed_kwh", Double, server_default="0", nullable=False),
    Column("told_kwh", Double, server_default="0", nullable=False),
    CheckConstraint("(misconduct = 0) = (quarantined_at IS NULL)", name="quarantine_has_a_reason"),
)

# The level of weather-driven loads on a market day (``vpp.levels``): the line that it follows, and its steps.
level_lines = Table(
    "level_lines",
    metadata,
    Column("market_day", String(10), primary_key=True),
    Column("line", Text, nullable=False),
)
levels = Table(
    "levels",
    metadata,
    Column("market_day", String(10), primary_key=True),
    Column("valid_from", UtcMicroseconds, primary_key=True),
    Column("factor", Double, nullable=False),
    Column("city_kw", Double, nullable=False),
)

# What the car at a charger has got since it came, up to a reading of its charger (``vpp.charged``).
charged = Table(
    "charged",
    metadata,
    _resource_key(primary=True),
    Column("session_id", Name, nullable=False),
    Column("measured_at", UtcMicroseconds, nullable=False),
    Column("delivered_kwh", Double, nullable=False),
)

answered_messages = Table(
    "answered_messages",
    metadata,
    Column("aggregator_id", String(64), primary_key=True),
    Column("message_id", Name, primary_key=True),
    Column("answer", LargeBinary, nullable=False),
    Column("answered_at", UtcMicroseconds, nullable=False, index=True),
)

dead_letters = Table(
    "dead_letters",
    metadata,
    _key("letter_id"),
    Column("at", UtcMicroseconds, nullable=False),
    Column("place", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("aggregator_id", String(64)),
    Column("message_id", Text),
    Column("payload", LargeBinary, nullable=False),
)

audit = Table(
    "audit",
    metadata,
    Column("entry_id", BigInteger, primary_key=True, autoincrement=False),
    Column("at", UtcMicroseconds, nullable=False),
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("details", Text, nullable=False),
    Column("prev_hash", Hash, nullable=False),
    Column("entry_hash", Hash, nullable=False),
)

# What lines of the audit log point to (``adapters.store.record``), under the SHA-256 of what it holds.
record_blobs = Table(
    "record_blobs",
    metadata,
    Column("sha256", Hash, primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("body", LargeBinary, nullable=False),
)

# Money of events: every version with all that it was made of (``adapters.store.statements``), and what was said of it.
statements = Table(
    "statements",
    metadata,
    _key("statement_key"),
    Column("event_id", ForeignKey("events.event_id"), nullable=False),
    Column("version", Integer, nullable=False),
    Column("made_at", UtcMicroseconds, nullable=False),
    Column("made_by", Text, nullable=False),
    Column("rule_id", Name, nullable=False),
    Column("rule_version", Integer, nullable=False),
    Column("reason", Text, nullable=False),
    Column("sha256", Hash, nullable=False),
    UniqueConstraint("event_id", "version"),
)

statement_parts = _parts("statement_parts", "statements.statement_key")

disputes = Table(
    "disputes",
    metadata,
    _key("dispute_key"),
    Column("event_id", Name, nullable=False, index=True),
    Column("version", Integer, nullable=False),
    Column("aggregator_id", String(64)),
    Column("resource_id", Name),
    Column("opened_at", UtcMicroseconds, nullable=False),
    Column("opened_by", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("answered_at", UtcMicroseconds),
    Column("answered_by", Text),
    Column("answer", Text),
    Column("corrected_version", Integer),
    ForeignKeyConstraint(["event_id", "version"], ["statements.event_id", "statements.version"]),
)

idempotent_answers = Table(
    "idempotent_answers",
    metadata,
    Column("caller", Name, primary_key=True),
    Column("idempotency_key", String(255), primary_key=True),
    Column("fingerprint", Hash, nullable=False),
    Column("status", Integer, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("at", UtcMicroseconds, nullable=False, index=True),
)

counters = Table(
    "counters",
    metadata,
    Column("name", Name, primary_key=True),
    Column("value", BigInteger, nullable=False),
)
