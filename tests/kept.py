"""Whether kept images are in their store, byte for byte."""

import asyncio
import hashlib
from collections.abc import Mapping

from gateway.images.stores import open_store


def whole(url: str, environ: Mapping[str, str], digests: Mapping[str, str]) -> int:
    """Return how many of these images, by name, have in the store of this URL the digest that they ought to have."""

    async def count() -> int:
        store, good = open_store(url, environ), 0
        try:
            for name, sha256 in digests.items():
                image = await store.open(name)
                assert image is not None, f"{name} is missing"
                content = b"".join([piece async for piece in image.read()])
                good += hashlib.sha256(content).hexdigest() == sha256
        finally:
            await store.close()
        return good

    return asyncio.run(count())
