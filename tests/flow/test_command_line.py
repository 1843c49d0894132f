"""The command line: what a script wants is alone on standard output, and the exit status tells the rest."""

import csv
import io
import json
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from gateway.cli import commands, main
from tests.servers.pair import Pair, pair


@dataclass(frozen=True, slots=True)
class Done:
    """What a command did."""

    status: int
    out: str
    err: str


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """Run commands in this process, as the program's entry does, on a data directory of the test's own."""
    monkeypatch.setenv("GATEWAY_DATA_DIR", str(tmp_path / "data"))

    def run_one(*arguments: str) -> Done:
        monkeypatch.setattr(sys, "argv", ["gateway", *arguments])
        try:
            main()
            status = 0
        except SystemExit as end:
            status = 0 if end.code is None else int(end.code)
        captured = capsys.readouterr()
        return Done(status, captured.out, captured.err)

    return run_one


def every_command() -> Iterator[tuple[str, ...]]:
    """Name every command, with its group."""
    root = get_command(commands())
    for name, command in sorted(root.commands.items()):  # type: ignore[attr-defined]  # a group has commands
        yield (name,)
        yield from ((name, inner) for inner in sorted(getattr(command, "commands", {})))


@pytest.mark.parametrize("words", list(every_command()), ids=" ".join)
def test_every_command_says_what_it_does(words: tuple[str, ...]) -> None:
    """`--help` of every command and group succeeds, and each of its options is explained."""
    done = CliRunner().invoke(commands(), [*words, "--help"])
    assert done.exit_code == 0
    assert "Usage:" in done.output
    assert re.findall(r"<[a-z|]+>|\{\w+\}", done.output) == []  # types of Python's, where a person looks for a word


def test_what_is_promised_is_there() -> None:
    """The commands that documents and scripts rely on exist."""
    names = {" ".join(words) for words in every_command()}
    for group, inner in (("tenant", "create list show update disable enable"), ("key", "create list rotate revoke")):
        assert {f"{group} {name}" for name in inner.split()} <= names
    assert {"serve", "demo", "simulate-upstream", "check-config", "migrate", "spend", "reconcile"} <= names


def test_a_tenant_and_a_key_are_made_before_the_first_serve(run: Callable[..., Done]) -> None:
    """`tenant create` makes database and secret; standard output holds the id, or the key, and nothing else."""
    tenant = run("tenant", "create", "team", "--budget-day", "12.50", "--models", "flux-2-pro")
    assert tenant.status == 0
    assert tenant.out.startswith("ten_")
    assert tenant.out.count("\n") == 1
    key = run("key", "create", "team", "--label", "shop", "--expires", "90d")
    assert key.status == 0
    assert key.out.startswith("igw_sk_")
    assert len(key.out.split()) == 1
    assert key.out.strip() not in key.err


def test_lists_are_json_if_asked_and_hold_no_key(run: Callable[..., Done]) -> None:
    """`--json` prints what a script reads: tenants with their policy, keys without the keys."""
    run("tenant", "create", "team", "--budget-day", "12.50", "--image-format", "base64", "--keep-prompts", "no")
    secret = run("key", "create", "team", "--label", "shop").out.strip()
    (tenant,) = json.loads(run("tenant", "list", "--json").out)
    shown = json.loads(run("tenant", "show", "team", "--json").out)
    assert tenant == shown
    assert (shown["name"], shown["disabled"]) == ("team", False)
    assert "12.500000" in json.dumps(shown)
    listed = run("key", "list", "team", "--json")
    (key,) = json.loads(listed.out)
    assert key["label"] == "shop"
    assert secret not in listed.out
    assert secret not in run("key", "list", "team").out


