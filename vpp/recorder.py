"""The flight recorder: what was planned, sent, answered and measured gets a line in the audit log that proves it.

It goes behind: nothing that it records waits for it, and how far it has come is said by its own lines and nowhere else.
After a crash it goes on behind the newest of them.  Every line covers a range of keys, or an hour of readings and when
they came; ranges join without a gap, so that what is put in or taken out is noticed too (``vpp.recorder_verify``).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from adapters.store.record import Answers, RecordLine, RowDigest, Said
from adapters.store.schema import from_us, to_us
from adapters.store.store import Store
from vpp.recorder_blobs import (
    HOUR_US,
    commands_sha256,
    names_blob,
    pack_answers,
    pack_batches,
    pack_readings,
    unpack_answers,
)

ACTOR = "recorder"
PLANS, COMMANDS, BASELINES = "record: plans", "record: commands", "record: baselines"
ANSWERS, LATER_ANSWERS, READINGS = "record: answers", "record: later answers", "record: readings"

SETTLED = timedelta(minutes=2)
"""What is younger may still be in a transaction that has not ended."""
ANSWERED = timedelta(minutes=15)
"""So long after it was sent a batch is looked at for its answers ..."""
ANSWERED_LATE = timedelta(days=3)
"""... and then once more: gateways send again what they have kept over a weekend."""
MEASURED = timedelta(minutes=10)
"""So long after its end an hour of readings is recorded: by then everybody has sent who is not cut off."""
CAME_LATE = (timedelta(hours=6), timedelta(days=3), timedelta(days=30))
"""So much later it is looked at again for readings of those who were cut off."""
CUT = timedelta(minutes=5)
"""Readings are told apart by when they came; what came within the last minutes may still be in a transaction."""

PLANS_AT_ONCE = 16
BATCHES_AT_ONCE = 200
SETPOINTS_AT_ONCE = 200_000
HOURS_AT_ONCE = 24
PIECE_PAUSE_S = 0.002


@dataclass
class _Hours:
    """Readings: the last hour that has its line, and of each hour up to when what came is recorded."""

    newest_us: int | None = None
    received_us: dict[int, int] = field(default_factory=dict)


class Recorder:
    """Each ``step`` is a bounded piece of work for a thread; nothing is kept between two but what the log says."""

    def __init__(self, store: Store, pause_s: float = PIECE_PAUSE_S) -> None:
        self._store, self._pause_s = store, pause_s
        self._read_to = 0
        self._through: dict[str, int] = {}
        self._answers: list[dict[str, Any]] = []
        self._hours = _Hours()
        self._said: tuple[str, list[Answers]] | None = None

    def step(self, now: datetime) -> int:
        """A piece of everything that is waiting; how many lines it made (none: it has caught up)."""
        self._catch_up()
        parts: tuple[Callable[[datetime], int], ...] = (
            self._plans,
            self._baselines,
            self._commands,
            self._first_answers,
            self._later_answers,
            self._readings,
        )
        return sum(part(now) for part in parts)

    # ---- what the log says

    def _catch_up(self) -> None:
        """Also lines of somebody else who recorded meanwhile: nothing is recorded twice."""
        for line in self._store.record_lines(self._read_to):
            self._note(line)
            self._read_to = line.entry_id

    def _note(self, line: RecordLine) -> None:
        details = line.details
        if line.action == READINGS:
            hour_us = to_us(datetime.fromisoformat(details["hour"]))
            hours = self._hours
            hours.received_us[hour_us] = details["received_until_us"]
            if not details["late"]:
                hours.newest_us = hour_us
                oldest_us = hour_us - to_us(from_us(0) + CAME_LATE[-1]) - HOURS_AT_ONCE * HOUR_US
                for old in [each for each in hours.received_us if each < oldest_us]:
                    del hours.received_us[old]
        elif "through" in details:
            self._through[line.action] = details["through"]
            if line.action == ANSWERS:
                self._answers.append(details)
            elif line.action == LATER_ANSWERS:
                self._answers = [each for each in self._answers if each["through"] > details["through"]]

    def _add(self, now: datetime, action: str, subject: str, details: dict[str, Any], *blobs: bytes) -> int:
        with self._store.transaction():
            for each in blobs:
                self._store.put_blob(each)
            self._store.append_audit(now, ACTOR, action, subject, details)
        return 1

    def _range(self, action: str, rows: Sequence[RowDigest | Answers]) -> dict[str, Any]:
        return {"after": self._through.get(action), "through": rows[-1].key}

    # ---- plans, baselines, commands

    def _plans(self, now: datetime) -> int:
        after = self._through.get(PLANS)
        rows = self._store.plan_digests(after, None, until=now - SETTLED, limit=PLANS_AT_ONCE)
        if not rows:
            return 0
        plans = [
            {"key": row.key, "plan_hash": row.name, "made_at_us": row.at_us, "sha256": row.sha256, **row.facts}
            for row in rows
        ]
        return self._add(now, PLANS, "plans", {**self._range(PLANS, rows), "plans": plans})

    def _baselines(self, now: datetime) -> int:
        rows = self._store.baseline_digests(self._through.get(BASELINES), None, limit=PLANS_AT_ONCE)
        if not rows:
            return 0
        made = [{"key": row.key, "baseline_hash": row.name, "sha256": row.sha256, **row.facts} for row in rows]
        return self._add(now, BASELINES, "baselines", {**self._range(BASELINES, rows), "baselines": made})

    def _commands(self, now: datetime) -> int:
        after = self._through.get(COMMANDS)
        rows = self._store.batch_digests(
            after, None, until=now - SETTLED, limit=BATCHES_AT_ONCE, most_setpoints=SETPOINTS_AT_ONCE
        )
        if not rows:
            return 0
        blob, name = pack_batches(rows)
        details = {
            **self._range(COMMANDS, rows),
            "first_sent_us": min(row.at_us for row in rows),
            "last_sent_us": max(row.at_us for row in rows),
            "batches": len(rows),
            "setpoints": sum(row.facts["setpoints"] for row in rows),
            "sha256": commands_sha256(rows),
            "blob": name,
        }
        return self._add(now, COMMANDS, "commands", details, blob)

    # ---- answers

    def _first_answers(self, now: datetime) -> int:
        sent, after = self._through.get(COMMANDS), self._through.get(ANSWERS)
        if sent is None or sent == after:
            return 0
        rows = self._store.answers_to(after, sent, until=now - ANSWERED, limit=BATCHES_AT_ONCE)
        return self._add_answers(now, ANSWERS, rows, rows) if rows else 0

    def _later_answers(self, now: datetime) -> int:
        """Only what has changed since the first look."""
        through = self._through.get(ANSWERS)
        if through is None or self._through.get(LATER_ANSWERS) == through:
            return 0
        rows = self._store.answers_to(
            self._through.get(LATER_ANSWERS), through, until=now - ANSWERED_LATE, limit=BATCHES_AT_ONCE
        )
        if not rows:
            return 0
        known = self._known(rows[-1].key)
        changed = []
        for row in rows:
            before: Said = known.get(row.key, {})
            differs: Said = {name: row.said.get(name, (None, None, None)) for name in {*row.said, *before}}
            differs = {name: said for name, said in sorted(differs.items()) if before.get(name) != said}
            if differs:
                changed.append(Answers(row.key, row.command_id, row.sent_us, differs))
        return self._add_answers(now, LATER_ANSWERS, rows, changed)

    def _known(self, through: int) -> dict[int, Said]:
        after = self._through.get(LATER_ANSWERS)
        found: dict[int, Said] = {}
        for details in self._answers:
            if (after is None or details["through"] > after) and (details["after"] or 0) < through:
                # one that was tampered with is found by whoever verifies, and must not stop the record
                blob = self._store.intact_blob(details["blob"])
                found |= {each.key: each.said for each in unpack_answers(blob or b"[]")}
        return found

    def _add_answers(self, now: datetime, action: str, looked_at: Sequence[Answers], told: Sequence[Answers]) -> int:
        blob, name = pack_answers(told)
        details = {
            **self._range(action, looked_at),
            "first_sent_us": min(row.sent_us for row in looked_at),
            "last_sent_us": max(row.sent_us for row in looked_at),
            "looked_at_us": to_us(now),
            "answers": sum(len(row.said) for row in told),
            "blob": name,
        }
        return self._add(now, action, "commands", details, blob)

    # ---- readings

    def _readings(self, now: datetime) -> int:
        """The next hour that is over, and before it what has come late for hours that it makes due for another look."""
        hour_us = self._next_hour(now)
        if hour_us is None:
            return 0
        before, cut_us, lines = self._hours.newest_us, to_us(now - CUT), 0
        if before is not None:
            for delay in CAME_LATE:
                delay_us = to_us(from_us(0) + delay)
                lines += self._late(now, before - delay_us, hour_us - delay_us, cut_us)
        return lines + self._hour(now, hour_us, None, cut_us)

    def _next_hour(self, now: datetime) -> int | None:
        """Empty hours are passed over, but not more than a day of them, so that no late look has much to do."""
        last_us = to_us(now - MEASURED) // HOUR_US * HOUR_US
        before = self._hours.newest_us
        if before is None:
            done = self._store.means_until()
            start_us = 0 if done is None else -(-to_us(done) // HOUR_US) * HOUR_US
            first_us = self._store.next_reading_us(start_us, last_us)
            return None if first_us is None else first_us // HOUR_US * HOUR_US
        first_us = self._store.next_reading_us(before + HOUR_US, last_us)
        furthest = before + HOURS_AT_ONCE * HOUR_US
        if first_us is None:
            return furthest if furthest + HOUR_US <= last_us else None
        return min(first_us // HOUR_US * HOUR_US, furthest)

    def _late(self, now: datetime, after_us: int, through_us: int, cut_us: int) -> int:
        """Hours with after < hour <= through for which something came since they were looked at last."""
        lines, known = 0, self._hours.received_us
        # before the first hour of the record nothing is recorded
        start_us = max(after_us + HOUR_US, min(known, default=0))
        while (first_us := self._store.next_reading_us(start_us, through_us + HOUR_US)) is not None:
            hour_us = first_us // HOUR_US * HOUR_US
            seen_us = known.get(hour_us)
            if self._store.readings_received(hour_us, hour_us + HOUR_US, seen_us, cut_us):
                lines += self._hour(now, hour_us, seen_us, cut_us, late=True)
                known[hour_us] = cut_us
            start_us = hour_us + HOUR_US
        return lines

    def _hour(self, now: datetime, hour_us: int, seen_us: int | None, cut_us: int, *, late: bool = False) -> int:
        end_us = hour_us + HOUR_US
        digest = self._store.readings_digest(hour_us, end_us, seen_us, cut_us, self._pause_s)
        names = names_blob(self._store.resource_keys())
        blob, name = pack_readings(digest, names)
        hour = from_us(hour_us).isoformat()
        details = {
            "hour": hour,
            "late": late,
            "received_after_us": seen_us,
            "received_until_us": cut_us,
            "count": digest.count,
            "sha256": digest.sha256,
            "blob": name if digest.count else None,
        }
        return self._add(now, READINGS, hour, details, *((blob, names) if digest.count else ()))
