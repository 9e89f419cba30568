"""Flexibility: what one resource could take off the grid from now on for a while, from what is measured.

The envelope of a single device; what a fleet can hold together under all limits is the optimiser's answer.
"""

from models.resources import (
    CurtailableLoad,
    EvCharger,
    Generator,
    InterruptibleLoad,
    ResourceBase,
    ShiftableLoad,
    Storage,
    ThermalLoad,
)
from models.telemetry import ChargingSession, Reading


def callable_kw(
    resource: ResourceBase,
    reading: Reading,
    *,
    hours: float = 1.0,
    session: ChargingSession | None = None,
    energy_left_kwh: float | None = None,
    hours_to_departure: float = 0.0,
    comfort_store_kwh: float = 0.0,
) -> float:
    """Reduction of net power, kW, that the device could hold for ``hours`` from its present state, 0 or more.

    ``energy_left_kwh``: what a car still needs (at the battery).  A car may give up only what it can make up for
    before it leaves; a battery what its level above the minimum allows; a comfort store what its depth allows.
    """
    power_kw = reading.power_kw
    if isinstance(resource, Storage):
        level = reading.energy_kwh if reading.energy_kwh is not None else resource.energy_min_kwh
        usable_kw = max(0.0, level - resource.energy_min_kwh) * resource.discharge_efficiency / hours
        return max(0.0, power_kw + min(resource.discharge_limit_kw, usable_kw))
    if isinstance(resource, EvCharger):
        if session is None:
            return 0.0
        full_hours = (energy_left_kwh or 0.0) / max(1e-9, resource.charge_limit_kw * resource.charge_efficiency)
        slack_h = hours_to_departure - full_hours
        return max(0.0, power_kw) * min(1.0, max(0.0, slack_h) / hours)
    if isinstance(resource, ThermalLoad):
        depth_kw = max(0.0, comfort_store_kwh + resource.store_low_kwh) / hours
        return max(0.0, min(power_kw, resource.decrease_limit_kw, depth_kw))
    if isinstance(resource, CurtailableLoad):
        return max(0.0, min(resource.curtail_share * power_kw, resource.energy_limit_kwh / hours))
    if isinstance(resource, InterruptibleLoad):
        return resource.block_kw if power_kw >= resource.block_kw and resource.longest_h >= hours else 0.0
    if isinstance(resource, Generator):
        return max(0.0, resource.power_max_kw + power_kw)
    if isinstance(resource, ShiftableLoad):
        return max(0.0, power_kw - resource.power_min_kw)
    return 0.0
