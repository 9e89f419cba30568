"""What the store keeps besides events, plans and readings: small frozen records for store, stages and API."""

from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from typing import Any

from models.events import EventNotice, EventRecord
from models.intervals import FloatArray, IntervalGrid
from models.plan import PlanSource
from models.resources import RegisteredResource
from models.roles import Role
from models.telemetry import ChargingSession


class PlanKind(StrEnum):
    """Which cycle made a plan."""

    DAY_AHEAD = "day_ahead"
    REAL_TIME = "real_time"


@dataclass(frozen=True, slots=True)
class PlanFacts:
    """What a plan came to; ``delivered_at``: when all its orders had left, None if they did not."""

    plan_hash: str
    kind: PlanKind
    made_at: datetime
    source: PlanSource
    status: str
    objective_cny: float
    lower_bound_cny: float
    delivered_at: datetime | None = None


class AckOutcome(StrEnum):
    """What became of a setpoint."""

    TAKEN = "taken"
    REFUSED = "refused"
    DONE = "done"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class AggregatorRecord:
    """A sub-VPP; ``secret_hash`` is the hash of its MQTT password, ready for the broker."""

    aggregator_id: str
    display_name: str
    secret_hash: str = field(repr=False)
    created_at: datetime
    removed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class UserRecord:
    """Who may use the HTTP interface; the token itself is shown once and stored as a hash.

    ``token_id`` is the token's public part, by which it is found; ``aggregator_id`` is an aggregator's.
    """

    name: str
    role: Role
    token_id: str
    token_hash: str = field(repr=False)
    created_at: datetime
    aggregator_id: str | None = None
    revoked_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class RegisteredResourceRecord:
    """A registered resource with its capacities (the fourth, callable now, is computed, never stored)."""

    resource: RegisteredResource
    fallback_power_kw: float | None
    telemetry_ttl_s: float
    connected_kw: float
    declared_kw: float
    registered_at: datetime
    tested_kw: float | None = None
    tested_at: datetime | None = None
    withdrawn_at: datetime | None = None

    @property
    def resource_id(self) -> str:
        """Name of the resource."""
        return self.resource.resource_id

    @property
    def aggregator_id(self) -> str:
        """Whose it is."""
        return self.resource.aggregator_id


@dataclass(frozen=True, slots=True)
class ProfileRecord:
    """A per-unit series that an aggregator sent along with its registrations; equally long tuples."""

    aggregator_id: str
    profile_id: str
    interval_starts: tuple[datetime, ...]
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class SessionRecord:
    """One stay of a car as it was reported, the newest word; ``unplugged_at`` once it has left."""

    resource_id: str
    session_id: str
    arrival: datetime
    departure: datetime
    energy_needed_kwh: float
    battery_capacity_kwh: float | None = None
    battery_start_kwh: float | None = None
    delivered_kwh: float | None = None
    unplugged_at: datetime | None = None

    @classmethod
    def of(
        cls,
        resource_id: str,
        stay: ChargingSession,
        delivered_kwh: float | None = None,
        unplugged_at: datetime | None = None,
    ) -> "SessionRecord":
        """The record of a stay at a charger."""
        return cls(
            resource_id=resource_id,
            session_id=stay.session_id,
            arrival=stay.arrival,
            departure=stay.departure,
            energy_needed_kwh=stay.energy_needed_kwh,
            battery_capacity_kwh=stay.battery_capacity_kwh,
            battery_start_kwh=stay.battery_start_kwh,
            delivered_kwh=delivered_kwh,
            unplugged_at=unplugged_at,
        )


