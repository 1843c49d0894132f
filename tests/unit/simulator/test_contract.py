"""The simulator as a client of the documented API sees it, over HTTP."""

import base64
import hashlib
import json
import zlib
from collections.abc import Callable
from decimal import Decimal
from io import BytesIO
from typing import Any

import httpx
import pytest
from PIL import Image

from gateway.simulator import SimulatorConfig

PNG1 = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
RATIO_TEXT = "Invalid aspect_ratio parameter. Supported ratios: 1:1, 2:3, 3:2, 3:4, 4:5, 5:4, 9:16, 16:9, 21:9"


def opened(image: bytes) -> Image.Image:
    """Decode an image wholly."""
    picture = Image.open(BytesIO(image))
    picture.load()
    return picture


def test_flux_answers_a_link_to_a_real_jpeg(upstream: Any) -> None:
    """A Flux answer has the documented members, and its link serves a JPEG of the size asked for."""
    answer = upstream.post("a quiet lake", width=320, height=160)
    body = answer.json()
    assert answer.status_code == 200
    assert body.keys() == {"code", "data", "model", "provider", "usage"}
    assert (body["code"], body["model"], body["provider"]) == (0, "flux-2-pro", "flux")
    assert body["usage"] == {"cost": 0.04, "images_generated": 1, "images_failed": 0}
    assert body["data"][0]["type"] == "url"
    assert body["data"][0]["mimeType"] is None
    assert isinstance(body["data"][0]["revised_prompt"], str)
    image = upstream.image(answer)
    assert image.headers["content-type"] == "image/jpeg"
    assert (opened(image.content).format, opened(image.content).size) == ("JPEG", (320, 160))


def test_gemini_answers_bare_base64_of_a_png(upstream: Any) -> None:
    """A Gemini answer holds bare Base64 of a PNG in Gemini's own size for the ratio, and no rewritten prompt."""
    body = upstream.post("cat", model="gemini-2.5-flash-image", aspect_ratio="16:9").json()
    item = body["data"][0]
    assert (body["provider"], body["usage"]["cost"]) == ("gemini", 0.02)
    assert (item["type"], item["mimeType"], item["revised_prompt"]) == ("base64", "image/png", None)
    picture = opened(base64.b64decode(item["image"], validate=True))
    assert (picture.format, picture.size) == ("PNG", (1344, 768))


def test_png_is_drawn_when_asked_for(upstream: Any) -> None:
    """Flux draws a PNG if output_format says so."""
    assert opened(upstream.image(upstream.post(output_format="png")).content).format == "PNG"


def test_a_seed_repeats_the_picture(upstream: Any) -> None:
    """The same request with a seed gives the same bytes; another seed, or none, gives others."""
    seeds: list[dict[str, int]] = [{"seed": 7}, {"seed": 7}, {"seed": 8}, {}, {}]
    images = [upstream.image(upstream.post("s", **seed)).content for seed in seeds]
    assert images[0] == images[1]
    assert len({hashlib.sha256(image).digest() for image in images}) == 4


@pytest.mark.parametrize(
    "authorization",
    [
        [],
        [""],
        ["Bearer"],
        ["wrong"],
        ["Bearer wrong"],
        ["Basic secret-one"],
        ["secret-one", "secret-one"],
    ],
)
def test_a_bad_key_is_refused(upstream: Any, authorization: list[str]) -> None:
    """Every wrong way to send a key gets the documented text."""
    headers = [("Authorization", value) for value in authorization]
    answer = upstream.http.post("/images/generate", json={"model": "flux-2-pro", "prompt": "p"}, headers=headers)
    assert (answer.status_code, answer.json()) == (401, {"code": -1, "msg": "API key is invalid or expired"})


@pytest.mark.parametrize("authorization", ["secret-one", "Bearer secret-one", "bearer  secret-one"])
def test_both_forms_of_the_key_are_good(upstream: Any, authorization: str) -> None:
    """The document shows a bare key and `Bearer`."""
    body = {"model": "flux-2-pro", "prompt": "p", "width": 16, "height": 16}
    assert (
        upstream.http.post("/images/generate", json=body, headers={"Authorization": authorization}).status_code == 200
    )


@pytest.mark.parametrize(
    "members",
    [
        {"aspect_ratio": "21:9"},
        {"width": None, "height": None, "seed": None},
        {"width": 512, "height": None},
        {"width": 1024.0},
        {"seed": -1},
        {"seed": 2**64 - 1},
        {"safety_tolerance": 0},
        {"input_image": PNG1, "input_image_8": "https://example.com/a.jpg"},
        {"input_image": "HTTP://example.com/a.jpg", "input_image_2": "Https://example.com/a.jpg"},
        {"width": 65_488, "height": None},
        {"model": "gemini-2.5-flash-image", "width": None, "seed": None},
    ],
)
def test_what_the_document_allows_is_accepted(upstream: Any, members: dict[str, Any]) -> None:
    """Each documented form of a parameter is taken."""
    assert upstream.post(**members).json()["code"] == 0


