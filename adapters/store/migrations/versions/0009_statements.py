"""Statements of events in versions, and disputes of them."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

APPEND_ONLY = ("statements", "statement_parts")


def upgrade() -> None:
    """Forward: events that were evaluated before have no statement until somebody asks for one."""
    key = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "statements",
        sa.Column("statement_key", key, autoincrement=True, nullable=False),
        sa.Column("event_id", sa.String(length=128), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("made_at", sa.BigInteger(), nullable=False),
        sa.Column("made_by", sa.Text(), nullable=False),
        sa.Column("rule_id", sa.String(length=128), nullable=False),
        sa.Column("rule_version", sa.Integer(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(["event_id"], ["events.event_id"], name=op.f("fk_statements_event_id_events")),
        sa.PrimaryKeyConstraint("statement_key", name=op.f("pk_statements")),
        sa.UniqueConstraint("event_id", "version", name=op.f("uq_statements_event_id_version")),
    )
    op.create_table(
        "statement_parts",
        sa.Column("statement_key", key, nullable=False),
        sa.Column("array", sa.String(length=32), nullable=False),
        sa.Column("part", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["statement_key"],
            ["statements.statement_key"],
            name=op.f("fk_statement_parts_statement_key_statements"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("statement_key", "array", "part", name=op.f("pk_statement_parts")),
    )
    op.create_table(
        "disputes",
        sa.Column("dispute_key", key, autoincrement=True, nullable=False),
        sa.Column("event_id", sa.String(length=128), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("aggregator_id", sa.String(length=64), nullable=True),
        sa.Column("resource_id", sa.String(length=128), nullable=True),
        sa.Column("opened_at", sa.BigInteger(), nullable=False),
        sa.Column("opened_by", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("answered_at", sa.BigInteger(), nullable=True),
        sa.Column("answered_by", sa.Text(), nullable=True),
        sa.Column("answer", sa.Text(), nullable=True),
        sa.Column("corrected_version", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(
            ["event_id", "version"],
            ["statements.event_id", "statements.version"],
            name=op.f("fk_disputes_event_id_version_statements"),
        ),
        sa.PrimaryKeyConstraint("dispute_key", name=op.f("pk_disputes")),
    )
    op.create_index(op.f("ix_disputes_event_id"), "disputes", ["event_id"], unique=False)
    _make_append_only()


def _make_append_only() -> None:
    if op.get_bind().dialect.name == "sqlite":
        for table in APPEND_ONLY:
            for verb in ("UPDATE", "DELETE"):
                op.execute(
                    f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table}"
                    " BEGIN SELECT RAISE(ABORT, 'an issued statement is never changed'); END"
                )
        return
    op.execute(
        "CREATE OR REPLACE FUNCTION statements_are_append_only() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'an issued statement is never changed'; END $$"
    )
    for table in APPEND_ONLY:
        op.execute(
            f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}"
            " FOR EACH STATEMENT EXECUTE FUNCTION statements_are_append_only()"
        )


def downgrade() -> None:
    """Back: what was issued is lost."""
    op.drop_index(op.f("ix_disputes_event_id"), table_name="disputes")
    for table in ("disputes", "statement_parts", "statements"):
        op.drop_table(table)
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION statements_are_append_only()")
