"""The sample's backend: it holds the server key, and gives each visitor a client token. That is all there is to it.

A real one would know its visitors by its own login; here a cookie stands for them, so that a page that is loaded again
may ask what became of its generations.
"""

import secrets
from importlib import resources

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

VISITOR = "visitor"
IMAGES = 50
"""The most that one token may ask for; money and rates are the key's own."""


def backend(gateway: str, key: str, origin: str) -> Starlette:
    """Make the application: the page, and `POST /token`. `origin` is where it is served."""

    async def page(_request: Request) -> Response:
        text = resources.files("gateway.sample").joinpath("page.html").read_text(encoding="utf-8")
        return HTMLResponse(text.replace("{{gateway}}", gateway), headers={"Cache-Control": "no-cache"})

    async def token(request: Request) -> Response:
        visitor = request.cookies.get(VISITOR) or secrets.token_hex(8)
        ask = {"user": visitor, "origins": [origin], "max_images": IMAGES}
        async with httpx.AsyncClient(trust_env=False) as client:
            minted = await client.post(f"{gateway}/tokens", json=ask, headers={"Authorization": f"Bearer {key}"})
        answer = Response(minted.content, minted.status_code, media_type="application/json")
        answer.set_cookie(VISITOR, visitor, httponly=True, samesite="strict")
        return answer

    return Starlette(routes=[Route("/", page), Route("/token", token, methods=["POST"])])
