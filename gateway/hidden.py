"""Every secret that this process is given: what no line of its log may show."""

from collections.abc import Iterator
from urllib.parse import parse_qsl, unquote, urlsplit

from gateway.data_dir import secrets_of
from gateway.settings import Settings

_SECRETIVE = ("SECRET", "KEY", "TOKEN", "PASSWORD")
"""What the names of cloud variables have in them that hold one."""


def hidden_of(settings: Settings) -> list[str]:
    """Return them all, an embedded gateway's generated secret included. Raises Misconfigured like `secrets_of`."""
    given = [key.get_secret_value() for key in settings.upstream_api_keys]
    given += [secret.decode() for secret in secrets_of(settings)]
    if settings.admin_token is not None:
        given.append(settings.admin_token.get_secret_value())
    endpoints = [value for name, value in settings.telemetry.items() if name.endswith("_ENDPOINT")]
    for url in (settings.database_url, settings.redis_url, *endpoints):
        given.extend(_passwords(url) if url is not None else ())
    given.extend(
        value
        for name, value in settings.cloud.items()
        if any(word in name for word in _SECRETIVE) and not name.endswith("_FILE")
    )
    for name, headers in settings.telemetry.items():
        if name.endswith("_HEADERS"):
            given.extend(unquote(header.partition("=")[2].strip()) for header in headers.split(","))
    return given


def _passwords(url: str) -> Iterator[str]:
    """Yield the passwords of a URL, as they are written and as they are meant."""
    parts = urlsplit(url)
    _, _, password = parts.netloc.rpartition("@")[0].partition(":")
    yield from {password, unquote(password)}
    yield from (value for name, value in parse_qsl(parts.query) if "password" in name)
