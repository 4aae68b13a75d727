"""The settings from the environment. Every process of the orchestrator reads the same variables."""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from orchestrator.domain.keeping import Times
from orchestrator.domain.plans import Plans, PlansError, load_plans
from orchestrator.domain.styles import STYLES, Style, StylesError, load_styles
from orchestrator.domain.usage import Budget, Pricing
from orchestrator.domain.webhooks import secret_bytes
from orchestrator.egress.addresses import Network

T = TypeVar("T", bound=BaseSettings)

LOOPBACK = ("127.0.0.1", "::1", "localhost")
"""The names of this machine that people use as if they were one."""


_S3_PLACE = r"s3://([a-z0-9][a-z0-9.-]*)/((?:[A-Za-z0-9_-][A-Za-z0-9._-]*/?)+)"


class SettingsError(Exception):
    """A variable is missing or wrong. The message names each one and what it must be."""


class StoreSettings(BaseSettings):
    """Where the store is and which plans there are, which is all that commands need to manage keys."""

    model_config = SettingsConfigDict(
        env_ignore_empty=True,
        populate_by_name=True,
        extra="ignore",
        frozen=True,
        use_attribute_docstrings=True,
    )

    redis_url: str = Field("redis://127.0.0.1:6379/0", validation_alias="REDIS_URL")
    """Redis: jobs, events, leases and keys."""
    redis_prefix: str = Field("reroom:", validation_alias="REROOM_REDIS_PREFIX")
    """What every key in Redis begins with, for services that share one."""
    styles_file: Path | None = Field(None, validation_alias="REROOM_STYLES_FILE")
    """A TOML file with styles beside those that come with this version, or instead of them (docs/styles.md). It is read
    again when it changes. A job takes the words of its style along, so workers need no file."""
    plans_file: Path | None = Field(None, validation_alias="REROOM_KEY_PLANS")
    """A TOML file with a table for each plan of limits (docs/operate.md); without it there is one plan, ``default``,
    which limits nothing. ``python -m orchestrator plans check FILE`` tells what is wrong with it."""

    @field_validator("redis_url")
    @classmethod
    def _a_redis(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in ("redis", "rediss", "unix"):
            raise ValueError("must be like redis://host:6379/0")
        _ = parts.port  # raises ValueError when it is no number
        return value

    @field_validator("styles_file")
    @classmethod
    def _good_styles(cls, value: Path | None) -> Path | None:
        try:
            _styles_of(value)
        except StylesError as error:
            raise ValueError(str(error)) from None
        return value

    @field_validator("plans_file")
    @classmethod
    def _good_plans(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        try:
            # A wrong file of styles has a message of its own.
            load_plans(value, _styles_of(info.data.get("styles_file")))
        except PlansError as error:
            raise ValueError(str(error)) from None
        return value

    @property
    def plans(self) -> Plans:
        """Reads the files; raises PlansError or StylesError if one has been spoilt since the start."""
        return load_plans(self.plans_file, _styles_of(self.styles_file))


class Settings(StoreSettings):
    """The settings. ``validation_alias`` is the name of the environment variable.

    Names without ``REROOM_`` are those of the service that this one replaces.
    """

    api_base_url: str = Field("http://127.0.0.1:8000", validation_alias="API_BASE_URL")
    """Where clients reach this API; every URL that it hands out begins with it."""
    allowed_origins: Annotated[tuple[str, ...], NoDecode] = Field((), validation_alias="ALLOWED_ORIGINS")
    """Origins of other sites whose pages may call this API, separated by commas; ``*`` allows all."""
    r2_bucket_name: str | None = Field(None, validation_alias="R2_BUCKET_NAME")
    """Store on R2, or another server of the S3 protocol; without it, on local disk under ``REROOM_STORAGE_DIR``."""
    r2_endpoint_url: str | None = Field(None, validation_alias="R2_ENDPOINT_URL")
    """The server's URL, for R2 ``https://<account>.r2.cloudflarestorage.com``. Signed links lead there."""
    r2_access_key_id: str | None = Field(None, validation_alias="R2_ACCESS_KEY_ID")
    """The access key of a token that may read, write, list and delete objects of that bucket."""
    r2_secret_access_key: SecretStr | None = Field(None, validation_alias="R2_SECRET_ACCESS_KEY")
    """The secret of that key."""
    s3_region: str = Field("auto", validation_alias="REROOM_S3_REGION")
    """R2's is ``auto``; AWS wants the bucket's own."""
    s3_prefix: str = Field("", validation_alias="REROOM_S3_PREFIX")
    """What every key begins with, such as ``staging/``, for services that share a bucket."""
    cdn_domain: str | None = Field(None, validation_alias="CDN_DOMAIN")
    """Not used any more: pictures are private, and signed links lead to the storage itself."""

    storage_dir: Path = Field(Path("data"), validation_alias="REROOM_STORAGE_DIR")
    """The folder of pictures on local disk."""
    signing_key: SecretStr = Field(min_length=16, validation_alias="REROOM_SIGNING_KEY")
    """Signs the URLs of stored pictures. The same in every API process; there is no default on purpose."""
    upload_ttl: int = Field(3600, ge=1, le=7 * 86400, validation_alias="REROOM_UPLOAD_TTL")
    """How long an upload link works and its photo waits to be submitted, in seconds."""
    url_ttl: int = Field(3600, ge=1, le=7 * 86400, validation_alias="REROOM_URL_TTL")
    """How long a signed URL works, in seconds."""
    triton_urls: Annotated[tuple[str, ...], NoDecode] = Field(
        ("127.0.0.1:8001",), min_length=1, validation_alias="REROOM_TRITON_URL"
    )
    """host:port of Triton's gRPC endpoint; several, separated by commas, share the work."""

    releases_at: str | None = Field(None, validation_alias="REROOM_RELEASES_AT")
    """Where the releases lie that Triton serves (docs/canary.md): their folder, such as ``releases/dollhouse``, or
    ``s3://bucket/prefix`` on the server of ``R2_ENDPOINT_URL``. Without it releases are not changed or compared by this
    service."""

    host: str = Field("127.0.0.1", validation_alias="REROOM_HOST")
    """The address that the API listens at."""
    port: int = Field(8000, ge=0, le=65535, validation_alias="REROOM_PORT")
    """The port that the API listens at; 0 = a free one."""
    api_processes: int = Field(1, ge=1, le=64, validation_alias="REROOM_API_PROCESSES")
    """Processes that answer at the API's address; one that dies is replaced."""
    max_connections: int = Field(1000, ge=16, le=100_000, validation_alias="REROOM_MAX_CONNECTIONS")
    """Connections of one API process, WebSockets included; one client's address may have a quarter of them."""
    trusted_proxies: Annotated[tuple[str, ...], NoDecode] = Field(
        ("127.0.0.1", "::1"), validation_alias="REROOM_TRUSTED_PROXIES"
    )
    """Addresses and networks of the proxies before the API, separated by commas; ``*`` trusts every one. Their
    ``X-Forwarded-For`` names the client, and the limits for one client's address do not apply to them."""
    answer_seconds: float = Field(22.0, ge=1, le=300, validation_alias="REROOM_ANSWER_SECONDS")
    """Seconds after a request's last byte until it is answered 503, if no other answer came. Clients and proxies often
    give up at 30."""
    wait_seconds: int = Field(60, ge=0, le=600, validation_alias="REROOM_WAIT_SECONDS")
    """The longest time that a submission with ``Prefer: wait`` waits for the end of its job; proxies must allow as
    much. 0 = none waits."""
    waits_at_once: int = Field(200, ge=0, le=100_000, validation_alias="REROOM_WAITS_AT_ONCE")
    """Submissions that one API process lets wait at a time; a caller may have a quarter. Further ones are answered
    202 at once."""
    admin_token: SecretStr | None = Field(None, min_length=16, validation_alias="REROOM_ADMIN_TOKEN")
    """Sent like a key, it may do everything: manage keys, see all jobs, the /debug endpoints, and in /health why a part
    is down."""
    open: bool = Field(False, validation_alias="REROOM_OPEN")
    """Whether requests from this machine need no key. Only where ``REROOM_HOST`` is this machine's own address."""
    max_upload_bytes: int = Field(20 * 2**20, ge=1024, validation_alias="REROOM_MAX_UPLOAD_BYTES")
    """The largest photo, in bytes."""
    max_pixels: int = Field(50_000_000, ge=64 * 64, validation_alias="REROOM_MAX_PIXELS")
    """The largest photo, in pixels."""
    sandbox: Literal["require", "prefer"] = Field("prefer", validation_alias="REROOM_SANDBOX")
    """Whether uploads may be decoded where system calls cannot be filtered, for lack of libseccomp or of the kernel's
    leave. ``prefer`` goes on with the other layers and logs a warning; the containers require it."""

    analyses_at_once: int = Field(2, ge=1, le=64, validation_alias="REROOM_ANALYSES_AT_ONCE")
    """Photos that one API process analyzes at a time for `POST /analyze`; further ones wait, or are answered 503."""

    job_ttl: int = Field(7 * 86400, ge=60, validation_alias="REROOM_JOB_TTL")
    """How long a finished job is remembered, in seconds."""
    photo_ttl: int = Field(7 * 86400, ge=60, validation_alias="REROOM_PHOTO_TTL")
    """How long the photo of a completed job is kept, in seconds; not longer than the job is remembered."""
    result_ttl: int = Field(7 * 86400, ge=60, validation_alias="REROOM_RESULT_TTL")
    """How long the picture of a completed job is kept, with its thumbnail, in seconds; not longer than the job is
    remembered."""
    events_ttl: int = Field(3600, ge=1, validation_alias="REROOM_EVENTS_TTL")
    """How long the events of a finished job are kept, with its last preview, in seconds."""
    dead_letter_ttl: int = Field(86400, ge=0, validation_alias="REROOM_DEAD_LETTER_TTL")
    """How long the photo of a job that was given up is kept for a replay, in seconds. Photos of other failed jobs, and
    of cancelled ones, are deleted at once."""
    max_queue: int = Field(1000, ge=1, validation_alias="REROOM_MAX_QUEUE")
    """Jobs that may wait; further submissions are answered 503 ``queue_full``."""
    lease_seconds: float = Field(10.0, ge=0.5, validation_alias="REROOM_LEASE_SECONDS")
    """Seconds without a sign of life after which a worker counts as dead, and its jobs go to others."""
    worker_jobs: int = Field(4, ge=1, le=256, validation_alias="REROOM_WORKER_JOBS")
    """Jobs that one worker runs at once."""
    retry_delay: float = Field(1.0, ge=0, validation_alias="REROOM_RETRY_DELAY")
    """Seconds before a job is tried again after the model failed."""
    drain_seconds: float = Field(20.0, ge=0, validation_alias="REROOM_DRAIN")
    """Seconds that a process continues its work after it was asked to stop: a worker its jobs, the API its requests."""

    gpu_hour_price: float = Field(0.0, ge=0, le=1e6, validation_alias="REROOM_GPU_HOUR_PRICE")
    """What an hour of the models' time costs, in ``REROOM_CURRENCY``; results, usage and the budget are counted by it.
    0 = nothing is said about costs."""
    currency: str = Field("USD", pattern=r"^[A-Z]{3}$", validation_alias="REROOM_CURRENCY")
    """The currency of prices and costs, as three letters."""
    monthly_budget: float | None = Field(None, gt=0, le=1e9, validation_alias="REROOM_MONTHLY_BUDGET")
    """What the jobs of one month, in UTC, may cost together. Jobs above it are answered 402 ``budget_exhausted`` until
    the next month, and so are analyses then."""
    budget_alerts: Annotated[tuple[float, ...], NoDecode] = Field(
        (0.5, 0.8, 1.0), validation_alias="REROOM_BUDGET_ALERTS"
    )
    """Shares of the budget, separated by commas, at which the log and ``REROOM_BUDGET_WEBHOOK`` are told."""
    budget_webhook: str | None = Field(None, validation_alias="REROOM_BUDGET_WEBHOOK")
    """Where these alerts are posted as signed JSON (Standard Webhooks)."""
    usage_webhook: str | None = Field(None, validation_alias="REROOM_USAGE_WEBHOOK")
    """Where the usage of every job is posted at its end, for a billing system, as signed JSON (Standard Webhooks)."""
    releases_webhook: str | None = Field(None, validation_alias="REROOM_RELEASES_WEBHOOK")
    """Where it is posted that a release on trial was promoted or rolled back, as signed JSON (Standard Webhooks)."""
    events_secret: SecretStr | None = Field(None, validation_alias="REROOM_EVENTS_SECRET")
    """Signs these three: ``whsec_`` and 24 to 64 random bytes in base64."""
    egress_ports: Annotated[tuple[int, ...], NoDecode] = Field(
        (80, 443, 8080, 8443), validation_alias="REROOM_EGRESS_PORTS"
    )
    """The ports of URLs that users name (webhooks, ``image_url``), separated by commas; ``*`` allows all."""
    egress_allow_cidrs: Annotated[tuple[str, ...], NoDecode] = Field(
        (), validation_alias="REROOM_EGRESS_ALLOW_CIDRS"
    )
    """Networks beside the internet that such URLs may lead to, such as ``10.1.2.0/24``, separated by commas.
    Whoever has a key can then call what is there."""

    provider: str = Field("", max_length=200, validation_alias="REROOM_PROVIDER")
    """Who runs the service, as pictures and their pages name it: a company, for instance."""
    c2pa_chain: Path | None = Field(None, validation_alias="REROOM_C2PA_CHAIN")
    """A PEM file with the certificate that signs pictures by C2PA (docs/marks.md), then those above it. Without it
    pictures say in XMP alone that AI made them."""
    c2pa_key: Path | None = Field(None, validation_alias="REROOM_C2PA_KEY")
    """The file of that certificate's key, PKCS #8 in PEM without a password. Only workers read both."""
    c2pa_tsa: str | None = Field(None, validation_alias="REROOM_C2PA_TSA")
    """The URL of an RFC 3161 time-stamping authority; with its stamp a signature outlives the certificate. It is sent
    the signature's digest, never the picture."""
    keep_manifests: bool = Field(True, validation_alias="REROOM_KEEP_MANIFESTS")
    """Whether signed results keep the C2PA manifests that a photo carried when it was uploaded. These may say where and
    by whom it was taken."""

    heartbeat_file: Path | None = Field(None, validation_alias="REROOM_HEARTBEAT_FILE")
    """A worker touches it every few seconds while it lives; for a container's health check."""

    log_format: Literal["auto", "json", "text"] = Field("auto", validation_alias="REROOM_LOG_FORMAT")
    """Lines of the log on stderr: ``json``, ``text``, or ``auto``: text on a terminal and JSON elsewhere."""
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", validation_alias="REROOM_LOG_LEVEL"
    )
    """The least severe lines that are logged."""
    metrics_port: int | None = Field(None, ge=1, le=65535, validation_alias="REROOM_METRICS_PORT")
    """The port of /metrics for Prometheus, of the API and of each worker; without it, none. Programs on one machine
    need different ones. It asks for no password, so let only Prometheus reach it."""
    metrics_host: str = Field("127.0.0.1", validation_alias="REROOM_METRICS_HOST")
    """The address that /metrics listens at."""
    otlp_endpoint: str | None = Field(None, validation_alias="OTEL_EXPORTER_OTLP_ENDPOINT")
    """Where OpenTelemetry traces are sent over HTTP, such as ``http://collector:4318``; without it, nowhere."""
    trace_share: float = Field(1.0, ge=0, le=1, validation_alias="REROOM_TRACE_SHARE")
    """The share of requests whose traces are recorded."""
    sentry_dsn: SecretStr | None = Field(None, validation_alias="SENTRY_DSN")
    """Where unexpected errors are reported, for Sentry; without it, only in the log."""
    analytics: str = Field("", validation_alias="REROOM_ANALYTICS")
    """Where events for product analytics go: the path of a file that gets JSON lines, or an http(s):// URL that takes
    them by POST; without it, nowhere."""

    @field_validator(
        "allowed_origins",
        "budget_alerts",
        "egress_allow_cidrs",
        "triton_urls",
        "trusted_proxies",
        mode="before",
    )
    @classmethod
    def _split(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        return tuple(part.strip().rstrip("/") for part in value.split(",") if part.strip())

    @field_validator("allowed_origins")
    @classmethod
    def _only_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            if origin != "*" and origin != origin_of(origin):
                raise ValueError(f"{origin!r} is not an origin such as https://example.org")
        return value

    @field_validator("api_base_url")
    @classmethod
    def _absolute(cls, value: str) -> str:
        if origin_of(value) is None:
            raise ValueError("must be an absolute http:// or https:// URL")
        return value.rstrip("/")

    @field_validator("triton_urls")
    @classmethod
    def _hosts_and_ports(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for url in value:
            if not re.fullmatch(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+):\d{1,5}", url):
                raise ValueError(
                    f"{url!r} must be host:port, without http://; several are separated by commas"
                )
            if value.count(url) > 1:
                raise ValueError(f"{url} stands in it twice")
        return value

    @field_validator("budget_alerts")
    @classmethod
    def _shares(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if not all(0 < share <= 1 for share in value):
            raise ValueError("each must be a share of the budget above 0 and at most 1, such as 0.8")
        return tuple(sorted({*value}))

    @field_validator("budget_webhook", "usage_webhook", "releases_webhook", "c2pa_tsa")
    @classmethod
    def _receiver(cls, value: str | None) -> str | None:
        if value is not None and origin_of(value) is None:
            raise ValueError("must be an absolute http:// or https:// URL")
        return value

    @field_validator("events_secret")
    @classmethod
    def _a_secret(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            secret_bytes(value.get_secret_value())
        return value

    @field_validator("egress_ports", mode="before")
    @classmethod
    def _ports(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        if value.strip() == "*":
            return ()
        ports = [part.strip() for part in value.split(",") if part.strip()]
        if not ports or not all(port.isdecimal() and 1 <= int(port) <= 65535 for port in ports):
            raise ValueError("must be ports separated by commas, such as 80,443, or *")
        return tuple(map(int, ports))

    @field_validator("egress_allow_cidrs")
    @classmethod
    def _cidrs(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for each in value:
            try:
                ip_network(each)
            except ValueError:
                raise ValueError(f"{each!r} is not a network such as 10.1.2.0/24") from None
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for each in value:
            try:
                if each != "*":
                    ip_network(each, strict=False)
            except ValueError:
                raise ValueError(f"{each!r} is neither an address nor a network such as 10.0.0.0/8") from None
        return value

    @field_validator("otlp_endpoint")
    @classmethod
    def _a_collector(cls, value: str | None) -> str | None:
        if value is not None and origin_of(value) is None:
            raise ValueError("must be like http://collector:4318")
        return value

    @field_validator("analytics")
    @classmethod
    def _a_sink(cls, value: str) -> str:
        if "://" in value and origin_of(value) is None:
            raise ValueError("must be the path of a file, or an http:// or https:// URL")
        return value

    @field_validator("r2_endpoint_url")
    @classmethod
    def _an_endpoint(cls, value: str | None) -> str | None:
        if value is not None and (origin_of(value) is None or urlsplit(value).path.strip("/")):
            raise ValueError("must be like https://<account>.r2.cloudflarestorage.com, without the bucket")
        return value

    @field_validator("s3_prefix")
    @classmethod
    def _a_prefix(cls, value: str) -> str:
        if value and not re.fullmatch(r"([A-Za-z0-9_-][A-Za-z0-9._-]*/)+", value):
            raise ValueError("must be like staging/, with a slash at the end and none at the beginning")
        return value

    @model_validator(mode="after")
    def _all_of_r2(self) -> Self:
        needed = ("r2_bucket_name", "r2_endpoint_url", "r2_access_key_id", "r2_secret_access_key")
        missing = [name.upper() for name in needed if getattr(self, name) is None]
        if 0 < len(missing) < len(needed):
            raise ValueError(
                f"{', '.join(missing)} must be set too to store on R2, or unset the other R2_ variables to store "
                "on local disk"
            )
        return self

    @field_validator("releases_at")
    @classmethod
    def _a_place(cls, value: str | None) -> str | None:
        if value is not None and "://" in value and not re.fullmatch(_S3_PLACE, value):
            raise ValueError("must be a folder, or like s3://bucket/releases/dollhouse")
        return value

    @model_validator(mode="after")
    def _reaches_its_releases(self) -> Self:
        if self.release_objects is not None and self.r2_endpoint_url is None:
            raise ValueError("REROOM_RELEASES_AT on s3:// needs R2_ENDPOINT_URL and the keys of that server")
        return self

    @model_validator(mode="after")
    def _open_to_itself(self) -> Self:
        if self.open and not is_loopback(self.host):
            raise ValueError(
                f"REROOM_OPEN lets everyone in who reaches {self.host}: set REROOM_HOST=127.0.0.1, or unset "
                "REROOM_OPEN and make keys with `python -m orchestrator keys create`"
            )
        return self

    @model_validator(mode="after")
    def _whole_credentials(self) -> Self:
        if (self.c2pa_chain is None) != (self.c2pa_key is None):
            raise ValueError("REROOM_C2PA_CHAIN and REROOM_C2PA_KEY belong together: set both, or neither")
        if self.c2pa_tsa is not None and self.c2pa_chain is None:
            raise ValueError(
                "REROOM_C2PA_TSA needs REROOM_C2PA_CHAIN and REROOM_C2PA_KEY, which sign what it stamps"
            )
        return self

    @model_validator(mode="after")
    def _whole_billing(self) -> Self:
        if self.monthly_budget is not None and not self.gpu_hour_price:
            raise ValueError("REROOM_MONTHLY_BUDGET needs REROOM_GPU_HOUR_PRICE, by which costs are counted")
        receivers = (self.budget_webhook, self.usage_webhook, self.releases_webhook)
        if any(receivers) and self.events_secret is None:
            raise ValueError(
                "REROOM_BUDGET_WEBHOOK, REROOM_USAGE_WEBHOOK and REROOM_RELEASES_WEBHOOK need REROOM_EVENTS_SECRET, "
                "which signs what is sent"
            )
        return self

    @property
    def release_objects(self) -> tuple[str, str] | None:
        """The bucket and the prefix, which ends with a slash, where releases lie in an object storage."""
        found = re.fullmatch(_S3_PLACE, self.releases_at or "")
        return None if found is None else (found[1], f"{found[2].rstrip('/')}/")

    @property
    def pricing(self) -> Pricing:
        budget = None
        if self.monthly_budget is not None:
            budget = Budget(micros=round(self.monthly_budget * 1e6), alerts=list(self.budget_alerts))
        return Pricing(
            price=round(self.gpu_hour_price * 1e6),
            currency=self.currency,
            budget=budget,
            billed=self.usage_webhook is not None,
        )

    @property
    def times(self) -> Times:
        """How long photos and pictures are kept."""
        return Times(record=self.job_ttl, photo=self.photo_ttl, result=self.result_ttl)

    @property
    def administrator(self) -> str | None:
        """The administrator's token."""
        return None if self.admin_token is None else self.admin_token.get_secret_value()

    @property
    def origins(self) -> tuple[str, ...]:
        """Every origin whose pages may call this API: those of ``allowed_origins``, its own, and where that is this
        machine's, its other names (localhost, 127.0.0.1, [::1]) with the same port."""
        own = origin_of(self.api_base_url) or ""
        parts = urlsplit(own)
        names = {own}
        if parts.hostname in LOOPBACK:
            port = f":{parts.port}" if parts.port else ""
            names |= {f"{parts.scheme}://{f'[{name}]' if ':' in name else name}{port}" for name in LOOPBACK}
        return (*self.allowed_origins, *sorted(names - {*self.allowed_origins}))

    @property
    def hosts(self) -> frozenset[str]:
        """The hosts of ``origins``, without ports; ``*`` for every one."""
        return frozenset(urlsplit(origin).hostname or origin for origin in self.origins)

    @property
    def egress_exceptions(self) -> list[Network]:
        return [ip_network(each) for each in self.egress_allow_cidrs]

    @property
    def warnings(self) -> list[str]:
        """Sentences for the operator about settings that are accepted but have no effect."""
        if self.cdn_domain is None:
            return []
        return [
            "CDN_DOMAIN is not used: pictures are private, and R2 honours signed links on its own endpoint only"
        ]


def _styles_of(file: Path | None) -> Mapping[str, Style]:
    return STYLES if file is None else load_styles(file, STYLES)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what listens at ``host``."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host in LOOPBACK


def origin_of(url: str) -> str | None:
    """The origin ``scheme://host[:port]`` of an http(s) URL, as browsers send it; None if it has none."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return None
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    shown = port is not None and port != {"http": 80, "https": 443}[parts.scheme]
    return f"{parts.scheme}://{host}" + (f":{port}" if shown else "")


def variables() -> str:
    """The names that :class:`Settings` reads, a line for each with its default, for a program's help."""
    lines = ["It takes its settings from the environment (orchestrator/settings.py describes them):"]
    for field in Settings.model_fields.values():
        shown = "no default" if field.is_required() else default_of(field)
        lines.append(f"  {field.validation_alias}" + (f" ({shown})" if shown else ""))
    return "\n".join(lines)


def default_of(field: FieldInfo) -> str:
    """The default of an optional setting, written as in the environment; "" = none."""
    default = field.get_default(call_default_factory=True)
    return (
        ",".join(map(str, default)) if isinstance(default, tuple) else "" if default is None else str(default)
    )


def load_settings() -> Settings:
    """The settings from the environment; raises SettingsError."""
    return _loaded(Settings)


def load_store_settings() -> StoreSettings:
    """Those of the store alone; raises SettingsError."""
    return _loaded(StoreSettings)


def _loaded(kind: type[T]) -> T:
    try:
        return kind()  # the environment gives the rest
    except ValidationError as error:
        # An error about several variables has no "loc"; its message names them.
        problems = [
            ": ".join([*map(str, problem["loc"]), problem["msg"]])
            for problem in error.errors(include_input=False)
        ]
        raise SettingsError("wrong settings in the environment: " + "; ".join(problems)) from None
