"""The audit trail of a day, read beside what it is a trail of: nothing that happened may be missing from it.

    events      every step of an event has its line and every line its step; so do changes of its target
    plans       the plan that a command bears the fingerprint of is known, as long as the command is
    commands    what came to a gateway stands in the database as it came; what was made has come, unless broker or
                service were away, or it was given up, of which there is a line
    answers     what a gateway has said of a command stands there too, unless it was lost on the wire; nothing else does

What is under way in the last minutes is nobody's loss.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from adapters.store import Store
from models.events import EventRecord
from models.life_cycle import EventStatus
from models.records import AckOutcome, AuditEntry, CommandRecord, SentSetpoint
from simulations.wire.codec import ReceivedSetpoints
from simulations.wire.record import GatewayRecord

Span = tuple[datetime, datetime]
_STEPS = {f"event {status.value}" for status in EventStatus}
_SAID = {AckOutcome.TAKEN, AckOutcome.REFUSED, AckOutcome.DONE}
EVERY = 10_000_000
"""More commands than there ever are."""


@dataclass(frozen=True)
class Trail:
    """What the platform's database tells of a time: ``commands`` by id, ``setpoints`` by device and sequence."""

    events: Sequence[EventRecord]
    log: Sequence[AuditEntry]
    commands: Mapping[str, CommandRecord]
    setpoints: Mapping[tuple[str, int], SentSetpoint]
    known_plans: frozenset[str]

    @classmethod
    def of(cls, store: Store, since: datetime) -> "Trail":
        """What a store tells; of commands those that were made since then."""
        commands = {each.command_id: each for _, each in store.commands(since=since, limit=EVERY)}
        plans = {each.plan_hash for each in commands.values()}
        return cls(
            store.events(),
            store.audit_log(),
            commands,
            {(each.resource_id, each.sequence): each for each in store.setpoints_since(since)},
            frozenset(each for each in plans if store.plan_facts(each) is not None),
        )


def broken_trail(
    trail: Trail, records: Mapping[str, GatewayRecord], away: Sequence[Span], due_until: datetime
) -> tuple[str, ...]:
    """Everything that is missing or too much.  ``records``: by gateway; ``away``: when broker or service were;
    ``due_until``: what was made or said later may still be under way.
    """
    found = [*broken_steps(trail.events, trail.log), *broken_plans(trail)]
    found += broken_commands(trail, {name: record.came for name, record in records.items()}, away, due_until)
    for name, record in sorted(records.items()):
        found += [f"answers: {name}: {each}" for each in broken_answers(trail, record, due_until)]
    return tuple(found)


def broken_steps(events: Iterable[EventRecord], log: Sequence[AuditEntry]) -> Iterator[str]:
    """Steps and changes of events without a line of the log, and lines without a step."""
    lines: dict[str, Counter[tuple[str, str]]] = {}
    for entry in log:
        if entry.action in _STEPS or entry.action.startswith("event change "):
            lines.setdefault(entry.subject, Counter())[entry.action, entry.actor] += 1
    for record in events:
        name = record.event.event_id
        told = lines.pop(name, Counter())
        steps = Counter((f"event {each.status.value}", each.by) for each in record.steps)
        changes = Counter(
            ("event change asked for", each.by)
            if each.effective_from is None
            else ("event change made", each.approved_by or each.by)
            for each in record.changes
        )
        yield from (f"audit: {name}: no line of {what!r} by {who}" for what, who in (steps + changes) - told)
        extra = Counter({each: count for each, count in told.items() if each[0] in _STEPS}) - steps
        yield from (f"audit: {name}: a line of {what!r} by {who}, and no such step" for what, who in extra)
    yield from (f"audit: lines of {name}, and no such event" for name in sorted(lines))


def broken_plans(trail: Trail) -> Iterator[str]:
    """Fingerprints that commands bear, and nobody knows of what plan."""
    for each in {each.plan_hash: each for each in trail.commands.values()}.values():
        if each.plan_hash not in trail.known_plans:
            yield f"plans: {each.plan_hash[:12]} of {each.aggregator_id}'s sequence {each.sequence} is not known"


