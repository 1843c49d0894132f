"""Whatever upstream answers or links to has its decided answer: no guarded address is reached, memory is bounded."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx
import pybase64
import pytest

from tests.servers.gateway import GENERATE, Gateway, gateway
from tests.servers.hostile import (
    COST_MICROS,
    MIB,
    Hostile,
    Listeners,
    bomb,
    endless,
    hostile,
    listeners,
    redirect,
    success,
    whole,
)
from tests.servers.simulator import UPSTREAM_KEY
from tests.unit.images.pictures import picture, png_claiming
from tests.unit.images.test_fetch_guarded import hostile as hostile_urls

GROWTH_MIB = 80
AT_ONCE = 16
NO_IMAGE = (502, "The image provider returned no usable image")
NONSENSE = (502, "The image provider failed to answer properly")
LOST = (502, "The connection to the image provider was lost; the outcome is unknown")
SILENT = (504, "The image provider did not answer in time; the outcome is unknown")
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
HTML = b"<!doctype html><script>alert(1)</script>"
PDF = b"%PDF-1.7\n1 0 obj<</OpenAction<</S/JavaScript/JS(app.alert(1))>>>>endobj\n%%EOF"
PNG, JPEG = picture("PNG"), picture("JPEG")


@dataclass(frozen=True, slots=True)
class Besieged:
    """A gateway before an upstream that means harm, and the key of a tenant."""

    gateway: Gateway
    upstream: Hostile
    key: str

    def ask(self, prompts: list[str]) -> dict[str, tuple[int, str]]:
        """Ask for all of these, a few at a time; return status and message of each."""
        return asyncio.run(self._ask(prompts))

    async def _ask(self, prompts: list[str]) -> dict[str, tuple[int, str]]:
        turns = asyncio.Semaphore(AT_ONCE)
        headers = {"Authorization": f"Bearer {self.key}"}
        async with httpx.AsyncClient(base_url=self.gateway.url, headers=headers, timeout=90, trust_env=False) as caller:

            async def one(prompt: str) -> tuple[int, str]:
                async with turns:
                    answer = await caller.post(GENERATE, json={"model": "flux-2-pro", "prompt": prompt})
                return answer.status_code, answer.json().get("msg", "")

            return dict(zip(prompts, await asyncio.gather(*map(one, prompts)), strict=True))

    def books(self, prompts: list[str]) -> tuple[int, int, int]:
        """Return how many generations of these prompts are settled, what they cost, how many images failed in them."""
        rows = self.gateway.rows("SELECT ask, cost, images_failed FROM generations WHERE state = 'settled'")
        wanted = [row for row in rows if any(f'"prompt":"{prompt}"' in row["ask"] for prompt in prompts)]
        return len(wanted), sum(row["cost"] for row in wanted), sum(row["images_failed"] for row in wanted)

    def growth_mib(self, prompt: str, expected: tuple[int, str]) -> float:
        """Ask for one; return by how much the most resident memory meanwhile exceeds what there was before."""
        Path(f"/proc/{self.gateway.pid}/clear_refs").write_text("5")  # the peak is from now on (proc_pid_clear_refs(5))
        before = self._memory("VmRSS")
        assert self.ask([prompt]) == {prompt: expected}
        return self._memory("VmHWM") - before

    def _memory(self, name: str) -> float:
        lines = Path(f"/proc/{self.gateway.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:")) / 1024


@pytest.fixture(scope="module")
def besieged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Besieged]:
    """Run the two."""
    with (
        hostile() as upstream,
        gateway(
            tmp_path_factory.mktemp("besieged"), upstream=upstream.url, keys=(UPSTREAM_KEY,), upstream_timeout="2"
        ) as serving,
    ):
        yield Besieged(serving, upstream, serving.tenant("team"))
        assert serving.stop() == 0
        assert "Traceback" not in serving.log


@pytest.fixture(scope="module")
def guarded() -> Iterator[Listeners]:
    """Listen where the gateway must not go."""
    with listeners() as ones:
        yield ones


def links_to(port: int, most: int) -> list[str]:
    """List at most so many of what a link must not lead to, as far as no name server is asked and JSON can hold it."""
    urls = [url for url in hostile_urls(port) if "rebound.example" not in url and "\udcff" not in url]
    urls = [url for url in urls if url.startswith(("http", "//")) and len(url) < 1000]
    return urls[:: -(-len(urls) // most)]


def test_no_hostile_link_is_followed(besieged: Besieged, guarded: Listeners, count: Callable[[int, int], int]) -> None:
    """Each ends in 502 with what upstream billed settled and its image failed, and nobody was connected to."""
    links = {f"link {number}": link for number, link in enumerate(links_to(guarded.port, count(90, 1000)))}
    for prompt, link in links.items():
        besieged.upstream.links(prompt, link)
    answers = besieged.ask(list(links))
    connections = guarded.connections()
    print(f"{len(links)} hostile links: {connections} connections to guarded addresses")
    assert len(links) >= 60
    assert set(answers.values()) == {NO_IMAGE}
    assert connections == 0
    assert besieged.books(list(links)) == (len(links), len(links) * COST_MICROS, len(links))


def test_no_redirect_to_a_hostile_link_is_followed(
    besieged: Besieged, guarded: Listeners, count: Callable[[int, int], int]
) -> None:
    """A good link may lead to a bad one, at once or on the third step: the bad one is not connected to."""
    urls = [url for url in links_to(guarded.port, count(90, 1000)) if not any(one <= " " for one in url)]
    targets = {f"redirect {number}": url for number, url in enumerate(urls)}
    for prompt, url in targets.items():
        name = prompt.replace(" ", "-")
        besieged.upstream.links(prompt, f"{besieged.upstream.url}/{name}")
        besieged.upstream.pages[f"/{name}"] = redirect(f"/{name}/2")
        besieged.upstream.pages[f"/{name}/2"] = redirect(url)
    answers = besieged.ask(list(targets))
    connections = guarded.connections()
    print(f"{len(targets)} redirects to hostile links: {connections} connections to guarded addresses")
    assert len(targets) >= 60
    assert set(answers.values()) == {NO_IMAGE}
    assert connections == 0
    assert besieged.books(list(targets)) == (len(targets), len(targets) * COST_MICROS, len(targets))


def test_image_hosts_see_no_key(besieged: Besieged) -> None:
    """Neither upstream's key nor a tenant's is sent where a link or a redirect leads; nothing else is known of them."""
    besieged.upstream.leads("key", redirect("/key/2"))
    besieged.upstream.pages["/key/2"] = whole(PNG, "Set-Cookie: a=b")
    assert besieged.ask(["key"])["key"][0] == 200
    heads = b"".join(besieged.upstream.heads).lower()
    print(f"{len(besieged.upstream.heads)} requests to image hosts, {heads.count(b'authorization')} with a key")
    assert heads.count(b"host: ") == len(besieged.upstream.heads)
    for secret in (b"authorization", b"cookie", UPSTREAM_KEY.encode(), besieged.key.encode()):
        assert secret.lower() not in heads


def pages() -> Mapping[str, bytes]:
    """List what is no image, whatever it says it is."""
    return {
        "nothing.png": b"",
        "page.png": HTML,
        "drawing.png": SVG,
        "document.png": PDF,
        "animation.png": picture("GIF") + b";alert(1)//",
        "header.png": png_claiming(100_000, 100_000)[:33],
        "vast.png": png_claiming(100_000, 100_000),
        "cut.png": PNG[:-12],
        "page-then-image.png": HTML + PNG,
        "document-then-image.png": PDF + JPEG,
        "script.png": b"GIF89a/*" + bytes(20) + b"*/=1;alert(1)",
        "archive.png": b"PK\x03\x04" + bytes(30) + PNG,
    }


@pytest.mark.parametrize("kind", ["url", "base64"])
def test_what_is_no_image_is_not_kept(besieged: Besieged, kind: str) -> None:
    """By its link or as Base64, said to be image/png: 502, the cost settled, the image failed, nothing in the store."""
    names = [f"{kind}-{name}" for name, content in pages().items() if content or kind == "url"]
    for name, content in pages().items():
        if kind == "url":
            besieged.upstream.leads(f"{kind}-{name}", whole(content, "Content-Type: image/png"))
        else:
            reply = success("base64", pybase64.b64encode(content).decode())
            besieged.upstream.answers[f"{kind}-{name}"] = whole(reply)
    kept = len(besieged.gateway.rows("SELECT name FROM images"))
    answers = besieged.ask(names)
    print(f"{len(names)} documents said to be images, as {kind}: {set(answers.values())}")
    assert set(answers.values()) == {NO_IMAGE}
    assert besieged.books(names) == (len(names), len(names) * COST_MICROS, len(names))
    assert len(besieged.gateway.rows("SELECT name FROM images")) == kept


@pytest.mark.parametrize(
    ("content", "media_type"),
    [
        (PNG + HTML, "image/png"),
        (PNG + b"PK\x05\x06" + bytes(18), "image/png"),
        (picture("JPEG", comment=HTML), "image/jpeg"),
        (picture("JPEG", comment=PDF), "image/jpeg"),
    ],
    ids=["page behind", "archive behind", "page within", "document within"],
)
def test_what_is_an_image_and_something_else_is_served_as_an_image(
    besieged: Besieged, content: bytes, media_type: str
) -> None:
    """It was paid for and is kept byte for byte, and can only ever act as an image, whatever upstream called it."""
    besieged.upstream.leads("both", whole(content, "Content-Type: text/html"))
    headers = {"Authorization": f"Bearer {besieged.key}"}
    answer = besieged.gateway.http.post(GENERATE, json={"model": "flux-2-pro", "prompt": "both"}, headers=headers)
    served = besieged.gateway.http.get(answer.json()["data"][0]["image"])
    assert (served.content, served.headers["content-type"]) == (content, media_type)
    assert served.headers["x-content-type-options"] == "nosniff"
    assert served.headers["content-security-policy"] == "default-src 'none'; sandbox"


def test_memory_is_bounded(besieged: Besieged, count: Callable[[int, int], int]) -> None:
    """Endless, dripping and compressed bodies, of answers and of images, end in time and grow the process little."""
    gzipped = "Content-Encoding: gzip"
    begin = success("base64", "").partition(b'"image":"')[0] + b'"image":"'
    upstream, cases = besieged.upstream, dict[str, tuple[int, str]]()
    upstream.leads("endless", endless(PNG, bytes(65536)))
    upstream.leads("announced", endless(PNG, b"", f"Content-Length: {1 << 40}", pause=0.1))
    upstream.leads("bomb", whole(bomb(PNG, 200 * MIB), gzipped))
    cases |= {"endless": NO_IMAGE, "announced": NO_IMAGE, "bomb": NO_IMAGE}
    upstream.answers["endless answer"] = endless(begin, b"A" * 65536)
    upstream.answers["dripping answer"] = endless(begin, b"A", pause=0.5)
    upstream.answers["bomb answer"] = whole(bomb(begin, 200 * MIB), gzipped)
    upstream.answers["crowded answer"] = whole(b'{"code":0,"data":[' + b"[]," * (16 * MIB) + b"1]}")
    upstream.answers["deep answer"] = whole(b'{"code":0,"data":' + b"[" * (32 * MIB))
    cases |= {"endless answer": LOST, "dripping answer": SILENT, "bomb answer": LOST}
    cases |= {"crowded answer": NONSENSE, "deep answer": NONSENSE}
    if count(0, 1):
        upstream.leads("dripping", endless(PNG, b"0", pause=1.0))
        cases["dripping"] = NO_IMAGE
    besieged.ask(["key"])  # what the first of its kind needs for good
    grown = {prompt: besieged.growth_mib(prompt, expected) for prompt, expected in cases.items()}
    print("most resident memory beyond that before, MiB: " + ", ".join(f"{name} {m:.0f}" for name, m in grown.items()))
    assert max(grown.values()) <= GROWTH_MIB
