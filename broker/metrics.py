"""Every metric, with its unit and meaning. Labels are short closed lists: never a message, a member's content or an id."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

registry = CollectorRegistry()

accepted = Counter("tidewaiter_accepted", "Messages accepted, new ones only.", ["kind"], registry=registry)
repeats = Counter("tidewaiter_repeats", "Posts answered with the receipt of an earlier one.", registry=registry)
refused = Counter("tidewaiter_refused", "Posts refused, by problem code.", ["code"], registry=registry)
deliveries = Counter("tidewaiter_deliveries", "Deliveries created.", registry=registry)
commit_seconds = Histogram(
    "tidewaiter_commit_seconds", "Accepting transactions, begin to commit, in seconds.",
    buckets=(0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3), registry=registry,
)  # fmt: skip
commit_messages = Histogram(
    "tidewaiter_commit_messages", "Messages in one accepting transaction.", buckets=(1, 2, 5, 10, 50, 100, 500),
    registry=registry,
)  # fmt: skip
leased = Counter("tidewaiter_leased", "Deliveries leased.", registry=registry)
settled = Counter("tidewaiter_settled", "Settlements, by outcome.", ["outcome"], registry=registry)
published = Counter("tidewaiter_published", "Deliveries confirmed by RabbitMQ.", registry=registry)
publish_failures = Counter(
    "tidewaiter_publish_failures", "Publishes without a confirm; tried again.", registry=registry
)
dead_letters = Counter("tidewaiter_dead_letters", "Deliveries that became dead letters.", ["reason"], registry=registry)
drains = Counter("tidewaiter_drains", "Queues closed, drained and refilled after a right was lost.", registry=registry)
acknowledgements = Counter(
    "tidewaiter_acknowledgements", "Signed acknowledgements, by state.", ["state"], registry=registry
)
wire_up = Gauge("tidewaiter_wire_up", "1 while the relay is connected to RabbitMQ.", registry=registry)
parked_queues = Gauge(
    "tidewaiter_parked_queues", "Queues in RabbitMQ that fail and are left alone for a while.", registry=registry
)
strays = Counter(
    "tidewaiter_stray_deliveries",
    "Deliveries that RabbitMQ had sent and no consumer got, sent anew.",
    registry=registry,
)
rebuilt_queues = Counter(
    "tidewaiter_rebuilt_queues", "Queues that RabbitMQ had lost, deleted and made anew.", registry=registry
)
outbox = Gauge("tidewaiter_outbox", "Ready deliveries of amqp queues: what waits for RabbitMQ.", registry=registry)
requests = Counter("tidewaiter_requests", "HTTP requests, by status class.", ["status"], registry=registry)
limited = Counter("tidewaiter_limited", "Requests turned away by a limit, by rule.", ["rule"], registry=registry)
