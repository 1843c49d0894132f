"""Bytes on a connection, where an HTTP client would be too well-behaved."""

import socket
import time
from dataclasses import dataclass
from typing import Any

import orjson

PATIENCE_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, whole after `seconds`; `closed` if the server was then seen to close the connection."""

    status: int
    headers: dict[str, str]
    body: bytes
    closed: bool
    seconds: float

    @property
    def envelope(self) -> Any:
        """The body as JSON."""
        return orjson.loads(self.body)


def exchange(port: int, *pieces: bytes, await_close: bool = False) -> Answer:
    """Send these bytes and read one answer; with `await_close` also the end of the connection."""
    begun = time.monotonic()
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS) as connection:
        for piece in pieces:
            try:
                connection.sendall(piece)
            except (BrokenPipeError, ConnectionResetError):
                break  # it has answered and closed; the answer is there to be read
        received = b""
        while b"\r\n\r\n" not in received:
            received += _some(connection, received)
        head, _, body = received.partition(b"\r\n\r\n")
        status_line, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        while len(body) < int(headers.get("content-length", "0")):
            body += _some(connection, received + body)
        seconds = time.monotonic() - begun
        closed = await_close and _closed(connection)
    return Answer(int(status_line.split()[1]), headers, body, closed, seconds)


def request(
    *headers: str, method: str = "POST", path: str = "/images/generate", body: bytes = b"", length: bool = True
) -> bytes:
    """Write a request; Content-Length is that of the body unless `length` is false."""
    lines = [f"{method} {path} HTTP/1.1", "Host: gateway", *headers]
    if length:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def _some(connection: socket.socket, so_far: bytes) -> bytes:
    piece = connection.recv(65536)
    assert piece, f"the connection ended in the middle of an answer: {so_far[:300]!r}"
    return piece


def _closed(connection: socket.socket) -> bool:
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True
