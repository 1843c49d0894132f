"""How `--help` and usage errors read: as manual pages do.

A flag has no type, a value is one word in capitals, or its choices, and an argument stands in capitals.
"""

from collections.abc import Callable, Mapping
from functools import partial
from itertools import pairwise
from typing import ClassVar, Final

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

_WORDS: Final = {
    "str": "TEXT",
    "int": "N",
    "int range": "N",
    "float": "N",
    "float range": "N",
    "path": "PATH",
    "list[str]": "TEXT",
}


class Command(TyperCommand):
    """A command whose help and errors read so."""

    def get_params(self, ctx: typer.Context) -> list[TyperOption | TyperArgument]:  # type: ignore[override]  # of a private type
        """Return the parameters, with the words that stand for their values."""
        return _reworded(super().get_params(ctx))  # type: ignore[arg-type]  # of a private type

    def collect_usage_pieces(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]  # of a private type
        """Return the pieces of the usage line, without braces around what is required."""
        return [piece.strip("{}") for piece in super().collect_usage_pieces(ctx)]

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]  # of a private type
        """Parse; a refusal says what is wrong, and not which kind of error it was."""
        try:
            return super().parse_args(ctx, args)
        except typer.BadParameter as error:
            error.message = error.message.removeprefix("Value error, ").replace("Input should be", "must be")
            raise


class OptionalValues(Command):
    """A command some of whose options may be given without their value, which Typer has no word for."""

    optional: ClassVar[Mapping[str, tuple[str, Callable[[str], bool]]]]
    """By option: what it says when its value is left out, and whether a word that follows it is its value."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]  # of a private type
        """Parse, with a value in the place of each that is not there."""
        complete: list[str] = []
        for argument, following in pairwise([*args, "--"]):
            complete.append(argument)
            if argument in self.optional:
                left_out, is_value = self.optional[argument]
                if not is_value(following):
                    complete.append(left_out)
        return super().parse_args(ctx, complete)


class Group(TyperGroup):
    """A group whose help reads so."""

    def get_params(self, ctx: typer.Context) -> list[TyperOption | TyperArgument]:  # type: ignore[override]  # of a private type
        """Return the parameters, with the words that stand for their values."""
        return _reworded(super().get_params(ctx))  # type: ignore[arg-type]  # of a private type


def reword(app: typer.Typer) -> None:
    """Let every command and group of an application read so, but for commands that have a class of their own."""
    app.info.cls = Group
    for command in app.registered_commands:
        if command.cls in (None, TyperCommand):
            command.cls = Command
    for group in app.registered_groups:
        if group.typer_instance is not None:
            reword(group.typer_instance)


def _reworded(parameters: list[TyperOption | TyperArgument]) -> list[TyperOption | TyperArgument]:
    for parameter in parameters:
        word: Callable[[typer.Context], str] = partial(_word, parameter)
        parameter.display_type_rich = word  # type: ignore[method-assign,assignment]  # Typer has no other place for it
    return parameters


def _word(parameter: TyperOption | TyperArgument, ctx: typer.Context) -> str:
    if isinstance(parameter, TyperArgument) or parameter.is_flag:
        return ""
    if parameter.metavar is not None:
        return parameter.metavar
    kind = parameter.display_type(ctx).strip("<>")
    return _WORDS.get(kind, kind)
