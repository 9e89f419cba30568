"""``vpp bench ingest`` in small: a real service, a real broker that is killed in the middle, and no reading lost."""

import json
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from adapters.mqtt.broker_mosquitto import find_mosquitto
from models.errors import InputError
from simulations.ingest import IngestSetup, cases, compared_with_database, run_ingest
from simulations.ingest_command import _kinds, _line
from simulations.wire import mqtt_bytes
from simulations.wire.telemetry_load import LoadOrder, device_name, sent_rows


@pytest.mark.slow
@pytest.mark.parametrize("broker", ["mosquitto", "embedded"])
async def test_a_broker_that_dies_in_the_middle_costs_no_reading_and_doubles_none(broker: str, tmp_path: Path) -> None:
    if broker == "mosquitto" and find_mosquitto() is None:
        pytest.skip("mosquitto is not installed")
    setup = IngestSetup(resources=60, aggregators=2, broker=broker, seconds=3.0, warm_up_s=0.5)
    wanted = [each for each in cases(30) if each.restart]
    *measured, killed = await run_ingest(setup, wanted, tmp_path)
    assert killed["ready_s"] > 0
    assert "ready again" in _line(killed)
    assert killed["rows"] == sum(case["rows"] for case in measured)
    for case in measured:
        assert case["broker_restarted"]
        assert case["broker"] == broker
        assert case["faults"] == []
        assert case["connections"] >= 4, "both gateways had to come back"
        assert case["readings"] == case["rows"] > 60
        assert (case["lost"], case["duplicated"], case["wrong"], case["unanswered"]) == (0, 0, 0, 0)
        assert case["readings_per_s"] > 10
        assert "lost" in _line(case)
        json.dumps(case)


# ---- the bench's own eyes: it sees what is lost, doubled or changed


@pytest.fixture
def order() -> LoadOrder:
    passwords = {"a": "", "b": ""}
    return LoadOrder("h", 1, "p", passwords, 5, "z", "t", 2, 1, 0.0, 1.0, "run", "sent.json")


SENT = {"a": [1_000, 1_001, 1_002], "b": [1_000]}


@pytest.fixture
def database(order: LoadOrder, tmp_path: Path) -> Callable[..., str]:
    def made(change: str = "") -> str:
        path = tmp_path / "kept.db"
        path.unlink(missing_ok=True)
        with sqlite3.connect(path) as connection:
            connection.execute("CREATE TABLE resources (resource_key, resource_id)")
            connection.execute("CREATE TABLE readings (resource_key, measured_at, power_kw)")
            keys: dict[str, int] = {}
            for name, devices, moments, powers in sent_rows(order, SENT):
                for device, moment, power in zip(devices.tolist(), moments.tolist(), powers.tolist(), strict=True):
                    key = keys.setdefault(device_name(name, device), 70 + len(keys))
                    connection.execute("INSERT INTO readings VALUES (?, ?, ?)", (key, moment, power))
            connection.executemany("INSERT INTO resources VALUES (?, ?)", [(key, name) for name, key in keys.items()])
            connection.execute("INSERT INTO readings VALUES (70, 5, 1.0)")  # of another time
            if change:
                assert connection.execute(change).rowcount == 1
        connection.close()
        return f"sqlite:///{path}"

    return made


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("", {"rows": 7, "lost": 0, "duplicated": 0, "wrong": 0}),
        (
            "DELETE FROM readings WHERE measured_at = 1001002 AND resource_key = 72",
            {"rows": 6, "lost": 1, "duplicated": 0, "wrong": 0},
        ),
        (
            "INSERT INTO readings SELECT * FROM readings WHERE measured_at = 1000001 AND resource_key = 71",
            {"rows": 8, "lost": 0, "duplicated": 1, "wrong": 0},
        ),
        ("INSERT INTO readings VALUES (70, 1000500, 0)", {"rows": 8, "lost": 0, "duplicated": 1, "wrong": 0}),
        (
            "UPDATE readings SET power_kw = 9 WHERE measured_at = 1000001 AND resource_key = 71",
            {"rows": 7, "lost": 0, "duplicated": 0, "wrong": 1},
        ),
        (
            "UPDATE readings SET resource_key = 72 WHERE measured_at = 1000000 AND resource_key = 70",
            {"rows": 7, "lost": 1, "duplicated": 1, "wrong": 0},
        ),
    ],
)
def test_what_is_lost_doubled_changed_or_mixed_up_is_seen(
    order: LoadOrder, database: Callable[..., str], change: str, expected: dict[str, int]
) -> None:
    assert compared_with_database(database(change), order, SENT) == expected


def test_packets_come_out_of_the_stream_whatever_its_pieces() -> None:
    taken: list[tuple[str, bytes]] = []
    stream = mqtt_bytes.publish("t/one", 7, b"x" * 200) + mqtt_bytes.publish("t/two", 8, b"") + b"\x30\x05\x00\x01tno"
    for size in (1, 2, 3, 50, len(stream)):
        taken.clear()
        connection = mqtt_bytes.Connection(
            b"", "", lambda: None, lambda topic, body: taken.append((topic, body)), lambda _: None
        )
        for low in range(0, len(stream), size):
            connection.data_received(stream[low : low + size])
        assert taken == [("t/one", b"x" * 200), ("t/two", b""), ("t", b"no")]


def test_the_length_of_a_packet_takes_as_many_bytes_as_it_needs() -> None:
    for size, digits in ((0, 1), (100, 1), (300, 2), (20_000, 3), (2_100_000, 4)):
        packet = mqtt_bytes.publish("t", 1, b"x" * size)
        assert len(packet) == 1 + digits + 3 + 2 + size


def test_the_command_knows_its_cases(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _kinds("singles") == ("singles",)
    with pytest.raises(InputError, match="must be among"):
        _kinds("both")
    assert [each.name for each in cases(10, restarts=False)] == ["batches", "singles"]


def test_the_command_prints_one_object_and_fails_when_something_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    import typer  # noqa: PLC0415

    from simulations import ingest_command  # noqa: PLC0415

    numbers = dict.fromkeys(("lost", "duplicated", "wrong", "refused"), 0) | {"readings": 7, "readings_per_s": 3.5}

    def app(**changed: Any) -> Any:
        async def run(*_: Any) -> list[dict[str, Any]]:
            return [numbers | changed]

        monkeypatch.setattr(ingest_command, "run_ingest", run)
        made = typer.Typer()
        made.command()(ingest_command.bench_ingest)
        return CliRunner().invoke(made, ["--json", "--seconds", "1"])

    good = app()
    assert good.exit_code == 0, good.output
    said = json.loads(good.output)
    assert said["benchmark"] == "ingest"
    assert said["cases"][0]["readings"] == 7
    assert {"cpu", "cores", "memory_gb", "python"} <= said["machine"].keys()
    assert app(lost=1).exit_code == 1


def test_the_load_generator_knows_nothing_of_the_platform() -> None:
    import subprocess  # noqa: PLC0415

    seen = "import sys, simulations.wire.telemetry_load; print([m for m in sys.modules if m.split('.')[0] in %r])"
    done = subprocess.run(
        [sys.executable, "-c", seen % (("adapters", "vpp", "paho", "aiomqtt", "pydantic_core"),)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert not [name for name in json.loads(done.stdout.replace("'", '"')) if name.split(".")[0] != "pydantic_core"]
