"""Which hosts written in a URL cannot be public: literal addresses of other networks, in every form parsers take.

A name is not resolved here: these URLs are fetched by upstream, and only what is plainly pointless or aimed at
somebody's inner network is refused.
"""

import re
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import TypeAlias
from unicodedata import normalize

Address: TypeAlias = IPv4Address | IPv6Address

_DENIED = tuple(
    ip_network(network)
    for network in (
        "0.0.0.0/8",
        "100.64.0.0/10",  # shared address space of carriers, RFC 6598
        "192.0.0.0/24",
        "192.88.99.0/24",
        "198.18.0.0/15",
        "224.0.0.0/3",
        # IPv6 forms that carry an IPv4 address are refused as a whole, public or not.
        "::/96",
        "::ffff:0:0/96",
        "64:ff9b::/96",
        "64:ff9b:1::/48",
        "2001::/23",
        "2002::/16",
        "3fff::/20",
        "5f00::/16",
        "fc00::/7",
        "fe80::/9",
        "ff00::/8",
    )
)
"""On top of `is_global`, whose table differs between Python's patch releases."""

_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII)
_IPV4_PARTS_MAX = 4
_NAME = re.compile(r"[\w-]{1,63}(\.[\w-]{1,63})*", re.UNICODE)
_NAME_CHARACTERS_MAX = 253


def is_public(address: Address) -> bool:
    """Whether an address belongs to the public internet: globally routed, unicast, and not IPv4 in disguise."""
    return address.is_global and not any(
        address.version == network.version and address in network for network in _DENIED
    )


def read_host(host: str) -> Address | str | None:
    """Read a URL's host, without brackets: an address, a name, or None if it can be neither.

    Numbers are read as browsers and C libraries do (WHATWG URL 3.5, inet_aton): `127.1`, `0x7f.1`, `2130706433`.
    Wide and otherwise disguised characters count as what they look like, as they do in IDNA (UTS 46).
    """
    host = normalize("NFKC", host).lower()
    if ":" in host:
        return _ipv6(host)
    name = host.removesuffix(".")
    if len(name) > _NAME_CHARACTERS_MAX or not _NAME.fullmatch(name):
        return None
    parts = name.split(".")
    return _ipv4(parts) if _NUMBER.fullmatch(parts[-1]) else name


def is_reachable(host: Address | str) -> bool:
    """Whether a host, as read by `read_host`, may be public as far as its text tells."""
    if isinstance(host, str):
        return host != "localhost" and not host.endswith(".localhost")
    return is_public(host)


def _ipv6(text: str) -> Address | None:
    try:
        return None if "%" in text else IPv6Address(text)  # a zone means something on one machine only, RFC 6874
    except ValueError:
        return None


def _ipv4(parts: list[str]) -> Address | None:
    """Read one to four numbers, decimal, octal (`0…`) or hexadecimal (`0x…`); the last fills what is left."""
    if len(parts) > _IPV4_PARTS_MAX or not all(_NUMBER.fullmatch(part) for part in parts):
        return None
    try:
        *leading, last = [_number(part) for part in parts]
    except ValueError:
        return None
    room = 8 * (_IPV4_PARTS_MAX - len(leading))
    if any(number > 255 for number in leading) or last >> room:  # noqa: PLR2004 -- each leading number is one byte
        return None
    value = last
    for position, number in enumerate(leading):
        value |= number << 8 * (3 - position)
    return ip_address(value)


def _number(part: str) -> int:
    if part.startswith("0x"):
        return int(part[2:] or "0", 16)
    return int(part, 8 if part.startswith("0") and part != "0" else 10)
