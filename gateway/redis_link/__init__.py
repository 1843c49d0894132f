"""The one connection of a process to Redis: joined trips, strict time limits, a breaker, change notices.

When Redis is down or slow, every call raises `RedisUnavailable`: within the caller's `Patience` (0.6 s for one request,
all its trips together) while the breaker is closed, at once while it is open. What to do without Redis is the caller's
business; nothing that must last is kept here. Works with Redis and Valkey from 6.2 on: single, Sentinel or Cluster
(which is up when all its primaries say so).
"""

from gateway.redis_link.address import Address, parse_address
from gateway.redis_link.link import RedisLink, RedisRefused, RedisUnavailable, Script, Word
from gateway.redis_link.patience import Patience

__all__ = ["Address", "Patience", "RedisLink", "RedisRefused", "RedisUnavailable", "Script", "Word", "parse_address"]
