"""The life of an event: every step that it may take, written out once more by hand, and none that it may not."""

import itertools
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import EventStateError
from models.events import Event, EventRecord, EventStep
from models.life_cycle import STATUS_ZH, TRANSITIONS, EventStatus, next_statuses, step, transition
from models.roles import Role

T0 = datetime(2025, 7, 16, 5, tzinfo=UTC)
S = EventStatus

BY_HAND = """
draft         declared cancelled
declared      consulted approved cancelled
consulted     approved cancelled
approved      invited notified cancelled
invited       bidding cancelled
bidding       cleared cancelled
cleared       notified cancelled
notified      acknowledged executing cancelled
acknowledged  notified preparing executing cancelled
preparing     notified executing cancelled
executing     adjusted ended terminated
adjusted      adjusted executing ended terminated
ended         evaluated
terminated    evaluated
cancelled
evaluated     published
published     disputed settled
disputed      published
settled       disputed archived
archived
"""
ALLOWED = {
    (S(before), S(after)) for before, *afters in map(str.split, BY_HAND.strip().splitlines()) for after in afters
}


def draft() -> EventRecord:
    event = Event(event_id="e1", start=T0, end=T0 + timedelta(hours=1), target_kw=100.0)
    return EventRecord(event=event, status=S.DRAFT, steps=(EventStep(status=S.DRAFT, at=T0, by="li"),))


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
    legal = [after for after in S if (before, after) in ALLOWED]
    assert f"only {', '.join(legal) or 'nothing'} may follow" in str(caught.value)
    assert not caught.value.retryable


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 99)), max_size=60))
@settings(max_examples=300, deadline=None)
def test_a_random_walk_never_leaves_the_life_cycle_and_forgets_no_step(dice: Sequence[tuple[bool, int]]) -> None:
    now = draft()
    for minute, (legally, number) in enumerate(dice):
        choices = sorted(next_statuses(now.status)) if legally else []
        wanted = (choices or list(S))[number % len(choices or list(S))]
        at = T0 + timedelta(minutes=minute)
        if (now.status, wanted) in ALLOWED:
            before, now = now, now.stepped(wanted, at, "wang", "because")
            assert now.steps[:-1] == before.steps
            made = EventStep(before=before.status, status=wanted, at=at, by="wang", reason="because")
            assert now.steps[-1] == made
        else:
            with pytest.raises(EventStateError, match="may follow"):
                now.stepped(wanted, at, "wang")
    path = [each.status for each in now.steps]
    assert path[-1] is now.status
    assert set(itertools.pairwise(path)) <= ALLOWED
    if any(status.has_begun for status in path):
        assert S.APPROVED in path
        assert S.CANCELLED not in path
    if S.SETTLED in path:
        assert path.index(S.EVALUATED) < path.index(S.PUBLISHED) < path.index(S.SETTLED)


def test_the_table_names_every_step_once() -> None:
    pairs = [(before, row.after) for row in TRANSITIONS for before in row.before]
    assert len(pairs) == len(set(pairs))
    assert set(pairs) == ALLOWED
    assert len({row.verb for row in TRANSITIONS}) == len(TRANSITIONS)
    assert transition("approve").after is S.APPROVED


def test_every_status_can_be_reached_and_only_two_are_final() -> None:
    reached, found = {S.DRAFT}, {S.DRAFT}
    while found:
        found = {after for before, after in ALLOWED if before in found} - reached
        reached |= found
    assert reached == set(S)
    assert {status for status in S if not next_statuses(status)} == {S.CANCELLED, S.ARCHIVED}


def test_every_status_stands_in_one_phase() -> None:
    for status in S:
        phases = [status.is_wished, status.is_planned and not status.runs, status.runs, status.is_over]
        assert sum(phases) == (status is not S.CANCELLED), status
        assert status.has_begun == (status.runs or status.is_over)
        assert not status.is_asked or status.is_planned
        assert status.is_shown == (status.is_over and not status.awaits_judgement and status is not S.EVALUATED)
        assert status.awaits_judgement == (S.EVALUATED in next_statuses(status))
        begins = {S.EXECUTING} & next_statuses(status)
        assert bool(begins) == (status.is_asked or status is S.ADJUSTED)


def test_no_step_leads_back_to_an_earlier_phase() -> None:
    def rank(status: S) -> int:
        phases = [status.is_wished, status.is_planned, status.runs, status.is_over, status is S.CANCELLED]
        return max(number for number, stands in enumerate(phases) if stands)

    assert all(rank(before) <= rank(after) for before, after in ALLOWED)


def test_money_and_load_need_a_second_person_and_words_are_asked_for_where_something_is_undone() -> None:
    assert {row.verb for row in TRANSITIONS if row.second_person} == {"approve", "settle"}
    assert all(row.roles == {Role.APPROVER} for row in TRANSITIONS if row.second_person)
    undoing = {"consult", "adjust", "terminate", "cancel", "dispute"}
    assert {row.verb for row in TRANSITIONS if row.needs_reason} == undoing
    assert all(row.roles for row in TRANSITIONS if row.needs_reason)


def test_every_status_has_a_chinese_name_of_its_own() -> None:
    assert list(STATUS_ZH) == list(EventStatus)
    assert len(set(STATUS_ZH.values())) == len(STATUS_ZH)
