"""The document's own samples, run as they stand: only the URL and the key are changed.

The document's page has lost its indentation; it is restored in `samples/`, whose first lines say where each stands.
Its samples call `generate_image`, which it never defines; what is missing is put in front of them here. The Python
ones are no modules of this tree, so they are not named as such.
"""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers.pair import Pair

SAMPLES = Path(__file__).with_name("samples")
URL, KEY = "https://api.atalk-ai.com", "YOUR_API_KEY"
CAT = "一只可爱的小猫在阳光下玩耍,摄影风格,柔和光线"


def sample(name: str, both: Pair) -> str:
    """Return a sample with the gateway's URL and a good key in it."""
    return (SAMPLES / name).read_text().replace(URL, both.gateway.url).replace(KEY, both.key)


def run(directory: Path, *command: str) -> str:
    """Run a command in a directory; return what it printed."""
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def assert_drawn(both: Pair, content: bytes) -> None:
    """Show that these bytes are the image that upstream billed last."""
    assert hashlib.sha256(content).hexdigest() == both.simulator.bill()[-1].images[0].sha256


def test_the_first_curl_command(shared: Pair, tmp_path: Path) -> None:
    """A bare key and a Chinese prompt, from the shell."""
    answer = json.loads(run(tmp_path, "bash", "-c", sample("text-to-image.sh", shared)))
    assert (answer["code"], answer["model"], answer["provider"]) == (0, "flux-2-pro", "flux")
    assert_drawn(shared, shared.gateway.http.get(answer["data"][0]["image"]).content)
    assert shared.simulator.calls()[-1]["body"] == {"model": "flux-2-pro", "prompt": CAT, "aspect_ratio": "16:9"}


def test_the_python_program(shared: Pair, tmp_path: Path) -> None:
    """`requests` with a bearer key prints the link of a kept image."""
    printed = run(tmp_path, sys.executable, "-c", sample("text_to_image.py.txt", shared))
    label, link = printed.strip().rsplit(" ", 1)
    assert label == "图片 URL:"
    assert_drawn(shared, shared.gateway.http.get(link).content)
    assert shared.simulator.calls()[-1]["body"]["prompt"] == CAT


def test_the_javascript_program(shared: Pair, tmp_path: Path) -> None:
    """`fetch` with a bearer key prints the link of a kept image."""
    script = tmp_path / "text-to-image.mjs"
    script.write_text(sample("text-to-image.mjs", shared))
    link = run(tmp_path, "node", str(script)).strip().rsplit(" ", 1)[1]
    assert_drawn(shared, shared.gateway.http.get(link).content)
    assert shared.simulator.calls()[-1]["body"]["prompt"] == CAT


def test_image_to_image(shared: Pair, tmp_path: Path) -> None:
    """A reference, a seed, a format and a tolerance reach upstream as they are; nobody fetches the reference."""
    answer = json.loads(run(tmp_path, "bash", "-c", sample("image-to-image.sh", shared)))
    kept = shared.gateway.http.get(answer["data"][0]["image"])
    assert kept.headers["content-type"] == "image/png"
    assert shared.simulator.calls()[-1]["body"] == {
        "model": "flux-2-pro",
        "prompt": "将这张照片转换为水彩画风格,保持原构图",
        "input_image": "https://example.com/input.jpg",
        "aspect_ratio": "2:3",
        "seed": 42,
        "output_format": "png",
        "safety_tolerance": 3,
    }


def test_several_references(shared: Pair, tmp_path: Path) -> None:
    """Three references stay in their slots."""
    answer = json.loads(run(tmp_path, "bash", "-c", sample("several-references.sh", shared)))
    assert answer["code"] == 0
    body = shared.simulator.calls()[-1]["body"]
    assert [body[name] for name in ("input_image", "input_image_2", "input_image_3")] == [
        f"https://example.com/ref{number}.jpg" for number in (1, 2, 3)
    ]


@pytest.mark.parametrize(
    ("prompt", "code", "calls"),
    [
        ("a quiet sea", 0, 1),
        ("a quiet sea [refuse]", -1, 1),
        ("a quiet sea [times=2 status=429]", 0, 3),
        ("a quiet sea [status=500]", -1, 1),
        ("a quiet sea [garbage]", -1, 1),
        ("a quiet sea [close]", -1, 1),
    ],
)
def test_the_retry_helper_never_pays_twice(shared: Pair, tmp_path: Path, prompt: str, code: int, calls: int) -> None:
    """Whatever upstream does, the helper gets one JSON answer at its first attempt, and sends nothing again."""
    before = shared.simulator.stats()["calls"], len(shared.simulator.bill())
    program = "\n".join(
        [
            sample("text_to_image.py.txt", shared).partition("response =")[0],
            sample("retry.py.txt", shared),
            f"print(generate_image_with_retry({{'model': 'flux-2-pro', 'prompt': {prompt!r}}})['code'])",
        ]
    )
    assert run(tmp_path, sys.executable, "-c", program).strip() == str(code)
    assert shared.simulator.stats()["calls"] == before[0] + calls
    assert len(shared.simulator.bill()) <= before[1] + 1


@pytest.mark.parametrize(("model", "form"), [("flux-2-pro", "url"), ("gemini-2.5-flash-image", "base64")])
def test_the_storage_helpers(shared: Pair, tmp_path: Path, model: str, form: str) -> None:
    """Links and Base64 alike end in a file that holds the very bytes that upstream drew."""
    define = (
        f"payload = {{'model': {model!r}, 'prompt': 'a harbour'}}\n"
        "headers['X-Image-Format'] = 'upstream'\n"
        "def generate_image(payload):\n"
        "    return requests.post(api_url, json=payload, headers=headers).json()\n"
    )
    program = "\n".join(
        [
            sample("text_to_image.py.txt", shared).partition("response =")[0],
            define,
            *(sample(name, shared) for name in ("download.py.txt", "save_base64.py.txt", "save_image.py.txt")),
        ]
    )
    assert "图片已保存到: generated_image_0.png" in run(tmp_path, sys.executable, "-c", program), form
    assert_drawn(shared, (tmp_path / "generated_image_0.png").read_bytes())
