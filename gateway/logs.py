"""Logs: one event a line on standard error, as JSON or as text for people. Importing this configures nothing.

A line that cannot be written, since the disk of the log is full or its reader has gone, is lost and costs nothing else.
"""

import io
import logging
import sys
from typing import Literal, TypeAlias

import orjson
import structlog

LogFormat: TypeAlias = Literal["json", "console"]


class Lossy(io.FileIO):
    """A file that takes for written what cannot be: no request fails for want of a log. It buffers nothing."""

    def write(self, line: bytes) -> int:  # type: ignore[override]  # a log has lines, not any buffer
        """Write a line, or lose it."""
        try:
            return super().write(line)
        except OSError:
            return len(line)


def configure(level: str, log_format: LogFormat) -> None:
    """Set up structlog, and the standard library's loggers (uvicorn's among them) behind the same renderer."""
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    stream = Lossy(sys.stderr.fileno(), "wb", closefd=False)
    structlog.configure(
        processors=[*shared, *_render(log_format, to_bytes=True)],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.BytesLoggerFactory(stream)
        if log_format == "json"
        else structlog.PrintLoggerFactory(io.TextIOWrapper(stream, encoding="utf-8", write_through=True)),
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
