"""MQTT 3.1.1 as bytes, as far as a gateway under load needs it: written from the OASIS text, sharing nothing with us.

The client library of the platform costs a tenth of a millisecond a message, which on two cores would be a measurement
of the load generator.  Here a packet is a few bytes put together, and many of them leave in one write.
"""

import asyncio
import struct
from collections.abc import Callable
from typing import Final

CONNACK: Final = 2
PUBLISH: Final = 3
PUBACK: Final = 4
SUBACK: Final = 9
_QOS_1: Final = 0x02


def _text(value: str) -> bytes:
    said = value.encode()
    return struct.pack("!H", len(said)) + said


def _packet(first: int, body: bytes) -> bytes:
    length, said = len(body), bytearray()
    while True:
        length, digit = divmod(length, 128)
        said.append(digit | (0x80 if length else 0))
        if not length:
            return bytes((first,)) + bytes(said) + body


def connect(client_id: str, username: str, password: str) -> bytes:
    """Hello, with a clean session and no keep-alive."""
    head = _text("MQTT") + bytes((4, 0b1100_0010)) + struct.pack("!H", 0)
    return _packet(0x10, head + _text(client_id) + _text(username) + _text(password))


def subscribe(packet_id: int, topic: str) -> bytes:
    """Ask for a topic with QoS 1."""
    return _packet(0x82, struct.pack("!H", packet_id) + _text(topic) + b"\x01")


def publish(topic: str, packet_id: int, payload: bytes) -> bytes:
    """A message with QoS 1, not retained."""
    return _packet(0x30 | _QOS_1, _text(topic) + struct.pack("!H", packet_id) + payload)


def puback(packet_id: int) -> bytes:
    """The answer to a message with QoS 1."""
    return struct.pack("!BBH", 0x40, 2, packet_id)


class Connection(asyncio.Protocol):
    """One connection of a gateway: packets in, packets out, in as few writes as possible.

    ``on_ready`` once subscribed to ``topic``, ``on_message`` (topic, payload) for what comes, ``on_lost`` at the end,
    with why if the broker said it.
    """

    def __init__(
        self,
        hello: bytes,
        topic: str,
        on_ready: Callable[[], None],
        on_message: Callable[[str, bytes], None],
        on_lost: Callable[[str], None],
    ) -> None:
        self._hello, self._topic = hello, topic
        self._on_ready, self._on_message, self._on_lost = on_ready, on_message, on_lost
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._last_id = 0
        self._why = ""
        self.open = False
        """Subscribed, and the socket takes more."""

    def publish(self, topic: str, payloads: list[bytes]) -> None:
        """Send messages; nobody waits for the broker's word, the platform's receipt is what counts."""
        if self._transport is None:
            return
        packets = []
        for payload in payloads:
            self._last_id = self._last_id % 65_535 + 1
            packets.append(publish(topic, self._last_id, payload))
        self._transport.write(b"".join(packets))

    def close(self) -> None:
        """Say goodbye."""
        if self._transport is not None:
            self._transport.write(b"\xe0\x00")
            self._transport.close()

    # ---- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is there."""
        if isinstance(transport, asyncio.Transport):
            self._transport = transport
            transport.set_write_buffer_limits(high=4 * 1024 * 1024)
            transport.write(self._hello)

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is gone."""
        self._transport, self.open = None, False
        self._on_lost(self._why or str(exc or "closed by the broker"))

    def pause_writing(self) -> None:
        """The broker does not keep up."""
        self.open = False

    def resume_writing(self) -> None:
        """It does again."""
        self.open = True

    def data_received(self, data: bytes) -> None:
        """Take whole packets out of the stream."""
        buffer, at, acknowledged = self._buffer, 0, bytearray()
        buffer += data
        while (found := _next_packet(buffer, at)) is not None:
            kind, flags, begin, end = found
            body, at = bytes(buffer[begin:end]), end
            if kind == PUBLISH:
                acknowledged += self._taken(flags, body)
            elif kind == CONNACK:
                self._welcomed(body)
            elif kind == SUBACK:
                self.open = True
                self._on_ready()
        del buffer[:at]
        if acknowledged and self._transport is not None:
            self._transport.write(bytes(acknowledged))

    def _welcomed(self, body: bytes) -> None:
        if self._transport is None:
            return
        if body[1]:
            self._why = f"the broker refuses the connection (code {body[1]})"
            self._transport.close()
            return
        self._transport.write(subscribe(1, self._topic))
        self._last_id = 1

    def _taken(self, flags: int, body: bytes) -> bytes:
        length = int.from_bytes(body[:2])
        topic, rest = body[2 : 2 + length].decode(), body[2 + length :]
        if not flags & 0b0110:
            self._on_message(topic, rest)
            return b""
        self._on_message(topic, rest[2:])
        return puback(int.from_bytes(rest[:2]))


def _next_packet(buffer: bytearray, at: int) -> tuple[int, int, int, int] | None:
    """Kind, flags, begin and end of the body of the packet at ``at``; None while it is not all there."""
    length, shift, place = 0, 0, at + 1
    while place < len(buffer):
        digit = buffer[place]
        length |= (digit & 0x7F) << shift
        shift, place = shift + 7, place + 1
        if not digit & 0x80:
            end = place + length
            return (buffer[at] >> 4, buffer[at] & 0x0F, place, end) if end <= len(buffer) else None
    return None
