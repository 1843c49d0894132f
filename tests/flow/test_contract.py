"""The contract, over HTTP: what is taken reaches upstream as it was asked, what is refused reaches nobody."""

import base64
import json
from typing import Any

import pytest

from tests.servers.gateway import GENERATE
from tests.servers.pair import Pair

FLUX = {"model": "flux-2-pro", "prompt": "p"}
GEMINI = {"model": "gemini-2.5-flash-image", "prompt": "p"}
RATIOS = ("1:1", "2:3", "3:2", "3:4", "4:5", "5:4", "9:16", "16:9", "21:9")
PNG1 = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="  # the document's
)
BIG = 1_600_000_000


def ask(both: Pair, body: dict[str, Any]) -> Any:
    """Send a body; return the answer."""
    headers = {"Authorization": both.key, "Content-Type": "application/json"}
    return both.gateway.http.post(GENERATE, content=json.dumps(body), headers=headers)


@pytest.mark.parametrize(
    ("body", "sent"),
    [
        (FLUX, FLUX),
        (GEMINI, GEMINI),
        (FLUX | {"aspect_ratio": "16:9"}, FLUX | {"aspect_ratio": "16:9"}),
        (
            FLUX | {"prompt": "一只可爱的小猫在阳光下玩耍,摄影风格,柔和光线"},
            FLUX | {"prompt": "一只可爱的小猫在阳光下玩耍,摄影风格,柔和光线"},
        ),
        (FLUX | {"width": None, "height": None, "seed": None}, FLUX),
        (GEMINI | {"width": None, "height": None, "seed": None}, GEMINI),
        (FLUX | {"width": 512, "height": None}, FLUX | {"width": 512}),
        (FLUX | {"width": 1024.0, "height": 768}, FLUX | {"width": 1024, "height": 768}),
        (FLUX | {"width": 4096, "height": 1024}, FLUX | {"width": 4096, "height": 1024}),
        (FLUX | {"seed": -1}, FLUX | {"seed": -1}),
        (FLUX | {"seed": 2**64 - 1}, FLUX | {"seed": 2**64 - 1}),
        (FLUX | {"seed": 9007199254740993}, FLUX | {"seed": 9007199254740993}),
        (
            FLUX | {"safety_tolerance": 5, "output_format": "png"},
            FLUX | {"safety_tolerance": 5, "output_format": "png"},
        ),
        (FLUX | {"input_image": PNG1}, FLUX | {"input_image": PNG1}),
        (FLUX | {"input_image": f"data:image/png;base64,{PNG1}"}, FLUX | {"input_image": PNG1}),
        (FLUX | {"input_image_3": base64.encodebytes(base64.b64decode(PNG1)).decode()}, FLUX | {"input_image_3": PNG1}),
        (
            FLUX | {"input_image": "https://example.com/input.jpg", "aspect_ratio": "2:3", "seed": 42},
            FLUX | {"input_image": "https://example.com/input.jpg", "aspect_ratio": "2:3", "seed": 42},
        ),
    ],
    ids=lambda value: str(value)[:60],
)
def test_what_is_taken_reaches_upstream_as_it_was_asked(
    shared: Pair, body: dict[str, Any], sent: dict[str, Any]
) -> None:
    """Upstream gets exactly what was asked: no defaults, no nulls, integers digit for digit, bare Base64."""
    answer = ask(shared, body)
    assert (answer.status_code, answer.json()["code"]) == (200, 0), answer.text
    assert shared.simulator.calls()[-1]["body"] == sent


@pytest.mark.parametrize("base", [FLUX, GEMINI], ids=["flux", "gemini"])
@pytest.mark.parametrize("ratio", RATIOS)
def test_each_ratio_is_taken_for_each_kind_of_model(shared: Pair, base: dict[str, Any], ratio: str) -> None:
    """The nine ratios of the document are sent on as they are."""
    assert ask(shared, base | {"aspect_ratio": ratio}).status_code == 200
    assert shared.simulator.calls()[-1]["body"]["aspect_ratio"] == ratio


