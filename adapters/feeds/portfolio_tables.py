"""The tables of a portfolio folder: one row type each (dispatch-model §3), from which the JSON Schemas are made."""

import json
from dataclasses import fields
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from adapters.feeds.tables import TableSpec
from models.dispatch.problem import ResourceState
from models.events import Commitment, Event
from models.resources import RESOURCE_TYPES, TABLE_NAMES, ResourceKind
from models.units import Count, Hours, Identifier, Kw, Kwh, NonNegativeKwh, PricePerKwh, UtcTime


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ProfileRow(_Row):
    """One value of a profile, per unit.

    A profile that only shiftable loads name as ``run_profile`` is the shape of a run: its first rows of the
    horizon.
    """

    profile_id: Identifier
    interval_start: UtcTime
    value: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    interval_end: UtcTime | None = None


class TariffRow(_Row):
    """What one kWh costs in one interval, CNY."""

    tariff_id: Identifier
    interval_start: UtcTime
    price_per_kwh: PricePerKwh
    interval_end: UtcTime | None = None


class SystemRow(_Row):
    """Load of a zone without the portfolio, and what the zone can carry; an empty limit is none."""

    interval_start: UtcTime
    zone_id: Identifier
    load_forecast_kw: Kw
    limit_kw: Kw | None = None
    interval_end: UtcTime | None = None


class AreaRow(_Row):
    """A zone of an area."""

    area_id: Identifier
    zone_id: Identifier


class StateRow(_Row):
    """What a re-plan must not forget of one resource; an empty field says nothing (= at rest).

    ``curtailed_history`` is JSON: [[hours before the start at which the piece ended, its length in h, kW],
    ...].
    """

    resource_id: Identifier
    energy_kwh: Kwh | None = None
    store_kwh: Kwh | None = None
    delivered_kwh: NonNegativeKwh | None = None
    on: bool | None = None
    hours_in_state_h: Hours | None = None
    hours_used_h: Hours | None = None
    energy_used_kwh: NonNegativeKwh | None = None
    calls_used: Count | None = None
    power_kw: Kw | None = None
    curtailed_history: str | None = None

    @field_validator("curtailed_history")
    @classmethod
    def _pieces(cls, text: str | None) -> str | None:
        if text is not None:
            _pieces_of(text)
        return text

    def state(self) -> ResourceState:
        """The domain value."""
        values: dict[str, Any] = self.model_dump(exclude={"resource_id", "curtailed_history"})
        return ResourceState(**values, curtailed_history=_pieces_of(self.curtailed_history or "[]"))

    @classmethod
    def columns_of(cls, state: ResourceState) -> dict[str, Any]:
        """The row's values from the domain value, without the id."""
        values = {item.name: getattr(state, item.name) for item in fields(state)}
        pieces = values.pop("curtailed_history")
        return {**values, "curtailed_history": json.dumps(pieces) if pieces else None}


def _pieces_of(text: str) -> tuple[tuple[float, float, float], ...]:
    rule = "must be JSON: a list of [hours before the start at which it ended, length in h, kW], none negative"
    try:
        pieces = json.loads(text)
        found = tuple((float(ended), float(length), float(kw)) for ended, length, kw in pieces)
    except (ValueError, TypeError) as error:
        raise ValueError(rule) from error
    if any(not 0 <= value < float("inf") for piece in found for value in piece):
        raise ValueError(rule)
    return found


PROFILES = TableSpec("profiles", ProfileRow)
TARIFFS = TableSpec("tariffs", TariffRow)
SYSTEM = TableSpec("system", SystemRow)
AREAS = TableSpec("areas", AreaRow)
EVENTS = TableSpec("events", Event)
COMMITMENTS = TableSpec("commitments", Commitment)
STATE = TableSpec("state", StateRow)
RESOURCES: dict[ResourceKind, TableSpec] = {
    kind: TableSpec(TABLE_NAMES[kind], row_type, frozenset({"kind"})) for kind, row_type in RESOURCE_TYPES.items()
}
ALL_TABLES: tuple[TableSpec, ...] = (
    *RESOURCES.values(), PROFILES, TARIFFS, SYSTEM, AREAS, EVENTS, COMMITMENTS, STATE,
)  # fmt: skip


def portfolio_schemas() -> dict[str, dict[str, Any]]:
    """JSON Schema of one row of every table of a portfolio folder, by table name, generated from the row types."""
    return {spec.name: spec.schema for spec in ALL_TABLES}
