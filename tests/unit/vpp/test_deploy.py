"""What lies in ``deploy`` fits the code: names of metrics, settings, files and commands."""

import configparser
import getpass
import json
import re
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped,unused-ignore]

from adapters.mqtt.broker_base import LARGEST_PACKET_BYTES
from adapters.mqtt.broker_mosquitto import access_rule, find_mosquitto
from vpp.metrics import Metrics
from vpp.settings import Settings, load_settings

DEPLOY = Path(__file__).parents[3] / "deploy"
FILES = sorted(path for path in DEPLOY.rglob("*") if path.is_file() and path.suffix != ".png")


def load_yaml(name: str) -> list[Any]:
    return list(yaml.safe_load_all((DEPLOY / name).read_text()))


@pytest.mark.parametrize("path", [p for p in FILES if p.suffix in (".yaml", ".yml")], ids=lambda p: p.name)
def test_every_yaml_file_can_be_read(path: Path) -> None:
    documents = list(yaml.safe_load_all(path.read_text()))
    assert documents
    assert all(isinstance(document, dict) for document in documents)


def expressions() -> dict[str, str]:
    (alerts,) = load_yaml("prometheus/alerts.yml")
    found = {rule["alert"]: rule["expr"] for group in alerts["groups"] for rule in group["rules"]}
    dashboard = json.loads((DEPLOY / "grafana/dashboards/vpp.json").read_text())
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            found[f"{panel['title']} {target['refId']}"] = target["expr"]
    return found


@pytest.mark.parametrize("title", expressions())
def test_alerts_and_dashboard_ask_for_metrics_that_exist(title: str) -> None:
    expression = expressions()[title]
    asked = set(re.findall(r"\bvpp_\w+", expression))
    assert asked <= full_names(), f"{asked - full_names()} in {expression}"
    assert asked or expression.startswith("up")
    assert expression.count("(") == expression.count(")")


def full_names() -> set[str]:
    """Prometheus shows a metric with labels only once it has a value; its name is known before."""
    return Metrics().names()


def test_panels_do_not_lie_on_each_other() -> None:
    panels = json.loads((DEPLOY / "grafana/dashboards/vpp.json").read_text())["panels"]
    taken = [(x, y) for panel in panels for x, y in [(panel["gridPos"]["x"], panel["gridPos"]["y"])]]
    assert len(set(taken)) == len(taken) == len({panel["id"] for panel in panels})


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.name)
def test_settings_named_anywhere_exist(path: Path) -> None:
    named = set(re.findall(r"\bVPP_([A-Z_]+?)__([A-Z_]+)\b", path.read_text()))
    for section, key in named:
        kind = Settings.model_fields[section.lower()].annotation
        assert key.lower() in kind.model_fields, f"VPP_{section}__{key}"  # type: ignore[union-attr]


def test_the_configuration_for_kubernetes_is_valid(tmp_path: Path) -> None:
    configs = [d for d in load_yaml("kubernetes/vpp.yaml") if d["kind"] == "ConfigMap"]
    (tmp_path / "vpp.toml").write_text(configs[0]["data"]["vpp.toml"])
    assert load_settings(tmp_path / "vpp.toml").http.host == "0.0.0.0"
    names = {d["kind"]: d for d in load_yaml("kubernetes/vpp.yaml")}
    pod = names["StatefulSet"]["spec"]["template"]
    assert names["Service"]["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
    volumes = {volume["name"] for volume in pod["spec"]["volumes"]} | {
        claim["metadata"]["name"] for claim in names["StatefulSet"]["spec"]["volumeClaimTemplates"]
    }
    assert {mount["name"] for mount in pod["spec"]["containers"][0]["volumeMounts"]} == volumes


def test_compose_mounts_files_that_are_here() -> None:
    (compose,) = load_yaml("compose.yaml")
    for service in compose["services"].values():
        for mount in service.get("volumes", []):
            source = mount.split(":")[0]
            if source.startswith("."):
                assert (DEPLOY / source).exists(), mount
            elif not source.startswith("$"):
                assert source in compose["volumes"]
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:"), "nothing of this is open to the world as it stands"


def test_the_unit_starts_the_command_that_the_image_starts() -> None:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(DEPLOY / "systemd" / "vpp.service")
    command = unit["Service"]["ExecStart"].split()
    assert command[1] == "serve"
    image = (DEPLOY / "Dockerfile").read_text()
    assert json.loads(image.split("\nCMD ")[1])[:2] == ["serve", "--system"]
    copied = re.findall(r"^COPY ([\w. ]+?) \S+$", image, re.MULTILINE)
    for names in copied:
        for name in names.split():
            assert (DEPLOY.parent / name).exists(), name


def test_the_access_rule_is_the_one_of_the_code() -> None:
    assert (DEPLOY / "mosquitto" / "acl").read_text() == access_rule("vpp/v1")
    assert f"max_packet_size {LARGEST_PACKET_BYTES}" in (DEPLOY / "mosquitto" / "mosquitto.conf").read_text()


@pytest.mark.wire
def test_mosquitto_starts_with_our_configuration(tmp_path: Path) -> None:
    program = find_mosquitto()
    if program is None:
        pytest.skip("mosquitto is not installed")
    shutil.copy(DEPLOY / "mosquitto" / "acl", tmp_path / "acl")
    (tmp_path / "passwords").write_text("")
    for name in ("acl", "passwords"):
        (tmp_path / name).chmod(0o600)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    text = (DEPLOY / "mosquitto" / "mosquitto.conf").read_text()
    text = text.replace("/var/lib/vpp/broker", str(tmp_path)).replace("/mosquitto/config", str(tmp_path))
    text = text.replace("listener 1883", f"listener {port} 127.0.0.1")
    (tmp_path / "mosquitto.conf").write_text(f"user {getpass.getuser()}\n{text}")
    process = subprocess.Popen([program, "-c", tmp_path / "mosquitto.conf"], stderr=subprocess.PIPE, text=True)
    try:
        until = time.monotonic() + 10
        while time.monotonic() < until and process.poll() is None:
            with socket.socket() as knock:
                if knock.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
    finally:
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=10)
    assert "Error" not in said, said
