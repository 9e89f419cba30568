"""The door for what aggregators send about a market: disputes go to the closing desk; bids are not taken yet."""

import asyncio

from adapters.store.store import Store
from models.errors import EventStateError, InputError, InputFault
from models.market_messages import Arrival, BidSubmission
from models.money_messages import Dispute
from models.ports import Clock
from vpp.closing.desk import ClosingDesk

_PLACE = "disputes"


class MarketDoor:
    """Answers to ``models.ports.MarketHandler``."""

    def __init__(self, clock: Clock, store: Store, desk: ClosingDesk) -> None:
        self._clock, self._store, self._desk = clock, store, desk

    async def take_bids(self, arrival: Arrival, submission: BidSubmission) -> bytes:  # noqa: ARG002 - its interface
        """Refused as a whole: no event is open for bids."""
        rule = "must be an event that takes bids, and none does: events are called directly"
        raise InputError([InputFault("bids", "event_id", submission.event_id, rule)])

    async def take_dispute(self, arrival: Arrival, dispute: Dispute) -> bytes:
        """Keep a dispute with its answer, in one transaction; of the newest version only."""
        sender, event_id = arrival.aggregator_id, dispute.event_id
        newest = await asyncio.to_thread(self._store.statements, event_id)
        if not newest or newest[-1].version != dispute.version:
            known = f"must be the newest version, {newest[-1].version}" if newest else "must be one that there is"
            raise InputError([InputFault(_PLACE, "version", dispute.version, known)])
        answer = arrival.answer([])

        def remember() -> None:
            self._store.remember_answer(sender, arrival.message_id, answer, self._clock.now())

        try:
            await self._desk.dispute(
                event_id,
                sender,
                dispute.reason,
                aggregator_id=sender,
                resource_id=dispute.resource_id,
                also=remember,
            )
        except EventStateError as error:
            raise InputError([InputFault(_PLACE, "event_id", event_id, str(error))]) from error
        return answer
