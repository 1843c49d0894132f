"""Never pay twice: replies are cached for their tenant, and asks for the same thing at the same time share one flight.

With Redis, both hold over all processes. When Redis is down or slow, every look is a miss, nothing is kept, and each
process shares flights on its own; nobody is refused for it, and whoever followed a leader in another process waits
until that leader's lease would have ended, in case Redis comes back. Without Redis, the same code serves the one
process there is. Both only save money: what is paid, and whose it is, stands in SQL.
"""

from gateway.replies.cache import Replies
from gateway.replies.coverage import CacheMode, covers, lifetime
from gateway.replies.directives import Decision, Directives, Forward, Hit, OnlyIfCached, decide, read_directives
from gateway.replies.entry import Entry, Named
from gateway.replies.flight import Flights, Followed, Lead, Overdue, Turn
from gateway.replies.headers import cache_headers, outcome_of
from gateway.replies.local_cache import LocalReplies
from gateway.replies.local_flight import LocalFlights
from gateway.replies.shared_cache import SharedReplies
from gateway.replies.shared_flight import SharedFlights

__all__ = [
    "CacheMode",
    "Decision",
    "Directives",
    "Entry",
    "Flights",
    "Followed",
    "Forward",
    "Hit",
    "Lead",
    "LocalFlights",
    "LocalReplies",
    "Named",
    "OnlyIfCached",
    "Overdue",
    "Replies",
    "SharedFlights",
    "SharedReplies",
    "Turn",
    "cache_headers",
    "covers",
    "decide",
    "lifetime",
    "outcome_of",
    "read_directives",
]
