"""OpenAI's own packages for Python and Node work with the gateway when `base_url` and key are changed."""

import base64
import hashlib
import json
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from threading import Barrier
from typing import Any

import httpx
import openai
import pytest
from openai.types import Image, ImagesResponse

from gateway.money import MICROS_PER_YUAN
from tests.flow.test_client_tokens import token
from tests.servers.pair import Pair
from tests.unit.images.pictures import picture

NODE_PACKAGE = "openai@7.57.0"
MODEL = "flux-2-pro"
GENERATIONS, EDITS = "/v1/images/generations", "/v1/images/edits"
SMALL = "64x64"


def client(both: Pair, key: str, retries: int = 0) -> openai.OpenAI:
    """Return OpenAI's client for Python with this key."""
    http = openai.DefaultHttpxClient(trust_env=False, timeout=60)
    return openai.OpenAI(base_url=f"{both.gateway.url}/v1", api_key=key, max_retries=retries, http_client=http)


@pytest.fixture
def sdk(shared: Pair) -> Iterator[openai.OpenAI]:
    """The client of the shared pair's tenant."""
    with client(shared, shared.key) as opened:
        yield opened


def raw(both: Pair, key: str | None = None, headers: dict[str, str] | None = None, **members: object) -> httpx.Response:
    """Ask for a small picture without the package."""
    sent = {"Authorization": f"Bearer {both.key if key is None else key}"} | ({} if headers is None else headers)
    return both.gateway.http.post(
        GENERATIONS, json={"model": MODEL, "prompt": "p", "size": SMALL, **members}, headers=sent
    )


def first(made: ImagesResponse) -> Image:
    """Return the first image of an answer."""
    assert made.data
    return made.data[0]


def followed(both: Pair, image: Image) -> bytes:
    """Return what the link of an image leads to, which the gateway serves."""
    assert image.url is not None
    assert image.url.startswith(both.gateway.url)
    return both.gateway.http.get(image.url).raise_for_status().content


def assert_billed(both: Pair, content: bytes) -> None:
    """Show that these bytes are a picture of upstream's last bill."""
    assert hashlib.sha256(content).hexdigest() == both.simulator.bill()[-1].images[0].sha256


def test_an_image_comes_by_link(shared: Pair, sdk: openai.OpenAI) -> None:
    """The default is the link of a kept image, of the size that was asked for, at upstream's price."""
    answer = sdk.images.with_raw_response.generate(model=MODEL, prompt="a cat", size="128x64", user="ann")
    image = first(answer.parse())
    assert image.b64_json is None
    assert_billed(shared, followed(shared, image))
    assert shared.simulator.calls()[-1]["body"] == {"model": MODEL, "prompt": "a cat", "width": 128, "height": 64}
    assert Decimal(answer.headers["X-Cost-Yuan"]) * MICROS_PER_YUAN == shared.simulator.bill()[-1].cost
    assert shared.gateway.generation(answer.headers["X-Generation-Id"])["end_user"] == "ann"


def test_an_image_comes_as_base64(shared: Pair, sdk: openai.OpenAI) -> None:
    """`b64_json` gives the very bytes, also of a model that has aspect ratios alone."""
    made = sdk.images.generate(
        model="gemini-2.5-flash-image", prompt="wide", size="1792x1024", response_format="b64_json"
    )
    assert_billed(shared, base64.b64decode(first(made).b64_json or ""))
    assert shared.simulator.calls()[-1]["body"]["aspect_ratio"] == "16:9"


def test_several_images_are_several_generations(shared: Pair) -> None:
    """Each is billed, each is another picture, and their ids and their sum are told."""
    lines = len(shared.simulator.bill())
    answer = raw(shared, n=3, prompt="three")
    assert answer.status_code == 200
    links = [image["url"] for image in answer.json()["data"]]
    assert len({shared.gateway.http.get(link).content for link in links}) == 3
    billed = shared.simulator.bill()[lines:]
    assert len(billed) == 3
    ids = answer.headers["X-Generation-Id"].split(", ")
    assert [shared.gateway.generation(one)["state"] for one in ids] == ["settled"] * 3
    assert Decimal(answer.headers["X-Cost-Yuan"]) * MICROS_PER_YUAN == sum(line.cost for line in billed)


def test_several_seeded_images_are_cached_one_by_one(shared: Pair) -> None:
    """Seed, seed + 1, ...: asked again they cost nothing, and our own endpoint shares them."""
    first = raw(shared, n=2, seed=41, prompt="seeded").json()["data"]
    with shared.untouched():
        again = raw(shared, n=2, seed=41, prompt="seeded")
        assert again.json()["data"] == first
        assert Decimal(again.headers["X-Cost-Yuan"]) == 0
        assert shared.post(prompt="seeded", seed=42).json()["data"][0]["image"] == first[1]["url"]


