"""The sample page in a browser, from an origin of its own: it holds no key, and takes what may happen well."""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.servers.page import served
from tests.servers.pair import Pair
from tests.servers.ports import free_port
from tests.servers.process import wait_until

SAMPLES = Path(__file__).with_name("samples")
QUIET = ["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
"""The tests may run as root and without a network."""


@pytest.fixture(scope="module")
def port() -> int:
    """The port that every sample page here is served on, one after the other."""
    return free_port()


@pytest.fixture(scope="module")
def keys(shared: Pair, port: int) -> dict[str, str]:
    """A key of each of some tenants whose origin is the page's: without limits, without money, slow, with Base64."""
    policies: dict[str, dict[str, object]] = {
        "free": {},
        "poor": {"budget_total": "0.000001"},
        "slow": {"images_per_minute": 20, "burst": 1},
        "inline": {"image_format": "base64"},
    }
    origins = [f"http://127.0.0.1:{port}"]
    return {
        name: shared.gateway.tenant(f"frontend-{name}", origins=origins, **policy) for name, policy in policies.items()
    }


@pytest.fixture(scope="module")
def key(keys: dict[str, str]) -> str:
    """A key of the tenant without limits."""
    return keys["free"]


@pytest.fixture(scope="module")
def browser(keys: dict[str, str]) -> Iterator[Browser]:
    """Debian's Chromium, without a window. The keys are made before: Playwright keeps the thread's event loop."""
    assert keys
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=QUIET)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page of a new visitor."""
    context = browser.new_context(viewport={"width": 1000, "height": 800}, accept_downloads=True)
    yield context.new_page()
    context.close()


def generate(page: Page, prompt: str) -> None:
    """Ask for a picture, as a person does."""
    expect(page.get_by_label("Model").locator("option")).not_to_have_count(0)
    page.get_by_label("Prompt").fill(prompt)
    page.get_by_role("button", name="Generate").click()


def assert_seen(page: Page, prompt: str) -> None:
    """Wait until the picture is there, and is one."""
    image = page.get_by_role("img", name=prompt)
    expect(image).to_be_visible(timeout=15_000)
    page.wait_for_function("name => [...document.images].some(i => i.alt === name && i.naturalWidth > 0)", arg=prompt)


def test_a_picture_is_made_from_another_origin(shared: Pair, page: Page, key: str, port: int, tmp_path: Path) -> None:
    """The picture appears with its stages and its cost, and no key ever reaches the browser."""
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.headers.get("authorization", "")))
    with served(shared.gateway.url, key, port) as url:
        page.goto(url)
        generate(page, "a lighthouse")
        assert_seen(page, "a lighthouse")
        expect(page.locator("#stages .done")).to_have_count(4)
        page.screenshot(path=tmp_path / "page.png", full_page=True)
        assert key not in page.content()
    credentials = {one for one in sent if one}
    assert credentials
    assert all(one.startswith("Bearer igw_ct_") for one in credentials)
    assert '"method":"OPTIONS"' in shared.gateway.log


def test_the_documents_own_helpers_store_it(shared: Pair, page: Page, key: str, port: int) -> None:
    """The storage helpers of the upstream's document save a link and Base64, run by a page of another origin."""
    answers = [shared.gateway.post(key, {"X-Image-Format": form}, prompt=form).json() for form in ("url", "base64")]
    with served(shared.gateway.url, key, port) as url:
        page.goto(url)
        page.add_script_tag(path=SAMPLES / "storage.js")
        for answer, billed in zip(answers, shared.simulator.bill()[-2:], strict=True):
            with page.expect_download() as download:
                page.evaluate("image => saveImage(image, 'generated_image_0.jpg')", answer["data"][0])
            assert Path(download.value.path()).stat().st_size == billed.images[0].size


