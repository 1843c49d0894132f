"""What upstream's answer means: HTTP status, headers and body in, one of a closed set of meanings out. Pure.

The HTTP status and `code` of the body may disagree. An image that exists was probably billed, so `code` 0 with an image
is a success under any status; else HTTP 429 and 5xx decide; else a `code` of 400 to 599 is read like that HTTP status
(the document's own retry sample expects `code` 429, 500 and 503); else it is a refusal of this request.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeAlias

from gateway.contract import retry_after
from gateway.upstream.envelope import ReturnedImage, code_of, cost_of, images_of, message_of, name_of, parse
from gateway.upstream.scrub import scrub


@dataclass(frozen=True, slots=True)
class Generated:
    """The work was done. `images` may be empty; `cost` (yuan) is None when upstream named none that is a number.

    A named cost is finite, but may be negative or absurd: whoever knows the quote judges it.
    """

    images: tuple[ReturnedImage, ...]
    images_failed: int
    model: str | None
    provider: str | None
    cost: Decimal | None


@dataclass(frozen=True, slots=True)
class Refused:
    """Upstream refused this request. `text` may be shown to the caller; it is empty when upstream gave no reason."""

    text: str
    moderated: bool
    cost: Decimal | None


@dataclass(frozen=True, slots=True)
class AccountFault:
    """The account's key or balance is at fault, never the caller. `detail` is for the log."""

    detail: str
    cost: Decimal | None


@dataclass(frozen=True, slots=True)
class Busy:
    """Upstream did not begin the work: 429 or 503. `retry_after` in seconds, if it named any."""

    retry_after: float | None
    cost: Decimal | None


@dataclass(frozen=True, slots=True)
class ServerFault:
    """Upstream answered, completely, that it failed. `detail` is for the log."""

    detail: str
    cost: Decimal | None


@dataclass(frozen=True, slots=True)
class Garbage:
    """A whole answer that says neither success nor failure: the outcome is unknown. `detail` is for the log."""

    detail: str


@dataclass(frozen=True, slots=True)
class NotConnected:
    """No connection was made (DNS, refused, TLS, or connect time-out), so nothing was sent."""

    timeout: bool


@dataclass(frozen=True, slots=True)
class Lost:
    """The request may have been sent, and no whole answer came: the outcome is unknown. `detail` is for the log."""

    timeout: bool
    detail: str


Reading: TypeAlias = Generated | Refused | AccountFault | Busy | ServerFault | Garbage
Answer: TypeAlias = Reading | NotConnected | Lost

_BUSY = (429, 503)
_ACCOUNT = (401, 402, 403)
_OURS = (405, 408)
"""The method and the speed of sending are the gateway's doing: a fault, no refusal of what the caller asked."""

_MODERATED = re.compile(
    r"moderat|content[ _]policy|safety|prohibited|blocked|sensitive|nsfw|审核|敏感|违规|安全", re.IGNORECASE
)
_ABOUT_ACCOUNT = re.compile(
    r"\b(?:api|access)[ _-]?key\b.{0,20}\b(?:invalid|incorrect|wrong|expired|revoked|disabled|missing|not found)"
    r"|\b(?:invalid|incorrect|wrong|expired|revoked|missing|disabled)\b.{0,10}\b(?:api|access)[ _-]?key\b"
    r"|\binsufficient[ _](?:\w+[ _])?(?:balance|credits?|quota|funds)"
    r"|\b(?:balance|credits?|quota)\b.{0,20}\b(?:insufficient|not enough|exhausted|used up|depleted)"
    r"|\bexceeded your current quota"
    r"|余额不足|余额已|欠费|(?:积分|额度|配额|点数)(?:不足|不够|已用|用尽|耗尽)"
    r"|(?:密钥|令牌|api ?key).{0,6}(?:无效|错误|过期|失效|不正确|不存在)"
    r"|(?:无效|错误|过期|失效)的?(?:密钥|令牌|api ?key)"
    r"|(?:账户|账号|帐户|帐号)(?:已|被|余额).{0,6}(?:不足|停用|禁用|冻结)",
    re.IGNORECASE,
)


