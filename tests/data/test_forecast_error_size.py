"""The errors of simulated forecasts have the size of those of a system operator for a city of eleven gigawatts."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from simulations.city_feed import ERROR_SD, REMEMBERED_H

pytestmark = pytest.mark.data


@pytest.fixture(scope="module")
def error(data_dir: Path) -> "pd.Series[float]":
    """Relative errors of the day-ahead forecasts for New York City in the summers of 2012 to 2014, hourly, by UTC."""
    load = pd.read_parquet(data_dir / "load" / "nyiso_5min_2012_2014.parquet")["NYC"].resample("1h").mean()
    made = pd.read_parquet(data_dir / "load" / "nyiso_forecast_2012_2014.parquet").query("lead_days == 1")
    local = pd.DatetimeIndex(made["ts_local"]).tz_localize("America/New_York", ambiguous="NaT", nonexistent="NaT")
    ahead = pd.Series(made["NYC"].to_numpy(), index=local)
    ahead = ahead[ahead.index.notna()]
    ahead.index = pd.DatetimeIndex(ahead.index).tz_convert("UTC").tz_localize(None)
    ahead = ahead[~ahead.index.duplicated()]
    both = pd.concat([load.rename("load"), ahead.rename("ahead")], axis=1).dropna()
    month = pd.DatetimeIndex(both.index).month
    both = both[(month >= 6) & (month <= 9)]
    return both["ahead"] / both["load"] - 1


def test_their_size(error: "pd.Series[float]") -> None:
    assert float(error.abs().mean()) == pytest.approx(0.030, abs=0.001)
    assert float(error.std()) == pytest.approx(ERROR_SD, rel=0.05)


@pytest.mark.parametrize("hours", [1, 3, 6])
def test_how_long_they_last(error: "pd.Series[float]", hours: int) -> None:
    later = error.reindex(error.index + pd.Timedelta(hours=hours)).to_numpy()
    known = np.isfinite(later)
    found = np.corrcoef(error.to_numpy()[known], later[known])[0, 1]
    assert found == pytest.approx(np.exp(-hours / REMEMBERED_H), abs=0.04)
