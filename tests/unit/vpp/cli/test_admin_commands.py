import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from adapters.mqtt.credentials import verify_password
from adapters.store import Store
from models.errors import InputError, VppError
from models.roles import Role
from vpp.cli import admin
from vpp.security import owns, token_id_of

app = typer.Typer()
app.add_typer(admin.user_app, name="user")
app.add_typer(admin.aggregator_app, name="aggregator")
app.command("backup")(admin.backup)
app.command("restore")(admin.restore)

Vpp = Callable[..., Any]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    config = tmp_path / "vpp.toml"
    config.write_text(f'[service]\ndata_dir = "{tmp_path / "var"}"\n')
    monkeypatch.setenv("VPP_CONFIG", str(config))
    return tmp_path


@pytest.fixture
def vpp(home: Path) -> Vpp:
    """Run a command with --json: its answer, or the error it raises."""

    def run(*words: str, ask: str = "") -> Any:
        result = CliRunner().invoke(app, [*words, "--json"], input=ask)
        if result.exception is not None:
            raise result.exception
        return json.loads(result.output.splitlines()[-1])

    return run


def store_of(home: Path) -> Store:
    return Store(f"sqlite:///{home / 'var' / 'vpp.db'}")


def test_a_token_is_shown_once_and_stored_as_a_hash(vpp: Vpp, home: Path) -> None:
    token = vpp("user", "add", "wang", "--role", "operator")["token"]
    with store_of(home) as store:
        user = store.user_by_token_id(token_id_of(token) or "")
        assert user is not None
        assert owns(user, token)
        assert not owns(user, token[:-1] + ("A" if token[-1] != "A" else "B"))
        (line,) = store.audit_log()
    assert line.action == "user.added"
    secret = token.split("_", 2)[2].encode()
    assert not any(secret in path.read_bytes() for path in (home / "var").iterdir())
    assert vpp("user", "list")[0]["name"] == "wang"


def test_a_name_is_used_by_one_user_at_a_time(vpp: Vpp) -> None:
    vpp("user", "add", "wang", "--role", "operator")
    with pytest.raises(InputError, match="exists already"):
        vpp("user", "add", "wang", "--role", "admin")
    vpp("user", "revoke", "wang")
    with pytest.raises(InputError, match="no active user"):
        vpp("user", "revoke", "wang")
    vpp("user", "add", "wang", "--role", "auditor")
    assert [user["role"] for user in vpp("user", "list")] == ["operator", "auditor"]


@pytest.mark.parametrize("name", ["", "two words", "-x", "a" * 129, "王"])
def test_a_name_that_cannot_be_typed_everywhere_is_refused(vpp: Vpp, name: str) -> None:
    with pytest.raises((InputError, SystemExit)):
        vpp("user", "add", "--role", "operator", "--", name)


def test_an_unknown_role_is_wrong_usage(home: Path) -> None:
    result = CliRunner().invoke(app, ["user", "add", "wang", "--role", "king"])
    assert result.exit_code == 2
    with pytest.raises(InputError, match="vpp aggregator add"):
        admin.add_user("wang", Role.AGGREGATOR)


def test_an_aggregator_gets_mqtt_credentials_and_a_token(vpp: Vpp, home: Path) -> None:
    made = vpp("aggregator", "add", "buildings", "--display-name", "公共建筑")
    with store_of(home) as store:
        record = store.aggregator("buildings")
        assert record is not None
        assert record.display_name == "公共建筑"
        assert verify_password(made["mqtt_password"], record.secret_hash)
        user = store.user_by_token_id(token_id_of(made["api_token"]) or "")
        assert user is not None
        assert user.aggregator_id == "buildings"
    assert made["writes"] == "vpp/v1/buildings/up/#"
    with pytest.raises(InputError, match="exists already"):
        vpp("aggregator", "add", "buildings")
    with pytest.raises(InputError, match="a-z"):
        vpp("aggregator", "add", "Buildings")


def test_a_removed_aggregator_loses_its_access_and_may_come_back(vpp: Vpp, home: Path) -> None:
    token = vpp("aggregator", "add", "buildings")["api_token"]
    with pytest.raises(VppError, match="nothing was done"):
        vpp("aggregator", "remove", "buildings", ask="n\n")
    vpp("aggregator", "remove", "buildings", "--yes")
    with store_of(home) as store:
        assert store.user_by_token_id(token_id_of(token) or "") is None
    assert vpp("aggregator", "list") == []
    with pytest.raises(InputError, match="is no aggregator"):
        vpp("aggregator", "remove", "buildings", "--yes")
    assert vpp("aggregator", "add", "buildings")["api_token"] != token


def test_a_mosquitto_of_your_own_gets_a_password_file(vpp: Vpp, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    password = vpp("aggregator", "add", "buildings")["mqtt_password"]
    monkeypatch.setenv("VPP_MQTT__USERNAME", "_platform")
    monkeypatch.setenv("VPP_MQTT__PASSWORD", "ours")
    file = home / "broker" / "passwords"
    assert vpp("aggregator", "passwords", str(file))["names"] == ["_platform", "buildings"]
    hashes = dict(line.split(":", 1) for line in file.read_text().splitlines())
    assert verify_password("ours", hashes["_platform"])
    assert verify_password(password, hashes["buildings"])
    assert file.stat().st_mode & 0o077 == 0


def test_backup_and_restore_are_two_commands(vpp: Vpp, home: Path) -> None:
    vpp("user", "add", "wang", "--role", "operator")
    file = str(home / "state.zip")
    assert vpp("backup", file)["rows"]["users"] == 1
    with pytest.raises(InputError, match="must not exist"):
        vpp("backup", file)
    vpp("user", "add", "li", "--role", "approver")
    with pytest.raises(InputError, match="must be empty"):
        vpp("restore", file)
    vpp("restore", file, "--force")
    assert [user["name"] for user in vpp("user", "list")] == ["wang"]


def test_people_get_text_instead_of_json(vpp: Vpp) -> None:
    vpp("user", "add", "wang", "--role", "operator")
    result = CliRunner().invoke(app, ["user", "list"])
    assert "wang" in result.output
    assert "{" not in result.output
    assert datetime.now(UTC).strftime("%Y") in result.output  # noqa: TID251 - these commands use the real clock
