"""Structured logs: one wide event for each thing that happened, JSON on standard output. No content, no secret."""

from __future__ import annotations

import logging
import sys
from typing import Any

import structlog


def configure(form: str = "json") -> None:
    """`json` for machines, `console` for people. Foreign loggers (uvicorn, aio-pika) speak through the same pipe."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,  # code lines, never the values of variables
    ]
    renderer: Any = (
        structlog.processors.JSONRenderer() if form == "json" else structlog.dev.ConsoleRenderer(colors=False)
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.INFO)
    for name in ("aio_pika", "aiormq", "httpx2", "httpcore2", "uvicorn.access"):
        logging.getLogger(name).setLevel(logging.ERROR)


log = structlog.get_logger("tidewaiter")
