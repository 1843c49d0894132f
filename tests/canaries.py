"""Secrets that must not be found again anywhere, and the requests that try to bring them to light."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import httpx

from tests.servers.gateway import GENERATE
from tests.servers.pair import Pair
from tests.servers.simulator import Simulator

UPSTREAM_KEY = "sk-canary-5be07a1c9f7742d1a9"
OTHER_KEY = "canary.second/account+8831"
FAULTS = (
    *("", "[partial]", "[no-images]", "[bad-image]", "[bad-link]", "[no-usage]", "[cost=-1]", "[success-500]"),
    *("[refuse]", "[key-error]", "[balance]", "[status=401]", "[status=403]", "[status=404]", "[status=500]"),
    *("[status=429 retry-after=30]", "[status=503 retry-after=30]", "[code=500 msg-in=error.message]"),
    *("[garbage]", "[deep]", "[cut]", "[close]", "[silence]", "[status=302]", "[huge=70]"),
)


def repeat_keys(simulator: Simulator) -> None:
    """Let upstream repeat the keys that it is sent, in whatever it says."""
    echo = f"The key {UPSTREAM_KEY} (Bearer {OTHER_KEY}) may not do this"
    simulator.go_wrong(
        {"match": {"prompt_contains": "echo refusal"}, "fault": {"refuse": echo}},
        {"match": {"prompt_contains": "echo key error"}, "fault": {"refuse": f"API key {UPSTREAM_KEY} is invalid"}},
        {"match": {"prompt_contains": "echo failure"}, "fault": {"status": 500, "refuse": echo}},
        {"match": {"prompt_contains": "echo detail"}, "fault": {"code": 7, "msg-in": "detail", "refuse": echo}},
        {"match": {"prompt_contains": "echo model"}, "fault": {"model": UPSTREAM_KEY}},
    )


def everything_asked(both: Pair, faults: Sequence[str] = FAULTS) -> Iterator[httpx.Response]:
    """Ask for everything that can go well or wrong."""
    http, key = both.gateway.http, both.key
    for fault in faults:
        yield both.post(f"a canary {fault}")
    for echo in ("refusal", "key error", "failure", "detail", "model"):
        yield both.post(f"echo {echo}")
    for form in ("url", "base64", "upstream"):
        yield both.post(model="gemini-2.5-flash-image", headers={"X-Image-Format": form})
    yield both.gateway.post(both.gateway.tenant("poor", budget_total="0.01"))
    yield both.post(prompt="")
    yield both.post(input_image="http://127.0.0.1/a.png")
    for headers in (
        {"Authorization": key + "x"},
        {"Authorization": f"Basic {key}"},
        {"x-api-key": key},
        {"Cookie": key},
    ):
        yield http.post(GENERATE, json={}, headers=headers)
    yield http.post(f"{GENERATE}?api_key={key}", json={}, headers={"Authorization": key})
    yield http.get("/models", headers={"Authorization": key})
    yield http.get("/nothing", headers={"Authorization": key})
    yield http.get("/images/01k00000000000000000000000.png?e=1&s=x", headers={"Authorization": key})
    yield http.request("BREW", GENERATE, headers={"Authorization": key})


def files_of(directory: Path) -> dict[str, bytes]:
    """Read every file of a directory."""
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def reply_of(answer: httpx.Response) -> bytes:
    """Return all that a caller was sent."""
    return repr(answer.headers.raw).encode() + answer.content


def hits(canaries: Mapping[str, str], places: Mapping[str, bytes]) -> list[tuple[str, str]]:
    """Return which canary is in which place; print where was looked."""
    found = [
        (name, place)
        for name, canary in canaries.items()
        for place, content in places.items()
        if canary.encode() in content
    ]
    print(f"{len(canaries)} canaries, {len(places)} places, {sum(map(len, places.values()))} bytes, {len(found)} hits")
    return found
