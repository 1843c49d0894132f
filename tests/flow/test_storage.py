"""When images are not kept: by choice, or because the store fails after upstream has been paid."""

import base64
import hashlib
import shutil
from collections.abc import Callable

from gateway.data_dir import IMAGES
from tests.servers.pair import Pair


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


def test_a_store_that_fails_does_not_cost_the_caller_the_image(fresh: Callable[..., Pair]) -> None:
    """What cannot be stored is passed on as upstream sent it, marked as not kept, paid, and counted."""
    both = fresh()
    assert both.post().status_code == 200
    directory = both.gateway.data_dir / IMAGES
    shutil.rmtree(directory)
    directory.write_text("a file where the directory was")
    answer = both.post()
    assert (answer.status_code, answer.headers["x-image-kept"]) == (200, "no")
    (image,) = answer.json()["data"]
    assert image["image"].startswith(both.simulator.url)
    drawn = both.simulator.bill()[-1].images[0].sha256
    assert hashlib.sha256(both.gateway.http.get(image["image"]).content).hexdigest() == drawn
    assert both.gateway.metric("gateway_keep_failures_total", cause="store") == 1
    assert both.settled() == both.simulator.bill_total()
    assert both.gateway.held() == 0
    directory.unlink()
    answer = both.post()
    assert "x-image-kept" not in answer.headers
    assert answer.json()["data"][0]["image"].startswith(both.gateway.url)


def test_links_survive_a_restart(fresh: Callable[..., Pair]) -> None:
    """The secret and the images are in the data directory, so a link works in the next process too."""
    both = fresh()
    url = both.post().json()["data"][0]["image"]
    before = both.gateway.http.get(url).content
    assert both.gateway.stop() == 0
    both.gateway.begin()
    assert both.gateway.http.get(url).content == before
