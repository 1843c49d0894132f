"""The policy options of `tenant create`, `tenant update` and `key create`: one table. Its rules are the policy's."""

from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import wraps
from inspect import Parameter, signature
from typing import Annotated, Any, Final

import typer

from gateway.tenants.policy import CACHE_MODES, IMAGE_FORMATS, KeyPolicy, Policy


def _option(text: str, metavar: str) -> Any:
    return Annotated[str | None, typer.Option(help=text, metavar=metavar)]


POLICY: Final[Mapping[str, Any]] = {
    "requests_per_minute": _option("Requests a minute; '' for no limit.", "N"),
    "images_per_minute": _option("Images a minute; '' for no limit.", "N"),
    "burst": _option("How many of a minute's may come at once; all, if not given.", "N"),
    "concurrency": _option("Generations at once; '' for no limit.", "N"),
    "budget_day": _option("Yuan a day; '' for no limit.", "YUAN"),
    "budget_month": _option("Yuan a month; '' for no limit.", "YUAN"),
    "budget_total": _option("Yuan in all; '' for no limit.", "YUAN"),
    "models": _option("Models that may be used, comma-separated; '' for all.", "MODELS"),
    "image_format": _option("How images are given.", "|".join(IMAGE_FORMATS)),
    "cache": _option("Answer from earlier replies: to asks with a seed, to all, or never.", "|".join(CACHE_MODES)),
    "cache_ttl": _option("Seconds a reply is stored; a day if not given.", "SECONDS"),
    "retention_days": _option("Days after which images, prompts and replies are erased; '' for never.", "DAYS"),
    "keep_prompts": _option("Keep prompts in the ledger.", "yes|no"),
    "log_prompts": _option("Log prompts, from where they cannot be erased; no, if not given.", "yes|no"),
    "link_ttl": _option("Seconds a link works, or none for ever; 7 days if not given.", "SECONDS|none"),
    "origins": _option("Origins whose pages may call, comma-separated; '' for none.", "ORIGINS"),
    "max_body_mb": _option("Largest request body; 224 MB if not given.", "MB"),
    "webhook_url": _option("Where its events go; '' for nowhere.", "URL"),
    "shadow": _option("Count rates and concurrency without refusing; alone it is yes.", "[yes|no]"),
}
"""Each option of a policy, as Typer declares it."""


def takes(kind: type[Policy] | type[KeyPolicy]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options of a kind of policy: it is called with those that were given, as `policy`."""
    names = [field.name for field in fields(kind)]

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @wraps(command)
        def with_options(**given: Any) -> None:
            policy = {name: value for name in names if (value := given.pop(name)) is not None}
            command(**given, policy=policy)

        own = [parameter for parameter in signature(command).parameters.values() if parameter.name != "policy"]
        options = [Parameter(name, Parameter.KEYWORD_ONLY, default=None, annotation=POLICY[name]) for name in names]
        shown = signature(command).replace(parameters=[*own, *options])
        # Typer reads both.
        with_options.__signature__ = shown  # type: ignore[attr-defined]  # a function may have one, PEP 362
        with_options.__annotations__ = {one.name: one.annotation for one in shown.parameters.values()}
        return with_options

    return decorate
