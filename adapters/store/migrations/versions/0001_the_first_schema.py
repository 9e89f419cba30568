"""The first schema: registry, readings, events, plans, commands, journal."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TABLES = (
    "setpoints",
    "sessions",
    "last_setpoints",
    "resources",
    "users",
    "profiles",
    "plan_parts",
    "meter_claims",
    "baseline_parts",
    "setpoint_batches",
    "sequences",
    "readings",
    "plans",
    "idempotent_answers",
    "events",
    "dead_letters",
    "counters",
    "baselines",
    "audit",
    "answered_messages",
    "aggregators",
)


def upgrade() -> None:
    """Forward."""
    op.create_table(
        "aggregators",
        sa.Column("aggregator_id", sa.String(length=64), nullable=False),
        sa.Column("display_name", sa.Text(), nullable=False),
        sa.Column("secret_hash", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("removed_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("aggregator_id", name=op.f("pk_aggregators")),
    )
    op.create_table(
        "answered_messages",
        sa.Column("aggregator_id", sa.String(length=64), nullable=False),
        sa.Column("message_id", sa.String(length=128), nullable=False),
        sa.Column("answer", sa.LargeBinary(), nullable=False),
        sa.Column("answered_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("aggregator_id", "message_id", name=op.f("pk_answered_messages")),
    )
    op.create_index("ix_answered_messages_answered_at", "answered_messages", ["answered_at"], unique=False)

    op.create_table(
        "audit",
        sa.Column("entry_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("details", sa.Text(), nullable=False),
        sa.Column("prev_hash", sa.String(length=64), nullable=False),
        sa.Column("entry_hash", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("entry_id", name=op.f("pk_audit")),
    )
    op.create_table(
        "baselines",
        sa.Column(
            "baseline_key",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("market_day", sa.String(length=10), nullable=False),
        sa.Column("baseline_hash", sa.String(length=64), nullable=False),
        sa.Column("edges", sa.LargeBinary(), nullable=False),
        sa.Column("resource_ids", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("baseline_key", name=op.f("pk_baselines")),
        sa.UniqueConstraint("market_day", "baseline_hash", name=op.f("uq_baselines_market_day_baseline_hash")),
    )
    op.create_table(
        "counters",
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_counters")),
    )
    op.create_table(
        "dead_letters",
        sa.Column(
            "letter_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("place", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("aggregator_id", sa.String(length=64), nullable=True),
        sa.Column("message_id", sa.Text(), nullable=True),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("letter_id", name=op.f("pk_dead_letters")),
    )
    op.create_table(
        "events",
        sa.Column("event_id", sa.String(length=128), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("window_start", sa.BigInteger(), nullable=False),
        sa.Column("window_end", sa.BigInteger(), nullable=False),
        sa.Column("record", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("event_id", name=op.f("pk_events")),
    )
    op.create_index("ix_events_status", "events", ["status"], unique=False)
    op.create_index("ix_events_window_start", "events", ["window_start"], unique=False)

    op.create_table(
        "idempotent_answers",
        sa.Column("caller", sa.String(length=128), nullable=False),
        sa.Column("idempotency_key", sa.String(length=255), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("caller", "idempotency_key", name=op.f("pk_idempotent_answers")),
    )
    op.create_index("ix_idempotent_answers_at", "idempotent_answers", ["at"], unique=False)

    op.create_table(
        "plans",
        sa.Column(
            "plan_key",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("market_day", sa.String(length=10), nullable=False),
        sa.Column("made_at", sa.BigInteger(), nullable=False),
        sa.Column("plan_hash", sa.String(length=64), nullable=False),
        sa.Column("facts", sa.Text(), nullable=False),
        sa.Column("edges", sa.LargeBinary(), nullable=False),
        sa.Column("resource_ids", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("plan_key", name=op.f("pk_plans")),
    )
    op.create_index("ix_plans_kind_made_at", "plans", ["kind", "made_at"], unique=False)
    op.create_index("ix_plans_plan_hash", "plans", ["plan_hash"], unique=False)

    op.create_table(
        "readings",
        sa.Column("measured_at", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("resource_key", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("received_at", sa.BigInteger(), nullable=False),
        sa.Column("power_kw", sa.Double(), nullable=False),
        sa.Column("energy_kwh", sa.Double(), nullable=True),
        sa.Column("temperature_celsius", sa.Double(), nullable=True),
        sa.Column("available", sa.Boolean(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("session", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("measured_at", "resource_key", name=op.f("pk_readings")),
        postgresql_partition_by="RANGE (measured_at)",
        sqlite_with_rowid=False,
    )
    op.create_table(
        "sequences",
        sa.Column("aggregator_id", sa.String(length=64), nullable=False),
        sa.Column("last", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("aggregator_id", name=op.f("pk_sequences")),
    )
    op.create_table(
        "setpoint_batches",
        sa.Column(
            "batch_key",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("command_id", sa.String(length=128), nullable=False),
        sa.Column("aggregator_id", sa.String(length=64), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("plan_hash", sa.String(length=64), nullable=False),
        sa.Column("valid_from", sa.BigInteger(), nullable=False),
        sa.Column("valid_until", sa.BigInteger(), nullable=False),
        sa.Column("sent_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("batch_key", name=op.f("pk_setpoint_batches")),
        sa.UniqueConstraint("aggregator_id", "sequence", name=op.f("uq_setpoint_batches_aggregator_id_sequence")),
        sa.UniqueConstraint("command_id", name=op.f("uq_setpoint_batches_command_id")),
    )
    op.create_index("ix_setpoint_batches_sent_at", "setpoint_batches", ["sent_at"], unique=False)

    op.create_table(
        "baseline_parts",
        sa.Column("baseline_key", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("array", sa.String(length=32), nullable=False),
        sa.Column("part", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["baseline_key"],
            ["baselines.baseline_key"],
            name=op.f("fk_baseline_parts_baseline_key"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("baseline_key", "array", "part", name=op.f("pk_baseline_parts")),
    )
    op.create_table(
        "meter_claims",
        sa.Column("meter_id", sa.String(length=128), nullable=False),
        sa.Column("aggregator_id", sa.String(length=64), nullable=False),
        sa.Column("claimed_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["aggregator_id"], ["aggregators.aggregator_id"], name=op.f("fk_meter_claims_aggregator_id")
        ),
        sa.PrimaryKeyConstraint("meter_id", name=op.f("pk_meter_claims")),
        sa.UniqueConstraint("meter_id", "aggregator_id", name=op.f("uq_meter_claims_meter_id_aggregator_id")),
    )
    op.create_table(
        "plan_parts",
        sa.Column("plan_key", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("array", sa.String(length=32), nullable=False),
        sa.Column("part", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["plan_key"], ["plans.plan_key"], name=op.f("fk_plan_parts_plan_key"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("plan_key", "array", "part", name=op.f("pk_plan_parts")),
    )
    op.create_table(
        "profiles",
        sa.Column("aggregator_id", sa.String(length=64), nullable=False),
        sa.Column("profile_id", sa.String(length=128), nullable=False),
        sa.Column("starts", sa.LargeBinary(), nullable=False),
        sa.Column("series", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["aggregator_id"], ["aggregators.aggregator_id"], name=op.f("fk_profiles_aggregator_id")
        ),
        sa.PrimaryKeyConstraint("aggregator_id", "profile_id", name=op.f("pk_profiles")),
    )
    op.create_table(
        "users",
        sa.Column("token_id", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column("aggregator_id", sa.String(length=64), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("revoked_at", sa.BigInteger(), nullable=True),
        sa.CheckConstraint(
            "(role = 'aggregator') = (aggregator_id IS NOT NULL)", name=op.f("ck_users_aggregator_has_one")
        ),
        sa.ForeignKeyConstraint(["aggregator_id"], ["aggregators.aggregator_id"], name=op.f("fk_users_aggregator_id")),
        sa.PrimaryKeyConstraint("token_id", name=op.f("pk_users")),
    )
    op.create_index(
        "uq_users_active_name",
        "users",
        ["name"],
        unique=True,
        sqlite_where=sa.text("revoked_at IS NULL"),
        postgresql_where=sa.text("revoked_at IS NULL"),
    )

    op.create_table(
        "resources",
        sa.Column("resource_key", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("resource_id", sa.String(length=128), nullable=False),
        sa.Column("aggregator_id", sa.String(length=64), nullable=False),
        sa.Column("claimed_meter_id", sa.String(length=128), nullable=True),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("zone_id", sa.String(length=128), nullable=False),
        sa.Column("resource", sa.Text(), nullable=False),
        sa.Column("fallback_power_kw", sa.Double(), nullable=True),
        sa.Column("telemetry_ttl_s", sa.Double(), nullable=False),
        sa.Column("connected_kw", sa.Double(), nullable=False),
        sa.Column("declared_kw", sa.Double(), nullable=False),
        sa.Column("tested_kw", sa.Double(), nullable=True),
        sa.Column("tested_at", sa.BigInteger(), nullable=True),
        sa.Column("registered_at", sa.BigInteger(), nullable=False),
        sa.Column("withdrawn_at", sa.BigInteger(), nullable=True),
        sa.CheckConstraint(
            "(claimed_meter_id IS NULL) = (withdrawn_at IS NOT NULL)",
            name=op.f("ck_resources_active_has_claim"),
        ),
        sa.ForeignKeyConstraint(
            ["aggregator_id"], ["aggregators.aggregator_id"], name=op.f("fk_resources_aggregator_id")
        ),
        sa.ForeignKeyConstraint(
            ["claimed_meter_id", "aggregator_id"],
            ["meter_claims.meter_id", "meter_claims.aggregator_id"],
            name="fk_resources_meter_claim",
        ),
        sa.PrimaryKeyConstraint("resource_key", name=op.f("pk_resources")),
        sa.UniqueConstraint("resource_id", name=op.f("uq_resources_resource_id")),
    )
    op.create_index("ix_resources_aggregator_id", "resources", ["aggregator_id"], unique=False)
    op.create_index("ix_resources_claimed_meter_id", "resources", ["claimed_meter_id"], unique=False)

    op.create_table(
        "last_setpoints",
        sa.Column("resource_key", sa.Integer(), nullable=False),
        sa.Column("batch_key", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.ForeignKeyConstraint(
            ["batch_key"], ["setpoint_batches.batch_key"], name=op.f("fk_last_setpoints_batch_key")
        ),
        sa.ForeignKeyConstraint(
            ["resource_key"], ["resources.resource_key"], name=op.f("fk_last_setpoints_resource_key")
        ),
        sa.PrimaryKeyConstraint("resource_key", name=op.f("pk_last_setpoints")),
    )
    op.create_table(
        "sessions",
        sa.Column("resource_key", sa.Integer(), nullable=False),
        sa.Column("session_id", sa.String(length=128), nullable=False),
        sa.Column("arrival", sa.BigInteger(), nullable=False),
        sa.Column("departure", sa.BigInteger(), nullable=False),
        sa.Column("energy_needed_kwh", sa.Double(), nullable=False),
        sa.Column("battery_capacity_kwh", sa.Double(), nullable=True),
        sa.Column("battery_start_kwh", sa.Double(), nullable=True),
        sa.Column("delivered_kwh", sa.Double(), nullable=True),
        sa.Column("unplugged_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["resource_key"], ["resources.resource_key"], name=op.f("fk_sessions_resource_key")),
        sa.PrimaryKeyConstraint("resource_key", "session_id", name=op.f("pk_sessions")),
    )
    op.create_index("ix_sessions_arrival", "sessions", ["arrival"], unique=False)
    op.create_index("ix_sessions_departure", "sessions", ["departure"], unique=False)

    op.create_table(
        "setpoints",
        sa.Column("batch_key", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("resource_key", sa.Integer(), nullable=False),
        sa.Column("power_kw", sa.Double(), nullable=True),
        sa.Column("outcome", sa.String(length=16), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("answered_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["batch_key"], ["setpoint_batches.batch_key"], name=op.f("fk_setpoints_batch_key")),
        sa.ForeignKeyConstraint(["resource_key"], ["resources.resource_key"], name=op.f("fk_setpoints_resource_key")),
        sa.PrimaryKeyConstraint("batch_key", "resource_key", name=op.f("pk_setpoints")),
        sqlite_with_rowid=False,
    )
    _make_audit_append_only()


def _make_audit_append_only() -> None:
    """The database itself refuses to change or remove a line of the log."""
    if op.get_bind().dialect.name == "sqlite":
        for verb in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER audit_no_{verb.lower()} BEFORE {verb} ON audit"
                " BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END"
            )
        return
    op.execute(
        "CREATE OR REPLACE FUNCTION audit_is_append_only() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'the audit log is append-only'; END $$"
    )
    op.execute(
        "CREATE TRIGGER audit_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit"
        " FOR EACH STATEMENT EXECUTE FUNCTION audit_is_append_only()"
    )


def downgrade() -> None:
    """Back to nothing."""
    for table in TABLES:
        op.drop_table(table)
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION audit_is_append_only()")
