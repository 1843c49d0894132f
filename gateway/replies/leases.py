"""The leases of this process's leaders in Redis: asked for, renewed in the background, and ended."""

import asyncio
import time
from collections.abc import Coroutine, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from gateway.redis_link import Patience, RedisLink, RedisUnavailable, Script, Word
from gateway.replies.flight import FORGOTTEN_SECONDS, OUTCOME_SECONDS, Lead, forgotten_key, outcome_key

CHANNEL = "igw:flight:1"
"""On which the key of a flight is published when its lead has ended."""
TRIP_SECONDS = 1.0
"""More than any trip may take."""
_RENEWALS = 0.3
"""Renewals come after this part of a lease: two may fail before it runs out."""
_OUTCOME_MILLIS = OUTCOME_SECONDS * 1000


@dataclass(frozen=True, slots=True)
class Granted:
    """The asker leads."""


@dataclass(frozen=True, slots=True)
class Held:
    """Another leads. Its lease lasts for so many seconds; 0 when it was lost and will be put back."""

    left: float


@dataclass(frozen=True, slots=True)
class Ended:
    """A flight ended so many seconds ago, with this outcome."""

    age: float
    outcome: str = field(repr=False)


Answer: TypeAlias = Granted | Held | Ended


@dataclass(frozen=True, slots=True, eq=False)
class _End:
    """The end of a lead, and when it came: Redis may not know of it yet."""

    outcome: str | None = field(repr=False)
    at: float


class Leases:
    """Speaks to lead.lua, renew.lua, finish.lua and forget.lua.

    What Redis misses of an end while it is away, it is told within a minute.
    """

    def __init__(self, link: RedisLink, lease_seconds: float) -> None:
        self._link = link
        self._every = lease_seconds * _RENEWALS
        self._millis = round(lease_seconds * 1000)
        self._lead, self._renew, self._finish, self._forget = (
            Script.packaged("gateway.replies", name) for name in ("lead.lua", "renew.lua", "finish.lua", "forget.lua")
        )
        self._held: set[Lead] = set()
        self._untold: dict[Lead, _End] = {}
        self._hurry = asyncio.Event()
        """Set when something untold should not wait for the next renewal."""

    async def ask(self, lead: Lead, patience: Patience, *, oldest: float, alive: bool) -> Answer:
        """Ask for the lead. An outcome older than `oldest` seconds is not the asker's.

        `alive`: the asker knows of a leader whose lease has not run out, so a lease that is missing was lost. Raises
        RedisUnavailable; the lead may have been given all the same, so then either hold it or disown it.
        """
        words: list[Word] = [lead.token, self._millis, _OUTCOME_MILLIS, round(oldest * 1000), int(alive)]
        reply = await self._link.run(self._lead, [lead.key, outcome_key(lead.key)], words, patience=patience)
        match reply:
            case [b"ended", age, text]:
                return Ended(age / 1000, text.decode())
            case [b"follow", left]:
                return Held(left / 1000)
            case _:
                return Granted()

    def hold(self, lead: Lead) -> None:
        """Renew the lease from now on; made without Redis, it is made there once Redis is back."""
        self._held.add(lead)

    def holds(self, lead: Lead) -> bool:
        """Whether the lead has not been ended yet."""
        return lead in self._held

    def disown(self, lead: Lead) -> None:
        """Give back, soon, a lead that Redis may have given, or be about to give, to an asker who has left."""
        self._untold[lead] = _End(None, time.monotonic())
        self._hurry.set()

    async def end(self, lead: Lead, outcome: str | None, patience: Patience) -> None:
        """Stop renewing, and tell the followers; if Redis is away or the caller is cancelled, with the next renewal."""
        self._held.discard(lead)
        end = self._untold[lead] = _End(outcome, time.monotonic())
        with suppress(RedisUnavailable):
            await self._tell(lead, outcome, patience)
            if self._untold.get(lead) is end:
                del self._untold[lead]

    async def forget(self, lead: Lead, patience: Patience) -> None:
        """Let nobody be told what a generation came to, or will have come to. Raises RedisUnavailable."""
        words: list[Word] = [lead.token, FORGOTTEN_SECONDS * 1000]
        await self._link.run(self._forget, [outcome_key(lead.key), forgotten_key(lead)], words, patience=patience)

    async def keep_renewing(self) -> None:
        """Renew all leases for as long as the process runs."""
        due = time.monotonic() + self._every
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(due - time.monotonic()):
                    await self._hurry.wait()
            self._hurry.clear()
            if time.monotonic() < due:
                await self._tell_untold(Patience())
            else:
                due = time.monotonic() + self._every
                await self.renew()

    async def renew(self) -> None:
        """Renew every lease, and tell what is untold. A failure waits for the next round."""
        began, held, patience = time.monotonic(), tuple(self._held), Patience()
        renewals = (
            self._link.run(self._renew, [one.key], [one.token, self._millis], patience=patience) for one in held
        )
        _, told = await asyncio.gather(_attempt(renewals), self._tell_untold(patience))
        for lead, end in told:
            # What gave the lead to an asker who left may have been on its way to Redis still: then tell it once more.
            if self._untold.get(lead) is end and began - end.at > TRIP_SECONDS:
                del self._untold[lead]
        for lead in held:
            if lead not in self._held:
                # It ended while the renewal was under way, which may have given the lease back to it.
                known = self._untold.get(lead)
                self._untold[lead] = _End(None if known is None else known.outcome, time.monotonic())
                self._hurry.set()

    async def _tell_untold(self, patience: Patience) -> list[tuple[Lead, _End]]:
        """Tell Redis of every end that it may not know of; return those that it now knows."""
        useless = time.monotonic() - OUTCOME_SECONDS
        self._untold = {lead: end for lead, end in self._untold.items() if end.at > useless}
        untold = tuple(self._untold.items())
        answered = await _attempt(self._tell(lead, end.outcome, patience) for lead, end in untold)
        return [one for one, known in zip(untold, answered, strict=True) if known]

    async def _tell(self, lead: Lead, outcome: str | None, patience: Patience) -> None:
        words: list[Word] = [lead.token, self._millis, _OUTCOME_MILLIS, CHANNEL]
        if outcome is not None:
            words.append(outcome)
        keys = [lead.key, outcome_key(lead.key), forgotten_key(lead)]
        await self._link.run(self._finish, keys, words, patience=patience)


async def _attempt(trips: Iterable[Coroutine[Any, Any, Any]]) -> list[bool]:
    """Make trips side by side; return for each whether Redis answered."""
    outcomes = await asyncio.gather(*trips, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, BaseException) and not isinstance(outcome, RedisUnavailable):
            raise outcome
    return [not isinstance(outcome, RedisUnavailable) for outcome in outcomes]
