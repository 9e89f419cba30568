"""Settings: one TOML file, environment overrides (``VPP_HTTP__PORT=8443``), unknown keys refused.

``deploy/example.toml`` shows every key with its default and its meaning; a test holds the two together.
"""

import os
import tomllib
from collections.abc import Mapping
from datetime import time
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

from models.errors import InputError, InputFault
from models.settlement.agency import AgencyTerms
from models.settlement.rules.load import packaged_rules
from models.settlement.rules.schema import Price
from models.units import AggregatorId, Fraction, NonNegativeKw, NonNegativePricePerKwh
from vpp.logs import LogFormat, LogLevel


def _known_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise ValueError("must be an IANA time zone such as Asia/Shanghai") from error
    return name


Port = Annotated[int, Field(ge=1, le=65535)]
PositiveSeconds = Annotated[float, Field(gt=0, le=86_400 * 7, allow_inf_nan=False)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ServiceSettings(_Section):
    """Who and where this power plant is; ``reference_peak_kw`` None: the peak of the day's forecast."""

    name: Annotated[str, Field(min_length=1, max_length=100)] = "Virtual power plant"
    time_zone: Annotated[str, AfterValidator(_known_zone)] = "Asia/Shanghai"
    data_dir: Path = Path("var")
    target_fraction: Fraction = 0.05
    reference_peak_kw: NonNegativeKw | None = None
    read_only: bool = False

    @property
    def zone(self) -> ZoneInfo:
        """The market zone."""
        return ZoneInfo(self.time_zone)


class HttpSettings(_Section):
    """The HTTP interface; TLS with both files or none."""

    host: str = "127.0.0.1"
    port: Port = 8080
    tls_certificate_file: Path | None = None
    tls_key_file: Path | None = None
    max_body_bytes: Annotated[int, Field(ge=1024)] = 1_048_576
    auth_failures_per_minute: Annotated[int, Field(ge=1)] = 20

    @model_validator(mode="after")
    def _pair(self) -> Self:
        if (self.tls_certificate_file is None) != (self.tls_key_file is None):
            raise ValueError("tls_certificate_file and tls_key_file: give both or none")
        return self


class MqttSettings(_Section):
    """The broker: ``auto``, ``mosquitto``, ``embedded`` or an ``mqtt://`` or ``mqtts://`` address."""

    broker: str = "auto"
    prefix: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.\-]+(/[A-Za-z0-9_.\-]+)*$")] = "vpp/v1"
    host: str = "127.0.0.1"
    port: Port = 1883
    username: str | None = None
    password: SecretStr | None = None
    tls_ca_file: Path | None = None
    tls_certificate_file: Path | None = None
    tls_key_file: Path | None = None

    @model_validator(mode="after")
    def _address(self) -> Self:
        if self.broker not in ("auto", "mosquitto", "embedded") and not self.broker.startswith(("mqtt://", "mqtts://")):
            raise ValueError("broker: must be auto, mosquitto, embedded, mqtt://host:port or mqtts://host:port")
        return self


class StoreSettings(_Section):
    """The database; without a URL it is SQLite in ``service.data_dir``."""

    url: SecretStr | None = None


class RealTimeSettings(_Section):
    """The cycle around events, the one at other times, and how long a reading is good for by default."""

    cycle_s: PositiveSeconds = 300.0
    quiet_cycle_s: PositiveSeconds = 1800.0
    telemetry_ttl_s: PositiveSeconds = 300.0
    switch_cost_per_kw: NonNegativePricePerKwh = 0.001
    stray_cost_per_kwh: NonNegativePricePerKwh = 0.01

    @model_validator(mode="after")
    def _rhythm(self) -> Self:
        if self.quiet_cycle_s % self.cycle_s:
            raise ValueError(f"quiet_cycle_s: must be a multiple of cycle_s (got {self.quiet_cycle_s:g})")
        return self


class DayAheadSettings(_Section):
    """When tomorrow is planned (local time of the market zone), and how finely."""

    at: time = time(17, 0)
    interval_minutes: Literal[5, 10, 15, 30, 60] = 15


class SolverSettings(_Section):
    """Who solves, how long it may take and how good it must be (gap as in every plan's summary).

    ``method``: ``fast`` is for any number of resources; ``reference`` is the readable model, for some hundreds.
    """

    method: Literal["fast", "reference"] = "fast"
    deadline_s: PositiveSeconds = 60.0
    real_time_deadline_s: PositiveSeconds = 30.0
    gap: Annotated[float, Field(gt=0, le=0.2, allow_inf_nan=False)] = 1e-3
    quote_gap: Annotated[float, Field(gt=0, le=0.2, allow_inf_nan=False)] = 0.02
    real_time_gap: Annotated[float, Field(gt=0, le=0.5)] = 0.05


class RetentionSettings(_Section):
    """How long readings are kept: each of them, then quarter-hour means; around events each as long as the means.

    Baselines look back 45 days, at every single reading.
    """

    raw_days: Annotated[int, Field(ge=60, le=36_500)] = 90
    means_days: Annotated[int, Field(ge=60, le=36_500)] = 1_826

    @model_validator(mode="after")
    def _order(self) -> Self:
        if self.means_days < self.raw_days:
            raise ValueError(f"means_days: must not be less than raw_days (got {self.means_days})")
        return self


class LogSettings(_Section):
    """How the service's log looks, and from which level on."""

    format: LogFormat = "auto"
    level: LogLevel = "info"


