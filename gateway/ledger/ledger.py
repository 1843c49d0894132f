"""The ledger as the flow sees it: reserve, settle, abandon. Each is one job of a group commit."""

import asyncio
from collections.abc import Sequence
from typing import Any, TypeAlias

import structlog
from sqlalchemy import Connection

from gateway import clock
from gateway.database.engine import Database
from gateway.database.group import GroupCommit
from gateway.errors import LedgerUnavailable
from gateway.ledger import processes
from gateway.ledger.bill import FREE
from gateway.ledger.find import Found, by_id, by_key, owner_of_image
from gateway.ledger.journal import Journal
from gateway.ledger.records import Abandonment, Admission, Repeat, Reservation, Settlement
from gateway.ledger.reserve import lock_tenants, remember, reserve
from gateway.ledger.settle import abandon, settle
from gateway.ledger.unknown import settle_overdue

_Job: TypeAlias = Reservation | Settlement | Abandonment | Repeat

JOURNAL_RETRY_SECONDS = 1.0


class Ledger:
    """Money, through one process's eyes. `alone` says that no other process has this database."""

    def __init__(
        self,
        database: Database,
        journal: Journal,
        process_id: str,
        *,
        alone: bool,
        settle_unknown_after: float | None = None,
    ) -> None:
        self._database = database
        self._journal = journal
        self._process_id = process_id
        self._alone = alone
        self._settle_unknown_after = settle_unknown_after
        self._group = GroupCommit[_Job](database, self._apply)
        self._log = structlog.get_logger("ledger")

    async def reserve(self, reservation: Reservation) -> Admission:
        """Hold the quote durably, or say why not. Raises LedgerUnavailable: then nothing is held for long.

        A commit that failed may have happened. The release that is journaled undoes it, and is nothing if it did not.
        """
        try:
            admission: Admission = await self._group.commit(reservation)
        except LedgerUnavailable as error:
            await self._journal.append(
                Settlement(
                    reservation.id,
                    reservation.tenant_id,
                    FREE,
                    clock.now(),
                    failure=f"not started: {error.detail}",
                    frees_key=True,
                )
            )
            raise
        return admission

    async def settle(self, settlement: Settlement) -> bool:
        """Put the bill in the hold's place; return False for a repeat. With SQL away it is journaled, never lost."""
        try:
            changed: bool = await self._group.commit(settlement)
        except LedgerUnavailable as error:
            self._log.warning("settlement journaled", generation=settlement.id, reason=error.detail)
            await self._journal.append(settlement)
            return True
        return changed

    async def abandon(self, abandonment: Abandonment) -> None:
        """Give up on knowing the outcome; the hold stays. With SQL away it is journaled."""
        try:
            await self._group.commit(abandonment)
        except LedgerUnavailable as error:
            self._log.warning("unknown outcome journaled", generation=abandonment.id, reason=error.detail)
            await self._journal.append(abandonment)

    async def remember(self, repeat: Repeat) -> None:
        """Write down that an idempotency key was answered from an earlier generation. Raises LedgerUnavailable."""
        await self._group.commit(repeat)

    async def owner_of_image(self, name: str) -> str | None:
        """Return the id of the tenant that a kept image belongs to. Raises LedgerUnavailable."""
        return await self._database.read(lambda connection: owner_of_image(connection, name))

    async def find(self, generation_id: str) -> Found | None:
        """Return a generation as it is now. Raises LedgerUnavailable."""
        return await self._database.read(lambda connection: by_id(connection, generation_id))

    async def find_by_key(self, tenant_id: str, idempotency_key: str) -> Found | None:
        """Return the generation that an idempotency key belongs to. Raises LedgerUnavailable."""
        return await self._database.read(lambda connection: by_key(connection, tenant_id, idempotency_key))

    async def open(self) -> None:
        """Announce this process and give up what gone ones left. Raises LedgerUnavailable."""
        await self._heartbeat()

    async def run(self) -> None:
        """Beat and empty the journal until cancelled. An outage of SQL is logged and waited out."""
        waited = 0.0
        while True:
            await asyncio.sleep(JOURNAL_RETRY_SECONDS)
            waited += JOURNAL_RETRY_SECONDS
            try:
                await self.flush_journal()
                if waited >= processes.HEARTBEAT_SECONDS:
                    waited = 0.0
                    await self._heartbeat()
            except LedgerUnavailable as error:
                self._log.warning("ledger unavailable", reason=error.detail, journaled=len(self._journal.entries))

    async def flush_journal(self) -> None:
        """Commit what was journaled. Raises LedgerUnavailable."""
        if waiting := list(self._journal.entries):
            await asyncio.gather(*(self._group.commit(entry) for entry in waiting))
            await self._journal.done(waiting)
            self._log.info("journal committed", entries=len(waiting))

    async def close(self) -> None:
        """Commit what waits and take leave; what SQL does not take stays in the journal."""
        await self._group.drain()
        try:
            await self.flush_journal()
            await self._database.write(lambda connection: processes.goodbye(connection, self._process_id))
        except LedgerUnavailable as error:
            self._log.warning("closed without SQL", reason=error.detail, journaled=len(self._journal.entries))

    async def _heartbeat(self) -> None:
        now = clock.now()
        given_up = await self._database.write(
            lambda connection: processes.heartbeat(connection, self._process_id, now, alone=self._alone)
        )
        if given_up:
            self._log.warning("generations of a gone process are unknown now", generations=given_up)
        if self._settle_unknown_after is not None:
            before = now - int(self._settle_unknown_after * 1000)
            settled = await self._database.write(lambda connection: settle_overdue(connection, before, now))
            if settled:
                self._log.warning("unknown generations settled at their quote", generations=settled)

    def _apply(self, connection: Connection, jobs: Sequence[_Job]) -> list[Any]:
        """Do a group: what ended first, so that its holds make room for what begins.

        All its tenants are locked before anything else: locked step by step, two processes' groups could each hold a
        tenant that the other's next step wants.
        """
        lock_tenants(connection, map(_tenant, jobs))
        ended = [job for job in jobs if isinstance(job, Settlement)]
        lost = [job for job in jobs if isinstance(job, Abandonment)]
        asked = [job for job in jobs if isinstance(job, Reservation)]
        repeated = [job for job in jobs if isinstance(job, Repeat)]
        results: dict[int, Any] = {}
        if ended:
            results |= zip(map(id, ended), settle(connection, ended), strict=True)
        if lost:
            abandon(connection, lost)
        if asked:
            results |= zip(map(id, asked), reserve(connection, self._process_id, asked), strict=True)
        if repeated:
            remember(connection, self._process_id, repeated)
        return [results.get(id(job)) for job in jobs]


def _tenant(job: _Job) -> str:
    return job.reservation.tenant_id if isinstance(job, Repeat) else job.tenant_id
