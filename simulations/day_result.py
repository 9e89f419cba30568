"""From a day that was run to its result folder: what was measured, and the truth that only a simulator knows."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from importlib.metadata import version
from typing import Any

import numpy as np
import pandas as pd

from models.events import Direction, EventRecord
from models.intervals import FloatArray, IntervalGrid
from models.life_cycle import EventStatus
from models.settlement.performance import EventPerformance, price_alone_kw
from vpp.measurement import MeasuredDay, undispatched_kw
from vpp.report.result_folder import (
    DayResult,
    EventResult,
    Labels,
    PlanQuality,
    Registrations,
    Source,
    Summary,
    Text,
)
from vpp.service import Service


@dataclass(frozen=True)
class Truth:
    """True mean power of every resource on the measured day's grid and in its order, (R, T) kW.

    ``without_kw``: the same devices, the same dice, no event: they follow the price-only schedule.
    """

    with_kw: FloatArray
    without_kw: FloatArray


@dataclass
class DayLog:
    """What the driver writes down while the day runs."""

    devices: list[tuple[datetime, int, int, int, int]] = field(default_factory=list)
    journal: list[tuple[datetime, str, str, str]] = field(default_factory=list)

    def note(self, at: datetime, who: str, zh: str, en: str) -> None:
        """One line of the journal."""
        self.journal.append((at, who, zh, en))


@dataclass(frozen=True)
class DayFacts:
    """What a day's summary says beyond what was measured."""

    scenario: str
    title_zh: str
    title_en: str
    labels: Labels
    sources: tuple[Source, ...]
    aggregator_names: dict[str, tuple[str, str]]
    scale: float
    reproduce: str
    repairs: tuple[str, ...] = ()
    measured_peak_kw: float | None = None


def build_result(
    service: Service,
    facts: DayFacts,
    log: DayLog,
    day: MeasuredDay,
    truth: Truth,
    city_kw: FloatArray,
    forecast_kw: FloatArray,
    limit_kw: float | None,
    market_day_grid: IntervalGrid,
    wall_s: float,
) -> DayResult:
    """Everything of a result folder; ``city_kw``, ``forecast_kw``: (T,) on the day's grid, fleet scale."""
    runtime = service.runtime
    records = [record for record in runtime.events.records() if record.status is not EventStatus.CANCELLED]
    records.sort(key=lambda record: record.event.start)
    performances = [runtime.performance(day, record) for record in records]
    with_kw = city_kw + (truth.with_kw - truth.without_kw).sum(axis=0)
    undispatched = undispatched_kw(day, runtime.state, runtime.sessions)
    events = [
        _event_result(service, day, truth, undispatched, record, performance)
        for record, performance in zip(records, performances, strict=True)
    ]
    inside = [market_day_grid.start <= start < market_day_grid.end for start in day.grid.starts]
    plan = runtime.day_ahead.days[market_day_grid.start.astimezone(runtime.zone).date()].plan
    summary = Summary(
        scenario=facts.scenario,
        scenario_title_zh=facts.title_zh,
        scenario_title_en=facts.title_en,
        market_day=market_day_grid.start.astimezone(runtime.zone).date(),
        time_zone=str(runtime.zone),
        simulated=True,
        labels=facts.labels,
        resources=len(runtime.state),
        scale=facts.scale,
        aggregators=len({live.record.aggregator_id for live in runtime.state}),
        events=tuple(events),
        peak_before_kw=float(city_kw[inside].max()),
        peak_after_kw=float(with_kw[inside].max()),
        forecast_peak_kw=float(forecast_kw[inside].max()),
        measured_peak_kw=facts.measured_peak_kw,
        already_helping_by_price_kw=max((each.already_helping_by_price_kw or 0.0 for each in events), default=0.0),
        rebound_kw_by_hour=events[-1].rebound_kw_by_hour if events else (),
        plan=PlanQuality(
            status=plan.status,
            gap=plan.gap,
            source=plan.source.value,
            objective_cny=plan.objective_cny,
            lower_bound_cny=plan.lower_bound_cny,
            wall_s=plan.wall_s,
            plan_hash=plan.plan_hash,
            baseline_hash=plan.baseline_hash,
            penalties=plan.penalties,
        ),
        registrations=Registrations(accepted=service.uplink.registered, refused=service.uplink.refused_registrations),
        readings=service.uplink.readings_taken,
        setpoints=runtime.delivery.sent_setpoints,
        acknowledged=service.uplink.acknowledged,
        repairs=facts.repairs,
        sources=facts.sources,
        reproduce=facts.reproduce,
        versions={name: version(name) for name in ("vpp-dispatch", "pyomo", "highspy", "numpy")},
        wall_s=wall_s,
    )
    return DayResult(
        summary=summary,
        city=_city(day.grid, city_kw, with_kw, forecast_kw, limit_kw),
        delivery=_delivery(service, day, truth, records),
        kinds=_kinds(service, day, truth),
        aggregators=_aggregators(facts, records, performances),
        devices=_frame(log.devices, ["interval_start", "online", "silent", "refusing", "dispatchable"]),
        journal=_frame(sorted(log.journal), ["at", "who", "what_zh", "what_en"]),
    )


