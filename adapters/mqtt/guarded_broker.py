"""amqtt's broker, made fit to stand between aggregators who must not hear each other.

amqtt by itself leaves six doors open, which ``GuardedBroker`` closes:

1. it touches the kept session of a client id before it has checked the password, so anybody could take over
   or delete somebody else's: here passwords are checked first, and client ids belong to their user;
2. it publishes a last will without asking the access rule: here a will outside the rule is refused with the
   connection;
3. at a reconnection it sends the retained messages of *everybody's* subscriptions: here only of one's own;
4. it reads packets of any size: here they are limited;
5. it waits for ever for the first packet;
6. it loses a message if somebody subscribes at the wrong moment (it walks through a table that changes): here
   it walks through a copy.
"""

import asyncio
import hmac
import logging
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from amqtt.adapters import BufferReader, ReaderAdapter, StreamReaderAdapter, StreamWriterAdapter, WriterAdapter
from amqtt.broker import Broker
from amqtt.contexts import Action, BrokerConfig, ListenerConfig
from amqtt.errors import AMQTTError, MQTTError, NoDataError
from amqtt.mqtt.connack import BAD_USERNAME_PASSWORD, NOT_AUTHORIZED, ConnackPacket
from amqtt.mqtt.connect import ConnectPacket
from amqtt.mqtt.protocol.broker_handler import BrokerProtocolHandler
from amqtt.plugins.base import BaseAuthPlugin, BaseTopicPlugin
from amqtt.session import Session

from adapters.mqtt.broker_base import LARGEST_PACKET_BYTES
from adapters.mqtt.credentials import PLATFORM_USER, CredentialStore, verify_password

log = logging.getLogger(__name__)

FIRST_PACKET_LIMIT_S = 10.0
STOP_LIMIT_S = 2.0


class Guard:
    """Who may come in, and the access rule: two lines for aggregators, everything below the prefix for the platform."""

    def __init__(self, prefix: str, store: CredentialStore, platform_password: str) -> None:
        self._prefix = prefix
        self._store = store
        self._platform_password = platform_password
        self._known: Mapping[str, str] = {}

    async def read(self) -> None:
        """Read the store again."""
        self._known = dict(await asyncio.to_thread(self._store.hashes))

    def knows(self, username: str | None) -> bool:
        """True if the user has access at all, now."""
        return username == PLATFORM_USER or username in self._known

    async def password_fits(self, username: str | None, password: str | None) -> bool:
        """True if the password is the user's; asks the store, so a new password works at once."""
        if not username or not password:
            return False
        if username == PLATFORM_USER:
            return hmac.compare_digest(password.encode(), self._platform_password.encode())
        await self.read()
        hashed = self._known.get(username)
        return hashed is not None and await asyncio.to_thread(verify_password, password, hashed)

    def allows(self, username: str | None, topic: str, action: Action) -> bool:
        """The access rule; for a subscription ``topic`` may hold wildcards, but not in place of the user's level."""
        if not self.knows(username):
            return False
        if username == PLATFORM_USER:
            return topic.startswith(f"{self._prefix}/")
        way = "up" if action is Action.PUBLISH else "down"
        return topic.startswith(f"{self._prefix}/{username}/{way}/")


class GuardAuthPlugin(BaseAuthPlugin):
    """Says yes to sessions that came through ``GuardedBroker``'s door."""

    @dataclass
    class Config:
        """The guard to ask."""

        guard: Any = None

    async def authenticate(self, *, session: Session) -> bool:
        return bool(self.config.guard.knows(session.username))


class GuardTopicPlugin(BaseTopicPlugin):
    """Asks the guard before anything is published, subscribed or delivered."""

    @dataclass
    class Config:
        """The guard to ask."""

        guard: Any = None

    async def topic_filtering(
        self, *, session: Session | None = None, topic: str | None = None, action: Action | None = None
    ) -> bool:
        if session is None or topic is None or action is None:
            return False
        return bool(self.config.guard.allows(session.username, topic, action))


class _LimitedReader(StreamReaderAdapter):
    """Reads from a socket, but no packet larger than is allowed."""

    async def read(self, n: int = -1) -> bytes:
        if n > LARGEST_PACKET_BYTES:
            self.feed_eof()
            raise NoDataError(f"a packet of {n} bytes is too large")
        return bytes(await super().read(n))


class _SteadyDict(dict[str, list[tuple[Session, int]]]):
    """Subscriptions that may change while somebody walks through them."""

    def items(self) -> list[tuple[str, list[tuple[Session, int]]]]:  # type: ignore[override]
        return [(name, list(owners)) for name, owners in super().items()]

    def __iter__(self) -> Iterator[str]:
        return iter(list(super().keys()))


