"""The composition root: everything that exists is built here, once, and handed down. Building contacts nothing."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import structlog
from fastapi import APIRouter, FastAPI
from fastapi.telemetry import TelemetryConfig
from prometheus_client import CollectorRegistry
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from gateway.api.admin import AdminRoute
from gateway.api.edge import Edge
from gateway.api.errors import render_expected, render_framework, render_unexpected
from gateway.api.events import Streams
from gateway.api.generate import GenerateRoute
from gateway.api.generations import GenerationsRoute
from gateway.api.health import HealthRoute, probes
from gateway.api.history import HistoryRoute
from gateway.api.images import ImagesRoute
from gateway.api.models import ModelsRoute
from gateway.api.openai import OpenAIImages, OpenAIModels
from gateway.api.openapi import OpenApiRoute
from gateway.api.pages import Pages
from gateway.api.render import Renderer
from gateway.api.room import BodyRoom
from gateway.api.tokens import TokensRoute
from gateway.api.usage import UsageRoute
from gateway.api.who import Who
from gateway.catalog import Catalog, CatalogFault, CatalogFile
from gateway.clock import Calendar
from gateway.contract.origin import origin_of
from gateway.data_dir import IMAGES, JOURNAL, SPOOL, database_of, migrate_embedded, secrets_of
from gateway.database.engine import Database
from gateway.errors import GatewayError, Misconfigured
from gateway.flow.attempt import Attempts
from gateway.flow.budget_watch import BudgetWatch
from gateway.flow.decided_watch import DecidedWatch
from gateway.flow.erase import Caches, Eraser, Sweeper
from gateway.flow.generate import Generator, Parts
from gateway.flow.keep import Keeper
from gateway.flow.references import References
from gateway.flow.spool_watch import SpoolWatch
from gateway.flow.stages import Stages
from gateway.flow.supervisor import Supervisor
from gateway.guard import Guard
from gateway.ids import new_id
from gateway.images.fetch import Fetcher
from gateway.images.given import GivenLinks, LinkSigner
from gateway.images.links import Links
from gateway.images.objects import ObjectStore
from gateway.images.spool import Spool
from gateway.images.spooled import SpooledStore
from gateway.images.store import Store
from gateway.images.stores import open_store
from gateway.ledger.journal import Journal
from gateway.ledger.ledger import Ledger
from gateway.ledger.report import Reports
from gateway.ledger.savings import Savings
from gateway.limits import AddressLimiter, Limiter, LocalLimiter, SharedLimiter
from gateway.metrics import TENANTS_NAMED, Metrics
from gateway.redis_link import RedisLink, parse_address
from gateway.replies import Flights, LocalFlights, LocalReplies, Replies, SharedFlights, SharedReplies
from gateway.settings import Settings
from gateway.spans import no_span
from gateway.stall import watch_loop
from gateway.tenants.administration import oldest_tenants, webhook_urls
from gateway.tenants.directory import Directory
from gateway.tenants.keys import Pepper
from gateway.tenants.notices import Notices
from gateway.tenants.origins import Origins
from gateway.tenants.tokens import keep_swept
from gateway.upstream.client import Upstream, UpstreamConfig
from gateway.webhooks.delivery import Deliverer
from gateway.webhooks.endpoints import Endpoints
from gateway.webhooks.post import Poster
from gateway.webhooks.signature import Signer

FRAMEWORK_TELEMETRY: TelemetryConfig = {"auto_configure": False, "tracing": False, "metrics": False, "logs": False}
"""The framework would send what it sees by itself, keys and URLs with it, wherever the environment says."""

if TYPE_CHECKING:
    from gateway.traces import Traces

LINK_SECONDS = 7 * 24 * 3600
"""How long a link works if the tenant's policy does not say."""


class Resource(Protocol):
    """What `api/` has for each resource."""

    def router(self) -> APIRouter:
        """Return its routes."""
        ...


