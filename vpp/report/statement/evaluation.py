"""How an event went, as it is kept with its record: as a table, as CSV and as JSON.

These are the figures of operation, mean power against order; what is paid for stands in the statement.  They are
floats and told with all digits that they have.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict

from models.canonical import finite
from models.events import EventRecord
from models.settlement.performance import BAND, EventPerformance, HourResult, clock_hours
from vpp.report.statement.columns import Language, Teller
from vpp.report.statement.csv_text import csv_chunks, harmless

HEAD: Mapping[str, str] = {
    "event_id": "事件编号",
    "row": "行类型",
    "aggregator_id": "聚合商编号",
    "start": "开始时间",
    "end": "结束时间",
    "ordered_kw": "指令功率（kW）",
    "delivered_kw": "响应功率（kW）",
    "credited_kw": "计入功率（kW）",
    "ratio": "响应比",
    "in_band": "在 90–110 % 内",
    "rebound_kw": "反弹功率（kW）",
    "missing_readings": "缺失读数",
    "interpolated_readings": "插补读数",
}
_ROWS: Mapping[str, str] = {"window": "全窗口", "hour": "小时", "aggregator_hour": "聚合商小时", "rebound": "反弹"}


class _Kept(BaseModel):
    """The part of ``EventRecord.evaluation`` that is shown; a later version may keep more."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    ordered_kw: float
    delivered_kw: float
    credited_kw: float | None = None
    ratio_by_hour: tuple[float | None, ...] = ()
    rebound_kw_by_hour: tuple[float, ...] = ()
    missing_readings: int = 0
    interpolated_readings: int = 0
    by_aggregator: dict[str, tuple[float | None, ...]] = {}


@dataclass(frozen=True, slots=True)
class Hour:
    """One clock hour, or the part of it inside the window; kW are None where only the ratio was kept."""

    start: datetime
    end: datetime
    ratio: float | None
    ordered_kw: float | None = None
    delivered_kw: float | None = None

    @property
    def in_band(self) -> bool | None:
        """Within 90 to 110 %, edges included to 1e-9; None where nothing was ordered."""
        return None if self.ratio is None else BAND[0] - 1e-9 <= self.ratio <= BAND[1] + 1e-9


@dataclass(frozen=True)
class Evaluation:
    """An event, judged; ``whole`` False: only what concerns the aggregators named, for one of them to read."""

    event_id: str
    direction: str
    status: str
    start: datetime
    end: datetime
    zone: ZoneInfo
    ordered_kw: float
    delivered_kw: float
    credited_kw: float | None
    hours: tuple[Hour, ...]
    rebound_kw_by_hour: tuple[float, ...]
    missing_readings: int
    interpolated_readings: int
    by_aggregator: Mapping[str, tuple[Hour, ...]]
    whole: bool = True

    @classmethod
    def of(
        cls, record: EventRecord, zone: ZoneInfo, performance: EventPerformance | None = None
    ) -> "Evaluation | None":
        """Of a record that was judged, else None; with its ``performance`` at hand hours have kW too."""
        if record.evaluation is None:
            return None
        event, kept = record.event, _Kept.model_validate(record.evaluation)
        spans = clock_hours(event.start, event.end, zone)

        def hours(ratios: Sequence[float | None], judged: Sequence[HourResult] | None) -> tuple[Hour, ...]:
            if judged is not None:
                return tuple(Hour(h.start, h.end, h.ratio, h.ordered_kw, h.delivered_kw) for h in judged)
            return tuple(Hour(*span, ratio) for span, ratio in zip(spans, ratios, strict=False))

        judged = {} if performance is None else performance.by_aggregator
        return cls(
            event_id=event.event_id,
            direction=event.direction.value,
            status=record.status.value,
            start=event.start,
            end=event.end,
            zone=zone,
            ordered_kw=kept.ordered_kw,
            delivered_kw=kept.delivered_kw,
            credited_kw=kept.credited_kw,
            hours=hours(kept.ratio_by_hour, None if performance is None else performance.hours),
            rebound_kw_by_hour=kept.rebound_kw_by_hour,
            missing_readings=kept.missing_readings,
            interpolated_readings=kept.interpolated_readings,
            by_aggregator={
                name: hours(ratios, judged.get(name)) for name, ratios in sorted(kept.by_aggregator.items())
            },
        )

    def narrowed(self, aggregator_id: str) -> "Evaluation":
        """What one aggregator may see: its own hours, nothing of others or of the city."""
        mine = {name: hours for name, hours in self.by_aggregator.items() if name == aggregator_id}
        return replace(self, by_aggregator=mine, whole=False)


