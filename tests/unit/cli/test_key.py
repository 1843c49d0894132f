"""What `gateway key` refuses before it looks at any database."""

import pytest
from typer.testing import CliRunner

from gateway.cli.key import commands


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--user", "eve"],
        ["--tenant", "shop"],
        ["tok_1", "--user", "eve"],
        ["tok_1", "--tenant", "a", "--user", "b"],
    ],
)
def test_what_is_revoked_has_to_be_clear(arguments: list[str]) -> None:
    """It is one id, or a user of a tenant, and not something of both."""
    assert CliRunner().invoke(commands(), ["revoke", *arguments]).exit_code == 2
