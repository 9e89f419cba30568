"""A broker inside our process (amqtt), for those who have none: demonstration and tests only, and it says so.

Measured: safe up to about 500 clients and 1 000 messages a second in all; a message that it has acknowledged
can be lost if its sender leaves at once (receipts make up for that); nothing survives a restart.
"""

import logging

from amqtt.contexts import BrokerConfig, ListenerConfig
from amqtt.errors import BrokerError as AmqttBrokerError
from pydantic import SecretStr

from adapters.mqtt import guarded_broker
from adapters.mqtt.broker_base import BrokerKind, BrokerSettings, RunningBroker, inner_host, platform_client_id
from adapters.mqtt.credentials import PLATFORM_USER, CredentialStore, new_password
from adapters.mqtt.guarded_broker import Guard, GuardedBroker
from adapters.mqtt.settings import MqttSettings
from models.errors import BrokerError

log = logging.getLogger(__name__)

MOST_CLIENTS = 500
BANNER = (
    "embedded broker on %s: for demonstration and tests, at most 500 clients and 1000 messages a second; "
    "what is queued in it is lost with this process. Install mosquitto for more"
)


class EmbeddedBroker(RunningBroker):
    """amqtt on our own event loop."""

    kind: BrokerKind = "embedded"

    def __init__(self, settings: BrokerSettings, store: CredentialStore) -> None:
        self._password = new_password()
        platform = MqttSettings(
            host=inner_host(settings),
            username=PLATFORM_USER,
            password=SecretStr(self._password),
            prefix=settings.prefix,
            client_id=platform_client_id(settings.folder.absolute()),
        )
        super().__init__(settings, store, platform)
        self.host, self.port = settings.host, settings.port
        self._inner_port = 0
        self._guard = Guard(settings.prefix, store, self._password)
        self._broker: GuardedBroker | None = None

    async def start(self) -> None:
        """Open the listeners; ``BrokerError`` if that fails."""
        for chatty in ("amqtt", "transitions"):
            logger = logging.getLogger(chatty)
            if logger.level == logging.NOTSET:
                logger.setLevel(logging.ERROR)  # it warns of every client that leaves
        await self._guard.read()
        plugins = {
            f"{guarded_broker.__name__}.GuardAuthPlugin": {"guard": self._guard},
            f"{guarded_broker.__name__}.GuardTopicPlugin": {"guard": self._guard},
        }
        try:
            broker = GuardedBroker(BrokerConfig(listeners=self._listeners(), plugins=plugins))
            broker.guard = self._guard
            if self.settings.tls is not None:
                broker.require_certificate = self.settings.tls.client_certificates
                broker.identity_as_username = self.settings.tls.identity_as_username
            await broker.start()
        except (AmqttBrokerError, OSError, ValueError) as failed:
            raise BrokerError(f"the embedded broker does not start: {failed}") from failed
        self._broker = broker
        ports = broker.open_ports()
        self._inner_port = ports["default"]
        self.port = ports.get("tls", self._inner_port)
        self._platform = self._platform.model_copy(update={"port": self._inner_port})
        log.warning(BANNER, self.url)

    def _listeners(self) -> dict[str, ListenerConfig]:
        # amqtt copies what "default" sets into the others: so the plain listener must be the default one.
        tls = self.settings.tls
        door = f"{self.settings.host}:{self.port}"
        if tls is None:
            return {"default": ListenerConfig(bind=door, max_connections=MOST_CLIENTS)}
        inner = ListenerConfig(bind=f"127.0.0.1:{self._inner_port}", max_connections=MOST_CLIENTS)
        outer = ListenerConfig(
            bind=door,
            max_connections=MOST_CLIENTS,
            ssl=True,
            certfile=tls.certificate_file,
            keyfile=tls.key_file,
            cafile=tls.ca_file,
        )
        return {"default": inner, "tls": outer}

    async def stop(self) -> None:
        """End all connections and close the listeners."""
        broker, self._broker = self._broker, None
        if broker is not None:
            await broker.close()

    async def refresh(self) -> None:
        """Read the store again, and end the sessions of those who are out."""
        await self._guard.read()
        if self._broker is not None:
            await self._broker.turn_out_strangers()
