"""Alembic's entry: runs migrations on the connection, and in the transaction, that the store hands over."""

from alembic import context

from adapters.store.readings import PARTITION
from adapters.store.schema import metadata


def _ours(_item: object, name: str | None, kind: str, *_rest: object) -> bool:
    return not (kind == "table" and name is not None and PARTITION.fullmatch(name))


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    include_object=_ours,
    render_as_batch=True,
)
context.run_migrations()
