"""Reading the parameters of a query strictly.

A name that is not expected is refused: a misspelt filter must not choose everything.
"""

from collections.abc import Callable, Collection
from typing import TypeVar, overload

from starlette.requests import Request

from gateway.contract.violation import echo
from gateway.errors import InvalidRequest
from gateway.moments import InvalidMoment
from gateway.money import InvalidAmount

Value = TypeVar("Value")


def query_of(request: Request, *known: str) -> dict[str, str]:
    """Return the parameters of the query; an empty one is not there. Raises InvalidRequest for an unknown or a
    repeated one."""
    items = request.query_params.multi_items()
    found = dict(items)
    refuse_unknown(found.keys(), known)
    if len(found) < len(items):
        raise InvalidRequest("A query parameter is given twice")
    return {name: value for name, value in found.items() if value}


@overload
def read_as(name: str, read: Callable[[str], Value], text: str) -> Value: ...
@overload
def read_as(name: str, read: Callable[[str], Value], text: str | None) -> Value | None: ...
def read_as(name: str, read: Callable[[str], Value], text: str | None) -> Value | None:
    """Read a value that a person wrote, if it is there; name it where it is refused. Raises InvalidRequest."""
    try:
        return None if text is None else read(text)
    except (InvalidMoment, InvalidAmount) as error:
        raise InvalidRequest(f"{name}: {error}") from error


def limit_of(text: str | None, most: int) -> int:
    """Return how many rows a page may have: `limit`, the most there are if it is not given. Raises InvalidRequest."""
    if text is None:
        return most
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(most)) and 1 <= int(text) <= most):
        raise InvalidRequest(f"limit: must be a whole number between 1 and {most}")
    return int(text)


def refuse_unknown(names: Collection[str], known: Collection[str]) -> None:
    """Refuse a name that is not known. Raises InvalidRequest."""
    for name in names:
        if name not in known:
            allowed = ", ".join(known) if known else "none"
            raise InvalidRequest(f"Invalid {echo(name)} parameter. Supported parameters: {allowed}")
