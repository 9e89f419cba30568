"""``vpp serve`` as an operator's engineer runs it: real processes, real sockets, a small fleet."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from adapters.mqtt.broker_mosquitto import find_mosquitto

VPP = Path(sys.executable).with_name("vpp")
pytestmark = pytest.mark.skipif(not VPP.exists(), reason="the command is not installed here")
PATIENCE_S = 40.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def clean_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("VPP_")}


def vpp(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [VPP, *words], cwd=folder, env=clean_environment(), capture_output=True, text=True, timeout=90, check=False
    )


def said(done: subprocess.CompletedProcess[str]) -> Any:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def until(true: Callable[[], bool], what: str, limit_s: float = PATIENCE_S) -> None:
    give_up = time.monotonic() + limit_s
    while not true():
        assert time.monotonic() < give_up, what
        time.sleep(0.1)


class Serving:
    """One ``vpp serve`` with its folder."""

    def __init__(self, folder: Path, broker: str = "auto") -> None:
        self.folder, self.port, self.mqtt_port = folder, free_port(), free_port()
        (folder / "vpp.toml").write_text(
            f'[service]\ndata_dir = "data"\n[http]\nport = {self.port}\n'
            f'[mqtt]\nbroker = "{broker}"\nport = {self.mqtt_port}\n'
        )
        self.log = (folder / "log.jsonl").open("w")
        self.process = subprocess.Popen(
            [VPP, "serve", "--system", "city", "--config", "vpp.toml", "--json"],
            cwd=folder,
            env=clean_environment(),
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
        )

    def get(self, path: str) -> httpx.Response | None:
        try:
            return httpx.get(f"http://127.0.0.1:{self.port}{path}", timeout=5, trust_env=False)
        except httpx.HTTPError:
            return None

    def status(self, path: str) -> int | None:
        answer = self.get(path)
        return None if answer is None else answer.status_code

    def children(self) -> list[int]:
        listed = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(word) for word in listed.read_text().split()]

    def stop(self, word: signal.Signals = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(word)
        code = self.process.wait(20)
        self.log.close()
        return code

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / "log.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    folder = tmp_path_factory.mktemp("written")
    data = said(vpp(folder, "simulate", "--write-city", "city", "--resources", "90", "--json"))
    return folder / "city", list(data["aggregators"])


@pytest.fixture
def city(tmp_path: Path, written: tuple[Path, list[str]]) -> list[str]:
    """A city's folder of its own for each service, written by the command once; its aggregators."""
    folder, aggregators = written
    shutil.copytree(folder, tmp_path / "city")
    return aggregators


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Serving]]:
    started: list[Serving] = []

    def begin(**more: Any) -> Serving:
        started.append(Serving(tmp_path, **more))
        return started[-1]

    yield begin
    for each in started:
        if each.process.poll() is None:
            each.process.kill()
            each.process.wait(10)
        if each.process.stdout is not None:
            each.process.stdout.close()
        each.log.close()


