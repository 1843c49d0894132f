"""The client of the image API upstream: `generate`, one paid call with its safe repeats, and `check`."""

import asyncio
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import orjson
import structlog

from gateway.aside import aside
from gateway.metrics import Metrics
from gateway.upstream.accounts import SET_ASIDE, Account, Accounts
from gateway.upstream.answer import (
    AccountFault,
    Answer,
    Busy,
    Garbage,
    Generated,
    Lost,
    NotConnected,
    Refused,
    ServerFault,
    read_answer,
)
from gateway.upstream.retry import Progress, RetryLimits, pause_before_next
from gateway.upstream.wire import Body, Credential, Reply, Wire

PATH = "/images/generate"

_OFF_LOOP = 256 * 1024
_READ_OFF_LOOP = 4 * 1024 * 1024
"""The parser keeps the interpreter's lock, so reading a smaller reply in a thread would only add the switches."""
_RESULTS: dict[type[Answer], str] = {
    Generated: "generated",
    Refused: "refused",
    AccountFault: "account",
    Busy: "busy",
    ServerFault: "fault",
    Garbage: "garbage",
    NotConnected: "unreached",
    Lost: "lost",
}


@dataclass(frozen=True, slots=True)
class UpstreamConfig:
    """Where upstream is and how long it may take, in seconds; `reply_cap` in bytes.

    `url` is the API's base; each of `keys` is an account. `attempts` and `waiting` bound the repeats of one call,
    `first_pause` is the ceiling of its first pause.
    """

    url: str
    keys: tuple[str, ...] = field(repr=False)
    timeout: float = 180.0
    connect_timeout: float = 10.0
    reply_cap: int = 64 * 1024 * 1024
    attempts: int = 3
    waiting: float = 10.0
    first_pause: float = 1.0


@dataclass(frozen=True, slots=True)
class Answered:
    """The answer that stands, the account that got it (None when none could be used), and what it took."""

    answer: Answer
    account: str | None
    attempts: int
    seconds: float


class Upstream:
    """The one holder of the upstream keys. Safe for thousands of concurrent calls of one event loop."""

    def __init__(self, config: UpstreamConfig, metrics: Metrics) -> None:
        """Prepare; nothing is contacted before the first call."""
        self._config = config
        self._limits = RetryLimits(config.attempts, config.waiting, config.first_pause)
        self._accounts = Accounts(config.keys)
        self._wire = Wire(config.url.rstrip("/").removesuffix(PATH) + PATH, config.connect_timeout, config.reply_cap)
        self._credentials = {account.label: Credential(account.key) for account in self._accounts}
        self._attempts = {
            (account.label, result): metrics.upstream_attempts.labels(account.label, result)
            for account in self._accounts
            for result in _RESULTS.values()
        }
        self._breakers = {
            account.label: metrics.upstream_breaker_open.labels(account.label) for account in self._accounts
        }
        self._out = dict.fromkeys(self._breakers, False)
        self._turn = asyncio.Lock()
        self._log = structlog.get_logger("gateway.upstream")

    async def generate(self, wire: Mapping[str, object], deadline: float) -> Answered:
        """Make one paid call of the body `wire` and say what became of it; failures are answers, not exceptions.

        It ends by `deadline` (`time.monotonic`) or the configured time-out, whichever is sooner. Repeats only what was
        certainly not worked on. Cancelled on the way, its outcome is unknown.
        """
        begun = time.monotonic()
        deadline = min(deadline, begun + self._config.timeout)
        if deadline <= begun:
            return Answered(NotConnected(timeout=True), None, 0, 0.0)
        body = await _body(wire)
        tried: list[str] = []
        waited = 0.0
        answer: Answer = NotConnected(timeout=False)
        while (account := self._accounts.pick(time.monotonic(), tried)) is not None:
            tried.append(account.label)
            answer = await self._attempt(account, body, deadline)
            now = time.monotonic()
            progress = Progress(len(tried), waited, deadline - now, self._accounts.another(now, tried))
            jitter = random.random()  # noqa: S311 -- spreads repeats, guards nothing
            pause = pause_before_next(answer, progress, self._limits, jitter)
            if pause is None:
                break
            await asyncio.sleep(pause)
            waited += pause
        return Answered(answer, tried[-1] if tried else None, len(tried), time.monotonic() - begun)

    async def check(self) -> str | None:
        """Try to reach upstream without a key and without spending; return what is wrong, or None."""
        match await self._wire.get_root(time.monotonic() + self._config.connect_timeout):
            case NotConnected(timeout=True):
                return "no connection was made in time"
            case NotConnected():
                return "no connection could be made (name, address, port or TLS)"
            case Lost(timeout=True):
                return "a connection was made, but no answer came in time"
            case Lost(detail=detail):
                return f"a connection was made, but broke: {detail}"
            case Reply():
                return None

    async def close(self) -> None:
        """Close every connection; no call may be running."""
        await self._wire.close()

    async def _attempt(self, account: Account, body: Body, deadline: float) -> Answer:
        reply = await self._wire.post(self._credentials[account.label], body, deadline)
        answer = await self._read(reply) if isinstance(reply, Reply) else reply
        self._attempts[account.label, _RESULTS[type(answer)]].inc()
        self._learn(account, answer, time.monotonic())
        return answer

    async def _read(self, reply: Reply) -> Answer:
        def read() -> Answer:
            return read_answer(reply.status, reply.headers, reply.body.together(), self._config.keys)

        size = reply.body.size
        if size > _READ_OFF_LOOP:
            return await aside(read)
        if size > _OFF_LOOP:
            async with self._turn:  # of those that came in one turn of the loop, one in each turn
                await asyncio.sleep(0)
                return read()
        return read()

    def _learn(self, account: Account, answer: Answer, now: float) -> None:
        """Tell the account's state what came of a call, and the operator what changed."""
        match answer:
            case NotConnected() | Lost(timeout=True):
                if self._accounts.failed(account, now):
                    self._log.warning("upstream_breaker_opened", account=account.label)
            case Lost():
                pass  # a cut is neither a time-out nor an answer
            case AccountFault(detail=detail):
                self._accounts.answered(account)
                newly = self._accounts.set_aside(account, now)
                self._log.error(
                    "upstream_account_refused",
                    account=account.label,
                    detail=detail,
                    set_aside_seconds=SET_ASIDE if newly else 0,
                )
            case _:
                self._accounts.answered(account)
        for other in self._accounts:
            if (out := self._accounts.out(other, now)) is not self._out[other.label]:
                self._out[other.label] = out
                self._breakers[other.label].set(out)


async def _body(wire: Mapping[str, object]) -> Body:
    """Write the request as JSON, digit for digit; large texts one by one in a thread, to give the loop its turns."""
    if not any(isinstance(value, str) and len(value) > _OFF_LOOP for value in wire.values()):
        return Body((orjson.dumps(wire),))
    parts: list[bytes] = []
    for name, value in wire.items():
        parts += [b"," if parts else b"{", orjson.dumps(name), b":", await aside(orjson.dumps, value)]
    return Body((*parts, b"}"))