def test_people_get_tables(run: Callable[..., Done]) -> None:
    """Without `--json` lists are tables; an empty one is told on standard error with what to do."""
    empty = run("tenant", "list")
    assert (empty.status, empty.out) == (0, "")
    assert "gateway tenant create" in empty.err
    run("tenant", "create", "team")
    assert "NAME" in run("tenant", "list").out
    assert "team" in run("tenant", "show", "team").out
    assert run("key", "list", "team").out == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ("tenant", "create", "team"),
        ("tenant", "create", "bad name!"),
        ("tenant", "create", "other", "--budget-day", "a lot"),
        ("tenant", "create", "other", "--models", "nope"),
        ("tenant", "create", "other", "--image-format", "gif"),
        ("tenant", "show", "nobody"),
        ("tenant", "disable", "nobody"),
        ("key", "create", "nobody"),
        ("key", "revoke", "key_nothing"),
        ("key", "rotate", "key_nothing"),
        ("reconcile", "--void", "gen_nothing"),
        ("reconcile", "--settle", "gen_nothing", "0.04"),
        ("reconcile", "--tenant", "nobody"),
        ("reconcile", "--tenant", "nobody", "--settle-quoted"),
        ("spend", "--tenant", "nobody"),
    ],
    ids=" ".join,
)
def test_what_is_refused_is_1_with_a_sentence(run: Callable[..., Done], arguments: tuple[str, ...]) -> None:
    """A refusal says why on standard error, prints nothing on standard output, and changes nothing."""
    run("tenant", "create", "team")
    before = run("tenant", "list", "--json").out
    done = run(*arguments)
    assert (done.status, done.out) == (1, "")
    assert done.err.startswith("gateway: ")
    assert run("tenant", "list", "--json").out == before


@pytest.mark.parametrize(
    "arguments",
    [
        ("nonsense",),
        ("tenant", "create"),
        ("tenant", "create", "team", "--nonsense"),
        ("key", "create", "team", "--expires", "never"),
        ("spend", "--by", "moon"),
        ("spend", "--from", "yesterday"),
        ("spend", "--from", "2026-11-02", "--to", "2026-11-01"),
        ("reconcile", "--settle", "gen_x", "much"),
        ("reconcile", "--settle-quoted"),
        ("simulate-upstream", "--image", "huge"),
    ],
    ids=" ".join,
)
def test_a_misused_command_is_2(run: Callable[..., Done], arguments: tuple[str, ...]) -> None:
    """Usage errors are told on standard error, with status 2."""
    done = run(*arguments)
    assert (done.status, done.out) == (2, "")
    assert done.err
    assert "Value error" not in done.err


def test_a_key_ends_with_a_day_of_the_budgets(run: Callable[..., Done], monkeypatch: pytest.MonkeyPatch) -> None:
    """A day begins at midnight in GATEWAY_TIMEZONE, as everywhere else."""
    monkeypatch.setenv("GATEWAY_TIMEZONE", "Asia/Tokyo")
    run("tenant", "create", "team")
    assert run("key", "create", "team", "--expires", "2999-01-02").status == 0
    (key,) = json.loads(run("key", "list", "team", "--json").out)
    assert key["expires_at"] == "2999-01-01T15:00:00Z"


def test_shadow_alone_is_yes(run: Callable[..., Done]) -> None:
    """`--shadow` needs no value, wherever it stands, and takes one that turns it off."""
    for arguments in (("--shadow", "first"), ("second", "--shadow"), ("third", "--shadow", "no"), ("fourth",)):
        assert run("tenant", "create", *arguments).status == 0
    shown = json.loads(run("tenant", "list", "--json").out)
    assert {one["name"]: one["policy"]["shadow"] for one in shown} == {
        "first": True,
        "second": True,
        "third": False,
        "fourth": False,
    }


