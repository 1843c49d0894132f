"""CSV as spreadsheets read it."""

import csv
import io

import pytest

from gateway.spreadsheet import to_csv


def test_lines_are_those_of_the_rfc() -> None:
    """Lines end with CR LF, a field with a comma, a quote or a line break is quoted, and comes back as it was."""
    text = to_csv(["user", "cost_yuan"], [['a,"b"\n密', "0.040000"], [None, "0.000000"]])
    assert text == 'user,cost_yuan\r\n"a,""b""\n密",0.040000\r\n,0.000000\r\n'
    assert list(csv.reader(io.StringIO(text, newline="")))[1] == ['a,"b"\n密', "0.040000"]


@pytest.mark.parametrize("text", ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "-", "--1"])
def test_text_is_never_a_formula(text: str) -> None:
    """What a spreadsheet would run begins with an apostrophe."""
    ((cell,),) = list(csv.reader(io.StringIO(to_csv(["user"], [[text]]), newline="")))[1:]
    assert cell == f"'{text}"


@pytest.mark.parametrize("text", ["0.040000", "-0.040000", "-3", "a=b", "2026-11-01", "用户"])
def test_everything_else_is_left_as_it_is(text: str) -> None:
    """Amounts, negative ones too, days and names are not touched."""
    assert to_csv(["name"], [[text]]) == f"name\r\n{text}\r\n"