def test_an_idempotency_key_covers_every_image(shared: Pair) -> None:
    """Sent again, each image is given again and nothing is paid; a changed request is refused."""
    headers = {"Idempotency-Key": "openai-1"}
    first = raw(shared, headers=headers, n=2)
    with shared.untouched():
        again = raw(shared, headers=headers, n=2)
        assert again.headers["Idempotent-Replayed"] == "true"
        assert again.json()["data"] == first.json()["data"]
        assert raw(shared, headers=headers, n=2, prompt="other").status_code == 422
        assert raw(shared, headers={"Idempotency-Key": "k" * 254}, n=2).status_code == 400
    calls = shared.simulator.stats()["calls"]
    assert raw(shared, headers=headers, n=3).json()["data"][:2] == first.json()["data"]
    assert shared.simulator.stats()["calls"] == calls + 1, "one more is made, and nothing twice"


def test_a_token_makes_as_many_images_as_it_has_left(shared: Pair) -> None:
    """Of three with a cap of two, two are made; what the cap refuses is told beside them."""
    capped = token(shared, shared.key, max_images=2)
    said = raw(shared, capped, n=3).json()
    assert (len(said["data"]), [error["status"] for error in said["errors"]]) == (2, [402])
    assert raw(shared, capped).status_code == 402


def test_partial_success_is_told(shared: Pair) -> None:
    """What was made and paid is given; what failed is named beside it."""
    answer = raw(shared, n=2, prompt="half [status=500 times=1]")
    assert answer.status_code == 200
    said = answer.json()
    assert len(said["data"]) == 1
    assert [(error["status"], error["message"]) for error in said["errors"]] == [
        (502, "The image provider failed to answer properly")
    ]


def test_an_image_is_edited(shared: Pair, sdk: openai.OpenAI) -> None:
    """Files go upstream as references, byte for byte and in their order."""
    one, other = picture("png", 64, 64), picture("png", 32, 64)
    made = sdk.images.edit(model=MODEL, prompt="join", image=[one, other], size=SMALL)
    assert_billed(shared, followed(shared, first(made)))
    sent = shared.simulator.calls()[-1]["body"]
    assert (sent["width"], sent["prompt"]) == (64, "join")
    bill = shared.gateway.rows("SELECT ask FROM generations ORDER BY id DESC LIMIT 1")[0]["ask"]
    assert json.loads(bill)["input_image"] == f"sha256:{hashlib.sha256(one).hexdigest()}"
    assert json.loads(bill)["input_image_2"] == f"sha256:{hashlib.sha256(other).hexdigest()}"


def test_an_edit_needs_an_image_and_a_form(shared: Pair, sdk: openai.OpenAI) -> None:
    """Without a file, with a mask, or as JSON it is refused, and nothing is reserved."""
    with shared.untouched():
        with pytest.raises(openai.BadRequestError, match="Invalid mask parameter"):
            sdk.images.edit(model=MODEL, prompt="p", image=picture("png"), mask=picture("png"))
        headers = {"Authorization": f"Bearer {shared.key}"}
        lacking = shared.gateway.http.post(EDITS, files={"prompt": (None, "p")}, headers=headers)
        assert lacking.json()["error"]["message"] == "Invalid image parameter. An image file is required"
        assert shared.gateway.http.post(EDITS, json={"prompt": "p"}, headers=headers).status_code == 415


def test_models_are_listed(shared: Pair, sdk: openai.OpenAI) -> None:
    """The models that the caller may use, each by itself too; another is not found."""
    assert {model.id for model in sdk.models.list()} >= {MODEL, "gemini-2.5-flash-image"}
    assert sdk.models.retrieve(MODEL).owned_by == "flux"
    with pytest.raises(openai.NotFoundError):
        sdk.models.retrieve("dall-e-3")
    few = shared.gateway.tenant("openai-few", models=["flux-1.1-pro"])
    with client(shared, few) as narrow:
        assert [model.id for model in narrow.models.list()] == ["flux-1.1-pro"]


def test_errors_have_the_shape_that_the_packages_read(shared: Pair) -> None:
    """Each becomes the package's own exception, with message, type, parameter and code."""
    poor = shared.gateway.tenant("openai-poor", budget_total="0.000001")
    slow = shared.gateway.tenant("openai-slow", requests_per_minute=1)
    few = shared.gateway.tenant("openai-forbidden", models=["flux-1.1-pro"])
    raw(shared, slow)
    expected: list[tuple[type[openai.APIStatusError], str, dict[str, Any], tuple[object, ...]]] = [
        (openai.BadRequestError, shared.key, {"size": "7x7"}, ("invalid_request_error", "size", None)),
        (openai.AuthenticationError, "wrong", {}, ("invalid_request_error", None, "invalid_api_key")),
        (openai.APIStatusError, poor, {}, ("insufficient_quota", None, "insufficient_quota")),
        (openai.PermissionDeniedError, few, {}, ("permission_error", None, None)),
        (openai.RateLimitError, slow, {}, ("rate_limit_error", None, "rate_limit_exceeded")),
        (openai.InternalServerError, shared.key, {"prompt": "[status=500]"}, ("server_error", None, None)),
    ]
    for kind, key, members, said in expected:
        with client(shared, key) as one, pytest.raises(kind) as caught:
            one.images.generate(**{"model": MODEL, "prompt": "p", "size": SMALL} | members)
        assert (caught.value.type, caught.value.param, caught.value.code) == said
        assert caught.value.message


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/v1/nothing", 404), ("GET", GENERATIONS, 405)])
def test_the_framework_answers_in_that_shape_too(shared: Pair, method: str, path: str, status: int) -> None:
    """An unknown path and a wrong method under `/v1/`."""
    answer = shared.gateway.http.request(method, path)
    assert answer.status_code == status
    assert answer.json()["error"]["type"] == "invalid_request_error"


