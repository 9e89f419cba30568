"""Readings that are old enough become quarter-hour means, hour by hour; around events every one of them stays.

The mean of a quarter hour is that of every other part of the service (``vpp.metered``: a reading is the mean since the
one before).  What comes for an hour that has become means already stays as it is.  What aggregators were told of events
is kept as long as the readings by which these are judged.
"""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta

import numpy as np
import structlog

from adapters.store.readings import PowerColumns
from adapters.store.retention import MeanRows, Window
from adapters.store.store import Store
from models.intervals import IntervalGrid
from models.life_cycle import EventStatus
from models.moments import microseconds
from models.reading_columns import ReadingColumns
from vpp.day_ahead import AFTER_EVENT
from vpp.metered import metered_kw
from vpp.settings import RetentionSettings

log = structlog.get_logger(__name__)

HOUR = timedelta(hours=1)
QUARTER = timedelta(minutes=15)
BEFORE_EVENT = timedelta(hours=2)
"""The last hours before an event judge its baseline, those after it its rebound: they are kept like the event."""
THINNED, FORGOTTEN = "readings became means", "readings forgotten"
"""Lines of the audit log: what is not there any more on purpose, for whoever verifies the record."""
PAUSE_S = 0.5
"""Between two hours of data, so that whoever else writes gets his turn."""
_FIRST = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


async def thin_out_all(store: Store, retention: RetentionSettings, now: datetime) -> int:
    """Everything that has come of age; how many readings went.  ``StoreError``: what is done is done, try again."""
    until = _floor(now - timedelta(days=retention.raw_days))
    last = now - timedelta(days=retention.means_days)
    keep = await asyncio.to_thread(kept_windows, store, last)
    gone = hours = 0
    while (hour := await asyncio.to_thread(next_hour, store, until)) is not None:
        gone += await asyncio.to_thread(thin_out_hour, store, hour, keep, now)
        hours += 1
        await asyncio.sleep(PAUSE_S)
    forgotten = await asyncio.to_thread(_forget, store, last, now)
    await asyncio.to_thread(store.forget_notices, last)
    await asyncio.to_thread(store.drop_empty_partitions, until)
    if gone or forgotten:
        log.info("old readings made room", hours=hours, became_means=gone, forgotten=forgotten)
    return gone


def kept_windows(store: Store, since: datetime) -> list[Window]:
    """Around events that were not called off."""
    held = [record.event for record in store.events(since=since) if record.status is not EventStatus.CANCELLED]
    # whole hours: the record proves readings by the hour, and of half an hour nothing could be proved any more
    after = AFTER_EVENT + HOUR - timedelta(microseconds=1)
    return [(_floor(event.start - BEFORE_EVENT), _floor(event.end + after)) for event in held]


def next_hour(store: Store, until: datetime) -> datetime | None:
    """The next hour of which readings must become means, None if there is none before ``until``."""
    done = store.means_until()
    begin = _FIRST if done is None else _floor(done + HOUR - timedelta(microseconds=1))
    oldest = store.first_reading(begin, until)
    return None if oldest is None else _floor(oldest)


def thin_out_hour(store: Store, hour: datetime, keep: Sequence[Window], now: datetime) -> int:
    """One hour of all resources becomes means, and the readings before it go: its own are needed for the next hour.

    How many readings went.
    """
    pieces = list(store.reading_columns(None, hour - HOUR, hour + HOUR + HOUR))
    if not pieces:
        return 0
    done = store.means_until()
    begin = min(hour - HOUR, hour if done is None else _floor(done - HOUR))
    means = means_of(ReadingColumns.joined(pieces), hour)
    with store.transaction():
        gone = store.thin_out(begin, hour, means, keep)
        if gone:
            spared = [[microseconds(low), microseconds(high)] for low, high in keep if low < hour and high > begin]
            facts = {"from_us": microseconds(begin), "until_us": microseconds(hour), "keep_us": spared}
            store.append_audit(now, "retention", THINNED, begin.isoformat(), {**facts, "readings": gone})
    return gone


def _forget(store: Store, before: datetime, now: datetime) -> int:
    with store.transaction():
        gone = store.forget_readings(before)
        if gone:
            facts = {"before_us": microseconds(before), "rows": gone}
            store.append_audit(now, "retention", FORGOTTEN, before.isoformat(), facts)
    return gone


def means_of(readings: ReadingColumns, hour: datetime) -> MeanRows:
    """Quarter hours of ``hour`` of which something was measured; the readings, in the order of time, reach an hour
    further on both sides: a reading covers the time since the one before.

    Where less than half of a quarter is covered its mean is that of the readings in it; where there is no reading in
    it, but a later one covers it, least and greatest are the mean.
    """
    names = sorted(set(readings.resource_ids))
    row_of = {name: row for row, name in enumerate(names)}
    rows = np.array([row_of[name] for name in readings.resource_ids], dtype=np.int64)
    grid = IntervalGrid.regular(hour, QUARTER, 4)
    mean = metered_kw([PowerColumns(rows, readings.measured_us, readings.power_kw)], len(names), grid)
    quarter = (readings.measured_us - microseconds(hour)) // (QUARTER // timedelta(microseconds=1))
    inside = np.flatnonzero((quarter >= 0) & (quarter < 4))
    place, power = rows[inside] * 4 + quarter[inside], readings.power_kw[inside]
    size = len(names) * 4
    count = np.bincount(place, minlength=size)
    least, greatest = np.full(size, np.inf), np.full(size, -np.inf)
    np.minimum.at(least, place, power)
    np.maximum.at(greatest, place, power)
    level = np.full(size, np.nan)
    said = ~np.isnan(readings.energy_kwh[inside])
    level[place[said]] = readings.energy_kwh[inside][said]  # in the order of time: the last word stays
    with np.errstate(invalid="ignore"):
        plain = np.bincount(place, weights=power, minlength=size) / count
    flat = np.where(np.isnan(mean.reshape(-1)), plain, mean.reshape(-1))
    least, greatest = np.where(count > 0, least, flat), np.where(count > 0, greatest, flat)
    there = np.flatnonzero(np.isfinite(flat))
    starts = microseconds(hour) + (there % 4) * (QUARTER // timedelta(microseconds=1))
    order = np.lexsort((there // 4, starts))
    there, starts = there[order], starts[order]
    return MeanRows(
        [names[row] for row in (there // 4).tolist()],
        starts,
        flat[there],
        least[there],
        greatest[there],
        count[there],
        level[there],
    )


def _floor(moment: datetime) -> datetime:
    return moment.replace(minute=0, second=0, microsecond=0)
