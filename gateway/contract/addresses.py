"""Which addresses are public, for all of the gateway, and which hosts written in a URL cannot be.

A name is not resolved here: these URLs are fetched by upstream, and only what is plainly pointless or aimed at
somebody's inner network is refused, in every form that parsers take. What the gateway itself connects to is decided
by its address guard, with the same table.
"""

import re
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import TypeAlias
from unicodedata import normalize

Address: TypeAlias = IPv4Address | IPv6Address

# Beside what `is_global` denies, which differs between releases of Python (CVE-2024-4032). Of IPv6 only the block that
# IANA assigns unicast addresses from is public, less Teredo and its neighbours, 6to4 and documentation: so every form
# that carries an IPv4 address (mapped, compatible, translated, NAT64, Teredo, 6to4) is out; a translator on the way
# might lead it anywhere.
_PUBLIC_IPV6 = ip_network("2000::/3")
_DENIED = tuple(
    ip_network(network)
    for network in (
        "0.0.0.0/8",
        "100.64.0.0/10",  # shared address space of carriers, RFC 6598
        "192.0.0.0/24",
        "192.88.99.0/24",
        "198.18.0.0/15",
        "224.0.0.0/3",
        "2001::/23",
        "2002::/16",
        "3fff::/20",
    )
)
_ISATAP = frozenset({0x0000_5EFE, 0x0200_5EFE})  # the upper half of an interface identifier, RFC 5214, 6.1

_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII)
_IPV4_PARTS_MAX = 4
_NAME = re.compile(r"[\w-]{1,63}(\.[\w-]{1,63})*", re.UNICODE)
_NAME_CHARACTERS_MAX = 253


def is_public(address: Address) -> bool:
    """Tell whether an address is a public unicast one that carries no other address within it."""
    if not address.is_global or any(address in network for network in _DENIED):
        return False
    if isinstance(address, IPv4Address):
        return True
    return address in _PUBLIC_IPV6 and address.scope_id is None and (int(address) >> 32) & 0xFFFF_FFFF not in _ISATAP


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
