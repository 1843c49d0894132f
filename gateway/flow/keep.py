"""From upstream's answer to kept images: decode or fetch, look at the bytes, store; a few at a time.

An image that cannot be had (its link is dead, its bytes are no image) counts as failed; it was billed all the same.
An image that can neither be stored nor spooled is still given to the caller, as upstream sent it: it has been paid for.
"""

import asyncio
import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

import pybase64
import structlog

from gateway.aside import aside
from gateway.errors import Unavailable
from gateway.flow.reply import KeptImage, PassedImage, ReplyImage
from gateway.images.decode import decode_base64
from gateway.images.fetch import Fetcher, FetchFailed, FetchLimits
from gateway.images.inspect import NotAnImage, inspect
from gateway.images.spooled import PATIENCE_SECONDS, SpooledStore
from gateway.images.store import StoreUnavailable, image_name
from gateway.metrics import Metrics
from gateway.spans import Spans
from gateway.upstream.envelope import ReturnedImage

P = ParamSpec("P")
R = TypeVar("R")

AT_ONCE = 4

KEEP_SECONDS = FetchLimits().seconds + PATIENCE_SECONDS
"""How long it may take to keep what upstream answered, up to `AT_ONCE` images: their links are slow, the store too."""

ROOM_SECONDS = 10
"""What callers are told to wait when there is no room for what they ask for: as long as between two tries to store."""

_INLINE = 64 * 1024
"""Below this many bytes a hop to a thread costs more than the work."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What became of the images of one answer. `fetch_seconds` were spent waiting for upstream's links."""

    images: tuple[ReplyImage, ...]
    failed: int
    fetch_seconds: float
    unfinished: bool = False
    """Whether keeping was not done yet."""


NOTHING_KEPT = Kept((), 0, 0.0)
NOT_YET_KEPT = Kept((), 0, 0.0, unfinished=True)


class Keeper:
    """Keeps images. Without a store it passes them on as they came."""

    def __init__(self, store: SpooledStore | None, fetcher: Fetcher, metrics: Metrics, spans: Spans) -> None:
        self._store = store
        self._fetcher = fetcher
        self._metrics = metrics
        self._spans = spans
        self._log = structlog.get_logger("keep")

    def admit(self, running: int) -> None:
        """Return if what one more generation may bring could be kept. Raises Unavailable: the spool is full, say."""
        if self._store is not None and not self._store.has_room(running):
            raise Unavailable("Images cannot be kept at the moment", retry_after=ROOM_SECONDS)

    async def keep(self, images: Sequence[ReturnedImage], generation_id: str) -> Kept:
        """Keep what can be kept of these images, in their order."""
        if self._store is None:
            return Kept(tuple(_passed(image) for image in images), 0, 0.0)
        store, begun, turns = self._store, time.monotonic(), asyncio.Semaphore(AT_ONCE)

        async def one(image: ReturnedImage) -> tuple[ReplyImage | None, float]:
            async with turns:
                with self._spans("keep"):
                    return await self._keep_one(store, image, generation_id, begun)

        if len(images) == 1:
            results = [await one(images[0])]
        else:
            results = await asyncio.gather(*(one(image) for image in images))
        kept = tuple(image for image, _ in results if image is not None)
        return Kept(kept, len(images) - len(kept), max((seconds for _, seconds in results), default=0.0))

    async def _keep_one(
        self, store: SpooledStore, image: ReturnedImage, generation_id: str, begun: float
    ) -> tuple[ReplyImage | None, float]:
        fetched, content = 0.0, b""
        try:
            if image.kind == "url":
                content = await self._fetcher.fetch(image.image)
                fetched = time.monotonic() - begun
                kept = await _sized(len(content), _describe, image, content)
            else:
                kept, content = await _sized(len(image.image), _decode, image)
                image.image = ""
            await store.put(kept.name, content)
        except FetchFailed as error:
            self._failed("fetch", generation_id, str(error))
            return None, fetched
        except NotAnImage as error:
            self._failed("image", generation_id, str(error))
            return None, fetched
        except StoreUnavailable as error:
            self._failed("store", generation_id, str(error))
            return _passed(image, content), fetched
        except Exception as error:  # noqa: BLE001 -- one bad image must not cost the others that were paid for with it
            self._failed("store", generation_id, repr(error))
            return _passed(image, content), fetched
        self._metrics.kept_bytes.inc(len(content))
        return kept, fetched

    def _failed(self, cause: str, generation_id: str, reason: str) -> None:
        self._metrics.keep_failures.labels(cause).inc()
        self._log.error("image_not_kept", cause=cause, generation=generation_id, reason=reason)


async def _sized(size: int, work: Callable[P, R], *arguments: P.args, **named: P.kwargs) -> R:
    """Work on so many bytes: in a thread, unless they are few."""
    return await aside(work, *arguments, **named) if size > _INLINE else work(*arguments, **named)


def _decode(image: ReturnedImage) -> tuple[KeptImage, bytes]:
    content = decode_base64(image.image)
    return _describe(image, content), content


def _describe(image: ReturnedImage, content: bytes) -> KeptImage:
    found = inspect(content)
    return KeptImage(
        kind=image.kind,
        name=image_name(found.media_type),
        media_type=found.media_type,
        size=len(content),
        width=found.width,
        height=found.height,
        sha256=hashlib.sha256(content).hexdigest(),
        revised_prompt=image.revised_prompt,
        content=content,
        link=image.image if image.kind == "url" else None,
    )


def _passed(image: ReturnedImage, decoded: bytes = b"") -> PassedImage:
    """Pass an image on as it came, or as it came before it was decoded."""
    text = image.image or pybase64.b64encode(decoded).decode()
    return PassedImage(image.kind, text, image.media_type, image.revised_prompt)
