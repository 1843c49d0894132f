"""From a TOML file to a catalog, or to the list of everything that is wrong with it."""

import tomllib
from collections.abc import Iterable, Mapping
from decimal import Decimal
from importlib.resources import files
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from gateway.catalog.catalog import Catalog
from gateway.catalog.entry import NAME, PRICE_KINDS, ModelEntry, read_rate
from gateway.catalog.model import Model
from gateway.errors import Misconfigured
from gateway.money import LARGEST_YUAN, MICROS_PER_YUAN

SHIPPED = "shipped.toml"

_YUAN = "CNY"
_PLAIN = {
    "missing": "is missing",
    "extra_forbidden": "is no key of the catalog",
    "string_pattern_mismatch": "must begin with a letter or digit and hold at most 128 of A-Z a-z 0-9 . _ : / @ -",
    "model_type": "must be a table",
    "model_attributes_type": "must be a table",
    "dict_type": "must be a table",
}


class CatalogFault(Misconfigured):
    """The catalog cannot be used. Each of `faults` names the file, the entry and what is wrong with it."""


def load(path: Path | None) -> Catalog:
    """Read the catalog at `path`, or the shipped one. Raises CatalogFault with every fault at once."""
    name = "the shipped catalog" if path is None else str(path)
    try:
        content = (files(__package__) / SHIPPED).read_bytes() if path is None else path.read_bytes()
    except OSError as unreadable:
        raise CatalogFault([f"{name}: cannot be read: {unreadable.strerror}"]) from unreadable
    return parse(content, name)


def parse(content: bytes, name: str) -> Catalog:
    """Read the content of a catalog file that is called `name`. Raises CatalogFault with every fault at once."""
    try:
        document = tomllib.loads(content.decode())
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as malformed:
        raise CatalogFault([f"{name}: is not valid TOML: {malformed}"]) from malformed
    except RecursionError as malformed:
        raise CatalogFault([f"{name}: is not valid TOML: nested too deeply"]) from malformed
    reading = _Reading(name)
    models = reading.models(document)
    if reading.faults:
        raise CatalogFault(reading.faults)
    return Catalog(models)


class _Reading:
    """One pass over a file, which collects the faults it meets and goes on."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.faults: list[str] = []

    def models(self, document: Mapping[str, Any]) -> list[Model]:
        for key in document.keys() - {"rates", "models"}:
            self._blame(_quoted(key), _PLAIN["extra_forbidden"])
        rates = self._rates(self._table(document, "rates"))
        tables = self._table(document, "models")
        if not tables and isinstance(document.get("models", {}), dict):
            self._blame("models", "names no model")
        entries = {name: entry for name, table in tables.items() if (entry := self._entry(name, table)) is not None}
        self._check_aliases(tables, entries)
        return [model for name, entry in entries.items() if (model := self._model(name, entry, rates)) is not None]

    def _blame(self, place: str, fault: str) -> None:
        self.faults.append(f"{self.name}: {place}: {fault}")

    def _table(self, document: Mapping[str, Any], key: str) -> Mapping[str, Any]:
        table = document.get(key, {})
        if isinstance(table, dict):
            return table
        self._blame(key, "must be a table")
        return {}

    def _rates(self, table: Mapping[str, Any]) -> dict[str, Decimal | None]:
        """Return yuan for one unit of each currency; None for one whose rate is at fault."""
        rates: dict[str, Decimal | None] = {}
        for currency, written in table.items():
            rates[currency] = None
            try:
                rates[currency] = read_rate(written)
            except ValueError as fault:
                self._blame(f"rates.{_quoted(currency)}", str(fault))
        if rates.get(_YUAN) not in {None, Decimal(1)}:
            self._blame(f"rates.{_YUAN}", "is 1 by definition")
        return {**rates, _YUAN: Decimal(1)}

    def _entry(self, name: str, table: object) -> ModelEntry | None:
        if not NAME.fullmatch(name):
            self._blame(_place(name), f"the name {_PLAIN['string_pattern_mismatch']}")
        try:
            return ModelEntry.model_validate(table)
        except ValidationError as invalid:
            for error in invalid.errors(include_url=False):
                self._blame(_place(name, error), _fault(error))
            return None

    def _check_aliases(self, names: Iterable[str], entries: Mapping[str, ModelEntry]) -> None:
        taken = {name: name for name in names}
        for name, entry in entries.items():
            for alias in entry.aliases:
                if alias in taken:
                    twice = taken[alias] == name != alias
                    what = "is listed twice" if twice else f"is already a name of {_quoted(taken[alias])}"
                    self._blame(_place(name), f"the alias {_quoted(alias)} {what}")
                taken.setdefault(alias, name)

    def _model(self, name: str, entry: ModelEntry, rates: Mapping[str, Decimal | None]) -> Model | None:
        currency = entry.price.currency
        rate = rates.get(currency)
        if rate is None:
            if currency not in rates:
                self._blame(f"{_place(name)}.price.currency", f"[rates] has no rate for {_quoted(currency)}")
            return None
        model = entry.as_model(name, rate)
        if model.price.most() > LARGEST_YUAN * MICROS_PER_YUAN:
            self._blame(f"{_place(name)}.price", f"comes to more than {LARGEST_YUAN} yuan for one request")
        return model


def _quoted(key: str) -> str:
    return f'"{key}"'


def _place(name: str, error: ErrorDetails | None = None) -> str:
    """Write where a fault is, as the file writes it: `models."flux-2-pro".price.image`."""
    place = f"models.{_quoted(name)}"
    for part in () if error is None else error["loc"]:
        if isinstance(part, int):
            place += f"[{part}]"
        elif part not in PRICE_KINDS:
            place += f".{part}"
    return place


def _fault(error: ErrorDetails) -> str:
    if error["type"] == "value_error":
        return str(error["ctx"]["error"])
    if error["type"] in _PLAIN:
        return _PLAIN[error["type"]]
    return error["msg"][:1].lower() + error["msg"][1:]
