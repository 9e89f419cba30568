import asyncio
import contextlib
import socket
import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from models.errors import InputError
from vpp.api import create_app, serve_http
from vpp.settings import HttpSettings, Settings


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def own_certificate(folder: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "vpp test")])
    now = datetime.now(UTC)  # noqa: TID251 - the TLS library looks at the real clock
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem, pkcs8, plain = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    certificate_file, key_file = folder / "certificate.pem", folder / "key.pem"
    certificate_file.write_bytes(certificate.public_bytes(pem))
    key_file.write_bytes(key.private_bytes(pem, pkcs8, plain))
    return certificate_file, key_file


@contextlib.asynccontextmanager
async def served(service: Any, http: HttpSettings) -> Any:
    started = asyncio.Event()
    serving = asyncio.create_task(serve_http(create_app(service), Settings(http=http), started=started))
    waiting = asyncio.create_task(started.wait())
    await asyncio.wait({serving, waiting}, return_when=asyncio.FIRST_COMPLETED, timeout=20)
    try:
        yield
    finally:
        waiting.cancel()
        serving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await serving


async def test_it_serves_over_tls_and_only_over_tls(service: Any, tmp_path: Path) -> None:
    certificate_file, key_file = own_certificate(tmp_path)
    port = free_port()
    settings = HttpSettings(port=port, tls_certificate_file=certificate_file, tls_key_file=key_file)
    trusted = ssl.create_default_context(cafile=certificate_file)
    async with served(service, settings):
        async with httpx.AsyncClient(verify=trusted, trust_env=False) as client:
            assert (await client.get(f"https://127.0.0.1:{port}/healthz")).json()["status"] == "ok"
        async with httpx.AsyncClient(trust_env=False) as client:
            with pytest.raises(httpx.TransportError):
                await client.get(f"https://127.0.0.1:{port}/healthz")  # does not trust a stranger's certificate
            with pytest.raises(httpx.TransportError):
                await client.get(f"http://127.0.0.1:{port}/healthz")


async def test_it_stops_when_it_is_cancelled_and_gives_the_port_back(service: Any) -> None:
    settings = HttpSettings(port=free_port())
    for _ in range(2):
        async with served(service, settings), httpx.AsyncClient(trust_env=False) as client:
            assert (await client.get(f"http://127.0.0.1:{settings.port}/healthz")).status_code == 200


async def test_a_taken_port_is_named_and_the_loop_lives_on(service: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        settings = HttpSettings(port=other.getsockname()[1])
        with pytest.raises(InputError, match="a free port"):
            await serve_http(create_app(service), Settings(http=settings))


async def test_a_certificate_that_cannot_be_read_is_named(service: Any, tmp_path: Path) -> None:
    settings = HttpSettings(tls_certificate_file=tmp_path / "no.pem", tls_key_file=tmp_path / "no.key")
    with pytest.raises(InputError, match="readable certificate"):
        await serve_http(create_app(service), Settings(http=settings))
