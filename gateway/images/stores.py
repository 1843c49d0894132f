"""From a setting to a store."""

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from gateway.images.local import LocalStore
from gateway.images.objects import open_bucket
from gateway.images.store import Store


def open_store(url: str, environ: Mapping[str, str]) -> Store:
    """Describe the store that a URL names: `file:///directory`, `s3://`, `gs://` or `az://`; contacts nothing.

    `environ` holds the cloud's credentials under their usual names. Raises ValueError, its text fit for an operator.
    """
    parts = urlsplit(url)
    if parts.scheme != "file":
        return open_bucket(url, environ)
    if parts.netloc not in {"", "localhost"} or not parts.path.startswith("/") or parts.query or parts.fragment:
        raise ValueError("a directory is named file:///absolute/path")
    return LocalStore(Path(unquote(parts.path)))
