"""Logs as JSON lines on standard error: one line per call, none holding what a policy wrote."""

import logging
import sys

import structlog

tell_exception = structlog.processors.ExceptionRenderer(
    structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
)
"""Where it happened, without the values of variables: those hold tokens and what a policy wrote."""


def configure_logs() -> None:
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            tell_exception,
            structlog.processors.JSONRenderer(ensure_ascii=False),
        ],
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING)


def announce(address: tuple[str, int]) -> None:
    """First line of the log; with port 0 the only place that says which port it became."""
    structlog.get_logger("toolsandbox").info("listening", host=address[0], port=address[1])
