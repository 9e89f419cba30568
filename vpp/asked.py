"""What the optimiser is asked for: orders with what feedback adds, and commitments in step with them.

Until g it is asked for what the hour owes as well (g: when that has been made good), then for what lasts, with the
margin with which the event was sized: a plan without it spends cheaply in the first hour what it will need in the last,
when a fifth of the devices has fallen silent.

    ordered   ────────────────────────────────────
    asked     ═══════════════╗╔═══════════════════
                             ╚╝
              now            g                 end
"""

from collections.abc import Sequence
from datetime import timedelta

from models.events import Commitment, Event
from models.intervals import IntervalGrid
from vpp.feedback import EventFeedback
from vpp.ramp import is_guard, is_ramp

LATER = "~later"
"""Ends the name of the second piece of a running event."""
RESERVED_FROM = timedelta(minutes=10)
"""A reserve is kept for what is further away than two cycles."""


def asked_pieces(
    event: Event,
    feedback: EventFeedback | None,
    grid: IntervalGrid,
    *,
    again: bool = False,
    reserve_fraction: float = 0.0,
) -> list[Event]:
    """An event (or a piece of one that was changed) as it is asked for on ``grid``: in one piece until it runs.

    ``again``: the plan that was asked for came out otherwise than it should.  ``reserve_fraction``: the margin with
    which the event was sized, kept for what is still to come.

    The cap on what comes back stands with the last piece.  The way down after a termination is left as it is.
    """
    if feedback is None or is_ramp(event.event_id) or is_guard(event.event_id):
        return [event]
    if not event.start <= grid.start < event.end:
        return [event.model_copy(update={"target_kw": feedback.later_kw(event.target_kw)})]
    wanted_kw = event.target_kw - feedback.left_kw
    later = event.model_copy(update={"target_kw": feedback.later_kw(wanted_kw)})
    now_kw = feedback.ask_again() if again else feedback.ask(wanted_kw)
    now = event.model_copy(update={"target_kw": now_kw})
    good_by = grid.start if feedback.good_by is None else feedback.good_by
    cut = max(edge for edge in grid.edges if edge <= max(good_by, grid.start))
    if not grid.start < cut < event.end:
        return [now]
    later_kw = later.target_kw
    if cut - grid.start >= RESERVED_FROM:  # what is sent along for the next stretch is no reserve
        later_kw /= 1 - reserve_fraction
    return [
        now.model_copy(update={"end": cut, "rebound_cap_kw": None}),
        later.model_copy(update={"event_id": event.event_id + LATER, "start": cut, "target_kw": later_kw}),
    ]


def commitments_in_step(
    commitments: Sequence[Commitment], events: Sequence[Event], asked: Sequence[Event]
) -> list[Commitment]:
    """Commitments in the measure in which the orders were corrected, each to the piece of its event that is asked then.

    The same devices answer for both: held to what was accepted, a plan could follow its correction by the width of the
    band and no further.
    """
    ordered_kw = {event.event_id: event.target_kw for event in events if event.target_kw > 0}
    pieces: dict[str, list[Event]] = {}
    for piece in asked:
        pieces.setdefault(piece.event_id.removesuffix(LATER), []).append(piece)
    found = []
    for row in commitments:
        of_event = pieces.get(row.event_id, [])
        covering = next((each for each in of_event if each.start <= row.interval_start < each.end), None)
        if covering is None or row.event_id not in ordered_kw:
            found.append(row)
            continue
        share = covering.target_kw / ordered_kw[row.event_id]
        changes = {"event_id": covering.event_id, "accepted_kw": row.accepted_kw * share}
        found.append(row.model_copy(update=changes))
    return found
