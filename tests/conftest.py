"""Fixtures that every test may ask for."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of measured data (VPP_DATA_DIR, else ``shared/data`` beside the checkout); skips where it is
    absent.
    """
    beside = Path(__file__).resolve().parents[1].parent / "shared" / "data"
    folder = Path(os.environ.get("VPP_DATA_DIR", beside))
    if not folder.is_dir():
        pytest.skip("no measured data here (set VPP_DATA_DIR to its folder)")
    return folder
