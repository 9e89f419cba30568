"""Mosquitto as a child of ours: configuration, passwords and access rule are generated, nothing is left to defaults."""

import asyncio
import contextlib
import getpass
import logging
import os
import shutil
import signal
import socket
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from adapters.mqtt.broker_base import (
    LARGEST_PACKET_BYTES,
    BrokerKind,
    BrokerSettings,
    RunningBroker,
    inner_host,
    platform_client_id,
)
from adapters.mqtt.credentials import (
    PLATFORM_USER,
    CredentialStore,
    hash_password,
    new_password,
    write_private,
)
from adapters.mqtt.settings import MqttSettings
from models.errors import BrokerError

log = logging.getLogger(__name__)

START_LIMIT_S = 10.0
PORTS_TO_TRY = 5
SIGNALS = 10
SIGNAL_PAUSE_S = 0.5
RELOAD_PAUSE_S = 0.05
"""It says that it reloads just before it does."""

LONGEST_PAUSE_S = 5.0


def find_mosquitto() -> Path | None:
    """The program, if it is installed (Debian keeps it in /usr/sbin, which is not on everybody's path)."""
    found = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/opt/homebrew/sbin")
    return None if found is None else Path(found)


def access_rule(prefix: str) -> str:
    """The access file: two lines for every aggregator, everything below the prefix for the platform."""
    return (
        f"user {PLATFORM_USER}\n"
        f"topic readwrite {prefix}/#\n"
        "\n"
        f"pattern write {prefix}/%u/up/#\n"
        f"pattern read {prefix}/%u/down/#\n"
    )


def configuration(settings: BrokerSettings, folder: Path, port: int, inner_port: int) -> str:
    """The configuration file. ``inner_port`` is the platform's plain door on loopback, used with TLS only."""
    lines = [
        "# Written at every start: change the service's settings instead.",
        "per_listener_settings false",
        "allow_anonymous false",
        f"password_file {folder / 'passwords'}",
        f"acl_file {folder / 'acl'}",
        "persistence true",
        f"persistence_location {folder}/",
        "persistence_file mosquitto.db",
        "autosave_interval 5",
        "persistent_client_expiration 7d",
        "# The default of 1000 would silently drop what a gateway sends while we restart.",
        "max_queued_messages 100000",
        "max_queued_bytes 268435456",
        "max_inflight_messages 200",
        f"max_packet_size {LARGEST_PACKET_BYTES}",
        "set_tcp_nodelay true",
        "sys_interval 0",
        "log_dest stderr",
        *(f"log_type {kind}" for kind in ("error", "warning", "notice", "information")),
    ]
    if os.geteuid() == 0:
        lines.append(f"user {getpass.getuser()}")  # else it becomes a user who cannot read our files
    lines.append(f"listener {port} {settings.host}")
    tls = settings.tls
    if tls is not None:
        lines += [f"certfile {tls.certificate_file.absolute()}", f"keyfile {tls.key_file.absolute()}"]
        if tls.ca_file is not None:
            lines.append(f"cafile {tls.ca_file.absolute()}")
        lines.append(f"require_certificate {str(tls.client_certificates).lower()}")
        lines.append(f"use_identity_as_username {str(tls.identity_as_username).lower()}")
        lines.append(f"listener {inner_port} 127.0.0.1")
    return "\n".join(lines) + "\n"


