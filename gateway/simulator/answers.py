"""The bodies of answers, right and wrong. Nothing here acts."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any

import orjson
import pybase64

from gateway.money import MICROS_PER_YUAN, Micros, from_decimal, json_yuan
from gateway.simulator.asked import Asked
from gateway.simulator.faults import Fault

ABSURD = 100
"""A cost of more than so many times the price is a slip of the answer, and is not what the bill says."""

_JSON = {"Content-Type": "application/json"}
_FIRST_FAILURE = 300
_SERVER_TROUBLE = 500
_WITHHELD = frozenset({"close", "cut", "silence", "garbage", "deep"})
_GARBAGE = b"<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"
_DEEP = b'{"code":0,"data":' + b"[" * 20_000 + b"]" * 20_000 + b"}"
_TEXTS = {
    400: "Invalid request",
    401: "API key is invalid or expired",
    402: "余额不足",
    403: "Access denied",
    429: "Too many requests, slow down",
    503: "Service is busy, try again later",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer; `headers` hold the media type."""

    status: int
    body: bytes = field(repr=False)
    headers: dict[str, str]


def envelope(text: str, status: int, headers: dict[str, str] | None = None) -> Answer:
    """Write the documented error: `{"code": -1, "msg": text}`."""
    return Answer(status, orjson.dumps({"code": -1, "msg": text}), {**_JSON, **({} if headers is None else headers)})


def failure(fault: Fault, cost: Micros) -> Answer | None:
    """Return the complete error answer that a fault asks for, or None if it leaves the call a success."""
    status = 200 if fault.status is None else fault.status
    failed = status >= _FIRST_FAILURE
    if not failed and fault.code is None and fault.refuse is None and "error-cost" not in fault:
        return None
    headers = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
    if "garbage" in fault:
        return Answer(status, _GARBAGE, {"Content-Type": "text/html", **headers})
    text = fault.refuse
    if text is None:
        text = _TEXTS.get(status if failed or fault.code is None else fault.code, "Internal error")
    code = -1 if fault.code is None else fault.code
    body: dict[str, Any] = {"code": str(code) if "string-code" in fault else code}
    if fault.msg_in == "error.message":
        body["error"] = {"message": text}
    else:
        body[fault.msg_in] = text
    if "error-cost" in fault:
        body["usage"] = {"cost": orjson.Fragment(json_yuan(cost) if fault.cost is None else fault.cost)}
    return Answer(status, orjson.dumps(body), {**_JSON, **headers})


def success(asked: Asked, fault: Fault, items: Sequence[dict[str, Any]], cost: Micros) -> Answer:
    """Write a success with these items, and with the fault's oddities."""
    status = _SERVER_TROUBLE if "success-500" in fault else 200 if fault.status is None else fault.status
    if "garbage" in fault:
        return Answer(status, _GARBAGE, {"Content-Type": "text/html"})
    if "deep" in fault:
        return Answer(status, _DEEP, _JSON)
    listed: list[dict[str, Any] | None] = [*items, None] if "partial" in fault else [*items]
    lost = int("partial" in fault or not items)
    body: dict[str, Any] = {
        "code": "0" if "string-code" in fault else 0,
        "data": listed[0] if "single-object" in fault and listed else listed,
        "model": asked.model if fault.model is None else fault.model,
        "provider": asked.model.partition("-")[0],
    }
    if "no-usage" not in fault:
        written = json_yuan(cost) if fault.cost is None else fault.cost
        body["usage"] = {
            "cost": orjson.Fragment(written),
            "images_generated": len(items),
            "images_failed": lost,
        }
    return Answer(status, orjson.dumps(body), _JSON)


def base64_item(fault: Fault, image: bytes, mime_type: str) -> dict[str, Any]:
    """Write one image as Base64."""
    text = pybase64.b64encode(image).decode()
    if "unpadded" in fault:
        text = text.rstrip("=")
    if "wrapped" in fault:
        text = "\n".join(text[start : start + 76] for start in range(0, len(text), 76))
    if "data-prefix" in fault:
        text = f"data:{mime_type};base64,{text}"
    if "b64_json" in fault:
        return {"b64_json": text}
    return _typed(fault, {"type": "base64", "image": text, "mimeType": mime_type, "revised_prompt": None})


def url_item(fault: Fault, url: str, revised_prompt: str) -> dict[str, Any]:
    """Write one image as a link."""
    name = "url" if "url-key" in fault else "image"
    return _typed(fault, {"type": "url", name: url, "mimeType": None, "revised_prompt": revised_prompt})


def wants_base64(asked: Asked, fault: Fault) -> bool:
    """Whether the answer holds the bytes: Gemini's do, and so do those of faults that concern Base64."""
    return asked.model.startswith("gemini") or not fault.flags.isdisjoint(
        {"b64_json", "data-prefix", "unpadded", "wrapped"}
    )


def cost_of(fault: Fault, price: Micros) -> Micros:
    """Return what a success costs: the price of its images (of one at least), or the cost that the fault names.

    A named cost that is no number from 0 to ABSURD times the price is wrong in the answer only.
    """
    due = price * fault.images
    if fault.cost is None:
        return due
    try:
        named = Decimal(str(json.loads(fault.cost, parse_float=Decimal)))
    except InvalidOperation:
        return due
    most = Decimal(ABSURD * due) / MICROS_PER_YUAN
    return from_decimal(named) if named.is_finite() and 0 <= named <= most else due


def withholds(fault: Fault) -> bool:
    """Whether the caller cannot learn the cost from the answer."""
    return not fault.flags.isdisjoint(_WITHHELD) or fault.huge is not None


def _typed(fault: Fault, item: dict[str, Any]) -> dict[str, Any]:
    if "no-type" in fault:
        del item["type"]
    return item
