"""Client tokens, and the generations that they and their end users asked for."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the tokens, and name them in the ledger."""
    op.create_table(
        "tokens",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("key_id", sa.String(40), sa.ForeignKey("keys.id"), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False, unique=True),
        sa.Column("end_user", sa.String(128)),
        sa.Column("policy", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False, index=True),
        sa.Column("revoked_at", sa.BigInteger),
        sa.Column("spent", sa.BigInteger, nullable=False),
        sa.Column("held", sa.BigInteger, nullable=False),
        sa.Column("images_spent", sa.BigInteger, nullable=False),
        sa.Column("images_held", sa.BigInteger, nullable=False),
    )
    op.create_index("tokens_of_user", "tokens", ["key_id", "end_user"])
    op.add_column("generations", sa.Column("token_id", sa.String(40)))
    op.add_column("generations", sa.Column("images_asked", sa.Integer))
