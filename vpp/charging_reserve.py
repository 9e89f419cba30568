"""Time kept in hand before a car leaves, so that what it was promised is in the battery by then.

A charger draws less than its nameplate towards a full battery, a reading is late, a command is lost: a plan that
charges at full power until the last minute keeps its promise on paper only.

    h  =  needed / (η P)                        hours that the work takes at full power
    r  =  min(0.15 h + 10 min,  (stay - h)/2)   hours kept in hand; none where the stay is short already

The reserve is there to be used: what is left when it begins, or cannot be done before it, is planned until the car
leaves.
"""

from datetime import datetime, timedelta

from models.resources import EvCharger
from models.telemetry import ChargingSession

RESERVE_SHARE = 0.15
"""Of the charging time; the last fifth of a battery takes longer than its share."""
RESERVE_LEAST = timedelta(minutes=10)
"""Two cycles: so long a lost order may go unnoticed."""


def charging_reserve(charger: EvCharger, stay: ChargingSession) -> timedelta:
    """How long before its departure a stay is planned to be ready; a guard, never part of the promise."""
    full_kw = charger.charge_efficiency * charger.charge_limit_kw
    if full_kw <= 0 or stay.energy_needed_kwh <= 0:
        return timedelta(0)
    work = timedelta(hours=min(stay.energy_needed_kwh / full_kw, 1000.0))
    spare = (stay.departure - stay.arrival - work) / 2
    return max(timedelta(0), min(RESERVE_SHARE * work + RESERVE_LEAST, spare))


def ready_by(charger: EvCharger, stay: ChargingSession, now: datetime, left_kwh: float) -> datetime:
    """By when a stay is planned to be ready, if ``left_kwh`` are missing in its battery: before the reserve, or, where
    that cannot be done any more, by its departure.
    """
    early = stay.departure - charging_reserve(charger, stay)
    hours = (early - max(now, stay.arrival)).total_seconds() / 3600
    can_kwh = charger.charge_efficiency * charger.charge_limit_kw * max(0.0, hours)
    return early if hours > 0 and left_kwh <= can_kwh else stay.departure
