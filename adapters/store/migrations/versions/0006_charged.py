"""What every car that is there has got, as of a reading: a restart need not sum its whole stay."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Forward: nothing is kept yet, so that the first restart sums as before."""
    op.create_table(
        "charged",
        sa.Column("resource_key", sa.Integer(), nullable=False),
        sa.Column("session_id", sa.String(length=128), nullable=False),
        sa.Column("measured_at", sa.BigInteger(), nullable=False),
        sa.Column("delivered_kwh", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["resource_key"], ["resources.resource_key"], name=op.f("fk_charged_resource_key_resources")
        ),
        sa.PrimaryKeyConstraint("resource_key", name=op.f("pk_charged")),
    )


def downgrade() -> None:
    """Back."""
    op.drop_table("charged")