def free_port(host: str) -> int:
    """A port that is free now."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


class MosquittoBroker(RunningBroker):
    """The child: started again if it dies, told to read its passwords again when they change, gone when we go."""

    kind: BrokerKind = "mosquitto"

    def __init__(self, settings: BrokerSettings, store: CredentialStore, program: Path) -> None:
        self._program = program
        self._folder = settings.folder.absolute()
        password = new_password()
        self._platform_hash = hash_password(password)
        platform = MqttSettings(
            host=inner_host(settings),
            username=PLATFORM_USER,
            password=SecretStr(password),
            prefix=settings.prefix,
            client_id=platform_client_id(self._folder),
        )
        super().__init__(settings, store, platform)
        self.host, self.port = settings.host, settings.port
        self._inner_port = settings.port
        self._process: asyncio.subprocess.Process | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._hashes: Mapping[str, str] | None = None
        self._running = asyncio.Event()
        self._reloaded = asyncio.Event()
        self._reloading = asyncio.Lock()
        self._last_line = ""

    @property
    def pid(self) -> int | None:
        """The child's process id while it lives."""
        return None if self._process is None else self._process.pid

    async def start(self) -> None:
        """Write the files, start the child, return once it serves; ``BrokerError`` if it does not."""
        await self._write_passwords()
        write_private(self._folder / "acl", access_rule(self.settings.prefix))
        for _ in range(PORTS_TO_TRY):
            self._choose_ports()
            text = configuration(self.settings, self._folder, self.port, self._inner_port)
            write_private(self._folder / "mosquitto.conf", text)
            if await self._started():
                return
            await self.stop()
            if "in use" not in self._last_line or self.settings.port:
                break  # a port of our own choice may be taken by somebody else in the meantime
        where = f"{self.settings.host}:{self.port}"
        raise BrokerError(f"mosquitto does not start on {where}: {self._last_line or 'no word from it'}")

    def _choose_ports(self) -> None:
        encrypted = self.settings.tls is not None
        self.port = self.settings.port or free_port(self.settings.host)
        self._inner_port = free_port("127.0.0.1") if encrypted else self.port
        self._platform = self._platform.model_copy(update={"port": self._inner_port})

    async def _started(self) -> bool:
        self._keeper = asyncio.create_task(self._keep(), name="mosquitto")
        waiting = asyncio.create_task(self._running.wait())
        try:
            await asyncio.wait((waiting, self._keeper), timeout=START_LIMIT_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
        return self._running.is_set()

    async def stop(self) -> None:
        """End the child, softly, so that it writes its queues down."""
        if self._keeper is not None:
            self._keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeper
            self._keeper = None

    async def refresh(self) -> None:
        """Write the passwords again and wait until the child has read them."""
        async with self._reloading:
            if not await self._write_passwords():
                return
            process = self._process
            if process is None or process.returncode is not None:
                return  # it reads them at its next start
            self._reloaded.clear()
            if not await self._tell(process, signal.SIGHUP, self._reloaded.wait):
                raise BrokerError("mosquitto does not read its passwords again")
            await asyncio.sleep(RELOAD_PAUSE_S)

    async def _write_passwords(self) -> bool:
        hashes = dict(await asyncio.to_thread(self._store.hashes))
        if hashes == self._hashes:
            return False
        lines = [f"{name}:{hashed}\n" for name, hashed in sorted(hashes.items())]
        text = f"{PLATFORM_USER}:{self._platform_hash}\n" + "".join(lines)
        await asyncio.to_thread(write_private, self._folder / "passwords", text)
        self._hashes = hashes
        return True

    async def _keep(self) -> None:
        """Start the child, again and again."""
        pause_s, ever_ran = 0.1, False
        while True:
            process = await self._spawn()
            try:
                await self._listen(process)
            finally:
                if process.returncode is None:
                    await self._end(process)
            if self._running.is_set():
                pause_s, ever_ran = 0.1, True
            if not ever_ran:
                return  # ``start`` says why
            self._running.clear()
            log.error("mosquitto ended (%s): %s", process.returncode, self._last_line)
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    async def _spawn(self) -> asyncio.subprocess.Process:
        # setpriv asks the kernel to end the child when we die, even if we are killed.
        guard = shutil.which("setpriv")
        before = () if guard is None else (guard, "--pdeathsig", "TERM")
        self._process = await asyncio.create_subprocess_exec(
            *before,
            str(self._program),
            "-c",
            str(self._folder / "mosquitto.conf"),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,  # Ctrl-C in a terminal is for us: we end the child when our messages are out
        )
        return self._process

    async def _listen(self, process: asyncio.subprocess.Process) -> None:
        """Read the child's log until it ends: its own words say when it serves and when it has reloaded."""
        if process.stderr is None:
            raise BrokerError("mosquitto has no log")
        async for raw in process.stderr:
            line = raw.decode(errors="replace").strip()
            log.debug("mosquitto: %s", line)
            self._last_line = line.partition(": ")[2] or line
            if line.endswith(" running"):
                self._running.set()
            if line.endswith("Reloading config."):
                self._reloaded.set()
        await process.wait()

    async def _end(self, process: asyncio.subprocess.Process) -> None:
        if not await self._tell(process, signal.SIGTERM, process.wait):
            process.kill()
            await process.wait()

    async def _tell(
        self,
        process: asyncio.subprocess.Process,
        word: signal.Signals,
        heard: Callable[[], Coroutine[Any, Any, Any]],
    ) -> bool:
        """Send a signal until it is heard: Mosquitto forgets one that comes while it starts or reloads."""
        waiting = asyncio.ensure_future(heard())
        try:
            for _ in range(SIGNALS):
                with contextlib.suppress(ProcessLookupError):
                    process.send_signal(word)
                done, _ = await asyncio.wait((waiting,), timeout=SIGNAL_PAUSE_S)
                if done:
                    return True
            return False
        finally:
            waiting.cancel()