class GuardedBroker(Broker):
    """amqtt's broker with these doors closed."""

    guard: Guard
    require_certificate = False
    identity_as_username = False

    def __init__(self, config: BrokerConfig) -> None:
        super().__init__(config)
        self._subscriptions = _SteadyDict()
        self._connections: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def stream_connected(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, listener_name: str
    ) -> None:
        task = asyncio.current_task()
        if task is None:
            raise MQTTError("a connection outside a task")
        self._connections[task] = writer
        try:
            await self._client_connected(listener_name, _LimitedReader(reader), StreamWriterAdapter(writer))
        finally:
            del self._connections[task]
            writer.close()

    async def close(self) -> None:
        """Let nobody in any more, end all sessions, and leave no connection behind."""
        for server in self._servers.values():
            server.instance.close()
        try:
            async with asyncio.timeout(STOP_LIMIT_S):
                await self.shutdown()
        except TimeoutError:
            log.warning("the embedded broker did not stop within %g s", STOP_LIMIT_S)
            await self._end_loops()
        left = list(self._connections)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    async def _end_loops(self) -> None:
        """What an unfinished shutdown leaves running."""
        if not self._broadcast_shutdown_waiter.done():
            self._broadcast_shutdown_waiter.set_result(True)
        loops = [task for task in (self._broadcast_task, self._session_monitor_task) if task is not None]
        if self._session_monitor_task is not None:
            self._session_monitor_task.cancel()
        _, running = await asyncio.wait(loops, timeout=1.0)
        for task in running:
            task.cancel()

    def _create_ssl_context(self, listener: ListenerConfig) -> ssl.SSLContext:
        context: ssl.SSLContext = super()._create_ssl_context(listener)
        context.verify_mode = ssl.CERT_REQUIRED if self.require_certificate else ssl.CERT_NONE
        return context

    async def _initialize_client_session(
        self, reader: ReaderAdapter, writer: WriterAdapter, remote_address: str, remote_port: int
    ) -> tuple[BrokerProtocolHandler, Session]:
        try:
            async with asyncio.timeout(FIRST_PACKET_LIMIT_S):
                packet = await ConnectPacket.from_stream(reader)
        except (AMQTTError, MQTTError, NoDataError):
            await writer.close()
            raise
        except (TimeoutError, ValueError, IndexError, EOFError, OSError) as broken:
            await writer.close()
            raise MQTTError(f"no connection request: {broken!r}") from broken
        await self._admit(packet, writer)
        packet.client_id = f"{packet.username}/{packet.client_id}"
        checked = BufferReader(bytes(packet.to_bytes()))
        made: tuple[BrokerProtocolHandler, Session] = await super()._initialize_client_session(
            checked, writer, remote_address, remote_port
        )
        return made

    async def _admit(self, packet: ConnectPacket, writer: WriterAdapter) -> None:
        """Return if the client may come in; else say no, close, and raise."""
        identity = _common_name(writer) if self.identity_as_username else None
        code = None
        if identity is not None:
            packet.username_flag, packet.username = True, identity
            if not self.guard.knows(identity):
                code = NOT_AUTHORIZED
        elif not await self.guard.password_fits(packet.username, packet.password):
            code = BAD_USERNAME_PASSWORD
        will = packet.will_topic if packet.will_flag else None
        if code is None and will is not None and not self.guard.allows(packet.username, will, Action.PUBLISH):
            code = NOT_AUTHORIZED
        if code is not None:
            log.info("connection of user %r refused", packet.username)
            await ConnackPacket.build(0, code).to_stream(writer)
            await writer.close()
            raise MQTTError("not admitted")

    async def _publish_retained_messages_for_subscription(
        self, subscription: tuple[str, int], session: Session
    ) -> None:
        if any(owner is session for owner, _ in self.subscriptions.get(subscription[0], ())):
            await super()._publish_retained_messages_for_subscription(subscription, session)

    async def turn_out_strangers(self) -> None:
        """End the sessions of users who have no access any more."""
        for name, (session, _) in list(self.sessions.items()):
            if not self.guard.knows(session.username):
                await self._cleanup_session(name)

    def open_ports(self) -> dict[str, int]:
        """The port of every listener."""
        return {name: server.instance.sockets[0].getsockname()[1] for name, server in self._servers.items()}


def _common_name(writer: WriterAdapter) -> str | None:
    tls = writer.get_ssl_info()
    certificate = None if tls is None else tls.getpeercert()
    for part in (certificate or {}).get("subject", ()):
        for key, value in part:
            if key == "commonName":
                return str(value)
    return None
