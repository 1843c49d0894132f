"""Every fault, as a client meets it, and what it costs."""

import base64
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image, UnidentifiedImageError

from gateway.simulator import FAULTS, SimulatorConfig

GEMINI = {"model": "gemini-2.5-flash-image"}


@pytest.fixture
def noise() -> Iterator[list[str]]:
    """What the server reports on stderr during the test."""
    reported: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: reported.append(record.getMessage())  # type: ignore[method-assign]  # it is this one's
    logger = logging.getLogger("uvicorn.error")
    logger.addHandler(handler)
    try:
        yield reported
    finally:
        logger.removeHandler(handler)


@pytest.fixture
def fresh(upstream: Any) -> Any:
    """The simulator that all tests share, as if its bill began at nothing."""
    upstream.forget_bill()
    return upstream


def billed(upstream: Any) -> Decimal:
    """Return what the test was billed, in yuan."""
    due: Decimal = upstream.billed()
    return due


@pytest.mark.parametrize(
    ("marker", "status", "expected"),
    [
        ("status=429", 429, {"code": -1, "msg": "Too many requests, slow down"}),
        ("status=500", 500, {"code": -1, "msg": "Internal error"}),
        ("status=503 retry-after=2", 503, {"code": -1, "msg": "Service is busy, try again later"}),
        ("code=429", 200, {"code": 429, "msg": "Too many requests, slow down"}),
        ("code=503 msg-in=message", 200, {"code": 503, "message": "Service is busy, try again later"}),
        ("code=500 string-code", 200, {"code": "500", "msg": "Internal error"}),
        ("refuse", 200, {"code": -1, "msg": "Request Moderated"}),
        ("refuse=内容审核未通过", 200, {"code": -1, "msg": "内容审核未通过"}),
        (
            "status=400 refuse=Invalid width parameter. So it is",
            400,
            {"code": -1, "msg": "Invalid width parameter. So it is"},
        ),
        ("refuse msg-in=error.message", 200, {"code": -1, "error": {"message": "Request Moderated"}}),
        ("key-error", 200, {"code": -1, "msg": "API key is invalid or expired"}),
        ("balance", 200, {"code": -1, "msg": "余额不足"}),
    ],
)
def test_a_complete_error_answer_costs_nothing(fresh: Any, marker: str, status: int, expected: dict[str, Any]) -> None:
    """A refusal or failure that is answered completely is not on the bill."""
    answer = fresh.post(f"a cat [{marker}]")
    assert (answer.status_code, answer.json()) == (status, expected)
    assert answer.headers.get("retry-after") == ("2" if "retry-after" in marker else None)
    assert billed(fresh) == 0


def test_an_error_may_name_a_cost(fresh: Any) -> None:
    """An error body with a cost is billed at that cost."""
    assert fresh.post("[error-cost cost=0.013]").json()["usage"] == {"cost": 0.013}
    assert billed(fresh) == Decimal("0.013")


@pytest.mark.parametrize("marker", ["close", "cut"])
def test_a_broken_connection_is_billed_and_makes_no_noise(fresh: Any, noise: list[str], marker: str) -> None:
    """The client sees the connection end before the answer does; the work is billed, the server's log silent."""
    with pytest.raises(httpx.RemoteProtocolError):
        fresh.post(f"[{marker}]")
    assert billed(fresh) == Decimal("0.04")
    assert fresh.get("/simulator/stats")["open"] == 0
    assert noise == []


def test_a_cut_answer_begins_like_a_whole_one(fresh: Any) -> None:
    """The head and half of the body arrive before the connection ends."""
    body = {"model": "flux-2-pro", "prompt": "[cut]"}
    with fresh.http.stream("POST", "/images/generate", json=body, headers={"Authorization": "secret-one"}) as answer:
        assert answer.status_code == 200
        with pytest.raises(httpx.RemoteProtocolError, match="peer closed connection"):
            answer.read()


def test_silence_ends_when_the_client_leaves(fresh: Any, noise: list[str]) -> None:
    """A silent call stays open for as long as its client, and is billed."""
    with pytest.raises(httpx.ReadTimeout):
        fresh.http.post(
            "/images/generate",
            json={"model": "flux-2-pro", "prompt": "[silence]"},
            headers={"Authorization": "secret-one"},
            timeout=0.2,
        )
    deadline = time.monotonic() + 5
    while fresh.get("/simulator/stats")["open"] > 0:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert billed(fresh) == Decimal("0.04")
    assert noise == []


def test_the_server_stops_in_spite_of_silent_and_slow_calls(serve: Callable[..., Any], noise: list[str]) -> None:
    """Calls that wait on purpose end when the simulator is stopped, within seconds and quietly."""
    with serve(SimulatorConfig(image="none")) as upstream:
        callers = [threading.Thread(target=_ignoring, args=(upstream, text)) for text in ("[silence]", "[delay=600]")]
        for caller in callers:
            caller.start()
        deadline = time.monotonic() + 5
        while upstream.get("/simulator/stats")["open"] < 2:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        begun = time.monotonic()
    assert time.monotonic() - begun < 5
    for caller in callers:
        caller.join(5)
        assert not caller.is_alive()
    assert noise == []


