"""TLS on both brokers: with passwords, and with client certificates instead."""

import asyncio
import datetime as dt
import gc
import json
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import aiomqtt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from adapters.mqtt.broker import BrokerSettings, BrokerTls, RunningBroker, open_broker
from adapters.mqtt.credentials import new_password
from adapters.mqtt.order_link import MqttLink
from adapters.mqtt.settings import ClientTls

# paho leaves the socket of a failed handshake to the garbage collector.
pytestmark = [
    pytest.mark.wire,
    pytest.mark.filterwarnings(
        r"ignore:Exception ignored in. <(ssl\.SSLSocket|socket\.socket):pytest.PytestUnraisableExceptionWarning"
    ),
]
Make = Callable[..., dict[str, Any]]


SIGNS_CERTIFICATES = x509.KeyUsage(
    digital_signature=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)


@dataclass
class Authority:
    """A certificate authority that lives in a folder and for an hour."""

    folder: Path
    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @property
    def file(self) -> Path:
        return self.folder / "ca.pem"

    def issue(self, name: str) -> tuple[Path, Path]:
        """Certificate and key for a name, also good for 127.0.0.1."""
        key = ec.generate_private_key(ec.SECP256R1())
        made = (
            builder(name, self.certificate.subject, key)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
            .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
            .sign(self.key, hashes.SHA256())
        )
        files = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        write(files[0], made, files[1], key)
        return files


def builder(name: str, issuer: x509.Name | None, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)  # noqa: TID251
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer or subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(minutes=5))
        .not_valid_after(now + dt.timedelta(hours=1))
    )


def write(
    certificate_file: Path, certificate: x509.Certificate, key_file: Path, key: ec.EllipticCurvePrivateKey
) -> None:
    certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )


def new_authority(folder: Path) -> Authority:
    folder.mkdir()
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        builder("test authority", None, key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(SIGNS_CERTIFICATES, critical=True)
        .sign(key, hashes.SHA256())
    )
    write(folder / "ca.pem", certificate, folder / "ca.key", key)
    return Authority(folder, key, certificate)


@pytest.fixture(autouse=True)
def sockets_of_failed_handshakes() -> Iterator[None]:
    """Let them go here, where their warnings are expected, and not in somebody else's test."""
    yield
    gc.collect()


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return new_authority(tmp_path / "authority")


@asynccontextmanager
async def running(broker: RunningBroker, handler: Any, clock: Any) -> AsyncIterator[None]:
    link = MqttLink(broker.platform, handler, clock)
    task = asyncio.create_task(link.run())
    try:
        await link.wait_connected(10)
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def exchange(client: aiomqtt.Client, name: str, message: Make) -> str:
    """Send an acknowledgement and return what comes back."""
    await client.subscribe(f"vpp/v1/{name}/down/#", qos=1)
    sent = json.dumps(message("over-tls", acks=[{"command_id": "c", "status": "done"}]))
    await client.publish(f"vpp/v1/{name}/up/ack", sent, qos=1)
    async with asyncio.timeout(8):
        async for answer in client.messages:
            return str(answer.topic)
    raise AssertionError("no answer")


async def test_passwords_over_tls(
    broker_kind: str, tmp_path: Path, authority: Authority, platform: Any, message: Make
) -> None:
    certificate, key = authority.issue("broker")
    tls = BrokerTls(certificate_file=certificate, key_file=key)
    async with open_broker(BrokerSettings(broker=broker_kind, folder=tmp_path / "tls", tls=tls)) as broker:
        assert broker.url.startswith("mqtts://")
        password = new_password()
        await broker.add_aggregator("alpha", password)
        way_in: dict[str, Any] = {"username": "alpha", "password": password, "timeout": 3}
        async with running(broker, platform.handler, platform.link._clock):
            trusted = ClientTls(ca_file=authority.file).context()
            async with aiomqtt.Client(broker.host, broker.port, tls_context=trusted, **way_in) as client:
                assert await exchange(client, "alpha", message) == "vpp/v1/alpha/down/receipt"
            stranger = new_authority(tmp_path / "stranger")
            doubtful = ClientTls(ca_file=stranger.file).context()
            with pytest.raises((aiomqtt.MqttError, ssl.SSLError), match=r"(?i)certificate"):
                await aiomqtt.Client(broker.host, broker.port, tls_context=doubtful, **way_in).__aenter__()
            with pytest.raises(aiomqtt.MqttError):
                await aiomqtt.Client(broker.host, broker.port, **way_in).__aenter__()  # in clear
            wrong = {**way_in, "password": "wrong"}
            with pytest.raises(aiomqtt.MqttError, match=r"Not authorized|Bad user name"):
                await aiomqtt.Client(broker.host, broker.port, tls_context=trusted, **wrong).__aenter__()


async def test_client_certificates_instead_of_passwords(
    broker_kind: str, tmp_path: Path, authority: Authority, platform: Any, message: Make
) -> None:
    certificate, key = authority.issue("broker")
    tls = BrokerTls(
        certificate_file=certificate,
        key_file=key,
        ca_file=authority.file,
        client_certificates=True,
        identity_as_username=True,
    )
    async with open_broker(BrokerSettings(broker=broker_kind, folder=tmp_path / "tls", tls=tls)) as broker:
        await broker.add_aggregator("alpha", new_password())
        async with running(broker, platform.handler, platform.link._clock):
            mine = authority.issue("alpha")
            context = ClientTls(ca_file=authority.file, certificate_file=mine[0], key_file=mine[1]).context()
            async with aiomqtt.Client(broker.host, broker.port, tls_context=context, timeout=3) as client:
                await client.publish("vpp/v1/beta/up/ack", json.dumps(message("forged", acks=[])), qos=1)
                assert await exchange(client, "alpha", message) == "vpp/v1/alpha/down/receipt"
            none = ClientTls(ca_file=authority.file).context()
            with pytest.raises((aiomqtt.MqttError, ssl.SSLError)):
                await aiomqtt.Client(broker.host, broker.port, tls_context=none, timeout=2).__aenter__()
            forged = new_authority(tmp_path / "forger").issue("alpha")
            false = ClientTls(ca_file=authority.file, certificate_file=forged[0], key_file=forged[1]).context()
            with pytest.raises((aiomqtt.MqttError, ssl.SSLError)):
                await aiomqtt.Client(broker.host, broker.port, tls_context=false, timeout=2).__aenter__()
    assert platform.handler.applied == [("alpha", "over-tls")]
    assert platform.handler.dead == []
