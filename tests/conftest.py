"""Fixtures that every test may ask for."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

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