def _ignoring(upstream: Any, prompt: str) -> None:
    try:
        httpx.post(
            f"{upstream.url}/images/generate",
            json={"model": "flux-2-pro", "prompt": prompt},
            headers={"Authorization": "secret-one"},
            timeout=20,
            trust_env=False,
        )
    except httpx.TransportError:
        return  # the silent call ends so


@pytest.mark.parametrize("marker", ["silence", "cut"])
def test_work_may_be_given_away(fresh: Any, marker: str) -> None:
    """`unbilled` keeps a withheld answer off the bill."""
    with pytest.raises(httpx.TransportError):
        fresh.http.post(
            "/images/generate",
            json={"model": "flux-2-pro", "prompt": f"[{marker} unbilled]"},
            headers={"Authorization": "secret-one"},
            timeout=0.3,
        )
    assert billed(fresh) == 0


def test_garbage_is_billed(fresh: Any) -> None:
    """An HTML page with 200 hides paid work."""
    answer = fresh.post("[garbage]")
    assert (answer.status_code, answer.text[:6]) == (200, "<html>")
    assert billed(fresh) == Decimal("0.04")


def test_garbage_with_a_failed_status_is_free(fresh: Any) -> None:
    """An HTML page with 502 is a failure."""
    answer = fresh.post("[garbage status=502]")
    assert (answer.status_code, answer.text[:6]) == (502, "<html>")
    assert billed(fresh) == 0


def test_deep_json_is_20000_levels_deep(fresh: Any) -> None:
    """The body is JSON that no careless parser survives."""
    with pytest.raises(RecursionError):
        json.loads(fresh.post("[deep]").content)


def test_a_huge_body_has_no_length(fresh: Any) -> None:
    """So many megabytes arrive, unannounced."""
    answer = fresh.post("[huge=3]")
    assert "content-length" not in answer.headers
    assert len(answer.json()["data"][0]["image"]) == 3 * 1024 * 1024


def test_a_dripping_body_is_whole(fresh: Any) -> None:
    """A body may take its time and still be a success."""
    begun = time.monotonic()
    assert fresh.post("[drip=0.2]").json()["code"] == 0
    assert time.monotonic() - begun >= 0.15


@pytest.mark.parametrize(("marker", "status"), [("success-500", 500), ("status=201", 201)])
def test_a_success_may_have_any_status(fresh: Any, marker: str, status: int) -> None:
    """A full success body comes with an odd HTTP status, and is billed."""
    answer = fresh.post(f"[{marker}]")
    assert (answer.status_code, answer.json()["code"]) == (status, 0)
    assert billed(fresh) == Decimal("0.04")


def test_the_answer_may_have_another_shape(fresh: Any) -> None:
    """Code as text, data as one object, the address in `url`, no type."""
    body = fresh.post("[string-code single-object url-key no-type model=flux-2-pro-preview]").json()
    assert (body["code"], body["model"]) == ("0", "flux-2-pro-preview")
    assert body["data"].keys() == {"url", "mimeType", "revised_prompt"}


def test_the_number_of_images_may_differ(fresh: Any) -> None:
    """Three images, or none, or one good and one null; each produced image is billed, an empty answer like one."""
    assert len(fresh.post("[images=3]").json()["data"]) == 3
    assert billed(fresh) == Decimal("0.12")
    assert fresh.post("[no-images]").json()["data"] == []
    assert billed(fresh) == Decimal("0.16")
    partial = fresh.post("[partial]").json()
    assert (len(partial["data"]), partial["data"][1], partial["usage"]["images_failed"]) == (2, None, 1)
    assert billed(fresh) == Decimal("0.20")


@pytest.mark.parametrize(
    ("cost", "sent", "due"),
    [
        ("0.05", "0.05", "0.05"),
        ("0", "0", "0"),
        ("5e-2", "5e-2", "0.05"),
        ("0.0000001", "0.0000001", "0.000001"),
        ('"0.03"', '"0.03"', "0.03"),
        ("abc", '"abc"', "0.04"),
        ("-1", "-1", "0.04"),
        ("NaN", "NaN", "0.04"),
        ("true", "true", "0.04"),
        ("null", "null", "0.04"),
        ("4.01", "4.01", "0.04"),
        ("1e999999999", "1e999999999", "0.04"),
    ],
)
def test_the_cost_is_sent_to_the_letter(fresh: Any, cost: str, sent: str, due: str) -> None:
    """Any JSON can be the cost; a sane one is billed, and the price in place of any other."""
    assert f'"cost":{sent},' in fresh.post(f"[cost={cost}]").text
    assert billed(fresh) == Decimal(due)