@pytest.mark.parametrize("end", ["revoked", "expired"])
def test_a_token_that_ended_is_replaced(shared: Pair, page: Page, key: str, port: int, end: str) -> None:
    """After a 401 the page gets another token and goes on; its visitor notices nothing."""
    with served(shared.gateway.url, key, port) as url:
        page.goto(url)
        generate(page, "before")
        assert_seen(page, "before")
        first = page.evaluate("token.text")
        if end == "revoked":
            (visitor,) = [cookie["value"] for cookie in page.context.cookies() if cookie["name"] == "visitor"]
            asked = shared.gateway.http.delete(f"/tokens?user={visitor}", headers={"Authorization": f"Bearer {key}"})
            assert asked.json() == {"revoked": 1}
        else:
            with closing(sqlite3.connect(shared.gateway.database_path)) as connection, connection:
                connection.execute("UPDATE tokens SET expires_at = 1")
        wait_until(lambda: refused(shared, first), "the token to be refused")
        generate(page, "after")
        assert_seen(page, "after")
        assert page.evaluate("token.text") != first


def refused(both: Pair, token: str) -> bool:
    """Say whether a token is refused by now."""
    return both.gateway.http.get("/models", headers={"Authorization": f"Bearer {token}"}).status_code == 401


def test_an_origin_that_is_not_the_tenants_is_refused(shared: Pair, page: Page, key: str, port: int) -> None:
    """The same page from another port gets no answer that it could read, and says so."""
    other = free_port()
    calls = shared.simulator.stats()["calls"]
    with served(shared.gateway.url, key, other, origin=f"http://127.0.0.1:{port}") as url:
        page.goto(url)
        expect(page.locator("#said")).to_contain_text("does not know this page")
    assert shared.simulator.stats()["calls"] == calls


def test_a_reload_loses_nothing(shared: Pair, page: Page, key: str, port: int) -> None:
    """Loaded again while a picture is being made, the page shows it all the same, and it is paid once."""
    calls = shared.simulator.stats()["calls"]
    with served(shared.gateway.url, key, port) as url:
        page.goto(url)
        generate(page, "a slow one [delay=3]")
        expect(page.locator("[data-stage=generating].now")).to_be_visible()
        page.reload()
        expect(page.locator("[data-stage=generating].now")).to_be_visible()
        assert_seen(page, "a slow one [delay=3]")
        page.reload()
        assert_seen(page, "a slow one [delay=3]")
    assert shared.simulator.stats()["calls"] == calls + 1


def test_two_tabs_show_a_picture_once(shared: Pair, page: Page, keys: dict[str, str], port: int) -> None:
    """Opened again beside itself while a picture is being made, the page shows it in both, once, as a link.

    However the tenant likes its images.
    """
    calls, prompt = shared.simulator.stats()["calls"], "for two [delay=3]"
    with served(shared.gateway.url, keys["inline"], port) as url:
        page.goto(url)
        generate(page, prompt)
        expect(page.locator("[data-stage=generating].now")).to_be_visible()
        other = page.context.new_page()
        other.goto(url)
        for tab in (page, other):
            assert_seen(tab, prompt)
        page.reload()
        expect(page.get_by_role("img", name=prompt)).to_have_count(1)
    assert shared.simulator.stats()["calls"] == calls + 1


def test_no_money_is_said_plainly(shared: Pair, page: Page, keys: dict[str, str], port: int) -> None:
    """402 is told in words, and the page can be used again."""
    with served(shared.gateway.url, keys["poor"], port) as url:
        page.goto(url)
        generate(page, "too dear")
        expect(page.locator("#said")).to_contain_text("There is no money left for this")
        expect(page.get_by_role("button", name="Generate")).to_be_enabled()


def test_a_limit_is_waited_out(shared: Pair, page: Page, keys: dict[str, str], port: int) -> None:
    """429 is counted down by Retry-After, and the picture comes by itself."""
    with served(shared.gateway.url, keys["slow"], port) as url:
        page.goto(url)
        generate(page, "the first")
        assert_seen(page, "the first")
        generate(page, "the second")
        expect(page.locator("#said")).to_contain_text("trying again in")
        assert_seen(page, "the second")


def test_a_refusal_is_told(shared: Pair, page: Page, key: str, port: int) -> None:
    """Upstream's own words are shown, and nothing is paid."""
    with served(shared.gateway.url, key, port) as url:
        page.goto(url)
        generate(page, "[refuse=Request Moderated]")
        expect(page.locator("#said")).to_contain_text("Request Moderated")
