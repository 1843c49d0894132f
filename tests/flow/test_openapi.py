"""The interface is described truly: every route, and nothing that a described one may not answer."""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from starlette.routing import BaseRoute, Mount, Route

from gateway.api.openapi import document
from gateway.api.openapi.admin import POLICY
from gateway.app import build
from gateway.settings import load
from gateway.tenants.policy import KeyPolicy, Policy
from tests.servers.described import undescribed
from tests.servers.pair import Pair, pair

ADMIN_TOKEN = "an-admin-token-of-more-than-32-characters"
SHOP, NOBODY = "https://shop.example", "https://evil.example"


def every_header_is_described(
    context: schemathesis.CheckContext, response: schemathesis.Response, case: "schemathesis.Case[Any]"
) -> None:
    """Check that an answer has no header that its status is not described with."""
    del context
    answers = document()["paths"][case.operation.path][case.operation.method.lower()]["responses"]
    wrong = undescribed(answers, response.status_code, response.headers)
    assert not wrong, f"{response.status_code} with {wrong}"


CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    every_header_is_described,
]
METHODS = {"GET", "POST", "PUT", "PATCH", "DELETE"}
OPERATIONS = [
    (path, method, shown["security"][0] if shown["security"] else {})
    for path, methods in document()["paths"].items()
    for method, shown in methods.items()
]


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Pair, Any]]:
    """A pair with an admin API and a key for the pages of a shop, and its description as Schemathesis reads it."""
    with pair(tmp_path_factory.mktemp("described"), admin_token=ADMIN_TOKEN) as both:
        own = replace(both, key=both.gateway.tenant("with-pages", origins=SHOP))
        yield own, schemathesis.openapi.from_url(f"{both.gateway.url}/openapi.json")


def routes(found: list[BaseRoute], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield path and method of each route; paths without what Starlette adds to their parameters."""
    for route in found:
        if isinstance(route, Mount):
            inside: Any = getattr(route.app, "_app", route.app)
            yield from routes(inside.routes, prefix + route.path)
        elif (included := getattr(route, "original_router", None)) is not None:  # FastAPI keeps routers as they came
            yield from routes(included.routes, prefix)
        elif isinstance(route, Route):
            for method in METHODS & (route.methods or set()):
                yield prefix + route.path.replace(":path}", "}"), method.lower()


def test_every_route_is_described(tmp_path: Path) -> None:
    """A route without a description fails here, and so does a description without a route."""
    configured = load({"GATEWAY_DATA_DIR": str(tmp_path), "GATEWAY_ADMIN_TOKEN": ADMIN_TOKEN})
    app = build(configured).edge._app
    assert isinstance(app, FastAPI)
    helpers = {("/images/{name}", "post")}  # answers 404: a misspelt endpoint is told so
    assert set(routes(app.routes)) - helpers == {(path, method) for path, method, _ in OPERATIONS}


def test_every_option_of_a_policy_is_described() -> None:
    """An option without a description fails here."""
    assert POLICY.keys() >= {field.name for kind in (Policy, KeyPolicy) for field in fields(kind)}


def test_every_reference_leads_somewhere() -> None:
    """What the document refers to, it has."""
    described = document()
    for kind, name in re.findall(r'"#/components/(\w+)/([^"]+)"', json.dumps(described)):
        assert name in described["components"][kind]


def authorized(both: Pair, credential: dict[str, Any]) -> dict[str, str]:
    """Return the headers of whoever an operation is open to."""
    key = ADMIN_TOKEN if "adminToken" in credential else both.key
    return {"Authorization": f"Bearer {key}"} if credential else {}


def test_every_example_works(described: tuple[Pair, Any]) -> None:
    """What the document shows as a request, whoever sends it is answered well."""
    both, _ = described
    unknown = both.post("[close]").headers["x-generation-id"]
    sent = 0
    for path, method, credential in OPERATIONS:
        body = document()["paths"][path][method].get("requestBody", {"content": {}})
        for example in body["content"].get("application/json", {}).get("examples", {}).values():
            answer = both.gateway.http.request(
                method, path.replace("{id}", unknown), json=example["value"], headers=authorized(both, credential)
            )
            assert answer.is_success, (path, answer.text)
            sent += 1
    print(f"{sent} examples")
    assert sent


@pytest.mark.parametrize(("path", "method", "credential"), OPERATIONS)
def test_what_is_answered_is_described(
    described: tuple[Pair, Any], path: str, method: str, credential: dict[str, Any], count: Callable[[int, int], int]
) -> None:
    """Whatever is asked, right or wrong, from whichever page: no 5xx, and nothing that the description does not have.

    Neither a status nor a header nor a shape.
    """
    both, schema = described
    headers = authorized(both, credential)
    asked = schema[path][method]
    answered: Counter[int] = Counter()

    @settings(
        max_examples=count(4, 500),
        deadline=None,
        database=None,
        derandomize=count(0, 1) == 0,
        suppress_health_check=list(HealthCheck),
    )
    @given(
        case=asked.as_strategy(generation_mode=GenerationMode.POSITIVE)
        | asked.as_strategy(generation_mode=GenerationMode.NEGATIVE),
        page=st.sampled_from([{}, {"Origin": SHOP}, {"Origin": SHOP}, {"Origin": NOBODY}]),
    )
    def check(case: "schemathesis.Case[Any]", page: dict[str, str]) -> None:
        answered[case.call_and_validate(headers=headers | page, checks=CHECKS, timeout=60).status_code] += 1

    check()
    print(f"{method} {path}: {answered.total()} cases, {dict(sorted(answered.items()))}")
