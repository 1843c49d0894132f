"""Links of this gateway as reference images: replaced by the bytes they name, since upstream cannot reach them."""

from gateway import clock
from gateway.aside import aside
from gateway.contract import (
    MAX_REFERENCE_BYTES,
    REFERENCE_FIELDS,
    GenerateAsk,
    ReferenceBytes,
    ReferenceLink,
    Violation,
    reference_of,
    too_large,
)
from gateway.errors import InvalidRequest, Unavailable
from gateway.flow.call import Room
from gateway.images.given import GivenLinks
from gateway.images.spooled import on_its_way
from gateway.images.store import Store, StoreUnavailable
from gateway.ledger.ledger import Ledger


class References:
    """Resolves a tenant's own links; anybody else's, an expired or an altered one is refused like an unknown one."""

    def __init__(self, links: GivenLinks, store: Store | None, ledger: Ledger) -> None:
        self._links = links
        self._store = store
        self._ledger = ledger

    async def resolve(self, ask: GenerateAsk, tenant_id: str, room: Room | None) -> GenerateAsk:
        """Return the ask with the bytes of its own links, for which it takes room like for those in a body.

        Raises InvalidRequest, or Unavailable if a store is away or there is no room.
        """
        for slot, reference in ask.references:
            if isinstance(reference, ReferenceLink) and reference.own:
                kept = await self._kept(reference.url, REFERENCE_FIELDS[slot - 1], tenant_id, room)
                ask = ask.with_reference(slot, kept)
        return ask

    async def _kept(self, url: str, field: str, tenant_id: str, room: Room | None) -> ReferenceBytes:
        unknown = InvalidRequest(f"Invalid {field} parameter. The URL must be publicly reachable")
        name = self._links.name_in(url, clock.now())
        if name is None or self._store is None:
            raise unknown
        record = await self._ledger.image(name)
        if record is None or record.erased or record.tenant_id != tenant_id:
            raise unknown
        try:
            image = await self._store.open(name)
            if image is None and on_its_way(record.created_at, clock.now()):
                raise Unavailable("The image is on its way to the store", retry_after=5)
            if image is None:
                raise unknown
            if image.size > MAX_REFERENCE_BYTES:
                raise too_large(field)
            if room is not None:
                await room.grow(room.size + image.size * 7 // 3)  # the bytes, and their Base64
            content = b"".join([piece async for piece in image.read()])
            return await aside(reference_of, field, content)
        except StoreUnavailable as error:
            raise Unavailable("The image store is temporarily unavailable", detail=str(error), retry_after=5) from error
        except Violation as violation:
            raise InvalidRequest(violation.text) from None
