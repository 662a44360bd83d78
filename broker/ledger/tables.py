"""The tables. What a column means and how long it is kept stands here; migrations/ proves equal to this."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    text,
)
from sqlalchemy.types import TypeEngine

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Utc(TypeDecorator[datetime]):
    """The one column type for time: aware UTC in and out; TIMESTAMPTZ on PostgreSQL, integer microseconds on SQLite."""

    impl = BigInteger
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name == "postgresql":
            return dialect.type_descriptor(DateTime(timezone=True))
        return dialect.type_descriptor(BigInteger())

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        if value is None or dialect.name == "postgresql":
            return value
        return (value - EPOCH) // timedelta(microseconds=1)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        if value is None or dialect.name == "postgresql":
            return value  # type: ignore[no-any-return]  # asyncpg returns aware datetimes
        return EPOCH + timedelta(microseconds=value)


metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

Big = BigInteger().with_variant(Integer, "sqlite")
MemberId = String(48)
Digest = String(43)

registry = Table(
    "registry",
    metadata,
    Column("id", Integer, CheckConstraint("id = 1", name="one_row"), primary_key=True),
    Column("version", BigInteger, nullable=False),
    comment="one row; version rises with every change of members, keys, groups, subscriptions",
)

head = Table(
    "head",
    metadata,
    Column("id", Integer, CheckConstraint("id = 1", name="one_row"), primary_key=True),
    Column("position", BigInteger, nullable=False),
    comment="one row, locked by every accepting transaction: numbers messages and queue sequences without gaps",
)

members = Table(
    "members",
    metadata,
    Column("id", MemberId, primary_key=True),
    Column("type", String(8), nullable=False),
    Column("name", Text, nullable=False),
    Column("active", Boolean(create_constraint=False), nullable=False),
    Column("changed_at", Utc, nullable=False),
    Column("rilo", MemberId, comment="the liaison office that checks its quality"),
)

keys = Table(
    "keys",
    metadata,
    Column("kid", Digest, primary_key=True),
    Column("owner", MemberId, nullable=False, index=True, comment="a member id or operator:NAME"),
    Column("use", String(8), nullable=False),
    Column("jwk", Text, nullable=False),
    Column("not_before", Utc, nullable=False),
    Column("not_after", Utc),
    Column("revoked_at", Utc),
    Column("reason", Text),
)

groups = Table(
    "groups",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("owner", MemberId),
    Column("starts_at", Utc),
    Column("ends_at", Utc),
    Column("ended", Boolean(create_constraint=False), nullable=False, comment="its end has been acted upon"),
)

group_members = Table(
    "group_members",
    metadata,
    Column("group_name", String(64), ForeignKey("groups.name"), nullable=False),
    Column("member", MemberId, ForeignKey("members.id"), nullable=False),
    Column("joined_at", Utc, nullable=False),
    PrimaryKeyConstraint("group_name", "member"),
)

subscriptions = Table(
    "subscriptions",
    metadata,
    Column("id", String(16), primary_key=True),
    Column("member", MemberId, ForeignKey("members.id"), nullable=False),
    Column("name", String(64), nullable=False),
    Column("delivery", String(8), nullable=False),
    Column("filter", Text, nullable=False, comment="the JSON as the member wrote it; empty for an inbox"),
    Column("created_at", Utc, nullable=False),
    Column("removed_at", Utc),
    Index(
        "uq_subscriptions_member_name",
        "member",
        "name",
        unique=True,
        sqlite_where=text("removed_at IS NULL"),
        postgresql_where=text("removed_at IS NULL"),
    ),
)

queues = Table(
    "queues",
    metadata,
    Column("id", String(16), ForeignKey("subscriptions.id"), primary_key=True),
    Column("last_sequence", BigInteger, nullable=False, comment="gap-free, under the head lock"),
    Column(
        "amqp_name", String(64), unique=True, comment="128 random bits: a passive declare tells depth to who knows it"
    ),
    Column("generation", Integer, nullable=False, comment="rises when the queue in RabbitMQ had to be made anew"),
    Column("declared", Boolean(create_constraint=False), nullable=False),
    Column("drain", Boolean(create_constraint=False), nullable=False, comment="closed until the relay has drained it"),
    Column("empty_at", Utc, comment="what was published before this moment has left RabbitMQ"),
    comment="the running state of a subscription's queue",
)

messages = Table(
    "messages",
    metadata,
    Column("position", Big, primary_key=True, autoincrement=False),
    Column("originator", MemberId, nullable=False),
    Column("id", String(64), nullable=False),
    Column("kind", String(32), nullable=False),
    Column("version", String(8), nullable=False),
    Column("status", String(8), nullable=False),
    Column("tlp", String(12), nullable=False),
    Column("heading", String(64)),
    Column("jws", Text, nullable=False, comment="compact, as first accepted"),
    Column("digest", Digest, nullable=False),
    Column("payload_digest", LargeBinary(32), nullable=False, comment="of the decoded payload octets: sameness"),
    Column("accepted_at", Utc, nullable=False),
    Column("expires_at", Utc),
    Column("acknowledge_by", Utc, comment="cleared once the reminder has been sent"),
    Column("chain", Big, nullable=False, comment="position of the first version"),
    Column("superseded_by", Big),
    Column("withdrawn_by", Big, comment="on every version of a withdrawn chain"),
    Column("withdraws", Boolean(create_constraint=False), nullable=False),
    Column("release", Text, comment="JSON; null for a withdrawal"),
    Column("warnings", Text, nullable=False),
    Column("receipt", Text, nullable=False),
    Column("record", LargeBinary, nullable=False, comment="the octets the log's leaf will commit to"),
    Column("salt", LargeBinary(32), nullable=False),
    Column("audience_salt", LargeBinary(32), nullable=False),
    Column("traceparent", String(64)),
    Column("event_at", Utc, comment="as the originator states it"),
    Column("country", String(2), comment="of the event"),
    Column("completeness", Integer, comment="per cent; null where the kind counts nothing"),
    Column("editions", Text, comment="JSON: code list -> edition its codes were read by"),
    UniqueConstraint("originator", "id"),
    Index("ix_messages_originator_position", "originator", "position"),
    Index("ix_messages_chain", "chain"),
    Index(
        "ix_messages_expires_at",
        "expires_at",
        sqlite_where=text("expires_at IS NOT NULL"),
        postgresql_where=text("expires_at IS NOT NULL"),
    ),
    Index(
        "ix_messages_acknowledge_by",
        "acknowledge_by",
        sqlite_where=text("acknowledge_by IS NOT NULL"),
        postgresql_where=text("acknowledge_by IS NOT NULL"),
    ),
    Index(
        "ix_messages_country_event_at",
        "country",
        "event_at",
        sqlite_where=text("country IS NOT NULL"),
        postgresql_where=text("country IS NOT NULL"),
    ),
)

audience = Table(
    "audience",
    metadata,
    Column("member", MemberId, nullable=False),
    Column("position", Big, ForeignKey("messages.position"), nullable=False),
    Column("rule", String(80), nullable=False),
    Column("fetched_at", Utc, comment="first GET of the message: makes a holder"),
    PrimaryKeyConstraint("member", "position"),
    Index("ix_audience_position", "position"),
    comment="who was decided for, and why, when the message was accepted",
)

identifiers = Table(
    "identifiers",
    metadata,
    Column("position", Big, ForeignKey("messages.position"), nullable=False),
    Column("value", String(64), nullable=False, comment="normalised"),
    Column("scheme", String(32), nullable=False),
    PrimaryKeyConstraint("value", "scheme", "position"),
    Index("ix_identifiers_position", "position"),
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("queue", String(16), ForeignKey("queues.id"), nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("position", Big, ForeignKey("messages.position"), nullable=False),
    Column("member", MemberId, nullable=False),
    Column("rule", String(80), nullable=False),
    Column("duties", String(32), nullable=False),
    Column("clause", Integer, comment="which clause of the subscription matched"),
    Column("state", String(10), nullable=False),
    Column("round", Integer, nullable=False),
    Column("count", Integer, nullable=False, comment="leases or publishes in this round"),
    Column("attempt", Integer, nullable=False, comment="publishes ever: part of the AMQP message_id"),
    Column("redrives", Integer, nullable=False),
    Column("handed_at", Utc, comment="first handed over: makes a holder"),
    Column("available_at", Utc, comment="not offered before (delayed release)"),
    Column("lease_id", String(32), comment="token of the lease; the public id adds the sequence"),
    Column("lease_until", Utc),
    Column("changed_at", Utc, nullable=False),
    Column("reason", Text),
    PrimaryKeyConstraint("queue", "sequence"),
    Index(
        "ix_deliveries_ready",
        "queue",
        "sequence",
        sqlite_where=text("state = 'ready'"),
        postgresql_where=text("state = 'ready'"),
    ),
    Index(
        "ix_deliveries_leased",
        "lease_until",
        sqlite_where=text("state = 'leased'"),
        postgresql_where=text("state = 'leased'"),
    ),
    Index(
        "ix_deliveries_dead", "changed_at", sqlite_where=text("state = 'dead'"), postgresql_where=text("state = 'dead'")
    ),
    Index(
        "ix_deliveries_unsettled",
        "queue",
        "state",
        "changed_at",
        sqlite_where=text("state <> 'settled'"),
        postgresql_where=text("state <> 'settled'"),
    ),
    Index("ix_deliveries_position", "position", "member"),
)

acknowledgements = Table(
    "acknowledgements",
    metadata,
    Column("position", Big, ForeignKey("messages.position"), nullable=False),
    Column("member", MemberId, nullable=False),
    Column("state", String(8), nullable=False),
    Column("at", Utc, nullable=False, comment="the hub's clock"),
    Column("jws", Text, nullable=False),
    Column("reason", Text),
    PrimaryKeyConstraint("position", "member", "state"),
)

refusals = Table(
    "refusals",
    metadata,
    Column("number", Big, primary_key=True, autoincrement=True),
    Column("at", Utc, nullable=False),
    Column("member", MemberId, nullable=False, index=True),
    Column("digest", Digest, nullable=False),
    Column("code", String(32), nullable=False),
    Column("rule", String(64), nullable=False),
    Column("jws", Text, comment="the signed refusal of a conflict"),
    comment="kept only where the signature held; no content",
)

used_assertions = Table(
    "used_assertions",
    metadata,
    Column("owner", MemberId, nullable=False),
    Column("jti", String(128), nullable=False),
    Column("expires_at", Utc, nullable=False, index=True),
    PrimaryKeyConstraint("owner", "jti"),
    comment="one-use jti of client assertions (RFC 7523 §3); kept until they expire",
)

closings = Table(
    "closings",
    metadata,
    Column("number", Big, primary_key=True, autoincrement=True),
    Column("member", MemberId, nullable=False),
    Column("reason", String(64), nullable=False),
    Column("at", Utc, nullable=False),
    Column("acted_at", Utc, comment="when a relay closed them first"),
    comment="members whose connections to RabbitMQ the relay must close; deleted once done",
)

relays = Table(
    "relays",
    metadata,
    Column("number", Big, primary_key=True, autoincrement=True),
    Column("until", Utc, nullable=False, comment="it lives until then, by the ledger's own clock"),
    comment="relays that are connected to RabbitMQ; one row for each such connection",
)

holdings = Table(
    "holdings",
    metadata,
    Column("queue", String(16), ForeignKey("queues.id"), primary_key=True),
    Column("relay", Big, ForeignKey("relays.number", ondelete="CASCADE"), nullable=False, index=True),
    Column("parked", Text, comment="why it fails and is left alone for a while"),
    comment="which relay alone fills, measures and drains a queue; apart from `queues`, whose rows every accept updates",
)
