"""`gateway reconcile --invoice`: upstream's statement against the ledger, as an operator runs it."""

import csv
import io
import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from gateway.cli import main
from gateway.money import format_yuan
from tests.servers.pair import Pair, pair
from tests.servers.simulator import Simulator

ZONE = "Pacific/Kiritimati"


@dataclass(frozen=True, slots=True)
class Done:
    """What a command did."""

    status: object
    out: str
    err: str


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Run a gateway that has bought something, and been refused something."""
    with pair(tmp_path_factory.mktemp("invoice"), timezone=ZONE) as two:
        for prompt in ("one", "two", "[cost=0.1234567]", "[refuse]", "[no-images]"):
            two.post(prompt)
        assert two.post(model="gemini-2.5-flash-image").status_code == 200
        yield two


@pytest.fixture
def reconcile(
    both: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Done]:
    """Write a statement and compare it, in this process."""

    def run(statement: str | bytes, *options: str) -> Done:
        path = tmp_path / "statement.csv"
        path.write_bytes(statement.encode() if isinstance(statement, str) else statement)
        for name, setting in both.gateway.environment.items():
            monkeypatch.setenv(name, setting)
        monkeypatch.setattr("sys.argv", ["gateway", "reconcile", "--invoice", str(path), *options])
        with pytest.raises(SystemExit) as ended:
            main()
        return Done(ended.value.code, *capsys.readouterr())

    return run


def statement(simulator: Simulator, zone: str = ZONE) -> str:
    """Write what upstream would invoice, from its own bill."""
    sums: defaultdict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
    for line in simulator.bill():
        day = datetime.fromtimestamp(line.at / 1000, UTC).astimezone(ZoneInfo(zone)).date().isoformat()
        sums[day, line.model][0] += 1
        sums[day, line.model][1] += line.cost
    lines = [f"{day},{model},{number},{format_yuan(cost)}" for (day, model), (number, cost) in sums.items()]
    return "\n".join(["date,model,count,cost", *lines])


def test_the_ledger_agrees_with_upstreams_bill(both: Pair, reconcile: Callable[..., Done]) -> None:
    """Nothing is printed, the exit status is 0, and a sentence says what was compared; in whichever zone it is."""
    for zone in (ZONE, "America/Los_Angeles"):
        done = reconcile(statement(both.simulator, zone), *(() if zone == ZONE else ("--timezone", zone)))
        assert (done.status, done.out) == (0, "")
        total = both.simulator.bill_total()
        assert f"{zone}: the invoice says {total:.6f} yuan, the ledger {total:.6f}\n" in done.err
        assert done.err.endswith("all 2 days and models agree\n")


def test_what_differs_is_printed(both: Pair, reconcile: Callable[..., Done]) -> None:
    """A wrong cost, a line that the ledger has not and one that the statement has not, as table, JSON and CSV."""
    head, *lines = statement(both.simulator).splitlines()
    (flux,) = (line for line in lines if "flux" in line)
    day, model, number, cost = flux.split(",")
    more = format_yuan(int(Decimal(cost) * 1_000_000) + 1)
    wrong = "\r\n".join([head.upper(), f"{day},{model},{number},{more}", f'{day},"=HYPERLINK(1)",1,-0.5', ""])

    table = reconcile(wrong)
    assert table.status == 1
    assert table.out.split("\n")[0].split() == [
        *("DAY", "MODEL", "INVOICE_COUNT", "LEDGER_COUNT", "INVOICE_YUAN", "LEDGER_YUAN"),
        *("DIFFERENCE_YUAN", "UNKNOWN", "UNKNOWN_YUAN"),
    ]
    assert table.err.endswith("3 of 3 days and models differ\n")

    printed = reconcile(wrong, "--json")
    rows = {row["model"]: row for row in json.loads(printed.out)["rows"]}
    assert rows[model]["difference_yuan"] == "0.000001"
    assert rows["gemini-2.5-flash-image"]["invoice_count"] is None
    assert rows["=HYPERLINK(1)"]["ledger_yuan"] is None

    read = csv.DictReader(io.StringIO(reconcile(wrong, "--format", "csv").out, newline=""))
    assert {line["model"]: line["difference_yuan"] for line in read} == {
        model: "0.000001",
        "gemini-2.5-flash-image": "-0.020000",
        "'=HYPERLINK(1)": "-0.500000",
    }


def test_a_period_can_be_named(both: Pair, reconcile: Callable[..., Done]) -> None:
    """Days outside of it are not compared; those inside it are, also where the statement has no line of them."""
    day = statement(both.simulator).splitlines()[1][:10]
    empty = "date,model,count,cost\n2020-01-01,flux,1,0.04\n"
    past = reconcile(empty)
    assert (past.status, "1 of 1 days" in past.err) == (1, True)
    assert reconcile(empty, "--from", "2020-01-02", "--to", "2020-01-31").status == 0
    present = reconcile(empty, "--from", day, "--to", day)
    assert (present.status, "2 of 2 days" in present.err) == (1, True)


@pytest.mark.parametrize(
    ("content", "options", "status", "text"),
    [
        (b"date,model\n", (), 1, "statement.csv: line 1: must name each of date, model, count, cost once"),
        (b"date,model,count,cost\n" + b"x,,y,z\n" * 9, (), 1, "and 16 more"),
        (b"date,model,count,cost\n2020-01-01,a,1,1\n", ("--timezone", "Mars"), 2, "must be a time zone such as"),
        (b"date,model,count,cost\n2020-01-01,a,1,1\n2022-01-01,a,1,1\n", (), 2, "are more than 366 days"),
        (b"date,model,count,cost\n2020-01-01,a,1,1\n", ("--to", "2019-01-01"), 2, "must not be before"),
        (b"date,model,count,cost\n2020-01-01,a,1,1\n", ("--tenant", "team"), 2, "an invoice is of all tenants"),
        (b"date,model,count,cost\n2020-01-01,a,1,1\n", ("--void",), 2, "give one of"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    reconcile: Callable[..., Done], content: bytes, options: tuple[str, ...], status: int, text: str
) -> None:
    """A statement with faults is 1 and names them, a misused option is 2; nothing is printed for scripts."""
    done = reconcile(content, *options)
    assert (done.status, done.out) == (status, "")
    assert text in " ".join(done.err.replace("│", " ").split())
