"""Kept images: a link serves exactly what upstream drew, safely, for as long as it says."""

import base64
import hashlib
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from gateway.clock import now
from gateway.data_dir import SECRET
from gateway.images.links import Links
from tests.servers.pair import Pair

FLUX, GEMINI = "flux-2-pro", "gemini-2.5-flash-image"


def link(both: Pair, **members: Any) -> str:
    """Make an image; return its link."""
    answer = both.post(**members)
    assert answer.status_code == 200, answer.text
    found: str = answer.json()["data"][0]["image"]
    return found


def get(both: Pair, url: str, method: str = "GET", **headers: str) -> httpx.Response:
    """Fetch, as somebody without a key."""
    return both.gateway.http.request(method, url, headers={name.replace("_", "-"): headers[name] for name in headers})


def links_of(both: Pair, ttl: int = 3600) -> Links:
    """Make links as the gateway does, with its secret."""
    secret = (both.gateway.data_dir / SECRET).read_bytes()
    return Links(both.gateway.url, [secret], ttl)


@pytest.mark.parametrize("members", [{}, {"output_format": "png"}, {"model": GEMINI}], ids=["jpeg", "png", "base64"])
def test_a_link_serves_the_very_bytes_that_upstream_drew(shared: Pair, members: dict[str, object]) -> None:
    """Whether upstream sent a link or Base64, what the gateway's link serves is what upstream billed, byte for byte."""
    served = get(shared, link(shared, **members))
    drawn = shared.simulator.bill()[-1].images[0]
    assert (hashlib.sha256(served.content).hexdigest(), len(served.content)) == (drawn.sha256, drawn.size)
    assert served.headers["content-type"] == ("image/jpeg" if members == {} else "image/png")
    assert served.headers["content-length"] == str(drawn.size)


def test_an_image_can_be_read_by_any_page_and_is_never_a_page_itself(shared: Pair) -> None:
    """The link is the permission, so any origin may fetch it; the type is not guessed and nothing in it is run."""
    headers = get(shared, link(shared), Origin="https://app.example").headers
    assert headers["access-control-allow-origin"] == "*"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["content-security-policy"] == "default-src 'none'; sandbox"
    assert headers["cross-origin-resource-policy"] == "cross-origin"
    assert headers["cache-control"].startswith("private, max-age=")
    assert "set-cookie" not in headers


def test_a_known_image_is_not_sent_again(shared: Pair) -> None:
    """If-None-Match with its ETag, weak or among others, is 304 without a body; another validator is 200."""
    url = link(shared)
    etag = get(shared, url).headers["etag"]
    for value in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        answer = get(shared, url, If_None_Match=value)
        assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", etag)
    assert get(shared, url, If_None_Match='"other"').status_code == 200


def test_a_part_of_an_image_can_be_had(shared: Pair) -> None:
    """One byte range is 206 with its bytes; one beyond the end is 416 with the size; what is no range is all of it."""
    url = link(shared)
    whole = get(shared, url).content
    size = len(whole)
    for asked, part in (
        ("bytes=0-9", whole[:10]),
        ("bytes=10-", whole[10:]),
        ("bytes=-5", whole[-5:]),
        (f"bytes=5-{size * 2}", whole[5:]),
        (f"bytes=-{size * 2}", whole),
    ):
        answer = get(shared, url, Range=asked)
        assert (answer.status_code, answer.content) == (206, part)
        start = size - len(part) if asked != "bytes=0-9" else 0
        assert answer.headers["content-range"] == f"bytes {start}-{start + len(part) - 1}/{size}"
    for asked in (f"bytes={size}-", "bytes=99999999-100000000", "bytes=-0"):
        answer = get(shared, url, Range=asked)
        assert (answer.status_code, answer.headers["content-range"]) == (416, f"bytes */{size}")
        assert answer.json()["code"] == -1
    for asked in ("bytes=0-1,5-6", "bytes=5-2", "lines=1-2", "bytes=-", "bytes=x-y"):
        assert get(shared, url, Range=asked).content == whole
    assert get(shared, url, Range="bytes=0-9", If_Range='"other"').content == whole


def test_head_tells_everything_but_the_bytes(shared: Pair) -> None:
    """HEAD has the headers of GET, the length among them."""
    url = link(shared)
    full, head = get(shared, url), get(shared, url, "HEAD")
    assert (head.status_code, head.content) == (200, b"")
    for name in ("content-length", "content-type", "etag", "access-control-allow-origin"):
        assert head.headers[name] == full.headers[name]


def test_a_page_may_ask_for_ranges(shared: Pair) -> None:
    """The preflight of a browser's request for a part of an image is answered."""
    answer = get(shared, link(shared), "OPTIONS", Origin="https://app.example", Access_Control_Request_Method="GET")
    assert answer.status_code == 204
    assert "GET" in answer.headers["access-control-allow-methods"]
    assert "Range" in answer.headers["access-control-allow-headers"]


