"""Market and money over MQTT: the messages, and what of ``models`` is inside them."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Annotated, Self

from pydantic import Field, model_validator

from adapters.mqtt.envelope import MAX_MESSAGE_BYTES, Message, encode
from models.market_messages import AwardNotice, BidSubmission, Invitation, OfferAward
from models.money_messages import Dispute, StatementNotice

PartNumber = Annotated[int, Field(ge=1)]
_ROOM_BYTES = MAX_MESSAGE_BYTES - 4096
"""For the awards of one part: the envelope needs some room too."""


class InvitationMessage(Invitation, Message):
    """An event takes bids, or does no more.

    It says all there is to know: the newest of an event is what counts.  It comes at least once.
    """


class BidsMessage(BidSubmission, Message):
    """Bids in zones, in the place of earlier ones, and withdrawals; whose they are, the topic says."""


class AwardsMessage(AwardNotice, Message):
    """What became of an aggregator's offers; in ``parts`` of one ``cleared_at`` if they are many."""

    part: PartNumber = 1
    parts: PartNumber = 1

    @model_validator(mode="after")
    def _number(self) -> Self:
        if self.part > self.parts:
            raise ValueError(f"part: must not be more than parts (got {self.part})")
        return self


class StatementMessage(StatementNotice, Message):
    """A statement was issued, corrected or settled; the highest version of an event is what counts."""


class DisputeMessage(Dispute, Message):
    """A version of a statement is contested."""


def bid_submission(message: BidsMessage) -> BidSubmission:
    """The bids inside their envelope."""
    return BidSubmission.model_construct(event_id=message.event_id, sequence=message.sequence, bids=message.bids)


def dispute_of(message: DisputeMessage) -> Dispute:
    """The dispute inside its envelope."""
    return Dispute.model_validate({name: getattr(message, name) for name in Dispute.model_fields})


def encode_awards(notice: AwardNotice, sent_at: datetime) -> list[bytes]:
    """An award notice in as few messages as it fits into; one without awards is one message."""
    groups = list(_groups(notice.awards)) or [()]
    said = dict(notice)
    return [
        encode(AwardsMessage.new(sent_at, **{**said, "awards": tuple(group)}, part=number, parts=len(groups)))
        for number, group in enumerate(groups, start=1)
    ]


def _groups(awards: Sequence[OfferAward]) -> Iterator[Sequence[OfferAward]]:
    first, size = 0, 0
    for place, award in enumerate(awards):
        more = len(award.model_dump_json().encode()) + 1
        if place > first and size + more > _ROOM_BYTES:
            yield awards[first:place]
            first, size = place, 0
        size += more
    if first < len(awards):
        yield awards[first:]
