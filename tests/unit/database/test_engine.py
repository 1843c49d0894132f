"""Which errors of PostgreSQL say that it cannot serve, and which that a statement was wrong."""

import pytest

from gateway.database.engine import cannot_serve


@pytest.mark.parametrize(
    "sqlstate",
    [
        *("57P01", "57P02", "57P03"),  # it stops, has crashed, starts up
        *("08006", "08P01"),  # the connection broke
        "25006",  # it is a replica now
        *("53100", "53300"),  # its disk is full, it has too many clients
        *("40001", "40P01"),  # given up for another transaction
        *("28P01", "3D000"),  # it lets us in no more, or the database is gone
        "58030",  # input or output failed
    ],
)
def test_a_server_in_trouble_is_an_outage(sqlstate: str) -> None:
    """What will pass, or is for the operator to mend, is no bug of the gateway's."""
    assert cannot_serve(sqlstate)


@pytest.mark.parametrize("sqlstate", [None, "23505", "42P01", "22003", "25P02"])
def test_a_wrong_statement_is_a_bug(sqlstate: str | None) -> None:
    """A violated constraint, a missing table or a number out of range would not be better the next time."""
    assert not cannot_serve(sqlstate)
