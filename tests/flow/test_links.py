"""Who serves links, for how long they work, and what survives a new secret."""

import base64
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from tests.servers.gateway import describe
from tests.servers.pair import Pair
from tests.servers.seaweedfs import S3Server
from tests.servers.simulator import launched

IM4 = "Invalid input_image parameter. The URL must be publicly reachable"


@contextmanager
def on_s3(directory: Path, s3: S3Server, **settings: str) -> Iterator[Pair]:
    """Run a pair that keeps images in a folder of the bucket."""
    with launched(directory / "upstream") as upstream:
        store = f"s3://{s3.bucket}/{directory.name}"
        one = describe(directory / "gateway", upstream=upstream.url, keys=upstream.keys, storage_url=store, **settings)
        one.environment |= s3.environ
        try:
            one.begin()
            upstream.await_ready()
            yield Pair(one, upstream, one.tenant("team"))
        finally:
            one.end()


def drawn(both: Pair) -> str:
    """Return the digest of what upstream drew last."""
    return both.simulator.bill()[-1].images[0].sha256


def fetched(url: str) -> tuple[int, str]:
    """Fetch, as a browser would; return status and digest."""
    answer = httpx.get(url, trust_env=False)
    return answer.status_code, hashlib.sha256(answer.content).hexdigest()


def sent_reference(both: Pair) -> str:
    """Return what upstream was sent as input_image last."""
    return str(both.simulator.calls()[-1]["body"]["input_image"])


def test_the_store_serves_presigned_links(tmp_path: Path, s3: S3Server) -> None:
    """Links lead to the store itself, afresh for each reply, for no longer than a week; they are references too."""
    with on_s3(tmp_path, s3, links="presigned") as both:
        asked = {"seed": 3, "headers": {"Idempotency-Key": "k"}}
        replies = [both.post(**asked), both.post(**asked), both.post(seed=3)]  # type: ignore[arg-type]  # they differ
        assert "hit" in replies[2].headers["cache-status"]
        links = [reply.json()["data"][0]["image"] for reply in replies]
        for link in links:
            assert link.startswith(f"{s3.endpoint}/{s3.bucket}/{tmp_path.name}/")
            assert "X-Amz-Expires=604800" in link
            assert fetched(link) == (200, drawn(both))
        key = both.gateway.tenant("for-ever", link_ttl="none")
        ever = both.gateway.post(key).json()["data"][0]["image"]
        assert "X-Amz-Expires=604800" in ever
        short = both.gateway.post(both.gateway.tenant("short", link_ttl="60")).json()["data"][0]["image"]
        assert "X-Amz-Expires=60&" in short

        assert both.post(input_image=links[0]).status_code == 200
        assert not sent_reference(both).startswith("http"), "upstream got the bytes"
        with both.untouched():
            for stranger in (ever, f"{s3.endpoint}/{s3.bucket}/{tmp_path.name}/gateway-check"):
                refused = both.post(input_image=stranger)
                assert (refused.status_code, refused.json()["msg"]) == (400, IM4)
        generation = replies[0].headers["x-generation-id"]
        erased = both.gateway.http.delete(f"/generations/{generation}", headers={"Authorization": both.key})
        assert erased.status_code == 204
        assert fetched(links[0])[0] == 404
        refused = both.post(input_image=links[0])
        assert (refused.status_code, refused.json()["msg"]) == (400, IM4)


def test_links_may_be_public(tmp_path: Path, s3: S3Server) -> None:
    """With GATEWAY_LINKS=public a link is the given URL and the name; earlier links of the gateway work on."""
    base = "https://cdn.example/pictures"
    with on_s3(tmp_path, s3) as both:
        before = both.post().json()["data"][0]["image"]
        assert both.gateway.stop() == 0
        both.gateway.environment |= {"GATEWAY_LINKS": "public", "GATEWAY_LINKS_URL": f"{base}/"}
        both.gateway.begin()
        assert both.gateway.http.get(before).status_code == 200
        link = both.post().json()["data"][0]["image"]
        name = link.removeprefix(f"{base}/")
        assert both.gateway.rows("SELECT name FROM images WHERE name = ?", name) == [{"name": name}]
        for own in (before, link):
            assert both.post(input_image=own).status_code == 200
            assert not sent_reference(both).startswith("http")
        other = both.gateway.post(both.gateway.tenant("other")).json()["data"][0]["image"]
        with both.untouched():
            for stranger in (other, f"{base}/{'0' * 32}.png", f"{base}/logo.png"):
                refused = both.post(input_image=stranger)
                assert (refused.status_code, refused.json()["msg"]) == (400, IM4)
        assert both.post(input_image="https://cdn.example/other.png").status_code == 200
        assert sent_reference(both) == "https://cdn.example/other.png"