@pytest.mark.slow
def test_a_fleet_registers_with_a_running_service_which_ends_cleanly(
    tmp_path: Path, city: list[str], start: Callable[..., Serving]
) -> None:
    serving = start()
    until(lambda: serving.status("/readyz") == 200, "ready")
    config = ("--config", "vpp.toml", "--json")
    made = said(vpp(tmp_path, "aggregator", "add", *city, "--credentials", "secrets.json", *config))
    assert {each["aggregator_id"] for each in made} == set(city)
    assert (tmp_path / "secrets.json").stat().st_mode & 0o077 == 0
    token = said(vpp(tmp_path, "user", "add", "li", "--role", "operator", *config))["token"]

    wire = ("--broker", f"mqtt://127.0.0.1:{serving.mqtt_port}", "--credentials", "secrets.json")
    short = ("--resources", "90", "--no-history", "--telemetry-s", "2", "--minutes", "0.1", "--json")
    assert said(vpp(tmp_path, "simulate", *wire, *short))["resources"] == 90

    with httpx.Client(
        base_url=f"http://127.0.0.1:{serving.port}/api/v1",
        headers={"Authorization": f"Bearer {token}"},
        trust_env=False,
        timeout=20,
    ) as client:
        (row,) = client.get("/capacity").json()
        assert row["resources"] == 90
        assert 0 < row["callable_kw"] <= row["connected_kw"]
        assert client.get("/dead-letters").json()["items"] == []
    metrics = serving.get("/metrics")
    assert metrics is not None
    assert "vpp_broker_connected 1.0" in metrics.text

    assert said(vpp(tmp_path, "backup", "state.backup", *config))["rows"]["resources"] == 90
    refused = vpp(tmp_path, "restore", "state.backup", "--force", "--config", "vpp.toml")
    assert (refused.returncode, str(serving.process.pid) in refused.stderr) == (1, True), refused.stderr

    children = serving.children()
    with httpx.stream(
        "GET",
        f"http://127.0.0.1:{serving.port}/api/v1/live?every_s=60",
        headers={"Authorization": f"Bearer {token}"},
        trust_env=False,
        timeout=20,
    ) as screen:
        next(screen.iter_raw())
        began = time.monotonic()
        assert serving.stop(signal.SIGINT) == 0
        assert time.monotonic() - began < 20, "an open screen holds nobody up"
    until(lambda: not any(Path(f"/proc/{child}").exists() for child in children), "children are gone", 5)
    assert [line["event"] for line in serving.lines() if line["level"] == "error"] == []
    assert serving.process.stdout is not None
    greeting, farewell = (json.loads(line) for line in serving.process.stdout.read().splitlines())
    assert greeting["http"].endswith(str(serving.port))
    assert farewell == {"stopped": True}


@pytest.mark.slow
@pytest.mark.wire
def test_without_its_broker_the_service_is_healthy_but_not_ready_until_the_broker_appears(
    tmp_path: Path, city: list[str], start: Callable[..., Serving]
) -> None:
    program = find_mosquitto()
    if program is None:
        pytest.skip("mosquitto is not installed")
    port = free_port()
    serving = start(broker=f"mqtt://127.0.0.1:{port}")
    until(lambda: serving.status("/healthz") == 200, "healthy")
    until(lambda: any("not to be reached" in line["event"] for line in serving.lines()), "it is said")
    answer = serving.get("/readyz")
    assert answer is not None
    assert answer.status_code == 503
    assert "Connection refused" in answer.json()["detail"]

    (tmp_path / "mosquitto.conf").write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\n")
    broker = subprocess.Popen([program, "-c", tmp_path / "mosquitto.conf"], stderr=subprocess.DEVNULL)
    try:
        until(lambda: serving.status("/readyz") == 200, "ready once the broker is there", 10)
        broker.terminate()
        broker.wait(10)
        until(lambda: serving.status("/readyz") == 503, "not ready once it is gone", 10)
    finally:
        if broker.poll() is None:
            broker.kill()
            broker.wait(10)
    lost = "broker is not to be reached, trying again and again"

    def told() -> list[str]:
        return [line["event"] for line in serving.lines() if line["event"].startswith("broker ")]

    until(lambda: len(told()) == 3, "the loss is said", 5)
    time.sleep(1)
    assert serving.stop() == 0
    assert told() == [lost, "broker connected", lost], "one line each time, however often it was tried"


def test_what_stands_in_the_way_of_a_start_is_named(tmp_path: Path) -> None:
    missing = vpp(tmp_path, "serve", "--system", "nowhere")
    assert (missing.returncode, "nowhere" in missing.stderr) == (2, True)
    (tmp_path / "empty").mkdir()
    empty = vpp(tmp_path, "serve", "--system", "empty", "--json")
    assert empty.returncode == 2
    assert {fault["field"] for fault in json.loads(empty.stdout)["faults"]} == {"system", "tariffs"}


def test_the_overview_needs_no_solver_and_no_server() -> None:
    heavy = {"pyomo", "pandas", "plotly", "uvicorn", "numpy", "sqlalchemy"}
    script = f"import sys, vpp.cli; sys.exit(1 if {heavy!r} & set(sys.modules) else 0)"
    assert subprocess.run([sys.executable, "-c", script], check=False, timeout=30).returncode == 0
