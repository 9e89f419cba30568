"""Recompute everything that the record says, and find and locate whatever is not as it was recorded.

The chain of the audit log proves the lines, the lines prove blobs and rows.  Nothing here writes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, tzinfo
from functools import cached_property
from typing import Any

from adapters.store.record import ISSUED, RecordLine, RowDigest
from adapters.store.schema import to_us
from adapters.store.store import Store
from models.errors import InputError, InputFault, StoreError
from models.records import PlanKind
from vpp.day_ahead import AFTER_EVENT
from vpp.recorder import ANSWERS, BASELINES, COMMANDS, LATER_ANSWERS, PLANS, READINGS
from vpp.recorder_blobs import SHORT, commands_sha256, unpack_batches
from vpp.recorder_findings import Verdict, What
from vpp.recorder_verify_answers import verify_answers
from vpp.recorder_verify_readings import Thinned, verify_late_hours, verify_readings
from vpp.recorder_verify_statements import Version, verify_statement, versions
from vpp.retention import BEFORE_EVENT, FORGOTTEN, THINNED

Progress = Callable[[int, int], None]
"""Told how many lines of how many are done."""


@dataclass(frozen=True, slots=True)
class Span:
    """What to look at: from when until when (microseconds; None: open), and of which event."""

    start_us: int | None = None
    end_us: int | None = None
    event_id: str | None = None

    @classmethod
    def of_event(cls, store: Store, event_id: str) -> "Span":
        """The event with the hours that judge its baseline and its rebound; ``InputError`` if there is none."""
        stored = store.event(event_id)
        if stored is None:
            raise InputError([InputFault("events", "event_id", event_id, "is not known")])
        event = stored.record.event
        return cls(to_us(event.start - BEFORE_EVENT), to_us(event.end + AFTER_EVENT), event_id)

    @classmethod
    def since(cls, given: str, zone: tzinfo) -> "Span":
        """From a time on that somebody wrote, in ``zone`` if it has no offset; ``InputError`` if it is none."""
        try:
            found = datetime.fromisoformat(given)
        except ValueError as error:
            rule = "must be ISO 8601, as in 2025-07-16T13:00 (market time) or 2025-07-16T13:00+08:00"
            raise InputError([InputFault("command", "since", given, rule)]) from error
        return cls(to_us(found if found.tzinfo is not None else found.replace(tzinfo=zone)))

    def touches(self, first_us: int, last_us: int) -> bool:
        """Whether a part of [first, last] lies inside."""
        return (self.end_us is None or first_us < self.end_us) and (self.start_us is None or last_us >= self.start_us)

    def bounded(self, start_us: int, end_us: int) -> tuple[int, int]:
        """The part of [start, end) that is inside."""
        return max(start_us, self.start_us or start_us), min(end_us, self.end_us or end_us)


def verify(
    store: Store, span: Span | None = None, head: str | None = None, progress: Progress | None = None
) -> Verdict:
    """The whole chain, and of what it records everything that ``span`` touches; ``head``: a hash noted elsewhere."""
    made = _Verification(store, span or Span(), progress or (lambda _done, _total: None))
    made.chain(head)
    made.lines()
    return made.verdict


class _Verification:
    def __init__(self, store: Store, span: Span, progress: Progress) -> None:
        self._store, self._span, self._progress = store, span, progress
        self.verdict = Verdict()

    @cached_property
    def _lines(self) -> dict[str, list[RecordLine]]:
        found: dict[str, list[RecordLine]] = {}
        for line in self._store.record_lines():
            found.setdefault(line.action, []).append(line)
        return found

    def chain(self, head: str | None) -> None:
        """Every line hangs on the one before."""
        verdict = self.verdict
        verdict.entries, verdict.head_sha256 = self._store.audit_head()
        try:
            verdict.checked["audit"] = self._store.verify_audit()[0]
        except StoreError as error:
            verdict.add(What.BROKEN, "audit", "chain", str(error))
        if head is not None and not self._store.has_audit_hash(head):
            verdict.add(What.MISSING, "audit", head, "the head that was noted elsewhere is no line of this log")

    def lines(self) -> None:
        """Everything that lines say, kind by kind."""
        later = [line.details for line in self._lines.get(LATER_ANSWERS, [])]
        readings = self._readings_by_hour()
        work: list[tuple[str, Callable[[Any], None], list[Any]]] = [
            ("plans", self._plans, [each.details for each in self._lines.get(PLANS, [])]),
            ("baselines", self._baselines, [each.details for each in self._lines.get(BASELINES, [])]),
            ("setpoint_batches", self._commands, self._touched(COMMANDS)),
            (
                "setpoints",
                lambda details: verify_answers(self._store, self.verdict, details, later),
                self._touched(ANSWERS),
            ),
            (
                "readings",
                lambda hour: verify_readings(self._store, self.verdict, hour, readings[hour], self._thinned),
                [hour for hour in readings if self._span.touches(hour, hour + 3_600_000_000 - 1)],
            ),
            ("statements", self._statement, self._statements),
        ]
        total, done = sum(len(each) for _, _, each in work), 0
        self._progress(done, total)
        for table, check, items in work:
            for item in items:
                try:
                    check(item)
                except (KeyError, TypeError, ValueError, AttributeError) as error:  # a line that the chain tells of too
                    self.verdict.add(What.BROKEN, "audit", table, f"a line of the record cannot be read: {error!r}")
                done += 1
                self._progress(done, total)
        self._what_has_no_line(readings)

    def _touched(self, action: str) -> list[dict[str, Any]]:
        return [
            line.details
            for line in self._lines.get(action, [])
            if self._span.touches(line.details.get("first_sent_us", 0), line.details.get("last_sent_us", 2**62))
        ]

    # ---- plans, baselines, commands

    def _plans(self, details: dict[str, Any]) -> None:
        recorded = {each["key"]: each for each in details["plans"]}
        if not any(self._span.touches(each["made_at_us"], each["made_at_us"]) for each in recorded.values()):
            return
        now = {row.key: row for row in self._store.plan_digests(details["after"], details["through"])}
        for key, said in recorded.items():
            if (row := self._row("plans", key, said["plan_hash"], said["made_at_us"], now)) is None:
                continue
            differs = _differing(said, row.facts, ("kind", "market_day", "source", "status", "objective_cny"))
            differs += _differing(said, row.facts, ("lower_bound_cny",))
            if row.name != said["plan_hash"]:
                differs.append(f"plan_hash: {said['plan_hash']} → {row.name}")
            if said["sha256"] != row.sha256 and not differs:
                differs.append("facts")
            if said["delivered_at"] is not None:  # noted later than the record: it may only come, not change
                differs += _differing(said, row.facts, ("delivered_at",))
            if said["schedule"] != row.facts["schedule"]:
                if row.facts["schedule"] is None and self._is_thinned(said):
                    self.verdict.notes["thinned plans"] += 1
                else:
                    differs.append("schedule")
            if differs:
                self.verdict.add(What.CHANGED, "plans", said["plan_hash"], ", ".join(differs), said["made_at_us"])
        self._added("plans", now, recorded)

    def _is_thinned(self, said: dict[str, Any]) -> bool:
        """Of plans of real time only the newest keep their schedules."""
        return bool(said["kind"] == PlanKind.REAL_TIME.value and said["key"] < self._newest_real_time)

    @cached_property
    def _newest_real_time(self) -> int:
        plans = [each for line in self._lines.get(PLANS, []) for each in line.details["plans"]]
        return max((each["key"] for each in plans if each["kind"] == PlanKind.REAL_TIME.value), default=0)

    def _baselines(self, details: dict[str, Any]) -> None:
        recorded = {each["key"]: each for each in details["baselines"]}
        now = {row.key: row for row in self._store.baseline_digests(details["after"], details["through"])}
        for key, said in recorded.items():
            name = f"{said['market_day']} {said['baseline_hash']}"
            row = self._row("baselines", key, name, None, now)
            if row is not None and row.sha256 != said["sha256"]:
                same = (row.name, row.facts["market_day"]) == (said["baseline_hash"], said["market_day"])
                differs = "arrays" if same else f"now {row.facts['market_day']} {row.name}"
                self.verdict.add(What.CHANGED, "baselines", name, differs)
        self._added("baselines", now, recorded)

    def _commands(self, details: dict[str, Any]) -> None:
        rows = self._store.batch_digests(details["after"], details["through"])
        for key in self._store.orphans(details["after"], details["through"]):
            self.verdict.add(What.ADDED, "setpoints", f"batch_key {key}", "setpoints to no command")
        if len(rows) == details["batches"] and commands_sha256(rows) == details["sha256"]:
            self.verdict.checked["setpoint_batches"] += len(rows)
            self.verdict.checked["setpoints"] += details["setpoints"]
            self._store_blob(details["blob"], details["first_sent_us"])
            return
        before = len(self.verdict.findings)
        now = {row.key: row for row in rows}
        blob = self._store_blob(details["blob"], details["first_sent_us"])
        recorded = {each.key: each for each in unpack_batches(blob or b"[]")}
        for key, said in recorded.items():
            row = self._row("setpoint_batches", key, said.command_id, said.sent_us, now)
            if row is None or row.sha256[:SHORT] == said.short:
                continue
            differs = "the command or a power in it"
            if row.facts["setpoints"] != said.setpoints:
                differs = f"setpoints: {said.setpoints} → {row.facts['setpoints']}"
            elif row.name != said.command_id:
                differs = f"command_id: {said.command_id} → {row.name}"
            self.verdict.add(What.CHANGED, "setpoint_batches", said.command_id, differs, said.sent_us)
        if blob is not None:
            self._added("setpoint_batches", now, recorded)
        if len(self.verdict.findings) == before or blob is None:
            span = f"batch_key {details['after']} to {details['through']}"
            self.verdict.add(What.CHANGED, "setpoint_batches", span, "some command", details["first_sent_us"])

    def _row(self, table: str, key: int, name: str, at_us: int | None, now: dict[int, RowDigest]) -> RowDigest | None:
        row = now.get(key)
        self.verdict.checked[table] += 1
        if row is None:
            self.verdict.add(What.MISSING, table, name, f"key {key}", at_us)
        return row

    def _added(self, table: str, now: dict[int, RowDigest], recorded: dict[int, Any]) -> None:
        for key in sorted(now.keys() - recorded.keys()):
            self.verdict.add(What.ADDED, table, now[key].name, f"key {key}", now[key].at_us)

    def _store_blob(self, name: str, at_us: int) -> bytes | None:
        content = self._store.intact_blob(name)
        if content is None:
            self.verdict.add(What.BROKEN, "record_blobs", name, "missing or changed", at_us)
        return content

    # ---- readings

    def _readings_by_hour(self) -> dict[int, list[dict[str, Any]]]:
        found: dict[int, list[dict[str, Any]]] = {}
        for line in self._lines.get(READINGS, []):
            try:
                found.setdefault(to_us(datetime.fromisoformat(line.details["hour"])), []).append(line.details)
            except (KeyError, TypeError, ValueError) as error:
                self.verdict.add(What.BROKEN, "audit", line.entry_id, f"a line of the record cannot be read: {error!r}")
        return found

    @cached_property
    def _thinned(self) -> Thinned:
        thinned = [line.details for line in self._lines.get(THINNED, [])]
        forgotten = [line.details["before_us"] for line in self._lines.get(FORGOTTEN, [])]
        return Thinned(thinned, max(forgotten, default=0))

    def _what_has_no_line(self, readings: dict[int, list[dict[str, Any]]]) -> None:
        for table, action in (("plans", PLANS), ("baselines", BASELINES), ("setpoint_batches", COMMANDS)):
            lines = self._lines.get(action, [])
            new = self._store.rows_after(table, lines[-1].details.get("through") if lines else None)
            if new:
                self.verdict.notes[f"new {table}"] += new
        if readings:
            newest_us = max(hour for hour, lines in readings.items() if not all(each["late"] for each in lines))
            start_us, end_us = self._span.bounded(min(readings), newest_us)
            verify_late_hours(self._store, self.verdict, (start_us, end_us), newest_us, readings, self._thinned)

    # ---- statements

    @cached_property
    def _statements(self) -> list[Version]:
        found = versions(self._store, self._lines.get(ISSUED, []), self._span.event_id)
        return [each for each in found if self._in_span(each[0])]

    def _in_span(self, event_id: str) -> bool:
        if self._span.event_id is not None or self._span.start_us is None:
            return True
        stored = self._store.event(event_id)
        return stored is None or self._span.touches(to_us(stored.record.event.start), to_us(stored.record.event.end))

    def _statement(self, which: Version) -> None:
        verify_statement(self._store, self.verdict, which, self._lines.get(ISSUED, []))


def _differing(said: dict[str, Any], now: dict[str, Any], names: tuple[str, ...]) -> list[str]:
    return [f"{name}: {said[name]} → {now[name]}" for name in names if said[name] != now[name]]
