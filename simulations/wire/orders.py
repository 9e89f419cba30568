"""Orders as they arrive at a gateway: which of them count, what the devices make of them, and what is answered."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, Protocol

from models.ports import Clock
from simulations.wire import codec
from simulations.wire.record import GatewayRecord, Told

MOST_KNOWN = 1000
Acknowledge = Callable[[list[dict[str, Any]], datetime | None], None]
"""Sends acknowledgements: at once, or when due."""


class Devices(Protocol):
    """What a gateway needs of the devices behind it."""

    def command(
        self, resource_id: str, power_kw: float | None, valid_from: datetime, valid_until: datetime
    ) -> "Outcome":
        """Hand over one order."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an order: ``status`` "silent" = the device gave no answer at all.  ``late_s``: after how long."""

    status: Literal["taken", "refused", "silent"]
    reason: str = ""
    late_s: float = 0.0


@dataclass(slots=True)
class _Known:
    """A command that has come before: until when it holds, and what was answered to it, prompt and late."""

    valid_until: datetime
    answers: list[tuple[list[dict[str, Any]], datetime | None]]


class Orders:
    """Batches of setpoints: each command once, no older one in the place of a newer, and only while valid.

    A command that comes again is dropped and answered again.  One that comes behind a newer one is refused for every
    resource whose newer order begins no later; where the newer one begins later, it holds until then: of two commands
    that were sent together for this stretch and the next, the first may have been lost and sent again.
    """

    def __init__(
        self,
        devices: Devices,
        resource_ids: Iterable[str],
        clock: Clock,
        counts: Counter[str],
        acknowledge: Acknowledge,
        reports_done: bool,
    ) -> None:
        self.last_sequence = 0
        self.record: GatewayRecord | None = None
        self._devices = devices
        self._resource_ids = frozenset(resource_ids)
        self._clock = clock
        self._counts = counts
        self._send_acks = acknowledge
        self._reports_done = reports_done
        self._known: dict[str, _Known] = {}
        self._begins: dict[str, dict[datetime, int]] = {}
        """By resource: when its orders begin, and the sequence of the newest that begins then."""

    def take(self, batch: codec.ReceivedSetpoints) -> None:
        """Hand the orders of a batch to the devices, and put their answers on their way."""
        counts, now = self._counts, self._clock.now()
        counts["setpoints"] += len(batch.setpoints)
        known = self._known.get(batch.command_id)
        if known is not None:
            counts["duplicates"] += 1
            for acks, due in known.answers:
                if due is None or due <= now:  # what is not due yet comes by itself
                    self._send_acks(acks, None)
            return
        self._forget_old(now)
        self._known[batch.command_id] = _Known(batch.valid_until, [])
        if batch.valid_until <= now or batch.valid_until <= batch.valid_from:
            counts["expired"] += 1
            self._refuse_all(batch, f"expired: valid until {codec.stamp(batch.valid_until)}")
            return
        is_late, self.last_sequence = batch.sequence <= self.last_sequence, max(batch.sequence, self.last_sequence)
        until = {name: self._holds_until(name, batch) for name, _ in batch.setpoints} if is_late else {}
        if is_late and all(each is None for each in until.values()):
            counts["out_of_order"] += 1
            self._refuse_all(batch, f"sequence {batch.sequence} is not after {self.last_sequence}")
            return
        self._carry_out(batch, now, until)

    def _holds_until(self, resource_id: str, batch: codec.ReceivedSetpoints) -> datetime | None:
        """Until when an order that comes behind newer ones holds; None if one of those has taken its place by now."""
        begins = self._begins.get(resource_id, {})
        newer = [start for start, sequence in begins.items() if sequence >= batch.sequence]
        end = min([batch.valid_until, *newer])
        return None if end <= max(batch.valid_from, self._clock.now()) else end

    def _carry_out(self, batch: codec.ReceivedSetpoints, now: datetime, until: dict[str, datetime | None]) -> None:
        prompt: list[dict[str, Any]] = []
        late: list[dict[str, Any]] = []
        latest_s = 0.0
        for resource_id, power_kw in batch.setpoints:
            valid_until = until.get(resource_id, batch.valid_until)
            if resource_id not in self._resource_ids:
                outcome = Outcome("refused", "is not ours")
                self._counts["unknown_resource"] += 1
            elif valid_until is None:
                outcome = Outcome("refused", f"sequence {batch.sequence} is not after {self.last_sequence}")
            else:
                outcome = self._devices.command(resource_id, power_kw, batch.valid_from, valid_until)
                self._begins.setdefault(resource_id, {})[batch.valid_from] = batch.sequence
            self._counts[outcome.status] += 1
            if self.record is not None and outcome.status == "taken":
                window = (batch.valid_from, valid_until or batch.valid_until)
                order = Told(now, resource_id, batch.command_id, batch.sequence, *window, power_kw)
                self.record.told.append(order)
            if outcome.status == "silent":
                continue
            row = _ack(batch.command_id, outcome.status, resource_id, outcome.reason)
            (late if outcome.late_s > 0 else prompt).append(row)
            latest_s = max(latest_s, outcome.late_s)
        if prompt:
            self._acknowledge(batch, prompt, None)
        if late:
            self._acknowledge(batch, late, now + timedelta(seconds=latest_s))
        self._counts["acks"] += len(prompt) + len(late)
        if self._reports_done:
            self._acknowledge(batch, [_ack(batch.command_id, "done", None, "")], batch.valid_until)

    def _acknowledge(self, batch: codec.ReceivedSetpoints, acks: list[dict[str, Any]], due: datetime | None) -> None:
        self._known[batch.command_id].answers.append((acks, due))
        self._send_acks(acks, due)

    def _refuse_all(self, batch: codec.ReceivedSetpoints, reason: str) -> None:
        self._counts["refused"] += len(batch.setpoints)
        self._acknowledge(batch, [_ack(batch.command_id, "refused", None, reason)], None)

    def _forget_old(self, now: datetime) -> None:
        """Ids are kept for six hours, what was answered while the command holds, and so are the orders' beginnings."""
        for known in self._known.values():
            if known.valid_until <= now:
                known.answers.clear()
        if len(self._known) > MOST_KNOWN:
            keep_from = now - timedelta(hours=6)
            self._known = {name: known for name, known in self._known.items() if known.valid_until >= keep_from}
        oldest = now - timedelta(hours=1)
        for begins in self._begins.values():
            for start in [start for start in begins if start < oldest]:
                del begins[start]


def _ack(command_id: str, status: str, resource_id: str | None, reason: str) -> dict[str, Any]:
    return {"command_id": command_id, "status": status, "resource_id": resource_id, "reason": reason}