@dataclass(frozen=True, slots=True)
class ChargedRecord:
    """What the car of a stay has got (at the battery) up to the reading of ``measured_at``."""

    resource_id: str
    session_id: str
    measured_at: datetime
    delivered_kwh: float


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An event with the version under which it was read: saving it again names that version."""

    record: EventRecord
    version: int


@dataclass(frozen=True, slots=True)
class KeptNotice:
    """A notice of an event, made with one of its steps: to whom, and what has become of it.

    ``told_at``: when the broker took it.  ``given_up_at``: when it was no longer to be told.  None of both: it waits.
    """

    key: int
    aggregator_id: str
    notice: EventNotice
    made_at: datetime
    tries: int
    tried_at: datetime | None
    told_at: datetime | None
    given_up_at: datetime | None


@dataclass(frozen=True)
class BaselineTable:
    """The one baseline table of a market day; ``baseline_kw`` (R, T) in the order of ``resource_ids``."""

    market_day: date
    grid: IntervalGrid
    resource_ids: tuple[str, ...]
    baseline_kw: FloatArray
    baseline_hash: str


@dataclass(frozen=True, slots=True)
class LevelStep:
    """From ``valid_from`` on the weather-driven rows of a day's baseline table count ``factor`` times; ``city_kw``: the
    day's mean load of the city that it was made from.
    """

    valid_from: datetime
    factor: float
    city_kw: float


@dataclass(frozen=True, slots=True)
class LastSetpoint:
    """The newest command to a resource; ``outcome`` None: nothing heard yet."""

    power_kw: float | None
    valid_from: datetime
    valid_until: datetime
    command_id: str
    plan_hash: str
    outcome: AckOutcome | None

    @property
    def acked(self) -> bool:
        """True once the aggregator has taken or done it."""
        return self.outcome in (AckOutcome.TAKEN, AckOutcome.DONE)


@dataclass(frozen=True, slots=True)
class CommandAnswer:
    """What an aggregator says of a command, for one resource or (None) for all that it does not name apart."""

    command_id: str
    resource_id: str | None
    outcome: AckOutcome
    reason: str = ""


@dataclass(frozen=True, slots=True)
class PendingSetpoint:
    """A setpoint, the newest of its resource, that nobody has answered."""

    command_id: str
    aggregator_id: str
    resource_id: str
    sent_at: datetime
    valid_until: datetime


@dataclass(frozen=True, slots=True)
class SentSetpoint:
    """A setpoint as it left the house, and what became of it; ``power_kw`` None: released to its own control."""

    resource_id: str
    power_kw: float | None
    sent_at: datetime
    valid_from: datetime
    valid_until: datetime
    outcome: AckOutcome | None
    answered_at: datetime | None
    sequence: int


@dataclass(frozen=True, slots=True)
class OpenCommand:
    """A command of its aggregator's newest delivery (``made_at``) that still holds and that nobody has answered; sent
    ``tries`` times so far.
    """

    command_id: str
    aggregator_id: str
    sequence: int
    valid_until: datetime
    made_at: datetime
    tries: int
    last_sent_at: datetime


@dataclass(frozen=True, slots=True)
class CommandRecord:
    """A command as the history shows it: how often it was sent, and how many of its setpoints were answered how.

    ``answered``: number of setpoints by outcome; those that nobody has answered are missing from it.
    """

    command_id: str
    aggregator_id: str
    sequence: int
    plan_hash: str
    valid_from: datetime
    valid_until: datetime
    sent_at: datetime
    tries: int
    retried_at: datetime | None
    given_up_at: datetime | None
    setpoints: int
    answered: dict[AckOutcome, int]


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that was set aside: who sent it, what rule it broke, and its first bytes."""

    at: datetime
    place: str
    reason: str
    aggregator_id: str | None = None
    message_id: str | None = None
    payload: bytes = b""
    letter_id: int | None = None


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One line of the append-only log; ``entry_hash`` covers all of it and the line before."""

    entry_id: int
    at: datetime
    actor: str
    action: str
    subject: str
    details: dict[str, Any]
    prev_hash: str
    entry_hash: str


@dataclass(frozen=True, slots=True)
class IdempotentAnswer:
    """What was answered to a creating HTTP request the first time; ``fingerprint`` is of the request."""

    fingerprint: str
    status: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Dispute:
    """Somebody does not agree with a version of a statement; ``aggregator_id``: whose, None for an operator's own.

    ``answer`` None: nobody has answered yet.  ``corrected_version``: what came of it, None where nothing was changed.
    """

    event_id: str
    version: int
    aggregator_id: str | None
    resource_id: str | None
    opened_at: datetime
    opened_by: str
    reason: str
    answered_at: datetime | None = None
    answered_by: str | None = None
    answer: str | None = None
    corrected_version: int | None = None
    dispute_key: int = 0
