"""What a scenario file may say: every figure with its source or the word that it is an assumption."""

from datetime import date, time
from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from models.resources import Pillar, ResourceKind
from models.units import AggregatorId, Fraction, Identifier, NonNegativeKw


class Sourced(BaseModel):
    """Something that says where it comes from: ``source``, or ``assumption = true``, never both and never neither."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str | None = None
    assumption: bool = False

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        if bool(self.source) == self.assumption:
            raise ValueError("source: must be given, or else assumption = true")
        return self


class Figure(Sourced):
    """One number."""

    value: float


class HourSpans(Sourced):
    """Spans of local hours, [from, to) each."""

    value: tuple[tuple[float, float], ...]


def _clock_time(text: object) -> object:
    return time.fromisoformat(text) if isinstance(text, str) else text


ClockTime = Annotated[time, BeforeValidator(_clock_time)]


def hour_of(moment: time) -> float:
    """Local hour of the day as a number."""
    return moment.hour + moment.minute / 60


class Anchor(Sourced):
    """A point that the load curve goes through."""

    time: ClockTime
    gw: float = Field(gt=0)


class LoadFigures(BaseModel):
    """The city's load over the event day, and how other days differ."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    midday_peak: Anchor
    evening_peak: Anchor
    anchors: tuple[Anchor, ...]
    weekend_factor: Figure
    first_day_factor: Figure
    day_variation: Figure
    next_day_factor: Figure

    @property
    def points(self) -> tuple[Anchor, ...]:
        """All anchors with the peaks, by time."""
        return tuple(sorted((*self.anchors, self.midday_peak, self.evening_peak), key=lambda anchor: anchor.time))


class WeatherFigures(BaseModel):
    """Temperatures of the first of the earlier days and of the event day, and the sun."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    maximum_celsius: Figure
    minimum_celsius: Figure
    first_day_maximum_celsius: Figure
    first_day_minimum_celsius: Figure
    day_variation_k: Figure
    sunrise_hour: Figure
    sunset_hour: Figure


class PriceFigures(BaseModel):
    """Flat price and what the periods multiply it with."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    flat_per_kwh: Figure
    peak_factor: Figure
    valley_factor: Figure
    critical_factor: Figure
    peak_hours: HourSpans
    valley_hours: HourSpans
    critical_hours: HourSpans


class Tariff(Sourced):
    """A tariff: flat, or by time of use with or without the critical-peak hours."""

    tariff_id: Identifier
    form: Literal["flat", "time_of_use"]
    critical: bool = False
    factor: float = Field(default=1.0, gt=0)


class Zone(BaseModel):
    """A district and its share of the city's load."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    zone_id: Identifier
    name_zh: str
    name_en: str
    share: Figure


class AggregatorEntry(Sourced):
    """One of the N sub-VPPs."""

    aggregator_id: AggregatorId
    name_zh: str
    name_en: str


class DeviceClass(Sourced):
    """A class of devices: who aggregates it, how much of it was tested, and what one device looks like."""

    class_id: Identifier
    aggregator_id: AggregatorId
    kind: ResourceKind
    tariff_id: Identifier
    pillar: Pillar = Pillar.LOAD
    tested_mw: float = Field(gt=0)
    size_kw: tuple[NonNegativeKw, NonNegativeKw]
    tested_share: Fraction
    at_least: int = Field(ge=1)
    response_minutes: tuple[float, float]
    hold_hours: tuple[float, float]
    rebound: str


class Portfolio(BaseModel):
    """How much of the class mix there is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    factor: Figure
    title_zh: str
    title_en: str


class ScenarioEvent(Sourced):
    """A window in which the operator orders, local time of the event day."""

    event_id: Identifier
    start: ClockTime
    end: ClockTime


class ZoneLimits(BaseModel):
    """How far above its share of the peak a zone may go."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    headroom_fraction: Figure


class PumpedHydro(BaseModel):
    """The switch for pumped hydro: 0 MW is off."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    power_mw: Figure
    hours: Figure


class Target(BaseModel):
    """Share of the peak that shall be callable, and the margin asked of a portfolio."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    peak_fraction: Figure
    margin_fraction: Figure


class ScenarioFile(BaseModel):
    """The whole file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    title_zh: str
    title_en: str
    time_zone: str
    day: date
    seed: int
    days_before: int = Field(ge=1)
    load: LoadFigures
    weather: WeatherFigures
    prices: PriceFigures
    tariffs: tuple[Tariff, ...]
    zone_limits: ZoneLimits
    zones: tuple[Zone, ...]
    aggregators: tuple[AggregatorEntry, ...]
    classes: tuple[DeviceClass, ...]
    portfolios: dict[str, Portfolio]
    pumped_hydro: PumpedHydro
    events: tuple[ScenarioEvent, ...]
    target: Target

    @model_validator(mode="after")
    def _names_exist(self) -> Self:
        tariffs = {tariff.tariff_id for tariff in self.tariffs}
        aggregators = {entry.aggregator_id for entry in self.aggregators}
        for each in self.classes:
            if each.tariff_id not in tariffs:
                raise ValueError(f"classes: tariff_id must be a tariff of the file (got {each.tariff_id!r})")
            if each.aggregator_id not in aggregators:
                raise ValueError(f"classes: aggregator_id must be one of the file (got {each.aggregator_id!r})")
        total = sum(zone.share.value for zone in self.zones)
        if abs(total - 1) > 1e-9:
            raise ValueError(f"zones: shares must sum to 1 (got {total})")
        return self
