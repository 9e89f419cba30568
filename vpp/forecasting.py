"""What tomorrow looks like: the city's load, the loads' own profiles, the cars that will come.

Everything is made from what was known at ``decision_time``; nothing here sees a later value.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Protocol
from zoneinfo import ZoneInfo

from models.intervals import FloatArray, IntervalGrid
from models.telemetry import ChargingSession

LIKE_DAYS_BACK = 14
"""How far back a like day (working day or weekend) is looked for."""
PRICE_STEP = timedelta(minutes=5)
_UTC = ZoneInfo("UTC")


@dataclass(frozen=True)
class CityForecast:
    """The city on a grid: Z zones, T intervals.

    ``load_kw``: (Z, T), the whole load of the city including the portfolio undispatched.  ``limit_kw``: (Z, T), what
    the grid can carry, +inf where unlimited.  ``tariffs``: id → (T,) CNY per kWh.
    """

    zones: tuple[str, ...]
    load_kw: FloatArray
    limit_kw: FloatArray
    tariffs: Mapping[str, FloatArray]
    areas: Mapping[str, frozenset[str]]


class CityFeed(Protocol):
    """Where the city's forecast, limits and tariffs come from."""

    @property
    def zones(self) -> tuple[str, ...]:
        """Names of the zones."""

    @property
    def tariff_ids(self) -> tuple[str, ...]:
        """Names of the tariffs."""

    def highest_price_per_kwh(self, tariff_id: str) -> float:
        """The highest price that the tariff ever has, CNY per kWh."""

    def prices(self, tariff_id: str, day: date) -> FloatArray:
        """Five-minute prices of one tariff on any UTC day, past or future, CNY per kWh, (288,)."""

    def forecast(self, decision_time: datetime, grid: IntervalGrid) -> CityForecast:
        """What was known at ``decision_time`` about the intervals of ``grid``."""

    def measured(self, decision_time: datetime, grid: IntervalGrid) -> FloatArray | None:
        """Load of the city as measured by ``decision_time``, undisturbed as that of ``forecast`` (with what events took
        out), (T,) kW; None if that is not known for all of ``grid``.
        """


def price_grid(day: date) -> IntervalGrid:
    """The five-minute steps of a UTC day, for which ``CityFeed.prices`` answers."""
    return IntervalGrid.market_day(day, _UTC, PRICE_STEP)


def is_weekend(day: date) -> bool:
    """Saturday or Sunday."""
    return day.weekday() >= 5


def like_day(day: date, known_days: Sequence[date]) -> date | None:
    """The newest known day before ``day`` of the same class; the newest of any class if there is none."""
    earlier = [known for known in known_days if day - timedelta(days=LIKE_DAYS_BACK) <= known < day]
    same = [known for known in earlier if is_weekend(known) == is_weekend(day)]
    return max(same or earlier, default=None)


@dataclass(frozen=True, slots=True)
class PastSession:
    """A stay of a car that is over, at one charger."""

    resource_id: str
    session: ChargingSession


class PastStays:
    """Stays that are over, by local day; what they foretell for a day is worked out once."""

    def __init__(self, past: Iterable[PastSession], zone: ZoneInfo) -> None:
        self._zone = zone
        self._by_day: dict[date, list[PastSession]] = {}
        for item in past:
            self._by_day.setdefault(item.session.arrival.astimezone(zone).date(), []).append(item)
        self._moved: dict[tuple[date, date], list[tuple[str, ChargingSession]]] = {}

    def expected(self, grid: IntervalGrid, decision_time: datetime) -> dict[str, list[ChargingSession]]:
        """See ``expected_sessions``."""
        today = decision_time.astimezone(self._zone).date()
        complete = [day for day in self._by_day if day < today]
        earliest = max(decision_time, grid.start - timedelta(days=1))
        found: dict[str, list[ChargingSession]] = {}
        day = min(today, grid.start.astimezone(self._zone).date() - timedelta(days=1))
        while day <= grid.end.astimezone(self._zone).date():
            for resource_id, stay in self._on(day, like_day(day, complete)):
                if earliest <= stay.arrival < grid.end and stay.departure > grid.start:
                    found.setdefault(resource_id, []).append(stay)
            day += timedelta(days=1)
        return {name: _without_overlap(stays) for name, stays in found.items()}

    def _on(self, day: date, model: date | None) -> list[tuple[str, ChargingSession]]:
        """The stays of the day ``model``, moved to ``day``."""
        if model is None:
            return []
        if (day, model) not in self._moved:
            stays = self._by_day.get(model, [])
            self._moved[day, model] = [(item.resource_id, _moved(item.session, day, self._zone)) for item in stays]
        return self._moved[day, model]


def expected_sessions(
    past: Sequence[PastSession], grid: IntervalGrid, decision_time: datetime, zone: ZoneInfo
) -> dict[str, list[ChargingSession]]:
    """Stays that touch the grid and have not begun at ``decision_time``: those of each day's like day, moved.

    A stay keeps its local clock times; of stays at one charger that would overlap only the first is kept.
    """
    return PastStays(past, zone).expected(grid, decision_time)


def _moved(session: ChargingSession, day: date, zone: ZoneInfo) -> ChargingSession:
    arrival_local = session.arrival.astimezone(zone)
    arrival = arrival_local.replace(year=day.year, month=day.month, day=day.day)
    stay = session.departure - session.arrival
    return session.model_copy(
        update={
            # One stay may be the model of several days; an identifier has at most 128 characters.
            "session_id": f"expected-{day:%Y%m%d}-{session.session_id}"[:128],
            "arrival": arrival.astimezone(session.arrival.tzinfo),
            "departure": arrival.astimezone(session.arrival.tzinfo) + stay,
        }
    )


def _without_overlap(stays: list[ChargingSession]) -> list[ChargingSession]:
    kept: list[ChargingSession] = []
    for stay in sorted(stays, key=lambda each: each.arrival):
        if not kept or stay.arrival >= kept[-1].departure:
            kept.append(stay)
    return kept
