from datetime import UTC, datetime

from adapters.store import Store
from adapters.store.schema import from_us, to_us


def test_times_survive_to_the_microsecond() -> None:
    moment = datetime(2025, 7, 16, 13, 11, 0, 123457, tzinfo=UTC)
    assert from_us(to_us(moment)) == moment


def test_a_new_database_is_migrated_once_and_then_left_alone(store: Store) -> None:
    revision = store.revision()
    assert revision is not None
    assert store.migrate() == revision
    store.ping()
