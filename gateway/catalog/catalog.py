"""The models that the gateway knows, by name and alias."""

from collections.abc import Iterable, Mapping
from datetime import date
from types import MappingProxyType

from gateway.catalog.model import Model
from gateway.contract import ModelRules


class Catalog:
    """All models of one version of the catalog file; it never changes."""

    __slots__ = ("_by_name", "_rules_of", "models")

    def __init__(self, models: Iterable[Model]) -> None:
        """Take models whose names and aliases are all different."""
        self.models = tuple(models)
        """Every model in the order of the file, also those that are not offered."""
        self._by_name = {name: model for model in self.models for name in (model.name, *model.aliases)}
        self._rules_of: tuple[date, Mapping[str, ModelRules]] | None = None

    def find(self, name: str) -> Model | None:
        """Return the model of that name or alias, offered or not."""
        return self._by_name.get(name)

    def offered(self, day: date) -> tuple[Model, ...]:
        """Return the models that may be asked for on that day, in the order of the file."""
        return tuple(model for model in self.models if model.offered_on(day))

    def names(self, day: date) -> tuple[str, ...]:
        """Return the names, without aliases, that may be asked for on that day."""
        return tuple(model.name for model in self.offered(day))

    def rules(self, day: date) -> Mapping[str, ModelRules]:
        """Return what each model accepts, by every name and alias that may be asked for on that day."""
        if self._rules_of is None or self._rules_of[0] != day:
            rules = {name: model.rules for name, model in self._by_name.items() if model.offered_on(day)}
            self._rules_of = day, MappingProxyType(rules)
        return self._rules_of[1]
