"""When images are not kept: by choice, or because the store fails after upstream has been paid."""

import base64
import hashlib
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gateway.data_dir import IMAGES, SPOOL
from tests.servers.pair import Pair
from tests.servers.process import wait_until


def test_without_a_store_images_pass_as_upstream_sent_them(fresh: Callable[..., Pair]) -> None:
    """With GATEWAY_STORAGE_URL=none a link is upstream's own and Base64 stays Base64; the money is the same."""
    both = fresh(storage_url="none")
    answer = both.post()
    (image,) = answer.json()["data"]
    assert image["image"].startswith(both.simulator.url)
    assert "x-image-kept" not in answer.headers
    (image,) = both.post(model="gemini-2.5-flash-image").json()["data"]
    drawn = both.simulator.bill()[-1].images[0].sha256
    assert hashlib.sha256(base64.b64decode(image["image"], validate=True)).hexdigest() == drawn
    assert both.settled() == both.simulator.bill_total()
    assert not (both.gateway.data_dir / IMAGES).exists()


def break_store(both: Pair) -> Path:
    """Put a file where the store's directory is; return it: once it is removed, the store works again."""
    directory = both.gateway.data_dir / IMAGES
    if directory.exists():
        shutil.rmtree(directory)
    directory.write_text("a file where the directory was")
    return directory


def ready(both: Pair) -> tuple[int, str, list[str]]:
    """Return what readiness says: its status, its word, and what is degraded."""
    answer = both.gateway.http.get("/readyz")
    return answer.status_code, answer.json()["status"], answer.json()["degraded"]


READY: tuple[int, str, list[str]] = (200, "ready", [])
DEGRADED = (200, "ready", ["images"])
FULL = (503, "images cannot be kept", ["images"])


def test_a_store_that_fails_costs_nobody_the_image(fresh: Callable[..., Pair]) -> None:
    """What cannot be stored waits in the spool: it is kept, named, served in each form, and stored later."""
    both = fresh()
    assert both.post().status_code == 200
    assert ready(both) == READY
    in_the_way = break_store(both)
    answer = both.post(headers={"Idempotency-Key": "first"})
    assert (answer.status_code, answer.headers["x-image-kept"]) == (200, "pending")
    link = answer.json()["data"][0]["image"]
    assert link.startswith(both.gateway.url)
    drawn = both.simulator.bill()[-1].images[0].sha256
    assert hashlib.sha256(both.gateway.http.get(link).content).hexdigest() == drawn
    for form in ("url", "base64"):
        again = both.post(headers={"Idempotency-Key": "first", "X-Image-Format": form})
        assert (again.headers["idempotent-replayed"], again.headers["x-image-kept"]) == ("true", "pending")
        (image,) = again.json()["data"]
        shown = both.gateway.http.get(image["image"]).content if form == "url" else base64.b64decode(image["image"])
        assert hashlib.sha256(shown).hexdigest() == drawn
    assert both.post("edit it", input_image=link).status_code == 200
    wait_until(lambda: ready(both) == DEGRADED, "readiness to tell")
    spool = both.gateway.http.get("/readyz").json()["spool"]
    assert (spool["waits_because"], spool["images"]) == ("no such bucket or directory", 2)
    assert both.gateway.metric("gateway_spool_images") == 2
    assert both.gateway.metric("gateway_spool_bytes") == spool["bytes"] > 0
    assert both.gateway.metric("gateway_keep_failures_total") == 0

    in_the_way.unlink()
    wait_until(lambda: ready(both) == READY, "the store to be noticed")
    wait_until(lambda: both.gateway.metric("gateway_spool_images") == 0, "the images to be stored")
    assert [path for path in (both.gateway.data_dir / SPOOL).rglob("*") if path.is_file()] == []
    (record,) = both.gateway.rows("SELECT * FROM images WHERE sha256 = ?", drawn)
    stored = next((both.gateway.data_dir / IMAGES).rglob(record["name"]))
    assert hashlib.sha256(stored.read_bytes()).hexdigest() == drawn
    answer = both.post(headers={"Idempotency-Key": "first"})
    assert "x-image-kept" not in answer.headers
    assert hashlib.sha256(both.gateway.http.get(link).content).hexdigest() == drawn
    assert both.settled() == both.simulator.bill_total()
    assert both.gateway.held() == 0


