"""What a tenant or a key may do. Read once at the rim, by the same rules for the command line, the API and the rows."""

import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import orjson

from gateway.contract.origin import InvalidOrigin, read_origin
from gateway.guard import AddressRefused, parse
from gateway.money import LARGEST_YUAN, InvalidAmount, Micros, format_yuan, parse_yuan

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

ImageFormat: TypeAlias = Literal["url", "base64", "upstream"]

IMAGE_FORMATS: tuple[ImageFormat, ...] = get_args(ImageFormat)
CacheMode: TypeAlias = Literal["seeded", "all", "off"]
"""Which asks may be answered from earlier replies: those that name a seed, all, none."""

LinkTtl: TypeAlias = int | Literal["none"] | None
"""Seconds that a link works; `none` is without end, None the gateway's own default."""

CACHE_MODES: tuple[CacheMode, ...] = get_args(CacheMode)
LARGEST_COUNT = 1_000_000
"""More a minute could not be told apart: the limiter counts in whole microseconds."""

LONGEST_SECONDS = 1_000_000_000
LONGEST_DAYS = 36_500
LARGEST_BODY_MB = 1024
MOST_ORIGINS = 50
LONGEST_URL = 2048


@dataclass(frozen=True, slots=True)
class Policy:
    """A tenant's policy. None is: no limit, or the gateway's own default."""

    requests_per_minute: int | None = None
    images_per_minute: int | None = None
    burst: int | None = None
    concurrency: int | None = None
    budget_day: Micros | None = None
    budget_month: Micros | None = None
    budget_total: Micros | None = None
    models: tuple[str, ...] | None = None
    image_format: ImageFormat = "url"
    cache: CacheMode = "seeded"
    cache_ttl: int | None = None
    retention_days: int | None = None
    keep_prompts: bool = True
    log_prompts: bool = False
    """A log is copied to places from which nothing can be erased, so keeping prompts does not mean this."""
    link_ttl: LinkTtl = None
    origins: tuple[str, ...] | None = None
    """Whose pages may call; None is nobody's."""
    max_body_mb: int | None = None
    webhook_url: str | None = None
    shadow: bool = False


@dataclass(frozen=True, slots=True)
class KeyPolicy:
    """A key's own limits, within its tenant's."""

    requests_per_minute: int | None = None
    images_per_minute: int | None = None


class InvalidPolicy(ValueError):
    """A policy value that is refused; the text is the same for the command line and the API."""


def change(policy: Policy, given: Mapping[str, Any], known_models: frozenset[str]) -> Policy:
    """Return the policy with these options changed. A value of None or "" takes a limit away.

    Values may come as text (command line) or as JSON values (API). Raises InvalidPolicy, naming option and rule.
    """
    changed = {name: read_option(name, value, known_models) for name, value in given.items()}
    return replace(policy, **changed)


def change_key(policy: KeyPolicy, given: Mapping[str, Any]) -> KeyPolicy:
    """Return a key's policy with these options changed. Raises InvalidPolicy."""
    names = {field.name for field in fields(KeyPolicy)}
    if unknown := sorted(set(given) - names):
        raise InvalidPolicy(f"{unknown[0]}: is no option of a key")
    return replace(policy, **{name: read_option(name, value, frozenset()) for name, value in given.items()})


def to_text(policy: "DataclassInstance") -> str:
    """Write a policy for its row; what is at its default is left out, so that a later default reaches old rows."""
    plain = type(policy)()
    return orjson.dumps(
        {name: value for name, value in asdict(policy).items() if value != getattr(plain, name)}
    ).decode()


def policy_from_text(text: str) -> Policy:
    """Read a tenant's policy from its row."""
    return Policy(**stored(text, Policy))


def key_policy_from_text(text: str) -> KeyPolicy:
    """Read a key's policy from its row."""
    return KeyPolicy(**stored(text, KeyPolicy))


def show(policy: Policy | KeyPolicy) -> dict[str, Any]:
    """Return a policy as people and JSON read it: amounts in yuan."""
    return {
        name: format_yuan(value) if name.startswith("budget_") and value is not None else value
        for name, value in asdict(policy).items()
    }


def stored(text: str, kind: "type[DataclassInstance]") -> dict[str, Any]:
    """Read the options of this kind of policy from a row; what this version does not know is left out."""
    names = {field.name for field in fields(kind)}
    options = {name: value for name, value in orjson.loads(text).items() if name in names}
    return {name: tuple(value) if isinstance(value, list) else value for name, value in options.items()}


