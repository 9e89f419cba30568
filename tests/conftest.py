"""Fixtures that every test may ask for."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.postgres import PostgresServer, why_not

# A machine that is busy with other things is no failure; what hypothesis has found, it says how to find again.
settings.register_profile("search", settings.default, deadline=None, print_blob=True)
# The same examples every time: what has passed here passes on the next machine. `make search` looks for new ones.
settings.register_profile("house", settings.get_profile("search"), derandomize=True, max_examples=60)
settings.load_profile("house")


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of measured data (VPP_DATA_DIR, else ``shared/data`` beside the checkout); skips without it."""
    beside = Path(__file__).resolve().parents[1].parent / "shared" / "data"
    folder = Path(os.environ.get("VPP_DATA_DIR", beside))
    if not folder.is_dir():
        pytest.skip("no measured data here (set VPP_DATA_DIR to its folder)")
    return folder


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """One for all tests of this worker: whoever stops it starts it again."""
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)
    with PostgresServer() as server:
        yield server
