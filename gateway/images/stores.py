"""From a setting to a store.

Credentials are those of each cloud's usual environment variables, handed in by the caller; what is not among them
(instance roles, workload identity) the library finds by itself.
"""

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import SplitResult, unquote, urlsplit

from obstore.exceptions import BaseError
from obstore.store import AzureStore, GCSStore, S3Store

from gateway.images.local import LocalStore
from gateway.images.objects import Bucket, ObjectStore, plain
from gateway.images.store import Store

_RETRY: Final[Any] = {
    "max_retries": 2,
    "retry_timeout": timedelta(seconds=15),
    "backoff": {"init_backoff": timedelta(milliseconds=200), "max_backoff": timedelta(seconds=3), "base": 2},
}
_VARIABLES: Final = {
    "s3": (
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_REGION",
        "AWS_DEFAULT_REGION",
        "AWS_ENDPOINT_URL",
        "AWS_ENDPOINT_URL_S3",
        "AWS_VIRTUAL_HOSTED_STYLE_REQUEST",
        "AWS_UNSIGNED_PAYLOAD",
        "AWS_SERVER_SIDE_ENCRYPTION",
        "AWS_SSE_KMS_KEY_ID",
        "AWS_ROLE_ARN",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    ),
    "gs": (
        "GOOGLE_APPLICATION_CREDENTIALS",
        "GOOGLE_SERVICE_ACCOUNT",
        "GOOGLE_SERVICE_ACCOUNT_KEY",
        "GOOGLE_BASE_URL",
        "GOOGLE_SKIP_SIGNATURE",
    ),
    "az": (
        "AZURE_STORAGE_ACCOUNT_NAME",
        "AZURE_STORAGE_ACCOUNT_KEY",
        "AZURE_STORAGE_SAS_TOKEN",
        "AZURE_STORAGE_ENDPOINT",
        "AZURE_STORAGE_USE_EMULATOR",
        "AZURE_CLIENT_ID",
        "AZURE_CLIENT_SECRET",
        "AZURE_TENANT_ID",
        "AZURE_FEDERATED_TOKEN_FILE",
    ),
}
_ENDPOINTS: Final = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "GOOGLE_BASE_URL", "AZURE_STORAGE_ENDPOINT")


def open_store(url: str, environ: Mapping[str, str]) -> Store:
    """Describe the store that a URL names; contacts nothing.

    `file:///directory`, `s3://bucket/prefix`, `gs://bucket/prefix` or `az://container/prefix`. Of `environ` only the
    cloud's own variables are used; an `http://` endpoint in them is taken as meant.
    Raises ValueError, its text fit for an operator, for another URL or for settings that the library refuses.
    """
    parts = urlsplit(url)
    if parts.scheme == "file":
        if parts.netloc not in {"", "localhost"} or not parts.path.startswith("/") or parts.query or parts.fragment:
            raise ValueError("a directory is named file:///absolute/path")
        return LocalStore(Path(unquote(parts.path)))
    if parts.scheme not in _VARIABLES or not parts.netloc or parts.query or parts.fragment:
        raise ValueError(
            "a store is named file:///path, s3://bucket/prefix, gs://bucket/prefix or az://container/prefix"
        )
    try:
        return ObjectStore(_bucket(parts, environ))
    except BaseError as error:
        raise ValueError(f"the object store's settings are refused: {plain(error)}") from None


def _bucket(parts: SplitResult, environ: Mapping[str, str]) -> Bucket:
    config: Any = {key: environ[key] for key in _VARIABLES[parts.scheme] if environ.get(key)}
    client: Any = {
        "connect_timeout": "3s",
        "timeout": "60s",
        "allow_http": any(config.get(key, "").startswith("http://") for key in _ENDPOINTS),
    }
    described: Any = {
        "prefix": unquote(parts.path).strip("/") or None,
        "config": config,
        "client_options": client,
        "retry_config": _RETRY,
    }
    match parts.scheme:
        case "s3":
            return S3Store(parts.netloc, **described)
        case "gs":
            return GCSStore(parts.netloc, **described)
        case _:
            return AzureStore(parts.netloc, **described)
