"""The admin API over HTTP, beside the command line that does the same."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import httpx
import orjson
import pytest

from gateway.cli import main
from tests.flow.wire import exchange, request
from tests.servers.gateway import Gateway
from tests.servers.pair import Pair, pair
from tests.servers.process import wait_until

TOKEN = "kT9vQ2mX7cB4nZ8rL5wJ1hF6dS3gP0yA"
EFFECT_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Admin:
    """A gateway whose admin API is on, and a client that has its token."""

    both: Pair = field(repr=False)
    http: httpx.Client

    @property
    def gateway(self) -> Gateway:
        return self.both.gateway

    def get(self, path: str, **query: str) -> Any:
        answer = self.http.get(path, params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post(self, path: str, body: object = None, *, status: int = 200) -> Any:
        answer = self.http.post(path) if body is None else self.http.post(path, json=body)
        assert answer.status_code == status, answer.text
        return answer.json()

    def refused(self, method: str, path: str, body: object = None) -> tuple[int, str]:
        answer = self.http.request(method, path, json=body)
        assert answer.json()["code"] == -1
        return answer.status_code, answer.json()["msg"]


@pytest.fixture(scope="module")
def admin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Admin]:
    """Share a gateway with an admin token."""
    with (
        pair(tmp_path_factory.mktemp("admin"), admin_token=TOKEN) as both,
        httpx.Client(
            base_url=f"{both.gateway.url}/admin/api",
            headers={"Authorization": f"Bearer {TOKEN}"},
            trust_env=False,
            timeout=20,
        ) as http,
    ):
        yield Admin(both, http)


@pytest.fixture
def cli(
    admin: Admin, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[object, str, str]]:
    """Run commands in this process (as one of its own each would take a second): status, output, errors."""

    def run(*arguments: str) -> tuple[object, str, str]:
        for name, setting in admin.gateway.environment.items():
            monkeypatch.setenv(name, setting)
        monkeypatch.setattr("sys.argv", ["gateway", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code, *capsys.readouterr()

    return run


def make_unknown(gateway: Gateway, tenant: str, *ids: str, created_at: int = 1_795_305_600_000) -> None:
    """Write unknown generations of 0.1 yuan each, with their holds, as a lost answer leaves them."""
    with closing(sqlite3.connect(gateway.database_path, timeout=10)) as connection, connection:
        (scope,) = connection.execute("SELECT id FROM tenants WHERE name = ?", (tenant,)).fetchone()
        for one in ids:
            connection.execute(
                "INSERT INTO generations (id, tenant_id, key_id, process_id, request_id, fingerprint, state, bill, day,"
                " model, provider, quote, created_at, ask) VALUES (?, ?, 'key_1', 'proc_1', 'req_1', 'f', 'unknown',"
                " 'unknown', '2026-11-22', 'flux-2-pro', 'BFL', 100000, ?, '{}')",
                (one, scope, created_at),
            )
            for period, start in (("day", "2026-11-22"), ("month", "2026-11"), ("total", "")):
                connection.execute(
                    "INSERT INTO balances (scope, period, start, spent, held) VALUES (?, ?, ?, 0, 100000)"
                    " ON CONFLICT DO UPDATE SET held = held + 100000",
                    (scope, period, start),
                )


@pytest.mark.parametrize("path", ["/tenants", "/tenants/team/disable", "/nothing", "", "/"])
def test_without_a_token_in_the_settings_there_is_no_admin_api(shared: Pair, path: str) -> None:
    """Every path below the prefix answers 404 in the envelope, whatever the request brings."""
    for method in ("GET", "POST"):
        answer = shared.gateway.http.request(method, f"/admin/api{path}", headers={"Authorization": f"Bearer {TOKEN}"})
        assert (answer.status_code, answer.json()) == (404, {"code": -1, "msg": "Not found"})


@pytest.mark.parametrize(
    "authorization", [None, "Bearer", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", f"Basic {TOKEN}", "Bearer 密钥"]
)
@pytest.mark.parametrize("path", ["/tenants", "/nothing"])
def test_without_the_token_nothing_is_told(admin: Admin, authorization: str | None, path: str) -> None:
    """No token, another or a part of it: 401 in the documented words, also where there is no such path."""
    headers = [] if authorization is None else [(b"Authorization", authorization.encode())]
    answer = admin.gateway.http.request("PUT", f"/admin/api{path}", headers=headers)
    assert (answer.status_code, answer.json()) == (401, {"code": -1, "msg": "API key is invalid or expired"})


def test_a_tenants_key_opens_nothing_here(admin: Admin) -> None:
    """The key of a tenant is not the admin token."""
    answer = admin.gateway.http.get("/admin/api/tenants", headers={"Authorization": f"Bearer {admin.both.key}"})
    assert answer.status_code == 401


def test_the_token_is_asked_for_before_a_byte_of_the_body(admin: Admin) -> None:
    """A promise of 200 KB from nobody is refused at once, and the connection is closed."""
    sent = request("Content-Type: application/json", "Content-Length: 200000", path="/admin/api/tenants", length=False)
    answer = exchange(admin.gateway.port, sent, await_close=True)
    assert (answer.status, answer.closed) == (401, True)
    assert answer.seconds < 2


def test_a_tenant_lives_by_the_api_alone(admin: Admin) -> None:
    """Made, given a key that works, changed, disabled and enabled; each in effect within 5 s."""
    made = admin.post("/tenants", {"name": "shop", "budget_day": "12.5", "models": ["flux-2-pro"]}, status=201)
    assert (made["name"], made["disabled"], made["policy"]["budget_day"]) == ("shop", False, "12.500000")
    key = admin.post("/tenants/shop/keys", {"label": "till"}, status=201)
    assert admin.gateway.post(key["key"]).status_code == 200
    assert "key" not in admin.get("/tenants/shop/keys")["keys"][0]

    changed = admin.http.patch("/tenants/shop", json={"budget_day": "0.01", "models": None}).json()
    assert (changed["policy"]["budget_day"], changed["policy"]["models"]) == ("0.010000", None)
    assert admin.get("/tenants/shop") == changed
    assert changed in admin.get("/tenants")["tenants"]
    wait_until(lambda: admin.gateway.post(key["key"]).status_code == 402, "the budget to bind", EFFECT_SECONDS)
    unlimited = admin.http.patch("/tenants/shop", json={"budget_day": None}).json()
    assert unlimited["policy"]["budget_day"] is None

    assert admin.post("/tenants/shop/disable")["disabled"] is True
    wait_until(lambda: admin.gateway.post(key["key"]).status_code == 401, "its keys to be refused", EFFECT_SECONDS)
    assert admin.post("/tenants/shop/enable", {})["disabled"] is False
    assert admin.gateway.post(key["key"]).status_code == 200


def test_a_key_is_rotated_and_revoked(admin: Admin) -> None:
    """The successor is shown once and works; a revoked key is refused within 5 s."""
    admin.post("/tenants", {"name": "keys"}, status=201)
    body = {"label": "a", "expires_at": "90d", "requests_per_minute": 50, "images_per_minute": "60"}
    old = admin.post("/tenants/keys/keys", body, status=201)
    assert old["policy"] == {"requests_per_minute": 50, "images_per_minute": 60}
    new = admin.post(f"/keys/{old['id']}/rotate", status=201)
    assert (new["label"], new["policy"], new["expires_at"]) == ("a", old["policy"], old["expires_at"])
    assert new["key"] != old["key"]
    assert admin.gateway.post(new["key"]).status_code == 200
    assert admin.post(f"/keys/{new['id']}/revoke")["state"] == "revoked"
    wait_until(lambda: admin.gateway.post(new["key"]).status_code == 401, "the key to be refused", EFFECT_SECONDS)
    assert admin.refused("POST", f"/keys/{new['id']}/rotate")[0] == 404
    shown = {key["id"]: key["state"] for key in admin.get("/tenants/keys/keys")["keys"]}
    assert shown == {old["id"]: "active", new["id"]: "revoked"}
    log = admin.gateway.log
    assert all(secret not in log for secret in (TOKEN, old["key"], new["key"]))


@pytest.mark.parametrize(
    ("method", "path", "body", "expected"),
    [
        ("GET", "/tenants/nobody", None, (404, "There is no tenant named nobody")),
        ("POST", "/tenants/nobody/keys", {}, (404, "There is no tenant named nobody")),
        ("POST", "/keys/key_x/revoke", None, (404, "There is no key key_x")),
        ("POST", "/unknown/gen_x/void", None, (404, "There is no unknown generation gen_x")),
        ("POST", "/tenants", {"name": "team"}, (409, "A tenant named team exists")),
        ("POST", "/tenants", {}, (400, "name: is required")),
        ("POST", "/tenants", {"name": 5}, (400, "name: must be text")),
        ("POST", "/tenants", {"name": "x", "budget": "1"}, (400, "budget: is no option of a policy")),
        ("PATCH", "/tenants/team", {}, (400, "give at least one option to change")),
        ("PATCH", "/tenants/team", {"name": "other"}, (400, "name: is no option of a policy")),
        (
            "PATCH",
            "/tenants/team",
            {"models": []},
            (400, "models: must name at least one"),
        ),
        ("POST", "/tenants/team/keys", {"burst": 5}, (400, "burst: is no option of a key")),
        (
            "POST",
            "/tenants/team/keys",
            {"expires_at": "soon"},
            (400, "expires_at: must be like 90d, 12h, 30m or 2027-01-31"),
        ),
        ("POST", "/tenants/team/keys", {"expires_at": "2020-01-01"}, (400, "expires_at: must be in the future")),
        (
            "POST",
            "/tenants/team/keys",
            {"label": "a\u0000"},
            (400, "label: must be at most 100 printable characters"),
        ),
        (
            "POST",
            "/tenants/team/disable",
            {"why": "x"},
            (400, "Invalid why parameter. Supported parameters: none"),
        ),
        ("POST", "/unknown/void", {}, (400, "say which: tenant, before, or both")),
        ("POST", "/unknown/settle-quoted", {"before": None}, (400, "say which: tenant, before, or both")),
        (
            "POST",
            "/unknown/void",
            {"before": "x"},
            (400, "before: must be a day or a moment such as 2026-11-22T08:00Z"),
        ),
        (
            "POST",
            "/unknown/void",
            {"tennant": "a"},
            (400, "Invalid tennant parameter. Supported parameters: tenant, before"),
        ),
        (
            "POST",
            "/unknown/gen_x/settle",
            {"cost_yuan": "-1"},
            (400, "cost_yuan: must be an amount of yuan between 0 and 1000000000, with at most 6 decimals"),
        ),
        ("POST", "/unknown/gen_x/settle", {"cost_yuan": 0.04}, (400, "cost_yuan: must be text")),
        ("GET", "/spend?by=user_agent", None, (400, "by: must be one of day, model, tenant, provider, key, user")),
        ("GET", "/spend?from=1", None, (400, "from: must be a day such as 2026-11-01")),
        (
            "GET",
            "/spend?from=2026-11-02&to=2026-11-01",
            None,
            (400, "to: must not be before the first day, 2026-11-02"),
        ),
        ("GET", "/spend?tenant=nobody", None, (404, "There is no tenant named nobody")),
        ("GET", "/unknown?tenant=nobody", None, (404, "There is no tenant named nobody")),
        ("POST", "/unknown/void", {"tenant": "nobody"}, (404, "There is no tenant named nobody")),
        ("POST", "/unknown/void", {"tenant": "\0"}, (400, "tenant: must be Unicode text without NUL")),
        ("POST", "/tenants/team/tokens/revoke", {"user": "\0"}, (400, "user: must be Unicode text without NUL")),
        ("POST", "/tenants/team/tokens/revoke", {}, (400, "user: is required")),
        (
            "GET",
            "/spend?tennant=a",
            None,
            (400, "Invalid tennant parameter. Supported parameters: from, to, by, tenant, format, limit, after"),
        ),
        ("GET", "/spend?by=day&by=key", None, (400, "A query parameter is given twice")),
        ("GET", "/audit?limit=101", None, (400, "limit: must be a whole number between 1 and 100")),
        ("GET", "/audit?limit=0", None, (400, "limit: must be a whole number between 1 and 100")),
        ("GET", "/nothing", None, (404, "Not found")),
        ("DELETE", "/tenants/team", None, (405, "Method not allowed")),
    ],
)
def test_a_refusal_says_what_is_wrong(
    admin: Admin, method: str, path: str, body: object, expected: tuple[int, str]
) -> None:
    """Each in the envelope, naming the parameter; nothing is changed and no row is added to the trail."""
    before = admin.get("/audit", limit="1")
    assert admin.refused(method, path, body) == expected
    assert admin.get("/audit", limit="1") == before


@pytest.mark.parametrize(
    ("body", "headers", "expected"),
    [
        (b'{"name":"a","name":"b"}', {}, (400, "Invalid request body. Duplicate parameter: name")),
        (b'{"name":"a","budget_day":NaN}', {}, (400, "Invalid request body. A JSON object is required")),
        (b"[]", {}, (400, "Invalid request body. A JSON object is required")),
        (b"", {}, (400, "Invalid request body. A JSON object is required")),
        (
            b"name=a",
            {"Content-Type": "application/x-www-form-urlencoded"},
            (415, "Invalid Content-Type header. Supported type: application/json"),
        ),
        (b'{"name":"a"}'.ljust(256 * 1024 + 1), {}, (413, "Request body is too large. Maximum size: 0.25MB")),
    ],
)
def test_bodies_are_read_strictly(
    admin: Admin, body: bytes, headers: dict[str, str], expected: tuple[int, str]
) -> None:
    """One JSON object with every name once, of at most 256 KiB."""
    answer = admin.http.post("/tenants", content=body, headers={"Content-Type": "application/json"} | headers)
    assert (answer.status_code, answer.json()["msg"]) == expected


COUNT = "must be a whole number between 1 and 1000000"
AMOUNT = "must be an amount of yuan more than 0 and at most 1000000000, with at most 6 decimals"


@pytest.mark.parametrize(
    ("option", "value", "rule"),
    [
        *[
            (option, value, COUNT)
            for option in ("requests_per_minute", "images_per_minute", "burst", "concurrency")
            for value in ("-1", "0", "1000001", "1.5", "NaN", "1e3")
        ],
        *[("budget_day", value, AMOUNT) for value in ("-1", "1000000001", "0.0000001", "NaN", "Infinity", "1e3", "一")],
        ("budget_total", "0", "must be more than 0"),
        ("models", "flux-3", "unknown model 'flux-3', known are "),
        ("image_format", "gif", "must be one of url, base64, upstream"),
        ("shadow", "maybe", "must be yes or no"),
    ],
)
def test_a_bad_value_is_refused_alike_by_both(
    admin: Admin, cli: Callable[..., tuple[object, str, str]], option: str, value: str, rule: str
) -> None:
    """The same policy value gives the same message by the command line (1) and by the API (400)."""
    status, text = admin.refused("PATCH", "/tenants/team", {option: value})
    assert status == 400
    assert text.startswith(f"{option}: {rule}")
    said = cli("tenant", "update", "team", f"--{option.replace('_', '-')}={value}")
    assert said == (1, "", f"gateway: {text}\n")


def test_a_key_ends_with_a_day_of_the_budgets(admin: Admin) -> None:
    """A day is one in GATEWAY_TIMEZONE, as by the command line."""
    admin.post("/tenants", {"name": "ending"}, status=201)
    key = admin.post("/tenants/ending/keys", {"expires_at": "2999-01-02"}, status=201)
    assert key["expires_at"] == "2999-01-01T16:00:00Z"


def test_unknown_generations_are_decided_one_by_one_and_together(admin: Admin) -> None:
    """Listed, settled at a cost, voided, settled at their quotes; what they held is free again."""
    admin.post("/tenants", {"name": "lost"}, status=201)
    admin.post("/tenants", {"name": "found"}, status=201)
    make_unknown(admin.gateway, "lost", "gen_1", "gen_2", "gen_3", created_at=1_700_000_000_000)
    make_unknown(admin.gateway, "lost", "gen_4")
    make_unknown(admin.gateway, "found", "gen_5")
    assert [row["id"] for row in admin.get("/unknown", tenant="lost")["rows"]] == ["gen_1", "gen_2", "gen_3", "gen_4"]
    listed = admin.gateway.cli("reconcile", "--json")
    assert orjson.loads(listed.stdout) == admin.get("/unknown")
    assert [row["id"] for row in admin.get("/unknown", before="2026-01-01")["rows"]] == ["gen_1", "gen_2", "gen_3"]

    settled = {"id": "gen_1", "state": "settled", "cost_yuan": "0.040000"}
    assert admin.post("/unknown/gen_1/settle", {"cost_yuan": "0.04"}) == settled
    assert admin.post("/unknown/gen_2/void")["state"] == "released"
    assert admin.refused("POST", "/unknown/gen_2/void")[0] == 404
    assert admin.post("/unknown/settle-quoted", {"tenant": "lost", "before": "2026-01-01"}) == {"done": 1}
    assert admin.post("/unknown/void", {"tenant": "found"}) == {"done": 1}
    assert [row["id"] for row in admin.get("/unknown")["rows"]] == ["gen_4"]
    voided = admin.gateway.cli("reconcile", "--tenant", "lost", "--void")
    assert (voided.returncode, voided.stderr) == (0, "1 generations released\n")
    assert admin.gateway.held() == 0

    rows = admin.get("/spend", **{"from": "2026-11-22", "to": "2026-11-22", "by": "tenant", "tenant": "lost"})["rows"]
    assert [(row["tenant"], row["cost_yuan"], row["unknown"]) for row in rows] == [("lost", "0.140000", 0)]
    printed = admin.gateway.cli("spend", "--from=2026-11-22", "--to=2026-11-22", "--by=tenant", "--tenant=lost")
    assert "0.140000" in printed.stdout
    trail = admin.get("/audit", subject="gen_1")["rows"]
    assert [(row["actor"], row["before"], row["after"]) for row in trail] == [
        ("admin", {"state": "unknown"}, {"state": "settled", "cost_yuan": "0.040000"})
    ]
    assert admin.get("/audit", subject="gen_4")["rows"][0]["actor"] == "cli"


def test_the_report_is_that_of_the_command_line(admin: Admin) -> None:
    """The API answers what `gateway spend --format json` prints."""
    assert admin.both.post("for the report").status_code == 200
    for by in ("day", "key"):
        printed = admin.gateway.cli("spend", f"--by={by}", "--format=json")
        assert admin.get("/spend", by=by) == orjson.loads(printed.stdout)


def test_the_trail_tells_who_changed_what(admin: Admin) -> None:
    """Newest first, with what was before and after, by the API or the command line; in pages, without a key."""
    admin.post("/tenants", {"name": "trail"}, status=201)
    key = admin.post("/tenants/trail/keys", {}, status=201)
    admin.http.patch("/tenants/trail", json={"burst": 7}).raise_for_status()
    assert admin.gateway.cli("tenant", "update", "trail", "--burst", "8").returncode == 0
    admin.post("/tenants/trail/disable")
    rows = admin.get("/audit", subject="trail")["rows"]
    assert [(row["actor"], row["action"]) for row in rows] == [
        ("admin", "tenant.disable"),
        ("cli", "tenant.update"),
        ("admin", "tenant.update"),
        ("admin", "tenant.create"),
    ]
    assert (rows[1]["before"]["policy"]["burst"], rows[1]["after"]["policy"]["burst"]) == (7, 8)
    assert rows[3]["before"] is None

    first = admin.get("/audit", subject="trail", limit="3")
    second = admin.get("/audit", subject="trail", limit="3", after=first["next"])
    assert (first["rows"], second) == (rows[:3], {"rows": rows[3:], "next": None})
    assert key["key"] not in str(admin.get("/audit"))


def test_answers_are_not_stored(admin: Admin) -> None:
    """An answer may hold a key, so no cache keeps it."""
    assert admin.http.get("/tenants").headers["cache-control"] == "no-store"
