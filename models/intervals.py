"""Grids of intervals: contiguous, half open, aware UTC, possibly of different lengths."""

import itertools
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from models.errors import InputError, InputFault

FloatArray = NDArray[np.float64]


def _utc(moment: datetime, field: str) -> datetime:
    if moment.utcoffset() is None:
        raise InputError([InputFault("grid", field, moment.isoformat(), "must be aware times")])
    return moment.astimezone(UTC)


@dataclass(frozen=True)
class IntervalGrid:
    """T contiguous intervals given by their T+1 edges (aware UTC, strictly rising).

    Power on a grid is the mean over [edge_t, edge_{t+1}); energy is the level at edge_{t+1}.
    """

    edges: tuple[datetime, ...]

    def __post_init__(self) -> None:
        if len(self.edges) < 2:
            raise InputError([InputFault("grid", "edges", len(self.edges), "needs at least two edges")])
        if any(edge.tzinfo is not UTC for edge in self.edges):
            object.__setattr__(self, "edges", tuple(_utc(edge, "edges") for edge in self.edges))
        # Only now: two times of one zone compare by the clock on the wall, which an autumn night turns back.
        for before, after in itertools.pairwise(self.edges):
            if after <= before:
                raise InputError([InputFault("grid", "edges", after.isoformat(), "must be strictly rising")])

    @classmethod
    def regular(cls, start: datetime, step: timedelta, count: int) -> "IntervalGrid":
        """``count`` intervals of equal length from ``start``."""
        first = _utc(start, "start")
        return cls(tuple(first + step * k for k in range(count + 1)))

    @classmethod
    def market_day(cls, day: date, zone: ZoneInfo, step: timedelta, until: datetime | None = None) -> "IntervalGrid":
        """The market day of ``zone`` (23, 24 or 25 hours), continued in equal steps to ``until`` if that is later."""
        start = datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)
        following = day + timedelta(days=1)
        end = datetime(following.year, following.month, following.day, tzinfo=zone).astimezone(UTC)
        if until is not None:
            end = max(end, _utc(until, "until"))
        return cls.regular(start, step, -(-(end - start) // step))

    @classmethod
    def real_time(
        cls,
        now: datetime,
        *,
        fine: timedelta = timedelta(minutes=5),
        fine_span: timedelta = timedelta(hours=2),
        coarse: timedelta = timedelta(minutes=30),
        span: timedelta = timedelta(hours=14),
        windows: Sequence[tuple[datetime, datetime]] = (),
    ) -> "IntervalGrid":
        """The real-time horizon of ``dispatch-model`` §1 from ``now``.

        Fine steps for ``fine_span`` and on to the next multiple of ``coarse``; then clock-aligned coarse
        steps to at least ``span`` and to 6 h past every window that begins inside; split at every edge of
        ``windows``.
        """
        start = _utc(now, "now")
        spans = sorted((_utc(first, "windows"), _utc(last, "windows")) for first, last in windows)
        midnight = start.replace(hour=0, minute=0, second=0, microsecond=0)
        fine_end = start + fine_span
        coarse_start = midnight + coarse * (-(-(fine_end - midnight) // coarse))
        fine_count = -(-(coarse_start - start) // fine)
        edges = {start + fine * k for k in range(fine_count)}
        end = coarse_start + coarse * (-(-(start + span - coarse_start) // coarse))
        for window_start, window_end in spans:
            if window_start < end:
                wanted = window_end + timedelta(hours=6)
                end = max(end, coarse_start + coarse * (-(-(wanted - coarse_start) // coarse)))
        edges.update(coarse_start + coarse * k for k in range((end - coarse_start) // coarse + 1))
        edges.update(edge for window in spans for edge in window if start < edge < end)
        return cls(tuple(sorted(edges)))

    def __len__(self) -> int:
        return len(self.edges) - 1

    @property
    def starts(self) -> tuple[datetime, ...]:
        """Interval starts, length T."""
        return self.edges[:-1]

    @property
    def ends(self) -> tuple[datetime, ...]:
        """Interval ends, length T."""
        return self.edges[1:]

    @property
    def start(self) -> datetime:
        """Start of the horizon."""
        return self.edges[0]

    @property
    def end(self) -> datetime:
        """End of the horizon."""
        return self.edges[-1]

    @cached_property
    def offsets_h(self) -> FloatArray:
        """Hours from the start of the horizon to every edge, shape (T+1,)."""
        return np.array([(edge - self.edges[0]).total_seconds() / 3600 for edge in self.edges])

    @cached_property
    def hours(self) -> FloatArray:
        """Δ_t, the length of every interval in hours, shape (T,); exactly equal where the lengths are."""
        return np.array([(b - a).total_seconds() / 3600 for a, b in itertools.pairwise(self.edges)])

    @property
    def tau_h(self) -> FloatArray:
        """τ_t, hours from the start of the horizon to the start of every interval, shape (T,)."""
        return self.offsets_h[:-1]

    def hours_since_start(self, moment: datetime) -> float:
        """Hours from the start of the horizon to ``moment`` (negative before it)."""
        return (moment - self.edges[0]).total_seconds() / 3600

    def index_at(self, moment: datetime) -> int | None:
        """Index of the interval that holds ``moment``, or None outside the horizon."""
        if not self.start <= moment < self.end:
            return None
        return bisect_right(self.edges, moment) - 1

    def overlap_h(self, start: datetime, end: datetime) -> FloatArray:
        """Hours of every interval that lie inside [start, end), shape (T,)."""
        low, high = self.hours_since_start(start), self.hours_since_start(end)
        shared = np.minimum(self.offsets_h[1:], high) - np.maximum(self.offsets_h[:-1], low)
        return np.asarray(np.clip(shared, 0, None), dtype=np.float64)

    def inside(self, start: datetime, end: datetime) -> NDArray[np.bool_]:
        """True for every interval that lies wholly inside [start, end), shape (T,)."""
        return np.array([start <= a and b <= end for a, b in itertools.pairwise(self.edges)], dtype=np.bool_)

    def mean_from(self, other: "IntervalGrid", values: FloatArray) -> FloatArray:
        """Time-weighted mean of ``values`` (…, other T) on this grid, (…, T).

        NaN where ``other`` does not reach; where it covers a part of an interval, the mean of that part.  A
        NaN or an infinity spoils the intervals that it touches, and no others.
        """
        weights = np.array([other.overlap_h(s, e) for s, e in zip(self.starts, self.ends, strict=True)])
        weights[weights < 1e-10] = 0.0  # what rounding leaves of neighbours (a microsecond is 2.8e-10 h)
        covered = weights.sum(axis=1)
        given = np.asarray(values, dtype=np.float64)
        known = np.isfinite(given)
        sums = np.where(known, given, 0.0) @ weights.T
        means = np.divide(sums, covered, out=np.full(sums.shape, np.nan), where=covered > 0)
        if not known.all():
            for odd in (np.inf, -np.inf, np.nan):
                there = np.isnan(given) if np.isnan(odd) else given == odd
                means[there.astype(np.float64) @ weights.T > 0] = odd
        return np.asarray(means)

    def restrict(self, keep: Iterable[bool]) -> "IntervalGrid":
        """The contiguous part of this grid where ``keep`` is true; ``InputError`` if there is none."""
        kept = [k for k, wanted in enumerate(keep) if wanted]
        if not kept or kept[-1] - kept[0] + 1 != len(kept):
            raise InputError([InputFault("grid", "keep", kept, "must be one contiguous part of the grid")])
        return IntervalGrid(self.edges[kept[0] : kept[-1] + 2])
