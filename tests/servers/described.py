"""Every answer that a test gets from a gateway is held to the interface's description, whatever the test looks for."""

import re
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

import httpx

from gateway.api.openapi import document

OF_HTTP = frozenset({"connection", "content-length", "content-type", "date", "server", "transfer-encoding"})
"""What the server writes around an answer, or the description has in another place."""


def described(response: httpx.Response) -> None:
    """Assert that the description has the status, and for it every header. For `httpx` to call with each answer."""
    request = response.request
    path = request.url.raw_path.partition(b"?")[0].decode()
    answers = _answers(request.method, path)
    if answers is not None:
        wrong = undescribed(answers, response.status_code, response.headers)
        assert not wrong, f"{request.method} {path} is answered {response.status_code} with {wrong}"


def undescribed(answers: Mapping[str, Any], status: int, headers: Iterable[str]) -> list[str]:
    """Return what an answer has that its operation's `answers` do not: names of headers, or the status itself."""
    shown = answers.get(str(status))
    if shown is None:
        return ["the status"]
    known = OF_HTTP.union(name.lower() for name in shown["headers"])
    return sorted({name.lower() for name in headers} - known)


def _answers(method: str, path: str) -> Mapping[str, Any] | None:
    """Return the described answers; None if the path has no such method, or there is no such path."""
    for pattern, methods in _operations():
        if pattern.fullmatch(path):
            shown = methods.get("get" if method == "HEAD" else method.lower())
            return None if shown is None else shown["responses"]
    return None


@cache
def _operations() -> list[tuple[re.Pattern[str], Mapping[str, Any]]]:
    """Return the paths, those without a parameter first (OpenAPI 3.1, 4.8.8.2)."""
    paths = sorted(document()["paths"].items(), key=lambda item: "{" in item[0])
    return [(re.compile(re.sub(r"\{\w+\}", "[^/]+", path)), methods) for path, methods in paths]
