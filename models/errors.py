"""The one tree of errors.

    VppError
    ├── InputError            what somebody gave us breaks a named rule          (never retry)
    │   ├── PortfolioError    ... in a portfolio or plan folder
    │   └── MessageError      ... in a message on a wire
    ├── RegistrationError     a resource may not be registered as asked          (never retry)
    ├── EventStateError       the event's life-cycle does not allow this step    (never retry)
    ├── AccessError           who asks may not do this                           (never retry)
    ├── SolverError           no schedule came out of the solver                 (retry: the next cycle)
    │   └── DeadlineError     ... because time was up
    ├── DeviceError           a device or gateway did not take what we sent      (retry)
    ├── BrokerError           the message broker is not to be reached            (retry)
    └── StoreError            the database is not to be reached or refuses       (retry)

Each carries its facts as attributes and says in ``retryable`` whether trying the same again makes sense.
Adapters translate the errors of their libraries into these with ``raise ... from``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar


class VppError(Exception):
    """Root of all errors that this code base raises on purpose."""

    retryable: ClassVar[bool] = False

    def __reduce__(self) -> tuple[Any, ...]:
        """Facts survive the way from a worker: pickle alone would call ``__init__`` with the message."""
        return _unpickled, (type(self), self.args), self.__dict__


def _unpickled(made: type[VppError], args: tuple[Any, ...]) -> VppError:
    error = made.__new__(made)
    error.args = args
    return error


@dataclass(frozen=True, slots=True)
class InputFault:
    """One broken rule in something given to us.

    ``place`` is the file, table or message; ``row`` its 1-based data row (or index in a message), if any;
    ``field`` the column or JSON pointer; ``value`` what stood there; ``rule`` what should have been true.
    """

    place: str
    field: str
    value: Any
    rule: str
    row: int | None = None

    def __str__(self) -> str:
        row = "" if self.row is None else f", row {self.row}"
        field = f", {self.field}" if self.field else ""
        return f"{self.place}{row}{field}: {self.rule} (got {self.value!r:.120})"


class InputError(VppError):
    """Something given to us breaks one or more named rules; ``faults`` lists all of them."""

    def __init__(self, faults: Sequence[InputFault]) -> None:
        self.faults = tuple(faults)
        shown = "; ".join(str(fault) for fault in self.faults[:5])
        more = len(self.faults) - 5
        super().__init__(shown + (f"; and {more} more" if more > 0 else ""))


class PortfolioError(InputError):
    """A portfolio folder or plan folder breaks its schema."""


class MessageError(InputError):
    """A message on a wire breaks its contract."""


class RegistrationError(VppError):
    """A resource may not be registered as asked."""

    def __init__(self, resource_id: str, field: str, value: Any, rule: str) -> None:
        self.resource_id, self.field, self.value, self.rule = resource_id, field, value, rule
        super().__init__(f"{resource_id}, {field}: {rule} (got {value!r})")


class EventStateError(VppError):
    """The life-cycle of an event does not allow the step that was asked for."""

    def __init__(self, event_id: str, status: str, step: str, rule: str) -> None:
        self.event_id, self.status, self.step, self.rule = event_id, status, step, rule
        super().__init__(f"event {event_id} is {status}: cannot {step}, {rule}")


class AccessError(VppError):
    """Who asks may not do this."""


class SolverError(VppError):
    """No acceptable schedule came out of the solver (``status`` is the solver's own word)."""

    retryable = True

    def __init__(self, status: str, detail: str = "") -> None:
        self.status, self.detail = status, detail
        super().__init__(f"solver: {status}" + (f" ({detail})" if detail else ""))


class DeadlineError(SolverError):
    """The solver was stopped because its wall-clock deadline had passed."""

    def __init__(self, deadline_s: float) -> None:
        self.deadline_s = deadline_s
        within = f"within {deadline_s:g} s" if deadline_s > 0 else "in what was left of its time"
        super().__init__("deadline", f"nothing {within}")


class DeviceError(VppError):
    """A device or gateway did not take what we sent."""

    retryable = True

    def __init__(self, resource_id: str, reason: str) -> None:
        self.resource_id, self.reason = resource_id, reason
        super().__init__(f"{resource_id}: {reason}")


class BrokerError(VppError):
    """The message broker is not to be reached, or refuses us."""

    retryable = True


class StoreError(VppError):
    """The database is not to be reached, or refuses what we ask."""

    retryable = True
