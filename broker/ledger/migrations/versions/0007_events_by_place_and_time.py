"""events by place and time, to find reports of the same one."""

from collections.abc import Sequence

from broker.ledger.migrate import add_index

revision: str = "0007"
down_revision: str | None = "0006"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    add_index("ix_messages_country_event_at", "messages", ["country", "event_at"], where="country IS NOT NULL")
