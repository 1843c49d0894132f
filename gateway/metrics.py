"""Every metric of the gateway, in one place: base units, `_total` on counters, closed label sets.

No key, prompt, URL or end user is ever a label. Tenants are bounded: the first 200 that were made keep their name, the
rest are `other`, so that a thousand tenants do not become a thousand series of every metric. A model is one of the
catalog's; whatever else is asked for is `none`.
"""

import math
from collections.abc import Callable, Iterable
from functools import cached_property, lru_cache
from itertools import islice

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics

TENANTS_NAMED = 200

_MICROS_PER_YUAN = 1_000_000
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 180)
_STALLS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
_OVERHEAD = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)


class TenantLabels:
    """Which tenants appear under their own name: in every process the same, those that were made first.

    While there is room, one that is new is named when it is first met.
    """

    def __init__(self) -> None:
        self._named: set[str] = set()

    def name_oldest(self, tenants: Iterable[str]) -> None:
        """Give the oldest tenants, as they are read from time to time, labels of their own, and no others."""
        self._named = set(islice(tenants, TENANTS_NAMED))

    def of(self, tenant: str | None) -> str:
        """Return the label of a tenant: its name, `other`, or `none` for a caller who is nobody."""
        if tenant is None:
            return "none"
        if len(self._named) < TENANTS_NAMED:
            self._named.add(tenant)
        return tenant if tenant in self._named else "other"


def _remembered(counter: Counter) -> Callable[..., Counter]:
    """Return its `labels`, which takes a lock and makes texts anew each time, with a memory."""
    return lru_cache(maxsize=4096)(counter.labels)