def test_an_unknown_variable_is_refused_by_every_command(
    run: Callable[..., Done], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A misspelt limit must not be no limit, whatever command is run."""
    monkeypatch.setenv("GATEWAY_CATALOGUE", "x")
    for arguments in (("tenant", "list"), ("spend",), ("migrate",), ("check-config",)):
        done = run(*arguments)
        assert (done.status, done.out) == (1, "")
        assert "GATEWAY_CATALOGUE: is no setting" in done.err


def test_migrating_twice_is_once(run: Callable[..., Done]) -> None:
    """`migrate` brings a new database up to date; a second time it says that there is nothing to do."""
    assert run("migrate").status == 0
    again = run("migrate")
    assert (again.status, again.out) == (0, "")
    assert "already" in again.err


@pytest.fixture(scope="module")
def spent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Spend something, for two tenants and on two models."""
    with pair(tmp_path_factory.mktemp("spent")) as both:
        other = both.gateway.tenant("other")
        for _ in range(2):
            assert both.post().status_code == 200
        assert both.post(model="gemini-2.5-flash-image").status_code == 200
        assert both.gateway.post(other).status_code == 200
        assert both.post("[refuse]").status_code == 400
        assert both.post("[garbage]").status_code == 502
        yield both


def test_spending_is_told_by_whatever_is_asked(
    spent: Pair, run: Callable[..., Done], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`spend` adds up settled costs by model, tenant, day, provider or key, and leaves out what is unknown."""
    monkeypatch.setenv("GATEWAY_DATA_DIR", str(spent.gateway.data_dir))

    def rows(*options: str) -> dict[str, str]:
        shown = json.loads(run("spend", "--format", "json", *options).out)["rows"]
        return {row[options[1]]: row["cost_yuan"] for row in shown if row["generations"]}

    assert spent.simulator.bill_total() == Decimal("0.18")  # with the one whose outcome is unknown here
    assert rows("--by", "model") == {"flux-2-pro": "0.120000", "gemini-2.5-flash-image": "0.020000"}
    assert rows("--by", "tenant") == {"other": "0.040000", "team": "0.100000"}
    assert rows("--by", "provider") == {"flux": "0.120000", "gemini": "0.020000"}
    assert list(rows("--by", "day").values()) == ["0.140000"]
    assert sorted(rows("--by", "key").values()) == ["0.040000", "0.100000"]
    assert rows("--by", "tenant", "--tenant", "other") == {"other": "0.040000"}
    assert rows("--by", "model", "--to", "2020-01-01", "--from", "2019-12-01") == {}


def test_spending_can_be_read_by_a_spreadsheet(
    spent: Pair, run: Callable[..., Done], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--format csv` has a head line and one line a group; what is unknown is counted, and stands apart."""
    monkeypatch.setenv("GATEWAY_DATA_DIR", str(spent.gateway.data_dir))
    text = run("spend", "--by", "tenant", "--format", "csv").out
    lines = list(csv.DictReader(io.StringIO(text, newline="")))
    assert [(line["tenant"], line["cost_yuan"], line["unknown"], line["unknown_yuan"]) for line in lines] == [
        ("other", "0.040000", "0", "0.000000"),
        ("team", "0.100000", "1", "0.213000"),
    ]


def test_spending_can_be_read_by_people(spent: Pair, run: Callable[..., Done], monkeypatch: pytest.MonkeyPatch) -> None:
    """A table leaves out columns in which there is nothing; no spending is a sentence on standard error."""
    monkeypatch.setenv("GATEWAY_DATA_DIR", str(spent.gateway.data_dir))
    table = run("spend", "--by", "tenant").out
    assert table.split("\n")[0].split() == (
        ["TENANT", "COST_YUAN", "GENERATIONS", "SETTLED", "RELEASED", "UNKNOWN", "UNKNOWN_YUAN", "IMAGES_GENERATED"]
    )
    assert "0.100000" in table
    empty = run("spend", "--from", "2020-01-01", "--to", "2020-01-31")
    assert (empty.status, empty.out) == (0, "")
    assert empty.err == "nothing was spent from 2020-01-01 to 2020-01-31\n"
