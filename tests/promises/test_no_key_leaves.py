"""No key leaves: not the upstream's, not a tenant's, not the gateway's own secret, whatever goes wrong."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from gateway.data_dir import SECRET
from tests.servers.gateway import GENERATE
from tests.servers.pair import Pair, pair

UPSTREAM_KEY = "sk-canary-5be07a1c9f7742d1a9"
OTHER_KEY = "canary.second/account+8831"
FAULTS = (
    *("", "[partial]", "[no-images]", "[bad-image]", "[bad-link]", "[no-usage]", "[cost=-1]", "[success-500]"),
    *("[refuse]", "[key-error]", "[balance]", "[status=401]", "[status=403]", "[status=404]", "[status=500]"),
    *("[status=429 retry-after=30]", "[status=503 retry-after=30]", "[code=500 msg-in=error.message]"),
    *("[garbage]", "[deep]", "[cut]", "[close]", "[silence]", "[status=302]", "[huge=70]"),
)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Run a pair with two accounts, the log at its most talkative, and an upstream that repeats the keys it is sent."""
    directory = tmp_path_factory.mktemp("keys")
    with pair(directory, keys=(UPSTREAM_KEY, OTHER_KEY), log_level="debug", upstream_timeout="1") as two:
        echo = f"The key {UPSTREAM_KEY} (Bearer {OTHER_KEY}) may not do this"
        two.simulator.go_wrong(
            {"match": {"prompt_contains": "echo refusal"}, "fault": {"refuse": echo}},
            {"match": {"prompt_contains": "echo key error"}, "fault": {"refuse": f"API key {UPSTREAM_KEY} is invalid"}},
            {"match": {"prompt_contains": "echo failure"}, "fault": {"status": 500, "refuse": echo}},
            {"match": {"prompt_contains": "echo detail"}, "fault": {"code": 7, "msg-in": "detail", "refuse": echo}},
            {"match": {"prompt_contains": "echo model"}, "fault": {"model": UPSTREAM_KEY}},
        )
        yield two


def everything_asked(both: Pair) -> Iterator[httpx.Response]:
    """Ask for everything that can go well or wrong."""
    http, key = both.gateway.http, both.key
    for fault in FAULTS:
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


def everything_said(both: Pair) -> Iterator[str]:
    """Run the commands that print something."""
    for words in (
        "tenant list",
        "tenant show team --json",
        "key list team --json",
        "spend",
        "reconcile",
        "check-config",
    ):
        done = both.gateway.cli(*words.split())
        yield done.stdout + done.stderr
    yield both.gateway.cli("check-config", GATEWAY_UPSTREAM_API_KEYS=f"{UPSTREAM_KEY} {OTHER_KEY}").stderr
    yield both.gateway.cli("serve", GATEWAY_UPSTREAM_API_KEYS=f"{UPSTREAM_KEY}\t").stderr


def files_of(directory: Path) -> dict[str, bytes]:
    """Read every file of a directory."""
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def test_no_key_is_in_any_reply_log_metric_row_or_file(both: Pair) -> None:
    """Over all that can happen, also when upstream repeats its keys, there is not one hit outside the secret's file."""
    places: dict[str, bytes] = {}
    for number, answer in enumerate(everything_asked(both)):
        places[f"reply {number} to {answer.request.method} {answer.request.url.path}"] = (
            repr(answer.headers.raw).encode() + answer.content
        )
    for number, text in enumerate(everything_said(both)):
        places[f"command {number}"] = text.encode()
    places["metrics"] = repr(both.gateway.metrics()).encode()
    places |= {f"while serving: {name}": content for name, content in files_of(both.gateway.data_dir).items()}
    both.gateway.kill()
    both.gateway.begin()
    assert both.post("after a crash").status_code == 200
    assert both.gateway.stop() == 0
    places |= {f"at rest: {name}": content for name, content in files_of(both.gateway.data_dir).items()}
    places["log"] = both.gateway.log.encode()

    secret = (both.gateway.data_dir / SECRET).read_bytes()
    canaries = {
        "upstream": UPSTREAM_KEY.encode(),
        "account": OTHER_KEY.encode(),
        "tenant": both.key.encode(),
        "secret": secret,
    }
    hits = [
        (name, place) for name, canary in canaries.items() for place, content in places.items() if canary in content
    ]
    size = sum(map(len, places.values()))
    print(f"{size} bytes in {len(places)} places, {len(hits)} hits, of which 2 are the secret's own file")
    assert hits == [("secret", f"while serving: {SECRET}"), ("secret", f"at rest: {SECRET}")]
    assert b"echo refusal" in b"".join(places.values())  # what is looked through is what happened
