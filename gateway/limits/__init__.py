"""Rates and concurrency, of tenants, their keys and client tokens; and failed authentication, of each address.

With Redis, limits hold over all processes. When Redis is down or slow, each process enforces its share (limit ÷
processes, rounded up), carrying on from where Redis was last seen, and nobody is refused for the loss itself. Without
Redis, the same code is the limiter of the one process there is.
"""

from gateway.limits.addresses import AddressLimiter
from gateway.limits.headers import ratelimit_headers
from gateway.limits.limiter import Limiter
from gateway.limits.local import LocalLimiter
from gateway.limits.policy import LimitName, Rate, Scope, Scopes
from gateway.limits.shared import SharedLimiter
from gateway.limits.verdict import Standing, Verdict

__all__ = [
    "AddressLimiter",
    "LimitName",
    "Limiter",
    "LocalLimiter",
    "Rate",
    "Scope",
    "Scopes",
    "SharedLimiter",
    "Standing",
    "Verdict",
    "ratelimit_headers",
]
