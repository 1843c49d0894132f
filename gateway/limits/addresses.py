"""Failed authentication, by address: slows guessing, and never touches a call whose key is good."""

from collections.abc import Callable
from ipaddress import IPv6Address, ip_address

from gateway.limits.local import monotonic_micros
from gateway.limits.policy import Rate

ADDRESSES_MAX = 10_000
FAILURES = Rate(per_minute=10, burst=20)
_SECOND = 1_000_000


class AddressLimiter:
    """Counts failures of each address in this process, in bounded memory.

    Check the key first. Only when it is no good, ask `blocked`: if it gives a time, answer 429 with it, else call
    `failed` and answer 401. So an address that many share keeps working for all its good keys.
    """

    def __init__(self, rate: Rate = FAILURES, *, clock: Callable[[], int] = monotonic_micros) -> None:
        self._rate = rate
        self._clock = clock
        self._arrivals: dict[str, int] = {}
        """The theoretical arrival time of each network, by the clock; the least recently failed first."""

    def failed(self, address: str) -> None:
        """Count a failure."""
        network, now = _network(address), self._clock()
        level = max(0, self._arrivals.pop(network, now) - now)
        self._arrivals[network] = now + min(level + self._rate.interval, self._rate.depth)
        while len(self._arrivals) > ADDRESSES_MAX:
            del self._arrivals[next(iter(self._arrivals))]

    def blocked(self, address: str) -> int | None:
        """Return the whole seconds after which one more failure is answered plainly, or None if it is now."""
        now = self._clock()
        level = max(0, self._arrivals.get(_network(address), now) - now)
        missing = level + self._rate.interval - self._rate.depth
        return -(-missing // _SECOND) if missing > 0 else None


def _network(address: str) -> str:
    """Return what one party has: an IPv4 address, or the /64 of an IPv6 address. Other text stands for itself."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if not isinstance(parsed, IPv6Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return parsed.packed[:8].hex()
