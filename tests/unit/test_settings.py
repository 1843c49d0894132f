"""Settings are read once, every fault is told at once, and no value of a secret with it."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from gateway.errors import Misconfigured
from gateway.settings import OTHERS, PREFIX, Settings, load

GOOD = "0123456789abcdefghijklmnopqrstuv"
SERVING = {"GATEWAY_UPSTREAM_API_KEYS": "one, two"}


def faults(environ: dict[str, str]) -> list[str]:
    """Return what is wrong with an environment."""
    with pytest.raises(Misconfigured) as raised:
        load(environ)
    return raised.value.faults


def test_nothing_needs_to_be_set_but_what_is_bought_with() -> None:
    """An empty environment is one embedded gateway that lacks only its upstream keys."""
    settings = load({"PATH": "/bin"})
    assert settings.embedded
    assert settings.link_base == "http://127.0.0.1:8080"
    assert [fault.partition(":")[0] for fault in settings.faults_to_serve()] == ["GATEWAY_UPSTREAM_API_KEYS"]
    assert load(SERVING).faults_to_serve() == []


def test_lists_are_comma_separated_and_blanks_are_nothing() -> None:
    """Spaces and empty parts do not count; an empty variable is one that is not set."""
    settings = load({"GATEWAY_UPSTREAM_API_KEYS": " one,,two ,", "GATEWAY_PORT": "", "GATEWAY_FETCH_ALLOW": "a:1,b"})
    assert [key.get_secret_value() for key in settings.upstream_api_keys] == ["one", "two"]
    assert settings.port == 8080
    assert settings.fetch_allow == ("a:1", "b")


def test_every_fault_is_told_at_once() -> None:
    """Each fault names its variable and what it must be."""
    told = faults(
        {
            "GATEWAY_PORT": "70000",
            "GATEWAY_WORKERS": "many",
            "GATEWAY_UPSTREAM_URL": "ftp://x",
            "GATEWAY_TIMEZONE": "Mars/Base",
            "GATEWAY_REDIS_URL": "http://x",
            "GATEWAY_STORAGE_URL": "ftp://x",
            "GATEWAY_BUDGET": "5",
        }
    )
    assert sorted(fault.partition(":")[0] for fault in told) == [
        "GATEWAY_BUDGET",
        "GATEWAY_PORT",
        "GATEWAY_REDIS_URL",
        "GATEWAY_STORAGE_URL",
        "GATEWAY_TIMEZONE",
        "GATEWAY_UPSTREAM_URL",
        "GATEWAY_WORKERS",
    ]
    assert "GATEWAY_TIMEZONE: must be a time zone such as Asia/Shanghai" in told


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("GATEWAY_SECRET", "too-short-hunter2"),
        ("GATEWAY_SECRET", f"{GOOD},too-short-hunter2"),
        ("GATEWAY_SECRET", "a" * 40),
        ("GATEWAY_SECRET", "changeme-0123456789abcdefghijklmnop"),
        ("GATEWAY_ADMIN_TOKEN", "Password-0123456789abcdefghijklmnop"),
        ("GATEWAY_ADMIN_TOKEN", f"with a space {GOOD}"),
        ("GATEWAY_UPSTREAM_API_KEYS", "good,ba d"),
        ("GATEWAY_UPSTREAM_API_KEYS", "sch\u00fcssel"),
        ("GATEWAY_DATABASE_URL", "mysql://user:hunter2@host/db"),
        ("GATEWAY_DATABASE_URL", "postgresql://user:hunter2@host:hunter2/db"),
        ("GATEWAY_DATABASE_URL", "postgresql://user:hunter2@host:99999/db"),
        ("GATEWAY_REDIS_URL", "http://:hunter2@host"),
        ("GATEWAY_REDIS_URL", "redis://:hunter2@host:99999"),
        ("GATEWAY_PUBLIC_URL", "https://user:hunter2@host"),
    ],
)
def test_a_faulty_secret_is_refused_without_saying_it(variable: str, value: str) -> None:
    """Weak, known and unsendable secrets are refused; the fault does not repeat them."""
    (told,) = faults({variable: value})
    assert told.startswith(f"{variable}: ")
    assert not any(part in told for part in value.split(",") if len(part) > 5)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("GATEWAY_DATABASE_URL", "sqlite:///gateway.sqlite3"),
        ("GATEWAY_DATABASE_URL", "postgresql+psycopg2://host/db"),
        ("GATEWAY_DATABASE_URL", "postgresql:///db"),
        ("GATEWAY_DATABASE_URL", "postgresql"),
        ("GATEWAY_DATABASE_URL", "postgresql://host/db?sslmode=require"),
        ("GATEWAY_REDIS_URL", "redis+sentinel://host"),
        ("GATEWAY_REDIS_URL", "redis://host:port"),
        ("GATEWAY_REDIS_URL", "redis://host/first"),
        ("GATEWAY_FETCH_ALLOW", "a b"),
        ("GATEWAY_FETCH_ALLOW", "https://host"),
        ("GATEWAY_TRUSTED_PROXIES", "*"),
        ("GATEWAY_TRUSTED_PROXIES", "10.0.0.1/8"),
        ("GATEWAY_TRUSTED_PROXIES", "proxy.example"),
        ("GATEWAY_HOST", "not a host"),
        ("GATEWAY_HOST", "[::]"),
        ("GATEWAY_HOST", "0"),
        ("GATEWAY_HOST", "127.1"),
        ("GATEWAY_METRICS_HOST", "127.0.0.1:9400"),
        ("GATEWAY_PORT", "0"),
        ("GATEWAY_PUBLIC_URL", "https://host/?a"),
        ("GATEWAY_PUBLIC_URL", "https://host/#a"),
        ("GATEWAY_PUBLIC_URL", "https://a host"),
        ("GATEWAY_PUBLIC_URL", "https://host:0"),
        ("GATEWAY_UPSTREAM_URL", "https://user@host"),
        ("GATEWAY_SECRET", ","),
        ("GATEWAY_UPSTREAM_API_KEYS", " , "),
        ("GATEWAY_TRUSTED_PROXIES", ","),
    ],
)
def test_what_a_server_could_not_start_with_is_refused(variable: str, value: str) -> None:
    """Each value is read by the parser that will use it, before anything is started."""
    (told,) = faults({variable: value})
    assert told.startswith(f"{variable}: ")
    assert " must " in told


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("GATEWAY_DATABASE_URL", "postgresql://user:p%40ss@[::1]:5432/db"),
        ("GATEWAY_DATABASE_URL", "postgresql://host/db?ssl=require&target_session_attrs=read-write"),
        ("GATEWAY_REDIS_URL", "rediss+sentinel://a:26379,b/service/1"),
        ("GATEWAY_FETCH_ALLOW", "minio:9000, [::1]:81, 10.0.0.1"),
        ("GATEWAY_TRUSTED_PROXIES", "10.0.0.0/8, ::1, 192.0.2.1"),
        ("GATEWAY_HOST", "localhost"),
        ("GATEWAY_METRICS_PORT", "0"),
        ("GATEWAY_PUBLIC_URL", "http://images_1:8080/gateway"),
    ],
)
def test_what_a_server_can_start_with_is_taken(variable: str, value: str) -> None:
    """Every documented form is a setting."""
    assert load(SERVING | {"GATEWAY_SECRET": GOOD, variable: value}).faults_to_serve() == []


def test_the_entry_at_fault_is_counted() -> None:
    """Of a list, each entry that is wrong is told by its place."""
    assert faults({"GATEWAY_TRUSTED_PROXIES": "::1,a,10.0.0.0/8,b"}) == [
        f"GATEWAY_TRUSTED_PROXIES: entry {place} must be an address or a network such as 10.0.0.0/8" for place in (2, 4)
    ]


def test_secrets_are_in_no_repr() -> None:
    """A log line with the settings in it gives nothing away."""
    settings = load(
        {
            "GATEWAY_UPSTREAM_API_KEYS": "sk-hunter2",
            "GATEWAY_SECRET": GOOD,
            "GATEWAY_ADMIN_TOKEN": GOOD[::-1],
            "GATEWAY_DATABASE_URL": "postgresql://user:hunter2@host/db",
            "GATEWAY_REDIS_URL": "redis://:hunter2@host",
            "AWS_SECRET_ACCESS_KEY": "hunter2",
        }
    )
    for text in (repr(settings), str(settings)):
        assert "hunter2" not in text
        assert GOOD not in text
        assert GOOD[::-1] not in text


def test_a_secret_may_come_from_a_file(tmp_path: Path) -> None:
    """X_FILE is read, its last newline left out; beside X, or unreadable, it is a fault."""
    path = tmp_path / "secret"
    path.write_text(GOOD + "\n")
    assert [one.get_secret_value() for one in load({"GATEWAY_SECRET_FILE": str(path)}).secret] == [GOOD]
    assert "one of the two" in faults({"GATEWAY_SECRET_FILE": str(path), "GATEWAY_SECRET": GOOD})[0]
    assert "GATEWAY_SECRET_FILE: cannot be read" in faults({"GATEWAY_SECRET_FILE": str(tmp_path / "absent")})[0]
    assert "GATEWAY_SHOE_FILE: is no setting" in faults({"GATEWAY_SHOE_FILE": str(path)})


def test_a_file_without_a_secret_is_a_fault(tmp_path: Path) -> None:
    """A secret that a file ought to hold and does not is missing, and nothing else is taken in its place."""
    path = tmp_path / "secret"
    path.write_text(" \n")
    assert faults({"GATEWAY_SECRET_FILE": str(path)}) == [f"GATEWAY_SECRET_FILE: cannot be read: {path} is empty"]


def test_an_empty_variable_is_not_given_beside_a_file(tmp_path: Path) -> None:
    """Compose files and unit files name variables that may be empty: X beside X_FILE, or X_FILE itself."""
    path = tmp_path / "secret"
    path.write_text(GOOD)
    (secret,) = load({"GATEWAY_SECRET_FILE": str(path), "GATEWAY_SECRET": ""}).secret
    assert secret.get_secret_value() == GOOD
    (secret,) = load({"GATEWAY_SECRET_FILE": "", "GATEWAY_SECRET": GOOD}).secret
    assert secret.get_secret_value() == GOOD


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ({"GATEWAY_HOST": "0.0.0.0"}, "GATEWAY_PUBLIC_URL"),
        ({"GATEWAY_HOST": "::"}, "GATEWAY_PUBLIC_URL"),
        ({"GATEWAY_HOST": "::0"}, "GATEWAY_PUBLIC_URL"),
        ({"GATEWAY_HOST": "0:0:0:0:0:0:0:0"}, "GATEWAY_PUBLIC_URL"),
        ({"GATEWAY_HOST": "::ffff:0.0.0.0"}, "GATEWAY_PUBLIC_URL"),
        ({"GATEWAY_METRICS_PORT": "8080"}, "GATEWAY_METRICS_PORT"),
        ({"GATEWAY_METRICS_PORT": "8080", "GATEWAY_METRICS_HOST": "0.0.0.0"}, "GATEWAY_METRICS_PORT"),
        ({"GATEWAY_WORKERS": "2", "GATEWAY_SECRET": GOOD}, "GATEWAY_REDIS_URL"),
        ({"GATEWAY_REDIS_URL": "redis://host"}, "GATEWAY_SECRET"),
        ({"GATEWAY_DATABASE_URL": "postgresql://host/db"}, "GATEWAY_SECRET"),
        ({"GATEWAY_LINKS": "presigned"}, "GATEWAY_LINKS"),
        ({"GATEWAY_LINKS": "presigned", "GATEWAY_STORAGE_URL": "file:///images"}, "GATEWAY_LINKS"),
        ({"GATEWAY_LINKS": "public"}, "GATEWAY_LINKS_URL"),
        ({"GATEWAY_LINKS_URL": "https://cdn.example"}, "GATEWAY_LINKS_URL"),
        (
            {"GATEWAY_LINKS": "public", "GATEWAY_LINKS_URL": "https://c.example", "GATEWAY_STORAGE_URL": "none"},
            "GATEWAY_LINKS",
        ),
    ],
)
def test_settings_that_need_each_other(given: dict[str, str], missing: str) -> None:
    """What only matters together is told by the variable that is missing, or is to change."""
    assert [fault.partition(":")[0] for fault in load(SERVING | given).faults_to_serve()] == [missing]


def test_two_addresses_may_have_one_port() -> None:
    """Ports are in each other's way on one address alone."""
    elsewhere = {"GATEWAY_METRICS_PORT": "8080", "GATEWAY_METRICS_HOST": "127.0.0.2"}
    assert load(SERVING | elsewhere).faults_to_serve() == []


@pytest.mark.parametrize(
    ("given", "base"),
    [
        ({"GATEWAY_PUBLIC_URL": "https://images.example/"}, "https://images.example"),
        ({"GATEWAY_HOST": "::1", "GATEWAY_PORT": "81"}, "http://[::1]:81"),
    ],
)
def test_links_begin_with_the_public_url(given: dict[str, str], base: str) -> None:
    """Without one, links begin with the address that is listened on."""
    assert load(given).link_base == base


def test_the_clouds_variables_are_taken_along() -> None:
    """Credentials of the object store are handed to its client, nothing else of the environment is."""
    environ = {"AWS_REGION": "eu-1", "GOOGLE_BASE_URL": "x", "AZURE_TENANT_ID": "y", "HOME": "/root"}
    assert load(environ).cloud == {name: value for name, value in environ.items() if name != "HOME"}


def test_settings_do_not_change() -> None:
    """They are read once and frozen; every field has a text for the README."""
    with pytest.raises(ValidationError):
        load({}).port = 1
    assert all(field.description for name, field in Settings.model_fields.items() if name not in OTHERS)
    assert PREFIX == "GATEWAY_"
