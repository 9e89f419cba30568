"""What is wrong with a load curve, and what we may mend: each mending is a named ``Repair``, the rest an error."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.errors import InputError, InputFault
from models.intervals import FloatArray

LONGEST_GAP = timedelta(hours=1)
SMALLEST_PEAK_KW = 10e3
LARGEST_PEAK_KW = 1000e6


@dataclass(frozen=True, slots=True)
class Repair:
    """One kind of mending: its name, what was done in words, how many values, and their span (UTC)."""

    name: str
    what: str
    count: int
    first: datetime | None = None
    last: datetime | None = None

    def __str__(self) -> str:
        span = "" if self.first is None or self.last is None else f", {self.first:%Y-%m-%d %H:%M}Z"
        until = "" if self.last in (None, self.first) else f" to {self.last:%Y-%m-%d %H:%M}Z"
        return f"{self.name}: {self.what} ({self.count}{span}{until})"


def moment(us: int) -> datetime:
    """Microseconds since 1970 as aware UTC."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=int(us))


def refuse_wrong_unit(place: str, column: str, unit: str, kw: FloatArray, row: NDArray[np.int64]) -> None:
    """Unit mistakes: a peak no city has, or values that stand at about a thousandth or a thousandfold of the others."""
    good = np.isfinite(kw) & (kw > 0)
    if not good.any():
        raise InputError([InputFault(place, column, "no value", "must hold at least one positive value")])
    usual = float(np.median(kw[good]))
    ratio = np.where(good, kw, usual) / usual
    jump = np.flatnonzero(((ratio > 200) & (ratio < 5000)) | ((ratio < 1 / 200) & (ratio > 1 / 5000)))
    if len(jump):
        at = int(jump[0])
        rule = (
            f"lies by a factor of {ratio[at]:.3g} off the usual {usual:.6g} kW (a unit mistake? "
            f"{len(jump)} such values, read as {unit}): one unit for the whole column"
        )
        raise InputError([InputFault(place, column, float(kw[at]), rule, int(row[at]))])
    peak = float(np.max(kw[good]))
    if peak < SMALLEST_PEAK_KW:
        hint = f"the peak is {peak:.6g} kW read as {unit}, below 10 MW: is the unit a larger one?"
        raise InputError([InputFault(place, column, peak, hint)])
    if peak > LARGEST_PEAK_KW:
        hint = f"the peak is {peak:.6g} kW read as {unit}, above 1000 GW: is the unit a smaller one?"
        raise InputError([InputFault(place, column, peak, hint)])


def merge_duplicates(
    place: str, column: str, start_us: NDArray[np.int64], kw: FloatArray, row: NDArray[np.int64]
) -> tuple[NDArray[np.int64], FloatArray, NDArray[np.int64], list[Repair]]:
    """Sorted input with equal starts: identical values become one (named), different ones are an error."""
    same = np.flatnonzero(start_us[1:] == start_us[:-1]) + 1
    if not len(same):
        return start_us, kw, row, []
    conflict = [at for at in same if not (kw[at] == kw[at - 1] or (np.isnan(kw[at]) and np.isnan(kw[at - 1])))]
    if conflict:
        raise InputError(
            [
                InputFault(
                    place,
                    column,
                    float(kw[at]),
                    f"{moment(start_us[at]).isoformat()} stands twice with different values (the other in "
                    f"row {row[at - 1]}: {kw[at - 1]:.6g} kW); choose one series if the file holds several",
                    int(row[at]),
                )
                for at in conflict[:20]
            ]
        )
    keep = np.ones(len(start_us), dtype=bool)
    keep[same] = False
    repair = Repair(
        "duplicate",
        "identical rows dropped",
        len(same),
        moment(start_us[same[0]]),
        moment(start_us[same[-1]]),
    )
    return start_us[keep], kw[keep], row[keep], [repair]


def holes_by(name: str, what: str, bad: NDArray[np.bool_], start_us: NDArray[np.int64]) -> list[Repair]:
    """The entry for values that are taken as holes, if there are any."""
    at = np.flatnonzero(bad)
    if not len(at):
        return []
    return [Repair(name, what, len(at), moment(start_us[at[0]]), moment(start_us[at[-1]]))]


def spikes(kw: FloatArray, resolution: timedelta) -> NDArray[np.bool_]:
    """Values above three times or below a third of the median of the two hours around them, (T,).

    A run longer than half of those two hours moves the median itself: a real blackout or a real peak stays.
    """
    width = max(5, 2 * round(timedelta(hours=1) / resolution) + 1)
    around = pd.Series(kw).rolling(width, center=True, min_periods=3).median().to_numpy()
    with np.errstate(invalid="ignore"):
        return np.asarray((kw > 3 * around) | (kw < around / 3))


def fill_short_gaps(
    kw: FloatArray, resolution: timedelta, start_us: NDArray[np.int64]
) -> tuple[FloatArray, list[Repair]]:
    """Holes of at most an hour between two values: straight line, named.  Longer ones stay NaN, and are named too."""
    hole = np.isnan(kw)
    if not hole.any():
        return kw, []
    edges = np.flatnonzero(np.diff(np.concatenate([[False], hole, [False]]).astype(np.int8)))
    begins, ends = edges[::2], edges[1::2]
    short = (ends - begins <= LONGEST_GAP // resolution) & (begins > 0) & (ends < len(kw))
    filled = kw.copy()
    good = np.flatnonzero(~hole)
    repairs = []
    for name, wanted, what in (
        ("gap_filled", short, "holes of at most one hour filled by a straight line"),
        ("gap_left", ~short, "holes longer than one hour left open; a day that needs them is refused"),
    ):
        spans = list(zip(begins[wanted], ends[wanted], strict=True))
        if not spans:
            continue
        if name == "gap_filled":
            at = np.concatenate([np.arange(begin, end) for begin, end in spans])
            filled[at] = np.interp(at, good, kw[good])
        count = int(sum(end - begin for begin, end in spans))
        repairs.append(Repair(name, what, count, moment(start_us[spans[0][0]]), moment(start_us[spans[-1][1] - 1])))
    return filled, repairs
