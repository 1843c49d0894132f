"""The README says what there is."""

import re
from typing import Any

from pydantic_core import PydanticUndefined

from gateway.settings import OTHERS, PREFIX, Settings
from tests.laws.sources import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")


def row(name: str) -> str:
    """Return the row of a setting as the README has it: variable, default, what it is."""
    field = Settings.model_fields[name]
    return f"| `{PREFIX}{name.upper()}` | {_default(field.default)} | {field.description} |"


def test_every_setting_is_documented_as_it_is() -> None:
    """The table has a row for each setting, with its default and its description, and none for anything else."""
    rows = [row(name) for name in Settings.model_fields if name not in OTHERS]
    written = re.findall(rf"^\| `{PREFIX}[A-Z_]+` .*\|$", README, re.MULTILINE)
    assert sorted(written) == sorted(rows), "the table ought to be:\n\n" + "\n".join(rows)


def test_every_variable_that_is_named_is_a_setting() -> None:
    """A reader who copies a name from the README does not get an error for it."""
    settings = {PREFIX + name.upper() for name in Settings.model_fields}
    named = set(re.findall(rf"\b{PREFIX}[A-Z_]*[A-Z]\b", README))
    assert {name.removesuffix("_FILE") for name in named} <= settings


def _default(value: Any) -> str:
    if value is None or value is PydanticUndefined or value == ():
        return "—"
    return f"`{value}`"
