"""Links as replies carry them. GATEWAY_LINKS says who serves them: this gateway, its store, or a CDN before that.

The gateway's own links work in every case, also those that were given before the setting was changed.
"""

from typing import Final, Protocol

import structlog

from gateway.clock import Millis
from gateway.images.links import Links, LinkTtl
from gateway.images.store import StoreUnavailable, image_name, parse_name

LONGEST_PRESIGNED: Final = 7 * 24 * 3600
"""Seconds; what S3 allows. A policy's longer `link_ttl`, and `none`, are cut to it."""


class LinkSigner(Protocol):
    """A store that makes links to itself."""

    async def sign(self, name: str, seconds: int) -> str | None:
        """Make a link that works for so long; None for no name. Raises StoreUnavailable."""
        ...


class GivenLinks:
    """Makes links, and knows those that it made."""

    def __init__(self, own: Links, *, signer: LinkSigner | None = None, public_base: str | None = None) -> None:
        """Take the gateway's own links; and who signs others in their place, or where the bucket is served."""
        self._own = own
        self._signer = signer
        self._elsewhere = None if public_base is None else f"{public_base.rstrip('/')}/"
        self._log = structlog.get_logger("links")

    @property
    def prefixes(self) -> tuple[str, ...]:
        """What a link of this gateway begins with: one of these."""
        return (self._own.prefix,) if self._elsewhere is None else (self._own.prefix, self._elsewhere)

    async def open(self) -> None:
        """Learn what the store's links begin with; if it cannot be told yet, the first link that is made tells."""
        if self._signer is not None:
            await self._signed(self._signer, image_name("image/png"), 1)

    async def make(self, name: str, now: Millis, ttl: LinkTtl, *, stored: bool = True) -> str:
        """Make a link that works for at least `ttl`, or for as long as there can be one: see LONGEST_PRESIGNED.

        What is not `stored` yet the gateway serves itself; so it does while the store cannot sign.
        """
        link = None
        if stored and self._signer is not None:
            seconds = self._own.default_ttl if ttl is None else LONGEST_PRESIGNED if ttl == "none" else ttl
            link = await self._signed(self._signer, name, min(seconds, LONGEST_PRESIGNED))
        elif stored and self._elsewhere is not None:
            link = self._elsewhere + name
        return self._own.make(name, now, ttl) if link is None else link

    def name_in(self, url: str, now: Millis) -> str | None:
        """Return the image's name in a link of this gateway; None for any other URL.

        One that the gateway serves has to work. Of others only the form can be told: whose image it is decides alone.
        """
        if self._elsewhere is None or not url.startswith(self._elsewhere):
            return self._own.name_in(url, now)
        name = url.removeprefix(self._elsewhere).partition("?")[0].partition("#")[0]
        return name if parse_name(name) is not None else None

    async def _signed(self, signer: LinkSigner, name: str, seconds: int) -> str | None:
        try:
            link = await signer.sign(name, seconds)
        except StoreUnavailable as error:
            self._log.warning("the store signs no link, the gateway serves in its place", reason=str(error))
            return None
        if link is not None:
            self._elsewhere = link.partition("?")[0].removesuffix(name)
        return link
