"""Replay: a measured day through the same path that runs live, with a simulated fleet in proportion.

The measured load is the truth of the replayed city; what the service is shown is a forecast: the operator's own, if a
file of it is given, else one made from like days.  Whatever is decided at an instant is decided from readings before
that instant only: the measured series is never touched without ``before(decision)`` on that way.
"""

from collections.abc import Container
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np

from adapters.feeds.forecast_file import read_forecast
from adapters.feeds.load_file import LoadSeries, read_load
from adapters.feeds.load_options import LoadOptions
from models.errors import InputError, InputFault
from models.events import EventOrder
from models.forecast import forecast_load
from models.intervals import FloatArray, IntervalGrid
from simulations.city_feed import CurveFeed
from simulations.day_result import DayFacts, text
from simulations.day_setup import DaySetup
from simulations.demo import SCENARIO
from simulations.scenarios import Scenario, load_scenario
from simulations.scenarios.generator import generate_fleet
from simulations.scenarios.replayed import ReplayedScenario
from vpp.report.result_folder import Labels, Source

HOUR = timedelta(hours=1)
DECLARED_AT = time(17, 30)


@dataclass(frozen=True)
class ReplayOrder:
    """What to replay.  ``window``: local clock times of the event, else the two hours of highest forecast."""

    load: Path
    day: date
    options: LoadOptions
    forecast: Path | None = None
    forecast_options: LoadOptions | None = None
    window: tuple[time, time] | None = None
    resources: int = 300
    portfolio: str = "2030"
    response_was_called: bool = False
    holidays: Container[date] = ()
    command: str = ""


