"""Faults: how an answer may go wrong, and how a prompt asks for it.

A marker in the prompt, `[delay=1.5]`, makes one call go wrong; it may stand anywhere and hold several faults:
`[status=429 retry-after=2]`. With `[times=2 status=429]` only the first two calls with exactly that prompt meet its
faults, so a client that tries again succeeds at last. A bracket that begins with none of the names is part of the
prompt. `refuse=` takes all the rest of its bracket as text. FAULTS names and describes every fault.

Money: what is answered with a success, or would have been had the fault not spoilt or withheld the answer, is work
done and stands on the bill, unless the marker says `unbilled`. Complete error answers cost nothing (`error-cost` does).
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

FAULTS: Mapping[str, str] = MappingProxyType(
    {
        "delay": "delay=SECONDS: the generation takes so long",
        "times": "times=N: only the first N calls with this very prompt meet its faults",
        "unbilled": "nothing is billed, although the work seems done",
        # refused or failed, as a complete answer
        "status": "status=CODE: this HTTP status; below 300 with a success, else with an error body",
        "code": "code=CODE: an error body with this code, HTTP 200 unless status says otherwise",
        "retry-after": "retry-after=SECONDS: a Retry-After header",
        "refuse": "refuse or refuse=TEXT: code -1 with this text (default: Request Moderated), HTTP 200 unless given",
        "key-error": "refuse=API key is invalid or expired",
        "balance": "refuse=余额不足",
        "msg-in": "msg-in=msg|message|error|error.message|detail: where an error body has its text",
        "error-cost": "an error body (code -1) with a cost in usage, which is billed",
        # no answer, or none that can be read
        "close": "the connection is closed without an answer",
        "cut": "the connection is closed in the middle of the body",
        "silence": "no answer at all; the connection stays open until the client leaves",
        "drip": "drip=SECONDS: the body arrives in small pieces over so many seconds",
        "garbage": "an HTML page instead of JSON",
        "deep": "JSON nested 20,000 levels deep",
        "huge": "huge=MB: a success whose image is so many megabytes of Base64, sent without a length",
        # a success with something odd
        "success-500": "a success with HTTP status 500",
        "string-code": 'code is the text "0"',
        "single-object": "data is one object, not a list",
        "b64_json": "the image is Base64 in b64_json, without image and type",
        "url-key": "the address is in url, without image",
        "no-type": "items without type",
        "model": "model=NAME: the answer names another model",
        "images": "images=N: so many images",
        "no-images": "data is empty; the cost is that of one image",
        "partial": "one good item and one null, images_failed 1",
        "no-usage": "no usage",
        "cost": "cost=JSON: this usage.cost, number, text or nonsense; a sane number is billed, else the price",
        # a success with an image that is none
        "bad-image": "the bytes are no image",
        "wrong-mime": "JPEG bytes said to be image/png",
        "data-prefix": "Base64 with a data: prefix",
        "unpadded": "Base64 without its padding",
        "wrapped": "Base64 in lines of 76 characters",
        "bad-link": "the link answers 403",
        "expired-link": "the link has expired from the start",
        "slow-link": "slow-link=SECONDS: the link answers so late",
    },
)
"""Every fault by name, with one line of description."""

REFUSAL = "Request Moderated"
KEY_ERROR = "API key is invalid or expired"
BALANCE = "余额不足"

_VALUED = frozenset(name for name, text in FAULTS.items() if text.startswith(f"{name}="))
_BRACKET = re.compile(r"\[([a-z][^\[\]]*)\]")
_WORD = re.compile(r"([a-z0-9_-]+)(?:=(\"[^\"]*\"|\S+))?(?:\s+|$)")
_MESSAGE_PLACES = ("msg", "message", "error", "error.message", "detail")


class InvalidFault(ValueError):
    """A marker or rule that cannot be followed; the text says why."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong in one call. `flags` are the faults that take no value; `cost` is JSON text, as is to be sent."""

    flags: frozenset[str] = frozenset()
    delay: float = 0.0
    times: int | None = None
    status: int | None = None
    code: int | None = None
    retry_after: int | None = None
    refuse: str | None = None
    msg_in: str = "msg"
    drip: float = 0.0
    huge: int | None = None
    model: str | None = None
    images: int = 1
    cost: str | None = None
    slow_link: float = 0.0

    def __contains__(self, flag: str) -> bool:
        """Whether the fault that takes no value is asked for."""
        return flag in self.flags

    @property
    def names(self) -> str:
        """What is asked for, for the statistics: `cut`, `status`; `none` if nothing is."""
        asked = sorted(self.flags) + [name for name in ("status", "code", "refuse") if getattr(self, name) is not None]
        return "+".join(asked) if asked else "none"