def test_a_full_spool_begins_nothing(fresh: Callable[..., Pair]) -> None:
    """With the store away and no room for what would come, a generation is 503 before anything is reserved or sent."""
    both = fresh(spool_mib="64")
    in_the_way = break_store(both)
    assert both.post().headers["x-image-kept"] == "pending"
    filler = both.gateway.data_dir / SPOOL / "00" / f"{'0' * 32}.png"
    filler.parent.mkdir()
    with filler.open("wb") as file:
        file.truncate(61 << 20)
    wait_until(lambda: ready(both) == FULL, "the spool to be found full")
    with both.untouched():
        refused = both.post()
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "10")
    assert refused.json() == {"code": -1, "msg": "Images cannot be kept at the moment"}
    filler.unlink()
    in_the_way.unlink()
    wait_until(lambda: ready(both) == READY, "the store to be noticed")
    assert both.post().status_code == 200


@pytest.mark.parametrize("model", ["flux-2-pro", "gemini-2.5-flash-image"])
def test_with_the_spool_failing_too_the_caller_gets_what_was_paid(fresh: Callable[..., Pair], model: str) -> None:
    """What ran when both failed is given as upstream sent it, marked and counted as not kept; then nothing begins."""
    both = fresh()
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(both.post, "[delay=1]", model=model)
        wait_until(lambda: bool(both.simulator.stats()["open"] == 1), "the call to be upstream")
        in_the_way = break_store(both)
        spool = both.gateway.data_dir / SPOOL
        spool.write_text("a file here too")
        answer = running.result()
    assert (answer.status_code, answer.headers["x-image-kept"]) == (200, "no")
    (image,) = answer.json()["data"]
    if image["type"] == "url":
        assert image["image"].startswith(both.simulator.url)
        content = both.gateway.http.get(image["image"]).content
    else:
        content = base64.b64decode(image["image"], validate=True)
    drawn = both.simulator.bill()[-1].images[0].sha256
    assert hashlib.sha256(content).hexdigest() == drawn
    assert both.gateway.metric("gateway_keep_failures_total", cause="store") == 1
    with both.untouched():
        assert both.post().status_code == 503
    spool.unlink()
    wait_until(lambda: ready(both) == DEGRADED, "the spool to be noticed")
    assert both.post().headers["x-image-kept"] == "pending"
    in_the_way.unlink()
    assert both.settled() == both.simulator.bill_total()
    assert both.gateway.held() == 0


def test_beside_other_hosts_a_pending_image_is_given_as_upstream_sent_it(fresh: Callable[..., Pair]) -> None:
    """A link to this host's spool would not work at another's: the first reply has upstream's own link, or Base64."""
    both = fresh(replicas="2")
    break_store(both)
    for model, kind in (("flux-2-pro", "url"), ("gemini-2.5-flash-image", "base64")):
        answer = both.post(model=model)
        assert (answer.status_code, answer.headers["x-image-kept"]) == (200, "pending")
        (image,) = answer.json()["data"]
        assert (image["type"], image["image"].startswith(both.simulator.url)) == (kind, kind == "url")


def test_a_kept_image_that_another_host_has_is_not_said_not_to_exist(fresh: Callable[..., Pair]) -> None:
    """An image of the ledger's that is in neither place here is 503, as a link, as bytes and as a reference."""
    both = fresh()
    answer = both.post(headers={"Idempotency-Key": "first"})
    link = answer.json()["data"][0]["image"]
    shutil.rmtree(both.gateway.data_dir / IMAGES)  # as if it waited in the spool of another host
    with both.untouched():
        for refused in (
            both.gateway.http.get(link),
            both.post(headers={"Idempotency-Key": "first", "X-Image-Format": "base64"}),
            both.post("edit it", input_image=link),
        ):
            assert (refused.status_code, int(refused.headers["retry-after"]) > 0) == (503, True)


def test_links_survive_a_restart(fresh: Callable[..., Pair]) -> None:
    """The secret and the images are in the data directory, so a link works in the next process too."""
    both = fresh()
    url = both.post().json()["data"][0]["image"]
    before = both.gateway.http.get(url).content
    assert both.gateway.stop() == 0
    both.gateway.begin()
    assert both.gateway.http.get(url).content == before