def read_answer(status: int, headers: Mapping[str, str], body: bytes, secrets: Sequence[str]) -> Reading:
    """Say what a whole HTTP answer means.

    `headers` finds names in any case or holds them in lower case. `secrets` (the keys) are in no text of the result.
    """
    if 300 <= status < 400:  # noqa: PLR2004 -- a class of HTTP statuses, RFC 9110 15.4
        return Garbage(f"HTTP {status}: a redirect, which is never followed")
    envelope = parse(body)
    if envelope is None:
        return _without_json(status, headers, len(body))
    code = code_of(envelope)
    success = 200 <= status < 300  # noqa: PLR2004 -- RFC 9110 15.3
    if code in (None, 0, 200):
        images, failed = images_of(envelope, secrets)
        # A success by its code alone, without an image, needs an HTTP status that does not contradict it.
        if images or (success and code is not None):
            model, provider = (name_of(envelope, member, secrets) for member in ("model", "provider"))
            return Generated(images, failed, model, provider, cost_of(envelope))
    return _failure(status, headers, envelope, code, secrets)


def _failure(
    status: int, headers: Mapping[str, str], envelope: Mapping[str, Any], code: int | None, secrets: Sequence[str]
) -> Reading:
    message = message_of(envelope)
    text = "" if message is None else scrub(message, secrets)
    cost = cost_of(envelope)
    detail = f"HTTP {status}, code {code}: {text or 'no message'}"
    meant = _meant(status, code)
    # Also under 429 and 500: out of quota is no matter of waiting.
    if meant in _ACCOUNT or _ABOUT_ACCOUNT.search(text):
        return AccountFault(detail, cost)
    if meant in _BUSY:
        return Busy(retry_after(headers), cost)
    if meant in _OURS or meant >= 500:  # noqa: PLR2004 -- RFC 9110 15.6
        return ServerFault(detail, cost)
    if meant >= 400:  # noqa: PLR2004 -- RFC 9110 15.5
        return Refused(text, _MODERATED.search(text) is not None, cost)
    # Words alone are no failure; an `error`, or a code in words beside a message, is one.
    if envelope.get("error") or (text and isinstance(envelope.get("code"), str)):
        return Refused(text, _MODERATED.search(text) is not None, cost)
    return Garbage(f"HTTP {status} with a JSON object that tells neither success nor failure")


def _meant(status: int, code: int | None) -> int:
    """Return the one HTTP status that `status` and `code` amount to; an error code of no class is 400."""
    if status in (*_ACCOUNT, *_BUSY) or status >= 500:  # noqa: PLR2004 -- RFC 9110 15.6
        return status
    if code is not None and 400 <= code < 600:  # noqa: PLR2004 -- RFC 9110 15
        return code
    return 400 if status < 400 and code is not None else status  # noqa: PLR2004 -- the same


def _without_json(status: int, headers: Mapping[str, str], length: int) -> Reading:
    """Read an answer that is not the API's own: a proxy, a wrong URL, a body cut off.

    An error status is a whole answer all the same. It says nothing about what was asked for, so it is upstream's fault
    and no refusal, except 413, which is about the size of this request.
    """
    detail = f"HTTP {status} without a JSON object, {length} bytes"
    if status in _ACCOUNT:
        return AccountFault(detail, None)
    if status in _BUSY:
        return Busy(retry_after(headers), None)
    if status == 413:  # noqa: PLR2004 -- RFC 9110 15.5.14
        return Refused("", moderated=False, cost=None)
    if status >= 400:  # noqa: PLR2004 -- RFC 9110 15.5
        return ServerFault(detail, None)
    return Garbage(detail)
