"""Old readings make room: quarter-hour means stay of them, and after years nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, delete, func, not_, or_, select

from adapters.store import schema
from adapters.store.bulk import insert_means_postgres, insert_means_sqlite
from adapters.store.readings import PARTITION, Readings
from adapters.store.schema import from_us, to_us
from models.intervals import FloatArray

Window = tuple[datetime, datetime]
"""[start, end)."""


@dataclass(frozen=True, slots=True)
class MeanRows:
    """n quarter hours of resources: mean, least and greatest power (kW), number of readings, and the last level that
    was said (kWh, NaN if none was).
    """

    resource_ids: Sequence[str]
    start_us: NDArray[np.int64]
    mean_kw: FloatArray
    min_kw: FloatArray
    max_kw: FloatArray
    count: NDArray[np.int64]
    energy_kwh: FloatArray

    def __len__(self) -> int:
        return len(self.resource_ids)


class Retention(Readings):
    """What happens to readings in the end."""

    def first_reading(self, start: datetime, end: datetime) -> datetime | None:
        """When the oldest reading inside [start, end) was measured."""
        column = schema.readings.c.measured_at
        query = select(func.min(column)).where(column >= to_us(start), column < to_us(end))
        with self._db.reading() as connection:
            oldest = connection.execute(query).scalar_one()
        return None if oldest is None else from_us(oldest)

    def means_until(self) -> datetime | None:
        """Up to when readings have become means."""
        with self._db.reading() as connection:
            last = connection.execute(select(func.max(schema.reading_means.c.start))).scalar_one()
        return None if last is None else from_us(last + 900_000_000)

    def thin_out(self, start: datetime, end: datetime, means: MeanRows, keep: Sequence[Window]) -> int:
        """Keep the means of [start, end) and drop its readings but those inside ``keep``, in one transaction; how many
        readings went.
        """
        keys = self._keys_of_all(means.resource_ids)
        rows = [
            (start_us, key, *numbers, None if np.isnan(level) else level)
            for start_us, key, *numbers, level in zip(
                means.start_us.tolist(),
                keys.tolist(),
                means.mean_kw.tolist(),
                means.min_kw.tolist(),
                means.max_kw.tolist(),
                means.count.tolist(),
                means.energy_kwh.tolist(),
                strict=True,
            )
        ]
        with self._db.writing() as connection:
            driver: Any = connection.connection.driver_connection
            (insert_means_sqlite if self._db.is_sqlite else insert_means_postgres)(driver, rows)
            return self._drop(connection, start, end, keep)

    def forget_readings(self, before: datetime) -> int:
        """Drop everything that was measured earlier, means and what was kept of events; how many rows went."""
        means = schema.reading_means
        with self._db.writing() as connection:
            gone = connection.execute(delete(means).where(means.c.start < to_us(before))).rowcount
            return int(gone) + self._drop(connection, from_us(0), before, ())

    def _drop(self, connection: Any, start: datetime, end: datetime, keep: Sequence[Window]) -> int:
        column = schema.readings.c.measured_at
        spared = [(column >= to_us(low)) & (column < to_us(high)) for low, high in keep if low < end and high > start]
        query = delete(schema.readings).where(column >= to_us(start), column < to_us(end))
        return int(connection.execute(query.where(not_(or_(*spared))) if spared else query).rowcount)

    def drop_empty_partitions(self, before: datetime) -> list[str]:
        """PostgreSQL: partitions of months that ended before, and hold nothing any more; their names.

        ``StoreError`` if somebody reads for long (a backup): all others would have to wait for us, who wait for him.
        """
        if self._db.is_sqlite:
            return []
        dropped = []
        with self._db.writing() as connection:
            connection.exec_driver_sql("SET LOCAL lock_timeout = '2s'")
            found = connection.exec_driver_sql(
                "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'readings'::regclass"
            )
            for name in sorted(found.scalars()):
                if not PARTITION.fullmatch(name) or name[-6:] >= f"{before:%Y%m}":
                    continue
                if _is_empty(connection, name):
                    connection.exec_driver_sql(f"LOCK TABLE {name} IN ACCESS EXCLUSIVE MODE")
                    if _is_empty(connection, name):  # nothing has come in between
                        connection.exec_driver_sql(f"DROP TABLE {name}")
                        dropped.append(name)
            self._months.clear()
        return dropped

    def reading_means(self, resource_ids: Sequence[str], start: datetime, end: datetime) -> MeanRows:
        """Means of the named resources with start <= start of the quarter hour < end, in the order of time."""
        table = schema.reading_means
        query = select(table).where(table.c.start >= to_us(start), table.c.start < to_us(end))
        with self._db.reading() as connection:
            keys = self._known_keys(connection, resource_ids)
            names = {key: name for name, key in keys.items()}
            query = query.where(table.c.resource_key.in_(sorted(names))).order_by(table.c.start, table.c.resource_key)
            rows = connection.execute(query).all()
        columns = list(zip(*rows, strict=True)) if rows else [()] * 7
        return MeanRows(
            resource_ids=[names[key] for key in columns[1]],
            start_us=np.array(columns[0], dtype=np.int64),
            mean_kw=np.array(columns[2], dtype=np.float64),
            min_kw=np.array(columns[3], dtype=np.float64),
            max_kw=np.array(columns[4], dtype=np.float64),
            count=np.array(columns[5], dtype=np.int64),
            energy_kwh=np.array(columns[6], dtype=np.float64),
        )


def _is_empty(connection: Connection, table: str) -> bool:
    return connection.exec_driver_sql(f"SELECT 1 FROM {table} LIMIT 1").first() is None  # noqa: S608 - a name of ours
