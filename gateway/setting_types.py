"""The forms that settings take. Each is read by the very parser that will use it, so what passes here works there.

A fault says what a value must be and never repeats it: it may hold a password.
"""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Annotated, Any, TypeAlias
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from gateway.contract import read_host
from gateway.errors import Misconfigured
from gateway.guard import AddressRefused, parse, parse_exception
from gateway.redis_link import parse_address

SHORTEST_SECRET = 32
FEWEST_CHARACTERS = 8
"""Different ones, in a secret: `aaaa…` is long and no secret."""

KNOWN_DEFAULTS = ("changeme", "change-me", "password", "secret", "example", "admin")
PORT_MAX = 65535
DATABASE_OPTIONS = ("passfile", "prepared_statement_cache_size", "ssl", "target_session_attrs")
"""What may follow `?` in the URL of a database: asyncpg's names, where libpq says `sslmode`."""


def _split(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    parts = [part.strip() for part in value.split(",") if part.strip()]
    if not parts:
        raise ValueError("must name at least one, or not be set")
    return parts


def _strong(secret: SecretStr) -> SecretStr:
    value = secret.get_secret_value()
    if len(value) < SHORTEST_SECRET:
        raise ValueError(f"must be at least {SHORTEST_SECRET} characters")
    if len(set(value)) < FEWEST_CHARACTERS or any(value.lower().startswith(word) for word in KNOWN_DEFAULTS):
        raise ValueError("must be random, not a known default: try `openssl rand -hex 32`")
    return secret


def _plain(secret: SecretStr) -> SecretStr:
    value = secret.get_secret_value()
    if not value.isascii() or not value.isprintable() or " " in value:
        raise ValueError("must be printable ASCII without spaces")
    return secret


def _http(url: str) -> str:
    """Read the URL of a service: whatever is appended to it has to stay in the path."""
    try:
        parse(url)
    except AddressRefused:
        plain = False
    else:
        plain = "?" not in url and "#" not in url
    if not plain:
        raise ValueError("must be a URL such as https://host or https://host/path, without user, query or fragment")
    return url.rstrip("/")


def _database(url: str) -> str:
    try:
        parsed = make_url(url)
        possible = parsed.drivername == "postgresql" and (parsed.port is None or 1 <= parsed.port <= PORT_MAX)
    except (ArgumentError, ValueError):
        possible = False
    if not possible or not urlsplit(url).netloc:
        # The cause is not chained: it quotes the URL.
        raise ValueError("must be a URL such as postgresql://user:password@host:5432/database") from None
    if not parsed.query.keys() <= set(DATABASE_OPTIONS):
        raise ValueError(f"must have no options but {', '.join(DATABASE_OPTIONS)}")
    return url.rstrip("/")


def _redis(url: str) -> str:
    try:
        parse_address(url)
    except Misconfigured as refused:
        raise ValueError(" ".join(refused.faults)) from None
    return url


def _store(url: str) -> str:
    if url == "none":
        return url
    parts = urlsplit(url)
    if parts.scheme not in ("file", "s3", "gs", "az") or not (parts.netloc or parts.path.strip("/")):
        raise ValueError("must be file:///…, s3://bucket/prefix, gs://bucket, az://container or none")
    return url.rstrip("/")


def _host(text: str) -> str:
    """Read a host to listen on: an address in its usual form, or a name."""
    try:
        return str(ip_address(text))
    except ValueError:
        # Resolvers take `0` and `127.1` for addresses, so a wildcard could be meant, and missed.
        if not text.isascii() or not isinstance(read_host(text), str):
            raise ValueError("must be an address such as 127.0.0.1 or ::1 (no brackets), or a host name") from None
    return text


def _proxy(text: str) -> str:
    try:
        ip_network(text)
    except ValueError:
        raise ValueError("must be an address or a network such as 10.0.0.0/8") from None
    return text


def _image_host(text: str) -> str:
    try:
        parse_exception(text)
    except ValueError:
        raise ValueError("must be a host or host:port") from None
    return text


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError("must be a time zone such as Asia/Shanghai") from error
    return name


def is_wildcard(host: str) -> bool:
    """Whether to listen on a host, as `Host` has it, is to listen on every address of the machine."""
    try:
        address: IPv4Address | IPv6Address = ip_address(host)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (address if mapped is None else mapped).is_unspecified


HttpUrl: TypeAlias = Annotated[str, AfterValidator(_http)]
DatabaseUrl: TypeAlias = Annotated[str, AfterValidator(_database)]
RedisUrl: TypeAlias = Annotated[str, AfterValidator(_redis)]
StorageUrl: TypeAlias = Annotated[str, AfterValidator(_store)]
Host: TypeAlias = Annotated[str, AfterValidator(_host)]
Port: TypeAlias = Annotated[int, Field(ge=1, le=PORT_MAX)]
PortOrAny: TypeAlias = Annotated[int, Field(ge=0, le=PORT_MAX)]
Zone: TypeAlias = Annotated[str, AfterValidator(_zone)]
Secrets: TypeAlias = Annotated[tuple[Annotated[SecretStr, AfterValidator(_strong)], ...], BeforeValidator(_split)]
UpstreamKeys: TypeAlias = Annotated[tuple[Annotated[SecretStr, AfterValidator(_plain)], ...], BeforeValidator(_split)]
Token: TypeAlias = Annotated[SecretStr, AfterValidator(_strong), AfterValidator(_plain)]
Proxies: TypeAlias = Annotated[tuple[Annotated[str, AfterValidator(_proxy)], ...], BeforeValidator(_split)]
ImageHosts: TypeAlias = Annotated[tuple[Annotated[str, AfterValidator(_image_host)], ...], BeforeValidator(_split)]
