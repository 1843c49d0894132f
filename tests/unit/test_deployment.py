"""The container files agree with the gateway and with each other. No engine is asked."""

import json
import re
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.flow.keep import KEEP_SECONDS
from gateway.life import GRACE_SECONDS, LINGER_SECONDS
from gateway.settings import PREFIX, load

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name for name, service in SERVICES.items() if "build" in service}
OF_THE_IMAGE = {
    name: value
    for name, value in re.findall(r"^(?:ENV|   ) +([A-Z_]+)=(\S+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    if name.startswith(PREFIX)
}


def interpolated(text: str) -> str:
    """Do as Compose does: a default is taken, and what must be given is given."""
    text = re.sub(r"\$\{[A-Z0-9_]+:-([^}]*)\}", r"\1", text)
    return re.sub(r"\$\{([A-Z0-9_]+):\?[^}]*\}", lambda name: f"{name[1].lower()}-0123456789abcdefghijklmnop", text)


def test_the_dockerfile_is_clean() -> None:
    """The linter finds nothing."""
    lint = [str(Path(sys.executable).parent / "hadolint"), str(ROOT / "Dockerfile")]
    assert subprocess.run(lint, capture_output=True, text=True, check=False).stdout == ""


def test_what_the_image_copies_is_let_through() -> None:
    """Every source of a COPY exists and is named in .dockerignore."""
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    sources = {source for line in copied for source in line.split()}
    let_through = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert sources == let_through
    assert all((ROOT / source).exists() for source in sources)


class Alive(BaseHTTPRequestHandler):
    """Answers /livez alone."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/livez" else 404)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def test_the_health_check_follows_the_port() -> None:
    """A container whose GATEWAY_PORT is another one is asked there; where nobody answers, it is not healthy."""
    check = re.search(r"^HEALTHCHECK .* CMD (\[.+\])$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert check is not None
    _python, *arguments = json.loads(check[1])

    def status(port: int) -> int:
        command = [sys.executable, *arguments]
        return subprocess.run(command, env={"GATEWAY_PORT": str(port)}, capture_output=True, check=False).returncode

    with HTTPServer(("127.0.0.1", 0), Alive) as server:
        server.timeout = 5
        answering = threading.Thread(target=server.handle_request)
        answering.start()
        healthy = status(server.server_port)
        answering.join()
    assert healthy == 0
    assert status(server.server_port) != 0


@pytest.mark.parametrize("service", sorted(OURS))
def test_the_gateway_takes_the_settings_that_it_is_given(service: str) -> None:
    """The variables of the image and of a service together are settings, with values that are accepted."""
    given = {name: interpolated(str(value)) for name, value in SERVICES[service].get("environment", {}).items()}
    assert OF_THE_IMAGE, "the image sets the data directory and the hosts"
    settings = load(OF_THE_IMAGE | given)
    if service == "gateway":
        assert settings.faults_to_serve() == []


def test_no_secret_has_a_default() -> None:
    """What sounds like a secret is asked for with a message, or is off when it is left out."""
    for name, service in SERVICES.items():
        for variable, value in service.get("environment", {}).items():
            if re.search("PASSWORD|SECRET|KEY|TOKEN|AUTH$", variable):
                assert re.fullmatch(r"\$\{[A-Z0-9_]+(:\?.+|:-)\}", value), f"{name}: {variable}"
            else:
                assert not re.search(r"://[^@/:]*:(?!\$\{)[^@]+@", str(value)), f"{name}: {variable}"


def test_images_are_named_to_a_version() -> None:
    """Every image has a tag that is not `latest`."""
    for name, service in SERVICES.items():
        tag = service["image"].partition(":")[2]
        assert tag not in ("", "latest"), name


def test_every_port_is_published_to_this_machine_alone() -> None:
    """Nothing listens to the network before somebody decides so."""
    for name, service in SERVICES.items():
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:"), f"{name}: {port}"


def test_everything_that_is_mounted_or_waited_for_exists() -> None:
    """Volumes, files, networks and services that are named are there."""
    for name, service in SERVICES.items():
        for volume in service.get("volumes", []):
            source = volume.partition(":")[0]
            there = (ROOT / source).exists() if source.startswith(".") else source in COMPOSE["volumes"]
            assert there, f"{name}: {source}"
        assert set(service.get("networks", [])) <= set(COMPOSE["networks"]), name
        assert set(service.get("depends_on", [])) <= set(SERVICES), name


def test_every_service_is_confined() -> None:
    """Root file systems are read-only, nothing gains privileges, and the gateway has no capability."""
    for name, service in SERVICES.items():
        assert service["read_only"], name
        assert "no-new-privileges:true" in service["security_opt"], name
        if name in OURS:
            assert service["cap_drop"] == ["ALL"], name


def test_stopping_waits_for_what_was_paid() -> None:
    """What is told to give a process to stop covers the drain's deadline and the closing after it."""
    beyond = KEEP_SECONDS + GRACE_SECONDS + LINGER_SECONDS + 10
    (told,) = re.findall(r"time-out and (\d+) s at most", " ".join((ROOT / "README.md").read_text().split()))
    assert int(told) >= beyond
    seconds = int(SERVICES["gateway"]["stop_grace_period"].removesuffix("s"))
    assert seconds >= load({}).upstream_timeout + beyond


def test_the_scrape_finds_the_metrics_port() -> None:
    """Prometheus asks the gateway's service at its metrics port, and Grafana asks Prometheus."""
    scrape = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())["scrape_configs"][0]
    assert scrape["dns_sd_configs"] == [{"names": ["gateway"], "type": "A", "port": load({}).metrics_port}]
    sources = yaml.safe_load((ROOT / "deploy/grafana/provisioning/datasources/prometheus.yml").read_text())
    assert sources["datasources"][0]["url"] == "http://prometheus:9090"