NO_FAULT = Fault()


def in_prompt(prompt: str) -> Fault:
    """Read the markers of a prompt.

    Raises InvalidFault.
    """
    if "[" not in prompt:
        return NO_FAULT
    values: dict[str, str | None] = {}
    for bracket in _BRACKET.finditer(prompt):
        values.update(_words(bracket[1]))
    return fault_of(values) if values else NO_FAULT


def without_markers(prompt: str) -> str:
    """Return the prompt as a person would read it."""
    if "[" not in prompt:
        return prompt
    return " ".join(_BRACKET.sub(lambda found: "" if _first_name(found[1]) in FAULTS else found[0], prompt).split())


def fault_of(values: Mapping[str, str | None]) -> Fault:
    """Make a fault of names and the texts of their values (None: no value).

    Raises InvalidFault.
    """
    for name, value in values.items():
        if name not in FAULTS:
            raise InvalidFault(f"unknown fault {name}")
        if name != "refuse" and (value is None) == (name in _VALUED):
            raise InvalidFault(f"fault {name}: " + (FAULTS[name] if value is None else "takes no value"))
    if (place := values.get("msg-in") or "msg") not in _MESSAGE_PLACES:
        raise InvalidFault(f"fault msg-in: {FAULTS['msg-in']}")
    images = _whole(values, "images", 1, 100)
    return Fault(
        flags=frozenset(name for name in values if name not in _VALUED and name != "refuse"),
        delay=_seconds(values, "delay"),
        times=_whole(values, "times", 0, 1_000_000),
        status=_whole(values, "status", 200, 599),
        code=_whole(values, "code", -(2**31), 2**31),
        retry_after=_whole(values, "retry-after", 0, 1_000_000),
        refuse=_refusal(values),
        msg_in=place,
        drip=_seconds(values, "drip"),
        huge=_whole(values, "huge", 0, 100_000),
        model=values.get("model"),
        images=1 if images is None else images,
        cost=_json_text(values.get("cost")),
        slow_link=_seconds(values, "slow-link"),
    )


def _first_name(bracket: str) -> str:
    return re.split(r"[=\s]", bracket, maxsplit=1)[0]


def _words(bracket: str) -> dict[str, str | None]:
    """Split a bracket into names and values; empty if it is no marker."""
    values: dict[str, str | None] = {}
    if _first_name(bracket) not in FAULTS:
        return values
    rest = bracket.strip()
    while rest:
        if rest.startswith("refuse="):
            values["refuse"] = rest.removeprefix("refuse=").strip('"')
            break
        if (word := _WORD.match(rest)) is None:
            raise InvalidFault(f"cannot read marker [{bracket}]")
        # The quotes stay in the value of `cost`, which is JSON.
        value = word[2] if word[2] is None or word[1] == "cost" else word[2].strip('"')
        values[word[1]] = value
        rest = rest[word.end() :]
    return values


def _refusal(values: Mapping[str, str | None]) -> str | None:
    if "refuse" in values:
        return REFUSAL if values["refuse"] is None else values["refuse"]
    if "key-error" in values:
        return KEY_ERROR
    return BALANCE if "balance" in values else None


def _whole(values: Mapping[str, str | None], name: str, least: int, most: int) -> int | None:
    if (text := values.get(name)) is None:
        return None
    if re.fullmatch(r"-?[0-9]{1,12}", text, re.ASCII) is None or not least <= int(text) <= most:
        raise InvalidFault(f"fault {name}: must be a whole number from {least} to {most}")
    return int(text)


def _seconds(values: Mapping[str, str | None], name: str) -> float:
    if (text := values.get(name)) is None:
        return 0.0
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise InvalidFault(f"fault {name}: must be a number of seconds")
    return seconds


def _json_text(value: str | None) -> str | None:
    """Take JSON (NaN and Infinity too, which JSON does not have) as it stands, and quote all else."""
    if value is None:
        return None
    try:
        json.loads(value)
    except ValueError:
        return json.dumps(value)
    return value
