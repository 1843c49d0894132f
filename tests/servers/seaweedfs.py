"""A real S3 for tests: SeaweedFS on loopback, one process, ended by its own id."""

import json
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from time import monotonic, sleep
from urllib.parse import urlsplit

import obstore
from obstore.store import S3Store

_WEED = Path(sys.executable).parent / "weed"
_SECONDS_TO_START = 60
_PORTS = ("master.port", "volume.port", "filer.port", "s3.port")


@dataclass(frozen=True, slots=True)
class S3Server:
    """Where it listens, a bucket that exists, and a credential for it; buckets are not made by writing to them."""

    endpoint: str
    bucket: str
    access_key: str
    secret_key: str = field(repr=False)

    @property
    def environ(self) -> Mapping[str, str]:
        """The variables by which a gateway is told of it."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
        }


@contextmanager
def seaweedfs(directory: Path) -> Iterator[S3Server]:
    """Run SeaweedFS with its data in a directory, until the block ends; yields once an object has been stored."""
    ports = dict(zip((*_PORTS, *(f"{name}.grpc" for name in _PORTS)), _free_ports(8), strict=True))
    s3 = S3Server(f"http://127.0.0.1:{ports['s3.port']}", "images", "GATEWAY", "gateway-secret")
    credential = {"accessKey": s3.access_key, "secretKey": s3.secret_key}
    identity = {"name": "gateway", "credentials": [credential], "actions": ["Admin", "Read", "Write", "List"]}
    config = directory / "s3.json"
    config.write_text(json.dumps({"identities": [identity]}))
    with (directory / "weed.log").open("wb") as log:
        server = subprocess.Popen(
            [
                *(_WEED, "server", f"-dir={directory}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"),
                *("-s3", f"-s3.config={config}", "-s3.iam=false", "-s3.autoCreateBucket=false"),
                *("-s3.port.iceberg=0", "-s3.port.lance=0", f"-s3.localSocket={directory / 's3.sock'}"),
                *(f"-filer.localSocket={directory / 'filer.sock'}", "-master.telemetry=false"),
                *("-master.volumeSizeLimitMB=64", "-volume.max=50"),
                *(f"-{name}={port}" for name, port in ports.items()),
            ],
            stdout=log,
            stderr=log,
        )
    try:
        _until(server, lambda: _answers(s3.endpoint + "/healthz", "GET"))
        _until(server, lambda: _answers(_signed(s3, ""), "PUT"))
        # Healthy comes before ready: the first object has to wait until volumes are made.
        _until(server, lambda: _answers(_signed(s3, "started"), "PUT"))
        yield s3
    finally:
        server.kill()  # its data ends with the test; on SIGTERM it takes its time
        server.wait()


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [listener.getsockname()[1] for listener in sockets]
    finally:
        for listener in sockets:
            listener.close()


def _signed(s3: S3Server, path: str) -> str:
    """Sign a PUT of an object, or of the bucket itself: the library makes no buckets, but signs for them."""
    store = S3Store(s3.bucket, config=s3.environ, client_options={"allow_http": True})  # type: ignore[arg-type]  # -- a TypedDict
    return obstore.sign(store, "PUT", path, timedelta(minutes=1))


def _answers(url: str, method: str) -> bool:
    parts = urlsplit(url)
    assert parts.hostname is not None
    connection = HTTPConnection(parts.hostname, parts.port, timeout=15)
    try:
        connection.request(method, f"{parts.path}?{parts.query}")
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def _until(server: subprocess.Popen[bytes], condition: Callable[[], bool]) -> None:
    deadline = monotonic() + _SECONDS_TO_START
    while not condition():
        assert server.poll() is None, "SeaweedFS ended at once; weed.log in its directory says why"
        assert monotonic() < deadline, "SeaweedFS did not become ready"
        sleep(0.05)
