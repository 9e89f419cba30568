"""What aggregators send: each message is applied once, its answer is written in the same transaction.

The link (``adapters.mqtt.link``) calls these; what an event response means is the event desk's business.
"""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime

import numpy as np
import structlog

from adapters.mqtt.envelope import Refusal
from adapters.mqtt.payloads import (
    Ack,
    CapabilityMessage,
    EventResponseMessage,
    Register,
    Status,
    Telemetry,
    event_response,
)
from adapters.mqtt.uplink import TAKEN, Answer, Received, TelemetryGroup
from adapters.store.store import Store
from models.capacity import connected_kw
from models.conduct import REFUSAL_HOLDS, REFUSED, Misconduct
from models.errors import AccessError, StoreError
from models.events import EventResponse
from models.intervals import FloatArray
from models.moments import microseconds, moment_of
from models.ports import Clock
from models.reading_columns import ReadingColumns
from models.records import AckOutcome, CommandAnswer, DeadLetter, SessionRecord
from models.telemetry import Reading
from vpp.meter_spells import SET_ASIDE
from vpp.metrics import Metrics
from vpp.registration import Registrar
from vpp.state import LiveState

log = structlog.get_logger(__name__)

_OUTCOMES = {outcome.value: outcome for outcome in AckOutcome}
MOST_IN_DOUBT = 1_000
"""So many registrations are remembered of which nobody can say whether the database has kept them."""
_UNUSABLE = {"measured_at": Misconduct.CLOCK_SKEW, "power_kw": Misconduct.WRONG_SCALE}
"""What a reading that is refused for this field says of its device."""


