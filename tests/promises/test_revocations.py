"""Whoever is refused is refused soon, by every worker: at once with Redis, in 5 seconds without."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import pytest

from gateway.cli.access import administration, change
from gateway.settings import load
from gateway.tenants.tokens import revoke_token
from tests.servers.fleet import Fleet
from tests.servers.gateway import Gateway
from tests.servers.pair import pair
from tests.servers.workers import Caller, callers, rows

pytestmark = pytest.mark.alone

WITH_REDIS, WITHOUT = 1.0, 5.0
QUIET_SECONDS = 0.5

Revocations: TypeAlias = Mapping[str, tuple[str, Callable[[], object], str]]
"""By what each is called: a token, what ends it, and a query for the moment at which that was committed."""


async def refused_after(
    gateway: Gateway, asking: Sequence[Caller], revocation: tuple[str, Callable[[], object], str]
) -> float:
    """Revoke, and return the seconds from then to the last time that any worker took the token."""
    token, revoke, query = revocation
    good: list[float] = []
    revoking = asyncio.create_task(asyncio.to_thread(revoke))
    while not revoking.done() or time.time() < good[-1] + QUIET_SECONDS:
        answers = await asyncio.gather(*(caller.look(token) for caller in asking))
        assert {answer.status for answer in answers} <= {200, 401, 429}
        good += [time.time() for answer in answers if answer.status == 200]
        assert good, "it was good before"
        await asyncio.sleep(0.01)
    await revoking
    (row,) = await asyncio.to_thread(rows, gateway, query)
    return max(0.0, good[-1] - int(row["moment"]) / 1000)


def revocations_of(gateway: Gateway, tenant: str) -> Revocations:
    """Mint tokens for a new tenant, each with a way to end it; the last ends them all."""
    key, configured = gateway.tenant(tenant), load(gateway.environment)
    authorized, admin = {"Authorization": key}, administration(configured)
    one, two, three, four = (
        gateway.http.post("/tokens", json={"user": user}, headers=authorized).json() for user in ("a", "b", "c", "d")
    )

    def delete(path: str) -> None:
        gateway.http.delete(path, headers=authorized).raise_for_status()

    def of_token(made: Mapping[str, str]) -> str:
        return f"SELECT revoked_at AS moment FROM tokens WHERE id = '{made['id']}'"  # noqa: S608 -- an id of ours

    of_tenant = f"SELECT disabled_at AS moment FROM tenants WHERE name = '{tenant}'"  # noqa: S608 -- a name of ours
    return {
        "DELETE /tokens/{id}": (one["token"], lambda: delete(f"/tokens/{one['id']}"), of_token(one)),
        "DELETE /tokens?user=": (two["token"], lambda: delete("/tokens?user=b"), of_token(two)),
        "gateway key revoke": (
            three["token"],
            lambda: change(lambda sql: revoke_token(sql, three["id"], by="cli"), configured),
            of_token(three),
        ),
        "gateway tenant disable": (
            four["token"],
            lambda: change(lambda sql: admin.disable_tenant(sql, tenant, disabled=True), configured),
            of_tenant,
        ),
    }


async def measure(gateway: Gateway, number: int, revocations: Revocations) -> dict[str, float]:
    """Return the seconds that each took, asked for on so many connections."""
    async with callers(gateway, number) as asking:
        return {way: await refused_after(gateway, asking, one) for way, one in revocations.items()}


def test_with_redis_a_revocation_is_everywhere_within_a_second(two_workers: Fleet) -> None:
    """However it was revoked, both workers refuse the token."""
    revocations = revocations_of(two_workers.gateway, "revoked-shared")
    for way, seconds in asyncio.run(measure(two_workers.gateway, 2, revocations)).items():
        print(f"two workers with Redis, {way}: last taken {seconds:.3f} s after it was revoked")
        assert seconds <= WITH_REDIS


@pytest.mark.full
def test_without_redis_a_revocation_is_seen_within_five_seconds(tmp_path: Path) -> None:
    """The process that revokes refuses at once; what another process revokes is seen when it is looked up anew."""
    with pair(tmp_path) as both:
        every = revocations_of(both.gateway, "revoked")
        some = {way: every[way] for way in ("DELETE /tokens/{id}", "gateway key revoke")}
        measured = asyncio.run(measure(both.gateway, 1, some))
    for way, seconds in measured.items():
        print(f"one process without Redis, {way}: last taken {seconds:.3f} s after it was revoked")
        assert seconds <= (WITHOUT if way.startswith("gateway") else WITH_REDIS)
