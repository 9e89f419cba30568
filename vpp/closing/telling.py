"""Telling aggregators of their statements over the wire: at each turn, and again until it has left the house.

The newest version says all there is to know, and may be told twice; so nothing needs to be kept of what was told, and
after a restart everybody hears once more.
"""

import asyncio
from collections.abc import Iterable
from datetime import timedelta

import structlog

from adapters.store.store import Store
from models.errors import BrokerError
from models.events import EventRecord
from models.life_cycle import EventStatus
from models.market_notices import statement_notice
from models.ports import MarketLink
from models.settlement.issued import IssuedStatement

log = structlog.get_logger(__name__)


class StatementTeller:
    """``link`` None: nobody is told anything (a service that only reads)."""

    def __init__(self, store: Store, link: MarketLink | None) -> None:
        self._store, self._link = store, link
        self._waiting: set[str] | None = None
        """Events of which somebody is still to be told; None until it was first looked."""

    def news(self, event_id: str) -> None:
        """Something has become of the statement of this event."""
        if self._waiting is not None:  # else everybody is about to hear of everything
            self._waiting.add(event_id)

    async def tick(self, records: Iterable[EventRecord], objection: timedelta) -> None:
        """Tell what of all ``records`` is still to be told; what does not leave the house is told at the next tick."""
        if self._link is None:
            return
        shown = {record.event.event_id: record for record in records if record.status.is_shown}
        if self._waiting is None:
            self._waiting = set(shown)
        for event_id in sorted(self._waiting & shown.keys()):
            issued = await asyncio.to_thread(self._store.statement, event_id)
            if issued is not None:
                try:
                    await self._tell(self._link, shown[event_id], issued, objection)
                except BrokerError as error:
                    log.warning("a statement is told later", event_id=event_id, error=str(error))
                    return
            self._waiting.discard(event_id)

    async def _tell(self, link: MarketLink, record: EventRecord, issued: IssuedStatement, objection: timedelta) -> None:
        until = record.steps[-1].at + objection if record.status is EventStatus.PUBLISHED else None
        version = issued.statement.version
        settled = record.status in (EventStatus.SETTLED, EventStatus.ARCHIVED)
        for name in sorted({owner for owner in issued.inputs.aggregator_ids if owner is not None}):
            notice = statement_notice(
                issued,
                name,
                f"/api/v1/events/{record.event.event_id}/statements/{version}",
                settled=settled,
                dispute_until=until,
            )
            await link.send_statement(name, notice)
