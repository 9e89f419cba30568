"""How often a command was sent, when last, and when nobody was expected to answer it any more."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Forward: what was sent before was sent once."""
    op.add_column("setpoint_batches", sa.Column("tries", sa.Integer(), server_default="1", nullable=False))
    op.add_column("setpoint_batches", sa.Column("retried_at", sa.BigInteger(), nullable=True))
    op.add_column("setpoint_batches", sa.Column("given_up_at", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    """Back."""
    for column in ("given_up_at", "retried_at", "tries"):
        op.drop_column("setpoint_batches", column)
