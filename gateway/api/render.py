"""A reply in the contract's form: fresh links, or bytes, in the form that was asked for."""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
import pybase64
from starlette.responses import Response

from gateway import clock
from gateway.errors import Unavailable
from gateway.flow.reply import KeptImage, PassedImage, Reply, ReplyImage
from gateway.images.given import GivenLinks
from gateway.images.links import LinkTtl
from gateway.images.spooled import SpooledStore
from gateway.images.store import StoreUnavailable
from gateway.money import format_yuan, json_yuan
from gateway.tenants.policy import ImageFormat


class Renderer:
    """Makes answers of replies.

    A link to an image that is on its way to the store works on this host alone: with others beside it, the first reply
    has such an image as upstream sent it, which works everywhere.
    """

    def __init__(self, links: GivenLinks, store: SpooledStore | None, *, alone: bool) -> None:
        """Take what links and bytes are made of; `alone` says that no other host answers for this one."""
        self._links = links
        self._store = store
        self._alone = alone

    async def success(
        self, reply: Reply, image_format: ImageFormat, link_ttl: LinkTtl, headers: Mapping[str, str]
    ) -> Response:
        """Answer with the envelope. Raises Unavailable if bytes are wanted and cannot be read."""
        content = orjson.dumps(await self.envelope(reply, image_format, link_ttl))
        said = {
            "X-Generation-Id": reply.generation_id,
            "X-Cost-Yuan": format_yuan(reply.cost),
            "Cache-Control": "private, no-store",
        }
        if reply.origin == "replayed":
            said["Idempotent-Replayed"] = "true"
        said |= self.kept(reply.images)
        return Response(content, media_type="application/json", headers=said | dict(headers))

    def kept(self, images: Sequence[ReplyImage]) -> dict[str, str]:
        """Return the header that says so if images are not in the store: not kept at all, or on their way there."""
        if self._store is not None and any(isinstance(image, PassedImage) for image in images):
            return {"X-Image-Kept": "no"}
        return {"X-Image-Kept": "pending"} if any(map(self._pending, images)) else {}

    async def envelope(self, reply: Reply, image_format: ImageFormat, link_ttl: LinkTtl) -> dict[str, Any]:
        """Write a reply as `{code, data, model, provider, usage}`. Raises Unavailable like `success`."""
        return {
            "code": 0,
            "data": [await self._image(image, image_format, link_ttl) for image in reply.images],
            "model": reply.model,
            "provider": reply.provider,
            "usage": {
                "cost": orjson.Fragment(json_yuan(reply.cost)),
                "images_generated": len(reply.images),
                "images_failed": reply.images_failed,
            },
        }

    async def _image(self, image: ReplyImage, image_format: ImageFormat, link_ttl: LinkTtl) -> dict[str, Any]:
        if isinstance(image, PassedImage):
            return _in_form(image.kind, image.image, image.media_type, image.revised_prompt)
        if image_format == "url" or (image_format == "upstream" and image.kind == "url"):
            link = await self._link(image, link_ttl)
            if link is not None:
                return _in_form("url", link, None, image.revised_prompt)
        text = pybase64.b64encode(await self._content(image)).decode()
        return _in_form("base64", text, image.media_type, None)

    async def _link(self, image: KeptImage, link_ttl: LinkTtl) -> str | None:
        """Return a link that works; None if the bytes are at hand and there is none that works everywhere."""
        pending = self._pending(image)
        if self._alone or image.content is None or not pending:
            return await self._links.make(image.name, clock.now(), link_ttl, stored=not pending)
        return image.link

    def _pending(self, image: ReplyImage) -> bool:
        """Whether an image is on its way to the store."""
        return isinstance(image, KeptImage) and self._store is not None and self._store.pending(image.name)

    async def _content(self, image: KeptImage) -> bytes:
        if image.content is not None:
            return image.content
        try:
            stored = None if self._store is None else await self._store.open(image.name)
            if stored is None:
                raise Unavailable("The image is not available", detail=f"{image.name} is not in the store")
            return b"".join([piece async for piece in stored.read()])
        except StoreUnavailable as error:
            raise Unavailable("The image store is temporarily unavailable", detail=str(error)) from error


def _in_form(kind: str, image: str, media_type: str | None, revised_prompt: str | None) -> dict[str, Any]:
    """Write an image as the document has it: a link has no type, Base64 has no revised prompt."""
    if kind == "url":
        return {"type": "url", "image": image, "mimeType": None, "revised_prompt": revised_prompt}
    return {"type": "base64", "image": image, "mimeType": media_type, "revised_prompt": None}
