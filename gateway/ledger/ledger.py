"""The ledger as the flow sees it: reserve, settle, abandon. Each is one job of a group commit."""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, TypeAlias, TypeVar

import structlog
from sqlalchemy import Connection

from gateway import clock
from gateway.database.engine import Database
from gateway.database.group import GroupCommit
from gateway.errors import LedgerUnavailable
from gateway.ledger import processes
from gateway.ledger.bill import FREE
from gateway.ledger.find import Found, FoundImage, by_id, by_key, image, states_of
from gateway.ledger.history import Chosen, Past, history
from gateway.ledger.journal import Journal
from gateway.ledger.records import Abandonment, Admission, Admitted, Repeat, Reservation, Settlement, State
from gateway.ledger.reserve import lock_tenants, remember, reserve
from gateway.ledger.settle import abandon, settle
from gateway.ledger.unknown import settle_overdue

_Job: TypeAlias = Reservation | Settlement | Abandonment | Repeat

Result = TypeVar("Result")

JOURNAL_RETRY_SECONDS = 1.0
JOURNAL_PART = 256


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
        self._owned: set[asyncio.Task[Any]] = set()
        self._refused: set[str] = set()
        """Ids of journal entries that SQL would not take."""
        self._log = structlog.get_logger("ledger")

    async def reserve(self, reservation: Reservation) -> Admission:
        """Hold the quote durably, or say why not.

        Raises LedgerUnavailable: then nothing is held for long. The same goes for a caller who is cancelled meanwhile.
        """
        reserving = self._own(self._reserve(reservation))
        try:
            return await asyncio.shield(reserving)
        except asyncio.CancelledError:
            self._own(self._undo(reservation, reserving))
            raise

    async def settle(self, settlement: Settlement) -> bool:
        """Put the bill in the hold's place; return False for a repeat. What SQL does not take is journaled, never lost.

        It is done whether or not the caller is still there.
        """
        return await asyncio.shield(self._own(self._settle(settlement)))

    async def abandon(self, abandonment: Abandonment) -> None:
        """Give up on knowing the outcome; the hold stays. It is done, or journaled, like a settlement."""
        await asyncio.shield(self._own(self._abandon(abandonment)))

    async def remember(self, repeat: Repeat) -> None:
        """Write down that an idempotency key was answered from an earlier generation. Raises LedgerUnavailable."""
        await self._group.commit(repeat)

    async def image(self, name: str) -> FoundImage | None:
        """Return what is known of a kept image. Raises LedgerUnavailable."""
        return await self._database.read(lambda connection: image(connection, name))

    async def find(self, generation_id: str) -> Found | None:
        """Return a generation as it is now. Raises LedgerUnavailable."""
        return await self._database.read(lambda connection: by_id(connection, generation_id))

    async def states(self, generations: Sequence[str]) -> dict[str, State]:
        """Return the states of these generations, as far as they exist. Raises LedgerUnavailable."""
        return await self._database.read(lambda connection: states_of(connection, generations))

    async def find_by_key(self, tenant_id: str, idempotency_key: str) -> Found | None:
        """Return the generation that an idempotency key belongs to. Raises LedgerUnavailable."""
        return await self._database.read(lambda connection: by_key(connection, tenant_id, idempotency_key))

    async def history(self, chosen: Chosen) -> tuple[Sequence[Past], bool]:
        """Return a page of a tenant's generations, newest first, and whether there are more.

        Raises LedgerUnavailable.
        """
        return await self._database.read(lambda connection: history(connection, chosen))

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
            except OSError as error:
                self._log.critical("journal cannot be emptied", reason=str(error))

    async def flush_journal(self) -> None:
        """Commit what was journaled, a part at a time. Raises LedgerUnavailable.

        An entry that SQL refuses for its own sake stays, is complained of once, and holds up no other.
        """
        waiting = [entry for entry in self._journal.entries if entry.id not in self._refused]
        for start in range(0, len(waiting), JOURNAL_PART):
            part = waiting[start : start + JOURNAL_PART]
            results = await asyncio.gather(*(self._group.commit(entry) for entry in part), return_exceptions=True)
            failures = dict(zip(map(id, part), results, strict=True))
            await self._journal.done([entry for entry in part if not isinstance(failures[id(entry)], BaseException)])
            for entry in part:
                failure = failures[id(entry)]
                if isinstance(failure, LedgerUnavailable):
                    raise failure
                if isinstance(failure, BaseException):
                    self._refused.add(entry.id)
                    self._log.error("journal entry refused", generation=entry.id, reason=repr(failure))
        if waiting:
            self._log.info("journal committed", entries=len(waiting), left=len(self._journal.entries))

    async def close(self) -> None:
        """Commit what waits and take leave; what SQL does not take stays in the journal."""
        while self._owned:
            await asyncio.wait(self._owned)
        await self._group.drain()
        try:
            await self.flush_journal()
            await self._database.write(lambda connection: processes.goodbye(connection, self._process_id))
        except LedgerUnavailable as error:
            self._log.warning("closed without SQL", reason=error.detail, journaled=len(self._journal.entries))

    def _own(self, work: Coroutine[Any, Any, Result]) -> "asyncio.Task[Result]":
        """Run work that no caller's end may stop; `close` waits for it."""
        task = asyncio.create_task(work)
        self._owned.add(task)
        task.add_done_callback(self._owned.discard)
        return task

    async def _reserve(self, reservation: Reservation) -> Admission:
        try:
            admission: Admission = await self._group.commit(reservation)
        except LedgerUnavailable as error:
            if error.perhaps_done:
                # The release undoes a commit that happened, and is nothing if it did not.
                await self._journaled(_release(reservation, f"not started: {error.detail}"))
            raise
        return admission

    async def _undo(self, reservation: Reservation, reserving: "asyncio.Task[Admission]") -> None:
        await asyncio.wait([reserving])
        if reserving.exception() is None and isinstance(reserving.result(), Admitted):
            await self._settle(_release(reservation, "not started: its caller was stopped"))

    async def _settle(self, settlement: Settlement) -> bool:
        try:
            changed: bool = await self._group.commit(settlement)
        except Exception as error:  # noqa: BLE001 -- whatever SQL says, what was paid is not forgotten
            self._log.error("settlement journaled", generation=settlement.id, reason=repr(error))
            await self._journaled(settlement)
            return True
        return changed

    async def _abandon(self, abandonment: Abandonment) -> None:
        try:
            await self._group.commit(abandonment)
        except Exception as error:  # noqa: BLE001 -- as above
            self._log.error("unknown outcome journaled", generation=abandonment.id, reason=repr(error))
            await self._journaled(abandonment)

    async def _journaled(self, entry: Settlement | Abandonment) -> None:
        """Journal an entry; with the disk failing too it is remembered by this process alone."""
        try:
            await self._journal.append(entry)
        except OSError as error:
            self._log.critical("journal cannot be written", generation=entry.id, reason=str(error))

    async def _heartbeat(self) -> None:
        now = clock.now()
        await self._database.write(lambda connection: processes.heartbeat(connection, self._process_id, now))
        given_up = await self._database.write(
            lambda connection: processes.give_up(connection, self._process_id, now, alone=self._alone)
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


def _release(reservation: Reservation, failure: str) -> Settlement:
    return Settlement(reservation.id, reservation.tenant_id, FREE, clock.now(), failure=failure, frees_key=True)


def _tenant(job: _Job) -> str:
    return job.reservation.tenant_id if isinstance(job, Repeat) else job.tenant_id
