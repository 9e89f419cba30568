"""The same contract on both databases: SQLite in a file, and a PostgreSQL server of our own."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from adapters.store import Store
from models.records import AggregatorRecord, RegisteredResourceRecord
from models.resources import Pillar, Pv
from tests.postgres import BOTH, PostgresServer


@pytest.fixture
def new_postgres_url(postgres_server: PostgresServer) -> str:
    """An empty database on the server of this session."""
    return postgres_server.new_url()


@pytest.fixture(params=BOTH)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of an empty database of each sort."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'vpp.db'}"
    return str(request.getfixturevalue("new_postgres_url"))


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    """A store with the newest schema and nothing in it."""
    with Store(url) as made:
        made.migrate()
        yield made


@pytest.fixture
def populated(store: Store) -> Store:
    """Two aggregators; sun has twenty resources r0 ... r19."""
    noon = datetime(2025, 7, 16, 4, tzinfo=UTC)
    for name in ("sun", "moon"):
        store.add_aggregator(AggregatorRecord(name, name.title(), "hash", created_at=noon))
    for number in range(20):
        resource = Pv(
            resource_id=f"r{number}",
            aggregator_id="sun",
            zone_id="zone-1",
            meter_id=f"meter-{number}",
            pillar=Pillar.SOURCE,
            tariff_id="flat",
            available_profile="sun",
            available_scale_kw=10,
            curtail_cost_per_kwh=0,
        )
        store.upsert_resource(RegisteredResourceRecord(resource, None, 300.0, 10.0, 0.0, noon))
    return store
