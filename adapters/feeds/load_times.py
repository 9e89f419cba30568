"""When was it? Time labels of a load file, as they stand there, turned into starts of intervals in UTC.

A label may carry an offset, be naive UTC, or be naive local time.  Naive local labels are the difficult ones:
on the spring day an hour of the clock does not exist, on the autumn day one stands twice.  Two customs of
labelling the end of an interval are both found in published files; they differ only around the autumn hour:

- *clock arithmetic*: label = start on the clock + length.  The hour [01:00, 02:00) of either offset is
  "02:00".
- *instant*: label = the wall clock when the interval ended.  The hour that ended when clocks went back is
  "01:00".

We take the one that leaves fewer labels unexplained.
"""

from dataclasses import dataclass
from datetime import timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.errors import InputError, InputFault

Microseconds = NDArray[np.int64]
SHOWN_FAULTS = 20


@dataclass(frozen=True)
class ResolvedTimes:
    """Starts of the rows, int64 microseconds since 1970 UTC, and which of them stand at times that never were."""

    start_us: Microseconds
    nonexistent: NDArray[np.bool_]
    doubtful: int


def microseconds(span: timedelta) -> int:
    """Length in whole microseconds."""
    return span // timedelta(microseconds=1)


def parse_labels(place: str, column: str, values: "pd.Series[str]", time_format: str | None) -> pd.DatetimeIndex:
    """Text labels as naive times, or as UTC where every label has an offset; ``InputError`` names every bad row."""
    text = values.astype(str).str.strip()
    has_offset = text.str.contains(r"(?:[+-]\d{2}:?\d{2}|[zZ])$", regex=True)
    if has_offset.any() and not has_offset.all():
        row = int(np.flatnonzero((~has_offset if has_offset.mean() > 0.5 else has_offset).to_numpy())[0])
        rule = "must carry an offset like the other rows, or none like them"
        raise InputError([InputFault(place, column, text.iloc[row], rule, row + 1)])
    offset = bool(has_offset.all()) and len(text) > 0
    parsed = pd.to_datetime(text, format=time_format or "ISO8601", errors="coerce", utc=offset)
    bad = np.flatnonzero(parsed.isna().to_numpy())
    if len(bad):
        wanted = time_format or "ISO 8601 (2013-07-19T14:05:00, with or without offset)"
        rule = f"must be a time of the form {wanted}; another form is read with a time format by option"
        raise InputError([InputFault(place, column, text.iloc[row], rule, int(row) + 1) for row in bad[:SHOWN_FAULTS]])
    return pd.DatetimeIndex(parsed)


def _as_us(times: pd.DatetimeIndex) -> Microseconds:
    return np.asarray(times.as_unit("us").asi8, dtype=np.int64)


def _localise(naive: pd.DatetimeIndex, zone: ZoneInfo, group: NDArray[np.int64] | None) -> ResolvedTimes:
    """Naive clock times in ``zone``: of a repeated clock time the first row is the earlier one, the second
    the later.
    """
    keys = pd.DataFrame({"label": np.asarray(naive), "group": 0 if group is None else group})
    order = keys.groupby(["label", "group"]).cumcount().to_numpy()
    early = naive.tz_localize(zone, ambiguous=np.ones(len(naive), dtype=bool), nonexistent="NaT")
    late = naive.tz_localize(zone, ambiguous=np.zeros(len(naive), dtype=bool), nonexistent="NaT")
    nonexistent = np.asarray(early.isna())
    early_us, late_us = _as_us(early.tz_convert("UTC")), _as_us(late.tz_convert("UTC"))
    repeated = (early_us != late_us) & ~nonexistent
    start_us = np.where(repeated & (order >= 1), late_us, early_us)
    # A label that stands twice where the clock does not repeat, or three times where it does, is a duplicate.
    doubtful = int(nonexistent.sum() + ((order >= 1) & ~repeated).sum() + ((order >= 2) & repeated).sum())
    return ResolvedTimes(start_us, nonexistent, doubtful)


def resolve_starts(
    labels: pd.DatetimeIndex,
    zone: ZoneInfo,
    resolution: timedelta,
    *,
    at_end: bool,
    group: NDArray[np.int64] | None = None,
) -> ResolvedTimes:
    """Starts of all rows in UTC.  ``labels``: aware, or naive in ``zone``, in their order of appearance.

    ``group``: rows of different groups (issues of a forecast) are different series that may share labels.
    """
    shift = pd.Timedelta(resolution) if at_end else pd.Timedelta(0)
    if labels.tz is not None:
        moments = _as_us(labels.tz_convert("UTC") - shift)
        return ResolvedTimes(moments, np.zeros(len(moments), dtype=bool), 0)
    by_clock = _localise(labels - shift, zone, group)
    if not at_end or by_clock.doubtful == 0:
        return by_clock
    at_instant = _localise(labels, zone, group)
    if at_instant.doubtful < by_clock.doubtful:
        starts = at_instant.start_us - microseconds(resolution)
        return ResolvedTimes(starts, at_instant.nonexistent, at_instant.doubtful)
    return by_clock


def common_step(labels: pd.DatetimeIndex) -> timedelta:
    """The step that occurs most often between neighbouring labels (zero steps left out)."""
    steps = np.abs(np.diff(_as_us(labels)))
    values, counts = np.unique(steps[steps > 0], return_counts=True)
    return timedelta(microseconds=int(values[np.argmax(counts)])) if len(values) else timedelta(0)
