"""`gateway demo`: from nothing to an image, and what it prints works when it is pasted."""

import json
import re
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from gateway.simulator import read_bill
from tests.servers.ports import free_port
from tests.servers.process import Process, wait_until


@dataclass(frozen=True, slots=True)
class Demo:
    """A running demo and what it printed."""

    process: Process
    printed: str
    data: Path

    def part(self, begin: str, end: str) -> str:
        """Return what stands between two lines, without the indentation that all of it has."""
        found = self.printed.partition(f"\n{begin}\n")[2].partition(f"\n\n{end}")[0]
        return textwrap.dedent(found)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """Run the demo until it says how it is stopped."""
    directory = tmp_path_factory.mktemp("demo")
    port = free_port()
    arguments = ["demo", "--data-dir", str(directory / "data"), "--port", str(port)]
    process = Process(arguments, {"COLUMNS": "300"}, directory / "printed.txt", ready=f"http://127.0.0.1:{port}/readyz")
    process.launch()
    try:
        wait_until(lambda: "Ctrl-C" in process.log or not process.running, "the demo to be ready")
        yield Demo(process, process.log, directory / "data")
    finally:
        process.kill()


def test_it_makes_an_image_of_each_kind(demo: Demo) -> None:
    """Both kept links are printed and serve pictures; upstream's bill has two lines."""
    links = re.findall(r"kept +(http://\S+)", demo.printed)
    assert len(links) == 2
    for link in links:
        answer = httpx.get(link, trust_env=False)
        assert answer.status_code == 200
        assert answer.headers["content-type"] in ("image/jpeg", "image/png")
    assert len(read_bill(demo.data / "upstream-bill.jsonl")) >= 2


def test_the_sample_page_is_served(demo: Demo) -> None:
    """Its address is printed, its backend gives tokens, and the gateway lets that page call."""
    (page,) = re.findall(r"(http://\S+) +a page that holds no key", demo.printed)
    assert "A page that holds no key" in httpx.get(page, trust_env=False).text
    minted = httpx.post(f"{page}/token", trust_env=False).raise_for_status().json()
    assert minted["token"].startswith("igw_ct_")
    assert minted["origins"] == [page]


def test_the_printed_curl_command_works(demo: Demo) -> None:
    """Pasted into a shell, the curl command gives an image."""
    command = demo.part("curl", "Python")
    done = subprocess.run(["bash", "-c", command.replace("curl ", "curl -sS ", 1)], capture_output=True, check=True)
    assert json.loads(done.stdout)["code"] == 0


def test_the_printed_python_works(demo: Demo) -> None:
    """Pasted into Python, the sample prints a link."""
    done = subprocess.run([sys.executable, "-c", demo.part("Python", "JavaScript")], capture_output=True, check=True)
    assert httpx.get(done.stdout.decode().strip(), trust_env=False).status_code == 200


def test_the_printed_javascript_works(demo: Demo) -> None:
    """Pasted into Node, the sample prints a link."""
    script = demo.part("JavaScript", "What was spent")
    done = subprocess.run(["node", "--input-type=module", "--eval", script], capture_output=True, check=True)
    assert httpx.get(done.stdout.decode().strip(), trust_env=False).status_code == 200


def test_ctrl_c_stops_it_in_order(demo: Demo) -> None:
    """SIGINT ends it with status 0 and no traceback; this comes last, since the demo is gone then."""
    assert demo.process.stop(signal.SIGINT) == 0
    assert "Traceback" not in demo.process.log
