"""Every route, with every kind of credential, from every kind of page: who gets in is written down here."""

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import pytest
from fastapi import FastAPI

from gateway.app import build
from gateway.cli.access import in_database
from gateway.data_dir import secrets_of
from gateway.database.tables import tokens
from gateway.settings import load
from gateway.tenants.keys import Pepper, make_key, make_token
from tests.flow.test_openapi import routes
from tests.servers.gateway import elsewhere
from tests.servers.pair import Pair, pair
from tests.servers.process import wait_until
from tests.servers.simulator import UPSTREAM_KEY

ADMIN_TOKEN = "an-admin-token-of-more-than-32-characters"
SHOP, NOBODY = "https://shop.example", "https://evil.example"

Door: TypeAlias = Literal["open", "link", "key", "token", "admin"]
"""Who gets in: anybody; whoever has a signed link; server keys; client tokens too; the admin token."""

DOORS: Mapping[tuple[str, str], Door] = {
    ("get", "/livez"): "open",
    ("get", "/readyz"): "open",
    ("get", "/docs"): "open",
    ("get", "/openapi.json"): "open",
    ("get", "/images/{name}"): "link",
    ("post", "/images/{name}"): "link",
    ("post", "/images/generate"): "token",
    ("get", "/models"): "token",
    ("get", "/generations/{generation_id}"): "token",
    ("get", "/generations/{generation_id}/events"): "token",
    ("post", "/v1/images/generations"): "token",
    ("post", "/v1/images/edits"): "token",
    ("get", "/v1/models"): "token",
    ("get", "/v1/models/{model}"): "token",
    ("get", "/generations"): "key",
    ("delete", "/generations/{generation_id}"): "key",
    ("get", "/usage"): "key",
    ("post", "/tokens"): "key",
    ("delete", "/tokens"): "key",
    ("delete", "/tokens/{token_id}"): "key",
}
"""A row for each route. What is below /admin/api/ needs none: one entrance stands before all of it."""

ADMIN_PREFIX = "/admin/api/"


@dataclass(frozen=True, slots=True)
class Credentials:
    """Keys and tokens by what they are; those that are good by the door that they open."""

    good: Mapping[str, tuple[Door, ...]]
    text: Mapping[str, str | None]


def door(method: str, path: str) -> Door | None:
    """Return who gets in; None if that was not decided."""
    return "admin" if path.startswith(ADMIN_PREFIX) else DOORS.get((method, path))


def all_routes(directory: Path) -> list[tuple[str, str]]:
    """Return method and path of each route that the application has."""
    app = build(load({"GATEWAY_DATA_DIR": str(directory), "GATEWAY_ADMIN_TOKEN": ADMIN_TOKEN})).edge._app
    assert isinstance(app, FastAPI)
    return sorted((method, path) for path, method in routes(app.routes))


def test_it_is_decided_for_every_route_who_gets_in(tmp_path: Path) -> None:
    """A route without a row fails here, and so does a row without a route."""
    found = all_routes(tmp_path)
    undecided = [route for route in found if door(*route) is None]
    assert not undecided, f"say who gets in: add a row to DOORS in {__file__} for each of {undecided}"
    assert not DOORS.keys() - set(found), "these routes are gone"


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Run a pair with an admin API."""
    with pair(tmp_path_factory.mktemp("access"), admin_token=ADMIN_TOKEN) as two:
        yield two


@pytest.fixture(scope="module")
def credentials(both: Pair) -> Credentials:
    """Make one credential of each kind, of a tenant whose pages may call."""
    gateway, configured = both.gateway, load(both.gateway.environment)
    server, revoked = gateway.tenant("access", origins=SHOP), gateway.key("access")
    ends = time.time() + 0.5
    expired = gateway.key("access", expires_at=round(ends * 1000))
    disabled = gateway.tenant("access-disabled")

    def admin(path: str) -> None:
        gateway.http.post(ADMIN_PREFIX + path, headers={"Authorization": ADMIN_TOKEN}).raise_for_status()

    def mint(key: str) -> dict[str, str]:
        made: dict[str, str] = gateway.http.post("/tokens", json={}, headers={"Authorization": key}).json()
        return made

    good, over, ended, orphan = mint(server), mint(server), mint(server), mint(revoked)
    of_disabled = mint(disabled)
    in_database(
        lambda sql: sql.execute(tokens.update().where(tokens.c.id == over["id"]).values(expires_at=1)), configured
    )
    (row,) = gateway.rows("SELECT key_id FROM tokens WHERE id = ?", orphan["id"])
    admin(f"keys/{row['key_id']}/revoke")
    admin(f"tokens/{ended['id']}/revoke")
    admin("tenants/access-disabled/disable")
    wait_until(lambda: time.time() > ends, "the key to expire")
    return Credentials(
        good={"server key": ("key", "token"), "client token": ("token",), "admin token": ("admin",)},
        text={
            "none": None,
            "garbage": "garbage",
            "unknown key": make_key(),
            "unknown token": make_token(),
            "server key": server,
            "revoked key": revoked,
            "expired key": expired,
            "key of a disabled tenant": disabled,
            "client token": good["token"],
            "expired token": over["token"],
            "revoked token": ended["token"],
            "token of a revoked key": orphan["token"],
            "token of a disabled tenant": of_disabled["token"],
            "admin token": ADMIN_TOKEN,
            "digest of the key": Pepper(secrets_of(configured)).digest(server),
            "id of the token": good["id"],
            "upstream's key": UPSTREAM_KEY,
        },
    )


def expected(at: Door, kind: str, origin: str | None, credentials: Credentials) -> int | None:
    """Return the status of a refusal; None for whoever gets in, whatever they are answered then."""
    if at == "link":
        return None  # by its signature alone, from everywhere
    if origin == NOBODY or (origin == SHOP and at == "admin"):
        return 403
    if at == "open":
        return None
    opens = credentials.good.get(kind, ())
    if at in opens:
        return None
    # A good client token is known, and told that this is not for it; an admin token is no key, and the reverse.
    return 403 if kind == "client token" and at == "key" else 401


def readers(at: Door, method: str, origin: str | None) -> str | None:
    """Return whose pages may read the answer, as it has to say."""
    if at == "link":
        return "*" if method == "get" else None
    return SHOP if origin == SHOP and at != "admin" else None


def test_who_gets_in(both: Pair, credentials: Credentials, tmp_path: Path) -> None:
    """Every route is open to whom its row names, to nobody else, and from no page but the tenant's and its own."""
    wrong: list[object] = []
    seen: Counter[int | None] = Counter()
    with both.untouched():
        for method, path in all_routes(tmp_path):
            at = door(method, path)
            assert at is not None
            for kind, text in credentials.text.items():
                for origin in (None, SHOP, NOBODY, both.gateway.url):
                    # From an address of its own each, or it would be held up for guessing.
                    sent = dict([elsewhere()]) | ({} if text is None else {"Authorization": f"Bearer {text}"})
                    sent |= {} if origin is None else {"Origin": origin}
                    plain = path.replace("{", "").replace("}", "")
                    answer = both.gateway.http.request(method.upper(), plain, headers=sent)
                    refused = answer.status_code if answer.status_code in {401, 403} and at != "link" else None
                    want = (expected(at, kind, origin, credentials), readers(at, method, origin))
                    seen[want[0]] += 1
                    got = (refused, answer.headers.get("access-control-allow-origin"))
                    if got != want or answer.status_code >= 500:
                        wrong.append((method, path, kind, origin, answer.status_code, got, want))
    print(f"{sum(seen.values())} requests: {dict(seen)}, other than expected: {len(wrong)}")
    assert wrong == []
