"""The eight kinds of resource, one frozen type each: the columns of the portfolio tables, validated at the door.

A field's unit is in its name; its range is in its type; rules between fields are validators that name the
field, the rule and the value.  Physics and equations of each kind: ``models.dispatch.reference``.
"""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from models.units import (
    AggregatorId,
    Count,
    Efficiency,
    Fraction,
    Hours,
    Identifier,
    Kwh,
    NonNegativeKw,
    NonNegativeKwh,
    NonNegativeMoney,
    NonNegativePricePerKwh,
    PositiveHours,
    UtcTime,
)


class ResourceKind(StrEnum):
    """What physics a resource obeys."""

    STORAGE = "storage"
    EV_SESSION = "ev_session"
    CURTAILABLE_LOAD = "curtailable_load"
    INTERRUPTIBLE_LOAD = "interruptible_load"
    SHIFTABLE_LOAD = "shiftable_load"
    THERMAL_LOAD = "thermal_load"
    GENERATOR = "generator"
    PV = "pv"


class Pillar(StrEnum):
    """The two resource systems of "1+2+N": an attribute of every resource, never a level of a tree."""

    SOURCE = "source"
    LOAD = "load"


class ResourceBase(BaseModel):
    """What every resource has, whatever its kind."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    resource_id: Identifier
    aggregator_id: AggregatorId
    zone_id: Identifier
    meter_id: Identifier
    pillar: Pillar
    tariff_id: Identifier
    reliability_fraction: Fraction = 1.0
    is_test: bool = False

    def _require(self, holds: bool, field: str, rule: str) -> None:
        if not holds:
            raise ValueError(f"{field}: {rule} (got {getattr(self, field)!r})")


class Storage(ResourceBase):
    """A battery, a telecom backup battery or a pumped-hydro unit (``mode_change_cost`` and the minima are hydro's)."""

    kind: Literal[ResourceKind.STORAGE] = ResourceKind.STORAGE
    charge_limit_kw: NonNegativeKw
    discharge_limit_kw: NonNegativeKw
    energy_min_kwh: NonNegativeKwh
    energy_max_kwh: NonNegativeKwh
    energy_start_kwh: NonNegativeKwh
    energy_end_min_kwh: NonNegativeKwh
    charge_efficiency: Efficiency
    discharge_efficiency: Efficiency
    wear_cost_per_kwh: NonNegativePricePerKwh
    charge_min_kw: NonNegativeKw = 0.0
    discharge_min_kw: NonNegativeKw = 0.0
    mode_change_cost: NonNegativeMoney = 0.0

    @model_validator(mode="after")
    def _levels(self) -> Self:
        self._require(self.energy_min_kwh <= self.energy_max_kwh, "energy_min_kwh", "must be at most energy_max_kwh")
        inside = self.energy_min_kwh <= self.energy_start_kwh <= self.energy_max_kwh
        self._require(inside, "energy_start_kwh", "must lie between energy_min_kwh and energy_max_kwh")
        reachable = self.energy_end_min_kwh <= self.energy_max_kwh
        self._require(reachable, "energy_end_min_kwh", "must be at most energy_max_kwh")
        self._require(self.charge_min_kw <= self.charge_limit_kw, "charge_min_kw", "must be at most charge_limit_kw")
        fits = self.discharge_min_kw <= self.discharge_limit_kw
        self._require(fits, "discharge_min_kw", "must be at most discharge_limit_kw")
        return self

    @property
    def is_pumped_hydro(self) -> bool:
        """True if the unit has minimum powers or a cost of changing mode (needs integers)."""
        return self.charge_min_kw > 0 or self.discharge_min_kw > 0 or self.mode_change_cost > 0


class EvSession(ResourceBase):
    """One stay of one car at a charger; ``resource_id`` names the charger, ``session_id`` the stay.

    V2G if ``discharge_limit_kw`` is positive; then the battery's capacity and its energy at arrival must be
    known.
    """

    kind: Literal[ResourceKind.EV_SESSION] = ResourceKind.EV_SESSION
    session_id: Identifier
    arrival: UtcTime
    departure: UtcTime
    energy_needed_kwh: NonNegativeKwh
    charge_limit_kw: NonNegativeKw
    charge_efficiency: Efficiency
    discharge_limit_kw: NonNegativeKw = 0.0
    discharge_efficiency: Efficiency = 1.0
    battery_capacity_kwh: NonNegativeKwh | None = None
    battery_start_kwh: NonNegativeKwh | None = None
    wear_cost_per_kwh: NonNegativePricePerKwh = 0.0

    @model_validator(mode="after")
    def _stay(self) -> Self:
        self._require(self.departure > self.arrival, "departure", "must be later than arrival")
        if self.is_v2g:
            known = self.battery_capacity_kwh is not None
            self._require(known, "battery_capacity_kwh", "is required when discharge_limit_kw is positive")
            known = self.battery_start_kwh is not None
            self._require(known, "battery_start_kwh", "is required when discharge_limit_kw is positive")
        if self.battery_capacity_kwh is not None and self.battery_start_kwh is not None:
            inside = self.battery_start_kwh <= self.battery_capacity_kwh
            self._require(inside, "battery_start_kwh", "must be at most battery_capacity_kwh")
            fits = self.battery_start_kwh + self.energy_needed_kwh <= self.battery_capacity_kwh * (1 + 1e-9)
            self._require(fits, "energy_needed_kwh", "must fit: battery_start_kwh + it at most battery_capacity_kwh")
        return self

    @property
    def is_v2g(self) -> bool:
        """True if the car may feed back."""
        return self.discharge_limit_kw > 0


class _Reboundable(ResourceBase):
    """A load that gives up consumption and takes part of it back within ``rebound_hours_h`` afterwards."""

    baseline_profile: Identifier
    baseline_scale_kw: NonNegativeKw
    cost_per_kwh: NonNegativePricePerKwh
    notice_h: Hours = 0.0
    rest_h: Hours = 0.0
    rebound_share: Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)] = 0.0
    rebound_hours_h: Hours = 0.0

    @model_validator(mode="after")
    def _rebound(self) -> Self:
        has_time = self.rebound_share == 0 or self.rebound_hours_h > 0
        self._require(has_time, "rebound_hours_h", "must be positive when rebound_share is")
        return self


