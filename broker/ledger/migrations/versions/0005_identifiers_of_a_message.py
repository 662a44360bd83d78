"""the identifiers that a message names."""

from collections.abc import Sequence

from broker.ledger.migrate import add_index

revision: str = "0005"
down_revision: str | None = "0004"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    add_index("ix_identifiers_position", "identifiers", ["position"])
