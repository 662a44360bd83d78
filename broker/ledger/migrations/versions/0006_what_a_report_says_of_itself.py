"""what a report says of itself: when, where, how complete; and which office a member reports through."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

from broker.ledger.tables import Utc

revision: str = "0006"
down_revision: str | None = "0005"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column("messages", sa.Column("event_at", Utc(), nullable=True, comment="as the originator states it"))
    op.add_column("messages", sa.Column("country", sa.String(length=2), nullable=True, comment="of the event"))
    op.add_column(
        "messages",
        sa.Column("completeness", sa.Integer(), nullable=True, comment="per cent; null where the kind counts nothing"),
    )
    op.add_column(
        "messages",
        sa.Column("editions", sa.Text(), nullable=True, comment="JSON: code list -> edition its codes were read by"),
    )
    op.add_column(
        "members",
        sa.Column("rilo", sa.String(length=48), nullable=True, comment="the liaison office that checks its quality"),
    )
