"""Reports and history: end users, what was saved each day, and indexes that hold what is asked for."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the end user of a generation, the table of savings, and the indexes of reports and history."""
    op.add_column("generations", sa.Column("end_user", sa.String(128)))
    op.create_index("generations_of_model", "generations", ["tenant_id", "model", "id"])
    op.create_index("generations_in_state", "generations", ["tenant_id", "state", "id"])
    op.create_index(
        "generations_spent",
        "generations",
        [
            "day",
            "tenant_id",
            "model",
            "provider",
            "key_id",
            "state",
            "bill",
            "end_user",
            "quote",
            "cost",
            "images_generated",
            "images_failed",
        ],
    )
    op.drop_index("generations_by_day", "generations")
    op.create_table(
        "savings",
        sa.Column("day", sa.String(10), primary_key=True),
        sa.Column("tenant_id", sa.String(40), primary_key=True),
        sa.Column("model", sa.String(128), primary_key=True),
        sa.Column("provider", sa.String(128), primary_key=True),
        sa.Column("key_id", sa.String(40), primary_key=True),
        sa.Column("end_user", sa.String(128), primary_key=True),
        sa.Column("hits", sa.BigInteger, nullable=False),
        sa.Column("collapsed", sa.BigInteger, nullable=False),
        sa.Column("replayed", sa.BigInteger, nullable=False),
        sa.Column("saved", sa.BigInteger, nullable=False),
    )