def test_the_package_tries_no_unknown_outcome_again(shared: Pair) -> None:
    """`x-should-retry: false` holds a client with retries back from paying twice."""
    calls = shared.simulator.stats()["calls"]
    with (
        client(shared, shared.key, retries=2) as eager,
        pytest.raises(openai.InternalServerError, match="outcome is unknown"),
    ):
        eager.images.generate(model=MODEL, prompt="[cut]")
    assert shared.simulator.stats()["calls"] == calls + 1


def test_the_package_for_node(shared: Pair, tmp_path: Path) -> None:
    """A generation, an edit, the models and an error, from JavaScript."""
    install = ["npm", "install", "--no-save", "--no-package-lock", "--no-audit", "--no-fund", NODE_PACKAGE]
    subprocess.run(install, cwd=tmp_path, check=True, capture_output=True, timeout=120)
    (tmp_path / "cat.png").write_bytes(picture("png", 64, 64))
    (tmp_path / "try.mjs").write_text("""
        import fs from "node:fs";
        import OpenAI, { toFile } from "openai";
        const client = new OpenAI({ baseURL: process.argv[2], apiKey: process.argv[3], maxRetries: 0 });
        const model = "flux-2-pro";
        const made = await client.images.generate({ model, prompt: "node", size: "64x64", n: 2 });
        const image = await toFile(fs.createReadStream("cat.png"), "cat.png", { type: "image/png" });
        const edited = await client.images.edit({ model, prompt: "node edit", image, response_format: "b64_json" });
        const models = [];
        for await (const one of client.models.list()) models.push(one.id);
        const error = await client.images.generate({ model, prompt: "p", quality: "hd" }).catch((e) => e);
        console.log(JSON.stringify({
          links: made.data.map((one) => one.url),
          edited: edited.data[0].b64_json,
          models,
          error: [error.constructor.name, error.status, error.param],
        }));
    """)
    command = ["node", "try.mjs", f"{shared.gateway.url}/v1", shared.key]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert all(shared.gateway.http.get(link).status_code == 200 for link in said["links"])
    assert_billed(shared, base64.b64decode(said["edited"]))
    assert MODEL in said["models"]
    assert said["error"] == ["BadRequestError", 400, "quality"]


def test_a_key_of_another_request_pays_for_nothing(shared: Pair) -> None:
    """Whatever `n` says: with a key that another prompt has, no image of the request is begun."""
    headers = {"Idempotency-Key": "openai-2"}
    assert raw(shared, headers=headers, prompt="first").status_code == 200
    with shared.untouched():
        assert raw(shared, headers=headers, n=3, prompt="second").status_code == 422


@pytest.mark.parametrize(
    ("name", "one", "other"),
    [
        ("two-requests", {"prompt": "one [delay=0.1]"}, {"prompt": "other [delay=0.1]"}),
        ("one-cached", {"prompt": "kept", "seed": 70}, {"prompt": "other [delay=0.1]"}),
        ("one-request", {"prompt": "same [delay=0.1]"}, {"prompt": "same [delay=0.1]"}),
    ],
)
def test_a_key_belongs_to_one_of_two_requests_that_race_for_it(
    shared: Pair, name: str, one: dict[str, Any], other: dict[str, Any], count: Callable[[int, int], int]
) -> None:
    """All images of the one are made, none of the other: never some of each."""
    if "seed" in one:
        raw(shared, n=3, **one).raise_for_status()
    seen: Counter[tuple[int, int]] = Counter()
    with ThreadPoolExecutor(2) as pool:
        for turn in range(count(5, 100)):
            begin = Barrier(2)

            def ask(members: dict[str, Any], key: str = f"{name}-{turn}", begin: Barrier = begin) -> httpx.Response:
                begin.wait()
                return raw(shared, headers={"Idempotency-Key": key}, n=3, **members)

            answers = list(pool.map(ask, (one, other)))
            kinds = [(answer.status_code, len(answer.json().get("data", []))) for answer in answers]
            assert sorted(kinds) == [(200, 3), (409 if one == other else 422, 0)]
            seen[kinds[0]] += 1
    print(f"{seen.total()} races, the first of the two: {dict(seen)}")
