"""The same contract on both databases: SQLite in a file, and a private PostgreSQL server for this session."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from adapters.store import Store
from models.records import AggregatorRecord, RegisteredResourceRecord
from models.resources import Pillar, Pv


def _postgres_programs() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[4]))
    path = found[-1] if found else shutil.which("initdb")
    return Path(path).parent if path else None


def _as_ordinary_user(command: list[str]) -> list[str]:
    """PostgreSQL refuses to run as root: Debian's package brings a user of its own."""
    return ["runuser", "-u", "postgres", "--", *command] if os.geteuid() == 0 else command


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """URL of a server of our own, without its database."""
    programs = _postgres_programs()
    if programs is None:
        pytest.skip("PostgreSQL is not installed (apt-get install postgresql)")
    if os.geteuid() == 0 and "postgres" not in {entry.pw_name for entry in pwd.getpwall()}:
        pytest.skip("PostgreSQL does not run as root, and there is no user 'postgres'")
    home = Path(tempfile.mkdtemp(prefix="vpp-pg-", dir="/tmp"))  # short: a socket's path has 107 bytes
    if os.geteuid() == 0:
        shutil.chown(home, "postgres")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    options = f"-c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories={home} -c fsync=off"
    data = str(home / "data")
    initdb = [str(programs / "initdb"), "-D", data, "-U", "vpp", "-A", "trust", "-E", "UTF8", "--no-locale"]
    start = [
        str(programs / "pg_ctl"),
        "-D",
        data,
        "-w",
        "-t",
        "60",
        "-l",
        str(home / "log"),
        "-o",
        options,
        "start",
    ]
    stop = [str(programs / "pg_ctl"), "-D", data, "-w", "-m", "immediate", "stop"]
    try:
        subprocess.run(_as_ordinary_user(initdb), check=True, capture_output=True, cwd=home)
        # pg_ctl's child keeps our pipes open: give it none
        subprocess.run(_as_ordinary_user(start), check=True, stdout=subprocess.DEVNULL, cwd=home)
        yield f"postgresql://vpp@127.0.0.1:{port}"
    finally:
        subprocess.run(_as_ordinary_user(stop), check=False, capture_output=True, cwd=home)
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def new_postgres_url(postgres_server: str) -> str:
    """An empty database on that server."""
    import psycopg  # noqa: PLC0415 - an extra

    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(f"{postgres_server}/postgres", autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"'.encode())
    return f"{postgres_server}/{name}"


BOTH = [
    "sqlite",
    pytest.param("postgresql", marks=pytest.mark.postgres),
]


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
