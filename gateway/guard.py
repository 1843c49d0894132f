"""The address guard: what this gateway may connect to when somebody else chose the URL (image links, webhooks).

One parser reads such a URL, and what it read, not the text, is connected to. A name is resolved once, at connect time;
every address must be public, and the connection goes to one of those very addresses: there is no second look-up that
could answer differently. Exceptions are listed by the operator, by host, and are trusted entirely.
https://cheatsheetseries.owasp.org/cheatsheets/Server_Side_Request_Forgery_Prevention_Cheat_Sheet.html
"""

import asyncio
import re
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final, TypeAlias
from urllib.parse import quote

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from gateway.contract import Address, is_public

Resolve: TypeAlias = Callable[[str, int], Awaitable[Sequence[Address]]]
"""Looks a host name up; raises OSError when there is no answer."""

URL_LENGTH_MAX: Final = 8192

_URL: Final = re.compile(
    r"(?P<scheme>https?)://(?P<host>\[[0-9a-f:.]+\]|[0-9a-z._-]+)(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<path>/[^?#]*)?(?:\?(?P<query>[^#]*))?(?:#.*)?",
    re.ASCII | re.IGNORECASE,
)
_LABEL: Final = re.compile(r"[0-9a-z_](?:[0-9a-z_-]{0,61}[0-9a-z_])?", re.ASCII)
_NUMERIC: Final = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII)
_FORBIDDEN: Final = re.compile(r"[\x00-\x20\x7f\\]")
_NAME_LENGTH_MAX: Final = 253
_PORTS: Final = {"http": 80, "https": 443}
_PORT_MAX: Final = 65535
_CONNECT_SECONDS: Final = 10.0
_PRINTABLE: Final = "".join(map(chr, range(0x21, 0x7F)))


class AddressRefused(Exception):
    """The URL, host or address is none that may be connected to. The text is for the log: it names no secret."""


@dataclass(frozen=True, slots=True)
class Target:
    """A URL taken apart. `host` is in lower case, without brackets; `path` holds the query and is sent as it is."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def url(self) -> URL:
        """The URL for the HTTP client, made of the parts that were checked; nothing is read or encoded again."""
        path, _, query = self.path.partition("?")
        host = f"[{self.host}]" if ":" in self.host else self.host
        return URL.build(scheme=self.scheme, host=host, port=self.port, path=path, query_string=query, encoded=True)


def parse(text: str) -> Target:
    """Read an absolute http or https URL; raises AddressRefused for every other text.

    Refused are user names, white space, backslashes, control characters, hosts that are not plain ASCII, and numbers
    that some resolvers take for addresses (`127.1`, `0x7f000001`). What is not ASCII in a path is percent-encoded.
    """
    if len(text) > URL_LENGTH_MAX:
        raise AddressRefused("the URL is too long")
    if _FORBIDDEN.search(text):
        raise AddressRefused("the URL has characters that no URL has")
    match = _URL.fullmatch(text)
    if match is None:
        raise AddressRefused("not a plain http or https URL")
    scheme = match["scheme"].lower()
    port = _PORTS[scheme] if match["port"] is None else int(match["port"])
    if not 1 <= port <= _PORT_MAX:
        raise AddressRefused("the URL has an impossible port")
    path = match["path"] or "/"
    if match["query"] is not None:
        path += "?" + match["query"]
    try:
        path = quote(path, safe=_PRINTABLE)
    except UnicodeEncodeError:
        raise AddressRefused("the URL has half a character") from None
    return Target(scheme, _host(match["host"]), port, path)


def _host(text: str) -> str:
    """Check the host of a URL: an address in its usual form, or a name that no resolver takes for an address."""
    host = text.lower()
    if host.startswith("["):
        try:
            return str(IPv6Address(host[1:-1]))
        except ValueError:
            raise AddressRefused("the URL has an impossible address") from None
    labels = host.removesuffix(".").split(".")
    if _NUMERIC.fullmatch(labels[-1]):  # https://url.spec.whatwg.org/#ends-in-a-number-checker
        try:
            return str(IPv4Address(host))
        except ValueError:
            raise AddressRefused("the URL has an unusual form of an address") from None
    if len(host) > _NAME_LENGTH_MAX or not all(_LABEL.fullmatch(label) for label in labels):
        raise AddressRefused("the URL has an impossible host name")
    return host


def parse_exception(entry: str) -> tuple[str, int | None]:
    """Read `host` or `host:port`, an exception to the guard's rules. Raises ValueError."""
    try:
        target = parse(f"http://{entry}/")
    except AddressRefused as refused:
        raise ValueError(f"not a host or host:port: {entry!r}") from refused
    if target.path != "/" or entry.endswith("/"):
        raise ValueError(f"not a host or host:port: {entry!r}")
    has_port = re.search(r":[0-9]+\Z", entry.rpartition("]")[2]) is not None
    return target.host, target.port if has_port else None


