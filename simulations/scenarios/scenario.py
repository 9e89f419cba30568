"""A scenario ready for use: load, weather, prices and limits as functions of time over all its days."""

import tomllib
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from functools import cached_property, lru_cache
from importlib.resources import files
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
from pydantic import ValidationError

from models.errors import InputError, InputFault
from models.intervals import FloatArray, IntervalGrid
from simulations.devices.base import Surroundings
from simulations.devices.dice import keys_of, normal
from simulations.scenarios.curve import Curve
from simulations.scenarios.types import HourSpans, ScenarioFile, Tariff, hour_of

GW_TO_KW = 1e6
TEMPERATURE_SHAPE = ((0.0, 0.28), (6.0, 0.0), (10.0, 0.52), (13.0, 0.86), (16.0, 1.0), (19.0, 0.74), (21.5, 0.46))
"""Local hour, and how far the temperature is from the day's lowest to its highest."""


class Scenario:
    """One scenario file with its curves.  Days run from ``days_before`` before the event day to two days after it."""

    def __init__(self, file: ScenarioFile) -> None:
        self.file = file
        self.name = file.name
        self.zone = ZoneInfo(file.time_zone)
        self.day = file.day
        self.utc_offset_s = self.midnight(file.day).astimezone(self.zone).utcoffset() or timedelta(0)
        self.event_day_number = self._day_number(file.day)

    # ---- calendar

    def midnight(self, day: date) -> datetime:
        """Start of a local day, aware UTC."""
        return datetime(day.year, day.month, day.day, tzinfo=self.zone).astimezone(UTC)

    def local(self, hour: float, day: date | None = None) -> datetime:
        """The instant of a local hour of the event day (or another), aware UTC."""
        return self.midnight(day or self.day) + timedelta(hours=hour)

    @property
    def earlier_days(self) -> tuple[date, ...]:
        """The days before the event day, oldest first."""
        count = self.file.days_before
        return tuple(self.day - timedelta(days=count - k) for k in range(count))

    @property
    def windows(self) -> dict[str, tuple[datetime, datetime]]:
        """Start and end of the operator's events by id, aware UTC."""
        return {
            event.event_id: (self.local(hour_of(event.start)), self.local(hour_of(event.end)))
            for event in self.file.events
        }

    @staticmethod
    def _day_number(day: date) -> int:
        return (day - date(1970, 1, 1)).days

    @cached_property
    def _days(self) -> list[tuple[date, float]]:
        """Every day of the scenario with its place between the first earlier day (0) and the event day (1)."""
        count = self.file.days_before
        return [(self.day + timedelta(days=k), min(1.0, (k + count) / count)) for k in range(-count, 3)]

    def _throw(self, purpose: str, day: date) -> float:
        """The dice of one day: standard normal, 0 on the event day, of which the figures are published."""
        if day == self.day:
            return 0.0
        key = keys_of([self.name], self.file.seed)
        return float(normal(key, purpose, self._day_number(day))[0])

    # ---- load

    @cached_property
    def load_curve(self) -> Curve:
        """Load of the city in GW over all days."""
        figures = self.file.load
        seconds, values = [], []
        for day, place in self._days:
            first = figures.first_day_factor.value
            factor = first + (1 - first) * place**1.5
            if day > self.day:
                factor = figures.next_day_factor.value
            if day.weekday() >= 5:
                factor *= figures.weekend_factor.value
            factor *= 1 + figures.day_variation.value * self._throw("load", day)
            start = self.midnight(day).timestamp()
            for anchor in figures.points:
                seconds.append(start + 3600 * hour_of(anchor.time))
                values.append(anchor.gw * factor)
        return Curve(seconds, values)

    def load_kw(self, moment: datetime) -> float:
        """Load of the whole city at an instant, kW."""
        return float(self.load_curve.at(moment.timestamp())) * GW_TO_KW

    def mean_load_kw(self, grid: IntervalGrid) -> FloatArray:
        """Mean load of the whole city on a grid, kW, (T,)."""
        return self.load_curve.means(np.array([edge.timestamp() for edge in grid.edges])) * GW_TO_KW

    @property
    def peak_kw(self) -> float:
        """The day's highest load, kW."""
        return max(anchor.gw for anchor in self.file.load.points) * GW_TO_KW

    # ---- zones

    @property
    def zone_ids(self) -> tuple[str, ...]:
        """Zones in the order of the file."""
        return tuple(zone.zone_id for zone in self.file.zones)

    @property
    def zone_shares(self) -> FloatArray:
        """Share of the city's load, (Z,)."""
        return np.array([zone.share.value for zone in self.file.zones])

    @property
    def zone_limits_kw(self) -> FloatArray:
        """Limit of every zone for the whole city, kW, (Z,)."""
        return self.zone_shares * self.peak_kw * (1 + self.file.zone_limits.headroom_fraction.value)

    # ---- prices

    def prices(self, grid: IntervalGrid) -> dict[str, FloatArray]:
        """Price of every tariff on a grid, CNY/kWh, time-weighted, (T,) each."""
        return {tariff.tariff_id: self._prices_of(tariff, grid) for tariff in self.file.tariffs}

    def _prices_of(self, tariff: Tariff, grid: IntervalGrid) -> FloatArray:
        figures = self.file.prices
        flat = figures.flat_per_kwh.value * tariff.factor
        if tariff.form == "flat":
            return np.full(len(grid), flat)
        peak = self._share_inside(figures.peak_hours, grid)
        valley = self._share_inside(figures.valley_hours, grid)
        critical = self._share_inside(figures.critical_hours, grid) if tariff.critical else 0.0
        relative = 1 + (figures.peak_factor.value - 1) * peak + (figures.valley_factor.value - 1) * valley
        return np.asarray(
            flat * (relative + figures.peak_factor.value * (figures.critical_factor.value - 1) * critical)
        )

    def _share_inside(self, spans: HourSpans, grid: IntervalGrid) -> FloatArray:
        hours = np.zeros(len(grid))
        first, last = grid.start.astimezone(self.zone).date(), grid.end.astimezone(self.zone).date()
        for ahead in range((last - first).days + 1):
            midnight = self.midnight(first + timedelta(days=ahead))
            for start, end in spans.value:
                hours += grid.overlap_h(midnight + timedelta(hours=start), midnight + timedelta(hours=end))
        return hours / grid.hours

    # ---- weather

    @cached_property
    def temperature_curve(self) -> Curve:
        """Outdoor temperature in °C over all days: coolest at 06:00, hottest at 16:00."""
        figures = self.file.weather
        seconds, values = [], []
        for day, place in self._days:
            shift = figures.day_variation_k.value * self._throw("temperature", day)
            rise = place**1.2
            low = figures.first_day_minimum_celsius.value * (1 - rise) + figures.minimum_celsius.value * rise
            high = figures.first_day_maximum_celsius.value * (1 - rise) + figures.maximum_celsius.value * rise
            start = self.midnight(day).timestamp()
            for hour, share in TEMPERATURE_SHAPE:
                seconds.append(start + 3600 * hour)
                values.append(low + share * (high - low) + shift)
        return Curve(seconds, values)

    def outdoor_celsius(self, moment: datetime) -> float:
        """Outdoor temperature at an instant."""
        return float(self.temperature_curve.at(moment.timestamp()))

    @cached_property
    def _temperature_table(self) -> tuple[FloatArray, FloatArray]:
        """Temperature every five minutes: looked up millions of times, so kept as a table."""
        curve = self.temperature_curve
        seconds = np.arange(curve.first_s, curve.last_s + 1, 300.0)
        return seconds, curve.at(seconds)

    def surroundings(self, start_s: float, end_s: float) -> Surroundings:
        """The outside world between two instants (POSIX seconds) of one local day."""
        middle = 0.5 * (start_s + end_s) + self.utc_offset_s.total_seconds()
        day, second = divmod(middle, 86400)
        hour = second / 3600
        figures = self.file.weather
        rise, fall = figures.sunrise_hour.value, figures.sunset_hour.value
        height = np.sin(np.pi * (hour - rise) / (fall - rise)) if rise < hour < fall else 0.0
        return Surroundings(
            start_s=start_s,
            end_s=end_s,
            day=int(day),
            hour=float(hour),
            workday=(int(day) + 3) % 7 < 5,  # 1 January 1970 was a Thursday
            outdoor_celsius=float(np.interp(0.5 * (start_s + end_s), *self._temperature_table)),
            sun_fraction=float(height) ** 1.2,
        )


@lru_cache(maxsize=8)
def load_scenario(name: str) -> Scenario:
    """The scenario of that name among those delivered; ``InputError`` if there is none or its file breaks a rule."""
    place = files("simulations.scenarios") / f"{name.replace('-', '_')}.toml"
    if not place.is_file():
        known = sorted(entry.name.removesuffix(".toml").replace("_", "-") for entry in _delivered())
        raise InputError([InputFault("scenario", "name", name, f"must be one of {', '.join(known)}")])
    try:
        return Scenario(ScenarioFile.model_validate(tomllib.loads(place.read_text(encoding="utf-8"))))
    except ValidationError as error:
        faults = [
            InputFault(place.name, ".".join(str(part) for part in each["loc"]), each["input"], each["msg"])
            for each in error.errors()
        ]
        raise InputError(faults) from error


def _delivered() -> Sequence[Any]:
    return [entry for entry in files("simulations.scenarios").iterdir() if entry.name.endswith(".toml")]
