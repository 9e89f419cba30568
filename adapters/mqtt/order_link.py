"""The link of a service that gives orders: hears and answers like any other, and speaks by itself too."""

from datetime import datetime

from adapters.mqtt.envelope import MAX_MESSAGE_BYTES, DownTopic, encode
from adapters.mqtt.link import AnsweringLink
from adapters.mqtt.market_payloads import InvitationMessage, StatementMessage, encode_awards
from adapters.mqtt.payloads import EventMessage, SetpointsMessage
from models.errors import DeviceError
from models.events import EventNotice
from models.market_messages import AwardNotice, Invitation
from models.money_messages import StatementNotice
from models.plan import SetpointBatch


class MqttLink(AnsweringLink):
    """``models.ports.DeviceLink`` and ``MarketLink`` over MQTT: answers, and sends orders, notices and awards too."""

    _speaks_on = frozenset(DownTopic)

    async def send_setpoints(self, batch: SetpointBatch, made_at: datetime | None = None) -> None:
        """Publish one batch, never retained; returns once the broker has it, else ``BrokerError``.

        The message bears the id of its command and (if told) the time when that was made, so that a command sent
        again is the same message to the byte.  ``DeviceError`` if the batch is larger than a message may be (some
        15 000 setpoints): give it in parts.
        """
        message = SetpointsMessage.new(made_at or self._clock.now(), batch.command_id, **dict(batch))
        payload = encode(message)
        if len(payload) > MAX_MESSAGE_BYTES:
            reason = f"{len(batch.setpoints)} setpoints make {len(payload)} bytes, more than {MAX_MESSAGE_BYTES}"
            raise DeviceError(batch.aggregator_id, reason)
        await self._publish(batch.aggregator_id, DownTopic.SETPOINTS, payload)
        self.counters.setpoint_batches_sent += 1
        self.counters.setpoints_sent += len(batch.setpoints)

    async def send_event(self, aggregator_id: str, notice: EventNotice) -> None:
        """Tell an aggregator about an event; returns once the broker has the message, else ``BrokerError``."""
        message = EventMessage.new(self._clock.now(), **dict(notice))
        await self._publish(aggregator_id, DownTopic.EVENT, encode(message))
        self.counters.events_sent += 1

    async def send_invitation(self, aggregator_id: str, invitation: Invitation) -> None:
        """Tell an aggregator where it may bid, or may no more; never retained, ``BrokerError`` if it cannot leave.

        ``DeviceError`` if it is larger than a message may be (thousands of areas in all intervals).
        """
        payload = encode(InvitationMessage.new(self._clock.now(), **dict(invitation)))
        if len(payload) > MAX_MESSAGE_BYTES:
            count = sum(len(each.areas) for each in invitation.intervals)
            reason = f"{count} areas of intervals make {len(payload)} bytes, more than {MAX_MESSAGE_BYTES}"
            raise DeviceError(aggregator_id, reason)
        await self._publish(aggregator_id, DownTopic.INVITATIONS, payload)
        self.counters.invitations_sent += 1

    async def send_awards(self, aggregator_id: str, notice: AwardNotice) -> None:
        """Tell an aggregator what became of its offers, in parts if need be; if one fails, all are to be sent again."""
        for payload in encode_awards(notice, self._clock.now()):
            await self._publish(aggregator_id, DownTopic.AWARDS, payload)
        self.counters.awards_sent += 1

    async def send_statement(self, aggregator_id: str, notice: StatementNotice) -> None:
        """Tell an aggregator of a statement; ``BrokerError`` if it cannot leave."""
        message = StatementMessage.new(self._clock.now(), **dict(notice))
        await self._publish(aggregator_id, DownTopic.STATEMENTS, encode(message))
        self.counters.statements_sent += 1
