"""Starting: what is wrong is told in a sentence each, all at once, before anything is listened on or changed."""

import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.servers.gateway import Gateway, describe
from tests.servers.pair import Pair
from tests.servers.ports import free_port
from tests.servers.process import wait_until

FAULTY = """
[models."flux-2-pro"]
provider = "flux"
accepts = ["aspect_ratio", "colour"]
images_max = 8
reply = "url"
price = { image = "cheap", currency = "CNY" }

[models.other]
provider = "flux"
acepts = []
price = { image = "0.04", currency = "XXX" }
"""


@pytest.fixture
def described(tmp_path: Path) -> Callable[..., Gateway]:
    """Describe a gateway that is not started; nobody needs to be upstream."""
    return lambda **settings: describe(tmp_path, upstream="http://127.0.0.1:9", keys=("a-key",), **settings)


def refused(one: Gateway, *arguments: str, **settings: str) -> str:
    """Run a command that is to be refused; return what it said, on standard error alone."""
    try:
        done = one.cli(*arguments, **settings)
    finally:
        one.end()
    assert (done.returncode, done.stdout) == (1, ""), done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


@pytest.mark.parametrize("command", ["serve", "check-config"])
def test_a_faulty_catalog_is_refused_with_every_fault(
    described: Callable[..., Gateway], tmp_path: Path, command: str
) -> None:
    """File, entry and fault are named, for all faults at once, by `serve` and `check-config` alike."""
    catalog = tmp_path / "models.toml"
    catalog.write_text(FAULTY)
    said = refused(described(catalog=str(catalog)), command)
    for place in ('models."flux-2-pro".accepts', 'models."flux-2-pro".price', 'models."other".acepts'):
        assert f"{catalog}: {place}" in said


def test_every_missing_or_senseless_setting_is_told_at_once(described: Callable[..., Gateway]) -> None:
    """Values out of range, unknown GATEWAY_ variables and misfits are all named, without their values."""
    one = described(port="70000", storage_url="ftp://x", timezone="Mars/Olympus", upstream_timeout="soon")
    said = refused(one, "serve", GATEWAY_REQEST_LIMIT="5", GATEWAY_ADMIN_TOKEN="short-and-secret")
    for name in ("PORT", "STORAGE_URL", "TIMEZONE", "UPSTREAM_TIMEOUT", "REQEST_LIMIT", "ADMIN_TOKEN"):
        assert f"GATEWAY_{name}: " in said
    assert "GATEWAY_REQEST_LIMIT: is no setting" in said
    assert "short-and-secret" not in said


def test_serving_needs_an_upstream_key_and_a_public_url(described: Callable[..., Gateway]) -> None:
    """What only `serve` needs is asked for by `serve`: a key, and what links begin with on a wildcard host."""
    said = refused(described(upstream_api_keys="", host="0.0.0.0"), "serve")
    assert "GATEWAY_UPSTREAM_API_KEYS: is required" in said
    assert "GATEWAY_PUBLIC_URL: is required" in said


@pytest.mark.parametrize("name", ["GATEWAY_PORT", "GATEWAY_METRICS_PORT"])
def test_a_taken_port_is_told_by_its_setting(described: Callable[..., Gateway], name: str) -> None:
    """A port that somebody else listens on is named with its setting."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        said = refused(described(), "serve", **{name: str(port)})
    assert f"{name}: cannot listen on 127.0.0.1:{port}" in said


def test_one_data_directory_serves_one_gateway(shared: Pair) -> None:
    """A second `serve` on the same data directory is refused, and does the first no harm."""
    done = shared.gateway.cli("serve", GATEWAY_PORT=str(free_port()), GATEWAY_METRICS_PORT="0")
    assert done.returncode == 1
    assert f"another gateway serves from {shared.gateway.data_dir}" in done.stderr
    assert shared.post().status_code == 200


def test_a_good_configuration_is_good(described: Callable[..., Gateway]) -> None:
    """`check-config` says so, and contacts and makes nothing."""
    one = described()
    done = one.cli("check-config")
    one.end()
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert "the configuration is good" in done.stderr
    assert not one.data_dir.exists()


@pytest.mark.parametrize("command", ["serve", "check-config"])
@pytest.mark.parametrize("place", ["file", "file/below"])
def test_a_data_directory_that_cannot_be_is_told(
    described: Callable[..., Gateway], tmp_path: Path, place: str, command: str
) -> None:
    """A file where the data directory or its parent ought to be is found without making anything."""
    (tmp_path / "file").touch()
    said = refused(described(), command, GATEWAY_DATA_DIR=str(tmp_path / place))
    assert f"GATEWAY_DATA_DIR: {tmp_path / place} " in said


@pytest.mark.parametrize("command", ["serve", "check-config"])
def test_what_serve_cannot_start_with_is_not_good(described: Callable[..., Gateway], command: str) -> None:
    """`serve` and `check-config` refuse the same, all of it at once, by the settings' names and with no traceback."""
    wrong = {
        "FETCH_ALLOW": "a b",
        "DATABASE_URL": "postgresql://u:p@h:port/db",
        "REDIS_URL": "redis+sentinel://host",
        "HOST": "[::]",
        "TRUSTED_PROXIES": "proxy",
        "PUBLIC_URL": "https://host/?a",
    }
    said = refused(described(), command, **{f"GATEWAY_{name}": value for name, value in wrong.items()})
    assert [f"GATEWAY_{name}: " in said for name in wrong] == [True] * len(wrong)


def test_check_config_can_try_everything(shared: Pair) -> None:
    """`check-config --contact` writes to the store and reaches database and upstream, and says so."""
    done = shared.gateway.cli("check-config", "--contact")
    assert done.returncode == 0, done.stderr
    for part in ("database: reached", "image store: written to", "upstream: reached"):
        assert part in done.stderr


def test_the_catalog_is_read_again_and_a_faulty_one_is_not_taken(fresh: Callable[..., Pair], tmp_path: Path) -> None:
    """A changed price is quoted without a restart; a faulty new version is reported, and the old one stays."""
    catalog = tmp_path / "models.toml"
    entry = '[models."flux-2-pro"]\nprovider = "flux"\naccepts = ["width", "height"]\nreply = "url"\n'
    catalog.write_text(entry + 'price = { image = "0.04", currency = "CNY" }\n')
    both = fresh(catalog=str(catalog))

    def offered() -> dict[str, str]:
        models = both.gateway.http.get("/models", headers={"Authorization": both.key}).json()["models"]
        return {model["model"]: model["price"]["most_yuan"] for model in models}

    assert offered() == {"flux-2-pro": "0.040000"}
    catalog.write_text(entry + 'price = { image = "0.08", currency = "CNY" }\n')
    wait_until(lambda: offered() == {"flux-2-pro": "0.080000"}, "the new price")
    answer = both.post()
    assert both.gateway.generation(answer.headers["x-generation-id"])["quote"] == 80_000
    catalog.write_text(FAULTY)
    wait_until(lambda: "faulty catalog refused" in both.gateway.log, "the fault to be reported")
    assert str(catalog) in both.gateway.log
    assert offered() == {"flux-2-pro": "0.080000"}
    assert both.post().status_code == 200
