"""Logs: one event a line on standard error, as JSON or as text for people. Importing this configures nothing.

Nothing that is logged is meant to hold a secret. All the same, before a line is written every secret that this process
knows is taken out of it, and whatever looks like a tenant's key: a library's message, or a mistake, must not leak one.

A line that cannot be written, since the disk of the log is full or its reader has gone, is lost and costs nothing else.
"""

import io
import logging
import re
import sys
from collections.abc import Iterable
from typing import Any, Literal, TypeAlias
from urllib.parse import quote

import orjson
import structlog

LogFormat: TypeAlias = Literal["json", "console"]

REMOVED = "[removed]"
SHORTEST_HIDDEN = 8
"""Shorter ones (a password of a database, say) are parts of too many words."""

_KEY = re.compile(r"igw_[a-z]{2}_[0-9A-Za-z]{8,}")


class Lossy(io.FileIO):
    """A file that takes for written what cannot be: no request fails for want of a log. It buffers nothing."""

    def write(self, line: bytes) -> int:  # type: ignore[override]  # a log has lines, not any buffer
        """Write a line, or lose it."""
        try:
            return super().write(line)
        except OSError:
            return len(line)


class Redaction:
    """The last step of rendering: a line without secrets, in whichever form they stand in it."""

    def __init__(self, secrets: Iterable[str]) -> None:
        forms = {
            form
            for secret in secrets
            if len(secret) >= SHORTEST_HIDDEN
            for form in (secret, orjson.dumps(secret).decode()[1:-1], quote(secret, safe=""), repr(secret)[1:-1])
        }
        # The longest first: one may be a part of another.
        self._hidden = [(form, form.encode()) for form in sorted(forms, key=len, reverse=True)]

    def bytes(self, _logger: object, _method: str, line: Any) -> bytes:
        """Return a line of bytes without them."""
        rendered: bytes = line
        if any(form in rendered for _, form in self._hidden) or b"igw_" in rendered:
            return self.text(_logger, _method, rendered.decode()).encode()
        return rendered

    def text(self, _logger: object, _method: str, line: Any) -> str:
        """Return a line of text without them."""
        rendered: str = line
        for form, _ in self._hidden:
            rendered = rendered.replace(form, REMOVED)
        return _KEY.sub(REMOVED, rendered) if "igw_" in rendered else rendered


def configure(level: str, log_format: LogFormat, secrets: Iterable[str] = ()) -> None:
    """Set up structlog, and the standard library's loggers (uvicorn's among them) behind the same renderer."""
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    stream = Lossy(sys.stderr.fileno(), "wb", closefd=False)
    redaction = Redaction(secrets)
    as_text: list[structlog.typing.Processor] = [*_render(log_format, to_bytes=False), redaction.text]
    structlog.configure(
        processors=[*shared, *_render(log_format, to_bytes=True), redaction.bytes]
        if log_format == "json"
        else [*shared, *as_text],
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
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *as_text],
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
