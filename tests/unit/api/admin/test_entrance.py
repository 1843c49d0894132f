"""The door of the admin API."""

import asyncio
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from gateway.api.admin.entrance import Entrance
from gateway.api.edge import Seen
from gateway.errors import InvalidRequest, NotFound, Unauthorized
from gateway.tenants.policy import InvalidPolicy

TOKEN = "kT9vQ2mX7cB4nZ8rL5wJ1hF6dS3gP0yA"


async def receive() -> Any:
    """Refuse to give the body."""
    raise AssertionError("the body was asked for")


async def send(_message: Any) -> None:
    """Refuse to answer: that is for what is inside."""
    raise AssertionError("something was sent")


def scope(*values: bytes) -> dict[str, Any]:
    """Write a request with these Authorization headers."""
    return {"type": "http", "headers": [(b"authorization", value) for value in values], "state": {"seen": Seen()}}


async def nobody_home(_scope: Scope, _receive: Receive, _send: Send) -> None:
    """Be reached by nobody."""
    raise AssertionError("somebody came in")


@pytest.mark.parametrize(
    "values",
    [
        [],
        [b"Bearer"],
        [TOKEN[:-1].encode()],
        [TOKEN.encode() + b"A"],
        [TOKEN.lower().encode()],
        [f"Bearer {TOKEN}".encode(), f"Bearer {TOKEN}".encode()],
        ["Bearer 密钥".encode()],
    ],
)
def test_nobody_else_comes_in(values: list[bytes]) -> None:
    """None, another, a part, or two of it: refused with nothing read."""
    with pytest.raises(Unauthorized) as refused:
        asyncio.run(Entrance(TOKEN, nobody_home)(scope(*values), receive, send))
    assert TOKEN not in str(refused.value)


@pytest.mark.parametrize("value", [f"Bearer {TOKEN}", f"bearer {TOKEN}", TOKEN])
def test_the_token_opens(value: str) -> None:
    """As `Bearer`, in any case, or bare, as everywhere in this gateway; the log then says that it was the admin."""
    came_in: list[Scope] = []

    async def inside(scope: Scope, _receive: Receive, _send: Send) -> None:
        came_in.append(scope)

    asyncio.run(Entrance(TOKEN, inside)(scope(value.encode()), receive, send))
    assert came_in[0]["state"]["seen"] == {"actor": "admin"}


@pytest.mark.parametrize("value", ["Bearer ", "Bearer None", "None", f"Bearer {TOKEN}"])
def test_without_a_token_there_is_no_door(value: str) -> None:
    """No word opens what is switched off."""
    with pytest.raises(NotFound):
        asyncio.run(Entrance(None, nobody_home)(scope(value.encode()), receive, send))


def test_a_refused_value_is_the_callers_mistake() -> None:
    """What the policy refuses is answered 400 in its own words."""

    async def inside(_scope: Scope, _receive: Receive, _send: Send) -> None:
        raise InvalidPolicy("burst: must be a whole number")

    with pytest.raises(InvalidRequest, match="burst: must be a whole number"):
        asyncio.run(Entrance(TOKEN, inside)(scope(TOKEN.encode()), receive, send))


def test_the_entrance_does_not_hold_the_token() -> None:
    """What is kept to compare with is a digest."""
    assert TOKEN not in repr(vars(Entrance(TOKEN, nobody_home)))
