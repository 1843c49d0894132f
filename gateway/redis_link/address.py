"""Where Redis is: the URL taken apart, and a client built from it that never retries or waits on its own."""

from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias
from urllib.parse import parse_qsl, unquote, urlsplit

from redis.asyncio import Redis, RedisCluster, Sentinel
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisClusterException, RedisError

from gateway.errors import Misconfigured

CONNECT_SECONDS = 0.25
READ_SECONDS = 0.3
HEALTH_CHECK_SECONDS = 15
CONNECTIONS = 8
"""How many trips of one process may be under way. What is asked for meanwhile joins the next trip."""

FAULTS = (RedisError, RedisClusterException, OSError, TimeoutError)
"""What the client raises when Redis is away, slow, or not what was expected."""

_DEFAULT_PORT = {"single": 6379, "cluster": 6379, "sentinel": 26379}
_TLS_OPTIONS = frozenset({"ssl_ca_certs", "ssl_cert_reqs", "ssl_certfile", "ssl_check_hostname", "ssl_keyfile"})
_YES = frozenset({"1", "true", "yes"})
_SENTINEL_OPTIONS = frozenset({"sentinel_username", "sentinel_password"})

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
    options: tuple[tuple[str, str], ...] = field(default=(), repr=False)


def parse_address(url: str) -> Address:
    """Read a Redis URL without contacting anything.

    `redis://[user:password@]host[:port][/database]`, `redis+sentinel://host:port,host:port/service[/database]` or
    `redis+cluster://host:port,host:port`; `rediss…` in place of `redis…` speaks TLS, with `ssl_ca_certs`,
    `ssl_certfile`, `ssl_keyfile`, `ssl_cert_reqs` and `ssl_check_hostname` as query options. User and password are
    those of the data servers; Sentinels may have their own, `?sentinel_username=…&sentinel_password=…`. Raises
    `Misconfigured`, which never repeats the URL: it may hold a password.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        raise Misconfigured(["The Redis URL is not a URL."]) from None
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
    options = tuple(parse_qsl(parts.query))
    allowed = (_TLS_OPTIONS if tls else frozenset()) | (_SENTINEL_OPTIONS if kind == "sentinel" else frozenset())
    if not {name for name, _ in options} <= allowed:
        faults.append(f"The Redis URL has an unknown option. Options here: {', '.join(sorted(allowed)) or 'none'}.")
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
        options=options,
    )


def _host(text: str, default_port: int, faults: list[str]) -> tuple[str, int]:
    """Read `host`, `host:port` or `[v6]:port`."""
    try:
        split = urlsplit(f"//{text}")
        host, port = split.hostname, split.port
    except ValueError:
        host, port = None, None
    if host is None or port == 0:
        faults.append("The Redis URL must name a host and a port from 1 to 65535.")
        return ("", 0)
    return (host, default_port if port is None else port)


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
    options = dict(address.options)
    tls: dict[str, Any] = {"ssl": True} if address.tls else {}
    for name in _TLS_OPTIONS & options.keys():
        tls[name] = options[name].lower() in _YES if name == "ssl_check_hostname" else options[name]
    # More connections than trips: for the probe, and for those on their way to be closed.
    pool: dict[str, Any] = {"health_check_interval": HEALTH_CHECK_SECONDS, "max_connections": 4 * CONNECTIONS}
    if address.kind == "cluster":
        nodes = [ClusterNode(host, port) for host, port in address.hosts]
        return RedisCluster(startup_nodes=nodes, **limits, **login, **tls, **pool), None
    if address.kind == "sentinel":
        sentinel_login = {name.removeprefix("sentinel_"): options[name] for name in _SENTINEL_OPTIONS & options.keys()}
        sentinel = Sentinel(
            list(address.hosts),
            sentinel_kwargs={**limits, **tls, **sentinel_login},
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