class KnownLoad:
    """What was known of a city's load at any decision time: the operator's forecast, else like days.

    Decisions are rounded down to the hour, so that a forecast is made once an hour, from no later data than that.
    """

    def __init__(self, series: LoadSeries, zone: ZoneInfo, order: ReplayOrder) -> None:
        self._series = series
        self._zone = zone
        self._order = order
        self._at = lru_cache(maxsize=64)(self._made_at)

    def __call__(self, decided: datetime, grid: IntervalGrid) -> FloatArray:
        """City load on ``grid`` in kW as known at ``decided``, (T,)."""
        hour = decided.replace(minute=0, second=0, microsecond=0)
        first = grid.start.replace(minute=0, second=0, microsecond=0)
        last = grid.end
        known_grid, known = self._at(hour, first, last)
        return grid.mean_from(known_grid, known)

    def _made_at(self, decided: datetime, first: datetime, last: datetime) -> tuple[IntervalGrid, FloatArray]:
        if self._order.forecast is not None:
            return self._operators(decided, first, last)
        return self._from_like_days(decided, first, last)

    def _operators(self, decided: datetime, first: datetime, last: datetime) -> tuple[IntervalGrid, FloatArray]:
        order = self._order
        assert order.forecast is not None  # noqa: S101 - for the type checker, asked by the caller
        series = read_forecast(order.forecast, decision_time=decided, **(order.forecast_options or order.options))
        count = -(-(min(last, series.end) - first) // HOUR)
        if first + count * HOUR < last:
            rule = f"must reach {last.isoformat()} with what was issued by {decided.isoformat()}"
            raise InputError([InputFault(str(order.forecast), "forecast", series.end.isoformat(), rule)])
        grid = IntervalGrid.regular(first, HOUR, count)
        return grid, series.kw_on(grid)

    def _from_like_days(self, decided: datetime, first: datetime, last: datetime) -> tuple[IntervalGrid, FloatArray]:
        past = self._series.before(decided)
        step = max(past.resolution, timedelta(minutes=15))
        grid = IntervalGrid.regular(first, step, -(-(last - first) // step))
        factor = step // past.resolution
        usable = len(past.kw) - len(past.kw) % factor
        start = past.start + past.resolution * (len(past.kw) - usable)
        coarse = past.kw[len(past.kw) - usable :].reshape(-1, factor).mean(axis=1)
        made = forecast_load(
            coarse, start, step, decision_time=decided, target=grid, zone=self._zone, holidays=self._order.holidays
        )
        return grid, made.kw


def replay_setup(order: ReplayOrder) -> DaySetup:
    """A measured day as a ``DaySetup``; ``InputError`` for whatever is wrong with its files or options."""
    zone = ZoneInfo(order.options["time_zone"])
    series = read_load(order.load, **order.options)
    market_day = IntervalGrid.market_day(order.day, zone, HOUR)
    series.require(market_day.start, market_day.end + timedelta(hours=6))
    known = KnownLoad(series, zone, order)
    decided = datetime.combine(order.day - timedelta(days=1), DECLARED_AT, zone).astimezone(market_day.start.tzinfo)
    forecast_kw = known(decided, market_day)
    peak_kw = float(forecast_kw.max())
    window = _window(order, market_day, forecast_kw, zone)
    scenario = _scenario(order, zone, series)
    generated = generate_fleet(scenario, order.portfolio, order.resources)
    scale = generated.connected_kw / (generated.full_connected_kw * peak_kw / scenario.peak_kw)
    measured_kw = series.kw_on(IntervalGrid.market_day(order.day, zone, series.resolution))
    limits_kw = scenario.zone_shares * peak_kw * (1 + scenario.file.zone_limits.headroom_fraction.value)
    return DaySetup(
        generated=generated,
        feed=CurveFeed(
            scale=scale,
            zones=scenario.zone_ids,
            zone_shares=scenario.zone_shares,
            zone_limits_kw=limits_kw,
            prices=scenario.prices,
            forecast=known,
            measured=lambda moment, grid: series.before(moment).kw_on(grid),
            any_day=IntervalGrid.regular(market_day.start, timedelta(minutes=15), 96),
        ),
        market_day=order.day,
        orders=(EventOrder(event_id=f"replay-{order.day}", start=window[0], end=window[1], reason="replayed peak"),),
        declare_at=decided,
        city_kw=series.kw_on,
        limit_kw=float(limits_kw.sum() * scale),
        facts=_facts(order, series, scale, forecast_peak_kw=peak_kw, measured_peak_kw=float(measured_kw.max())),
    )


def _window(
    order: ReplayOrder, market_day: IntervalGrid, forecast_kw: FloatArray, zone: ZoneInfo
) -> tuple[datetime, datetime]:
    if order.window is not None:
        start, end = (datetime.combine(order.day, clock, zone) for clock in order.window)
        if end <= start:
            end += timedelta(days=1)
        return start, end
    both = forecast_kw[:-1] + forecast_kw[1:]
    first = int(np.argmax(both))
    return market_day.edges[first], market_day.edges[first + 2]


def _scenario(order: ReplayOrder, zone: ZoneInfo, series: LoadSeries) -> Scenario:
    """The demo's class mix and prices on the replayed day, with nameless zones and heat read off the load."""
    file = load_scenario(SCENARIO).file
    zones = tuple(
        each.model_copy(update={"zone_id": f"zone-{k:02d}", "name_zh": f"分区{k}", "name_en": f"zone {k}"})
        for k, each in enumerate(file.zones, start=1)
    )
    update = {"time_zone": str(zone), "day": order.day, "zones": zones, "name": f"replay-{order.day}"}
    return ReplayedScenario(file.model_copy(update=update), _daily_load(series, order.day, zone, file.days_before))


def _daily_load(series: LoadSeries, day: date, zone: ZoneInfo, before: int) -> dict[date, float]:
    """Mean load of the days around the replayed one, as far as the file knows them."""
    found: dict[date, float] = {}
    for ahead in range(-before, 3):
        each = day + timedelta(days=ahead)
        grid = IntervalGrid.market_day(each, zone, HOUR)
        if series.start <= grid.start and grid.end <= series.end and not series.gaps(grid.start, grid.end):
            found[each] = float(series.kw_on(grid).mean())
    return found


def _facts(
    order: ReplayOrder, series: LoadSeries, scale: float, *, forecast_peak_kw: float, measured_peak_kw: float
) -> DayFacts:
    file = load_scenario(SCENARIO).file
    name = order.load.stem
    known = (
        text(f"负荷预测: {order.forecast.name}", f"load forecast: {order.forecast.name}")
        if order.forecast is not None
        else text("负荷预测由相似日得出", "load forecast made from like days")
    )
    assumptions = [
        known,
        text(
            "资源组合与电价取自成都情景, 气温由实测负荷推得 (假设)",
            "portfolio and prices are the Chengdu scenario's, heat is read off the load (assumptions)",
        ),
    ]
    if order.response_was_called:
        assumptions.append(
            text(
                "当日实际调用过需求响应: 曲线为响应后的负荷",
                "demand response was called that day: the curve is after it",
            )
        )
    return DayFacts(
        scenario=f"replay-{name}-{order.day}",
        title_zh=f"回放 {name} {order.day}",
        title_en=f"Replay of {name}, {order.day}",
        labels=Labels(
            replayed=True,
            demand_response_was_called=order.response_was_called,
            assumptions=tuple(assumptions),
        ),
        sources=(
            Source(
                what=text("实测峰值", "measured peak"),
                value=f"{measured_peak_kw / 1e6:.3f} GW",
                basis="measured",
                source=order.load.name,
            ),
            Source(
                what=text("决策时预测峰值", "forecast peak at the decision"),
                value=f"{forecast_peak_kw / 1e6:.3f} GW",
                basis="derived",
                source=order.forecast.name if order.forecast is not None else "models.forecast",
            ),
        ),
        aggregator_names={each.aggregator_id: (each.name_zh, each.name_en) for each in file.aggregators},
        scale=scale,
        reproduce=order.command,
        repairs=tuple(str(repair) for repair in series.repairs),
        measured_peak_kw=measured_peak_kw * scale,
    )