class CurtailableLoad(_Reboundable):
    """A load of which a share can be given up for a price, at any depth up to ``curtail_share``."""

    kind: Literal[ResourceKind.CURTAILABLE_LOAD] = ResourceKind.CURTAILABLE_LOAD
    curtail_share: Fraction
    energy_limit_kwh: NonNegativeKwh
    hours_limit_h: Hours
    calls_per_day: Count | None = None

    @property
    def is_integer(self) -> bool:
        """True if calls per day or rest make it a matter of whole calls."""
        return self.calls_per_day is not None or self.rest_h > 0


class InterruptibleLoad(_Reboundable):
    """A load of which one block is off or on, for a time between shortest and longest, so many times a day."""

    kind: Literal[ResourceKind.INTERRUPTIBLE_LOAD] = ResourceKind.INTERRUPTIBLE_LOAD
    block_kw: NonNegativeKw
    shortest_h: Hours
    longest_h: PositiveHours
    calls_per_day: Count

    @model_validator(mode="after")
    def _durations(self) -> Self:
        self._require(self.shortest_h <= self.longest_h, "shortest_h", "must be at most longest_h")
        return self


class ShiftableLoad(ResourceBase):
    """A process whose energy inside a window is fixed; ``run_profile`` makes it one contiguous run of that shape."""

    kind: Literal[ResourceKind.SHIFTABLE_LOAD] = ResourceKind.SHIFTABLE_LOAD
    window_start: UtcTime
    window_end: UtcTime
    energy_kwh: NonNegativeKwh
    power_min_kw: NonNegativeKw
    power_max_kw: NonNegativeKw
    preferred_start: UtcTime | None = None
    run_profile: Identifier | None = None
    cost_per_kwh: NonNegativePricePerKwh = 0.0

    @model_validator(mode="after")
    def _window(self) -> Self:
        self._require(self.window_end > self.window_start, "window_end", "must be later than window_start")
        self._require(self.power_min_kw <= self.power_max_kw, "power_min_kw", "must be at most power_max_kw")
        window_h = (self.window_end - self.window_start).total_seconds() / 3600
        slack = 1e-9 * max(1.0, self.energy_kwh)
        fits = self.power_min_kw * window_h - slack <= self.energy_kwh <= self.power_max_kw * window_h + slack
        self._require(fits, "energy_kwh", "must be reachable inside the window with power between its limits")
        if self.preferred_start is not None:
            inside = self.window_start <= self.preferred_start < self.window_end
            self._require(inside, "preferred_start", "must lie inside the window")
        return self


class ThermalLoad(ResourceBase):
    """Air-conditioning or a cold store: a load around its baseline with a comfort store of limited depth."""

    kind: Literal[ResourceKind.THERMAL_LOAD] = ResourceKind.THERMAL_LOAD
    baseline_profile: Identifier
    baseline_scale_kw: NonNegativeKw
    increase_limit_kw: NonNegativeKw
    decrease_limit_kw: NonNegativeKw
    store_low_kwh: NonNegativeKwh
    store_high_kwh: NonNegativeKwh
    store_end_min_kwh: Kwh
    decay_per_hour: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    discomfort_cost_per_kwh: NonNegativePricePerKwh

    @model_validator(mode="after")
    def _store(self) -> Self:
        inside = -self.store_low_kwh <= self.store_end_min_kwh <= self.store_high_kwh
        self._require(inside, "store_end_min_kwh", "must lie between -store_low_kwh and store_high_kwh")
        return self