def test_usage_may_be_missing(fresh: Any) -> None:
    """The price is billed all the same."""
    assert "usage" not in fresh.post("[no-usage]").json()
    assert billed(fresh) == Decimal("0.04")


def test_base64_may_have_other_forms(fresh: Any) -> None:
    """A data: prefix, no padding, lines, another member: for Flux too."""
    assert fresh.post("[data-prefix]", **GEMINI).json()["data"][0]["image"].startswith("data:image/png;base64,iVBOR")
    assert "\n" in fresh.post("[wrapped]").json()["data"][0]["image"]
    item = fresh.post("[b64_json]").json()["data"][0]
    assert item.keys() == {"b64_json"}
    Image.open(BytesIO(base64.b64decode(item["b64_json"], validate=True))).load()
    unpadded = [fresh.post("[unpadded images=3]", **GEMINI).json()["data"][index]["image"] for index in range(3)]
    assert not any(text.endswith("=") for text in unpadded)


def test_an_image_may_be_none(fresh: Any) -> None:
    """The bytes of a bad image cannot be opened, in either form."""
    with pytest.raises(UnidentifiedImageError):
        Image.open(BytesIO(fresh.image(fresh.post("[bad-image]")).content))
    text = fresh.post("[bad-image]", **GEMINI).json()["data"][0]["image"]
    with pytest.raises(UnidentifiedImageError):
        Image.open(BytesIO(base64.b64decode(text)))


def test_the_media_type_may_be_wrong(fresh: Any) -> None:
    """JPEG bytes are called image/png, in either form."""
    item = fresh.post("[wrong-mime]", **GEMINI).json()["data"][0]
    assert item["mimeType"] == "image/png"
    assert Image.open(BytesIO(base64.b64decode(item["image"]))).format == "JPEG"
    served = fresh.image(fresh.post("[wrong-mime]"))
    assert served.headers["content-type"] == "image/png"
    assert Image.open(BytesIO(served.content)).format == "JPEG"


def test_links_may_fail(fresh: Any) -> None:
    """A link may be denied, expired from the start, or late; the image is billed."""
    assert fresh.image(fresh.post("[bad-link]")).status_code == 403
    assert fresh.image(fresh.post("[expired-link]")).status_code == 410
    begun = time.monotonic()
    assert fresh.image(fresh.post("[slow-link=0.1]")).status_code == 200
    assert time.monotonic() - begun >= 0.1
    assert billed(fresh) == Decimal("0.12")


def test_a_fault_may_pass(fresh: Any) -> None:
    """With `times` a client that tries again gets its image; another prompt is counted by itself."""
    answers = [fresh.post("[times=2 status=429] a").status_code for _ in range(4)]
    assert answers == [429, 429, 200, 200]
    assert fresh.post("[times=2 status=429] b").status_code == 429


def test_a_marker_that_cannot_be_read_is_refused(fresh: Any) -> None:
    """A slip in a marker is told, not ignored."""
    for prompt in ("[status=abc]", "[status]", "[cut=1]", "[delay=-1]", "[cut nonsense]", "[msg-in=x refuse]"):
        assert fresh.post(prompt).status_code == 400, prompt
    assert fresh.post("[a cat] in [brackets] [ ] [[x]]").status_code == 200


def test_rules_of_a_file_come_first_and_are_read_again(start: Callable[..., Any], tmp_path: Path) -> None:
    """The first fitting rule decides; a new version of the file takes effect, a broken one does not."""
    path = tmp_path / "faults.json"
    rules: list[dict[str, Any]] = [
        {"match": {"account": 1}, "fault": {"status": 503}},
        {"match": {"prompt_contains": "cat", "nth": 2}, "fault": {"refuse": "no cats", "status": 400}},
        {"match": {"model": "gemini-2.5-flash-image"}, "times": 1, "fault": {"cost": "free"}},
    ]
    path.write_text(json.dumps(rules))
    upstream = start(keys=("one", "two"), faults_path=path, image="none")
    assert [upstream.post("a", key=key).status_code for key in ("one", "two")] == [200, 503]
    assert [upstream.post("a cat [status=500]", key="one").status_code for _ in range(3)] == [500, 400, 500]
    costs = [upstream.post("a", key="one", **GEMINI).json()["usage"]["cost"] for _ in range(2)]
    assert costs == ["free", 0.02]
    path.write_text('[{"fault": {"status": 429}}')
    assert upstream.post("a", key="two").status_code == 503
    path.write_text('[{"fault": {"status": 429}}]')
    assert upstream.post("a", key="one").status_code == 429
    path.unlink()
    assert upstream.post("a", key="two").status_code == 200


@pytest.mark.parametrize("name", sorted(FAULTS))
def test_every_fault_is_described(name: str) -> None:
    """Each has one line, which begins with its form if it takes a value."""
    assert FAULTS[name]
    assert "\n" not in FAULTS[name]