@pytest.mark.parametrize(
    ("members", "named"),
    [
        ({"model": "nope"}, "model"),
        ({"model": "Flux-2-Pro"}, "model"),
        ({"prompt": "  "}, "prompt"),
        ({"aspect_ratio": None}, "aspect_ratio"),
        ({"width": 100}, "width"),
        ({"width": -16}, "width"),
        ({"height": "64"}, "height"),
        ({"height": True}, "height"),
        ({"width": 1024.5}, "width"),
        ({"width": 1_600_000_000, "height": 1_600_000_000}, "width"),
        ({"width": 65_536}, "width"),
        ({"height": 65_536}, "height"),
        ({"width": 16, "height": 65_536, "output_format": "png"}, "height"),
        ({"seed": 1.5}, "seed"),
        ({"seed": 2**64}, "seed"),
        ({"seed": False}, "seed"),
        ({"safety_tolerance": True}, "safety_tolerance"),
        ({"safety_tolerance": None}, "safety_tolerance"),
        ({"safety_tolerance": 6}, "safety_tolerance"),
        ({"output_format": "jpg"}, "output_format"),
        ({"n": 2}, "n"),
        ({"input_image_9": PNG1}, "input_image_9"),
        ({"input_image": ""}, "input_image"),
        ({"input_image": None}, "input_image"),
        ({"input_image": "not base64 !"}, "input_image"),
        ({"input_image": PNG1[:-1]}, "input_image"),
        ({"input_image": f"{PNG1[:76]}\n{PNG1[76:]}"}, "input_image"),
        ({"input_image": PNG1.replace("+", "-")}, "input_image"),
        ({"input_image": f"data:image/png;base64,{PNG1}"}, "input_image"),
        ({"input_image": "aGVsbG8gd29ybGQ="}, "input_image"),
        ({"input_image_2": "ftp://a/b"}, "input_image_2"),
        ({"input_image": "https://"}, "input_image"),
        ({"model": "gemini-2.5-flash-image", "seed": 1}, "seed"),
        ({"model": "gemini-2.5-flash-image", "safety_tolerance": 2}, "safety_tolerance"),
    ],
)
def test_what_the_document_forbids_is_refused_by_name(upstream: Any, members: dict[str, Any], named: str) -> None:
    """Each violation is a 400 in the envelope whose text names the parameter."""
    body = {"model": "flux-2-pro", "prompt": "p", **members}
    answer = upstream.http.post("/images/generate", json=body, headers={"Authorization": "secret-one"})
    assert answer.status_code == 400
    assert answer.json()["code"] == -1
    assert answer.json()["msg"].startswith(f"Invalid {named} parameter. ")


def test_the_documented_ratio_text_is_exact(upstream: Any) -> None:
    """4:3 is not among the ratios."""
    assert upstream.post(aspect_ratio="4:3").json() == {"code": -1, "msg": RATIO_TEXT}


def png(width: int, height: int) -> str:
    """Encode a PNG whose header claims a size."""
    header = base64.b64decode(PNG1)
    ihdr = b"IHDR" + width.to_bytes(4) + height.to_bytes(4) + header[24:29]
    return base64.b64encode(header[:12] + ihdr + zlib.crc32(ihdr).to_bytes(4) + header[33:]).decode()


def noise() -> str:
    """Encode a PNG of a few kilobytes."""
    encoded = BytesIO()
    Image.effect_noise((40, 40), 80).save(encoded, "PNG")
    return base64.b64encode(encoded.getvalue()).decode()


