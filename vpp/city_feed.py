"""The city from a folder: tables ``system``, ``tariffs`` and ``areas``, read again when they change.

``load_forecast_kw`` is here the whole load of a zone, registered resources included, as a dispatch centre forecasts
it; the service takes its own fleet out by itself.
"""

import time
from datetime import date, datetime
from pathlib import Path

import numpy as np
import structlog

from adapters.feeds.city_folder import CITY_TABLES, CityTables, read_city
from models.errors import InputError, InputFault
from models.intervals import FloatArray, IntervalGrid
from vpp.forecasting import CityForecast, price_grid

log = structlog.get_logger(__name__)
LOOK_EVERY_S = 0.5
"""Not more often: a registration of thousands asks for the zones thousands of times."""
_NOTHING_H = 1e-9
"""A few microseconds: what rounding leaves."""
Stamp = tuple[tuple[str, int, int], ...]


class FolderFeed:
    """Answers to ``CityFeed`` from a folder that the operator's forecast process writes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._looked_s = -LOOK_EVERY_S
        self._stamp = self._newest()
        self._tables = read_city(folder)
        self._priced: tuple[CityTables, dict[tuple[str, date], FloatArray]] = self._tables, {}

    @property
    def zones(self) -> tuple[str, ...]:
        """Names of the zones."""
        return self._recent().zones

    @property
    def tariff_ids(self) -> tuple[str, ...]:
        """Names of the tariffs."""
        return tuple(self._recent().tariffs)

    def highest_price_per_kwh(self, tariff_id: str) -> float:
        """Highest price of the tariff in the folder, CNY per kWh."""
        return float(self._recent().tariffs[tariff_id].max())

    def prices(self, tariff_id: str, day: date) -> FloatArray:
        """Five-minute prices of a UTC day, (288,) CNY per kWh; where the folder does not reach, those of the same hours
        of its nearest day.

        Cars came before the folder begins and leave after it ends: their stays must be priced too.
        """
        tables, priced = self._recent(), self._priced
        if priced[0] is not tables:
            priced = self._priced = tables, {}
        known = priced[1]
        if (tariff_id, day) not in known:
            known[tariff_id, day] = _on_like_hours(tables.grid, tables.tariffs[tariff_id], price_grid(day))
        return known[tariff_id, day]

    def covers(self) -> tuple[datetime, datetime]:
        """From when to when the folder's series reach."""
        grid = self._fresh().grid
        return grid.start, grid.end

    def forecast(self, decision_time: datetime, grid: IntervalGrid) -> CityForecast:
        """The folder's series on ``grid``; ``InputError`` if they do not reach that far."""
        del decision_time  # the folder holds what is known now
        tables = self._fresh()
        if grid.start < tables.grid.start or grid.end > tables.grid.end:
            covered = f"{tables.grid.start.isoformat()} to {tables.grid.end.isoformat()}"
            rule = (
                f"must cover {grid.start.isoformat()} to {grid.end.isoformat()}: "
                "write newer tables into the folder, they are read again while the service runs"
            )
            raise InputError([InputFault(str(self._folder / "system"), "interval_start", covered, rule)])

        def moved(values: FloatArray) -> FloatArray:
            return grid.mean_from(tables.grid, values)

        unlimited = np.isinf(tables.zone_limit_kw)
        limits = moved(np.where(unlimited, 0.0, tables.zone_limit_kw))
        limits[moved(unlimited.astype(float)) > 0] = np.inf
        return CityForecast(
            zones=tables.zones,
            load_kw=moved(tables.zone_load_kw),
            limit_kw=limits,
            tariffs={name: moved(values) for name, values in tables.tariffs.items()},
            areas=tables.areas,
        )

    def measured(self, decision_time: datetime, grid: IntervalGrid) -> FloatArray | None:
        """The folder holds forecasts, no measurements."""
        del decision_time, grid
        return None

    def _newest(self) -> Stamp:
        """Name, time and size of the three tables; empty while the folder is not to be seen."""
        names = {spec.name for spec in CITY_TABLES}
        try:
            seen = [(path.name, path.stat()) for path in self._folder.iterdir() if path.stem in names]
        except OSError:
            return ()
        return tuple(sorted((name, stat.st_mtime_ns, stat.st_size) for name, stat in seen))

    def _recent(self) -> CityTables:
        """For what is asked thousands of times in a row."""
        return self._tables if time.monotonic() - self._looked_s < LOOK_EVERY_S else self._fresh()

    def _fresh(self) -> CityTables:
        stamp = self._newest()
        self._looked_s = time.monotonic()
        if stamp != self._stamp:
            self._stamp = stamp
            try:
                self._tables = read_city(self._folder)
            except (InputError, OSError) as error:  # the last good tables stand, and it is said aloud
                log.error("the city's tables are wrong, the last good ones stand", error=str(error))
            else:
                log.info("the city's tables were read again", until=self._tables.grid.end.isoformat())
        return self._tables


def _on_like_hours(known: IntervalGrid, values: FloatArray, grid: IntervalGrid) -> FloatArray:
    """A series on ``grid``, (T,): means of what ``known`` covers of each interval, moved by whole days where it lies
    before or after; the series' own mean where not even that is known.
    """
    begin_h = (grid.start - known.start).total_seconds() / 3600
    start_h, end_h = begin_h + grid.offsets_h[:-1], begin_h + grid.offsets_h[1:]
    last_h = float(known.offsets_h[-1])
    days = np.where(start_h < 0, np.ceil(-start_h / 24), np.where(end_h > last_h, np.floor((last_h - end_h) / 24), 0.0))
    low = np.clip(start_h + 24 * days, 0.0, last_h)
    high = np.clip(end_h + 24 * days, 0.0, last_h)
    total = np.concatenate([[0.0], np.cumsum(values * known.hours)])
    sums = np.interp(high, known.offsets_h, total) - np.interp(low, known.offsets_h, total)
    found = np.divide(sums, high - low, out=np.full(len(grid), float(values.mean())), where=high - low > _NOTHING_H)
    return np.asarray(np.round(found, 9))  # equal prices stay equal
