"""Orders as they arrive at a gateway: which of them count, what the devices make of them, and what is answered."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, Protocol

from models.ports import Clock
from simulations.wire import codec

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


class Orders:
    """Batches of setpoints: each command once, in the order of their sequence, and only while valid."""

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
        self._devices = devices
        self._resource_ids = frozenset(resource_ids)
        self._clock = clock
        self._counts = counts
        self._acknowledge = acknowledge
        self._reports_done = reports_done
        self._known_commands: dict[str, datetime] = {}

    def take(self, batch: codec.ReceivedSetpoints) -> None:
        """Hand the orders of a batch to the devices, and put their answers on their way."""
        counts, now = self._counts, self._clock.now()
        counts["setpoints"] += len(batch.setpoints)
        if batch.command_id in self._known_commands:
            counts["duplicates"] += 1
            return
        if batch.sequence <= self.last_sequence:
            counts["out_of_order"] += 1
            self._refuse_all(batch, f"sequence {batch.sequence} is not after {self.last_sequence}")
            return
        self.last_sequence = batch.sequence
        self._known_commands[batch.command_id] = batch.valid_until
        self._forget_old(now)
        if batch.valid_until <= now or batch.valid_until <= batch.valid_from:
            counts["expired"] += 1
            self._refuse_all(batch, f"expired: valid until {codec.stamp(batch.valid_until)}")
            return
        self._carry_out(batch, now)

    def _carry_out(self, batch: codec.ReceivedSetpoints, now: datetime) -> None:
        prompt: list[dict[str, Any]] = []
        late: list[dict[str, Any]] = []
        latest_s = 0.0
        for resource_id, power_kw in batch.setpoints:
            if resource_id in self._resource_ids:
                outcome = self._devices.command(resource_id, power_kw, batch.valid_from, batch.valid_until)
            else:
                outcome = Outcome("refused", "is not ours")
                self._counts["unknown_resource"] += 1
            self._counts[outcome.status] += 1
            if outcome.status == "silent":
                continue
            row = _ack(batch.command_id, outcome.status, resource_id, outcome.reason)
            (late if outcome.late_s > 0 else prompt).append(row)
            latest_s = max(latest_s, outcome.late_s)
        if prompt:
            self._acknowledge(prompt, None)
        if late:
            self._acknowledge(late, now + timedelta(seconds=latest_s))
        self._counts["acks"] += len(prompt) + len(late)
        if self._reports_done:
            self._acknowledge([_ack(batch.command_id, "done", None, "")], batch.valid_until)

    def _refuse_all(self, batch: codec.ReceivedSetpoints, reason: str) -> None:
        self._counts["refused"] += len(batch.setpoints)
        self._acknowledge([_ack(batch.command_id, "refused", None, reason)], None)

    def _forget_old(self, now: datetime) -> None:
        if len(self._known_commands) > 1000:
            keep_from = now - timedelta(hours=6)
            self._known_commands = {name: until for name, until in self._known_commands.items() if until >= keep_from}


def _ack(command_id: str, status: str, resource_id: str | None, reason: str) -> dict[str, Any]:
    return {"command_id": command_id, "status": status, "resource_id": resource_id, "reason": reason}
