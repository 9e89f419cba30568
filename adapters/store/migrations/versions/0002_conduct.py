"""How each device behaves: what it really gives, and its quarantine."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Forward."""
    op.create_table(
        "conduct",
        sa.Column("resource_key", sa.Integer(), nullable=False),
        sa.Column("share_sum", sa.Double(), nullable=False),
        sa.Column("weight_sum", sa.Double(), nullable=False),
        sa.Column("misconduct", sa.SmallInteger(), nullable=False),
        sa.Column("quarantined_at", sa.BigInteger(), nullable=True),
        sa.Column("trial_at", sa.BigInteger(), nullable=True),
        sa.Column("times", sa.Integer(), nullable=False),
        sa.CheckConstraint(
            "(misconduct = 0) = (quarantined_at IS NULL)", name=op.f("ck_conduct_quarantine_has_a_reason")
        ),
        sa.ForeignKeyConstraint(
            ["resource_key"], ["resources.resource_key"], name=op.f("fk_conduct_resource_key_resources")
        ),
        sa.PrimaryKeyConstraint("resource_key", name=op.f("pk_conduct")),
    )


def downgrade() -> None:
    """Back."""
    op.drop_table("conduct")
