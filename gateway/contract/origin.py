"""An origin: whose page it is that calls, as a browser says it in `Origin` (RFC 6454, 6.2)."""

import re
from ipaddress import IPv6Address

_ORIGIN = re.compile(
    r"(?P<scheme>https?)://(?P<host>\[[0-9a-f:.]{2,45}\]|[0-9a-z_-]+(?:\.[0-9a-z_-]+)*)(?::(?P<port>[0-9]{1,5}))?/?",
    re.ASCII | re.IGNORECASE,
)
_DEFAULT_PORTS = {"http": 80, "https": 443}
_PORT_MAX = 65535
_LENGTH_MAX = 255


class InvalidOrigin(ValueError):
    """What a person wrote is no origin; the text says what is wanted."""


def read_origin(text: str) -> str:
    """Return an origin as browsers write it: in lower case, without a path, and without the scheme's own port.

    Raises InvalidOrigin, for `*` and `null` too: the first is everybody, the second could be anybody.
    """
    match = _ORIGIN.fullmatch(text)
    if match is None or len(text) > _LENGTH_MAX:
        raise InvalidOrigin("must be like https://shop.example or http://localhost:3000, without a path")
    scheme, host = match["scheme"].lower(), match["host"].lower()
    if host.startswith("["):
        try:
            host = f"[{IPv6Address(host[1:-1])}]"
        except ValueError as error:
            raise InvalidOrigin("must have an address between its brackets") from error
    port = _DEFAULT_PORTS[scheme] if match["port"] is None else int(match["port"])
    if not 1 <= port <= _PORT_MAX:
        raise InvalidOrigin("must have a port between 1 and 65535")
    return f"{scheme}://{host}" if port == _DEFAULT_PORTS[scheme] else f"{scheme}://{host}:{port}"


def origin_of(url: str) -> str:
    """Return the origin of a URL that is known to be http or https."""
    scheme, _, rest = url.lower().partition("://")
    return f"{scheme}://{rest.partition('/')[0].removesuffix(f':{_DEFAULT_PORTS[scheme]}')}"
