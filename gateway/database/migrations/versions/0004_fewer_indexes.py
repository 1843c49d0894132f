"""One index for what is open and for the history of a state: a generation moves in each that holds its state."""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Let one index do the work of two."""
    op.drop_index("generations_in_state", "generations")
    op.drop_index("generations_open", "generations")
    op.create_index("generations_open", "generations", ["state", "tenant_id", "id"])