class EventSettings(_Section):
    """How orders are sized and answered; rules of notice by type as in ``models.notice``."""

    callable_margin_fraction: Fraction = 0.1
    respond_within_s: PositiveSeconds = 900.0
    intraday_respond_within_s: PositiveSeconds = 600.0
    intraday_least_notice_s: Annotated[float, Field(ge=0)] = 1800.0
    emergency_most_notice_s: PositiveSeconds = 18_000.0


class DeliverySettings(_Section):
    """How long a gateway may take to answer a command, and how often a command is sent until one does."""

    answer_within_s: Annotated[float, Field(ge=1, le=3600, allow_inf_nan=False)] = 45.0
    most_tries: Annotated[int, Field(ge=1, le=20)] = 4


class PenaltySettings(_Section):
    """Prices of unmet requirements, CNY per kWh.

    An hour is judged by its band from both sides: too much costs nearly what too little costs, and more than it costs
    to call an aggregator for less than it has accepted.
    """

    overload: NonNegativePricePerKwh = 100.0
    shortfall: NonNegativePricePerKwh = 50.0
    commitment: NonNegativePricePerKwh = 20.0
    excess: NonNegativePricePerKwh = 40.0


class SettlementSettings(_Section):
    """By which rule the market pays, at what price a direct call, and what aggregators have agreed with their users.

    ``direct_price_cny_per_kwh`` None: under a rule that takes its price from the market, a call without bids is settled
    when somebody names one.  A published statement may be disputed for ``objection_days`` before it is settled.
    """

    rule_id: str = "sichuan_market_v1"
    direct_price_cny_per_kwh: Price | None = None
    objection_days: Annotated[float, Field(ge=0, le=366)] = 5.0
    archive_after_days: Annotated[float, Field(ge=0, le=36_500)] = 365.0
    contracts: dict[AggregatorId, AgencyTerms] = {}

    @model_validator(mode="after")
    def _known_rule(self) -> Self:
        known = sorted({rule_id for rule_id, _ in packaged_rules().rules})
        if self.rule_id not in known:
            raise ValueError(f"rule_id: must be one of {', '.join(known)} (got {self.rule_id!r})")
        return self


class Settings(BaseSettings):
    """Everything that can be set, from weakest to strongest: defaults, file, environment, arguments."""

    model_config = SettingsConfigDict(
        env_prefix="VPP_",
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        nested_model_default_partial_update=True,
    )
    NOT_OURS: ClassVar[frozenset[str]] = frozenset(
        {"VPP_CONFIG", "VPP_DATA_DIR", "VPP_URL", "VPP_TOKEN", "VPP_CA_FILE"}
    )
    """With our prefix, but no settings: the file's name, tests' data, and the client's address and token."""

    service: ServiceSettings = ServiceSettings()
    http: HttpSettings = HttpSettings()
    mqtt: MqttSettings = MqttSettings()
    store: StoreSettings = StoreSettings()
    real_time: RealTimeSettings = RealTimeSettings()
    day_ahead: DayAheadSettings = DayAheadSettings()
    solver: SolverSettings = SolverSettings()
    events: EventSettings = EventSettings()
    delivery: DeliverySettings = DeliverySettings()
    penalties: PenaltySettings = PenaltySettings()
    retention: RetentionSettings = RetentionSettings()
    settlement: SettlementSettings = SettlementSettings()
    log: LogSettings = LogSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - pydantic's interface
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment wins over what ``load_settings`` has read from the file."""
        return env_settings, init_settings

    @property
    def store_url(self) -> str:
        """Where the database is."""
        if self.store.url is not None:
            return self.store.url.get_secret_value()
        return f"sqlite:///{self.service.data_dir / 'vpp.db'}"


def load_settings(path: Path | None = None, overrides: Mapping[str, Any] | None = None) -> Settings:
    """Settings from a TOML file (else the one named by VPP_CONFIG, else none) and the environment.

    ``overrides`` (nested like the file) replace values of the file.  ``InputError`` names every wrong key.
    """
    named = path or (Path(os.environ["VPP_CONFIG"]) if os.environ.get("VPP_CONFIG") else None)
    place = "settings" if named is None else str(named)
    values = {} if named is None else _read(named)
    for section, changes in (overrides or {}).items():
        values[section] = {**values.get(section, {}), **changes}
    faults = _unknown_variables()
    try:
        made = Settings(**values)
    except ValidationError as error:
        faults += [_fault(place, each) for each in error.errors()]
    except SettingsError as error:
        faults.append(InputFault("environment", "VPP_…", "set", f"must be readable: {error}"))
    if faults:
        raise InputError(faults)
    return made


def _fault(place: str, error: ErrorDetails) -> InputFault:
    field = ".".join(str(part) for part in error["loc"])
    unknown = error["type"] == "extra_forbidden"
    rule = "is not a known setting" if unknown else error["msg"].removeprefix("Value error, ")
    # a whole section may hold a password: name its keys only
    value = sorted(error["input"]) if isinstance(error["input"], dict) else error["input"]
    return InputFault(place, field, value, rule)


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError([InputFault("settings", "file", str(path), f"must be readable: {error}")]) from error
    except tomllib.TOMLDecodeError as error:
        raise InputError([InputFault(str(path), "file", str(path), f"must be TOML: {error}")]) from error


def _unknown_variables() -> list[InputFault]:
    """pydantic-settings ignores environment variables that it does not know; a slip must not pass."""
    known = set(Settings.NOT_OURS)
    for section, field in Settings.model_fields.items():
        known.add(f"VPP_{section.upper()}")
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            known.update(f"VPP_{section}__{name}".upper() for name in kind.model_fields)
    ours = sorted(name for name in os.environ if name.upper().startswith("VPP_"))
    return [
        InputFault("environment", name, "set", "is not a known setting")  # the value may be secret
        for name in ours
        if name.upper() not in known
    ]
