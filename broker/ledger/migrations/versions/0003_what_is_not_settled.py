"""what is not settled, by queue and state."""

from collections.abc import Sequence

from broker.ledger.migrate import add_index

revision: str = "0003"
down_revision: str | None = "0002"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    add_index("ix_deliveries_unsettled", "deliveries", ["queue", "state", "changed_at"], where="state <> 'settled'")
