"""what a member sent, newest first."""

from collections.abc import Sequence

from broker.ledger.migrate import add_index

revision: str = "0004"
down_revision: str | None = "0003"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    add_index("ix_messages_originator_position", "messages", ["originator", "position"])
