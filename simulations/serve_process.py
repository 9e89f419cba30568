"""``vpp serve`` as a process of its own, for benches that measure it from outside: started, asked, killed, compared."""

import json
import os
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from adapters.mqtt.broker import RunningBroker
from models.errors import VppError
from simulations.clock import SystemClock

START_LIMIT_S = 120.0
LONGEST_CYCLE_S = 86_400 * 7
_PROGRAM = "import sys; from vpp.cli import main; sys.argv[0] = 'vpp'; main()"
_TICKS = os.sysconf("SC_CLK_TCK")


def free_port() -> int:
    """A port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def cpu_s(pid: int) -> float:
    """Processor seconds that a process (without its children) has used, 0 if it is gone."""
    try:
        words = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(words[11]) + int(words[12])) / _TICKS


def peak_rss_mb(pid: int) -> float:
    """The most memory that a process has had, 0 if it is gone."""
    try:
        text = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except OSError:
        return 0.0
    lines = [line for line in text.splitlines() if line.startswith("VmHWM")]
    return int(lines[0].split()[1]) / 1024 if lines else 0.0


def children(pid: int) -> list[int]:
    """Processes that a process has started and that still run."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += [int(word) for word in task.read_text(encoding="utf-8").split()]
        except OSError:
            continue
    return found


def command_of(pid: int) -> str:
    """The command line of a process, empty if it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


@dataclass
class ServeProcess:
    """One service with its folder: ``folder/city`` are its tables, ``settings`` its TOML file."""

    folder: Path
    settings: dict[str, dict[str, Any]]
    environment: dict[str, str] = field(default_factory=dict)
    process: "subprocess.Popen[bytes] | None" = None
    http_port: int = field(default_factory=free_port)

    def start(self) -> float:
        """Start it; gives the moment (``time.monotonic``), and does not wait."""
        settings = self.settings | {"http": {"port": self.http_port}}
        lines = []
        for section, values in settings.items():
            lines += [f"[{section}]", *(f"{name} = {json.dumps(value)}" for name, value in values.items())]
        (self.folder / "vpp.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")
        # What was compiled is kept, as by every installed service, also where this machine tells Python not to.
        ours = {name: value for name, value in os.environ.items() if not name.startswith("VPP_")}
        ours.pop("PYTHONDONTWRITEBYTECODE", None)
        command = [sys.executable, "-c", _PROGRAM, "serve", "--system", "city", "--config", "vpp.toml", "--json"]
        began_s = time.monotonic()
        with (self.folder / "serve.log").open("ab") as log:
            self.process = subprocess.Popen(  # noqa: S603 - our own program
                command, cwd=self.folder, env=ours | self.environment, stdout=log, stderr=log
            )
        return began_s

    @property
    def pid(self) -> int:
        """Its process id."""
        if self.process is None:
            raise VppError("the service was not started")
        return self.process.pid

    def ready(self) -> bool:
        """True if it says that it is of use."""
        try:
            answer = httpx.get(f"http://127.0.0.1:{self.http_port}/readyz", timeout=5.0, trust_env=False)
        except httpx.HTTPError:
            return False
        return answer.status_code == 200

    def wait_ready(self, limit_s: float = START_LIMIT_S) -> float:
        """The moment at which it was ready; ``VppError`` with the end of its log if that does not happen."""
        give_up_s = time.monotonic() + limit_s
        while not self.ready():
            if self.process is None or self.process.poll() is not None or time.monotonic() > give_up_s:
                raise VppError(f"vpp serve is not ready:\n{self.last_words()}")
            time.sleep(0.02)
        return time.monotonic()

    def last_words(self) -> str:
        """The end of its log."""
        return "\n".join((self.folder / "serve.log").read_text(encoding="utf-8", errors="replace").splitlines()[-20:])

    def kill(self) -> None:
        """``kill -9``."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def stop(self) -> None:
        """End it softly; hard if that takes long."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.kill()


def undisturbed_service(folder: Path, url: str, broker: RunningBroker) -> ServeProcess:
    """As an operator would start it, but that no cycle and no day plan falls into the measurement."""
    platform = broker.platform
    hour = SystemClock().now().hour
    settings: dict[str, dict[str, Any]] = {
        "service": {"data_dir": "data", "time_zone": f"Etc/GMT{hour - 12:+d}"},  # it is noon there
        "mqtt": {"broker": f"mqtt://{platform.host}:{platform.port}", "username": str(platform.username)},
        "real_time": {"quiet_cycle_s": LONGEST_CYCLE_S},
        "day_ahead": {"at": "23:59:00"},
        "log": {"level": "warning", "format": "json"},
    }
    secret = "" if platform.password is None else platform.password.get_secret_value()
    return ServeProcess(folder, settings, {"VPP_MQTT__PASSWORD": secret, "VPP_STORE__URL": url})
