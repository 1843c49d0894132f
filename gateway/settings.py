"""The settings: environment variables, read here and nowhere else, once. Every fault is reported, all together.

Reading contacts nothing and changes nothing. A secret `X` may be given as `X_FILE`, the path of a file that holds it.
A variable that begins with `GATEWAY_` and is no setting is a fault: a misspelt limit must not be no limit.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gateway.errors import Misconfigured
from gateway.setting_types import (
    DatabaseUrl,
    Host,
    HttpUrl,
    ImageHosts,
    Port,
    PortOrAny,
    Proxies,
    RedisUrl,
    Secrets,
    StorageUrl,
    Token,
    UpstreamKeys,
    Zone,
    is_wildcard,
)

PREFIX = "GATEWAY_"
CLOUD_PREFIXES = ("AWS_", "GOOGLE_", "AZURE_")
TELEMETRY_PREFIX = "OTEL_"
OTLP_PROTOCOL = "http/protobuf"
OTHERS = ("cloud", "telemetry")
"""Fields that are not one setting each, but what other programs call theirs."""


class Settings(BaseModel):
    """Every setting. The name of a field in capitals, after `GATEWAY_`, is its variable; the text is for the README."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    upstream_url: HttpUrl = Field("https://api.atalk-ai.com", description="Where images are bought.")
    upstream_api_keys: UpstreamKeys = Field(
        (), description="One or more upstream keys, comma-separated, each an account. Required by `serve`."
    )
    upstream_timeout: float = Field(180, gt=0, le=3600, description="Seconds for one generation, all attempts.")
    data_dir: Path = Field(Path("var"), description="Embedded database, images, spool, journal, secret.")
    database_url: DatabaseUrl | None = Field(
        None, repr=False, description="`postgresql://…`; SQLite in the data directory if not set."
    )
    redis_url: RedisUrl | None = Field(
        None,
        repr=False,
        description="`redis://`, `rediss://`, `redis+sentinel://`, `redis+cluster://`; in-process if not set.",
    )
    storage_url: StorageUrl | None = Field(
        None,
        description="Where images are kept: `file:///…`, `s3://bucket/prefix`, `gs://…`, `az://…`, or `none`; "
        "a directory in the data directory if not set. Credentials by each cloud's usual variables.",
    )
    spool_mib: int = Field(
        2048,
        ge=64,
        le=1 << 20,
        description="MiB of images that may wait in the data directory while the store is away; then 503.",
    )
    links: Literal["gateway", "presigned", "public"] = Field(
        "gateway",
        description="Who serves links: `gateway`, `presigned` (the object store, for 7 days at the most), or `public` "
        "(whatever serves the bucket at `GATEWAY_LINKS_URL`, to anybody and without end).",
    )
    links_url: HttpUrl | None = Field(None, description="What `public` links begin with; an image's name follows.")
    public_url: HttpUrl | None = Field(
        None, description="What links are made with; `http://{host}:{port}` if not set. Required on a wildcard host."
    )
    secret: Secrets = Field(
        (), description="Peppers keys and signs links; several, newest first, to rotate. Generated when embedded."
    )
    admin_token: Token | None = Field(None, description="Opens the admin API to whoever has it; off if not set.")
    catalog: Path | None = Field(None, description="A TOML file of models and prices; the shipped one if not set.")
    host: Host = Field("127.0.0.1", description="Address to listen on.")
    port: Port = Field(8080, description="Port to listen on.")
    metrics_host: Host = Field("127.0.0.1", description="Address of the metrics port.")
    metrics_port: PortOrAny = Field(9400, description="Port of `GET /metrics`; 0 takes a free one.")
    workers: int = Field(1, ge=1, le=64, description="Processes; more than one needs Redis.")
    replicas: int = Field(1, ge=1, le=1000, description="Gateways sharing the limits while Redis is away.")
    trusted_proxies: Proxies = Field((), description="Addresses or networks whose `X-Forwarded-For` is believed.")
    unknown_settle_after: float | None = Field(
        None, gt=0, description="Seconds after which an unknown generation settles at its quote by itself."
    )
    fetch_allow: ImageHosts = Field(
        (), description="`host[:port]` list of image and webhook hosts that may be private or plain http."
    )
    timezone: Zone = Field("Asia/Shanghai", description="Where a budget's day and month begin.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level that is logged.")
    log_format: Literal["json", "console"] = Field("json", description="One JSON object a line, or text for people.")

    cloud: Mapping[str, str] = Field({}, exclude=True, repr=False)
    """The cloud credentials of the environment, as the object store's client wants them."""
    telemetry: Mapping[str, str] = Field({}, exclude=True, repr=False)
    """OpenTelemetry's variables, which its packages read by themselves."""

    @property
    def embedded(self) -> bool:
        """Whether this is one process with everything in its data directory."""
        return self.database_url is None and self.redis_url is None

    @property
    def traces(self) -> bool:
        """Whether spans are sent anywhere (https://opentelemetry.io/docs/specs/otel/protocol/exporter/)."""
        given = self.telemetry
        named = any(f"OTEL_EXPORTER_OTLP_{which}ENDPOINT" in given for which in ("", "TRACES_"))
        off = given.get("OTEL_SDK_DISABLED", "").lower() == "true" or given.get("OTEL_TRACES_EXPORTER") == "none"
        return named and not off

    @property
    def zone(self) -> ZoneInfo:
        """The time zone of budgets and reports."""
        return ZoneInfo(self.timezone)

    @property
    def link_base(self) -> str:
        """What links begin with."""
        if self.public_url is not None:
            return self.public_url
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    @property
    def _same_place(self) -> bool:
        """Whether both ports are on one address: the same, or one of a kind (IPv4, IPv6) that a wildcard covers."""
        one, other = self.host, self.metrics_host
        same_kind = (":" in one) == (":" in other)
        return one == other or (same_kind and (is_wildcard(one) or is_wildcard(other)))

    @property
    def _object_store(self) -> bool:
        return self.storage_url is not None and self.storage_url.startswith(("s3:", "gs:", "az:"))

    def faults_to_serve(self) -> list[str]:
        """Return what is wrong with these settings taken together, for a gateway that is to serve."""
        faults = []
        if not self.upstream_api_keys:
            faults.append("GATEWAY_UPSTREAM_API_KEYS: is required: the key or keys of your account at upstream")
        if is_wildcard(self.host) and self.public_url is None:
            faults.append("GATEWAY_PUBLIC_URL: is required when GATEWAY_HOST is a wildcard: links are made with it")
        if self.port == self.metrics_port and self._same_place:
            faults.append("GATEWAY_METRICS_PORT: must differ from GATEWAY_PORT: both listen on the same address")
        if self.workers > 1 and self.redis_url is None:
            faults.append("GATEWAY_REDIS_URL: is required when GATEWAY_WORKERS is more than 1")
        if self.traces:
            faults += [
                f"{name}: must be {OTLP_PROTOCOL}, or not be set"
                for name in ("OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL")
                if self.telemetry.get(name, OTLP_PROTOCOL) != OTLP_PROTOCOL
            ]
        if not self.embedded and not self.secret:
            faults.append("GATEWAY_SECRET: is required with Redis or PostgreSQL: at least 32 random characters")
        if self.links == "presigned" and not self._object_store:
            faults.append(
                "GATEWAY_LINKS: presigned needs an object store in GATEWAY_STORAGE_URL: s3://, gs:// or az://"
            )
        if self.links == "public" and self.storage_url == "none":
            faults.append("GATEWAY_LINKS: public needs an image store, and GATEWAY_STORAGE_URL is none")
        if (self.links == "public") != (self.links_url is not None):
            faults.append("GATEWAY_LINKS_URL: is required when GATEWAY_LINKS is public, and used for nothing else")
        return faults