@pytest.mark.parametrize(("size", "status"), [((5000, 4000), 200), ((4096, 5121), 400), ((100_000, 100_000), 400)])
def test_references_are_at_most_20_megapixels(upstream: Any, size: tuple[int, int], status: int) -> None:
    """A reference is judged by the size in its header; its pixels are never decoded."""
    assert upstream.post(input_image=png(*size)).status_code == status


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b'{"model":"flux-2-pro","prompt":"p",}',
        b'{"model":"flux-2-pro","prompt":"p"} {}',
        b'{"model":"flux-2-pro","prompt":"p","mo\\u0064el":"flux-2-pro"}',
        b'{"model":"flux-2-pro","prompt":"\xff"}',
        '{"model":"flux-2-pro","prompt":"p"}'.encode("utf-16"),
        b"[" * 100_000,
        b'{"model":"flux-2-pro","prompt":"p","seed":NaN}',
        b'{"model":"flux-2-pro","prompt":"p","seed":1e999999999}',
        b'{"model":"flux-2-pro","prompt":"a\\ud800b"}',
        b'{"\\ud800":1}',
    ],
)
def test_a_body_that_is_no_request_is_refused(upstream: Any, body: bytes) -> None:
    """Broken, foreign and ambiguous bodies are a 400 in the envelope."""
    headers = {"Authorization": "secret-one", "Content-Type": "application/json"}
    answer = upstream.http.post("/images/generate", content=body, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (400, -1)
    assert upstream.get("/simulator/calls")["calls"]


def test_a_body_beyond_bounds_is_refused(upstream: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A body is read up to a bound, and then refused with 413 in the envelope."""
    monkeypatch.setattr("gateway.simulator.app._BODY_MAX", 1000)
    answer = upstream.post("a" * 1000)
    assert (answer.status_code, answer.json()) == (413, {"code": -1, "msg": "Request body is too large"})


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", "/images/generate", {}, 405),
        ("POST", "/images/nothing", {}, 404),
        ("GET", "/files/nothing.jpg", {}, 404),
        ("POST", "/images/generate", {"Content-Type": "text/plain"}, 415),
        ("POST", "/images/generate", {"Content-Type": "application/json", "Content-Encoding": "gzip"}, 415),
    ],
)
def test_every_failure_has_the_envelope(
    upstream: Any, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    """The framework's own errors look like the documented one."""
    answer = upstream.http.request(method, path, headers={"Authorization": "secret-one", **headers})
    assert answer.status_code == status
    assert answer.json().keys() == {"code", "msg"}
    assert answer.json()["code"] == -1


def test_links_expire(start: Callable[..., Any]) -> None:
    """A link answers 410 once its time is over."""
    upstream = start(link_seconds=0)
    assert upstream.image(upstream.post()).status_code == 410


def test_links_use_the_public_address(start: Callable[..., Any]) -> None:
    """The links' base can be set."""
    link = start(public_url="http://images.example/base/").post().json()["data"][0]["image"]
    assert link.startswith("http://images.example/base/files/")


def test_pictures_can_be_drawn_once_and_still_differ(start: Callable[..., Any]) -> None:
    """With a fixed size every answer has bytes of its own in that size."""
    upstream = start(image="32x16")
    for form in ({}, {"output_format": "png"}):
        images = [upstream.image(upstream.post(str(number), **form)).content for number in range(2)]
        assert images[0] != images[1]
        assert [opened(image).size for image in images] == [(32, 16), (32, 16)]


def test_what_was_received_can_be_asked_for(start: Callable[..., Any]) -> None:
    """The calls are remembered as they came, images by their digest, the key not at all."""
    upstream = start()
    upstream.post("一只猫", key="very-secret", input_image=noise(), seed=2**53 + 1)
    seen = upstream.http.get("/simulator/calls").text
    body = json.loads(seen)["calls"][0]["body"]
    assert (body["prompt"], body["seed"], body["width"]) == ("一只猫", 9007199254740993, 64)
    assert body["input_image"].startswith("sha256:")
    assert "very-secret" not in seen


def test_prices_and_models_can_be_set(start: Callable[..., Any]) -> None:
    """The models sold are those with a price."""
    upstream = start(prices={"dalle-3": 123_456})
    answer = upstream.post(model="dalle-3", aspect_ratio="1:1")
    assert json.loads(answer.text, parse_float=Decimal)["usage"]["cost"] == Decimal("0.123456")
    assert (answer.json()["provider"], answer.json()["data"][0]["type"]) == ("dalle", "url")
    assert upstream.post().status_code == 400


def test_calls_are_counted(start: Callable[..., Any]) -> None:
    """The statistics tell calls, outcomes and links apart."""
    upstream = start(keys=("k",))
    upstream.image(upstream.post(key="k"))
    upstream.post(key="wrong")
    upstream.post("[status=503]", key="k")
    assert upstream.get("/simulator/stats") == {
        "calls": 3,
        "open": 0,
        "max_open": 1,
        "outcomes": {"generated": 1, "unauthorized": 1, "failed: status": 1},
        "links": {"200": 1},
    }


def test_a_faulty_setting_is_refused() -> None:
    """A picture mode that does not exist is a ValueError."""
    with pytest.raises(ValueError, match="image must be one of"):
        SimulatorConfig(image="big")


def test_keys_are_not_shown() -> None:
    """The configuration's repr holds no key."""
    assert "secret-one" not in repr(SimulatorConfig(keys=("secret-one",)))


def test_without_keys_every_key_is_good(start: Callable[..., Any]) -> None:
    """A simulator with no accounts takes any key, but not none."""
    upstream = start()
    assert upstream.post(key="anything").status_code == 200
    assert upstream.http.post("/images/generate", json={}).status_code == httpx.codes.UNAUTHORIZED