class Uplink:
    """Answers to ``adapters.mqtt.uplink.UplinkHandler``."""

    def __init__(
        self,
        *,
        clock: Clock,
        store: Store,
        state: LiveState,
        registrar: Registrar,
        metrics: Metrics,
        respond: Callable[[str, EventResponse, Callable[[], None]], Awaitable[None]],
        on_session: Callable[[Reading], None],
        on_refused: Callable[[str, str], None],
        is_member: Callable[[str], bool] = lambda _: True,
    ) -> None:
        """``respond``: takes an event response and what must be written in the same transaction.

        ``is_member``: may this aggregator register anything?  Who was removed may not, though a message of his may
        still have been under way.
        """
        self._clock = clock
        self._store = store
        self._state = state
        self._registrar = registrar
        self._metrics = metrics
        self._respond = respond
        self._on_session = on_session
        self._on_refused = on_refused
        self._is_member = is_member
        self.readings_taken = 0
        self.acknowledged = 0
        self.registered = 0
        self.refused_registrations = 0
        self._in_doubt: dict[tuple[str, str], Register] = {}

    def capability_kw(self, aggregator_id: str, resource_id: str) -> float | None:
        """The largest |power| by registration, None for a resource that this aggregator has not registered."""
        live = self._state.get(resource_id)
        if live is None or live.record.aggregator_id != aggregator_id:
            return None
        return max(connected_kw(live.record.resource), live.record.connected_kw)

    def capabilities_kw(self, aggregator_id: str, resource_ids: Sequence[str]) -> FloatArray:
        """``capability_kw`` of many resources, (n,), NaN where it is None."""
        rows = self._state.rows_of(aggregator_id, resource_ids)
        return np.where(rows >= 0, self._state.columns.limit_kw[rows], np.nan)

    async def already_answered(self, aggregator_id: str, message_id: str) -> bytes | None:
        """The first answer to this message, if it was applied before."""
        answer = await asyncio.to_thread(self._store.answer_for, aggregator_id, message_id)
        doubtful = self._in_doubt.get((aggregator_id, message_id))
        if answer is not None and doubtful is not None:
            log.warning("a registration is kept after all", aggregator_id=aggregator_id, message_id=message_id)
            await asyncio.to_thread(self._registrar.look_again, doubtful)
            self._in_doubt.pop((aggregator_id, message_id), None)
        return answer

    async def register(self, aggregator_id: str, received: Received[Register]) -> Answer:
        """Every change by itself: yes, or no with field, rule and value."""
        now = self._clock.now()

        def commit() -> tuple[Answer, list[object], list[str], int]:
            with self._store.transaction():
                if not self._is_member(aggregator_id):
                    raise AccessError(f"{aggregator_id} is no aggregator here (any more): see vpp aggregator add")
                faults, stored, withdrawn = self._registrar.apply(aggregator_id, received.message, now)
                answer = received.answer_registration(faults)
                self._set_aside(aggregator_id, "register", received.message_id, answer.refused, received.payload, now)
                self._store.remember_answer(aggregator_id, received.message_id, answer.to_bytes(), now)
            self._registrar.committed(stored, withdrawn)
            return answer, list(stored), withdrawn, len(answer.refused)

        try:
            answer, stored, _, refused = await asyncio.to_thread(commit)
        except StoreError:
            # A database that goes away in mid-commit may have done it without our hearing so: then the message is
            # answered when it comes again, and nobody here would know what it brought.
            self._in_doubt[aggregator_id, received.message_id] = received.message
            if len(self._in_doubt) > MOST_IN_DOUBT:
                del self._in_doubt[next(iter(self._in_doubt))]
            raise
        self._in_doubt.pop((aggregator_id, received.message_id), None)
        self.registered += len(stored)
        self.refused_registrations += refused
        self._metrics.registrations_accepted.labels(aggregator=aggregator_id).inc(len(stored))
        self._metrics.registrations_refused.labels(aggregator=aggregator_id).inc(refused)
        return answer

    async def telemetry(self, aggregator_id: str, received: Received[Telemetry]) -> Answer:
        """Keep every reading of the sender's own resources; the newest of each device becomes its present state."""
        now = self._clock.now()
        readings = ReadingColumns.of(received.message.readings)
        rows = self._state.rows_of(aggregator_id, readings.resource_ids)
        rule = "must be a resource that you have registered"
        refusals = [
            received.refuse("resource_id", rule, readings.resource_ids[place], place)
            for place in np.flatnonzero(rows < 0).tolist()
        ]
        own = readings if not refusals else readings.take(np.flatnonzero(rows >= 0))
        answer = received.answer(refusals)
        new = await asyncio.to_thread(self._keep_telemetry, aggregator_id, received, own, answer, now)
        self._heard(aggregator_id, own, new, now)
        self._note_unusable(aggregator_id, received, now)
        self._metrics.readings_refused.labels(aggregator=aggregator_id).inc(len(answer.refused))
        return answer

    async def telemetry_group(self, group: TelemetryGroup) -> Mapping[str, bytes]:
        """Keep many messages in one transaction; each of them is as good as kept by itself."""
        now = self._clock.now()
        before, own, new = await asyncio.to_thread(self._keep_group, group, now)
        if len(own.message_ids):
            self._heard(group.aggregator_id, own.readings, new, now)
        return before

    def _heard(self, aggregator_id: str, readings: ReadingColumns, new: int, now: datetime) -> None:
        """Readings that are in the database, so many of them new, become the present state of their devices."""
        all_rows = self._state.rows_of(aggregator_id, readings.resource_ids)
        known = all_rows >= 0  # one may have been withdrawn meanwhile
        rows, age_us = all_rows[known], microseconds(now) - readings.measured_us[known]
        stale = int((age_us > self._state.columns.ttl_us[rows]).sum())
        self.readings_taken += new
        taken = self._state.take_columns(readings, all_rows)
        self._state.received(rows, now)
        for place in sorted(readings.sessions):
            if taken[place]:
                self._on_session(readings[place])
        self._metrics.readings_received.labels(aggregator=aggregator_id).inc(new)
        self._metrics.readings_duplicate.labels(aggregator=aggregator_id).inc(len(readings) - new)
        self._metrics.readings_stale.labels(aggregator=aggregator_id).inc(stale)

    async def capability(self, aggregator_id: str, received: Received[CapabilityMessage]) -> Answer:
        """Keep what an aggregator says it can move (in the audit log; planning by capability comes with its users)."""
        now = self._clock.now()
        refusals = [
            received.refuse("resource_id", "must be a resource that you have registered", item.resource_id, position)
            for position, item in enumerate(received.message.capabilities)
            if item.resource_id is not None and self.capability_kw(aggregator_id, item.resource_id) is None
        ]
        answer = received.answer(refusals)
        kept = [item.model_dump(mode="json") for item in received.message.capabilities]

        def commit() -> None:
            with self._store.transaction():
                self._store.append_audit(now, aggregator_id, "capability", received.message_id, {"capabilities": kept})
                self._set_aside(aggregator_id, "capability", received.message_id, answer.refused, received.payload, now)
                self._store.remember_answer(aggregator_id, received.message_id, answer.to_bytes(), now)

        await asyncio.to_thread(commit)
        return answer

    async def event_response(self, aggregator_id: str, received: Received[EventResponseMessage]) -> Answer:
        """Hand the answer to the event desk, which keeps it together with the receipt: both or neither."""
        answer, now = received.answer(), self._clock.now()

        def remember() -> None:
            self._store.remember_answer(aggregator_id, received.message_id, answer.to_bytes(), now)

        await self._respond(aggregator_id, event_response(received.message), remember)
        return answer

    async def ack(self, aggregator_id: str, received: Received[Ack]) -> Answer:
        """Keep what became of commands; who refuses is not asked again for a while.

        A command that came behind a newer one had to be refused: that says nothing of the device.
        """
        now = self._clock.now()
        answer = received.answer()
        answers = [
            CommandAnswer(item.command_id, item.resource_id, _OUTCOMES[item.status], item.reason)
            for item in received.message.acks
        ]

        refused = {
            (item.command_id, item.resource_id)
            for item in received.message.acks
            if item.status == "refused" and item.resource_id is not None
        }

        def commit() -> tuple[int, set[tuple[str, str]]]:
            with self._store.transaction():
                changed = self._store.save_acks(answers, now, aggregator_id)
                overtaken = self._store.overtaken(aggregator_id, refused, now) if refused else set()
                names = sorted({name for _, name in refused - overtaken if not self._refuses_already(name, now)})
                if names:
                    until = {"resource_ids": names, "until": (now + REFUSAL_HOLDS).isoformat()}
                    self._store.append_audit(now, "service", SET_ASIDE, REFUSED, until)
                self._set_aside(aggregator_id, "ack", received.message_id, answer.refused, received.payload, now)
                self._store.remember_answer(aggregator_id, received.message_id, answer.to_bytes(), now)
            return changed, overtaken

        changed, overtaken = await asyncio.to_thread(commit)
        self.acknowledged += changed  # not in one line: others count while we wait
        for status, count in Counter(item.status for item in received.message.acks).items():
            self._metrics.setpoints_answered.labels(aggregator=aggregator_id, outcome=status).inc(count)
        for item in received.message.acks:
            if item.status != "refused" or item.resource_id is None or (item.command_id, item.resource_id) in overtaken:
                continue
            live = self._state.get(item.resource_id)
            if live is not None and live.record.aggregator_id == aggregator_id:
                live.refused_until = now + REFUSAL_HOLDS
                self._on_refused(live.resource_id, item.reason)
        return answer

    def _refuses_already(self, resource_id: str, now: datetime) -> bool:
        live = self._state.get(resource_id)
        return live is not None and live.refused_until is not None and live.refused_until > now

    async def status(self, aggregator_id: str, received: Received[Status]) -> None:
        """Note that a gateway came or went."""
        online = received.message.status == "online"
        if self._state.aggregator_online.get(aggregator_id) != online:
            log.info("gateway", aggregator_id=aggregator_id, online=online, reason=received.message.reason)
        self._state.aggregator_online[aggregator_id] = online
        if online:
            self._state.said_online_s[aggregator_id] = time.monotonic()
        self._metrics.aggregators_online.set(sum(self._state.aggregator_online.values()))

    async def dead_letter(self, aggregator_id: str, topic: str, payload: bytes, refusals: tuple[Refusal, ...]) -> None:
        """Set a message aside of which nothing could be taken."""
        now = self._clock.now()
        await asyncio.to_thread(self._set_aside, aggregator_id, topic, None, refusals, payload, now)

    # ---- pieces

    def _note_unusable(self, aggregator_id: str, received: Received[Telemetry], now: datetime) -> None:
        """Whose readings had to be refused for their time or their size: the device was heard, and is wrong."""
        wrong = [each for each in received.refusals if each.index is not None and each.field in _UNUSABLE]
        if not wrong:
            return
        said = json.loads(received.payload)["readings"]
        for field, why in _UNUSABLE.items():
            items = [said[each.index] for each in wrong if each.field == field and each.index is not None]
            said_ids = [item.get("resource_id") for item in items if isinstance(item, dict)]
            names = [name for name in said_ids if isinstance(name, str)]  # what was refused may be anything
            rows = self._state.rows_of(aggregator_id, names)
            self._state.refused_readings(rows[rows >= 0], why, now)

    def _keep_telemetry(
        self,
        aggregator_id: str,
        received: Received[Telemetry],
        own: ReadingColumns,
        answer: Answer,
        now: datetime,
    ) -> int:
        with self._store.transaction():
            new = self._store.add_readings(own, now)
            self._store.save_sessions(self._sessions(own))
            self._set_aside(aggregator_id, "telemetry", received.message_id, answer.refused, received.payload, now)
            self._store.remember_answer(aggregator_id, received.message_id, answer.to_bytes(), now)
        return new

    def _keep_group(self, group: TelemetryGroup, now: datetime) -> tuple[Mapping[str, bytes], TelemetryGroup, int]:
        """The answers that were given before, the messages that are new, and how many of their readings are."""
        before = self._store.answers_for(group.aggregator_id, group.message_ids)
        own = group.without(before)
        if not own.message_ids:
            return before, own, 0
        if not own.readings.sessions:
            return before, own, self._store.add_messages(own.readings, now, group.aggregator_id, own.message_ids)
        with self._store.transaction():
            new = self._store.add_readings(own.readings, now)
            self._store.save_sessions(self._sessions(own.readings))
            for name in own.message_ids:
                self._store.remember_answer(group.aggregator_id, name, TAKEN, now)
        return before, own, new

    def _sessions(self, readings: ReadingColumns) -> list[SessionRecord]:
        records: dict[tuple[str, str], SessionRecord] = {}
        for place, said in readings.sessions.items():
            name, measured_at = readings.resource_ids[place], moment_of(int(readings.measured_us[place]))
            live = self._state.get(name)
            if said is not None:
                energy_kwh = float(readings.energy_kwh[place])
                told = said.battery_start_kwh is None and not np.isnan(energy_kwh)
                records[name, said.session_id] = SessionRecord.of(name, said, energy_kwh if told else None)
            elif live is not None and live.session is not None and measured_at > live.session.arrival:
                stay = live.session
                records[name, stay.session_id] = SessionRecord.of(name, stay, live.session_delivered_kwh, measured_at)
        return list(records.values())

    def _set_aside(
        self,
        aggregator_id: str,
        place: str,
        message_id: str | None,
        refusals: tuple[Refusal, ...],
        payload: bytes,
        now: datetime,
    ) -> None:
        if not refusals:
            return
        reason = "; ".join(f"{item.field}: {item.rule}" for item in refusals[:5])
        letter = DeadLetter(
            at=now,
            place=place,
            reason=reason,
            aggregator_id=aggregator_id,
            message_id=message_id,
            payload=payload,
        )
        self._store.add_dead_letter(letter)
        self._metrics.dead_letters.labels(place=place.rsplit("/", 1)[-1]).inc()