class Generator(ResourceBase):
    """A gas peaker, CHP or backup set behind the meter: off, or between its minimum and maximum power."""

    kind: Literal[ResourceKind.GENERATOR] = ResourceKind.GENERATOR
    power_min_kw: NonNegativeKw
    power_max_kw: NonNegativeKw
    cost_per_kwh: NonNegativePricePerKwh
    start_cost: NonNegativeMoney
    no_load_cost_per_h: NonNegativeMoney
    ramp_kw_per_h: NonNegativeKw
    minimum_up_h: Hours
    minimum_down_h: Hours
    co2_kg_per_kwh: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0

    @model_validator(mode="after")
    def _limits(self) -> Self:
        self._require(self.power_min_kw <= self.power_max_kw, "power_min_kw", "must be at most power_max_kw")
        return self


class Pv(ResourceBase):
    """A photovoltaic plant: feeds in what the sun gives, may be curtailed at a price."""

    kind: Literal[ResourceKind.PV] = ResourceKind.PV
    available_profile: Identifier
    available_scale_kw: NonNegativeKw
    curtail_cost_per_kwh: NonNegativePricePerKwh


Resource = Annotated[
    Storage | EvSession | CurtailableLoad | InterruptibleLoad | ShiftableLoad | ThermalLoad | Generator | Pv,
    Field(discriminator="kind"),
]
"""Any resource row; the ``kind`` field decides which."""

RESOURCE_TYPES: dict[ResourceKind, type[ResourceBase]] = {
    ResourceKind.STORAGE: Storage,
    ResourceKind.EV_SESSION: EvSession,
    ResourceKind.CURTAILABLE_LOAD: CurtailableLoad,
    ResourceKind.INTERRUPTIBLE_LOAD: InterruptibleLoad,
    ResourceKind.SHIFTABLE_LOAD: ShiftableLoad,
    ResourceKind.THERMAL_LOAD: ThermalLoad,
    ResourceKind.GENERATOR: Generator,
    ResourceKind.PV: Pv,
}

TABLE_NAMES: dict[ResourceKind, str] = {
    ResourceKind.STORAGE: "storage",
    ResourceKind.EV_SESSION: "ev_sessions",
    ResourceKind.CURTAILABLE_LOAD: "curtailable_loads",
    ResourceKind.INTERRUPTIBLE_LOAD: "interruptible_loads",
    ResourceKind.SHIFTABLE_LOAD: "shiftable_loads",
    ResourceKind.THERMAL_LOAD: "thermal_loads",
    ResourceKind.GENERATOR: "generators",
    ResourceKind.PV: "pv",
}
"""Name of the portfolio table of every kind."""


class EvCharger(ResourceBase):
    """A charger as its aggregator registers it: the stays come later, with telemetry, or from the forecast.

    The same columns as ``EvSession`` without those of the stay.
    """

    SESSION_FIELDS: ClassVar[frozenset[str]] = frozenset(
        {
            "session_id",
            "arrival",
            "departure",
            "energy_needed_kwh",
            "battery_capacity_kwh",
            "battery_start_kwh",
        }
    )

    kind: Literal[ResourceKind.EV_SESSION] = ResourceKind.EV_SESSION
    charge_limit_kw: NonNegativeKw
    charge_efficiency: Efficiency
    discharge_limit_kw: NonNegativeKw = 0.0
    discharge_efficiency: Efficiency = 1.0
    wear_cost_per_kwh: NonNegativePricePerKwh = 0.0

    def session(
        self,
        session_id: str,
        arrival: datetime,
        departure: datetime,
        energy_needed_kwh: float,
        battery_capacity_kwh: float | None = None,
        battery_start_kwh: float | None = None,
    ) -> EvSession:
        """The planning row of one stay; without a known battery the stay is V1G whatever the charger can do."""
        fields: dict[str, Any] = self.model_dump()
        if battery_capacity_kwh is None or battery_start_kwh is None:
            fields["discharge_limit_kw"] = 0.0
        return EvSession(
            **fields,
            session_id=session_id,
            arrival=arrival,
            departure=departure,
            energy_needed_kwh=energy_needed_kwh,
            battery_capacity_kwh=battery_capacity_kwh,
            battery_start_kwh=battery_start_kwh,
        )


RegisteredResource = Annotated[
    Storage | EvCharger | CurtailableLoad | InterruptibleLoad | ShiftableLoad | ThermalLoad | Generator | Pv,
    Field(discriminator="kind"),
]
"""What an aggregator registers: a resource row, chargers without their stays."""
