"""What aggregators are to be told of events: kept with the step it tells of, until the broker has taken it."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Forward: of what was told before nothing is known, and nothing of it is told again."""
    op.create_table(
        "event_notices",
        sa.Column(
            "notice_key", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False
        ),
        sa.Column("event_id", sa.String(length=128), nullable=False),
        sa.Column("aggregator_id", sa.String(length=64), nullable=False),
        sa.Column("notice", sa.Text(), nullable=False),
        sa.Column("made_at", sa.BigInteger(), nullable=False),
        sa.Column("tries", sa.Integer(), server_default="0", nullable=False),
        sa.Column("tried_at", sa.BigInteger(), nullable=True),
        sa.Column("told_at", sa.BigInteger(), nullable=True),
        sa.Column("given_up_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["event_id"], ["events.event_id"], name=op.f("fk_event_notices_event_id_events")),
        sa.PrimaryKeyConstraint("notice_key", name=op.f("pk_event_notices")),
    )
    op.create_index(op.f("ix_event_notices_event_id"), "event_notices", ["event_id"], unique=False)
    waits = sa.text("told_at IS NULL AND given_up_at IS NULL")
    op.create_index(
        "ix_event_notices_waiting",
        "event_notices",
        ["notice_key"],
        unique=False,
        sqlite_where=waits,
        postgresql_where=waits,
    )


def downgrade() -> None:
    """Back."""
    op.drop_index("ix_event_notices_waiting", table_name="event_notices")
    op.drop_index(op.f("ix_event_notices_event_id"), table_name="event_notices")
    op.drop_table("event_notices")