@dataclass(frozen=True, slots=True)
class Gateway:
    """One process's gateway: the application, and what has to be opened before and closed after it serves."""

    edge: Edge
    settings: Settings
    metrics: Metrics
    database: Database
    journal: Journal
    ledger: Ledger
    savings: Savings
    budgets: BudgetWatch
    decided: DecidedWatch
    sweeper: Sweeper
    supervisor: Supervisor
    catalog: CatalogFile
    store: SpooledStore | None
    links: GivenLinks
    fetcher: Fetcher
    upstream: Upstream
    redis: RedisLink | None
    limiter: Limiter
    flights: Flights
    notices: Notices
    stages: Stages
    streams: Streams
    traces: "Traces | None"
    poster: Poster
    deliverer: Deliverer

    @asynccontextmanager
    async def opened(self, crashed: Callable[[], None]) -> AsyncIterator[None]:
        """Open what serving needs, migrate what is embedded, run what runs beside the requests; close it all after.

        `crashed` is called if one of the latter fails: it never should, and without it the gateway must not go on.
        Generations must have ended before this is left.
        """
        async with AsyncExitStack() as stack:
            if self.traces is not None:
                stack.push_async_callback(self.traces.close)
            stack.push_async_callback(self.database.close)
            if self.store is not None:
                stack.push_async_callback(self.store.close)
            await self.links.open()
            stack.push_async_callback(self.fetcher.close)
            stack.push_async_callback(self.poster.close)
            stack.push_async_callback(self.upstream.close)
            if self.redis is not None:
                await stack.enter_async_context(self.redis)
            await stack.enter_async_context(self.limiter)
            await stack.enter_async_context(self.flights)
            await migrate_embedded(self.settings, self.database)
            if adopted := await asyncio.to_thread(self.journal.open):
                structlog.get_logger("app").warning("journal of an earlier process taken over", entries=adopted)
            stack.callback(self.journal.close)
            stack.push_async_callback(self.ledger.close)
            await self.ledger.open()
            self.metrics.tenants.name_oldest(await self.database.read(lambda sql: oldest_tenants(sql, TENANTS_NAMED)))
            stack.push_async_callback(self.savings.close)
            works = [
                self.ledger.run(),
                self.savings.run(),
                self.catalog.watch(),
                watch_loop(self.metrics),
                self.budgets.run(),
                self.decided.run(),
                self.stages.run(),
                keep_swept(self.database),
                self.sweeper.run(),
                self.deliverer.run(),
                self.notices.listen(),
            ]
            if self.store is not None:
                works.append(SpoolWatch(self.store, self.ledger).run())
            for work in works:
                task = asyncio.create_task(_never_ending(work, crashed))
                stack.push_async_callback(_cancel, task)
            yield


def build(settings: Settings) -> Gateway:
    """Build a gateway. Raises Misconfigured for a faulty catalog or store, and makes an embedded secret if absent."""
    calendar = Calendar(settings.zone)
    metrics = Metrics(CollectorRegistry())
    catalog = CatalogFile(settings.catalog, _report_catalog)
    secrets = secrets_of(settings)
    database = database_of(settings)
    journal = Journal(settings.data_dir / JOURNAL, process_id := new_id("proc"))
    ledger = Ledger(
        database,
        journal,
        process_id,
        alone=settings.embedded,
        settle_unknown_after=settings.unknown_settle_after,
    )
    savings = Savings(database)
    pepper = Pepper(secrets)
    directory = Directory(database, pepper)
    store = store_of(settings, metrics)
    own_links = Links(settings.link_base, secrets, LINK_SECONDS)
    links = GivenLinks(own_links, signer=_signer_of(settings, store), public_base=settings.links_url)
    guard, signer = Guard(settings.fetch_allow), Signer(secrets)
    fetcher, poster = Fetcher(guard), Poster(guard, signer)
    upstream = upstream_of(settings, metrics)
    supervisor = Supervisor(metrics)
    redis = None if settings.redis_url is None else RedisLink(parse_address(settings.redis_url), metrics)
    limiter: Limiter = (
        LocalLimiter(metrics)
        if redis is None
        else SharedLimiter(redis, metrics, processes=settings.workers * settings.replicas)
    )
    replies: Replies = LocalReplies() if redis is None else SharedReplies(redis, metrics)
    flights: Flights = LocalFlights() if redis is None else SharedFlights(redis, metrics)
    stages, streams = Stages(ledger), Streams()
    traces = _traces_of(settings)
    spans = no_span if traces is None else traces.span
    keeper = Keeper(store, fetcher, metrics, spans)
    generator = Generator(
        Parts(
            catalog=catalog,
            calendar=calendar,
            references=References(links, store, ledger),
            limiter=limiter,
            replies=replies,
            flights=flights,
            supervisor=supervisor,
            ledger=ledger,
            savings=savings,
            attempts=Attempts(
                upstream,
                keeper,
                ledger,
                stages,
                metrics,
                seconds=settings.upstream_timeout,
                spans=spans,
            ),
            keeps=store is not None,
            metrics=metrics,
            spans=spans,
        )
    )
    caches = Caches(replies, flights, one_each=redis is None and not settings.embedded)
    eraser = Eraser(database, caches, store)
    origins = Origins(database)
    notices = Notices(redis, directory, origins)
    renderer = Renderer(links, store, alone=settings.replicas == 1)
    who = Who(directory, AddressLimiter())
    room = BodyRoom()
    reports = Reports(database)
    edge = _application(
        Edge if traces is None else traces.edge,
        Pages(origin_of(settings.link_base), origins),
        GenerateRoute(who, catalog, calendar, generator, renderer, links, room, metrics),
        OpenAIImages(who, catalog, calendar, generator, renderer, room, metrics),
        OpenAIModels(who, catalog, calendar),
        ModelsRoute(who, catalog, calendar),
        GenerationsRoute(who, ledger, renderer, eraser, stages, streams),
        TokensRoute(who, catalog, database, pepper, limiter, notices),
        HistoryRoute(who, ledger, calendar),
        ImagesRoute(own_links, store, ledger),
        HealthRoute(probes(database, redis, store), supervisor, store),
        UsageRoute(who, reports, calendar),
        AdminRoute(
            settings.admin_token, database, pepper, catalog, calendar, reports, Endpoints(signer, guard), notices
        ),
        OpenApiRoute(),
    )
    return Gateway(
        edge=edge,
        settings=settings,
        metrics=metrics,
        database=database,
        journal=journal,
        ledger=ledger,
        savings=savings,
        budgets=BudgetWatch(process_id, database, calendar, metrics),
        decided=DecidedWatch(process_id, database, metrics),
        sweeper=Sweeper(process_id, eraser, metrics),
        supervisor=supervisor,
        catalog=catalog,
        store=store,
        links=links,
        fetcher=fetcher,
        upstream=upstream,
        redis=redis,
        limiter=limiter,
        flights=flights,
        stages=stages,
        streams=streams,
        notices=notices,
        traces=traces,
        poster=poster,
        deliverer=Deliverer(database, poster, webhook_urls, metrics),
    )


