"""The result folder: what a demo, a replay or a real event leaves behind, and the only thing a report is made of.

``summary.json`` holds the figures (all ``_kw`` at the size of the fleet that was dispatched: ``scale`` says which part
of the full portfolio that is); the tables hold the curves, in Parquet.  Times are aware UTC; power is kW, the mean over
the interval, positive when consuming; *delivered* and *ordered* are positive in the direction of the event.

===========  =================================  ======================================================================
table        one row per                        what it holds
===========  =================================  ======================================================================
city         interval of the day                load without (true counterfactual) and with the events, forecast, limit
delivery     event, interval of its window      ordered, delivered (b - metered), truly delivered (counterfactual)
kinds        interval, resource kind            metered power, baseline b, true counterfactual
aggregators  event, aggregator, clock hour      accepted, delivered; hours of the market zone
devices      interval                           how many were online, silent, refusing, dispatchable
journal      thing that happened                who did what, in Chinese and English
===========  =================================  ======================================================================
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Literal, Self

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from models.errors import InputError, InputFault
from models.events import Direction
from models.units import Count, Identifier, Kw, NonNegativeKw, UtcTime

SUMMARY = "summary.json"
TIME, KW, OPTIONAL_KW, WORD, COUNT = "time", "kw", "kw or nothing", "word", "count"
TABLES: Mapping[str, Mapping[str, str]] = {
    "city": {
        "interval_start": TIME,
        "load_without_kw": KW,
        "load_with_kw": KW,
        "forecast_kw": OPTIONAL_KW,
        "limit_kw": OPTIONAL_KW,
    },
    "delivery": {
        "event_id": WORD,
        "interval_start": TIME,
        "ordered_kw": KW,
        "delivered_kw": KW,
        "true_delivered_kw": OPTIONAL_KW,
    },
    "kinds": {
        "interval_start": TIME,
        "kind": WORD,
        "power_kw": KW,
        "baseline_kw": KW,
        "true_without_kw": OPTIONAL_KW,
    },
    "aggregators": {
        "event_id": WORD,
        "aggregator_id": WORD,
        "name_zh": WORD,
        "name_en": WORD,
        "hour_start": TIME,
        "accepted_kw": KW,
        "delivered_kw": KW,
    },
    "devices": {
        "interval_start": TIME,
        "online": COUNT,
        "silent": COUNT,
        "refusing": COUNT,
        "dispatchable": COUNT,
    },
    "journal": {"at": TIME, "who": WORD, "what_zh": WORD, "what_en": WORD},
}
"""Columns of every table, and what they hold; no other columns are allowed."""

ARROW_TYPES = {
    TIME: pa.timestamp("us", tz="UTC"),
    KW: pa.float64(),
    OPTIONAL_KW: pa.float64(),
    WORD: pa.string(),
    COUNT: pa.int64(),
}


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Text(_Part):
    """One sentence in both languages."""

    zh: str
    en: str


class Source(_Part):
    """Where one figure of the scenario comes from; ``basis`` says how far to trust it."""

    what: Text
    value: str
    basis: Literal["published", "measured", "derived", "assumption"]
    source: str


class EventResult(_Part):
    """One event, ordered and judged.

    ``five_percent_kw``: the target share of the reference peak; ``callable_kw``: firm with margin when
    declared; ``delivered_kw``, ``true_delivered_kw``: mean over the window; ``ratio_by_hour``: delivered /
    ordered in each clock hour of the market zone, the part inside the window (None where nothing was
    ordered).
    """

    event_id: Identifier
    start: UtcTime
    end: UtcTime
    five_percent_kw: NonNegativeKw
    callable_kw: NonNegativeKw
    ordered_kw: NonNegativeKw
    delivered_kw: Kw
    true_delivered_kw: Kw | None
    ratio_by_hour: tuple[float | None, ...]
    direction: Direction = Direction.SHAVE
    scope: Text = Text(zh="全市", en="whole city")
    status: str = "evaluated"
    already_helping_by_price_kw: Kw | None = None
    rebound_kw_by_hour: tuple[float, ...] = ()
    missing_readings: Count = 0

    @model_validator(mode="after")
    def _window(self) -> Self:
        if self.end <= self.start:
            raise ValueError("end: must be later than start")
        return self


class PlanQuality(_Part):
    """How good the day-ahead plan is, and where its numbers come from."""

    status: str
    gap: float | None
    source: str = ""
    objective_cny: float | None = None
    lower_bound_cny: float | None = None
    wall_s: float | None = None
    plan_hash: str = ""
    baseline_hash: str = ""
    penalties: Mapping[str, float] = {}


class Registrations(_Part):
    """How many resources were taken into the registry, and how many were refused by name."""

    accepted: Count
    refused: Count


class Labels(_Part):
    """What must be said about a result wherever it is shown."""

    replayed: bool = False
    reconstruction: bool = False
    demand_response_was_called: bool = False
    assumptions: tuple[Text, ...] = ()


class Summary(_Part):
    """``summary.json``.  ``scale``: connected kW of this fleet / connected kW of the full portfolio."""

    scenario: str
    scenario_title_zh: str
    scenario_title_en: str
    market_day: date
    time_zone: str
    simulated: bool
    labels: Labels = Labels()
    resources: Count
    scale: float = Field(gt=0, allow_inf_nan=False)
    aggregators: Count
    events: tuple[EventResult, ...]
    peak_before_kw: Kw
    peak_after_kw: Kw
    forecast_peak_kw: Kw | None = None
    measured_peak_kw: Kw | None = None
    already_helping_by_price_kw: Kw
    rebound_kw_by_hour: tuple[float, ...]
    plan: PlanQuality
    registrations: Registrations
    readings: Count
    setpoints: Count
    acknowledged: Count
    repairs: tuple[str, ...] = ()
    sources: tuple[Source, ...] = ()
    reproduce: str = ""
    versions: Mapping[str, str] = {}
    wall_s: float = Field(ge=0, allow_inf_nan=False)


@dataclass(frozen=True)
class DayResult:
    """Everything a result folder holds; the frames have the columns of ``TABLES``."""

    summary: Summary
    city: pd.DataFrame
    delivery: pd.DataFrame
    kinds: pd.DataFrame
    aggregators: pd.DataFrame
    devices: pd.DataFrame
    journal: pd.DataFrame

    def __post_init__(self) -> None:
        faults = [fault for name in TABLES for fault in _faults(name, getattr(self, name))]
        if faults:
            raise InputError(faults)


def _faults(name: str, frame: pd.DataFrame) -> list[InputFault]:
    columns, place = TABLES[name], f"{name}.parquet"
    faults = [InputFault(place, column, None, "column is missing") for column in columns if column not in frame]
    faults += [
        InputFault(place, str(column), str(column), f"no such column; there are: {', '.join(columns)}")
        for column in frame.columns
        if column not in columns
    ]
    for column, holds in columns.items():
        if column not in frame or frame.empty:
            continue
        values = frame[column]
        if holds == TIME and not isinstance(values.dtype, pd.DatetimeTZDtype):
            faults.append(InputFault(place, column, str(values.dtype), "must be times with a zone"))
        elif holds in (KW, OPTIONAL_KW, COUNT) and values.dtype.kind not in "fiu":
            faults.append(InputFault(place, column, str(values.dtype), "must be numbers"))
        elif holds != OPTIONAL_KW and values.isna().any():
            row = int(values.isna().to_numpy().argmax()) + 1
            faults.append(InputFault(place, column, None, "must not be empty", row))
    return faults


def write_result(folder: Path, result: DayResult) -> None:
    """Write ``summary.json`` and one Parquet file per table into ``folder`` (made if absent)."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, columns in TABLES.items():
        schema = pa.schema([(column, ARROW_TYPES[holds]) for column, holds in columns.items()])
        frame = getattr(result, name)[list(columns)]
        table = pa.Table.from_pandas(frame, schema=schema, preserve_index=False)
        pq.write_table(table, folder / f"{name}.parquet")
    text = result.summary.model_dump_json(indent=2)
    (folder / SUMMARY).write_text(text + "\n", encoding="utf-8")


