"""Upstream statements: read as they come, refused with every fault, compared to the micro-yuan."""

from decimal import Decimal

import pytest

from gateway.ledger.compare import Booked, days_between, differences
from gateway.ledger.invoice import Billed, InvalidInvoice, read_invoice

KEY = ("2026-11-01", "flux")


@pytest.mark.parametrize(
    "text",
    [
        "date,model,count,cost\n2026-11-01,flux,2,0.08\n",
        "\ufeffCost,MODEL , Date,count\r\n0.080000,flux, 2026-11-01 ,2\r\n\r\n",
        'date,model,count,cost,note\n2026-11-01,"flux",1,0.03,"a, b"\n2026-11-01,flux,1,0.05,\n',
        "date,model,count,cost\n2026-11-01,flux,2,0.09\n2026-11-01,flux,0,-0.01",
    ],
)
def test_a_statement_is_read_as_it_comes(text: str) -> None:
    """Order and case of the columns, a byte order mark, blank lines, others' columns and split lines do not matter."""
    assert read_invoice(text.encode()) == {KEY: Billed(2, Decimal("0.08"))}


@pytest.mark.parametrize(
    ("content", "faults"),
    [
        (b"", ["line 1: must name each of date, model, count, cost once; look at date, model, count, cost"]),
        (b"date,model,count\n", ["line 1: must name each of date, model, count, cost once; look at cost"]),
        (b"date,date,model,count,cost\n", ["line 1: must name each of date, model, count, cost once; look at date"]),
        (b"date,model,count,cost\n\n", ["line 1: nothing follows the head line"]),
        ("date,model,count,cost\n2026-11-01,模型,1,1\n".encode("gbk"), ["line 2: is not UTF-8"]),
        (
            b"date,model,count,cost\n1.11.2026,,1.5,1e3\n2026-11-01,flux,1\n2026-11-01,flux,-1,NaN\nTotal,x,1,1 yuan\n",
            [
                "line 2: date: must be a day such as 2026-11-01",
                "line 2: model: must not be empty",
                "line 2: count: must be a whole number such as 12",
                "line 2: cost: must be an amount of yuan such as 12.34",
                "line 3: has 3 fields where the head line has 4",
                "line 4: count: must be a whole number such as 12",
                "line 4: cost: must be an amount of yuan such as 12.34",
                "line 5: date: must be a day such as 2026-11-01",
                "line 5: cost: must be an amount of yuan such as 12.34",
            ],
        ),
        (
            b"date,model,count,cost\n9999-12-31,flux,1,1\n",
            ["line 2: date: must be a day between 2000-01-01 and 2999-12-31"],
        ),
        (b'date,model,count,cost\n2026-11-01,"a" b,1,1\n', ["line 2: ',' expected after '\"'"]),
    ],
)
def test_every_fault_is_told_with_its_line(content: bytes, faults: list[str]) -> None:
    """Nothing is guessed: a line that cannot be read is named, and so are all the others."""
    with pytest.raises(InvalidInvoice) as refused:
        read_invoice(content)
    assert list(refused.value.faults) == faults


@pytest.mark.parametrize(
    ("billed", "booked", "difference"),
    [
        (Billed(2, Decimal("0.08")), Booked(2, 80_000), None),
        (Billed(2, Decimal("0.080001")), Booked(2, 80_000), "0.000001"),
        (Billed(2, Decimal("0.08")), Booked(2, 80_001), "-0.000001"),
        (Billed(3, Decimal("0.08")), Booked(2, 80_000), "0.000000"),
        (Billed(1, Decimal("0.04")), None, "0.040000"),
        (None, Booked(1, 40_000, 1, 40_000), "-0.040000"),
        (None, Booked(0, 0, 1, 40_000), None),
        (Billed(0, Decimal(0)), None, None),
        (Billed(2, Decimal("0.0800003")), Booked(2, 80_001), None),
        (Billed(2, Decimal("0.0800003")), Booked(2, 80_003), "-0.0000027"),
        (Billed(2, Decimal("0.0800003")), Booked(2, 80_000), "0.0000003"),
    ],
)
def test_what_differs_is_told(billed: Billed | None, booked: Booked | None, difference: str | None) -> None:
    """Counts and costs are the same or they are not; only what upstream bills finer than a micro-yuan is rounded up."""
    found = list(differences({} if billed is None else {KEY: billed}, {} if booked is None else {KEY: booked}))
    assert [one.shown()["difference_yuan"] for one in found] == ([] if difference is None else [difference])


def test_a_side_that_says_nothing_is_told_apart_from_nothing() -> None:
    """What is missing has no figure; what is unknown stands beside it."""
    (missing,) = differences({}, {KEY: Booked(1, 40_000, 2, 80_000)})
    assert missing.shown() == {
        "day": "2026-11-01",
        "model": "flux",
        "invoice_count": None,
        "ledger_count": 1,
        "invoice_yuan": None,
        "ledger_yuan": "0.040000",
        "difference_yuan": "-0.040000",
        "unknown": 2,
        "unknown_yuan": "0.080000",
    }


def test_days_are_counted_with_both_ends() -> None:
    """Over the end of a month too."""
    assert days_between("2026-11-29", "2026-12-01") == ["2026-11-29", "2026-11-30", "2026-12-01"]
    assert days_between("2026-11-29", "2026-11-29") == ["2026-11-29"]
