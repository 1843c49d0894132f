"""The settings: environment variables, read here and nowhere else, once. Every fault is reported, all together.

Reading contacts nothing and changes nothing. A secret `X` may be given as `X_FILE`, the path of a file that holds it.
A variable that begins with `GATEWAY_` and is no setting is a fault: a misspelt limit must not be no limit.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
)

from gateway.errors import Misconfigured

PREFIX = "GATEWAY_"
SHORTEST_SECRET = 32
WILDCARDS = ("0.0.0.0", "::", "")
KNOWN_DEFAULTS = ("changeme", "change-me", "password", "secret", "example", "admin")
CLOUD_PREFIXES = ("AWS_", "GOOGLE_", "AZURE_")


def _split(value: Any) -> Any:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _url(*schemes: str) -> Any:
    def check(value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in schemes or not (parts.netloc or parts.scheme == "file"):
            raise ValueError(f"must be a URL that begins with {' or '.join(f'{scheme}://' for scheme in schemes)}")
        return value.rstrip("/")

    return AfterValidator(check)


def _strong(secret: SecretStr) -> SecretStr:
    value = secret.get_secret_value()
    if len(value) < SHORTEST_SECRET:
        raise ValueError(f"must be at least {SHORTEST_SECRET} characters")
    if len(set(value)) < 8 or any(value.lower().startswith(word) for word in KNOWN_DEFAULTS):  # noqa: PLR2004 -- aaaa…
        raise ValueError("must be random, not a known default: try `openssl rand -hex 32`")
    return secret


def _plain(secret: SecretStr) -> SecretStr:
    value = secret.get_secret_value()
    if not value.isascii() or not value.isprintable() or " " in value:
        raise ValueError("must be printable ASCII without spaces")
    return secret


HttpUrl = Annotated[str, _url("http", "https")]
Secrets = Annotated[tuple[Annotated[SecretStr, AfterValidator(_strong)], ...], BeforeValidator(_split)]
UpstreamKeys = Annotated[tuple[Annotated[SecretStr, AfterValidator(_plain)], ...], BeforeValidator(_split)]
Names = Annotated[tuple[str, ...], BeforeValidator(_split)]
Port = Annotated[int, Field(ge=0, le=65535)]


class Settings(BaseModel):
    """Every setting. The name of a field in capitals, after `GATEWAY_`, is its variable; the text is for the README."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    upstream_url: HttpUrl = Field("https://api.atalk-ai.com", description="Where images are bought.")
    upstream_api_keys: UpstreamKeys = Field(
        (), description="One or more upstream keys, comma-separated, each an account. Required by `serve`."
    )
    upstream_timeout: float = Field(180, gt=0, le=3600, description="Seconds for one generation, all attempts.")
    data_dir: Path = Field(Path("var"), description="Embedded database, images, journal, generated secret.")
    database_url: Annotated[str, _url("postgresql", "sqlite")] | None = Field(
        None, repr=False, description="`postgresql://…`; SQLite in the data directory if not set."
    )
    redis_url: Annotated[str, _url("redis", "rediss", "redis+sentinel", "redis+cluster")] | None = Field(
        None,
        repr=False,
        description="`redis://`, `rediss://`, `redis+sentinel://`, `redis+cluster://`; in-process if not set.",
    )
    storage_url: str | None = Field(
        None,
        description="Where images are kept: `file:///…`, `s3://bucket/prefix`, `gs://…`, `az://…`, or `none`; "
        "a directory in the data directory if not set. Credentials by each cloud's usual variables.",
    )
    public_url: HttpUrl | None = Field(
        None, description="What links are made with; `http://{host}:{port}` if not set. Required on a wildcard host."
    )
    secret: Secrets = Field(
        (), description="Peppers keys and signs links; several, newest first, to rotate. Generated when embedded."
    )
    admin_token: Annotated[SecretStr, AfterValidator(_strong), AfterValidator(_plain)] | None = Field(
        None, description="Opens the admin API to whoever has it; off if not set."
    )
    catalog: Path | None = Field(None, description="A TOML file of models and prices; the shipped one if not set.")
    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: Port = Field(8080, description="Port to listen on.")
    metrics_host: str = Field("127.0.0.1", description="Address of the metrics port.")
    metrics_port: Port = Field(9400, description="Port of `GET /metrics`.")
    workers: int = Field(1, ge=1, le=64, description="Processes; more than one needs Redis.")
    replicas: int = Field(1, ge=1, le=1000, description="Gateways sharing the limits while Redis is away.")
    trusted_proxies: Names = Field((), description="Addresses or networks whose `X-Forwarded-For` is believed.")
    unknown_settle_after: float | None = Field(
        None, gt=0, description="Seconds after which an unknown generation settles at its quote by itself."
    )
    fetch_allow: Names = Field((), description="`host[:port]` list of image hosts that may be private or plain http.")
    timezone: str = Field("Asia/Shanghai", description="Where a budget's day and month begin.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level that is logged.")
    log_format: Literal["json", "console"] = Field("json", description="One JSON object a line, or text for people.")

    cloud: Mapping[str, str] = Field({}, exclude=True, repr=False)
    """The cloud credentials of the environment, as the object store's client wants them."""

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ValueError("must be a time zone such as Asia/Shanghai") from error
        return name

    @field_validator("storage_url")
    @classmethod
    def _known_store(cls, url: str | None) -> str | None:
        if url is None or url == "none":
            return url
        parts = urlsplit(url)
        if parts.scheme not in ("file", "s3", "gs", "az") or not (parts.netloc or parts.path.strip("/")):
            raise ValueError("must be file:///…, s3://bucket/prefix, gs://bucket, az://container or none")
        return url.rstrip("/")

    @property
    def embedded(self) -> bool:
        """Whether this is one process with everything in its data directory."""
        return self.database_url is None and self.redis_url is None

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

    def faults_to_serve(self) -> list[str]:
        """Return what is wrong with these settings taken together, for a gateway that is to serve."""
        faults = []
        if not self.upstream_api_keys:
            faults.append("GATEWAY_UPSTREAM_API_KEYS: is required: the key or keys of your account at upstream")
        if self.host in WILDCARDS and self.public_url is None:
            faults.append("GATEWAY_PUBLIC_URL: is required when GATEWAY_HOST is a wildcard: links are made with it")
        if self.workers > 1 and self.redis_url is None:
            faults.append("GATEWAY_REDIS_URL: is required when GATEWAY_WORKERS is more than 1")
        if not self.embedded and not self.secret:
            faults.append("GATEWAY_SECRET: is required with Redis or PostgreSQL: at least 32 random characters")
        return faults


