"""What a request's Cache-Control asks of the cache, and what follows from it: pure (RFC 9111, section 5.2.1)."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

SECONDS_MAX = 2**31 - 1
"""RFC 9111, section 1.2.2: a number too large to represent counts as this one."""

_ELEMENT = re.compile(r'(?:"(?:[^"\\]|\\.)*"?|[^",])+')
"""What stands between commas that are in no quoted string."""
_SECONDS = re.compile(r'"?([0-9]+)"?', re.ASCII)


@dataclass(frozen=True, slots=True)
class Directives:
    """The directives that are heeded. Times are in seconds; None is not given.

    `max-stale` means nothing here: no reply is kept past its life. `no-transform` neither: nothing is transformed.
    """

    no_cache: bool = False
    """A new picture is wanted, whatever is stored."""
    no_store: bool = False
    """Nothing that comes of this ask may be stored. It may be answered from what is."""
    only_if_cached: bool = False
    """Never spend: what is not stored is answered 504."""
    max_age: int | None = None
    min_fresh: int | None = None

    @property
    def alone(self) -> bool:
        """Whether the ask must neither lead nor follow: it wants a picture of its own, or no outcome left behind."""
        return self.no_cache or self.no_store


_NONE = Directives()


@dataclass(frozen=True, slots=True)
class Hit:
    """The stored reply is the answer. Its age and what is left of its life, in seconds."""

    age: int
    left: int


@dataclass(frozen=True, slots=True)
class Forward:
    """The ask goes on. Why, in the words of RFC 9211; `bypass`: the policy does not cover the ask."""

    why: Literal["uri-miss", "stale", "request", "bypass"]


@dataclass(frozen=True, slots=True)
class OnlyIfCached:
    """The caller will have a stored reply or none: 504 (RFC 9111, section 5.2.1.7)."""


Decision: TypeAlias = Hit | Forward | OnlyIfCached


def read_directives(values: Sequence[str]) -> Directives:
    """Read the Cache-Control fields of a request, one text for each.

    Nothing is refused: a directive that is unknown, or whose number is none, says nothing. Of a directive that is
    given twice the stricter counts.
    """
    if not values:
        return _NONE
    words: set[str] = set()
    seconds: dict[str, list[int]] = {}
    for name, argument in _directives(values):
        words.add(name)
        if (number := _SECONDS.fullmatch(argument)) is not None:
            seconds.setdefault(name, []).append(_bounded(number[1]))
    return Directives(
        no_cache="no-cache" in words,
        no_store="no-store" in words,
        only_if_cached="only-if-cached" in words,
        max_age=min(seconds.get("max-age", ()), default=None),
        min_fresh=max(seconds.get("min-fresh", ()), default=None),
    )


def decide(directives: Directives, age: int | None, lifetime: int, *, covered: bool = True) -> Decision:
    """Decide about a stored reply of this age, in whole seconds; None is none. `lifetime` is today's policy.

    Where the policy does not cover the ask, nothing stored counts; `only-if-cached` never spends all the same.
    """
    refusal = _refusal(directives, age, lifetime, covered=covered)
    if refusal is not None:
        return OnlyIfCached() if directives.only_if_cached else Forward(refusal)
    if age is None:
        return Forward("uri-miss")
    return Hit(age, lifetime - age)


def _refusal(
    directives: Directives, age: int | None, lifetime: int, *, covered: bool
) -> Literal["uri-miss", "stale", "request", "bypass"] | None:
    """Say why the stored reply is not the answer; None if it is."""
    if not covered:
        return "bypass"
    if directives.no_cache:
        return "request"
    if age is None:
        return "uri-miss"
    if age >= lifetime:
        return "stale"
    too_old = directives.max_age is not None and age > directives.max_age
    too_late = directives.min_fresh is not None and lifetime - age < directives.min_fresh
    return "request" if too_old or too_late else None


def _directives(values: Iterable[str]) -> Iterator[tuple[str, str]]:
    for value in values:
        for element in _ELEMENT.findall(value):
            name, _, argument = element.strip(" \t").partition("=")
            yield name.lower(), argument


def _bounded(digits: str) -> int:
    """Read a number of any length: int() refuses the longest."""
    return SECONDS_MAX if len(digits) > len(str(SECONDS_MAX)) else min(int(digits), SECONDS_MAX)
