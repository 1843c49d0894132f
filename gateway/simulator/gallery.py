"""The pictures that were made and the links to them, which expire."""

import asyncio
import time
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from gateway.ids import new_id
from gateway.simulator.drawing import Recipe, draw, paint, stamp

_BYTES_KEPT = 512 * 1024 * 1024
_LINKS_KEPT = 200_000


@dataclass(frozen=True, slots=True)
class Link:
    """Where a picture is served. `expires` is on the monotonic clock; `spoilt` stands for bytes that are no image."""

    picture: Recipe
    mime_type: str
    expires: float
    denied: bool = False
    late: float = 0.0
    spoilt: bytes | None = None

    @property
    def expired(self) -> bool:
        """Whether the link's time is over."""
        return time.monotonic() >= self.expires


class Gallery:
    """Draws pictures off the event loop, and keeps a bounded number of bytes: what was dropped is drawn again.

    With a `fixed_size` one picture of each format is drawn, once, and only stamped for every recipe.
    """

    def __init__(self, fixed_size: tuple[int, int] | None) -> None:
        """Start empty."""
        self._fixed_size = fixed_size
        self._templates: dict[str, bytes] = {}
        self._drawn: OrderedDict[Recipe, bytes] = OrderedDict()
        self._bytes = 0
        self._links: OrderedDict[str, Link] = OrderedDict()
        # Two threads: Pillow lets go of the interpreter lock while it scales and encodes.
        self._painters = ThreadPoolExecutor(2, "painter")

    def resized(self, picture: Recipe) -> Recipe:
        """Return the picture as this gallery draws it."""
        if self._fixed_size is None:
            return picture
        width, height = self._fixed_size
        return replace(picture, width=width, height=height)

    async def image(self, picture: Recipe) -> bytes:
        """Return a picture's bytes, which are the same every time."""
        if self._fixed_size is not None:
            return stamp(await self._template(picture), picture.digest)
        if (known := self._drawn.get(picture)) is not None:
            self._drawn.move_to_end(picture)
            return known
        drawn = await asyncio.get_running_loop().run_in_executor(self._painters, draw, picture)
        if picture not in self._drawn:  # drawn by another call meanwhile
            self._drawn[picture] = drawn
            self._bytes += len(drawn)
        while self._bytes > _BYTES_KEPT:
            self._bytes -= len(self._drawn.popitem(last=False)[1])
        return drawn

    def publish(self, link: Link) -> str:
        """Serve a link from now on and return its name. The oldest links are forgotten when there are very many."""
        name = f"{new_id('img')}.{'png' if link.mime_type == 'image/png' else 'jpg'}"
        self._links[name] = link
        if len(self._links) > _LINKS_KEPT:
            self._links.popitem(last=False)
        return name

    def link(self, name: str) -> Link | None:
        """Find a link, expired or not."""
        return self._links.get(name)

    def close(self) -> None:
        """Let the painting threads go."""
        self._painters.shutdown(wait=False, cancel_futures=True)

    async def _template(self, picture: Recipe) -> bytes:
        if (known := self._templates.get(picture.format)) is None:
            plain = replace(picture, digest="template", caption="")
            known = await asyncio.get_running_loop().run_in_executor(self._painters, paint, plain)
            self._templates[picture.format] = known
        return known
