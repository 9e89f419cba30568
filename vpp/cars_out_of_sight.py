"""Cars whose charger is not heard any more and that cannot get what they were promised whatever it does.

A charger that falls silent goes on by itself, and its car mostly leaves with its energy: nothing is said of it.  But
where what was missing when it was heard last is more than its full power gives until the departure, the promise is out
of reach for certain, and must be named before.
"""

from datetime import datetime

import numpy as np

from models.moments import microseconds
from models.plan import Admission
from vpp.heard import NEVER_US
from vpp.state import LiveState

REASON = "its charger is not heard, and its full power since would not be enough"


def cars_out_of_sight(state: LiveState, now: datetime) -> list[Admission]:
    """What is out of reach of cars that are not heard of, as admissions; none for a charger that is heard."""
    heard = state.columns
    there = heard.is_charger & heard.has_session & (heard.measured_us != NEVER_US) & ~heard.is_fresh(now)
    there &= heard.departure_us > microseconds(now)
    left_h = (heard.departure_us - np.where(there, heard.measured_us, heard.departure_us)) / 3.6e9
    most_kwh = heard.session_delivered_kwh + heard.limit_kw * left_h
    short = there & (heard.session_needed_kwh - most_kwh > 1e-3 * np.maximum(heard.session_needed_kwh, 1.0))
    found = []
    for row in np.flatnonzero(short).tolist():
        live = state.at(row)
        if live is not None and live.session is not None:
            asked, granted = float(heard.session_needed_kwh[row]), float(most_kwh[row])
            found.append(
                Admission(live.resource_id, "energy_needed_kwh", asked, granted, REASON, live.session.session_id)
            )
    return found