def test_an_altered_link_is_refused(shared: Pair) -> None:
    """Another name, expiry or signature, a missing part, a link of nobody's: 403 in the envelope, for pages to read."""
    url = link(shared)
    parts = urlsplit(url)
    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    other = urlsplit(link(shared)).path
    for path, expiry, signature in (
        (other, query["e"], query["s"]),
        (parts.path, str(int(query["e"]) + 3600), query["s"]),
        (parts.path, query["e"] + "0", query["s"]),
        (parts.path, query["e"], query["s"][:-1] + ("A" if query["s"][-1] != "A" else "B")),
        (parts.path, query["e"], ""),
        (parts.path, "", query["s"]),
        (parts.path, "9" * 30, query["s"]),
        (parts.path, query["e"], "é"),
    ):
        answer = get(shared, str(httpx.URL(path, params={"e": expiry, "s": signature})))
        assert (answer.status_code, answer.json()) == (403, {"code": -1, "msg": "The link is invalid or expired"})
        assert answer.headers["access-control-allow-origin"] == "*"
    assert get(shared, parts.path).status_code == 403


def test_an_expired_link_is_refused(shared: Pair) -> None:
    """A link signed for a time that is over is 403 like any other that does not work."""
    name = urlsplit(link(shared)).path.rpartition("/")[2]
    long_ago = now() - 3 * 3600 * 1000
    assert get(shared, links_of(shared).make(name, long_ago)).status_code == 403
    assert get(shared, links_of(shared).make(name, now())).status_code == 200


def test_a_link_signed_with_another_secret_is_refused(shared: Pair) -> None:
    """Whoever does not have the secret cannot make a link."""
    name = urlsplit(link(shared)).path.rpartition("/")[2]
    assert get(shared, Links(shared.gateway.url, [b"x" * 64], 3600).make(name, now())).status_code == 403


@pytest.mark.parametrize("name", [f"{'0' * 32}.png", "../secret", "nothing", "x" * 300])
def test_a_good_link_to_nothing_is_not_found(shared: Pair, name: str) -> None:
    """A well signed link to an image that is not there is 404, and leads out of the directory nowhere."""
    answer = get(shared, links_of(shared).make(name, now()))
    assert answer.status_code in ((404,) if "/" not in name else (403, 404))
    assert answer.json()["code"] == -1


def test_a_links_life_is_the_tenants(shared: Pair) -> None:
    """`--link-ttl` decides how long a link works, rounded up to the hour so that pages can cache it."""
    key = shared.gateway.tenant("short-links", link_ttl="60")
    url = shared.gateway.post(key).json()["data"][0]["image"]
    left = int(parse_qs(urlsplit(url).query)["e"][0]) - now() // 1000
    assert 60 <= left <= 3660


@pytest.mark.parametrize("model", [FLUX, GEMINI])
@pytest.mark.parametrize("form", ["url", "base64", "upstream"])
def test_the_caller_chooses_the_form_of_images(shared: Pair, model: str, form: str) -> None:
    """X-Image-Format gives links, Base64, or what upstream itself would have sent, with the documented members."""
    answer = shared.post(model=model, headers={"X-Image-Format": form})
    (image,) = answer.json()["data"]
    drawn = shared.simulator.bill()[-1].images[0].sha256
    if form == "url" or (form == "upstream" and model == FLUX):
        assert (image["type"], image["mimeType"]) == ("url", None)
        assert hashlib.sha256(get(shared, image["image"]).content).hexdigest() == drawn
    else:
        assert (image["type"], image["revised_prompt"]) == ("base64", None)
        assert image["mimeType"] == ("image/jpeg" if model == FLUX else "image/png")
        assert hashlib.sha256(base64.b64decode(image["image"], validate=True)).hexdigest() == drawn


def test_base64_is_bare_however_upstream_wrote_it(shared: Pair) -> None:
    """A `data:` prefix, line breaks and missing padding of upstream's do not reach the caller."""
    for fault in ("data-prefix", "wrapped", "unpadded", "b64_json"):
        (image,) = shared.post(f"[{fault}]", headers={"X-Image-Format": "base64"}).json()["data"]
        content = base64.b64decode(image["image"], validate=True)
        assert hashlib.sha256(content).hexdigest() == shared.simulator.bill()[-1].images[0].sha256


def test_another_form_is_refused_before_anything_is_paid(shared: Pair) -> None:
    """An unknown X-Image-Format is 400, naming those that there are."""
    with shared.untouched():
        answer = shared.post(headers={"X-Image-Format": "jpeg"})
    assert answer.status_code == 400
    assert answer.json()["msg"] == "Invalid X-Image-Format header. Supported formats: url, base64, upstream"


def test_a_tenant_may_have_another_form_than_links(shared: Pair) -> None:
    """The policy's form holds for its tenant; the header goes before it."""
    key = shared.gateway.tenant("bytes", image_format="base64")
    assert shared.gateway.post(key).json()["data"][0]["type"] == "base64"
    assert shared.gateway.post(key, {"X-Image-Format": "url"}).json()["data"][0]["type"] == "url"
