"""Trips to Redis: whatever is asked for in one turn of the event loop leaves as one pipeline, in a task of its own.

No caller owns a connection. A cancelled caller abandons its future and nothing else; the trip goes on, reads every
reply in order, and drops the ones nobody waits for. So a reply can never reach the wrong caller.
"""

import asyncio
import hashlib
import logging
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from types import TracebackType
from typing import Any, Self, TypeAlias

from redis.exceptions import ClusterDownError, NoScriptError, ReadOnlyError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError

from gateway.metrics import Metrics
from gateway.redis_link.address import CONNECT_SECONDS, CONNECTIONS, FAULTS, READ_SECONDS, Address, open_client
from gateway.redis_link.breaker import Breaker
from gateway.redis_link.notices import listen
from gateway.redis_link.patience import Patience

_TRIP_SECONDS = CONNECT_SECONDS + READ_SECONDS
_TRIP_COMMANDS = 512
"""A longer pipeline would hold up the replies of its first commands."""

_log = logging.getLogger(__name__)

Word: TypeAlias = str | bytes | int | float


class RedisUnavailable(Exception):
    """Redis gave no answer in time. The command may have been carried out all the same."""


class RedisRefused(RedisUnavailable):
    """Redis answered with an error: out of memory, loading, no such command. The command was not carried out."""


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script. All keys it touches are passed as keys and share one hash tag, so that it runs on a cluster."""

    source: str
    sha: str = field(init=False)
    """The SHA-1 by which Redis names it; nothing is protected by it."""

    @classmethod
    def packaged(cls, package: str, name: str) -> Self:
        """Read the script that ships in a package."""
        return cls(files(package).joinpath(name).read_text(encoding="utf-8"))

    def __post_init__(self) -> None:
        object.__setattr__(self, "sha", hashlib.sha1(self.source.encode(), usedforsecurity=False).hexdigest())


@dataclass(frozen=True, slots=True, eq=False)
class _Asked:
    words: tuple[Word, ...]
    reply: asyncio.Future[Any]
    script: Script | None = None

    def with_source(self) -> tuple[Word, ...]:
        """Return the command to send when Redis does not know the script (SCRIPT FLUSH, restart, failover)."""
        source: Word = "" if self.script is None else self.script.source
        return ("EVAL", source, *self.words[2:])


class RedisLink:
    """The process's connection to Redis, an async context manager. Built without contact; start-up never fails for it.

    Ask only for what may be carried out twice: a trip is repeated once when the connection breaks under it. After a
    read time-out nothing is sent again.
    """

    def __init__(self, address: Address, metrics: Metrics) -> None:
        self._address = address
        self._client, self._sentinel = open_client(address)
        self._breaker = Breaker(self._client, metrics.redis_up)
        self._asked: list[_Asked] = []
        self._flush_due = False
        self._closed = False
        self._trips: set[asyncio.Task[None]] = set()
        self._complained: set[str] = set()

    @property
    def up(self) -> bool:
        """Whether Redis is asked at all: False while the breaker is open."""
        return not self._breaker.open

    async def __aenter__(self) -> Self:
        await self._breaker.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed = True
        for asked in self._asked:
            _fail(asked, RedisUnavailable("The connection to Redis is being closed"))
        await self._breaker.close()
        while self._trips:
            await asyncio.wait(self._trips)
        await self._client.aclose()
        if self._sentinel is not None:
            await self._sentinel.aclose()

    async def call(self, *words: Word, patience: Patience) -> Any:
        """Send one command; its first key decides the node of a cluster. Text replies are bytes.

        Raises `RedisUnavailable` when there is no answer within the patience, `RedisRefused` when it is an error.
        """
        return await self._ask(_Asked(words, self._future()), patience)

    async def run(self, script: Script, keys: Sequence[str], arguments: Sequence[Word], *, patience: Patience) -> Any:
        """Run a script, loading it when Redis does not have it. Raises like `call`."""
        words = ("EVALSHA", script.sha, len(keys), *keys, *arguments)
        return await self._ask(_Asked(words, self._future(), script), patience)

    async def publish(self, channel: str, payload: bytes, *, patience: Patience) -> None:
        """Tell every process that listens on the channel, on whichever node it does. Raises like `call`."""
        await self.call("PUBLISH", channel, payload, patience=patience)

    def notices(self, channel: str) -> AsyncGenerator[bytes | None, None]:
        """Listen to a channel for as long as the generator is open; see `listen`."""
        return listen(self._client, channel)

    @staticmethod
    def _future() -> asyncio.Future[Any]:
        return asyncio.get_running_loop().create_future()

    async def _ask(self, asked: _Asked, patience: Patience) -> Any:
        if self._closed or self._breaker.open or patience.left <= 0:
            raise RedisUnavailable("Redis is not asked: it failed a moment ago")
        loop = asyncio.get_running_loop()
        self._asked.append(asked)
        if not self._flush_due:
            self._flush_due = True
            loop.call_soon(self._flush)
        # A timer of its own: asyncio.timeout, which has a task to cancel, takes a little more of every request.
        expiry = loop.call_later(patience.left, _fail, asked, RedisUnavailable("Redis did not answer in time"))
        try:
            with patience.waiting():
                return await asked.reply
        except RedisUnavailable:
            patience.lose()
            raise
        finally:
            expiry.cancel()

    def _flush(self) -> None:
        self._flush_due = False
        # Callers that have left are not sent for; what does not fit waits for a trip to come back.
        waiting = [asked for asked in self._asked if not asked.reply.done()]
        while waiting and len(self._trips) < CONNECTIONS:
            batch, waiting = waiting[:_TRIP_COMMANDS], waiting[_TRIP_COMMANDS:]
            trip = asyncio.get_running_loop().create_task(self._trip(batch), name="redis trip")
            self._trips.add(trip)
            trip.add_done_callback(self._landed)
        self._asked = waiting

    def _landed(self, trip: asyncio.Task[None]) -> None:
        self._trips.discard(trip)
        if self._breaker.open:
            for asked in self._asked:
                _fail(asked, RedisUnavailable("Redis is not asked: it failed a moment ago"))
        self._flush()
        if not trip.cancelled():
            trip.result()  # a trip handles what Redis can do; anything else is a bug, which the event loop reports

    async def _trip(self, batch: list[_Asked]) -> None:
        try:
            async with asyncio.timeout(_TRIP_SECONDS):
                await self._carry(batch)
        except FAULTS as error:
            _log.debug("A trip to Redis failed: %s", type(error).__name__)
            self._breaker.failed()
        else:
            self._breaker.succeeded()
        finally:
            for asked in batch:
                _fail(asked, RedisUnavailable("Redis did not answer"))

    async def _carry(self, batch: list[_Asked]) -> None:
        """Send a batch and hand out its replies; scripts that Redis does not know are sent again in full."""
        replies = await self._exchange([asked.words for asked in batch])
        unknown = [place for place, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
        if unknown:
            again = await self._exchange([batch[place].with_source() for place in unknown])
            for place, reply in zip(unknown, again, strict=True):
                replies[place] = reply
        lost: Exception | None = None
        for asked, reply in zip(batch, replies, strict=True):
            match reply:
                case ReadOnlyError() | ClusterDownError():
                    # A demoted primary, or slots that nobody serves: it will pass, and asking on would not hasten it.
                    lost = reply
                case ResponseError():
                    self._complain(reply)
                    _fail(asked, RedisRefused(type(reply).__name__))
                case Exception():
                    lost = reply
                case _ if not asked.reply.done():
                    asked.reply.set_result(reply)
                case _:
                    pass  # its caller has left
        if lost is not None:
            raise lost

    async def _exchange(self, commands: list[tuple[Word, ...]]) -> list[Any]:
        """Send commands in one pipeline (one a node of a cluster) and return replies or errors, in order."""
        replies = await self._pipeline(commands)
        # Broken, not slow: the server was restarted or failed over, and a new connection may well do.
        broken = [place for place, reply in enumerate(replies) if isinstance(reply, RedisConnectionError)]
        if broken:
            again = await self._pipeline([commands[place] for place in broken])
            for place, reply in zip(broken, again, strict=True):
                replies[place] = reply
        return replies

    async def _pipeline(self, commands: list[tuple[Word, ...]]) -> list[Any]:
        pipeline = self._client.pipeline(transaction=False)
        for words in commands:
            pipeline.execute_command(*words)
        try:
            replies: list[Any] = await pipeline.execute(raise_on_error=False)
        except RedisConnectionError as error:
            return [error] * len(commands)
        return replies

    def _complain(self, error: ResponseError) -> None:
        """Log each kind of refusal once: it may come with every request."""
        kind = str(error).partition(" ")[0]
        if kind not in self._complained:
            self._complained.add(kind)
            _log.error("Redis refuses a command: %s", error)


def _fail(asked: _Asked, error: RedisUnavailable) -> None:
    if not asked.reply.done():
        asked.reply.set_exception(error)
        asked.reply.exception()  # looked at: its caller may be cancelled before it wakes, which is nothing to report
