"""A measured or forecast load curve from a CSV or Parquet file: any resolution, any zone, every fault named.

    series = read_load(path, time_zone="America/New_York", load_column="NYCA")
    series.kw_on(grid)  # mean power on a grid; InputError naming from and to where the file has a hole

What is mended is listed in ``repairs``; what cannot be mended is an ``InputError`` that names file, row,
column, value and rule.  Sign and unit: kW, positive when consuming, mean over [start, start + resolution).
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Unpack

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from adapters.feeds.load_options import KW_PER_UNIT, LoadOptions, Unit
from adapters.feeds.load_repairs import (
    Repair,
    fill_short_gaps,
    holes_by,
    merge_duplicates,
    moment,
    refuse_wrong_unit,
    spikes,
)
from adapters.feeds.load_table import LoadTable, read_table
from adapters.feeds.load_times import common_step, microseconds, resolve_starts
from models.errors import InputError, InputFault
from models.intervals import FloatArray, IntervalGrid


@dataclass(frozen=True)
class LoadSeries:
    """A load curve in equal steps: mean ``kw`` over [start + k·resolution, ...), NaN where there is no value.

    ``issued_at``: of a forecast, when the newest part of it was issued (None where the file does not say).
    ``unmended_kw``: the values before spikes were taken out and short holes filled, which looks at what came after.
    """

    place: str
    column: str
    start: datetime
    resolution: timedelta
    kw: FloatArray
    repairs: tuple[Repair, ...] = ()
    issued_at: datetime | None = None
    unmended_kw: FloatArray | None = None

    def __len__(self) -> int:
        return len(self.kw)

    @property
    def end(self) -> datetime:
        """End of the last interval."""
        return self.start + self.resolution * len(self.kw)

    @cached_property
    def starts(self) -> tuple[datetime, ...]:
        """Starts of all intervals, aware UTC."""
        return tuple(self.start + self.resolution * k for k in range(len(self.kw)))

    def before(self, moment: datetime) -> "LoadSeries":
        """The part whose intervals have ended at ``moment``, mended again from itself alone: what may be known then."""
        count = min(max((moment - self.start) // self.resolution, 0), len(self.kw))
        raw = self.kw[:count] if self.unmended_kw is None else self.unmended_kw[:count]
        kw, _ = _mended(raw, self.start, self.resolution)
        return replace(self, kw=kw, unmended_kw=raw)

    def gaps(self, start: datetime, end: datetime) -> list[tuple[datetime, datetime]]:
        """Spans of [start, end) for which there is no value."""
        first = (start - self.start) // self.resolution
        last = -((self.start - end) // self.resolution)
        known = np.array([0 <= k < len(self.kw) and bool(np.isfinite(self.kw[k])) for k in range(first, last)])
        edges = np.flatnonzero(np.diff(np.concatenate([[False], ~known, [False]]).astype(np.int8)))
        return [
            (
                max(self.start + self.resolution * (first + int(begin)), start),
                min(self.start + self.resolution * (first + int(stop)), end),
            )
            for begin, stop in zip(edges[::2], edges[1::2], strict=True)
        ]

    def require(self, start: datetime, end: datetime) -> None:
        """``InputError`` naming from and to of every hole in [start, end)."""
        faults = [
            InputFault(
                self.place,
                self.column,
                None,
                f"must have values from {begin.isoformat()} to {stop.isoformat()} "
                f"({(stop - begin).total_seconds() / 3600:.6g} h missing; holes of at most 1 h are filled)",
            )
            for begin, stop in self.gaps(start, end)
        ]
        if faults:
            raise InputError(faults)

    def kw_on(self, grid: IntervalGrid) -> FloatArray:
        """Mean power on every interval of ``grid``, (T,): coarser is averaged, finer inherits.  Holes are an error."""
        self.require(grid.start, grid.end)
        first = max((grid.start - self.start) // self.resolution, 0)
        last = min(-((self.start - grid.end) // self.resolution), len(self.kw))
        step_h = self.resolution.total_seconds() / 3600
        energy = np.concatenate([[0.0], np.cumsum(self.kw[first:last] * step_h)])
        known_h = np.arange(len(energy)) * step_h
        offset_h = (grid.start - self.start - self.resolution * first).total_seconds() / 3600
        return np.asarray(np.diff(np.interp(grid.offsets_h + offset_h, known_h, energy)) / grid.hours)


def read_load(path: Path, **options: Unpack[LoadOptions]) -> LoadSeries:
    """Read one load curve (``LoadOptions`` says how)."""
    return series_from(read_table(path, options), options.get("unit", "MW"), options.get("resolution"))


def series_from(table: LoadTable, unit: Unit, resolution: timedelta | None) -> LoadSeries:
    """Order, check and mend the rows of one curve."""
    if unit not in KW_PER_UNIT:
        raise InputError([InputFault(table.place, "unit", unit, f"must be one of {', '.join(KW_PER_UNIT)}")])
    step = _resolution(table, resolution)
    table, repairs = _oldest_first(table)
    times = resolve_starts(table.labels, table.zone, step, at_end=table.label == "end")
    start_us, keep = times.start_us, ~times.nonexistent
    if times.nonexistent.any():
        what = f"rows at clock times that {table.zone.key} skips, dropped (is the file really in this zone?)"
        at = np.flatnonzero(times.nonexistent)
        if not _fills_the_spring_hour(table.labels, keep, step):
            rule = f"does not exist in {table.zone.key} (clocks go forward)"
            shown = table.labels[at[0]].isoformat()
            raise InputError([InputFault(table.place, table.time_column, shown, rule, int(table.row[at[0]]))])
        repairs.append(Repair("clock_skips", what, len(at)))
    kw = table.values[keep] * KW_PER_UNIT[unit]
    start_us, row, suspect = start_us[keep], table.row[keep], table.suspect[keep]
    order = np.argsort(start_us, kind="stable")
    if (np.diff(start_us) < 0).any():
        repairs.append(Repair("unsorted", "rows put in order of time", int((np.diff(start_us) < 0).sum())))
    start_us, kw, row, suspect = start_us[order], kw[order], row[order], suspect[order]
    repairs += holes_by("suspect", "values marked as suspect taken as holes", suspect, start_us)
    kw = np.where(suspect, np.nan, kw)
    dropout = kw <= 0
    repairs += holes_by("dropout", "values of zero or less taken as holes", dropout, start_us)
    kw = np.where(dropout, np.nan, kw)
    start_us, kw, row, merged = merge_duplicates(table.place, table.load_column, start_us, kw, row)
    refuse_wrong_unit(table.place, table.load_column, unit, kw, row)
    raw, start = _on_steps(table, start_us, kw, row, step)
    kw, mended = _mended(raw, start, step)
    found = (*table.repairs, *repairs, *merged, *mended)
    return LoadSeries(table.place, table.load_column, start, step, kw, found, unmended_kw=raw)


def _mended(raw_kw: FloatArray, start: datetime, step: timedelta) -> tuple[FloatArray, list[Repair]]:
    """Spikes taken out, short holes filled by a straight line."""
    full_us = microseconds(start - moment(0)) + np.arange(len(raw_kw), dtype=np.int64) * microseconds(step)
    spike = spikes(raw_kw, step)
    kw, filled = fill_short_gaps(np.where(spike, np.nan, raw_kw), step, full_us)
    return kw, [*holes_by("spike", "values far off their neighbours taken as holes", spike, full_us), *filled]


def _resolution(table: LoadTable, asked: timedelta | None) -> timedelta:
    found = common_step(table.labels)
    if asked is None and not found:
        raise InputError([InputFault(table.place, table.time_column, len(table.row), "needs at least two rows")])
    if asked is not None and found and asked != found:
        rule = f"the file's rows are {found} apart, not {asked} as asked"
        raise InputError([InputFault(table.place, table.time_column, str(asked), rule)])
    return asked or found


def _oldest_first(table: LoadTable) -> tuple[LoadTable, list[Repair]]:
    """A file that runs backwards is turned round first: which of two equal clock times came first depends on it."""
    steps = np.diff(table.labels.asi8)
    if not len(steps) or (steps < 0).sum() <= (steps > 0).sum():
        return table, []
    turned = replace(
        table,
        labels=table.labels[::-1],
        values=table.values[::-1],
        suspect=table.suspect[::-1],
        row=table.row[::-1],
    )
    return turned, [Repair("newest_first", "the file runs backwards: read from its end", len(table.row))]


def _fills_the_spring_hour(labels: pd.DatetimeIndex, keep: NDArray[np.bool_], step: timedelta) -> bool:
    """True if the file writes 24 hours on every day: the skipped hour is there in full, between its neighbours."""
    before = pd.Index(labels[~keep]) - pd.Timedelta(step)
    return bool(before.isin(labels).all())


def _on_steps(
    table: LoadTable, start_us: NDArray[np.int64], kw: FloatArray, row: NDArray[np.int64], step: timedelta
) -> tuple[FloatArray, datetime]:
    """Rows put on equal steps from the first; steps without a row are NaN."""
    step_us = microseconds(step)
    place, off = np.divmod(start_us - start_us[0], step_us)
    if off.any():
        at = int(np.flatnonzero(off)[0])
        rule = f"must lie whole steps of {step} after the first row"
        shown = moment(int(start_us[at])).isoformat()
        raise InputError([InputFault(table.place, table.time_column, shown, rule, int(row[at]))])
    count = int(place[-1]) + 1
    if count > 20 * len(kw) + 1000:
        rule = f"the rows span {count} steps of {step} but there are only {len(kw)}: are most of them missing?"
        raise InputError([InputFault(table.place, table.time_column, len(kw), rule)])
    full = np.full(count, np.nan)
    full[place] = kw
    return full, moment(int(start_us[0]))
