"""Public and landscape lighting: on from dusk, half of it off after 23:00, dimmed on order down to a safe share."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.intervals import FloatArray
from models.resources import ResourceKind
from simulations.devices.base import DeviceGroup, GroupReading, Surroundings
from simulations.devices.dice import normal, smooth


@dataclass(frozen=True)
class LightingTruth:
    """True parameters, (n,) each; ``dim_share``: part of the power that may be given up."""

    rated_kw: FloatArray
    dim_share: FloatArray
    on_hour: FloatArray
    late_share: FloatArray


def lit_share(hour: float, on_hour: FloatArray, late_share: FloatArray) -> FloatArray:
    """Part of the lamps that burns at a local hour: ten minutes to come up, thinner after 23:00, out at 05:45."""
    up = np.clip((hour - on_hour) * 6, 0, 1)
    late = np.where(hour >= 23, late_share, 1.0)
    night = late_share * float(hour < 5.75)
    return np.asarray(np.maximum(up * late, night))


class LightingGroup(DeviceGroup):
    """Lighting circuits."""

    kind = ResourceKind.CURTAILABLE_LOAD

    def __init__(self, class_id: str, resource_ids: Sequence[str], seed: int, truth: LightingTruth) -> None:
        super().__init__(class_id, resource_ids, seed)
        self.truth = truth

    def own_kw(self, around: Surroundings) -> FloatArray:
        """Power if nobody dims, (n,)."""
        truth = self.truth
        on_hour = truth.on_hour + 0.08 * normal(self.keys, "dusk", around.day)
        lamps = (
            1 + 0.03 * normal(self.keys, "lamps", around.day) + 0.01 * smooth(self.keys, "voltage", around.start_s, 900)
        )
        return truth.rated_kw * lit_share(around.hour, on_hour, truth.late_share) * lamps

    def step(self, around: Surroundings) -> GroupReading:
        own = self.own_kw(around)
        order = self.orders.at(around.start_s)
        dimmed = np.clip(order, own * (1 - self.truth.dim_share), own)
        return self._reading(np.where(np.isnan(order), own, dimmed))
