"""No path leads out of where it begins, however it is written, and with a signature of the gateway's own."""

from itertools import product
from urllib.parse import unquote, urlsplit

import pytest

from gateway.clock import now
from gateway.data_dir import DATABASE, SECRET
from gateway.images.links import Links
from tests.flow.wire import exchange, request
from tests.servers.pair import Pair

STEPS = (
    *("../", "..%2f", "%2e%2e/", "%2E%2E%2F", "%252e%252e%252f", "....//", "./../", "..;/", "../;/", ".%2e/"),
    *("..\\", "..%5c", "%2e%2e%5c", "..%c0%af", "..%ef%bc%8f", "%c0%ae%c0%ae/", "..%00/", "..%09/", "/", "%2f", "//"),
)
TARGETS = (SECRET, DATABASE, "etc/passwd", "etc%2fpasswd")
TRAVERSALS = [step * depth + target for step, depth, target in product(STEPS, (1, 3, 8), TARGETS)]
REFUSED = {400, 401, 403, 404, 405}


@pytest.mark.parametrize("begin", ["/images/", "/generations/", "/models/", "/"])
def test_no_path_leads_out(shared: Pair, begin: str) -> None:
    """Of 252 ways to write `..` none is answered with a file: each is refused in the envelope."""
    assert len(TRAVERSALS) >= 200
    secret = (shared.gateway.data_dir / SECRET).read_bytes()
    links = Links(shared.gateway.url, [secret], 3600)
    statuses = set()
    for traversal in TRAVERSALS:
        query = urlsplit(links.make(unquote(traversal).replace("?", ""), now())).query
        path = f"{begin}{traversal}?{query}"
        answer = exchange(
            shared.gateway.port, request(f"Authorization: {shared.key}", method="GET", path=path, length=False)
        )
        statuses.add(answer.status)
        assert answer.envelope.keys() == {"code", "msg"}, path
        assert secret not in answer.body
    print(f"{len(TRAVERSALS)} traversals under {begin}: statuses {sorted(statuses)}")
    assert statuses <= REFUSED


def test_every_altered_character_of_a_link_is_noticed(shared: Pair) -> None:
    """Whichever character of a working link is changed, the link works no more."""
    link = shared.post("to be altered").json()["data"][0]["image"]
    assert shared.gateway.http.get(link).status_code == 200
    parts = urlsplit(link)
    path = f"{parts.path}?{parts.query}"
    for at in range(len("/images/"), len(path)):
        altered = path[:at] + ("0" if path[at] != "0" else "1") + path[at + 1 :]
        answer = exchange(shared.gateway.port, request(method="GET", path=altered, length=False))
        assert (answer.status, answer.envelope["code"]) == (403, -1), altered
