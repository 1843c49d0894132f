"""The data directory: who may use it, and the secret that an embedded gateway makes for itself."""

import contextlib
import fcntl
import os
import secrets
from pathlib import Path

from gateway.database.engine import Database, open_database, sqlite_url
from gateway.database.migrate import require_head, upgrade
from gateway.errors import Misconfigured
from gateway.setting_types import SHORTEST_SECRET
from gateway.settings import Settings

DATABASE = "gateway.sqlite3"
IMAGES = "images"
JOURNAL = "journal"
LOCK = "lock"
SPOOL = "spool"
SECRET = "secret"  # noqa: S105 -- the name of a file


def prepare(directory: Path) -> None:
    """Make the directory, and let nobody else read what this process makes in it, or anywhere.

    Raises Misconfigured if that cannot be.
    """
    os.umask(0o077)
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise Misconfigured([f"GATEWAY_DATA_DIR: {directory} cannot be made: {error.strerror}"]) from error
    if not os.access(directory, os.W_OK | os.X_OK):
        raise Misconfigured([f"GATEWAY_DATA_DIR: {directory} cannot be written to"])


def lock(directory: Path) -> int:
    """Take the directory for this process until it ends; return the open file. Raises Misconfigured if it is taken."""
    descriptor = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise Misconfigured([f"GATEWAY_DATA_DIR: another gateway serves from {directory}"]) from None
    return descriptor


def secrets_of(settings: Settings) -> list[bytes]:
    """Return the secrets, newest first; an embedded gateway without any makes one, exclusively, and keeps it."""
    if settings.secret:
        return [secret.get_secret_value().encode() for secret in settings.secret]
    path = settings.data_dir / SECRET
    if not path.exists():
        _make_secret(path)
    secret = path.read_bytes().strip()
    if len(secret) < SHORTEST_SECRET:
        raise Misconfigured([f"GATEWAY_DATA_DIR: {path} must hold at least {SHORTEST_SECRET} characters"])
    return [secret]


def _make_secret(path: Path) -> None:
    """Make a secret file: whole or not at all, and only one of two who try at once."""
    draft = path.with_name(f"{SECRET}.{secrets.token_hex(8)}")
    try:
        with draft.open("wb") as file:
            file.write(secrets.token_hex(32).encode())
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink(missing_ok=True)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def database_of(settings: Settings) -> Database:
    """Return the database that the settings name; nothing is contacted."""
    if settings.database_url is not None:
        return open_database(settings.database_url)
    return open_database(sqlite_url(settings.data_dir / DATABASE))


async def migrate_embedded(settings: Settings, database: Database) -> None:
    """Bring an embedded database up to date; any other must be already. Raises NotMigrated, LedgerUnavailable."""
    if settings.database_url is None:
        await database.write(upgrade)
    else:
        await database.read(require_head)
