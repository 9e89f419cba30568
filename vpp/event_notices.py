"""Notices: how aggregators hear of an event and of every turn it takes."""

from datetime import datetime

import structlog

from models.errors import DeviceError, VppError
from models.events import EventNotice, EventRecord
from models.ports import DeviceLink

log = structlog.get_logger(__name__)


class EventNotices:
    """Sends notices; one that cannot be sent is told in the log and holds up nothing."""

    def __init__(self, link: DeviceLink | None) -> None:
        """``link`` None: read-only mode, nobody is told anything."""
        self._link = link

    async def tell_all(self, record: EventRecord, status: str, reason: str, respond_by: datetime | None = None) -> None:
        """Tell everybody who has a share in the event, with that share, kW."""
        for aggregator_id, share_kw in record.share_kw.items():
            await self.tell(aggregator_id, record, status, share_kw, respond_by=respond_by, reason=reason)

    async def tell(
        self,
        aggregator_id: str,
        record: EventRecord,
        status: str,
        share_kw: float,
        *,
        respond_by: datetime | None = None,
        reason: str = "",
    ) -> None:
        """Tell one aggregator of an event and its share in it, kW."""
        if self._link is None:
            return
        event = record.event
        notice = EventNotice.model_validate(
            {
                "event_id": event.event_id,
                "status": status,
                "direction": event.direction,
                "start": event.start,
                "end": event.end,
                "share_kw": share_kw,
                "notice_type": record.notice_type,
                "respond_by": respond_by,
                "reason": reason,
            }
        )
        try:
            await self._link.send_event(aggregator_id, notice)
        except (VppError, DeviceError) as error:
            log.error("event notice not sent", aggregator_id=aggregator_id, error=str(error))