def _application(
    edge: Callable[[ASGIApp, Pages, Mapping[str, ASGIApp]], Edge],
    pages: Pages,
    generate: GenerateRoute,
    *routes: Resource,
) -> Edge:
    path = "/images/generate"
    by_another_method: list[BaseRoute] = [Route(path, generate, methods=["POST"])]  # it says which there is
    app = FastAPI(
        title="Image gateway",
        openapi_url=None,
        redirect_slashes=False,
        routes=by_another_method,
        telemetry=FRAMEWORK_TELEMETRY,
    )
    app.add_exception_handler(GatewayError, render_expected)
    app.add_exception_handler(HTTPException, render_framework)
    app.add_exception_handler(Exception, render_unexpected)
    for route in routes:
        app.include_router(route.router())
    return edge(app, pages, {path: generate})


def _traces_of(settings: Settings) -> "Traces | None":
    """Make the traces that the settings ask for; a plain install has not even the packages. Raises Misconfigured."""
    if not settings.traces:
        return None
    try:
        from gateway.traces import Traces  # noqa: PLC0415 -- OpenTelemetry is an extra
    except ModuleNotFoundError as error:
        fault = f"OTEL_EXPORTER_OTLP_ENDPOINT: needs the extra `image-gateway[traces]`: {error}"
        raise Misconfigured([fault]) from error
    return Traces(settings.telemetry)


def store_of(settings: Settings, metrics: Metrics) -> SpooledStore | None:
    """Describe the store that the settings name, with its spool; contacts nothing. Raises Misconfigured."""
    if settings.storage_url == "none":
        return None
    spool = Spool(settings.data_dir / SPOOL, settings.spool_mib << 20, metrics)
    return SpooledStore(_store_behind(settings), spool, processes=settings.workers)


def _store_behind(settings: Settings) -> Store:
    if settings.storage_url is None:
        return open_store((settings.data_dir / IMAGES).absolute().as_uri(), settings.cloud)
    try:
        return open_store(settings.storage_url, settings.cloud)
    except ValueError as error:
        raise Misconfigured([f"GATEWAY_STORAGE_URL: {error}"]) from error


def _signer_of(settings: Settings, store: SpooledStore | None) -> LinkSigner | None:
    """Return who makes presigned links, if those are wanted and there is a store that can."""
    behind = None if store is None else store.behind
    return behind if settings.links == "presigned" and isinstance(behind, ObjectStore) else None


def upstream_of(settings: Settings, metrics: Metrics) -> Upstream:
    """Make the client of the upstream that the settings name; contacts nothing."""
    return Upstream(
        UpstreamConfig(
            url=settings.upstream_url,
            keys=tuple(key.get_secret_value() for key in settings.upstream_api_keys),
            timeout=settings.upstream_timeout,
        ),
        metrics,
    )


def _report_catalog(news: Catalog | CatalogFault) -> None:
    log = structlog.get_logger("catalog")
    if isinstance(news, Catalog):
        log.info("catalog read again", models=[model.name for model in news.models])
    else:
        log.error("faulty catalog refused, the old one stays", faults=news.faults)


async def _never_ending(work: Coroutine[Any, Any, None], crashed: Callable[[], None]) -> None:
    try:
        await work
    except Exception:  # noqa: BLE001 -- whatever it was, it is logged whole and ends the process
        structlog.get_logger("app").exception("background work crashed")
        crashed()


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])
