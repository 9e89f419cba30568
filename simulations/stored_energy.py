"""Orders to batteries beside what the batteries had said of their stored energy: nobody may be told to give what is not
there, or to take what finds no room.

A simulated battery stops by itself at its floor and when it is full, so its true level never breaks a limit, whatever
it is told; and its meter errs (drift, a nameplate larger than the cells), which no order can know.  So an order is held
against the newest level that the platform had when it made it, as the device said it:

    p h / η⁻ ≤ e − e_min,   η⁺ p h ≤ e_max − e        h: from when it holds until a newer order was to take its place

and what may have flowed in or out since the reading is let pass.  Orders for the stretch after the present one are not
judged: the next cycle makes them anew.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import pandas as pd

from models.resources import RegisteredResource, Storage
from simulations.wire.record import GatewayRecord, Told

TOLERATED_SHARE = 0.02
"""Of what the battery holds: so much may be lost or leak otherwise than was registered."""
KNOWN_FOR = timedelta(minutes=10)
"""A reading that is older says nothing of the present."""


@dataclass(frozen=True, slots=True)
class Level:
    """What a battery said of itself, and when the platform had it."""

    measured_at: datetime
    received_at: datetime
    energy_kwh: float
    power_kw: float


def levels_of(readings: pd.DataFrame) -> dict[str, list[Level]]:
    """By device, in the order of time; ``readings``: as of ``Store.readings``."""
    said = readings[readings["energy_kwh"].notna()].sort_values("measured_at")
    columns = ["measured_at", "received_at", "energy_kwh", "power_kw"]
    return {
        str(name): [Level(*row) for row in rows[columns].itertuples(index=False)]
        for name, rows in said.groupby("resource_id")
    }


def broken_levels(
    records: Iterable[GatewayRecord],
    resources: Mapping[str, RegisteredResource],
    levels: Mapping[str, list[Level]],
    made_at: Mapping[str, datetime],
) -> tuple[str, ...]:
    """Batteries that were told to go beyond their limits of energy; ``made_at``: of every command."""
    found: dict[str, list[str]] = {}
    for record in records:
        begins = _begins(record)
        for order in record.told:
            battery, made = resources[order.resource_id], made_at.get(order.command_id)
            if not isinstance(battery, Storage) or made is None or not order.power_kw or order.valid_from > made:
                continue
            ends = [begin for begin in begins[order.resource_id] if begin > made]
            hours = (min([order.valid_until, *ends]) - made).total_seconds() / 3600
            line = _strayed(order, battery, _known(levels.get(order.resource_id, []), made), made, hours)
            if line is not None:
                found.setdefault(order.resource_id, []).append(line)
    return tuple(
        lines[0] + (f" ({len(lines)} such orders)" if len(lines) > 1 else "") for _, lines in sorted(found.items())
    )


def _begins(record: GatewayRecord) -> dict[str, list[datetime]]:
    """By device: when every order that came for it was to begin."""
    begins: dict[str, set[datetime]] = {}
    for _, batch in record.came:
        for name, _ in batch.setpoints:
            begins.setdefault(name, set()).add(batch.valid_from)
    return {name: sorted(each) for name, each in begins.items()}


def _known(levels: list[Level], made: datetime) -> list[Level]:
    """What the platform had by then, and is not too old."""
    first = bisect_left(levels, made - KNOWN_FOR, key=lambda each: each.measured_at)
    last = bisect_right(levels, made, key=lambda each: each.measured_at)
    return [each for each in levels[first:last] if each.received_at <= made]


def _strayed(order: Told, battery: Storage, known: list[Level], made: datetime, hours: float) -> str | None:
    """A line if none of the two newest levels allows the order: the last may have come while it was being made."""
    power_kw, tolerated_kwh = order.power_kw or 0.0, TOLERATED_SHARE * battery.energy_max_kwh
    says = []
    for level in known[-2:]:
        age_h = (made - level.measured_at).total_seconds() / 3600
        if power_kw < 0:
            since_kwh = max(level.power_kw, 0.0) * age_h * battery.charge_efficiency
            after_kwh = level.energy_kwh + since_kwh + power_kw * hours / battery.discharge_efficiency
            limit_kwh, over_kwh = battery.energy_min_kwh, battery.energy_min_kwh - after_kwh
        else:
            since_kwh = min(level.power_kw, 0.0) * age_h / battery.discharge_efficiency
            after_kwh = level.energy_kwh + since_kwh + power_kw * hours * battery.charge_efficiency
            limit_kwh, over_kwh = battery.energy_max_kwh, after_kwh - battery.energy_max_kwh
        if over_kwh <= tolerated_kwh:
            return None
        says.append(
            f"levels: {order.resource_id} at {made:%H:%M:%S} told {power_kw:.1f} kW for {60 * hours:.0f} min with "
            f"{level.energy_kwh:.1f} kWh, its limit is {limit_kwh:.1f} kWh"
        )
    return says[-1] if says else None
