"""Names of series: what the gateway has, and what an expression of PromQL asks for."""

import re

from prometheus_client import CollectorRegistry

from gateway.metrics import Metrics

_SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum"), "gauge": ("",)}


def metrics_of_the_gateway() -> set[str]:
    """Return the name of every series that the gateway may show."""
    registry = CollectorRegistry()
    assert Metrics(registry).redis_up is not None  # made where there is a Redis
    return {family.name + suffix for family in registry.collect() for suffix in _SUFFIXES[family.type]}


def metrics_in(expression: str) -> set[str]:
    """Return the names of the series that an expression asks for: ours, those recorded from them, and `up`."""
    bare = re.sub(r"\{[^}]*\}|\"[^\"]*\"", "", expression)
    return set(re.findall(r"(?<![\w:])(?:[a-z_]+:)?gateway_\w+(?::\w+)?|\bup\b", bare))
