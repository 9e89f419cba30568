"""Time kept in hand before a car leaves, so that what it was promised is in the battery by then.

A charger draws less than its nameplate towards a full battery, a reading is late, a command is lost: a plan that
charges at full power until the last minute keeps its promise on paper only.

    h  =  needed / (η P)                        hours that the work takes at full power
    r  =  min(0.25 h + 10 min,  stay - h)       hours kept in hand; a short stay has no more to give

The reserve is for what nobody has planned.  What cannot be done before it is planned without a pause and no more: a
plan that used the reserve to wait would have nothing in hand for a car that takes less than its charger gives.
"""

from datetime import datetime, timedelta

from models.resources import EvCharger
from models.telemetry import ChargingSession

RESERVE_SHARE = 0.25
"""Of the charging time; many a car takes a sixth less than its charger gives, and the last fifth of a battery takes
longer than its share."""
RESERVE_LEAST = timedelta(minutes=10)
"""Two cycles: so long a lost order may go unnoticed."""

LONGEST_H = 1000.0
ROUNDING_SHARE, ROUNDING_LEAST = 0.01, timedelta(minutes=1)
"""What is planned to be ready as soon as it can be has so much more time, lest a rounding make it impossible."""


def charging_reserve(charger: EvCharger, stay: ChargingSession) -> timedelta:
    """How long before its departure a stay is planned to be ready; a guard, never part of the promise."""
    full_kw = charger.charge_efficiency * charger.charge_limit_kw
    if full_kw <= 0 or stay.energy_needed_kwh <= 0:
        return timedelta(0)
    work = timedelta(hours=min(stay.energy_needed_kwh / full_kw, LONGEST_H))
    spare = stay.departure - stay.arrival - work
    return max(timedelta(0), min(RESERVE_SHARE * work + RESERVE_LEAST, spare))


def ready_by(charger: EvCharger, stay: ChargingSession, now: datetime, left_kwh: float) -> datetime:
    """By when a stay is planned to be ready, if ``left_kwh`` are missing in its battery: before the reserve, or, where
    that cannot be done any more, as soon as it can be, at the latest by its departure.
    """
    full_kw = charger.charge_efficiency * charger.charge_limit_kw
    begin = max(now, stay.arrival)
    early = stay.departure - charging_reserve(charger, stay)
    if full_kw <= 0 or begin >= stay.departure:
        return stay.departure
    soonest = begin + (1 + ROUNDING_SHARE) * timedelta(hours=min(left_kwh / full_kw, LONGEST_H)) + ROUNDING_LEAST
    return min(max(early, soonest), stay.departure)
