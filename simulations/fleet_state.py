"""Where a simulated fleet stands: many days can begin from one state."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.intervals import FloatArray
from simulations.devices.bank import DeviceBank
from simulations.devices.sessions import Visit


@dataclass(frozen=True)
class FleetState:
    """Devices and what their gateways have said, as they stood: many days can begin from one (never written to)."""

    bank: DeviceBank
    energy_kwh: FloatArray
    since_s: FloatArray
    last_power_kw: FloatArray
    sequence: NDArray[np.int64]
    told: Mapping[int, Visit | None]