def read_summary(folder: Path) -> Summary:
    """``summary.json`` of a result folder; ``InputError`` names every wrong field."""
    path = folder / SUMMARY
    if not path.is_file():
        raise InputError([InputFault(str(folder), SUMMARY, str(path), "a result folder has a summary.json")])
    try:
        return Summary.model_validate_json(path.read_text(encoding="utf-8"))
    except ValidationError as error:
        faults = [
            InputFault(SUMMARY, "/".join(str(part) for part in fault["loc"]), fault["input"], fault["msg"])
            for fault in error.errors()
        ]
        raise InputError(faults) from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError([InputFault(SUMMARY, "file", str(path), f"must be JSON in UTF-8: {error}")]) from error


def _read_table(folder: Path, name: str) -> pd.DataFrame:
    path = folder / f"{name}.parquet"
    if not path.is_file():
        raise InputError([InputFault(str(folder), path.name, str(path), "a result folder has this table")])
    try:
        return pd.read_parquet(path)
    except (pa.ArrowException, ValueError, OSError) as error:
        raise InputError([InputFault(path.name, "file", str(path), f"must be Parquet: {error}")]) from error


def read_result(folder: Path) -> DayResult:
    """A result folder as it was written; ``InputError`` names every file, column or field that breaks the form."""
    return DayResult(read_summary(folder), **{name: _read_table(folder, name) for name in TABLES})
