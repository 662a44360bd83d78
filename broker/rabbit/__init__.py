"""RabbitMQ, the wire between the hub and its members."""
