"""What all brokers have in common: settings, the way in for the platform, and credentials of aggregators."""

import asyncio
import secrets
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from adapters.mqtt.credentials import CredentialStore, check_name, hash_password, write_private
from adapters.mqtt.envelope import DEFAULT_PREFIX, MAX_MESSAGE_BYTES
from adapters.mqtt.settings import ClientTls, MqttSettings, Prefix

LARGEST_PACKET_BYTES = 4 * MAX_MESSAGE_BYTES
"""What the broker lets through. More than the contract allows, so that the platform can say no to somebody
who sends a little too much; beyond this the broker cuts the connection."""

BrokerKind = Literal["external", "mosquitto", "embedded"]


class BrokerTls(BaseModel):
    """TLS on the aggregators' listener.

    With ``client_certificates`` a client must show a certificate signed by ``ca_file``; with
    ``identity_as_username`` its common name is the aggregator, and no password is asked.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    certificate_file: Path
    key_file: Path
    ca_file: Path | None = None
    client_certificates: bool = False
    identity_as_username: bool = False


class BrokerSettings(BaseModel):
    """Which broker to use.

    ``broker``: ``auto`` (Mosquitto if installed, else embedded), ``mosquitto``, ``embedded``, or the address
    of one that runs already (``mqtt://user:password@host:port``, ``mqtts://…``).  ``port`` 0 = any free one.
    ``tls`` is for a broker of ours, ``client_tls`` for reaching a configured one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    broker: str = "auto"
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 0
    folder: Path = Path("var/broker")
    prefix: Prefix = DEFAULT_PREFIX
    tls: BrokerTls | None = None
    client_tls: ClientTls | None = None
    username: str | None = None
    password: SecretStr | None = None


class RunningBroker(ABC):
    """A broker that is up: where it is, our own way in, and who else may come in.

    ``host`` and ``port`` are the aggregators' door; with TLS the platform has a plain one of its own on
    loopback.
    """

    kind: BrokerKind

    def __init__(self, settings: BrokerSettings, store: CredentialStore, platform: MqttSettings) -> None:
        self.settings = settings
        self.host, self.port = platform.host, platform.port
        self._store = store
        self._platform = platform

    @property
    def url(self) -> str:
        """The address for aggregators, without credentials."""
        encrypted = self.settings.tls is not None or self._platform.tls is not None
        return f"{'mqtts' if encrypted else 'mqtt'}://{self.host}:{self.port}"

    @property
    def platform(self) -> MqttSettings:
        """How the platform's own link reaches this broker, with credentials."""
        return self._platform

    async def add_aggregator(self, aggregator_id: str, password: str) -> None:
        """Let an aggregator in with this password (also: give it another); in force when this returns."""
        check_name(aggregator_id)
        hashed = await asyncio.to_thread(hash_password, password)
        await asyncio.to_thread(self._store.set_hash, aggregator_id, hashed)
        await self.refresh()

    async def remove_aggregator(self, aggregator_id: str) -> None:
        """Let an aggregator in no more, and end the connections it has."""
        await asyncio.to_thread(self._store.remove, aggregator_id)
        await self.refresh()

    @abstractmethod
    async def refresh(self) -> None:
        """Read the store again: somebody else, such as the command line, may have changed it."""


class ExternalBroker(RunningBroker):
    """A broker that somebody else runs; its operator looks after credentials and the access rule."""

    kind: BrokerKind = "external"

    async def refresh(self) -> None:
        """Nothing to do: the store's hashes are for brokers of ours."""


def inner_host(settings: BrokerSettings) -> str:
    """Where the platform itself finds a broker of ours: loopback, unless it listens on one address only."""
    everywhere = settings.host in ("0.0.0.0", "::", "")  # noqa: S104
    return "127.0.0.1" if everywhere or settings.tls is not None else settings.host


def platform_client_id(folder: Path) -> str:
    """Our client id, the same at every start, and not to be guessed: who uses it throws us out of the broker."""
    path = folder / "client-id"
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        made = f"vpp-platform-{secrets.token_hex(12)}"
        write_private(path, made + "\n")
        return made
