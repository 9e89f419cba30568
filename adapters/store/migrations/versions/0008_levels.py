"""The level of weather-driven loads: the line it follows, by market day, and the factor by hour."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Forward: days that were planned before have no line, and keep the level of their day-ahead forecast."""
    op.create_table(
        "level_lines",
        sa.Column("market_day", sa.String(length=10), nullable=False),
        sa.Column("line", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("market_day", name=op.f("pk_level_lines")),
    )
    op.create_table(
        "levels",
        sa.Column("market_day", sa.String(length=10), nullable=False),
        sa.Column("valid_from", sa.BigInteger(), nullable=False),
        sa.Column("factor", sa.Double(), nullable=False),
        sa.Column("city_kw", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("market_day", "valid_from", name=op.f("pk_levels")),
    )


def downgrade() -> None:
    """Back."""
    op.drop_table("levels")
    op.drop_table("level_lines")
