"""The audit trail: whatever is missing from it, and whatever is too much, is found; of a whole one nothing is said."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from models.events import Event, EventRecord, EventStep, TargetChange
from models.life_cycle import EventStatus
from models.records import AckOutcome, AuditEntry, CommandRecord, SentSetpoint
from simulations.audit_trail import Trail, broken_trail
from simulations.wire.codec import ReceivedSetpoints
from simulations.wire.record import Answered, GatewayRecord

START = datetime(2025, 7, 16, 5, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
WINDOW = START, START + 10 * MINUTE
DUE_UNTIL = START + 60 * MINUTE
BATCHES = [
    ReceivedSetpoints("c1", 1, "first", *WINDOW, (("a", 5.0), ("b", None))),
    ReceivedSetpoints("c2", 2, "second", *WINDOW, (("a", 7.0),)),
]
STEPS = [(EventStatus.DECLARED, "li"), (EventStatus.APPROVED, "wang"), (EventStatus.NOTIFIED, "service")]
EVENT = EventRecord(
    event=Event(event_id="evening", start=START, end=DUE_UNTIL, target_kw=100.0),
    status=EventStatus.NOTIFIED,
    steps=tuple(EventStep(status=status, at=START, by=by) for status, by in STEPS),
)


def line(action: str, actor: str, subject: str = "evening", details: Mapping[str, Any] | None = None) -> AuditEntry:
    return AuditEntry(1, START, actor, action, subject, dict(details or {}), "", "")


LOG = [line(f"event {status.value}", by) for status, by in STEPS]


def command(batch: ReceivedSetpoints) -> CommandRecord:
    facts = (batch.command_id, "sun", batch.sequence, batch.plan_hash, batch.valid_from, batch.valid_until)
    return CommandRecord(*facts, START, 1, None, None, len(batch.setpoints), {})


def sent(name: str, sequence: int, power_kw: float | None, outcome: AckOutcome | None) -> SentSetpoint:
    return SentSetpoint(name, power_kw, START, *WINDOW, outcome, None if outcome is None else START + MINUTE, sequence)


SETPOINTS = [
    sent("a", 1, 5.0, AckOutcome.TAKEN),
    sent("b", 1, None, AckOutcome.REFUSED),
    sent("a", 2, 7.0, None),  # its answer was lost inside the gateway
]
TRAIL = Trail(
    [EVENT],
    LOG,
    {batch.command_id: command(batch) for batch in BATCHES},
    {(each.resource_id, each.sequence): each for each in SETPOINTS},
    frozenset({"first", "second"}),
)


def record() -> GatewayRecord:
    """Both commands came, the second one twice; the first was answered."""
    return GatewayRecord(
        came=[(START, batch) for batch in [*BATCHES, BATCHES[1]]],
        answered=[Answered(START, "m1", "c1", "a", "taken"), Answered(START, "m1", "c1", "b", "refused")],
        received={"m1": START + MINUTE},
    )


def found(
    trail: Trail = TRAIL,
    far: GatewayRecord | None = None,
    away: Sequence[tuple[datetime, datetime]] = (),
    due_until: datetime = DUE_UNTIL,
) -> tuple[str, ...]:
    return broken_trail(trail, {"sun": record() if far is None else far}, away, due_until)


def setpoints(*changed: SentSetpoint) -> dict[tuple[str, int], SentSetpoint]:
    return {**TRAIL.setpoints, **{(each.resource_id, each.sequence): each for each in changed}}


def test_nothing_is_said_of_a_trail_that_is_whole() -> None:
    assert found() == ()


# ---- events


def test_a_step_without_a_line_and_a_line_without_a_step_are_found() -> None:
    assert found(replace(TRAIL, log=[*LOG[:1], *LOG[2:]])) == ("audit: evening: no line of 'event approved' by wang",)
    assert found(replace(TRAIL, log=[*LOG, LOG[1]])) == (
        "audit: evening: a line of 'event approved' by wang, and no such step",
    )
    wrong = [*LOG[:1], line("event approved", "li"), *LOG[2:]]
    assert found(replace(TRAIL, log=wrong)) == (
        "audit: evening: no line of 'event approved' by wang",
        "audit: evening: a line of 'event approved' by li, and no such step",
    )
    assert found(replace(TRAIL, log=[*LOG, line("event declared", "li", "noon")])) == (
        "audit: lines of noon, and no such event",
    )


def test_a_change_of_an_event_has_its_line_too() -> None:
    change = TargetChange(at=START, by="li", reason="hot", before_kw=100, after_kw=120, approved_by="wang")
    changed = EVENT.model_copy(update={"changes": (change.model_copy(update={"effective_from": START}),)})
    asked, made = line("event change asked for", "li"), line("event change made", "wang")
    assert found(replace(TRAIL, events=[changed], log=[*LOG, asked, made])) == ()
    assert found(replace(TRAIL, events=[changed], log=[*LOG, asked])) == (
        "audit: evening: no line of 'event change made' by wang",
    )
    waits = EVENT.model_copy(update={"changes": (change,)})
    assert found(replace(TRAIL, events=[waits])) == ("audit: evening: no line of 'event change asked for' by li",)


# ---- commands and their plans


def test_a_plan_that_is_not_known_is_found() -> None:
    assert found(replace(TRAIL, known_plans=frozenset({"first"}))) == (
        "plans: second of sun's sequence 2 is not known",
    )


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"plan_hash": "first"}, "is not kept as it came"),
        ({"sequence": 3}, "is not kept as it came"),
        ({"aggregator_id": "moon"}, "is not kept as it came"),
        ({"valid_until": START}, "is not kept as it came"),
        ({"setpoints": 2}, "has other setpoints than are kept"),
    ],
)
def test_a_command_that_is_kept_otherwise_than_it_came_is_found(change: dict[str, Any], why: str) -> None:
    commands = {**TRAIL.commands, "c2": replace(TRAIL.commands["c2"], **change)}
    assert found(replace(TRAIL, commands=commands)) == (f"commands: sun: sequence 2 {why}",)


def test_a_command_that_is_not_kept_and_a_setpoint_of_another_power_are_found() -> None:
    without = {"c1": TRAIL.commands["c1"]}
    assert found(replace(TRAIL, commands=without)) == ("commands: sun: sequence 2 is not in the database",)
    other = replace(TRAIL, setpoints=setpoints(sent("a", 2, 7.5, None)))
    assert found(other) == ("commands: sun: sequence 2 has other setpoints than are kept",)
    gone = replace(TRAIL, setpoints={key: each for key, each in TRAIL.setpoints.items() if key != ("a", 2)})
    assert found(gone) == ("commands: sun: sequence 2 has other setpoints than are kept",)


def test_a_command_that_never_came_is_lost_unless_nobody_could_bring_it() -> None:
    far = record()
    del far.came[1:]
    assert found(far=far) == ("commands: sun: sequence 2 was lost",)
    assert found(far=far, away=[(START - MINUTE, START + MINUTE)]) == ()
    assert found(far=far, away=[(START + MINUTE, START + 2 * MINUTE)]) != ()
    assert found(far=far, due_until=START - MINUTE) == ()


def test_a_command_that_was_given_up_has_its_line() -> None:
    commands = {**TRAIL.commands, "c2": replace(TRAIL.commands["c2"], given_up_at=START)}
    given_up = replace(TRAIL, commands=commands)
    far = record()
    del far.came[1:]
    for each in (far, record()):
        assert found(given_up, each) == ("audit: sun: sequence 2 was given up, and there is no line of it",)
        told = line("command.given_up", "delivery", "sun", {"commands": [{"command_id": "c2"}]})
        assert found(replace(given_up, log=[*LOG, told]), each) == ()


# ---- answers


def test_an_answer_that_is_not_kept_is_found() -> None:
    lost = replace(TRAIL, setpoints=setpoints(sent("a", 1, 5.0, None)))
    assert found(lost) == ("answers: sun: a to sequence 1 at 05:01:00 is not kept",)
    far = record()
    far.received.clear()
    assert found(lost, far, due_until=START - MINUTE) == (), "it is still under way"


def test_an_answer_to_all_of_a_command_counts_for_each_of_its_devices() -> None:
    far = record()
    far.answered = [Answered(START, "m1", "c1", None, "refused")]
    refused = [replace(each, outcome=AckOutcome.REFUSED) for each in SETPOINTS[:2]]
    assert found(replace(TRAIL, setpoints=setpoints(*refused)), far) == ()
    assert found(replace(TRAIL, setpoints=setpoints(refused[0], sent("b", 1, None, None))), far) == (
        "answers: sun: b to sequence 1 at 05:01:00 is not kept",
    )


def test_an_answer_that_was_never_given_is_found() -> None:
    invented = replace(TRAIL, setpoints=setpoints(sent("a", 2, 7.0, AckOutcome.TAKEN)))
    assert found(invented) == ("answers: sun: a to sequence 2 is kept as taken, and never said so",)
    turned = replace(TRAIL, setpoints=setpoints(sent("a", 1, 5.0, AckOutcome.REFUSED)))
    assert found(turned) == ("answers: sun: a to sequence 1 is kept as refused, and never said so",)


def test_an_answer_that_came_after_the_time_of_the_order_is_kept_as_expired_and_one_before_is_not() -> None:
    late = replace(sent("a", 1, 5.0, AckOutcome.EXPIRED), answered_at=START + MINUTE)
    assert found(replace(TRAIL, setpoints=setpoints(late))) == ()
    early = replace(late, answered_at=START + 2 * MINUTE)
    assert found(replace(TRAIL, setpoints=setpoints(early))) == (
        "answers: sun: a to sequence 1 at 05:01:00 is not kept",
    )


def test_a_message_that_nobody_ever_received_is_found_once_it_is_due() -> None:
    far = record()
    far.answered.append(Answered(START + 2 * MINUTE, "m2", "c2", "a", "taken"))
    assert found(far=far) == ("answers: sun: message m2 of 05:02:00 was never received",)
    assert found(far=far, due_until=START + MINUTE) == ()
