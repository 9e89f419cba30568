"""What travels over MQTT, one frozen type per topic: the contract itself, pure, without any I/O.

The AsyncAPI document is generated from these types and the golden samples beside them are read by them,
so that what is published, what is checked and what is shown are one thing.  Columns of resources, readings,
events and setpoints are those of ``models``; this file only puts them into messages.
"""

from itertools import pairwise
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from adapters.mqtt.envelope import DownTopic, Fault, Message, Refusal, Scalar, UpTopic
from adapters.mqtt.market_payloads import (
    AwardsMessage,
    BidsMessage,
    DisputeMessage,
    InvitationMessage,
    StatementMessage,
)
from models.events import EventNotice, EventResponse
from models.market_messages import MOST_ZONE_BIDS
from models.plan import SetpointBatch
from models.resources import (
    CurtailableLoad,
    EvCharger,
    Generator,
    InterruptibleLoad,
    Pv,
    ResourceBase,
    ShiftableLoad,
    Storage,
    ThermalLoad,
)
from models.telemetry import Reading
from models.units import Count, Identifier, Kw, NonNegativeKw, UtcTime

MAX_CHANGES = 2_000
MAX_ITEMS = 20_000


class _Item(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


# ---- up: registration


class Profile(_Item):
    """A time series per unit: equally long lists, starts strictly rising."""

    interval_start: Annotated[tuple[UtcTime, ...], Field(min_length=1, max_length=50_000)]
    values: Annotated[tuple[Annotated[float, Field(allow_inf_nan=False)], ...], Field(min_length=1, max_length=50_000)]

    @model_validator(mode="after")
    def _shape(self) -> Self:
        if len(self.interval_start) != len(self.values):
            counts = f"{len(self.interval_start)} starts, {len(self.values)} values"
            raise ValueError(f"values: must be as many as interval_start (got {counts})")
        for before, after in pairwise(self.interval_start):
            if after <= before:
                raise ValueError(f"interval_start: must be strictly rising (got {after.isoformat()!r})")
        return self


class _Update(BaseModel):
    """What a registration adds to the columns of the resource.

    ``fallback_power_kw``: what the device returns to after ``valid_until``, None = its own control.
    ``telemetry_ttl_s``: after so long without a reading the resource is not dispatched.
    """

    action: Literal["update"]
    fallback_power_kw: Kw | None = None
    telemetry_ttl_s: Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)] = 300.0
    connected_kw: NonNegativeKw | None = None
    declared_kw: NonNegativeKw | None = None

    resource_type: ClassVar[type[ResourceBase]]

    @property
    def resource(self) -> ResourceBase:
        """The resource alone, as the rest of the house knows it."""
        names = self.resource_type.model_fields
        return self.resource_type.model_construct(**{name: getattr(self, name) for name in names})


class StorageUpdate(_Update, Storage):
    """Register or change a battery or pumped hydro."""

    resource_type: ClassVar[type[ResourceBase]] = Storage


class EvChargerUpdate(_Update, EvCharger):
    """Register or change a charger; its stays come with telemetry."""

    resource_type: ClassVar[type[ResourceBase]] = EvCharger


class CurtailableLoadUpdate(_Update, CurtailableLoad):
    """Register or change a curtailable load."""

    resource_type: ClassVar[type[ResourceBase]] = CurtailableLoad


class InterruptibleLoadUpdate(_Update, InterruptibleLoad):
    """Register or change an interruptible load."""

    resource_type: ClassVar[type[ResourceBase]] = InterruptibleLoad


class ShiftableLoadUpdate(_Update, ShiftableLoad):
    """Register or change a shiftable load."""

    resource_type: ClassVar[type[ResourceBase]] = ShiftableLoad


class ThermalLoadUpdate(_Update, ThermalLoad):
    """Register or change a thermal load."""

    resource_type: ClassVar[type[ResourceBase]] = ThermalLoad


class GeneratorUpdate(_Update, Generator):
    """Register or change a generator."""

    resource_type: ClassVar[type[ResourceBase]] = Generator


class PvUpdate(_Update, Pv):
    """Register or change a photovoltaic plant."""

    resource_type: ClassVar[type[ResourceBase]] = Pv


class Withdrawal(_Item):
    """Take a resource out of the register."""

    action: Literal["withdraw"]
    resource_id: Identifier


Update = Annotated[
    StorageUpdate
    | EvChargerUpdate
    | CurtailableLoadUpdate
    | InterruptibleLoadUpdate
    | ShiftableLoadUpdate
    | ThermalLoadUpdate
    | GeneratorUpdate
    | PvUpdate,
    Field(discriminator="kind"),
]
Change = Annotated[Update | Withdrawal, Field(discriminator="action")]


class Register(Message):
    """Updates and withdrawals of up to 2 000 resources; profiles inline here, or by id known from before."""

    changes: Annotated[tuple[Change, ...], Field(max_length=MAX_CHANGES)]
    profiles: dict[Identifier, Profile] = Field(default_factory=dict)


# ---- up: everything else


class Telemetry(Message):
    """Readings of one or thousands of devices."""

    absent_is_not_null: ClassVar[bool] = True

    readings: Annotated[tuple[Reading, ...], Field(max_length=MAX_ITEMS)]


