"""Events: what an order, an answer and a notice may say, and what is kept of them."""

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from models.events import Commitment, Event, EventNotice, EventOrder, EventRecord, EventResponse, EventStep, ScopeKind
from models.life_cycle import EventStatus

T0 = datetime(2025, 7, 16, 5, tzinfo=UTC)
WINDOW: dict[str, Any] = {"start": T0, "end": T0 + timedelta(hours=1)}
ORDER: dict[str, Any] = {"event_id": "e1", **WINDOW, "target_kw": 100.0}
S = EventStatus


def record() -> EventRecord:
    first = EventStep(status=S.DRAFT, at=T0, by="op")
    return EventRecord(event=Event(**ORDER), status=S.DRAFT, steps=(first,))


def test_a_step_needs_an_aware_time() -> None:
    with pytest.raises(ValidationError, match="timezone"):
        record().stepped(S.DECLARED, T0.replace(tzinfo=None), "op")


def faults(made: type[Any], **values: Any) -> list[Any]:
    with pytest.raises(ValidationError) as caught:
        made(**values)
    return list(caught.value.errors())


@pytest.mark.parametrize("made", [Event, EventOrder])
def test_rules_of_an_order_name_field_rule_and_value(made: type[Any]) -> None:
    fields = ORDER if made is Event else {**WINDOW, "ordered_kw": 100.0}
    (error,) = faults(made, **{**fields, "end": T0})
    assert "end: must be later than start (got '2025-07-16T05:00:00+00:00')" in error["msg"]
    for kind in (ScopeKind.AREA, ScopeKind.ZONE, ScopeKind.AGGREGATOR, ScopeKind.PILLAR):
        (error,) = faults(made, **fields, scope_kind=kind)
        assert f"scope_id: must name the {kind.value} (got '')" in error["msg"]
    (error,) = faults(made, **fields, scope_kind="pillar", scope_id="north")
    assert "scope_id: must be source or load (got 'north')" in error["msg"]
    assert made(**fields, scope_kind="pillar", scope_id="source").scope_kind is ScopeKind.PILLAR
    assert made(**fields, scope_id="anything").scope_kind is ScopeKind.CITY
    assert faults(made, **fields, direction="up")[0]["loc"] == ("direction",)
    assert faults(made, **{**fields, "start": T0.replace(tzinfo=None)})[0]["loc"] == ("start",)


@pytest.mark.parametrize(
    ("made", "fields", "field"),
    [
        (Event, ORDER, "target_kw"),
        (Event, ORDER, "rebound_cap_kw"),
        (EventOrder, WINDOW, "ordered_kw"),
        (
            Commitment,
            {"event_id": "e1", "aggregator_id": "a", "interval_start": T0, "accepted_kw": 1.0},
            "accepted_kw",
        ),
        (EventResponse, {"event_id": "e1", "answer": "accept"}, "accepted_kw"),
        (
            EventNotice,
            {"event_id": "e1", "status": "notified", "direction": "shave", **WINDOW, "share_kw": 1},
            "share_kw",
        ),
    ],
)
def test_amounts_are_finite_and_not_negative(made: type[Any], fields: dict[str, Any], field: str) -> None:
    for value in (-0.001, math.nan, math.inf, -math.inf):
        (error,) = faults(made, **{**fields, field: value})
        assert error["loc"] == (field,)
    assert getattr(made(**{**fields, field: 0.0}), field) == 0.0


def test_the_amounts_of_a_record_are_finite() -> None:
    base = {"event": Event(**ORDER), "status": S.DRAFT, "steps": ()}
    for field in ("five_percent_kw", "callable_kw"):
        assert faults(EventRecord, **base, **{field: math.nan})[0]["loc"] == (field,)
    for field in ("share_kw", "accepted_kw"):
        assert faults(EventRecord, **base, **{field: {"a": math.inf}})[0]["loc"][:2] == (field, "a")


def test_who_accepts_a_part_must_say_how_much() -> None:
    (error,) = faults(EventResponse, event_id="e1", answer="accept_part")
    assert "accepted_kw: is required when only a part is accepted" in error["msg"]
    assert EventResponse(event_id="e1", answer="accept_part", accepted_kw=5).accepted_kw == 5
    assert faults(EventResponse, event_id="e1", answer="perhaps")[0]["loc"] == ("answer",)


def test_a_notice_tells_times_with_an_offset() -> None:
    notice = {"event_id": "e1", "status": "notified", "direction": "shave", **WINDOW, "share_kw": 1}
    assert faults(EventNotice, **notice, respond_by=T0.replace(tzinfo=None))[0]["loc"] == ("respond_by",)
    made = EventNotice.model_validate({**notice, "respond_by": "2025-07-16T12:45:00+08:00"})
    assert made.respond_by == T0 - timedelta(minutes=15)


def test_a_record_survives_json() -> None:
    made = record().stepped(S.DECLARED, T0, "op").model_copy(update={"accepted_kw": {"a": 1.0, "b": None}})
    assert EventRecord.model_validate_json(made.model_dump_json()) == made
