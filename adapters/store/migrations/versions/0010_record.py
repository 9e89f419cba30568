"""Blobs of the flight recorder, each under the SHA-256 of what it holds."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Forward: what happened before is recorded when the service runs the next time."""
    op.create_table(
        "record_blobs",
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("sha256", name=op.f("pk_record_blobs")),
    )
    if op.get_bind().dialect.name == "sqlite":
        for verb in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER record_blobs_no_{verb.lower()} BEFORE {verb} ON record_blobs"
                " BEGIN SELECT RAISE(ABORT, 'what was recorded is never changed'); END"
            )
        return
    op.execute(
        "CREATE OR REPLACE FUNCTION record_blobs_are_append_only() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'what was recorded is never changed'; END $$"
    )
    op.execute(
        "CREATE TRIGGER record_blobs_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON record_blobs"
        " FOR EACH STATEMENT EXECUTE FUNCTION record_blobs_are_append_only()"
    )


def downgrade() -> None:
    """Back: the lines of the audit log stay, what they point to is lost."""
    op.drop_table("record_blobs")
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION record_blobs_are_append_only()")
