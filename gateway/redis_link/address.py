"""Where Redis is: the URL taken apart, and a client built from it that never retries or waits on its own."""

from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias
from urllib.parse import parse_qsl, unquote, urlsplit

from redis.asyncio import Redis, RedisCluster, Sentinel
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from gateway.errors import Misconfigured

CONNECT_SECONDS = 0.25
READ_SECONDS = 0.3
HEALTH_CHECK_SECONDS = 15
CONNECTIONS = 8
"""How many trips of one process may be under way. What is asked for meanwhile joins the next trip."""

_DEFAULT_PORT = {"single": 6379, "cluster": 6379, "sentinel": 26379}
_TLS_OPTIONS = frozenset({"ssl_ca_certs", "ssl_cert_reqs", "ssl_certfile", "ssl_check_hostname", "ssl_keyfile"})

Kind: TypeAlias = Literal["single", "sentinel", "cluster"]
Client: TypeAlias = Redis | RedisCluster

_SCHEMES: dict[str, tuple[Kind, bool]] = {
    "redis": ("single", False),
    "rediss": ("single", True),
    "redis+sentinel": ("sentinel", False),
    "rediss+sentinel": ("sentinel", True),
    "redis+cluster": ("cluster", False),
    "rediss+cluster": ("cluster", True),
}


@dataclass(frozen=True, slots=True)
class Address:
    """A Redis URL, taken apart. `hosts` are the server, the Sentinels, or some nodes of the cluster."""

    kind: Kind
    hosts: tuple[tuple[str, int], ...]
    tls: bool = False
    service: str = ""
    database: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls_options: tuple[tuple[str, str | bool], ...] = ()


def parse_address(url: str) -> Address:
    """Read a Redis URL without contacting anything.

    `redis://[user:password@]host[:port][/database]`, `redis+sentinel://host:port,host:port/service[/database]` or
    `redis+cluster://host:port,host:port`; `rediss…` in place of `redis…` speaks TLS, with `ssl_ca_certs`,
    `ssl_certfile`, `ssl_keyfile`, `ssl_cert_reqs` and `ssl_check_hostname` as query options. User and password are
    those of the data servers. Raises `Misconfigured`, which never repeats the URL: it may hold a password.
    """
    parts = urlsplit(url)
    if parts.scheme not in _SCHEMES:
        raise Misconfigured([f"The Redis URL must begin with one of {', '.join(f'{name}://' for name in _SCHEMES)}."])
    kind, tls = _SCHEMES[parts.scheme]
    userinfo, _, netloc = parts.netloc.rpartition("@")
    username, _, password = userinfo.partition(":")
    faults: list[str] = []
    hosts = tuple(_host(text, _DEFAULT_PORT[kind], faults) for text in netloc.split(","))
    if kind == "single" and len(hosts) > 1:
        faults.append("The Redis URL names several hosts: use redis+sentinel:// or redis+cluster://.")
    path = [unquote(piece) for piece in parts.path.split("/") if piece]
    service = path.pop(0) if kind == "sentinel" and path else ""
    if kind == "sentinel" and not service:
        faults.append("The Redis URL must name the Sentinel service: redis+sentinel://host:port/service.")
    if kind == "cluster" and path:
        faults.append("The Redis URL names a database, which a cluster does not have.")
    if len(path) > 1 or not all(piece.isascii() and piece.isdigit() for piece in path):
        faults.append("The database in the Redis URL must be a number.")
    if faults:
        raise Misconfigured(faults)
    return Address(
        kind=kind,
        hosts=hosts,
        tls=tls,
        service=service,
        database=int(path[0]) if path else 0,
        username=unquote(username) or None,
        password=unquote(password) or None,
        tls_options=_tls_options(parts.query, tls=tls),
    )


def _host(text: str, default_port: int, faults: list[str]) -> tuple[str, int]:
    """Read `host`, `host:port` or `[v6]:port`."""
    try:
        split = urlsplit(f"//{text}")
        host, port = split.hostname, split.port
    except ValueError:
        host, port = None, None
    if host is None:
        faults.append("The Redis URL must name a host and a port from 1 to 65535.")
        return ("", 0)
    return (host, default_port if port is None else port)


def _tls_options(query: str, *, tls: bool) -> tuple[tuple[str, str | bool], ...]:
    options: list[tuple[str, str | bool]] = []
    for name, value in parse_qsl(query):
        if not tls or name not in _TLS_OPTIONS:
            allowed = ", ".join(sorted(_TLS_OPTIONS))
            raise Misconfigured([f"The Redis URL has an option it may not have; rediss:// takes {allowed}."])
        options.append((name, value.lower() in {"1", "true", "yes"} if name == "ssl_check_hostname" else value))
    return tuple(options)


def open_client(address: Address) -> tuple[Client, Sentinel | None]:
    """Build the client, connecting nothing yet, and the Sentinel client behind it, which is closed with it."""
    # The library's own ten retries with up to a second between them would add up in the request path. The connection
    # speaks RESP2 and keeps its name to itself: a new one then costs no round trip before its first command.
    limits: dict[str, Any] = {
        "socket_connect_timeout": CONNECT_SECONDS,
        "socket_timeout": READ_SECONDS,
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,
        "driver_info": None,
    }
    login: dict[str, Any] = {"username": address.username, "password": address.password}
    tls: dict[str, Any] = {"ssl": True, **dict(address.tls_options)} if address.tls else {}
    # One connection more than trips: for the probe and the first PING.
    pool: dict[str, Any] = {"health_check_interval": HEALTH_CHECK_SECONDS, "max_connections": 4 * CONNECTIONS}
    if address.kind == "cluster":
        nodes = [ClusterNode(host, port) for host, port in address.hosts]
        return RedisCluster(startup_nodes=nodes, **limits, **login, **tls, **pool), None
    if address.kind == "sentinel":
        sentinel = Sentinel(
            list(address.hosts),
            sentinel_kwargs={**limits, **tls},
            **limits,
            **login,
            **tls,
            **pool,
            db=address.database,
        )  # type: ignore[no-untyped-call]  # the package leaves it untyped
        client: Redis = sentinel.master_for(address.service)
        return client, sentinel
    ((host, port),) = address.hosts
    return Redis(host=host, port=port, db=address.database, **limits, **login, **tls, **pool), None
