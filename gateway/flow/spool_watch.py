"""What waits in the spool is stored when the store is back: byte for byte, once, and never after its erasure.

Every process does this for the spool of its host, also for what earlier processes left there. An image leaves the spool
only after it was read back from the store and found to be the same; one that the ledger says was erased is not stored.
"""

import asyncio
import hashlib
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import structlog

from gateway.errors import LedgerUnavailable
from gateway.images.spool import Busy
from gateway.images.spooled import SpooledStore
from gateway.images.store import StoredImage, StoreUnavailable, Trouble
from gateway.ledger.ledger import Ledger

AT_ONCE = 4
FIRST_WAIT, LONGEST_WAIT = 0.5, 10.0
"""Seconds between two tries while the store is away."""
IDLE_SECONDS = 15.0
"""Seconds between two looks while nothing waits: another process of this host may have died and left something."""
CHECK_SECONDS = 60.0
SWEEP_SECONDS = 6 * 3600.0


@dataclass(slots=True)
class SpoolWatch:
    """Watches the store and the spool for one process."""

    store: SpooledStore
    ledger: Ledger
    _tries: Counter[str] = field(default_factory=Counter)
    """How often an image could not be stored: those that fail on their own account are tried last."""
    _damaged: set[str] = field(default_factory=set)
    _failed: bool = False
    """Whether an image could not be stored in the last round, so that the store is to be asked first."""
    _swept: float = -SWEEP_SECONDS
    _log: Any = field(default_factory=lambda: structlog.get_logger("spool"))

    async def run(self) -> None:
        """Look and store until cancelled."""
        wait = FIRST_WAIT
        while True:
            self.store.went_away.clear()
            done = await self.look()
            wait = FIRST_WAIT if done else min(wait * 2, LONGEST_WAIT)
            spread = random.uniform(0.5, 1.0)  # noqa: S311 -- spreads processes, guards nothing
            try:
                async with asyncio.timeout(IDLE_SECONDS if done else wait * spread):
                    await self.store.went_away.wait()
            except TimeoutError:
                continue

    async def look(self) -> bool:
        """Look once and store what can be; return whether the store is there and nothing of ours waits any more."""
        spool = self.store.spool
        try:
            await self._sweep()
            await spool.look()
        except StoreUnavailable as error:
            self._log.error("spool cannot be read", reason=str(error))
        try:
            await self._check()
        except StoreUnavailable:  # said by the store itself
            await self._check_spool()
            return False
        waiting = sorted(set(spool.waiting) - self._damaged, key=lambda name: (self._tries[name], name))
        for start in range(0, len(waiting), AT_ONCE):
            if not all(await asyncio.gather(*map(self._store, waiting[start : start + AT_ONCE]))):
                self._failed = True
                return False
        self._tries.clear()
        return True

    async def _sweep(self) -> None:
        if time.monotonic() - self._swept >= SWEEP_SECONDS:
            self._swept = time.monotonic()
            if swept := await self.store.sweep():
                self._log.info("unfinished files removed", files=swept)

    async def _check(self) -> None:
        """Ask the store whether it is there, if that is not known well enough. Raises StoreUnavailable."""
        since = time.monotonic() - self.store.tried_at
        if self.store.trouble is not None or self._failed or since >= CHECK_SECONDS:
            await self.store.check()
            self._failed = False

    async def _check_spool(self) -> None:
        try:
            await self.store.spool.check()
        except StoreUnavailable as error:
            self._log.critical("spool cannot be written to either: no generation is begun", reason=str(error))

    async def _store(self, name: str) -> bool:
        """Store an image, unless somebody else is at it; return whether that is done."""
        try:
            with self.store.spool.claim(name) as held:
                if held:
                    await self._store_held(name)
        except Busy:
            return True
        except (StoreUnavailable, LedgerUnavailable) as error:
            self._tries[name] += 1
            self._log.warning("image not stored yet", image=name, reason=str(error))
            return False
        return True

    async def _store_held(self, name: str) -> None:
        spool, behind = self.store.spool, self.store.behind
        image, record = await spool.open(name), await self.ledger.image(name)
        if image is None:
            return
        if record is not None and record.erased:
            await self._forget_held(name)
            return
        content = b"".join([piece async for piece in image.read()])
        digest = await asyncio.to_thread(lambda: hashlib.sha256(content).hexdigest())
        if record is not None and record.sha256 != digest:
            self._damaged.add(name)
            self._log.critical("spooled image is damaged and stays where it is", image=name)
            return
        await behind.put(name, content)
        if await _digest(await behind.open(name)) != digest:
            raise StoreUnavailable(Trouble.UNREACHABLE, "it did not come back as it was put")
        record = await self.ledger.image(name)
        if record is not None and record.erased:  # meanwhile, by another host that found nothing to delete
            await self._forget_held(name)
            return
        await spool.remove(name)
        self._log.debug("spooled image stored", image=name)

    async def _forget_held(self, name: str) -> None:
        """Drop an image that was erased; also from the store, where a process that died since may have put it."""
        await self.store.behind.delete(name)
        await self.store.spool.remove(name)


async def _digest(image: StoredImage | None) -> str | None:
    """Return the SHA-256 of what a store gives, in hexadecimal; None for nothing."""
    if image is None:
        return None
    digest = hashlib.sha256()
    async for piece in image.read():
        digest.update(piece)
    return digest.hexdigest()
