"""Generate, then edit: the gateway's own link as a reference image."""

import hashlib
from urllib.parse import urlsplit

import pybase64
import pytest

from tests.servers.pair import Pair

IM4 = "Invalid input_image{} parameter. The URL must be publicly reachable"


@pytest.fixture(scope="module")
def link(shared: Pair) -> str:
    """Return the link of an image that the team has made."""
    found: str = shared.post("first").json()["data"][0]["image"]
    return found


def test_an_own_link_reaches_upstream_as_the_bytes_it_names(shared: Pair, link: str) -> None:
    """Upstream cannot reach the gateway, so a link of the caller's own is sent as Base64, in the slot it was in."""
    kept = pybase64.b64encode(shared.gateway.http.get(link).content).decode()
    assert shared.post("then", input_image_2=link).status_code == 200
    sent = shared.simulator.calls()[-1]["body"]
    # Long texts are told by their digest.
    expected = f"sha256:{hashlib.sha256(kept.encode()).hexdigest()} ({len(kept)} characters)"
    assert sent["input_image_2"] == (expected if len(kept) > 200 else kept)
    assert "input_image" not in sent


def test_anothers_link_is_refused_like_an_unknown_one(shared: Pair, link: str) -> None:
    """A link opens an image for whoever holds it, but is no reference for another tenant: nothing is reserved."""
    stranger = shared.gateway.tenant("stranger")
    with shared.untouched():
        answer = shared.gateway.post(stranger, input_image=link)
    assert (answer.status_code, answer.json()["msg"]) == (400, IM4.format(""))


def test_an_own_link_that_does_not_work_is_refused(shared: Pair, link: str) -> None:
    """An altered or bare link is not fetched, and says no more than that it cannot be reached."""
    for broken in (link[:-3] + "AAA", link.partition("?")[0], link.replace("?e=", "?e=1")):
        with shared.untouched():
            answer = shared.post(input_image="https://example.com/a.png", input_image_2=broken)
        assert (answer.status_code, answer.json()["msg"]) == (400, IM4.format("_2"))


def test_another_path_or_port_of_this_machine_is_no_link(shared: Pair, link: str) -> None:
    """A private address is refused whatever stands behind it, so a link cannot be used to reach the neighbours."""
    path = urlsplit(link).path
    for other in (f"{shared.gateway.url}/models", f"http://127.0.0.1:{shared.simulator.port}{path}"):
        with shared.untouched():
            answer = shared.post(input_image=other)
        assert (answer.status_code, answer.json()["msg"]) == (400, IM4.format(""))
