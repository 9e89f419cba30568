"""How devices behave, as the service has learned it: one row for each that it has something to say of."""

from collections.abc import Sequence

from sqlalchemy import select

from adapters.store import schema
from adapters.store.deliveries import Deliveries
from models.conduct import ConductRecord, Misconduct

_KEPT = (
    "share_sum",
    "weight_sum",
    "misconduct",
    "quarantined_at",
    "trial_at",
    "times",
    "flowed_kwh",
    "told_kwh",
)


class Conducts(Deliveries):
    """What ``models.conduct`` remembers of each device, across restarts."""

    def save_conduct(self, records: Sequence[ConductRecord]) -> None:
        """Keep what is known now of these devices; ``InputError`` for one that was never registered."""
        if not records:
            return
        insert = self._db.insert(schema.conduct)
        insert = insert.on_conflict_do_update(
            index_elements=["resource_key"], set_={name: insert.excluded[name] for name in _KEPT}
        )
        with self._db.writing() as connection:
            keys = self._key_of(connection, [record.resource_id for record in records])
            rows = [
                {
                    "resource_key": keys[record.resource_id],
                    **{name: getattr(record, name) for name in _KEPT},
                    "misconduct": int(record.misconduct),
                }
                for record in records
            ]
            connection.execute(insert, rows)

    def conduct(self) -> list[ConductRecord]:
        """All of them, in no order."""
        table, resources = schema.conduct, schema.resources
        query = select(resources.c.resource_id, *(table.c[name] for name in _KEPT)).join_from(table, resources)
        with self._db.reading() as connection:
            return [
                ConductRecord(**{**row, "misconduct": Misconduct(row["misconduct"])})
                for row in connection.execute(query).mappings()
            ]