AR = "Invalid aspect_ratio parameter. Supported ratios: 1:1, 2:3, 3:2, 3:4, 4:5, 5:4, 9:16, 16:9, 21:9"
MD1 = "Invalid model parameter. A model name is required"
MD2 = "Invalid model parameter. Supported models: flux-2-pro, flux-1.1-pro, gemini-2.5-flash-image"
PR1 = "Invalid prompt parameter. A non-empty text is required"
ST1 = "Invalid safety_tolerance parameter. Supported values: 0, 1, 2, 3, 4, 5"
OF1 = "Invalid output_format parameter. Supported formats: jpeg, png"
SE1 = "Invalid seed parameter. Must be an integer or null"
SE2 = "Invalid seed parameter. Supported range: -9223372036854775808 to 18446744073709551615"
WH1 = "Invalid {} parameter. Must be a positive multiple of 16 or null"
WH3 = "Invalid width parameter. Maximum output size for flux-2-pro: 4194304 pixels"
IM1 = "Invalid {} parameter. Supported forms: Base64-encoded image, http or https image URL"
IM2 = "Invalid input_image parameter. Supported formats: jpeg, png, webp"
IM4 = "Invalid input_image parameter. The URL must be publicly reachable"
IM9 = "Invalid input_image_9 parameter. Maximum number of images: 8"
NS = "Invalid {} parameter. Not supported by gemini-2.5-flash-image"
UK = (
    "Invalid {} parameter. Supported parameters: model, prompt, aspect_ratio, input_image, input_image_2, "
    "input_image_3, input_image_4, input_image_5, input_image_6, input_image_7, input_image_8, width, height, "
    "seed, safety_tolerance, output_format"
)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (FLUX | {"model": None}, MD1),
        (FLUX | {"model": ""}, MD1),
        (FLUX | {"model": "nope"}, MD2),
        (FLUX | {"model": "Flux-2-Pro"}, MD2),
        ({"model": "flux-2-pro"}, PR1),
        (FLUX | {"prompt": ""}, PR1),
        (FLUX | {"prompt": " \n"}, PR1),
        (FLUX | {"prompt": ["a"]}, PR1),
        (FLUX | {"prompt": "a" * 131_073}, "Invalid prompt parameter. Maximum length: 131072 characters"),
        (FLUX | {"aspect_ratio": "4:3"}, AR),
        (FLUX | {"aspect_ratio": "16x9"}, AR),
        (FLUX | {"aspect_ratio": None}, AR),
        (FLUX | {"aspect_ratio": "4:3", "width": 1024, "height": 1024}, AR),
        (FLUX | {"aspect_ratio": "4:3", "output_format": "webp", "width": 100}, AR),
        (FLUX | {"width": 100, "height": 100}, WH1.format("width")),
        (FLUX | {"width": 1920, "height": 1080}, WH1.format("height")),
        (FLUX | {"height": -16}, WH1.format("height")),
        (FLUX | {"width": "1024"}, WH1.format("width")),
        (FLUX | {"width": True}, WH1.format("width")),
        (FLUX | {"width": BIG, "height": BIG}, WH3),
        (FLUX | {"seed": 2**64}, SE2),
        (FLUX | {"seed": 1.5}, SE1),
        (FLUX | {"seed": "1"}, SE1),
        (FLUX | {"seed": False}, SE1),
        (GEMINI | {"seed": 1}, NS.format("seed")),
        (GEMINI | {"safety_tolerance": 2}, NS.format("safety_tolerance")),
        (GEMINI | {"output_format": "png"}, NS.format("output_format")),
        (FLUX | {"safety_tolerance": 6}, ST1),
        (FLUX | {"safety_tolerance": 2.5}, ST1),
        (FLUX | {"safety_tolerance": None}, ST1),
        (FLUX | {"output_format": "webp"}, OF1),
        (FLUX | {"output_format": None}, OF1),
        (FLUX | {"input_image_9": "https://a.example/b.png"}, IM9),
        (FLUX | {"input_image_1": "https://a.example/b.png"}, UK.format("input_image_1")),
        (FLUX | {"input_image": "not base64 !"}, IM1.format("input_image")),
        (FLUX | {"input_image": ""}, IM1.format("input_image")),
        (FLUX | {"input_image": PNG1[:-1]}, IM1.format("input_image")),
        (FLUX | {"input_image": PNG1, "input_image_5": "bad !"}, IM1.format("input_image_5")),
        (FLUX | {"input_image": "file:///etc/passwd"}, IM1.format("input_image")),
        (FLUX | {"input_image": "aGVsbG8gd29ybGQ="}, IM2),
        (FLUX | {"input_image": "http://169.254.169.254/latest/meta-data/"}, IM4),
        (FLUX | {"input_image": "http://[::ffff:10.0.0.1]/a.png"}, IM4),
        (FLUX | {"input_image": "http://localhost/a.png"}, IM4),
        ({"model": "flux-2-pro", "promt": "x"}, UK.format("promt")),
        (FLUX | {"n": 4}, UK.format("n")),
        (FLUX | {"api_base": "https://evil.example"}, UK.format("api_base")),
        (FLUX | {"__proto__": {}}, UK.format("__proto__")),
    ],
    ids=lambda value: str(value)[:60],
)
def test_what_breaks_the_contract_is_refused_by_name(shared: Pair, body: dict[str, Any], text: str) -> None:
    """Each fault has its status and its exact words; nothing is reserved, held or sent."""
    with shared.untouched():
        answer = ask(shared, body)
    assert (answer.status_code, answer.json()) == (400, {"code": -1, "msg": text})


def test_an_answer_has_the_documented_members_and_no_others(shared: Pair) -> None:
    """Success is `{code, data, model, provider, usage}`, a link has no type and its image a rewritten prompt."""
    answer = ask(shared, FLUX | {"width": 64, "height": 64})
    body = answer.json()
    assert list(body) == ["code", "data", "model", "provider", "usage"]
    assert (body["code"], body["model"], body["provider"]) == (0, "flux-2-pro", "flux")
    assert body["usage"] == {"cost": 0.04, "images_generated": 1, "images_failed": 0}
    (image,) = body["data"]
    assert list(image) == ["type", "image", "mimeType", "revised_prompt"]
    assert (image["type"], image["mimeType"]) == ("url", None)
    assert image["image"].startswith(f"{shared.gateway.url}/images/")
    assert image["revised_prompt"] == "p, fine detail, soft light"


def test_an_answer_says_what_it_cost_and_which_generation_it_is(shared: Pair) -> None:
    """The headers name the generation, as the ledger has it, and its cost with six places."""
    answer = ask(shared, GEMINI)
    row = shared.gateway.generation(answer.headers["x-generation-id"])
    assert (row["state"], row["bill"], row["cost"], row["model"]) == ("settled", "exact", 20_000, GEMINI["model"])
    assert answer.headers["x-cost-yuan"] == "0.020000"
    assert answer.headers["cache-control"] == "private, no-store"
