"""Events: what an order may say, and the steps that its life may take."""

import itertools
import math
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from models.errors import EventStateError
from models.events import (
    NEXT_STATUS,
    STATUS_ZH,
    Commitment,
    Event,
    EventNotice,
    EventOrder,
    EventRecord,
    EventResponse,
    EventStatus,
    EventStep,
    ScopeKind,
    step,
)

T0 = datetime(2025, 7, 16, 5, tzinfo=UTC)
WINDOW: dict[str, Any] = {"start": T0, "end": T0 + timedelta(hours=1)}
ORDER: dict[str, Any] = {"event_id": "e1", **WINDOW, "target_kw": 100.0}
S = EventStatus
ALLOWED = {
    (S.DRAFT, S.DECLARED),
    (S.DECLARED, S.APPROVED),
    (S.APPROVED, S.NOTIFIED),
    (S.NOTIFIED, S.EXECUTING),
    (S.EXECUTING, S.ENDED),
    (S.EXECUTING, S.TERMINATED),
    (S.ENDED, S.EVALUATED),
    (S.TERMINATED, S.EVALUATED),
    *((before, S.CANCELLED) for before in (S.DRAFT, S.DECLARED, S.APPROVED, S.NOTIFIED)),
}


def record() -> EventRecord:
    first = EventStep(status=S.DRAFT, at=T0, by="op")
    return EventRecord(event=Event(**ORDER), status=S.DRAFT, steps=(first,))


@pytest.mark.parametrize("before", list(S))
@pytest.mark.parametrize("wanted", list(S))
def test_only_the_steps_of_the_life_cycle_are_allowed(before: S, wanted: S) -> None:
    if (before, wanted) in ALLOWED:
        assert step("e1", before, wanted) is wanted
        return
    with pytest.raises(EventStateError) as caught:
        step("e1", before, wanted)
    assert (caught.value.event_id, caught.value.status) == ("e1", before.value)
    assert f"become {wanted.value}" in str(caught.value)
    assert not caught.value.retryable


@given(st.lists(st.integers(0, 99), max_size=30))
@settings(max_examples=50, deadline=None)
def test_a_random_walk_never_leaves_the_life_cycle_and_forgets_no_step(dice: list[int]) -> None:
    now = record()
    for k, number in enumerate(dice):
        choices = sorted(NEXT_STATUS[now.status]) if number % 3 else []
        wanted = (choices or list(S))[number % len(choices or list(S))]
        at = T0 + timedelta(minutes=k)
        if wanted in NEXT_STATUS[now.status]:
            before, now = now, now.stepped(wanted, at, "op", "because")
            assert now.steps[:-1] == before.steps
            assert (now.steps[-1].at, now.steps[-1].by, now.steps[-1].reason) == (at, "op", "because")
        else:
            with pytest.raises(EventStateError):
                now.stepped(wanted, at, "op")
    path = [each.status for each in now.steps]
    assert path[-1] is now.status
    assert set(itertools.pairwise(path)) <= ALLOWED
    assert len(set(path)) == len(path)  # no status twice: the life has no circles
    if S.EXECUTING in path:
        assert path[:5] == [S.DRAFT, S.DECLARED, S.APPROVED, S.NOTIFIED, S.EXECUTING]
        assert S.CANCELLED not in path


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


def test_every_status_has_a_chinese_name_of_its_own() -> None:
    assert list(STATUS_ZH) == [status.value for status in EventStatus]
    assert len(set(STATUS_ZH.values())) == len(STATUS_ZH)
