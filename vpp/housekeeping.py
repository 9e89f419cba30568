"""What a running service does beside its cycles: notice that the broker is back, forget what nobody asks for again."""

import asyncio
import gc
import time
from datetime import timedelta

import structlog

from adapters.mqtt.link import AnsweringLink
from adapters.store.store import Store
from models.errors import VppError
from models.ports import Clock
from vpp.recorder import Recorder
from vpp.retention import thin_out_all
from vpp.runtime import Runtime
from vpp.settings import RetentionSettings

log = structlog.get_logger(__name__)

LOOK_EVERY_S = 0.5
READINGS_EVERY_S = 10.0
ANSWERS_KEPT = timedelta(days=2)
"""Answers to messages are remembered so long: gateways send again for minutes, and after a weekend's outage at most
for what they have kept."""
FORGET_EVERY = timedelta(hours=1)
RECORD_EVERY_S = 300.0
RECORD_PAUSE_S = 0.5
"""Between two pieces of the record, so that whoever else writes gets his turn."""


def keep_what_is_known() -> None:
    """Tell the garbage collector to look no more at what is there now: registrations live as long as the process, and a
    full pass over a million of them holds everything up for seconds.
    """
    gc.collect()
    gc.freeze()


GATEWAYS_BACK_S = 8.0
"""A broker without sessions loses what is sent to a gateway before it has subscribed again: wait so long for it."""


async def _gateways_back(runtime: Runtime, since_s: float) -> None:
    """Return when every gateway for which an order or a notice waits has said that it is online again, or when time is
    up.
    """
    until_s = time.monotonic() + GATEWAYS_BACK_S
    said = runtime.state.said_online_s
    while any(said.get(name, 0.0) < since_s for name in _waiting_for(runtime)):
        if time.monotonic() > until_s:
            return
        await asyncio.sleep(0.1)


def _waiting_for(runtime: Runtime) -> set[str]:
    return runtime.delivery.waiting_for() | runtime.events.outbox.waiting_for()


async def keep_readings(runtime: Runtime, retention: RetentionSettings) -> None:
    """Until cancelled: once an hour old readings make room, which may take long and must hold up nothing else."""
    looked_at = runtime.clock.now()
    while True:
        await asyncio.sleep(READINGS_EVERY_S)
        now = runtime.clock.now()
        if now - looked_at < FORGET_EVERY:
            continue
        looked_at = now
        try:
            await thin_out_all(runtime.store, retention, now)
        except VppError as error:
            log.warning("old readings could not make room, it is tried again", error=str(error))


async def keep_record(store: Store, clock: Clock) -> None:
    """Until cancelled: the flight recorder follows what happens, a piece at a time, and holds up nothing."""
    recorder, made = Recorder(store), 0
    while True:
        await asyncio.sleep(RECORD_PAUSE_S if made else RECORD_EVERY_S)
        try:
            made = await asyncio.to_thread(recorder.step, clock.now())
        except VppError as error:
            log.warning("the record is behind, it is tried again", error=str(error))
            made, recorder = 0, Recorder(store)


async def keep_house(runtime: Runtime, link: AnsweringLink) -> None:
    """Until cancelled.  Looks in real time (the broker is real), forgets by the service's clock."""
    connections, forgot_at, outbox = link.counters.connections, runtime.clock.now(), runtime.events.outbox
    while True:
        await asyncio.sleep(LOOK_EVERY_S)
        try:
            if not link.connected:
                outbox.is_held = link.counters.connections > 0 or bool(outbox.waiting_for())
            elif link.counters.connections != connections:
                if connections:
                    runtime.metrics.broker_reconnects.inc(link.counters.connections - connections)
                if connections or outbox.is_held or _waiting_for(runtime):
                    outbox.is_held = True
                    await _gateways_back(runtime, since_s=time.monotonic() - LOOK_EVERY_S)
                    outbox.is_held = False
                    await runtime.send_again()
                connections = link.counters.connections
            else:
                outbox.is_held = False
            now = runtime.clock.now()
            if now - forgot_at >= FORGET_EVERY:
                forgot_at = now
                await asyncio.to_thread(runtime.store.forget_answers, now - ANSWERS_KEPT)
        except VppError as error:
            log.warning("housekeeping failed, it is tried again", error=str(error))
