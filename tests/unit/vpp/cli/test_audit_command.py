"""``vpp audit verify`` says what it found, in both languages or as JSON, and fails if it found anything."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from adapters.store import Store
from models.errors import InputError
from tests.unit.vpp.recorded import happen, populate, record, unguarded
from vpp.cli.main import app


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    config = tmp_path / "vpp.toml"
    config.write_text(f'[service]\ndata_dir = "{tmp_path / "var"}"\n')
    monkeypatch.setenv("VPP_CONFIG", str(config))
    return tmp_path


def test_it_tells_what_was_tampered_with_and_fails(home: Path) -> None:
    with Store(f"sqlite:///{home / 'var' / 'vpp.db'}") as store:
        store.migrate()
        populate(store)
        happen(store)
        record(store)
        _, head = store.audit_head()
        intact = CliRunner().invoke(app, ["audit", "verify", "--head", head])
        assert intact.exit_code == 0
        assert "一切与记录相符 all is as it was recorded" in intact.output
        assert head in intact.output
        with unguarded(store) as execute:
            execute("UPDATE setpoints SET power_kw = 77 WHERE batch_key = 3 AND resource_key = 2")
    broken = CliRunner().invoke(app, ["audit", "verify"])
    assert broken.exit_code == 1
    assert "setpoint_batches sun-3" in broken.output
    assert "已被改动 has been changed" in broken.output
    told = CliRunner().invoke(app, ["audit", "verify", "--event", "e1", "--json"])
    said = json.loads(told.output)
    assert told.exit_code == (0 if said["intact"] else 1)
    assert said["head_sha256"] == head
    assert [each["key"] for each in said["findings"]] in ([], ["sun-3"])
    later = json.loads(CliRunner().invoke(app, ["audit", "verify", "--since", "2025-07-16T14:00", "--json"]).output)
    assert later["intact"]
    assert later["checked"]["readings"] == 240


@pytest.mark.parametrize("words", [["--event", "e9"], ["--since", "noon"], ["--since", "2025-07-16", "--event", "e1"]])
def test_what_cannot_be_asked_is_refused(home: Path, words: list[str]) -> None:
    with Store(f"sqlite:///{home / 'var' / 'vpp.db'}") as store:
        store.migrate()
    result = CliRunner().invoke(app, ["audit", "verify", *words])
    assert isinstance(result.exception, InputError)
