"""An order that is corrected carries the commitments along: the same devices answer for both."""

from datetime import timedelta

import pytest

from models.events import Commitment, Direction, Event, ScopeKind
from tests.live import T0
from vpp.real_time import commitments_in_step


def event(event_id: str, target_kw: float) -> Event:
    return Event(
        event_id=event_id,
        direction=Direction.SHAVE,
        scope_kind=ScopeKind.CITY,
        scope_id="city",
        start=T0,
        end=T0 + timedelta(hours=1),
        target_kw=target_kw,
        issued_at=T0 - timedelta(hours=1),
    )


def test_commitments_move_with_the_correction_of_their_event_and_with_no_other() -> None:
    events = [event("noon", 100.0), event("evening", 200.0), event("ramp", 0.0)]
    asked = [event("noon", 60.0), event("evening", 200.0), event("ramp", 0.0)]
    rows = [
        Commitment(event_id=name, aggregator_id="a", interval_start=T0, accepted_kw=50.0)
        for name in ("noon", "evening", "ramp", "another")
    ]
    moved = commitments_in_step(rows, events, asked)
    assert [row.accepted_kw for row in moved] == pytest.approx([30.0, 50.0, 50.0, 50.0])
    assert [(row.event_id, row.interval_start) for row in moved] == [(row.event_id, T0) for row in rows]
