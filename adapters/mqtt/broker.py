"""A broker for whoever has none: ``open_broker`` takes the configured one, else Mosquitto, else the embedded one.

Always with credentials for each aggregator and the access rule in force; nobody is ever anonymous.
"""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from adapters.mqtt.broker_base import (
    BrokerSettings,
    BrokerTls,
    ExternalBroker,
    RunningBroker,
    platform_client_id,
)
from adapters.mqtt.broker_embedded import EmbeddedBroker
from adapters.mqtt.broker_mosquitto import MosquittoBroker, find_mosquitto
from adapters.mqtt.credentials import CredentialStore, FileCredentialStore
from adapters.mqtt.settings import MqttSettings
from models.errors import BrokerError, InputError, InputFault

log = logging.getLogger(__name__)

__all__ = ["BrokerSettings", "BrokerTls", "RunningBroker", "open_broker"]


@asynccontextmanager
async def open_broker(settings: BrokerSettings, store: CredentialStore | None = None) -> AsyncIterator[RunningBroker]:
    """Start the broker that the settings ask for, and stop it at the end (a configured one is left alone).

    ``store`` keeps the aggregators' hashes; without one they are in ``<folder>/credentials.json``.
    ``BrokerError`` if it cannot be started, ``InputError`` if ``settings.broker`` is none of the known words.
    """
    kept = FileCredentialStore(settings.folder / "credentials.json") if store is None else store
    if "://" in settings.broker:
        yield _external(settings, kept)
        return
    if settings.broker not in ("auto", "mosquitto", "embedded"):
        rule = "must be auto, mosquitto, embedded or an address such as mqtt://host:1883"
        raise InputError([InputFault("settings", "broker", settings.broker, rule)])
    program = None if settings.broker == "embedded" else find_mosquitto()
    if program is None and settings.broker == "mosquitto":
        raise BrokerError("mosquitto is not installed (Debian: apt-get install mosquitto)")
    broker = EmbeddedBroker(settings, kept) if program is None else MosquittoBroker(settings, kept, program)
    await broker.start()
    try:
        log.info("broker %s serves on %s", broker.kind, broker.url)
        yield broker
    finally:
        await broker.stop()


def _external(settings: BrokerSettings, store: CredentialStore) -> ExternalBroker:
    given = {"username": settings.username, "password": settings.password, "tls": settings.client_tls}
    others: dict[str, object] = {name: value for name, value in given.items() if value is not None}
    others["prefix"] = settings.prefix
    others["client_id"] = platform_client_id(settings.folder.absolute())
    return ExternalBroker(settings, store, MqttSettings.from_url(settings.broker, **others))
