"""A load forecast from a file, as it was known at the moment of a decision.

A forecast file may hold many issues of the same hour.  For every interval we take the newest issue that is
not later than the decision; nothing that was issued afterwards is looked at.  A file without issue times is
taken as known
(its giver answers for that), and says so in its repairs.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Unpack

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from adapters.feeds.load_file import LoadSeries, series_from
from adapters.feeds.load_options import LoadOptions
from adapters.feeds.load_repairs import Repair, moment
from adapters.feeds.load_table import LoadTable, as_labels, as_numbers, read_frame, read_table, words
from adapters.feeds.load_times import common_step, microseconds, resolve_starts
from models.errors import InputError, InputFault

ISSUE_WORDS = frozenset({"issue", "issued"})


def read_forecast(
    path: Path,
    *,
    decision_time: datetime,
    issue_column: str | None = None,
    lead_column: str | None = None,
    **options: Unpack[LoadOptions],
) -> LoadSeries:
    """Read the forecast that was known at ``decision_time`` (``LoadOptions`` says how to read).

    ``issue_column``: when each row was issued; a column whose name says "issued" is used unasked.
    ``lead_column``: a file with lead times in days and no issue time is taken to be issued by the end of the
    day so many days before. ``InputError`` if nothing had been issued by then.
    """
    columns = _columns(path)
    issue_column = issue_column or next((name for name in columns if ISSUE_WORDS & words(name)), None)
    lead_column = lead_column or next((name for name in columns if words(name) >= {"lead", "days"}), None)
    options["time_column"] = options.get("time_column") or _target_column(columns, issue_column)
    also = tuple(name for name in (issue_column, lead_column) if name is not None)
    table = read_table(path, options, also)
    unit = options.get("unit", "MW")
    issued = _issue_times(table, issue_column, lead_column, options.get("time_format"))
    step = options.get("resolution") or _step_within_issues(table, issued)
    if issued is None:
        note = Repair("no_issue_time", "the file has no issue times: taken as known at the decision", len(table.row))
        return series_from(replace(table, repairs=(*table.repairs, note)), unit, step)
    decision_us = microseconds(decision_time - moment(0))
    times = resolve_starts(table.labels, table.zone, step, at_end=table.label == "end", group=issued)
    known = np.flatnonzero((issued <= decision_us) & ~times.nonexistent)
    if not len(known):
        first = moment(int(issued.min())).isoformat()
        rule = f"must hold an issue not later than the decision; the first was issued {first}"
        raise InputError([InputFault(table.place, issue_column or "issue", decision_time.isoformat(), rule)])
    ordered = known[np.lexsort((issued[known], times.start_us[known]))]
    newest = ordered[np.append(np.diff(times.start_us[ordered]) != 0, True)]
    chosen = replace(
        table,
        labels=pd.DatetimeIndex(times.start_us[newest].astype("datetime64[us]")).tz_localize("UTC"),
        label="start",
        values=table.values[newest],
        suspect=table.suspect[newest],
        row=table.row[newest],
    )
    return replace(series_from(chosen, unit, step), issued_at=moment(int(issued[newest].max())))


def _columns(path: Path) -> list[str]:
    return [str(name).strip() for name in read_frame(path).columns]


def _target_column(columns: list[str], issue_column: str | None) -> str | None:
    """The time column beside the issue time, where only one is left that is named ts, time, interval or start."""
    rest = [name for name in columns if name != issue_column and {"ts", "time", "interval", "start"} & words(name)]
    return rest[0] if issue_column is not None and len(rest) == 1 else None


def _issue_times(
    table: LoadTable, issue_column: str | None, lead_column: str | None, time_format: str | None
) -> NDArray[np.int64] | None:
    """When each row was issued, microseconds UTC, or None if the file does not say."""
    if issue_column is not None:
        labels = as_labels(table.place, issue_column, table.frame[issue_column], time_format)
        zone = table.zone.key if labels.tz is None else None
        aware = (
            labels
            if zone is None
            else labels.tz_localize(zone, ambiguous=np.zeros(len(labels), bool), nonexistent="shift_forward")
        )
        return np.asarray(aware.tz_convert("UTC").as_unit("us").asi8)
    if lead_column is None:
        return None
    lead = as_numbers(table.place, lead_column, table.frame[lead_column])
    if table.labels.tz is None:
        local = table.labels.tz_localize(table.zone, ambiguous=np.zeros(len(lead), bool), nonexistent="shift_forward")
    else:
        local = table.labels.tz_convert(table.zone)
    midnight = local.tz_localize(None).normalize() - pd.to_timedelta(lead - 1, unit="D")
    issued = midnight.tz_localize(table.zone, ambiguous=np.zeros(len(lead), bool), nonexistent="shift_forward")
    return np.asarray(issued.tz_convert("UTC").as_unit("us").asi8)


def _step_within_issues(table: LoadTable, issued: NDArray[np.int64] | None) -> timedelta:
    """The usual step between the rows of one issue."""
    if issued is None:
        return common_step(table.labels)
    order = np.lexsort((table.labels.asi8, issued))
    inside = np.diff(issued[order]) == 0
    steps = np.diff(table.labels.as_unit("us").asi8[order])[inside]
    values, counts = np.unique(steps[steps > 0], return_counts=True)
    if not len(values):
        raise InputError(
            [InputFault(table.place, table.time_column, len(table.row), "needs at least two rows an issue")]
        )
    return timedelta(microseconds=int(values[np.argmax(counts)]))
