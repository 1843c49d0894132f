"""Logs: one event a line on standard error, as JSON or as text for people. Importing this configures nothing."""

import logging
import sys
from typing import Literal, TypeAlias

import orjson
import structlog

LogFormat: TypeAlias = Literal["json", "console"]


def configure(level: str, log_format: LogFormat) -> None:
    """Set up structlog, and the standard library's loggers (uvicorn's among them) behind the same renderer."""
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    structlog.configure(
        processors=[*shared, *_render(log_format, to_bytes=True)],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.BytesLoggerFactory(sys.stderr.buffer)
        if log_format == "json"
        else structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *_render(log_format, to_bytes=False),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(logging.getLevelNamesMapping()[level.upper()], logging.WARNING))


def _render(log_format: LogFormat, *, to_bytes: bool) -> list[structlog.typing.Processor]:
    if log_format == "console":
        return [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]
    serializer = orjson.dumps if to_bytes else (lambda event, **_: orjson.dumps(event, default=repr).decode())
    if to_bytes:
        return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(serializer, default=repr)]
    return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(serializer)]
