"""Readings: what a device or its gateway says it measured, and when."""

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from models.units import Celsius, Identifier, Kw, Kwh, NonNegativeKwh, UtcTime


class ChargingSession(BaseModel):
    """The stay of a car as its charger reports it; ``energy_needed_kwh`` counts from arrival, at the battery."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    session_id: Identifier
    arrival: UtcTime
    departure: UtcTime
    energy_needed_kwh: NonNegativeKwh
    battery_capacity_kwh: NonNegativeKwh | None = None
    battery_start_kwh: NonNegativeKwh | None = None

    @model_validator(mode="after")
    def _stay(self) -> Self:
        # The rules of EvSession: a stay that breaks them could not be planned, and would stop the cycle.
        if self.departure <= self.arrival:
            raise ValueError(f"departure: must be later than arrival (got {self.departure.isoformat()!r})")
        start, capacity = self.battery_start_kwh, self.battery_capacity_kwh
        if start is not None and capacity is not None:
            if start > capacity:
                raise ValueError(f"battery_start_kwh: must be at most battery_capacity_kwh (got {start!r})")
            if start + self.energy_needed_kwh > capacity * (1 + 1e-9):
                rule = "must fit: battery_start_kwh + it at most battery_capacity_kwh"
                raise ValueError(f"energy_needed_kwh: {rule} (got {self.energy_needed_kwh!r})")
        return self


class Reading(BaseModel):
    """One measurement of one resource; its identity is (resource_id, measured_at).

    ``power_kw`` is the mean since the previous reading; ``energy_kwh`` the level (storage, V2G), the energy delivered
    since arrival (V1G) or the comfort store (thermal).  ``session``: absent = unchanged, None = unplugged.
    ``sequence`` orders the readings of one device, no more.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    resource_id: Identifier
    measured_at: UtcTime
    power_kw: Kw
    energy_kwh: Kwh | None = None
    temperature_celsius: Celsius | None = None
    session: ChargingSession | None = None
    available: bool = True
    sequence: int = Field(default=0, ge=0)

    @property
    def says_session(self) -> bool:
        """True if the reading says anything about a session (also that there is none any more)."""
        return "session" in self.model_fields_set
