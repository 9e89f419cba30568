"""What has flowed through each battery, and how far its level has moved: its state of health."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Forward: nothing is known of what was heard before."""
    for column in ("flowed_kwh", "told_kwh"):
        op.add_column("conduct", sa.Column(column, sa.Double(), server_default="0", nullable=False))


def downgrade() -> None:
    """Back."""
    for column in ("told_kwh", "flowed_kwh"):
        op.drop_column("conduct", column)