class Capability(_Item):
    """What can be moved in [valid_from, valid_until), against what would happen anyway.

    ``resource_id``: None = all resources of the aggregator (in ``zone_id``, if that is given).
    ``decrease_kw``: less consumption or more feed-in; ``increase_kw``: more consumption or less feed-in.
    """

    resource_id: Identifier | None = None
    zone_id: Identifier | None = None
    valid_from: UtcTime
    valid_until: UtcTime
    decrease_kw: NonNegativeKw
    increase_kw: NonNegativeKw

    @model_validator(mode="after")
    def _window(self) -> Self:
        if self.valid_until <= self.valid_from:
            raise ValueError(f"valid_until: must be later than valid_from (got {self.valid_until.isoformat()!r})")
        return self


class CapabilityMessage(Message):
    """What an aggregator can move now, for those who keep device detail to themselves."""

    capabilities: Annotated[tuple[Capability, ...], Field(max_length=MAX_ITEMS)]


class EventResponseMessage(EventResponse, Message):
    """The answer to an event notice."""


class Acknowledgement(_Item):
    """What became of a command, for one resource or (``resource_id`` None) for all that are not named apart."""

    command_id: Identifier
    status: Literal["taken", "refused", "done"]
    resource_id: Identifier | None = None
    reason: Annotated[str, Field(max_length=500)] = ""

    @model_validator(mode="after")
    def _reason(self) -> Self:
        if self.status == "refused" and not self.reason:
            raise ValueError("reason: is required when a command is refused (got '')")
        return self


class Ack(Message):
    """Acknowledgements of commands."""

    acks: Annotated[tuple[Acknowledgement, ...], Field(max_length=MAX_ITEMS)]


class Status(Message):
    """Whether the gateway is there; retained, and left as last will, so ``sent_at`` may be old."""

    status: Literal["online", "offline"]
    reason: Annotated[str, Field(max_length=500)] = ""


# ---- down


class ResourceResult(_Item):
    """The answer for one change: accepted, or refused with field, rule and value (``further`` faults behind)."""

    index: Count
    resource_id: str | None
    accepted: bool
    field: str | None = None
    rule: str | None = None
    value: Scalar = None
    further: tuple[Fault, ...] = ()


class RegisterResult(Message):
    """One answer per change of the registration named by ``register_message_id``, in its order."""

    register_message_id: str
    results: tuple[ResourceResult, ...]


class Receipt(Message):
    """``message_ids`` are dealt with, for good: taken, but for what is listed in ``refused``.

    A gateway sends again whatever it finds in no receipt, and never what was refused.
    """

    message_ids: tuple[str, ...]
    refused: tuple[Refusal, ...] = ()


class EventMessage(EventNotice, Message):
    """An event is announced, changed, cancelled, terminated or over.

    It says all there is to know: the newest of an event is what counts, whatever was missed before.  It comes at least
    once: again with the same event and status it is the same notice, and answering it again changes nothing.
    """


class SetpointsMessage(SetpointBatch, Message):
    """Setpoints for one interval; never retained, and worth nothing after ``valid_until``."""


UP_TYPES: dict[UpTopic, type[Message]] = {
    UpTopic.REGISTER: Register,
    UpTopic.TELEMETRY: Telemetry,
    UpTopic.CAPABILITY: CapabilityMessage,
    UpTopic.EVENT_RESPONSE: EventResponseMessage,
    UpTopic.ACK: Ack,
    UpTopic.STATUS: Status,
    UpTopic.BIDS: BidsMessage,
    UpTopic.DISPUTES: DisputeMessage,
}
DOWN_TYPES: dict[DownTopic, type[Message]] = {
    DownTopic.REGISTER_RESULT: RegisterResult,
    DownTopic.RECEIPT: Receipt,
    DownTopic.EVENT: EventMessage,
    DownTopic.SETPOINTS: SetpointsMessage,
    DownTopic.INVITATIONS: InvitationMessage,
    DownTopic.AWARDS: AwardsMessage,
    DownTopic.STATEMENTS: StatementMessage,
}
LISTS: dict[type[Message], str] = {
    Register: "changes",
    Telemetry: "readings",
    CapabilityMessage: "capabilities",
    Ack: "acks",
    BidsMessage: "bids",
}
"""The list in a message of which a bad item is refused alone."""

MOST_IN_LIST: dict[type[Message], int] = {Register: MAX_CHANGES, BidsMessage: MOST_ZONE_BIDS}
"""How many items such a list may have, where that is not ``MAX_ITEMS``."""


def event_notice(message: EventMessage) -> EventNotice:
    """The notice inside its envelope."""
    return EventNotice.model_validate(_inside(EventNotice, message))


def event_response(message: EventResponseMessage) -> EventResponse:
    """The response inside its envelope."""
    return EventResponse.model_validate(_inside(EventResponse, message))


def setpoint_batch(message: SetpointsMessage) -> SetpointBatch:
    """The batch inside its envelope."""
    return SetpointBatch.model_validate(_inside(SetpointBatch, message))


def _inside(wanted: type[BaseModel], message: BaseModel) -> dict[str, Any]:
    return {name: getattr(message, name) for name in wanted.model_fields}
