"""The city around a benchmark fleet: zones, tariffs, profiles and the load that is not the portfolio's.

Shapes are those of a summer day of a large inland city: peaks in the early afternoon and the late evening, a valley
tariff from 23 to 7, a critical price at 13-14 and 21-22.  Tariffs come in two makes: time of use, flat within its
bands, and linked to the spot market, different in every interval.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.random import Generator as Dice
from numpy.typing import NDArray

from models.intervals import FloatArray, IntervalGrid

DAY_START = datetime(2025, 7, 15, 22, tzinfo=UTC)
"""06:00 of 16 July 2025 in Asia/Shanghai, where the days of the benchmark begin."""
FIRST_HOUR = 6.0
PEAK_KW_PER_RESOURCE = 22.6
"""A million resources stand in a city of 22.6 GW."""

FLAT_PRICES = {"home": 0.55, "charging": 0.66, "business": 0.74, "industry": 0.62}
"""CNY per kWh outside peak and valley; each also as a spot-linked tariff, ``<name>-spot``."""


@dataclass(frozen=True)
class City:
    """What surrounds the fleet; ``hour``: (T,) local hour of the middle of every interval, rising past 24.

    ``band``: (T,) number of the tariff band that an interval lies in, rising.  ``weight``: (Z,) share of each zone in
    the city's load.  ``industrial``: (Z,) 0 (where people live) to 1 (where they work).
    """

    grid: IntervalGrid
    hour: FloatArray
    band: NDArray[np.int64]
    zones: tuple[str, ...]
    weight: FloatArray
    industrial: FloatArray
    shape: FloatArray
    tariffs: Mapping[str, FloatArray]
    profiles: Mapping[str, FloatArray]
    run_profiles: Mapping[str, FloatArray]


def make_city(dice: Dice, grid: IntervalGrid, zones: int) -> City:
    """A city of so many zones on a grid of Shanghai time; ``shape``: (Z, T), its sum over the zones peaks at 1."""
    start_hour = FIRST_HOUR + (grid.start - DAY_START).total_seconds() / 3600
    hour = start_hour + (grid.offsets_h[:-1] + grid.offsets_h[1:]) / 2
    factor = _time_of_use(hour)
    weight = dice.uniform(0.5, 2.0, zones) ** 1.5
    weight /= weight.sum()
    industrial = dice.permutation((np.arange(zones) + 0.5) / zones)
    return City(
        grid=grid,
        hour=hour,
        band=np.concatenate([[0], np.cumsum(np.diff(factor) != 0)]).astype(np.int64),
        zones=tuple(f"zone-{z:02d}" for z in range(1, zones + 1)),
        weight=weight,
        industrial=industrial,
        shape=_load_shape(dice, hour, weight, industrial),
        tariffs=_tariffs(dice, hour, factor),
        profiles=_profiles(hour),
        run_profiles={
            "wash": np.array([0.2, 1.0, 0.3, 0.3, 0.8, 0.2]),
            "dry": np.array([1.0, 1.0, 0.9, 0.6]),
            "batch": np.array([0.7, 1.0, 1.0, 1.0, 0.8, 0.8, 0.6, 0.3]),
        },
    )


def _bump(hour: FloatArray, middle: float, width: float) -> FloatArray:
    """A bell around an hour of the day, once a day."""
    away = (hour - middle + 12) % 24 - 12
    return np.asarray(np.exp(-((away / width) ** 2)))


def _time_of_use(hour: FloatArray) -> FloatArray:
    clock = hour % 24
    factor = np.ones_like(clock)
    factor[(clock < 7) | (clock >= 23)] = 0.4
    factor[((clock >= 10) & (clock < 12)) | ((clock >= 15) & (clock < 21))] = 1.6
    factor[((clock >= 13) & (clock < 14)) | ((clock >= 21) & (clock < 22))] = 1.92
    return factor


def _tariffs(dice: Dice, hour: FloatArray, factor: FloatArray) -> dict[str, FloatArray]:
    spot = 0.55 + 0.35 * _bump(hour, 13.5, 3) + 0.6 * _bump(hour, 20.8, 2.2) - 0.15 * _bump(hour, 3.5, 3)
    found: dict[str, FloatArray] = {}
    for name, price in FLAT_PRICES.items():
        found[name] = np.round(price * factor, 4)
        noise = dice.normal(0.0, 0.02, len(hour))
        found[f"{name}-spot"] = np.round(price * (0.6 * factor + 0.5 * spot * (1 + noise)), 6)
    return found


def _profiles(hour: FloatArray) -> dict[str, FloatArray]:
    clock = hour % 24
    sun = np.clip(np.sin((clock - 6) / 13.5 * np.pi), 0, None) * ((clock > 6) & (clock < 19.5))
    found = {
        "office": 0.3 + 0.65 * _bump(hour, 14, 4.5),
        "retail": 0.25 + 0.4 * _bump(hour, 13, 4) + 0.55 * _bump(hour, 20, 3),
        "one-shift": np.where((clock >= 8) & (clock < 18), 0.95, 0.3) - 0.1 * _bump(hour, 12.5, 0.6),
        "two-shifts": np.where((clock >= 7) & (clock < 23), 0.95, 0.4),
        "three-shifts": 0.9 - 0.05 * _bump(hour, 4, 3),
        "cold-store": 0.6 + 0.3 * _bump(hour, 15.5, 5),
        "home-cooling": 0.2 + 0.35 * _bump(hour, 14.5, 3) + 0.65 * _bump(hour, 21.5, 2.6),
        "office-cooling": 0.1 + 0.85 * _bump(hour, 14.8, 4.2),
        "retail-cooling": 0.15 + 0.5 * _bump(hour, 14.5, 4) + 0.5 * _bump(hour, 19.8, 2.8),
        "sun-south": sun,
        "sun-east": sun * (0.75 + 0.25 * np.tanh((11 - clock) / 2)),
        "sun-west": sun * (0.75 + 0.25 * np.tanh((clock - 14) / 2)),
    }
    return {name: np.round(values, 4) for name, values in found.items()}


def _load_shape(dice: Dice, hour: FloatArray, weight: FloatArray, industrial: FloatArray) -> FloatArray:
    living = 0.5 + 0.18 * _bump(hour, 13.5, 3) + 0.45 * _bump(hour, 20.9, 2.4)
    working = 0.6 + 0.38 * _bump(hour, 14, 4.2) + 0.12 * _bump(hour, 20, 2.5)
    mixed = np.outer(1 - industrial, living) + np.outer(industrial, working)
    wobble = 1 + 0.01 * np.cumsum(dice.normal(0.0, 0.3, mixed.shape), axis=1) / np.sqrt(len(hour))
    shape = weight[:, None] * mixed * wobble
    return np.asarray(shape / shape.sum(axis=0).max())