def load(environ: Mapping[str, str]) -> Settings:
    """Read the settings. Raises Misconfigured with every fault: the variable and what it must be, never its value."""
    values, faults = _given(environ)
    cloud = {name: value for name, value in environ.items() if name.startswith(CLOUD_PREFIXES)}
    telemetry = {name: value for name, value in environ.items() if name.startswith(TELEMETRY_PREFIX) and value}
    try:
        settings = Settings(**values, cloud=cloud, telemetry=telemetry)
    except ValidationError as error:
        faults.extend(_fault(one["loc"], one["msg"]) for one in error.errors(include_input=False, include_url=False))
        raise Misconfigured(faults) from None
    if faults:
        raise Misconfigured(faults)
    return settings


def _given(environ: Mapping[str, str]) -> tuple[dict[str, Any], list[str]]:
    """Return the settings that are given, as text, and what is wrong with how. An empty variable is one not set."""
    values: dict[str, Any] = {}
    faults: list[str] = []
    names = {PREFIX + name.upper(): name for name in Settings.model_fields if name not in OTHERS}
    for variable, text in sorted(environ.items()):
        setting = variable if variable in names else variable.removesuffix("_FILE")
        if not variable.startswith(PREFIX):
            continue
        if setting not in names:
            faults.append(f"{variable}: is no setting")
        elif text == "":
            continue
        elif setting == variable:
            values[names[setting]] = text
        elif environ.get(setting, "") != "":
            faults.append(f"{variable}: is given beside {setting}; give one of the two")
        else:
            try:
                values[names[setting]] = _content(Path(text))
            except (OSError, ValueError) as error:
                faults.append(f"{variable}: cannot be read: {error}")
    return values, faults


def _content(path: Path) -> str:
    """Return what a file holds, without the newline at its end. Raises OSError; ValueError if that is nothing."""
    content = path.read_text(encoding="utf-8").strip()
    if content == "":
        raise ValueError(f"{path} is empty")
    return content


def _fault(location: tuple[int | str, ...], message: str) -> str:
    text = message.removeprefix("Value error, ").replace("Input should be", "must be")
    name, *inside = location
    entry = "".join(f"entry {index + 1} " for index in inside if isinstance(index, int))
    return f"{PREFIX}{str(name).upper()}: {entry}{text}"