async def look_up(host: str, port: int) -> Sequence[Address]:
    """Ask the system's resolver, in a thread. Raises OSError when there is no answer."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [ip_address(address[0]) for _, _, _, _, address in found if isinstance(address[0], str)]


class Guard:
    """Decides about hosts and addresses. `allow` lists exceptions, each `host` or `host:port`."""

    def __init__(self, allow: Sequence[str] = (), resolve: Resolve = look_up) -> None:
        """Read the exceptions; raises ValueError for an entry of another form."""
        self._allowed = frozenset(parse_exception(entry) for entry in allow)
        self._resolve = resolve

    def target(self, url: str) -> Target:
        """Read a URL and refuse what can be refused before a name is resolved.

        That is: what `parse` refuses, plain http where https is required, and a literal address that is not public
        (an HTTP client connects to that without asking a resolver). Raises AddressRefused.
        """
        target = parse(url)
        if target.scheme != "https" and self.https_required(target.host, target.port):
            raise AddressRefused("the URL is not https")
        literal = _literal(target.host)
        if literal is not None:
            self._judge(target.host, target.port, [literal])
        return target

    def https_required(self, host: str, port: int) -> bool:
        """Tell whether plain http is refused here: everywhere but at the exceptions."""
        return not self._excepted(host, port)

    async def approve(self, host: str, port: int) -> list[Address]:
        """Resolve a host once and return its addresses, every one of them approved.

        Raises AddressRefused if any address is not public (unless the host is an exception), OSError if there is none.
        """
        literal = _literal(host)
        addresses = [literal] if literal is not None else list(await self._resolve(host, port))
        if not addresses:
            raise OSError(f"{host} has no address")
        self._judge(host, port, addresses)
        return addresses

    def _judge(self, host: str, port: int, addresses: Sequence[Address]) -> None:
        if not self._excepted(host, port) and not all(map(is_public, addresses)):
            raise AddressRefused(f"{host} is, or leads to, an address that is not public")

    def _excepted(self, host: str, port: int) -> bool:
        return (host, port) in self._allowed or (host, None) in self._allowed


class GuardedResolver(AbstractResolver):
    """The guard at connect time: aiohttp connects to nothing but what this returns (and to literal addresses)."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard

    async def resolve(
        self,
        host: str,
        port: int = 0,
        family: socket.AddressFamily = socket.AF_UNSPEC,  # noqa: ARG002 -- aiohttp drops what is not of its family
    ) -> list[ResolveResult]:
        """Return the approved addresses of a host; raises AddressRefused or OSError."""
        return [
            ResolveResult(
                hostname=host,
                host=str(address),
                port=port,
                family=socket.AF_INET6 if address.version == 6 else socket.AF_INET,  # noqa: PLR2004 -- IPv6
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST,
            )
            for address in await self._guard.approve(host, port)
        ]

    async def close(self) -> None:
        """Nothing is held."""


def open_session(guard: Guard, *, limit: int, headers: Mapping[str, str]) -> aiohttp.ClientSession:
    """Open a client that connects to nothing but what the guard approves: no cookie, no proxy, nothing unpacked.

    What a literal address may be is `Guard.target`'s to say. `limit` is the most connections at once.
    """
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(resolver=GuardedResolver(guard), use_dns_cache=False, limit=limit),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"User-Agent": "image-gateway", **headers},
        auto_decompress=False,
        trust_env=False,
    )


def _literal(host: str) -> Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None