def read_option(name: str, value: Any, known_models: frozenset[str], *, like: str | None = None) -> Any:
    """Read the value of an option, by the rules of another one if it is `like` that. Raises InvalidPolicy."""
    rules = name if like is None else like
    if rules == "models":
        return None if value in _NO_LIMIT else _models(value, known_models)
    if rules not in _READERS:
        raise InvalidPolicy(f"{name}: is no option of a policy")
    return _READERS[rules](name, value)


def _count(most: int) -> Callable[[str, Any], int | None]:
    def read(name: str, value: Any) -> int | None:
        if value in _NO_LIMIT:
            return None
        text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
        if (
            not isinstance(text, str)
            or re.fullmatch(r"[0-9]{1,10}", text, re.ASCII) is None
            or not 1 <= int(text) <= most
        ):
            raise InvalidPolicy(f"{name}: must be a whole number between 1 and {most}")
        return int(text)

    return read


def _amount(name: str, value: Any) -> Micros | None:
    if value in _NO_LIMIT:
        return None
    if not isinstance(value, str):
        raise InvalidPolicy(f'{name}: must be an amount of yuan as text, such as "12.50"')
    try:
        amount = parse_yuan(value)
    except InvalidAmount as error:
        rule = f"more than 0 and at most {LARGEST_YUAN}, with at most 6 decimals"
        raise InvalidPolicy(f"{name}: must be an amount of yuan {rule}") from error
    if amount == 0:
        raise InvalidPolicy(f"{name}: must be more than 0")
    return amount


def _one_of(words: tuple[str, ...]) -> Callable[[str, Any], str]:
    def read(name: str, value: Any) -> str:
        for word in words:
            if value == word:
                return word
        raise InvalidPolicy(f"{name}: must be one of {', '.join(words)}")

    return read


def _switch(name: str, value: Any) -> bool:
    if not isinstance(value, str | bool) or value not in _SWITCH:
        raise InvalidPolicy(f"{name}: must be yes or no")
    return _SWITCH[value]


def _url(name: str, value: Any) -> str | None:
    if value in _NO_LIMIT:
        return None
    if not isinstance(value, str) or len(value) > LONGEST_URL:
        raise InvalidPolicy(f"{name}: must be a URL of at most {LONGEST_URL} characters")
    try:
        parse(value)
    except AddressRefused as refused:
        raise InvalidPolicy(f"{name}: must be a URL such as https://host/path: {refused}") from None
    return value


def _models(value: Any, known: frozenset[str]) -> tuple[str, ...]:
    names = value.split(",") if isinstance(value, str) else value
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InvalidPolicy("models: must be a list of model names")
    if not names:
        raise InvalidPolicy("models: must name at least one")
    stripped = tuple(dict.fromkeys(name.strip() for name in names))
    for name in stripped:
        if name not in known:
            raise InvalidPolicy(f"models: unknown model {name[:100]!r}, known are {', '.join(sorted(known))}")
    return stripped


def _origins(_name: str, value: Any) -> tuple[str, ...] | None:
    if value in _NO_LIMIT:
        return None
    texts = value.split(",") if isinstance(value, str) else value
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        raise InvalidPolicy("origins: must be a list of origins such as https://shop.example")
    try:
        origins = tuple(dict.fromkeys(read_origin(text.strip()) for text in texts))
    except InvalidOrigin as error:
        raise InvalidPolicy(f"origins: {error}") from error
    if len(origins) > MOST_ORIGINS:
        raise InvalidPolicy(f"origins: must be at most {MOST_ORIGINS}")
    return origins


def _link_ttl(name: str, value: Any) -> LinkTtl:
    if value == "none":
        return "none"
    try:
        return _seconds(name, value)
    except InvalidPolicy as error:
        raise InvalidPolicy(f"{error}, or none for links that never expire") from None


_seconds = _count(LONGEST_SECONDS)
_NO_LIMIT: tuple[object, ...] = (None, "")
_SWITCH: dict[str | bool, bool] = {"yes": True, "no": False, True: True, False: False}
_READERS: dict[str, Callable[[str, Any], Any]] = {
    "requests_per_minute": _count(LARGEST_COUNT),
    "images_per_minute": _count(LARGEST_COUNT),
    "burst": _count(LARGEST_COUNT),
    "concurrency": _count(LARGEST_COUNT),
    "budget_day": _amount,
    "budget_month": _amount,
    "budget_total": _amount,
    "image_format": _one_of(IMAGE_FORMATS),
    "cache": _one_of(CACHE_MODES),
    "cache_ttl": _count(LONGEST_SECONDS),
    "retention_days": _count(LONGEST_DAYS),
    "keep_prompts": _switch,
    "log_prompts": _switch,
    "link_ttl": _link_ttl,
    "origins": _origins,
    "max_body_mb": _count(LARGEST_BODY_MB),
    "webhook_url": _url,
    "shadow": _switch,
}
