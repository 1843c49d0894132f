"""nginx twice: as an upstream that answers at once, and as a reverse proxy before it, the floor of what a hop costs.

Upstream's two replies have the contract's form: one image by a link, which leads to nginx as well, and one image of
2 MB as Base64. Both are fixed, so that a measurement shows the system in between and nothing else.
"""

import random
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Literal, TypeAlias

import orjson
import pybase64

from tests.bench.processes import Running, answers, free_ports, get, running
from tests.bench.tools import program

Replied: TypeAlias = Literal["link", "base64"]
"""How upstream's reply holds its image."""

COST_MICROS = 40_000
SMALL_SIDE = 82  # of noise, which does not shrink: 20 KB
LARGE_SIDE = 707  # 1.5 MB, as Base64 2.0 MB

# One process without a master, so that one process id has all of the CPU time.
_HEAD = """
worker_processes 1; master_process off; daemon off;
pid nginx.pid; error_log stderr;
events { worker_connections 8192; }
http {
    access_log off; sendfile on; tcp_nodelay on;
    keepalive_requests 100000000; client_max_body_size 300m;
    types { application/json json; image/png png; }
    client_body_temp_path temp; proxy_temp_path temp; fastcgi_temp_path temp; uwsgi_temp_path temp; scgi_temp_path temp;
"""

# A file answers only GET: the POST goes through the page of its own 405, which turns it into one.
_UPSTREAM = Template(
    _HEAD
    + """
    root www;
    server {
        listen 127.0.0.1:$link backlog=4096;
        location = /images/generate { default_type application/json; return 200 '$reply'; }
        location = /small.png { }
        location = /count { stub_status; }
    }
    server {
        listen 127.0.0.1:$base64 backlog=4096;
        location = /images/generate { error_page 405 404 =200 /base64.json; try_files /nothing =405; }
        location = /base64.json { }
    }
}
"""
)

_PROXY = Template(
    _HEAD
    + """
    upstream link { server 127.0.0.1:$to_link; keepalive 128; keepalive_requests 100000000; }
    upstream base64 { server 127.0.0.1:$to_base64; keepalive 128; keepalive_requests 100000000; }
    proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffers 64 64k;
    server { listen 127.0.0.1:$link backlog=4096; location / { proxy_pass http://link; } }
    server { listen 127.0.0.1:$base64 backlog=4096; location / { proxy_pass http://base64; } }
}
"""
)


@dataclass(frozen=True, slots=True)
class Nginx:
    """A running nginx. `ports` are where each reply is to be had."""

    process: Running
    ports: dict[Replied, int]

    def url(self, replied: Replied) -> str:
        """Return the base URL of one of the replies."""
        return f"http://127.0.0.1:{self.ports[replied]}"

    @property
    def image_url(self) -> str:
        """The link in upstream's reply."""
        return f"{self.url('link')}/small.png"

    def asked(self) -> int:
        """Return how many requests it has answered by its own count, this one included."""
        text = get(self.ports["link"], "/count")[1].decode()
        found = re.search(r"^ *\d+ \d+ (\d+)", text, re.MULTILINE)
        if found is None:
            raise RuntimeError("nginx counts no requests")
        return int(found[1])


@contextmanager
def upstream(directory: Path, core: int) -> Iterator[Nginx]:
    """Run the upstream."""
    link, base64 = free_ports(2)
    www = directory / "www"
    www.mkdir(parents=True)
    (www / "small.png").write_bytes(noise(SMALL_SIDE))
    large = pybase64.b64encode(noise(LARGE_SIDE)).decode("ascii")
    (www / "base64.json").write_bytes(reply("base64", large))
    small = reply("url", f"http://127.0.0.1:{link}/small.png").decode()
    config = _UPSTREAM.substitute(link=link, base64=base64, reply=small)
    with _nginx(directory, core, config, {"link": link, "base64": base64}) as server:
        yield server


@contextmanager
def proxy(directory: Path, core: int, before: Nginx) -> Iterator[Nginx]:
    """Run the reverse proxy."""
    link, base64 = free_ports(2)
    to = before.ports
    config = _PROXY.substitute(link=link, base64=base64, to_link=to["link"], to_base64=to["base64"])
    with _nginx(directory, core, config, {"link": link, "base64": base64}) as server:
        yield server


def reply(kind: Literal["url", "base64"], image: str) -> bytes:
    """Write upstream's reply with one image."""
    item = {"type": kind, "image": image, "mimeType": None if kind == "url" else "image/png", "revised_prompt": None}
    usage = {"cost": COST_MICROS / 1e6, "images_generated": 1, "images_failed": 0}
    return orjson.dumps({"code": 0, "data": [item], "model": "flux-2-pro", "provider": "flux", "usage": usage})


def noise(side: int) -> bytes:
    """Draw a square PNG of noise, the same in every run (W3C PNG Third Edition, 5.3 and 11.2)."""
    chance = random.Random(side)  # noqa: S311 -- a picture, not a secret
    rows = b"".join(b"\x00" + chance.randbytes(3 * side) for _ in range(side))
    header = side.to_bytes(4) + side.to_bytes(4) + bytes((8, 2, 0, 0, 0))
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows, 0)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        len(content).to_bytes(4) + name + content + zlib.crc32(name + content).to_bytes(4) for name, content in chunks
    )


@contextmanager
def _nginx(directory: Path, core: int, config: str, ports: dict[Replied, int]) -> Iterator[Nginx]:
    (directory / "temp").mkdir(parents=True)
    (directory / "nginx.conf").write_text(config)
    command = (program("nginx"), "-e", "stderr", "-p", directory, "-c", directory / "nginx.conf")
    with running(command, core, directory / "log", {}) as process:
        process.wait_for(lambda: answers(ports["link"], "/small.png"), "nginx")
        yield Nginx(process, ports)
