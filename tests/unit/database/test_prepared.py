"""Statements that are compiled before they are needed."""

import pytest
from sqlalchemy import bindparam, insert, update

from gateway.database.prepared import Many
from gateway.database.tables import balances


def test_a_statement_that_takes_other_values_is_refused() -> None:
    """A value that is missing or too many is found when the module is loaded, not when money is to be written."""
    Many(insert(balances), [column.name for column in balances.columns])
    with pytest.raises(ValueError, match="takes"):
        Many(update(balances).values(spent=bindparam("spent"), held=0), ("spent",))