def load(environ: Mapping[str, str]) -> Settings:
    """Read the settings. Raises Misconfigured with every fault: the variable and what it must be, never its value."""
    faults: list[str] = []
    values: dict[str, Any] = {}
    names = {PREFIX + name.upper(): name for name in Settings.model_fields if name != "cloud"}
    for variable, text in sorted(environ.items()):
        if not variable.startswith(PREFIX):
            continue
        if variable in names:
            if text != "":
                values[names[variable]] = text
        elif (setting := variable.removesuffix("_FILE")) in names and setting != variable:
            if setting in environ:
                faults.append(f"{variable}: is given beside {setting}; give one of the two")
                continue
            try:
                values[names[setting]] = Path(text).read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                faults.append(f"{variable}: cannot be read: {error}")
        else:
            faults.append(f"{variable}: is no setting")
    cloud = {name: value for name, value in environ.items() if name.startswith(CLOUD_PREFIXES)}
    try:
        settings = Settings(**values, cloud=cloud)
    except ValidationError as error:
        faults.extend(_fault(one["loc"], one["msg"]) for one in error.errors(include_input=False, include_url=False))
        raise Misconfigured(faults) from None
    if faults:
        raise Misconfigured(faults)
    return settings


def _fault(location: tuple[int | str, ...], message: str) -> str:
    text = message.removeprefix("Value error, ").replace("Input should be", "must be")
    return f"{PREFIX}{str(location[0]).upper()}: {text}"
