"""No key leaves: not the upstream's, not a tenant's, not the gateway's own secret, whatever goes wrong."""

from collections.abc import Iterator

import pytest

from gateway.data_dir import SECRET
from tests.canaries import OTHER_KEY, UPSTREAM_KEY, everything_asked, files_of, hits, repeat_keys, reply_of
from tests.servers.pair import Pair, pair


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Run a pair with two accounts, the log at its most talkative, and an upstream that repeats the keys it is sent."""
    directory = tmp_path_factory.mktemp("keys")
    with pair(directory, keys=(UPSTREAM_KEY, OTHER_KEY), log_level="debug", upstream_timeout="1") as two:
        repeat_keys(two.simulator)
        yield two


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


def test_no_key_is_in_any_reply_log_metric_row_or_file(both: Pair) -> None:
    """Over all that can happen, also when upstream repeats its keys, there is not one hit outside the secret's file."""
    places: dict[str, bytes] = {}
    for number, answer in enumerate(everything_asked(both)):
        places[f"reply {number} to {answer.request.method} {answer.request.url.path}"] = reply_of(answer)
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

    canaries = {
        "upstream": UPSTREAM_KEY,
        "account": OTHER_KEY,
        "tenant": both.key,
        "secret": (both.gateway.data_dir / SECRET).read_text(),
    }
    # The secret's own file is where it is meant to be.
    assert hits(canaries, places) == [("secret", f"while serving: {SECRET}"), ("secret", f"at rest: {SECRET}")]
    assert b"echo refusal" in b"".join(places.values())  # what is looked through is what happened
