r"""Performance: what an event delivered, judged against the one baseline table of the market day.

    (P1)  q_{i,t} = b_{i,t} - m_{i,t}      shave; fill: q_{i,t} = m_{i,t} - b_{i,t}       [kW]
    (P2)  ratio_h = Σ_{t in h} Δ_t Σ_i q_{i,t} / Σ_{t in h} Δ_t ordered_t
    (P3)  rebound_k = Σ_i mean (m - b)     over hour k = 1 … 6 after the end, both ways   [kW]
    (P4)  price alone = Σ_i mean (u - b)   over the window; fill: b - u                   [kW]

======  ===============  ====  ==============================================================================
symbol  name here        unit  meaning
b       baseline_kw      kW    the baseline, (R, T): profile of loads, price-only schedule of all other kinds
m       metered_kw       kW    measured, (R, T), after ``without_gaps``
u       undispatched_kw  kW    what the device does if nobody tells it anything, see ``undispatched``
h       hour             -     clock hour of the market zone: the part of it inside the window
======  ===============  ====  ==============================================================================

*Delivered* is positive in the direction of the event, whatever that is.  An event delivers in every interval of its
window; ratios outside 0.9 … 1.1 are misses in both directions.  (P4) is what the tariff alone already moved out of
the window before any event was called: it is reported beside the event's delivery and never inside it, because b
holds it.

Missing readings, policy ``gap15``: a gap of at most 15 minutes between two readings of a resource is a straight line;
anything longer is counted as b, so that it delivers nothing, and is counted in ``missing``.

Source: dispatch-model §1 and §5; the 90 % and 110 % edges are Sichuan's settlement (domain notes §0, second hand).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from models.errors import InputError, InputFault
from models.events import Direction
from models.intervals import FloatArray, IntervalGrid

BAND = (0.9, 1.1)
LONGEST_INTERPOLATED = timedelta(minutes=15)
REBOUND_HOURS = 6


@dataclass(frozen=True)
class Metered:
    """``power_kw``: (R, T) without holes; ``interpolated``, ``missing``: (R, T), which values were made up and how."""

    power_kw: FloatArray
    interpolated: NDArray[np.bool_]
    missing: NDArray[np.bool_]


def without_gaps(
    metered_kw: FloatArray,
    baseline_kw: FloatArray,
    grid: IntervalGrid,
    longest: timedelta = LONGEST_INTERPOLATED,
) -> Metered:
    """Readings (R, T) with NaN where there is none, completed by policy ``gap15``."""
    if metered_kw.shape != baseline_kw.shape or metered_kw.shape[1] != len(grid):
        shapes = (metered_kw.shape, baseline_kw.shape, len(grid))
        raise InputError([InputFault("performance", "metered_kw", shapes, "shapes must be (R, T), (R, T) and T")])
    power = np.array(metered_kw, dtype=np.float64)
    hole = ~np.isfinite(power)
    interpolated = np.zeros_like(hole)
    middle_h = (grid.offsets_h[:-1] + grid.offsets_h[1:]) / 2
    for row in np.flatnonzero(hole.any(axis=1)):
        edges = np.flatnonzero(np.diff(np.concatenate([[False], hole[row], [False]]).astype(np.int8)))
        good = ~hole[row]
        for begin, end in zip(edges[::2], edges[1::2], strict=True):
            length_h = grid.offsets_h[end] - grid.offsets_h[begin]
            if begin > 0 and end < len(grid) and length_h <= longest / timedelta(hours=1) + 1e-9:
                span = slice(begin, end)
                power[row, span] = np.interp(middle_h[span], middle_h[good], power[row, good])
                interpolated[row, span] = True
    missing = hole & ~interpolated
    return Metered(np.where(missing, baseline_kw, power), interpolated, missing)


def delivered_kw(baseline_kw: FloatArray, metered_kw: FloatArray, direction: Direction) -> FloatArray:
    """(P1), of the same shape as its inputs."""
    change = baseline_kw - metered_kw
    return change if direction is Direction.SHAVE else -change


def clock_hours(start: datetime, end: datetime, zone: ZoneInfo) -> list[tuple[datetime, datetime]]:
    """The clock hours of ``zone`` that [start, end) touches, cut to it; UTC.

    Hours are counted on the local clock, in UTC steps: on the autumn day 01:00 comes twice and is two hours.
    """
    hours, begin, last = [], start.astimezone(UTC), end.astimezone(UTC)
    while begin < last:
        local = begin.astimezone(zone)
        into_hour = timedelta(minutes=local.minute, seconds=local.second, microseconds=local.microsecond)
        stop = min(begin - into_hour + timedelta(hours=1), last)
        hours.append((begin, stop))
        begin = stop
    return hours


@dataclass(frozen=True, slots=True)
class HourResult:
    """Means over the part of one clock hour that lies in the window; ``ratio`` None where nothing was ordered."""

    start: datetime
    end: datetime
    ordered_kw: float
    delivered_kw: float

    @property
    def ratio(self) -> float | None:
        """(P2)."""
        return self.delivered_kw / self.ordered_kw if self.ordered_kw > 1e-9 else None

    @property
    def in_band(self) -> bool:
        """True within 90 to 110 % of the order (edges included, to 1e-9)."""
        return self.ratio is not None and BAND[0] - 1e-9 <= self.ratio <= BAND[1] + 1e-9

    @property
    def accuracy(self) -> float | None:
        """1 - |ratio - 1|, not below 0."""
        return None if self.ratio is None else max(0.0, 1 - abs(self.ratio - 1))


def by_hour(
    delivered: FloatArray,
    ordered: FloatArray,
    grid: IntervalGrid,
    window: tuple[datetime, datetime],
    zone: ZoneInfo,
) -> tuple[HourResult, ...]:
    """(P2) for every clock hour of the window; ``delivered``, ``ordered``: (T,) kW."""
    results = []
    for start, end in clock_hours(*window, zone):
        weight = grid.overlap_h(start, end)
        total = weight.sum()
        if total <= 0:
            continue
        mean = (float(ordered @ weight / total), float(delivered @ weight / total))
        results.append(HourResult(start, end, *mean))
    return tuple(results)


def in_band_share(hours: Sequence[HourResult]) -> float | None:
    """Share of the clock hours with an order that were delivered within the band."""
    asked = [hour for hour in hours if hour.ratio is not None]
    return sum(hour.in_band for hour in asked) / len(asked) if asked else None


def mean_over(values: FloatArray, grid: IntervalGrid, start: datetime, end: datetime) -> float:
    """Time-weighted mean of ``values`` (T,) over the part of [start, end) that the grid covers; 0 if it covers none."""
    weight = grid.overlap_h(start, end)
    total = float(weight.sum())
    return float(values @ weight / total) if total > 0 else 0.0


@dataclass(frozen=True)
class EventPerformance:
    """One event, judged. ``ratio_by_hour``, ``rebound_kw_by_hour`` as in (P2), (P3); kW are means over the window."""

    event_id: str
    hours: tuple[HourResult, ...]
    delivered_kw: float
    ordered_kw: float
    by_aggregator: dict[str, tuple[HourResult, ...]]
    rebound_kw_by_hour: tuple[float, ...]
    missing: int
    interpolated: int
    credited_kw: float | None = None
    """(O2): what of ``delivered_kw`` no narrower event has; None where events were not looked at together."""

    @property
    def ratio_by_hour(self) -> tuple[float | None, ...]:
        """Delivered over ordered in every clock hour of the window."""
        return tuple(hour.ratio for hour in self.hours)


@dataclass(frozen=True)
class JudgedEvent:
    """What an event asked, and of whom: ``ordered_kw`` (T,), the cap that delivery is judged against; rows
    ``members``
    (R,) of the scope; ``accepted_kw``: aggregator → (T,).
    """

    event_id: str
    direction: Direction
    start: datetime
    end: datetime
    ordered_kw: FloatArray
    members: NDArray[np.bool_]
    accepted_kw: dict[str, FloatArray]


def judge_event(
    event: JudgedEvent,
    grid: IntervalGrid,
    baseline_kw: FloatArray,
    metered: Metered,
    aggregator_of: Sequence[str],
    zone: ZoneInfo,
    other_windows: Sequence[tuple[datetime, datetime]] = (),
) -> EventPerformance:
    """Performance of one event; ``aggregator_of``: (R,) ids; ``other_windows`` end the rebound that is looked at."""
    window = (event.start, event.end)
    delivered = delivered_kw(baseline_kw, metered.power_kw, event.direction)
    delivered = np.where(event.members[:, None], delivered, 0.0)
    total = delivered.sum(axis=0)
    owner = np.asarray(aggregator_of)
    parts = {
        name: by_hour(delivered[owner == name].sum(axis=0), accepted, grid, window, zone)
        for name, accepted in event.accepted_kw.items()
    }
    inside = grid.overlap_h(*window) > 1e-9
    seen = event.members[:, None] & inside[None, :]
    change = np.where(event.members[:, None], metered.power_kw - baseline_kw, 0.0).sum(axis=0)
    return EventPerformance(
        event_id=event.event_id,
        hours=by_hour(total, event.ordered_kw, grid, window, zone),
        delivered_kw=mean_over(total, grid, *window),
        ordered_kw=mean_over(event.ordered_kw, grid, *window),
        by_aggregator=parts,
        rebound_kw_by_hour=rebound_by_hour(change, grid, event.end, other_windows),
        missing=int((metered.missing & seen).sum()),
        interpolated=int((metered.interpolated & seen).sum()),
    )


def rebound_by_hour(
    change_kw: FloatArray,
    grid: IntervalGrid,
    end: datetime,
    other_windows: Sequence[tuple[datetime, datetime]] = (),
) -> tuple[float, ...]:
    """(P3): mean of ``change_kw`` = Σ(m - b), (T,), in each of the six hours after ``end``.

    Time inside another event's window is left out; an hour that the grid does not reach, or that lies wholly
    in another window, has no figure and ends the list.
    """
    free = np.ones(len(grid))
    for start, stop in other_windows:
        free -= np.where(grid.hours > 0, grid.overlap_h(start, stop) / grid.hours, 0.0)
    free = np.clip(free, 0.0, 1.0)
    found = []
    for k in range(REBOUND_HOURS):
        weight = grid.overlap_h(end + timedelta(hours=k), end + timedelta(hours=k + 1)) * free
        if weight.sum() <= 1e-9:
            break
        found.append(float(change_kw @ weight / weight.sum()))
    return tuple(found)


def price_alone_kw(
    undispatched_kw: FloatArray,
    baseline_kw: FloatArray,
    grid: IntervalGrid,
    window: tuple[datetime, datetime],
    direction: Direction = Direction.SHAVE,
) -> float:
    """(P4), summed over resources: what prices had moved out of (fill: into) the window before the event was called."""
    return mean_over(delivered_kw(undispatched_kw, baseline_kw, direction).sum(axis=0), grid, *window)