def test_a_link_without_an_end_is_cached_for_a_year(shared: Pair) -> None:
    """`--link-ttl none` gives a link that says so, and browsers may keep the image; another end cannot be put in."""
    done = shared.gateway.cli("tenant", "create", "endless", "--link-ttl", "none")
    assert done.returncode == 0, done.stderr
    link = shared.gateway.post(shared.gateway.key("endless")).json()["data"][0]["image"]
    assert "?e=never&s=" in link
    served = shared.gateway.http.get(link)
    assert (served.status_code, served.headers["cache-control"]) == (200, "private, max-age=31536000, immutable")
    assert shared.gateway.http.get(link.replace("e=never", "e=99999999999")).status_code == 403
    mortal = shared.post().json()["data"][0]["image"]
    path, _, query = mortal.partition("?")
    assert shared.gateway.http.get(f"{path}?e=never&{query.partition('&')[2]}").status_code == 403
    shown = shared.gateway.cli("tenant", "update", "endless", "--link-ttl", "soon")
    assert (shown.returncode, "or none" in shown.stderr) == (1, True)


def test_a_new_secret_breaks_nothing_while_the_old_one_is_listed(tmp_path: Path, s3: S3Server) -> None:
    """Keys and links of before work as long as their secret is listed; new links are signed with the newest."""
    old, new = (hashlib.sha256(name.encode()).hexdigest() for name in ("old", "new"))
    with on_s3(tmp_path, s3, secret=old) as both:
        link, gateway = both.post(seed=1).json()["data"][0]["image"], both.gateway

        def restart(secret: str) -> None:
            assert gateway.stop() == 0
            gateway.environment["GATEWAY_SECRET"] = secret
            gateway.begin()

        restart(f"{new},{old}")
        assert gateway.http.get(link).status_code == 200
        again = both.post(seed=2)
        assert again.status_code == 200, "the key of before"
        assert both.post(input_image=link).status_code == 200, "a reference of before"
        younger, key = again.json()["data"][0]["image"], gateway.key("team")
        restart(new)
        assert [gateway.http.get(one).status_code for one in (link, younger)] == [403, 200]
        assert [gateway.post(one).status_code for one in (both.key, key)] == [401, 200]


@pytest.mark.parametrize("model", ["flux-2-pro", "gemini-2.5-flash-image"])
def test_a_repeat_comes_in_the_form_that_it_asks_for(shared: Pair, model: str) -> None:
    """A hit and a replay are given as link, as bytes from the store, or as upstream sent it, whatever the first was."""
    members = {"model": model} | ({"seed": 77} if model == "flux-2-pro" else {})
    key = shared.gateway.tenant(f"forms-{model}", cache="all")
    first = shared.gateway.post(key, {"Idempotency-Key": "k"}, **members)
    assert first.status_code == 200
    digest = drawn(shared)
    for form in ("url", "base64", "upstream"):
        hit = shared.gateway.post(key, {"X-Image-Format": form}, **members)
        replay = shared.gateway.post(key, {"X-Image-Format": form, "Idempotency-Key": "k"}, **members)
        assert "hit" in hit.headers["cache-status"]
        assert replay.headers["idempotent-replayed"] == "true"
        for answer in (hit, replay):
            (image,) = answer.json()["data"]
            linked = form == "url" or (form == "upstream" and model == "flux-2-pro")
            assert image["type"] == ("url" if linked else "base64")
            content = shared.gateway.http.get(image["image"]).content if linked else base64.b64decode(image["image"])
            assert hashlib.sha256(content).hexdigest() == digest
            assert not linked or urlsplit(image["image"]).netloc == urlsplit(shared.gateway.url).netloc
