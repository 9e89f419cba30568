"""How to reach a broker, and how the link behaves."""

import ssl
from pathlib import Path
from typing import Annotated, Self
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from adapters.mqtt.envelope import DEFAULT_PREFIX
from models.errors import InputError, InputFault

Prefix = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.\-]+(/[A-Za-z0-9_.\-]+)*$")]
Port = Annotated[int, Field(ge=1, le=65535)]


class ClientTls(BaseModel):
    """TLS of a client: whom to trust, and who we are (a client certificate, if the broker wants one)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None

    def context(self) -> ssl.SSLContext:
        """An SSL context that checks the broker's certificate and name."""
        made = ssl.create_default_context(cafile=self.ca_file)
        if self.certificate_file is not None:
            made.load_cert_chain(self.certificate_file, self.key_file)
        return made


class MqttSettings(BaseModel):
    """Where the broker is and who we are to it.

    ``client_id`` is fixed, so that the broker keeps what arrives while we are away: two services with one id would
    throw each other out.  ``queue_bytes``: what may wait of one aggregator, ``all_queues_bytes``: of all together,
    before more is dropped unanswered.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = "127.0.0.1"
    port: Port = 1883
    username: str | None = None
    password: SecretStr | None = None
    tls: ClientTls | None = None
    prefix: Prefix = DEFAULT_PREFIX
    client_id: Annotated[str, Field(min_length=1, max_length=64)] = "vpp-platform"
    keepalive_s: Annotated[int, Field(ge=1, le=600)] = 15
    timeout_s: Annotated[float, Field(gt=0, le=60)] = 10.0
    queue_bytes: Annotated[int, Field(ge=1)] = 128 * 1024 * 1024
    all_queues_bytes: Annotated[int, Field(ge=1)] = 256 * 1024 * 1024

    @classmethod
    def from_url(cls, url: str, **others: object) -> Self:
        """Settings from ``mqtt://user:password@host:port`` or ``mqtts://…`` (TLS); other settings by name."""
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as broken:
            raise InputError([InputFault("settings", "broker", url, "must be an address")]) from broken
        if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname or parts.path not in ("", "/"):
            rule = "must look like mqtt://host:port or mqtts://host:port"
            raise InputError([InputFault("settings", "broker", url, rule)])
        fields: dict[str, object] = {"host": parts.hostname}
        fields["port"] = port or (8883 if parts.scheme == "mqtts" else 1883)
        if parts.username is not None:
            fields["username"] = unquote(parts.username)
        if parts.password is not None:
            fields["password"] = unquote(parts.password)
        if parts.scheme == "mqtts":
            fields["tls"] = ClientTls()
        return cls.model_validate({**fields, **others})
