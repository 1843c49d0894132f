"""The document put together, and the page that shows it."""

import hashlib
import re
from base64 import b64encode
from collections.abc import Mapping
from functools import cache
from importlib import resources

import orjson
from fastapi import APIRouter
from starlette.responses import Response

from gateway import __version__
from gateway.api.openapi import admin, frontends, openai, paths, shapes
from gateway.api.openapi.words import Json, ref
from gateway.api.pages import TAKEN, answers_everybody, answers_no_page

_BLOCK = re.compile(rb"<(script|style)>(.*?)</\1>", re.DOTALL)
_TAGS = {
    "images": "Images are generated, and their links served.",
    "generations": "What became of a tenant's own generations.",
    "client tokens": "For browsers, minted with a server key. A page may call from each origin that its tenant, or its "
    "token, names. The preflight of any path (OPTIONS) has no key: it is answered 204 to the origins of all tenants. "
    f"A page may send {', '.join(TAKEN)}, and what OpenAI's SDKs say of themselves.",
    "openai": "OpenAI's images interface, for its SDKs. Errors have OpenAI's shape.",
    "admin": "Tenants, keys, spend and unknown generations. Without GATEWAY_ADMIN_TOKEN there is nothing here.",
    "health": "For probes, and for whoever reads this.",
}
_TO_A_PAGE = ("Access-Control-Allow-Origin", "Access-Control-Expose-Headers")


class OpenApiRoute:
    """The interface, for programs and for people."""

    def router(self) -> APIRouter:
        """Return the routes."""
        router = APIRouter()
        router.add_api_route("/openapi.json", self.document, methods=["GET", "HEAD"], response_model=None)
        router.add_api_route("/docs", self.page, methods=["GET", "HEAD"], response_model=None)
        return router

    async def document(self) -> Response:
        """Answer the document."""
        return Response(_written(), media_type="application/json", headers={"Cache-Control": "no-cache"})

    async def page(self) -> Response:
        """Answer a page that reads it aloud. It loads nothing from elsewhere."""
        content, headers = _page()
        return Response(content, media_type="text/html", headers=headers)


def document() -> Json:
    """Describe every route, header, error and example (OpenAPI 3.1)."""
    described = paths.mirrored() | paths.own() | frontends.paths() | openai.paths() | admin.paths() | paths.health()
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Image gateway",
            "version": __version__,
            "description": "One endpoint for image generation; kept images; every yuan accounted for.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": text} for name, text in _TAGS.items()],
        "paths": {
            path: {method: _readable(path, shown) for method, shown in methods.items()}
            for path, methods in described.items()
        },
        "components": {
            "schemas": shapes.schemas() | frontends.schemas() | openai.schemas() | admin.schemas(),
            "headers": {name: {"description": text, "schema": shape} for name, (text, shape) in shapes.HEADERS.items()},
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer", "description": "A tenant's key; bare, it works too"},
                "adminToken": {"type": "http", "scheme": "bearer", "description": "GATEWAY_ADMIN_TOKEN"},
            },
        },
    }


def _readable(path: str, shown: Json) -> Json:
    """Add to every answer of an operation what lets a page of another origin read it, as the edge does."""
    if answers_everybody(path):
        return shown
    names = ("Vary",) if answers_no_page(path) else ("Vary", *_TO_A_PAGE)
    said = {name: ref("headers", name) for name in names}
    answers = {status: one | {"headers": one["headers"] | said} for status, one in shown["responses"].items()}
    return shown | {"responses": answers}


@cache
def _written() -> bytes:
    return orjson.dumps(document())


@cache
def _page() -> tuple[bytes, Mapping[str, str]]:
    """Read the page; it may run what stands in it, and nothing else."""
    content = resources.files("gateway.api.openapi").joinpath("docs.html").read_bytes()
    digests = {kind: b64encode(hashlib.sha256(block).digest()).decode() for kind, block in _BLOCK.findall(content)}
    policy = (
        "default-src 'none'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        f"script-src 'sha256-{digests[b'script']}'; style-src 'sha256-{digests[b'style']}'"
    )
    return content, {
        "Content-Security-Policy": policy,
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "no-cache",
    }
