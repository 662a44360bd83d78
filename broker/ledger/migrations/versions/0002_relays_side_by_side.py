"""relays side by side."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

from broker.ledger.tables import Utc

revision: str = "0002"
down_revision: str | None = "0001"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "relays",
        sa.Column("number", big, autoincrement=True, nullable=False),
        sa.Column("until", Utc(), nullable=False, comment="it lives until then, by the ledger's own clock"),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_relays")),
        comment="relays that are connected to RabbitMQ; one row for each such connection",
    )
    op.create_table(
        "holdings",
        sa.Column("queue", sa.String(length=16), nullable=False),
        sa.Column("relay", big, nullable=False),
        sa.Column("parked", sa.Text(), nullable=True, comment="why it fails and is left alone for a while"),
        sa.ForeignKeyConstraint(["queue"], ["queues.id"], name=op.f("fk_holdings_queue_queues")),
        sa.ForeignKeyConstraint(
            ["relay"], ["relays.number"], name=op.f("fk_holdings_relay_relays"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("queue", name=op.f("pk_holdings")),
        comment="which relay alone fills, measures and drains a queue; apart from `queues`, whose rows every accept updates",
    )
    op.create_index(op.f("ix_holdings_relay"), "holdings", ["relay"])
    op.add_column("closings", sa.Column("acted_at", Utc(), nullable=True, comment="when a relay closed them first"))