def broken_commands(
    trail: Trail,
    came: Mapping[str, Sequence[tuple[datetime, ReceivedSetpoints]]],
    away: Sequence[Span],
    due_until: datetime,
) -> Iterator[str]:
    """Commands that are not kept as they came, were lost, or were given up without a word."""
    strange = {
        f"commands: {name}: sequence {batch.sequence} {why}"
        for name, batches in came.items()
        for _, batch in batches
        if (why := _unlike(trail, name, batch)) is not None
    }
    yield from sorted(strange)
    arrived = {batch.command_id for batches in came.values() for _, batch in batches}
    given_up = [line.details["commands"] for line in trail.log if line.action == "command.given_up"]
    told = {each["command_id"] for commands in given_up for each in commands}
    for record in trail.commands.values():
        name = f"{record.aggregator_id}: sequence {record.sequence}"
        if record.given_up_at is not None:
            if record.command_id not in told:
                yield f"audit: {name} was given up, and there is no line of it"
        elif record.command_id not in arrived and record.sent_at <= due_until and not _is_in(record.sent_at, away):
            yield f"commands: {name} was lost"


def _is_in(moment: datetime, spans: Sequence[Span]) -> bool:
    return any(start <= moment < end for start, end in spans)


def _unlike(trail: Trail, name: str, batch: ReceivedSetpoints) -> str | None:
    """What is wrong with what is kept of a command that came to a gateway."""
    record = trail.commands.get(batch.command_id)
    if record is None:
        return "is not in the database"
    kept = (record.aggregator_id, record.sequence, record.plan_hash, record.valid_from, record.valid_until)
    if kept != (name, batch.sequence, batch.plan_hash, batch.valid_from, batch.valid_until):
        return "is not kept as it came"
    told = [trail.setpoints.get((each, batch.sequence)) for each, _ in batch.setpoints]
    same = [kept is not None and kept.power_kw == kw for kept, (_, kw) in zip(told, batch.setpoints, strict=True)]
    return None if all(same) and len(same) == record.setpoints else "has other setpoints than are kept"


def broken_answers(trail: Trail, record: GatewayRecord, due_until: datetime) -> Iterator[str]:
    """Answers of one gateway that are not kept, and kept ones that it has never given.

    An order whose time was over before the answer came is kept as expired.
    """
    said, known_at = _said(record)
    for answer in record.answered:
        if answer.at <= due_until and answer.message_id not in record.received:
            yield f"message {answer.message_id} of {answer.at:%H:%M:%S} was never received"
    own = {name for _, batch in record.came for name, _ in batch.setpoints}
    for (name, sequence), kept in trail.setpoints.items():
        place, heard_at = (name, sequence), known_at.get((name, sequence))
        if name not in own:
            continue
        if kept.outcome in _SAID:
            if kept.outcome.value not in said.get(place, ()):
                yield f"{name} to sequence {sequence} is kept as {kept.outcome.value}, and never said so"
        elif heard_at is not None and (kept.answered_at is None or heard_at < kept.answered_at):
            yield f"{name} to sequence {sequence} at {heard_at:%H:%M:%S} is not kept"


def _said(record: GatewayRecord) -> tuple[dict[tuple[str, int], set[str]], dict[tuple[str, int], datetime]]:
    """By device and sequence: what was said of it, and when it was first heard that the platform knows."""
    commands = {batch.command_id: batch for _, batch in record.came}
    said: dict[tuple[str, int], set[str]] = {}
    known_at: dict[tuple[str, int], datetime] = {}
    for answer in record.answered:
        batch, received = commands.get(answer.command_id), record.received.get(answer.message_id)
        if batch is None:
            continue  # it came before anybody watched
        names = [name for name, _ in batch.setpoints] if answer.resource_id is None else [answer.resource_id]
        for name in names:
            place = (name, batch.sequence)
            said.setdefault(place, set()).add(answer.status)
            if received is not None:
                known_at[place] = min(received, known_at.get(place, received))
    return said, known_at
