"""A PostgreSQL of the tests' own: a fresh cluster on a free port, as safe with its data as in production."""

import asyncio
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import asyncpg

from tests.servers.ports import free_port

USER = "gateway"
PATIENCE_SECONDS = 30.0


class Postgres:
    """A running server. `kill` and `start` are an outage, `freeze` and `thaw` a server that answers late.

    Each method blocks; a coroutine calls it through `asyncio.to_thread`.
    """

    def __init__(self, directory: Path, port: int) -> None:
        self.port = port
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None

    def url(self, database: str = "postgres") -> str:
        """Return the URL of a database, as GATEWAY_DATABASE_URL has it."""
        return f"postgresql://{USER}@127.0.0.1:{self.port}/{database}"

    def create_database(self, template: str = "template1") -> str:
        """Create a database, empty or like another one to which nobody is connected; return its name."""
        name = f"test_{uuid4().hex}"
        asyncio.run(self._execute(f"CREATE DATABASE {name} TEMPLATE {template}"))
        return name

    def drop_database(self, name: str) -> None:
        """Drop a database and whatever is connected to it."""
        asyncio.run(self._execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"))

    def start(self) -> None:
        """Start the server and wait until it answers."""
        with (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *_as_owner(),
                    _program("postgres"),
                    *("-D", str(self._directory / "data")),
                    *("-p", str(self.port)),
                    *("-c", "listen_addresses=127.0.0.1"),
                    *("-c", "unix_socket_directories="),
                ],
                stdout=log,
                stderr=log,
            )
        self._wait_until_ready(self._process)

    def stop(self) -> None:
        """Stop the server: it closes every connection and writes everything."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """End the server as a power cut would, its workers too."""
        self._end(signal.SIGQUIT)

    def freeze(self) -> None:
        """Let the server take connections and answer none."""
        self._signal_all(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen server go on."""
        self._signal_all(signal.SIGCONT)

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(PATIENCE_SECONDS)
            self._process = None

    def _signal_all(self, number: signal.Signals) -> None:
        if self._process is None:
            raise RuntimeError("the server is not running")
        parent = self._process.pid
        for child in Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
            os.kill(int(child), number)
        os.kill(parent, number)

    def _wait_until_ready(self, process: "subprocess.Popen[bytes]") -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                asyncio.run(self._execute("SELECT 1"))
            except (OSError, asyncpg.CannotConnectNowError) as error:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError((self._directory / "log").read_text()[-2000:]) from error
                time.sleep(0.02)
            else:
                return

    async def _execute(self, statement: str) -> None:
        connection = await asyncpg.connect(self.url(), timeout=5)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()


@contextmanager
def postgres(within: Path | None = None) -> Iterator[Postgres]:
    """Run a server until the block ends. Its files are outside pytest's directories, which only their owner enters."""
    directory = Path(tempfile.mkdtemp(prefix="gateway-postgres-", dir=within))
    server = Postgres(directory, free_port())
    try:
        if os.geteuid() == 0:
            owner = pwd.getpwnam(_owner())
            os.chown(directory, owner.pw_uid, owner.pw_gid)
        subprocess.run(
            [
                *_as_owner(),
                _program("initdb"),
                *("--pgdata", str(directory / "data")),
                *("--username", USER),
                *("--auth", "trust"),
                *("--encoding", "UTF8"),
                *("--locale", "C"),
                "--no-sync",
            ],
            check=True,
            capture_output=True,
        )
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(directory)


def _program(name: str) -> str:
    """Find a program; Debian keeps the server's own out of PATH."""
    if (found := shutil.which(name)) is not None:
        return found
    versions = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: int(path.parts[4]))
    if not versions:
        raise RuntimeError(f"{name} is not installed: run deploy/test-tools.sh")
    return str(versions[-1])


def _owner() -> str:
    """Return who the server runs as when the tests run as root, whom PostgreSQL refuses."""
    users = {user.pw_name for user in pwd.getpwall()}
    return "postgres" if "postgres" in users else "nobody"


def _as_owner() -> list[str]:
    if os.geteuid() != 0:
        return []
    owner = pwd.getpwnam(_owner())
    return ["setpriv", f"--reuid={owner.pw_uid}", f"--regid={owner.pw_gid}", "--clear-groups", "--"]
