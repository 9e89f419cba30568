"""What a running service does beside its cycles: notice that the broker is back, forget what nobody asks for again."""

import asyncio
from datetime import timedelta

import structlog

from adapters.mqtt.link import MqttLink
from models.errors import VppError
from vpp.runtime import Runtime

log = structlog.get_logger(__name__)

LOOK_EVERY_S = 0.5
ANSWERS_KEPT = timedelta(days=2)
"""Answers to messages are remembered so long: gateways send again for minutes, and after a weekend's outage at most
for what they have kept."""
FORGET_EVERY = timedelta(hours=1)


async def keep_house(runtime: Runtime, link: MqttLink) -> None:
    """Until cancelled.  Looks in real time (the broker is real), forgets by the service's clock."""
    connections, forgot_at = link.counters.connections, runtime.clock.now()
    while True:
        await asyncio.sleep(LOOK_EVERY_S)
        try:
            if link.connected and link.counters.connections != connections:
                if connections:
                    runtime.metrics.broker_reconnects.inc(link.counters.connections - connections)
                    await runtime.send_again()
                connections = link.counters.connections
            now = runtime.clock.now()
            if now - forgot_at >= FORGET_EVERY:
                forgot_at = now
                await asyncio.to_thread(runtime.store.forget_answers, now - ANSWERS_KEPT)
        except VppError as error:
            log.warning("housekeeping failed, it is tried again", error=str(error))
