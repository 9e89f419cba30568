"""Meters: what is reported is not quite what was; a lasting error of each meter and a fresh one in every reading."""

from collections.abc import Sequence

import numpy as np

from models.intervals import FloatArray
from simulations.devices.dice import keys_of, normal

LASTING_ERROR = 0.004
FRESH_ERROR = 0.006


class Meters:
    """One meter per device, about half a percent each way for good and as much again in every reading."""

    def __init__(self, resource_ids: Sequence[str], seed: int) -> None:
        self._keys = keys_of(resource_ids, seed)
        lasting = np.clip(normal(self._keys, "meter-lasting"), -2.5, 2.5)
        self._gain = 1 + LASTING_ERROR * lasting

    def read(self, power_kw: FloatArray, second: float) -> FloatArray:
        """Reported power at an instant, (N,)."""
        fresh = np.clip(normal(self._keys, "meter-fresh", int(second)), -3, 3)
        return np.asarray(power_kw * self._gain * (1 + FRESH_ERROR * fresh))
