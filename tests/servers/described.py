"""Every answer that a test gets from a gateway is held to the interface's description, whatever the test looks for."""

import re
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

import httpx
import orjson
from jsonschema_rs import Draft202012Validator

from gateway.api.openapi import document

JSON = "application/json"
OF_HTTP = frozenset({"connection", "content-length", "content-type", "date", "server", "transfer-encoding"})
"""What the server writes around an answer, or the description has in another place."""


def described(response: httpx.Response) -> None:
    """Assert that the description has the status, and for it every header and the shape of what is JSON.

    For `httpx` to call with each answer.
    """
    request = response.request
    path = _described_path(request.url.raw_path.partition(b"?")[0].decode())
    method = "get" if request.method == "HEAD" else request.method.lower()
    if path is None or method not in _document()["paths"][path]:
        return
    said = f"{request.method} {path} is answered {response.status_code}"
    answers = _document()["paths"][path][method]["responses"]
    wrong = undescribed(answers, response.status_code, response.headers)
    assert not wrong, f"{said} with {wrong}"
    if response.headers.get("content-type") == JSON and request.method != "HEAD":
        validator = _validator(path, method, str(response.status_code))
        errors = [error.message for error in validator.iter_errors(orjson.loads(response.read()))]
        assert not errors, f"{said} with {response.text}: {errors}"


def undescribed(answers: Mapping[str, Any], status: int, headers: Iterable[str]) -> list[str]:
    """Return what an answer has that its operation's `answers` do not: names of headers, or the status itself."""
    shown = answers.get(str(status))
    if shown is None:
        return ["the status"]
    known = OF_HTTP.union(name.lower() for name in shown["headers"])
    return sorted({name.lower() for name in headers} - known)


@cache
def _document() -> Mapping[str, Any]:
    return document()


def _described_path(path: str) -> str | None:
    """Return the path as the description has it; None if it does not."""
    return next((template for pattern, template in _paths() if pattern.fullmatch(path)), None)


@cache
def _paths() -> list[tuple[re.Pattern[str], str]]:
    """Return the paths, those without a parameter first (OpenAPI 3.1, 4.8.8.2)."""
    paths = sorted(_document()["paths"], key=lambda path: "{" in path)
    return [(re.compile(re.sub(r"\{\w+\}", "[^/]+", path)), path) for path in paths]


@cache
def _validator(path: str, method: str, status: str) -> Draft202012Validator:
    whole = _document()
    schema = whole["paths"][path][method]["responses"][status]["content"][JSON]["schema"]
    return Draft202012Validator(schema | {"components": whole["components"]})
