"""Bids and disputes on their way to the market: domain in, faults out, and the answer kept with the effects.

The handler (``models.ports.MarketHandler``) knows nothing of MQTT: it is given what an aggregator said, and a way to
make the bytes of the answer, which it keeps in the transaction that writes the effects and gives back.
"""

from collections.abc import Sequence

from adapters.mqtt.decode import refusal
from adapters.mqtt.envelope import Refusal
from adapters.mqtt.market_payloads import BidsMessage, DisputeMessage, bid_submission, dispute_of
from adapters.mqtt.uplink import Answer, Received
from models.errors import InputError, InputFault
from models.market_messages import Arrival
from models.ports import MarketHandler

NO_BIDS = "this platform takes no bids"
NO_DISPUTES = "this platform takes no disputes"


class MarketUplink:
    """Hands bids and disputes on; without a handler each of them is refused, for good."""

    def __init__(self, handler: MarketHandler | None) -> None:
        self._handler = handler

    async def bids(self, aggregator_id: str, received: Received[BidsMessage]) -> Answer:
        """Have bids taken."""
        if self._handler is None:
            raise _nobody(received, NO_BIDS)
        arrival = _Answering(aggregator_id, received)
        return arrival.answered(await self._handler.take_bids(arrival.arrival, bid_submission(received.message)))

    async def dispute(self, aggregator_id: str, received: Received[DisputeMessage]) -> Answer:
        """Have a dispute taken."""
        if self._handler is None:
            raise _nobody(received, NO_DISPUTES)
        arrival = _Answering(aggregator_id, received)
        return arrival.answered(await self._handler.take_dispute(arrival.arrival, dispute_of(received.message)))


def _nobody(received: Received[BidsMessage] | Received[DisputeMessage], rule: str) -> InputError:
    said = received.message.event_id
    return InputError([InputFault(received.topic.value, "event_id", said, rule)])


class _Answering:
    """The answers that were made to one message, so that what was kept is what goes out, to the byte."""

    def __init__(self, aggregator_id: str, received: Received[BidsMessage] | Received[DisputeMessage]) -> None:
        self._received = received
        self._made: dict[bytes, Answer] = {}
        self.arrival = Arrival(
            aggregator_id,
            received.message_id,
            received.received_at,
            received.payload,
            self._answer,
            tuple(_fault(received.topic.value, item) for item in received.refusals),
        )

    def _answer(self, faults: Sequence[InputFault]) -> bytes:
        refusals = [refusal(fault, self._received.message_id, self._place(fault.row)) for fault in faults]
        answer = self._received.answer(refusals)
        kept = answer.to_bytes()
        self._made[kept] = answer
        return kept

    def _place(self, row: int | None) -> int | None:
        """The place in the list as it was sent of one in the list that was handed on."""
        return None if row is None else self._received.indexes[row]

    def answered(self, kept: bytes) -> Answer:
        """The answer whose bytes the handler gave back."""
        return self._made.get(kept) or Answer.from_bytes(kept)


def _fault(place: str, item: Refusal) -> InputFault:
    return InputFault(place, item.field, item.value, item.rule, item.index)