def evaluation_json(evaluation: Evaluation) -> Iterator[str]:
    """All figures with the hours that they are of; times RFC 3339 in the market's zone."""
    teller = Teller(evaluation.zone)
    facts: dict[str, Any] = {
        "event_id": evaluation.event_id,
        "direction": evaluation.direction,
        "status": evaluation.status,
        "time_zone": str(evaluation.zone),
        "start": teller.time(evaluation.start),
        "end": teller.time(evaluation.end),
        "band": list(BAND),
    }
    if evaluation.whole:
        facts |= {
            "ordered_kw": evaluation.ordered_kw,
            "delivered_kw": evaluation.delivered_kw,
            "credited_kw": evaluation.credited_kw,
            "missing_readings": evaluation.missing_readings,
            "interpolated_readings": evaluation.interpolated_readings,
            "hours": [_hour(teller, hour) for hour in evaluation.hours],
            "rebound": [
                {"start": teller.time(start), "end": teller.time(end), "rebound_kw": kw}
                for start, end, kw in rebound_of(evaluation)
            ],
        }
    facts["by_aggregator"] = {
        name: [_hour(teller, hour) for hour in hours] for name, hours in evaluation.by_aggregator.items()
    }
    yield json.dumps(finite(facts), indent=1, allow_nan=False) + "\n"


def evaluation_csv(evaluation: Evaluation, *, language: Language = "en") -> Iterator[str]:
    """One table: a row for the window, for each hour, each hour of an aggregator, each hour of rebound."""
    teller = Teller(evaluation.zone)
    head = list(HEAD.values() if language == "zh" else HEAD)

    def row(kind: str, start: datetime, end: datetime, **more: object) -> list[str]:
        values: dict[str, object] = {
            "event_id": harmless(evaluation.event_id),
            "row": _ROWS[kind] if language == "zh" else kind,
            "start": teller.time(start),
            "end": teller.time(end),
            **more,
        }
        return [_cell(values.get(name)) for name in HEAD]

    def rows() -> Iterator[list[str]]:
        if evaluation.whole:
            yield row(
                *("window", evaluation.start, evaluation.end),
                ordered_kw=evaluation.ordered_kw,
                delivered_kw=evaluation.delivered_kw,
                credited_kw=evaluation.credited_kw,
                missing_readings=evaluation.missing_readings,
                interpolated_readings=evaluation.interpolated_readings,
            )
            for hour in evaluation.hours:
                yield row("hour", hour.start, hour.end, **_of(hour))
        for name, hours in evaluation.by_aggregator.items():
            for hour in hours:
                yield row("aggregator_hour", hour.start, hour.end, aggregator_id=harmless(name), **_of(hour))
        if evaluation.whole:
            for start, end, kw in rebound_of(evaluation):
                yield row("rebound", start, end, rebound_kw=kw)

    return csv_chunks(head, rows())


def rebound_of(evaluation: Evaluation) -> list[tuple[datetime, datetime, float]]:
    """The hours after the end, with what came back in each."""
    hour = timedelta(hours=1)
    return [
        (evaluation.end + k * hour, evaluation.end + (k + 1) * hour, kw)
        for k, kw in enumerate(evaluation.rebound_kw_by_hour)
    ]


def _of(hour: Hour) -> dict[str, object]:
    return {
        "ordered_kw": hour.ordered_kw,
        "delivered_kw": hour.delivered_kw,
        "ratio": hour.ratio,
        "in_band": hour.in_band,
    }


def _hour(teller: Teller, hour: Hour) -> dict[str, object]:
    return {"start": teller.time(hour.start), "end": teller.time(hour.end), **_of(hour)}


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value) if isinstance(value, float) else str(value)
