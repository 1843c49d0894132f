"""Webhooks: the outbox, the endpoints, and which budget thresholds were announced."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the three tables, and whether the end of a generation is announced."""
    op.add_column("generations", sa.Column("announced", sa.Boolean, nullable=False, server_default=sa.false()))
    op.create_table(
        "webhook_endpoints",
        sa.Column("tenant_id", sa.String(40), sa.ForeignKey("tenants.id"), primary_key=True),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("rotated_at", sa.BigInteger),
        sa.Column("disabled_at", sa.BigInteger),
        sa.Column("paused_until", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "webhook_events",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("tenant_id", sa.String(40), sa.ForeignKey("tenants.id"), nullable=False),
        sa.Column("type", sa.String(40), nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("due_at", sa.BigInteger, nullable=False),
        sa.Column("status", sa.Integer),
        sa.Column("failure", sa.Text),
        sa.Index("webhook_events_due", "state", "due_at"),
        sa.Index("webhook_events_of_tenant", "tenant_id", "id"),
    )
    op.create_table(
        "budget_alerts",
        sa.Column("scope", sa.String(40), primary_key=True),
        sa.Column("period", sa.String(10), primary_key=True),
        sa.Column("start", sa.String(10), primary_key=True),
        sa.Column("percent", sa.Integer, primary_key=True),
    )
