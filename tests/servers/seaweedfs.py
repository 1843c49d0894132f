"""A real S3 for tests: SeaweedFS on loopback, one process, ended by its own id."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from time import monotonic, sleep
from urllib.parse import urlsplit

import obstore
from obstore.store import S3Store

from tests.servers.ports import free_port

_WEED = Path(sys.executable).parent / "weed"
_SECONDS_TO_START = 60
_PORTS = ("master.port", "volume.port", "filer.port", "s3.port")


class S3Server:
    """A server, a bucket in it, and a credential for it; buckets are not made by writing to them."""

    bucket = "images"
    access_key = "GATEWAY"
    secret_key = "gateway-secret"

    def __init__(self, directory: Path) -> None:
        """Keep its data in a directory, where it outlives the process."""
        names = (*_PORTS, *(f"{name}.grpc" for name in _PORTS))
        self._ports = {name: free_port() for name in names}
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None
        self._begun = False
        self.endpoint = f"http://127.0.0.1:{self._ports['s3.port']}"

    @property
    def environ(self) -> Mapping[str, str]:
        """The variables by which a gateway is told of it."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
        }

    def start(self) -> None:
        """Start it, and wait until an object has been stored."""
        directory = self._directory
        credential = {"accessKey": self.access_key, "secretKey": self.secret_key}
        identity = {"name": "gateway", "credentials": [credential], "actions": ["Admin", "Read", "Write", "List"]}
        config = directory / "s3.json"
        config.write_text(json.dumps({"identities": [identity]}))
        with (directory / "weed.log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *(_WEED, "server", f"-dir={directory}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"),
                    *("-s3", f"-s3.config={config}", "-s3.iam=false", "-s3.autoCreateBucket=false"),
                    *("-s3.port.iceberg=0", "-s3.port.lance=0", f"-s3.localSocket={directory / 's3.sock'}"),
                    *(f"-filer.localSocket={directory / 'filer.sock'}", "-master.telemetry=false"),
                    *("-master.resumeState=false", "-master.volumeSizeLimitMB=64", "-volume.max=50"),
                    *(f"-{name}={port}" for name, port in self._ports.items()),
                ],
                stdout=log,
                stderr=log,
            )
        self._until(lambda: _answers(self.endpoint + "/healthz", "GET"))
        if not self._begun:
            self._until(lambda: _answers(self._signed(""), "PUT"))
            self._begun = True
        # Healthy comes before ready: the first object has to wait until volumes are made.
        self._until(lambda: _answers(self._signed("started"), "PUT"))

    def kill(self) -> None:
        """End it at once; what it has acknowledged is there when it starts again. On SIGTERM it takes half a minute."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def _signed(self, path: str) -> str:
        """Sign a PUT of an object, or of the bucket itself: the library makes no buckets, but signs for them."""
        store = S3Store(self.bucket, config=self.environ, client_options={"allow_http": True})  # type: ignore[arg-type]  # -- a TypedDict
        return obstore.sign(store, "PUT", path, timedelta(minutes=1))

    def _until(self, condition: Callable[[], bool]) -> None:
        assert self._process is not None
        deadline = monotonic() + _SECONDS_TO_START
        while not condition():
            assert self._process.poll() is None, "SeaweedFS ended at once; weed.log in its directory says why"
            assert monotonic() < deadline, "SeaweedFS did not become ready"
            sleep(0.05)


@contextmanager
def seaweedfs(directory: Path) -> Iterator[S3Server]:
    """Run SeaweedFS with its data in a directory, until the block ends; yields once an object has been stored."""
    server = S3Server(directory)
    try:
        server.start()
        yield server
    finally:
        server.kill()


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
