"""Looking back in the store: load profiles by day-matching, and the stays that chargers have seen."""

import itertools
from collections.abc import Callable, Container, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from adapters.store.readings import PowerColumns
from adapters.store.store import Store
from models.intervals import FloatArray, IntervalGrid
from models.moments import moment_of
from models.resources import CurtailableLoad, InterruptibleLoad, Pv, ThermalLoad
from models.settlement.baseline import METHODS, Baselines, baseline_profiles
from models.settlement.days import ClockDays, clock_profile_on, day_class
from models.settlement.level import LevelLine
from models.telemetry import ChargingSession
from vpp.forecasting import LIKE_DAYS_BACK, CityFeed, PastSession, PastStays
from vpp.metered import metered_kw
from vpp.state import LiveState

STEP = timedelta(minutes=15)
DAYS_BACK = 45


class History:
    """What the past says about the loads and the cars; all of it from before the moment that is named."""

    def __init__(
        self,
        store: Store,
        state: LiveState,
        zone: ZoneInfo,
        feed: CityFeed,
        *,
        method_id: str,
        holidays: Container[date] = (),
        working_weekends: Container[date] = (),
        on_line: Callable[[date, LevelLine], None] = lambda _day, _line: None,
    ) -> None:
        self._store = store
        self._state = state
        self._zone = zone
        self._feed = feed
        self._method = METHODS[method_id]
        self._holidays = holidays
        self._working_weekends = working_weekends
        self._on_line = on_line
        self._lines: dict[date, LevelLine] = {}
        self.event_days: set[date] = set()
        self._past: tuple[tuple[date, int, int], PastStays] | None = None
        self._runs: tuple[int, dict[tuple[str, str], FloatArray]] = (-1, {})

    def load_profiles(self, now: datetime, grid: IntervalGrid) -> dict[str, FloatArray]:
        """Day-matching baseline (PV: expected availability) of every load that has enough like days, (T,) each."""
        kinds = CurtailableLoad | InterruptibleLoad | ThermalLoad | Pv
        wanted = [live.resource_id for live in self._state if isinstance(live.record.resource, kinds)]
        if not wanted:
            return {}
        today = now.astimezone(self._zone).date()
        first = datetime.combine(today - timedelta(days=DAYS_BACK), datetime.min.time(), self._zone)
        last = datetime.combine(today, datetime.min.time(), self._zone)
        pieces = self._store.powers(wanted, first, last + timedelta(seconds=1))
        oldest = next((piece for piece in pieces if len(piece.measured_us)), None)
        if oldest is None:
            return {}
        measured = moment_of(int(oldest.measured_us.min()))
        midnight = datetime.combine(measured.astimezone(self._zone).date(), datetime.min.time(), self._zone)
        reach = last.astimezone(UTC) - midnight.astimezone(UTC)  # not by the clock on the wall
        past = IntervalGrid.regular(midnight, STEP, -(-reach // STEP))
        values = metered_kw(itertools.chain([oldest], pieces), len(wanted), past)
        history = ClockDays.from_grid(past, values, self._zone, STEP)
        excluded = np.array([day in self.event_days for day in history.days])
        found: dict[str, FloatArray] = {}
        days = sorted({start.astimezone(self._zone).date() for start in grid.starts})
        parts = {
            day: baseline_profiles(
                history,
                day,
                self._method,
                holidays=self._holidays,
                working_weekends=self._working_weekends,
                excluded=excluded,
            )
            for day in days
        }
        levels = {day: self._level(history, parts[day], day, wanted, now) for day in days}
        if days[0] in self._lines:
            self._on_line(days[0], self._lines[days[0]])
        day_of = np.array([days.index(start.astimezone(self._zone).date()) for start in grid.starts])
        on_grid = np.stack(
            [levels[day][:, None] * clock_profile_on(parts[day].profile, grid, self._zone, STEP) for day in days]
        )
        merged = on_grid[day_of, :, np.arange(len(grid))].T
        for row, name in enumerate(wanted):
            if np.isfinite(merged[row]).all():
                live = self._state.get(name)
                is_pv = live is not None and isinstance(live.record.resource, Pv)
                found[name] = np.maximum(-merged[row] if is_pv else merged[row], 0.0)
        return found

    def _level(self, history: ClockDays, made: Baselines, day: date, names: Sequence[str], now: datetime) -> FloatArray:
        """Factor on every profile, (R,): the level of air-conditioning against its like days, 1 for the others."""
        thermal = np.array([self._is_thermal(name) for name in names])
        factors = np.ones(len(names))
        if not thermal.any():
            return factors
        starts = [datetime.combine(each, datetime.min.time(), self._zone).astimezone(UTC) for each in history.days]
        city = [self._feed.measured(now, IntervalGrid((start, start + timedelta(days=1)))) for start in starts]
        if any(each is None for each in city):
            return factors
        midnight = datetime.combine(day, datetime.min.time(), self._zone).astimezone(UTC)
        ahead = self._feed.forecast(now, IntervalGrid((midnight, midnight + timedelta(days=1)))).load_kw.sum()
        hours = STEP / timedelta(hours=1)
        like = [day_class(each, self._holidays, self._working_weekends) for each in history.days]
        alike = np.array([each is day_class(day, self._holidays, self._working_weekends) for each in like])
        daily = np.nansum(history.values[thermal], axis=(0, 2)) * hours
        used_kwh = float(np.nansum(made.profile[thermal])) * hours
        known = np.array([float(each[0]) if each is not None else np.nan for each in city])
        line = LevelLine(tuple(daily[alike].tolist()), tuple(known[alike].tolist()), used_kwh, float(ahead))
        self._lines[day] = line
        factors[thermal] = line.factor(line.city_ahead_kw)
        return factors

    def _is_thermal(self, name: str) -> bool:
        live = self._state.get(name)
        return live is not None and isinstance(live.record.resource, ThermalLoad)

    def run_profile(self, aggregator_id: str, profile_id: str) -> FloatArray | None:
        """The shape of a contiguous run that an aggregator has sent, per unit; None if it has not."""
        if self._runs[0] != self._state.version:
            known = {(each.aggregator_id, each.profile_id): np.array(each.values) for each in self._store.profiles()}
            self._runs = self._state.version, known
        return self._runs[1].get((aggregator_id, profile_id))

    def busiest_day(self, now: datetime) -> dict[str, int]:
        """The most stays that each charger has seen begin on one local day."""
        counts: dict[tuple[str, date], int] = {}
        for record in self._store.sessions(now - timedelta(days=LIKE_DAYS_BACK), now):
            key = record.resource_id, record.arrival.astimezone(self._zone).date()
            counts[key] = counts.get(key, 0) + 1
        most: dict[str, int] = {}
        for (name, _), count in counts.items():
            most[name] = max(most.get(name, 0), count)
        return most

    def expected_sessions(self, now: datetime, grid: IntervalGrid) -> Mapping[str, Sequence[ChargingSession]]:
        """Stays to come at every charger, from like days; the days before are read four times a local day."""
        local = now.astimezone(self._zone)
        key = local.date(), local.hour // 6, self._state.version
        if self._past is None or self._past[0] != key:
            self._past = key, PastStays(self._past_sessions(now), self._zone)
        return self._past[1].expected(grid, now)

    def _past_sessions(self, now: datetime) -> list[PastSession]:
        records = self._store.sessions(now - timedelta(days=LIKE_DAYS_BACK + 1), now)
        return [
            PastSession(
                record.resource_id,
                ChargingSession.model_construct(  # the store keeps what was validated at the door
                    session_id=record.session_id,
                    arrival=record.arrival,
                    departure=max(record.unplugged_at or record.departure, record.arrival + timedelta(minutes=5)),
                    energy_needed_kwh=record.energy_needed_kwh,
                    battery_capacity_kwh=record.battery_capacity_kwh,
                    battery_start_kwh=record.battery_start_kwh,
                ),
            )
            for record in records
            if self._state.get(record.resource_id) is not None
        ]


def metered_on(frame: pd.DataFrame, resource_ids: Sequence[str], grid: IntervalGrid) -> FloatArray:
    """Mean metered power of a frame of readings on an equally spaced grid, (R, T): see ``vpp.metered``."""
    row_of = {name: row for row, name in enumerate(resource_ids)}
    frame = frame[frame["resource_id"].isin(list(row_of))]
    measured = frame["measured_at"].dt.tz_convert("UTC").dt.tz_localize(None).to_numpy()
    piece = PowerColumns(
        np.array([row_of[name] for name in frame["resource_id"]], dtype=np.int64),
        measured.astype("datetime64[us]").astype(np.int64),
        frame["power_kw"].to_numpy(dtype=np.float64),
    )
    return metered_kw([piece], len(resource_ids), grid)
