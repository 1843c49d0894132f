"""The policy's options on the command line."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from gateway.cli.options import POLICY, takes
from gateway.tenants import policy
from gateway.tenants.policy import KeyPolicy, Policy


def test_an_option_is_in_every_table() -> None:
    """The command line offers what a policy holds and its rules can read: nothing is forgotten in one of them."""
    names = {field.name for field in fields(Policy)}
    assert set(POLICY) == names
    assert {*policy._READERS, "models"} == names
    assert {field.name for field in fields(KeyPolicy)} <= names


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["a"], {}),
        (["a", "--requests-per-minute", "5"], {"requests_per_minute": "5"}),
        (["--images-per-minute", "", "a"], {"images_per_minute": ""}),
    ],
)
def test_a_command_gets_the_options_that_were_given(arguments: list[str], expected: dict[str, str]) -> None:
    """One that was not given is not there; an empty one is, since it takes a limit away."""
    seen: list[tuple[str, Mapping[str, Any]]] = []

    @takes(KeyPolicy)
    def command(name: str, *, policy: Mapping[str, Any]) -> None:
        seen.append((name, policy))

    app = typer.Typer()
    app.command()(command)
    assert CliRunner().invoke(app, arguments).exit_code == 0
    assert seen == [("a", expected)]
