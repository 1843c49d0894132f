"""Erasure and retention: when it was asked for, when it was done, and which generation a repeat was answered from."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_TO_ERASE = sa.text("erase_asked_at IS NOT NULL AND erased_at IS NULL")
_REPEATING = sa.text("repeat_of IS NOT NULL")


def upgrade() -> None:
    """Add the columns, and indexes of what is still to be erased and of repeats."""
    op.add_column("tenants", sa.Column("swept_to", sa.String(40)))
    op.add_column("generations", sa.Column("repeat_of", sa.String(40)))
    op.add_column("generations", sa.Column("erase_asked_at", sa.BigInteger))
    op.add_column("generations", sa.Column("erased_at", sa.BigInteger))
    op.create_index(
        "generations_to_erase",
        "generations",
        ["erase_asked_at"],
        sqlite_where=_TO_ERASE,
        postgresql_where=_TO_ERASE,
    )
    op.create_index(
        "generations_repeating",
        "generations",
        ["repeat_of"],
        sqlite_where=_REPEATING,
        postgresql_where=_REPEATING,
    )
