"""Capacities of a resource, read from its registration: connected and declared.

Four capacities are kept apart for every resource and every sum: connected, declared, tested, callable now.
The first two are what the registration says; tested is measured; callable now follows from telemetry.
"""

from models.errors import InputFault
from models.resources import (
    CurtailableLoad,
    EvCharger,
    EvSession,
    Generator,
    InterruptibleLoad,
    Pv,
    ResourceBase,
    ResourceKind,
    ShiftableLoad,
    Storage,
    ThermalLoad,
)

LARGEST_KW: dict[ResourceKind, float] = {
    ResourceKind.STORAGE: 2_000_000.0,
    ResourceKind.EV_SESSION: 1_500.0,
    ResourceKind.CURTAILABLE_LOAD: 200_000.0,
    ResourceKind.INTERRUPTIBLE_LOAD: 500_000.0,
    ResourceKind.SHIFTABLE_LOAD: 500_000.0,
    ResourceKind.THERMAL_LOAD: 200_000.0,
    ResourceKind.GENERATOR: 1_000_000.0,
    ResourceKind.PV: 1_000_000.0,
}
"""No single resource of a kind is larger: beyond it somebody has written W for kW (the largest pumped-hydro
stations, megawatt chargers and steel furnaces stay below; an assumption of ours, not a rule of a standard)."""

SMALLEST_KW: dict[ResourceKind, float] = {
    ResourceKind.STORAGE: 0.1,
    ResourceKind.EV_SESSION: 0.5,
    ResourceKind.CURTAILABLE_LOAD: 0.01,
    ResourceKind.INTERRUPTIBLE_LOAD: 0.01,
    ResourceKind.SHIFTABLE_LOAD: 0.01,
    ResourceKind.THERMAL_LOAD: 0.01,
    ResourceKind.GENERATOR: 0.1,
    ResourceKind.PV: 0.02,
}
"""No single resource of a kind is smaller (but for none at all): below it somebody has written MW for kW (street
lamps are registered by the cabinet; an assumption of ours, like the largest)."""

STORAGE_HOURS = (0.02, 500.0)
"""Energy over power of a storage lies between a flywheel and a seasonal store; outside one of the units is
wrong.
"""


def connected_kw(resource: ResourceBase) -> float:
    """Nameplate: the largest |net power| that the resource can have, kW."""
    if isinstance(resource, Storage | EvCharger | EvSession):
        discharge = resource.discharge_limit_kw
        return max(resource.charge_limit_kw, discharge)
    if isinstance(resource, CurtailableLoad | InterruptibleLoad):
        return resource.baseline_scale_kw * (1 + resource.rebound_share)
    if isinstance(resource, ThermalLoad):
        return resource.baseline_scale_kw + resource.increase_limit_kw
    if isinstance(resource, ShiftableLoad):
        return resource.power_max_kw
    if isinstance(resource, Generator):
        return resource.power_max_kw
    if isinstance(resource, Pv):
        return resource.available_scale_kw
    raise TypeError(f"unknown kind of resource: {type(resource).__name__}")


def declared_kw(resource: ResourceBase) -> float:
    """What its aggregator says it can take off the grid at most, kW (PV: nothing, it can only give up feed-in)."""
    if isinstance(resource, Storage | Generator):
        return resource.discharge_limit_kw if isinstance(resource, Storage) else resource.power_max_kw
    if isinstance(resource, EvCharger | EvSession):
        return resource.charge_limit_kw + resource.discharge_limit_kw
    if isinstance(resource, CurtailableLoad):
        return resource.curtail_share * resource.baseline_scale_kw
    if isinstance(resource, InterruptibleLoad):
        return resource.block_kw
    if isinstance(resource, ThermalLoad):
        return resource.decrease_limit_kw
    if isinstance(resource, ShiftableLoad):
        return resource.power_max_kw - resource.power_min_kw
    return 0.0


def unit_faults(kind: ResourceKind, resource: ResourceBase, place: str) -> list[InputFault]:
    """Registrations that are off by a unit (W or MW for kW, Wh or MWh for kWh): refused, rule named."""
    faults: list[InputFault] = []
    nameplate = connected_kw(resource)
    if nameplate > LARGEST_KW[kind]:
        rule = f"no {kind.value} is larger than {LARGEST_KW[kind]:g} kW: is the unit W instead of kW?"
        faults.append(InputFault(place, "connected_kw", nameplate, rule))
    if 0 < nameplate < SMALLEST_KW[kind]:
        rule = f"no {kind.value} is smaller than {SMALLEST_KW[kind]:g} kW: is the unit MW instead of kW?"
        faults.append(InputFault(place, "connected_kw", nameplate, rule))
    if isinstance(resource, Storage) and nameplate > 0:
        hours = resource.energy_max_kwh / nameplate
        if not STORAGE_HOURS[0] <= hours <= STORAGE_HOURS[1]:
            rule = f"energy over power must be {STORAGE_HOURS[0]:g} to {STORAGE_HOURS[1]:g} h: is a unit wrong?"
            faults.append(InputFault(place, "energy_max_kwh", resource.energy_max_kwh, rule))
    return faults