class Metrics:
    """The instruments, built once by the composition root and handed to the parts."""

    def __init__(self, registry: CollectorRegistry) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the package leaves it untyped
        self.registry = registry
        self.tenants = TenantLabels()
        requests = Counter(
            "gateway_requests_total",
            "Requests for an image by outcome.",
            ("tenant", "model", "outcome"),
            registry=registry,
        )
        self._requests = _remembered(requests)
        self.images = Counter(
            "gateway_images_total",
            "Images by outcome: generated (and given to the caller) or failed.",
            ("tenant", "model", "provider", "outcome"),
            registry=registry,
        )
        cost = Counter(
            "gateway_cost_yuan_total",
            "What settled generations cost, from the same bill as the ledger.",
            ("tenant", "model", "provider"),
            registry=registry,
        )
        self._cost = _remembered(cost)
        cost_saved = Counter(
            "gateway_cost_saved_yuan_total",
            "What replies from the cache or a shared generation would have cost.",
            ("tenant", "model"),
            registry=registry,
        )
        self._cost_saved = _remembered(cost_saved)
        self.request_seconds = Histogram(
            "gateway_request_seconds",
            "Generations, from the last byte of the request to the reply.",
            buckets=_SECONDS,
            registry=registry,
        )
        self.upstream_seconds = Histogram(
            "gateway_upstream_seconds",
            "From sending a generation upstream to its whole answer, all attempts.",
            ("provider",),
            buckets=_SECONDS,
            registry=registry,
        )
        self.overhead_seconds = Histogram(
            "gateway_overhead_seconds",
            "What the gateway itself added: the request's time less upstream's.",
            buckets=_OVERHEAD,
            registry=registry,
        )
        self.in_flight = Gauge(
            "gateway_in_flight_generations",
            "Generations being worked on.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._budget_limit = self._budget("gateway_budget_limit_yuan", "The budget of a tenant for a window.", registry)
        self._budget_spent = self._budget("gateway_budget_spent_yuan", "What is spent of the window.", registry)
        self._budget_held = self._budget("gateway_budget_held_yuan", "What reserved generations hold of it.", registry)
        self.generations_unknown = Gauge(
            "gateway_generations_unknown",
            "Generations whose outcome is unknown and whose hold stays.",
            registry=registry,
            multiprocess_mode="livemostrecent",
        )
        self.price_drift = Gauge(
            "gateway_price_drift_ratio",
            "Upstream's bills / our quotes, of the newest generations; above 1 the catalog's prices are too low.",
            ("model",),
            registry=registry,
            multiprocess_mode="livemostrecent",
        )
        self.rate_limited = Counter(
            "gateway_rate_limited_total",
            "Refusals by a limit, counted also where the limit is in shadow mode.",
            ("tenant", "limit"),
            registry=registry,
        )
        self.kept_bytes = Counter("gateway_kept_bytes_total", "Bytes of images put into the store.", registry=registry)
        self.keep_failures = Counter(
            "gateway_keep_failures_total",
            "Paid images that could not be kept, by cause: fetch, image, store.",
            ("cause",),
            registry=registry,
        )
        self.spool_images = Gauge(
            "gateway_spool_images",
            "Images in the local spool, waiting for the store.",
            registry=registry,
            multiprocess_mode="livemostrecent",
        )
        self.spool_bytes = Gauge(
            "gateway_spool_bytes", "Bytes of these images.", registry=registry, multiprocess_mode="livemostrecent"
        )
        self.erasures_waiting = Gauge(
            "gateway_erasures_waiting",
            "Generations that are to be erased and are not yet: a store is away.",
            registry=registry,
            multiprocess_mode="livemostrecent",
        )
        self.unusable_costs = Counter(
            "gateway_unusable_costs_total",
            "Settled at the quote because upstream named no cost that could be one.",
            ("model",),
            registry=registry,
        )
        self.upstream_attempts = Counter(
            "gateway_upstream_attempts_total",
            "Calls to upstream by account (its place in the configuration) and result.",
            ("account", "result"),
            registry=registry,
        )
        self.upstream_breaker_open = Gauge(
            "gateway_upstream_breaker_open",
            "1 while an account is not used: its breaker is open or its key was refused.",
            ("account",),
            registry=registry,
            multiprocess_mode="livemax",
        )
        self.redis_fallbacks = Counter(
            "gateway_redis_fallbacks_total", "Answers given without Redis, by part.", ("part",), registry=registry
        )
        self.webhook_deliveries = Counter(
            "gateway_webhook_deliveries_total",
            "Tries to deliver an event by result: delivered, retried (it will be tried again), failed (given up).",
            ("result",),
            registry=registry,
        )
        self.webhook_waiting = Gauge(
            "gateway_webhook_events_waiting",
            "Events of the outbox that are not delivered yet.",
            registry=registry,
            multiprocess_mode="livemostrecent",
        )
        self.event_loop_stall_seconds = Histogram(
            "gateway_event_loop_stall_seconds",
            "How late the event loop woke up, sampled ten times a second.",
            buckets=_STALLS,
            registry=registry,
        )

    @cached_property
    def redis_up(self) -> Gauge:
        """Only where there is a Redis: anywhere else its 0 would look like an outage."""
        return Gauge("gateway_redis_up", "1 while Redis answers.", registry=self.registry, multiprocess_mode="livemin")

    @staticmethod
    def _budget(name: str, text: str, registry: CollectorRegistry) -> Gauge:
        return Gauge(name, text, ("tenant", "window"), registry=registry, multiprocess_mode="livemostrecent")

    def count_request(self, tenant: str | None, model: str | None, outcome: str) -> None:
        """Count a request for an image; a caller or a model that is not known is `none`."""
        self._requests(self.tenants.of(tenant), "none" if model is None else model, outcome).inc()

    def add_cost(self, tenant: str, model: str, provider: str, micros: int) -> None:
        """Count a bill, given in micro-yuan."""
        self._cost(self.tenants.of(tenant), model, provider).inc(micros / _MICROS_PER_YUAN)

    def add_cost_saved(self, tenant: str, model: str, micros: int) -> None:
        """Count what a repeat did not cost, given in micro-yuan."""
        self._cost_saved(self.tenants.of(tenant), model).inc(micros / _MICROS_PER_YUAN)

    def set_budget(self, tenant: str, window: str, *, limit: int | None, spent: int, held: int) -> None:
        """Show a budget as the ledger has it, given in micro-yuan; without a limit (any more) it is infinite."""
        amounts = math.inf if limit is None else limit, spent, held
        for gauge, micros in zip((self._budget_limit, self._budget_spent, self._budget_held), amounts, strict=True):
            gauge.labels(self.tenants.of(tenant), window).set(micros / _MICROS_PER_YUAN)