def _members(service: Service, day: MeasuredDay, record: EventRecord) -> FloatArray:
    found = [service.runtime.in_scope(name, record.event) for name in day.resource_ids]
    return np.array(found, dtype=float)


def _event_result(
    service: Service,
    day: MeasuredDay,
    truth: Truth,
    undispatched: FloatArray,
    record: EventRecord,
    performance: EventPerformance,
) -> EventResult:
    event = record.event
    weight = day.grid.overlap_h(event.start, event.end)
    sign = 1.0 if event.direction is Direction.SHAVE else -1.0
    members = _members(service, day, record)
    really = sign * (members @ (truth.without_kw - truth.with_kw))
    return EventResult(
        event_id=event.event_id,
        start=event.start,
        end=event.end,
        five_percent_kw=record.five_percent_kw or 0.0,
        callable_kw=record.callable_kw or 0.0,
        ordered_kw=event.target_kw,
        delivered_kw=performance.delivered_kw,
        true_delivered_kw=float(really @ weight / weight.sum()),
        ratio_by_hour=performance.ratio_by_hour,
        direction=event.direction,
        status=record.status.value,
        already_helping_by_price_kw=price_alone_kw(
            undispatched, day.baseline_kw, day.grid, (event.start, event.end), event.direction
        ),
        rebound_kw_by_hour=performance.rebound_kw_by_hour,
        missing_readings=performance.missing,
    )


def _frame(rows: Sequence[tuple[Any, ...]], columns: list[str]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=columns)
    frame[columns[0]] = pd.to_datetime(frame[columns[0]], utc=True).astype("datetime64[us, UTC]")
    return frame


def _city(
    grid: IntervalGrid, without: FloatArray, with_kw: FloatArray, forecast: FloatArray, limit: float | None
) -> pd.DataFrame:
    rows = zip(grid.starts, without, with_kw, forecast, [np.nan if limit is None else limit] * len(grid), strict=True)
    columns = ["interval_start", "load_without_kw", "load_with_kw", "forecast_kw", "limit_kw"]
    return _frame(list(rows), columns)


def _delivery(service: Service, day: MeasuredDay, truth: Truth, records: Sequence[EventRecord]) -> pd.DataFrame:
    rows: list[tuple[Any, ...]] = []
    for record in records:
        event = record.event
        sign = 1.0 if event.direction is Direction.SHAVE else -1.0
        members = _members(service, day, record)
        delivered = sign * (members @ (day.baseline_kw - day.metered.power_kw))
        really = sign * (members @ (truth.without_kw - truth.with_kw))
        window = np.flatnonzero(day.grid.inside(event.start, event.end))
        rows.extend((event.event_id, day.grid.starts[t], event.target_kw, delivered[t], really[t]) for t in window)
    columns = ["event_id", "interval_start", "ordered_kw", "delivered_kw", "true_delivered_kw"]
    frame = pd.DataFrame(rows, columns=columns)
    frame["interval_start"] = pd.to_datetime(frame["interval_start"], utc=True).astype("datetime64[us, UTC]")
    return frame


def _kinds(service: Service, day: MeasuredDay, truth: Truth) -> pd.DataFrame:
    kinds: dict[str, list[int]] = {}
    for row, name in enumerate(day.resource_ids):
        live = service.state.get(name)
        if live is not None:
            kinds.setdefault(live.kind.value, []).append(row)
    parts = []
    for kind, members in sorted(kinds.items()):
        parts.append(
            pd.DataFrame(
                {
                    "interval_start": pd.to_datetime(list(day.grid.starts), utc=True).astype("datetime64[us, UTC]"),
                    "kind": kind,
                    "power_kw": day.metered.power_kw[members].sum(axis=0),
                    "baseline_kw": day.baseline_kw[members].sum(axis=0),
                    "true_without_kw": truth.without_kw[members].sum(axis=0),
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def _aggregators(
    facts: DayFacts, records: Sequence[EventRecord], performances: Sequence[EventPerformance]
) -> pd.DataFrame:
    rows: list[tuple[Any, ...]] = []
    for record, performance in zip(records, performances, strict=True):
        for name, hours in performance.by_aggregator.items():
            zh, en = facts.aggregator_names.get(name, (name, name))
            event_id = record.event.event_id
            rows.extend((event_id, name, zh, en, hour.start, hour.ordered_kw, hour.delivered_kw) for hour in hours)
    columns = ["event_id", "aggregator_id", "name_zh", "name_en", "hour_start", "accepted_kw", "delivered_kw"]
    frame = pd.DataFrame(rows, columns=columns)
    frame["hour_start"] = pd.to_datetime(frame["hour_start"], utc=True).astype("datetime64[us, UTC]")
    return frame


def text(zh: str, en: str) -> Text:
    """One sentence in both languages."""
    return Text(zh=zh, en=en)
