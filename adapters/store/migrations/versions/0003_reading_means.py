"""What is left of old readings: quarter-hour means; and an index that finds what was said of sessions."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Forward."""
    op.create_table(
        "reading_means",
        sa.Column("start", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("resource_key", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("mean_kw", sa.Double(), nullable=False),
        sa.Column("min_kw", sa.Double(), nullable=False),
        sa.Column("max_kw", sa.Double(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("energy_kwh", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("start", "resource_key", name=op.f("pk_reading_means")),
        sqlite_with_rowid=False,
    )
    said = sa.text("session IS NOT NULL")
    op.create_index(
        "ix_readings_session", "readings", ["measured_at"], unique=False, sqlite_where=said, postgresql_where=said
    )


def downgrade() -> None:
    """Back."""
    op.drop_index("ix_readings_session", table_name="readings")
    op.drop_table("reading_means")
