"""An endpoint of webhooks: it remembers what it was sent, and answers as it is told."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import orjson


@dataclass(frozen=True, slots=True)
class Received:
    """One try, as it came in. Header names are in lower case."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def id(self) -> str:
        """The event's."""
        return self.headers["webhook-id"]

    @property
    def event(self) -> Any:
        """The body as JSON."""
        return orjson.loads(self.body)


@dataclass(slots=True)
class Receiver:
    """A running endpoint. A path answers with the statuses in `answers` one after the other, at last always the last.

    Status 0 is silence until the end.
    """

    url: str
    answers: dict[str, list[int]] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    received: list[Received] = field(default_factory=list)
    closing: threading.Event = field(default_factory=threading.Event)

    def at(self, path: str) -> list[Received]:
        """Return what came to a path."""
        return [one for one in self.received if one.path == path]

    def next_status(self, path: str) -> int:
        """Take the next answer of a path."""
        statuses = self.answers.get(path, [204])
        return statuses.pop(0) if len(statuses) > 1 else statuses[0]


@contextmanager
def receiver(port: int = 0) -> Iterator[Receiver]:
    """Run an endpoint until the block ends, on any port unless one is given."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            one.received.append(Received(self.path, headers, body))
            status = one.next_status(self.path)
            if status == 0:
                one.closing.wait(60)
                return
            self.send_response(status)
            for name, value in one.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- the name it has there
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    one = Receiver(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield one
    finally:
        one.closing.set()
        server.shutdown()
        thread.join()
        server.server_close()
