"""Structured logs on standard error: one JSON object per line, or coloured text for a person's terminal."""

import logging
import logging.config

import structlog

tell_exception = structlog.processors.ExceptionRenderer(
    structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
)
"""Where it happened, without the values of variables: those hold passwords, tokens and rows of datasets."""


def configure_logs(*, debug: bool, json_lines: bool) -> None:
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: list[structlog.typing.Processor] = (
        [tell_exception, structlog.processors.JSONRenderer(ensure_ascii=False)]
        if json_lines
        else [structlog.dev.ConsoleRenderer()]
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {
                "lines": {
                    "()": structlog.stdlib.ProcessorFormatter,
                    "foreign_pre_chain": shared,
                    "processors": [structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderer],
                }
            },
            "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "lines"}},
            "root": {"handlers": ["stderr"], "level": "DEBUG" if debug else "INFO"},
            "loggers": {
                "django.request": {"level": "ERROR"},
                "uvicorn.access": {"level": "WARNING"},
                "axes": {"level": "WARNING"},
                "asyncio": {"level": "INFO"},
                "django.db.backends": {"level": "INFO"},
                "django.template": {"level": "INFO"},
                "django.utils.autoreload": {"level": "INFO"},
                "httpx": {"level": "WARNING"},
                "celery": {"level": "WARNING"},
                # It warns that a folder has no host name.
                "kombu.connection": {"level": "ERROR"},
            },
        }
    )
