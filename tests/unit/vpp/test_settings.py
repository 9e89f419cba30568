import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from models.errors import InputError
from vpp.settings import Settings, load_settings

EXAMPLE = Path(__file__).parents[3] / "deploy" / "example.toml"


@pytest.fixture(autouse=True)
def quiet_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VPP_CONFIG", raising=False)


def every_key() -> set[tuple[str, str]]:
    sections = {name: field.annotation for name, field in Settings.model_fields.items()}
    found = set()
    for section, kind in sections.items():
        assert isinstance(kind, type)
        assert issubclass(kind, BaseModel)
        found |= {(section, name) for name in kind.model_fields}
    return found


def keys(values: dict[str, Any]) -> set[tuple[str, str]]:
    return {(section, name) for section, part in values.items() for name in part}


def test_the_example_shows_every_key_and_nothing_else(tmp_path: Path) -> None:
    text = EXAMPLE.read_text()
    complete = re.sub(r"^#(\w+ = )", r"\1", text, flags=re.MULTILINE)
    assert keys(tomllib.loads(complete)) == every_key()
    (tmp_path / "all.toml").write_text(complete)
    assert load_settings(tmp_path / "all.toml").store_url == "postgresql://vpp@db/vpp"


def test_the_example_as_it_stands_says_the_defaults() -> None:
    assert load_settings(EXAMPLE) == Settings()
    missing = every_key() - keys(tomllib.loads(EXAMPLE.read_text()))
    for section, name in missing:
        assert getattr(getattr(Settings(), section), name) is None, f"{section}.{name} has a default: show it"


def test_the_environment_wins_over_the_file_key_by_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "vpp.toml").write_text('[http]\nhost = "0.0.0.0"\nport = 9000\n')
    monkeypatch.setenv("VPP_CONFIG", str(tmp_path / "vpp.toml"))
    monkeypatch.setenv("VPP_HTTP__PORT", "9001")
    settings = load_settings(overrides={"http": {"max_body_bytes": 2048}})
    assert (settings.http.host, settings.http.port, settings.http.max_body_bytes) == ("0.0.0.0", 9001, 2048)


WRONG = {
    "[http]\nprot = 1": ("http.prot", "is not a known setting"),
    "[htp]\nport = 1": ("htp", "is not a known setting"),
    "[http]\nport = 70000": ("http.port", "less than or equal to 65535"),
    "[http]\ntls_key_file = 'x'": ("http", "give both or none"),
    "[service]\ntime_zone = 'Chengdu'": ("service.time_zone", "IANA"),
    "[service]\ntime_zone = '../etc/passwd'": ("service.time_zone", "IANA"),
    "[mqtt]\nbroker = 'rabbit'": ("mqtt", "must be auto"),
    "[real_time]\ncycle_s = 420": ("real_time", "multiple of cycle_s"),
    "[solver]\ngap = nan": ("solver.gap", "finite number"),
    "[day_ahead]\ninterval_minutes = 7": ("day_ahead.interval_minutes", "5, 10, 15, 30 or 60"),
    "port = ": ("file", "must be TOML"),
}


@pytest.mark.parametrize("text", WRONG)
def test_what_is_wrong_is_named_with_key_and_rule(tmp_path: Path, text: str) -> None:
    (tmp_path / "vpp.toml").write_text(text)
    with pytest.raises(InputError) as refused:
        load_settings(tmp_path / "vpp.toml")
    (fault,) = refused.value.faults
    assert (fault.field, WRONG[text][1] in fault.rule) == (WRONG[text][0], True), fault


def test_all_mistakes_are_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "vpp.toml").write_text("[http]\nport = 0\nprot = 1\n[solver]\ngap = -1")
    monkeypatch.setenv("VPP_HTPP__PORT", "1")
    with pytest.raises(InputError) as refused:
        load_settings(tmp_path / "vpp.toml")
    assert {fault.field for fault in refused.value.faults} == {"http.port", "http.prot", "solver.gap", "VPP_HTPP__PORT"}


def test_no_error_and_no_printout_shows_a_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VPP_STORE__URL", "postgresql://vpp:geheim@db/vpp")
    monkeypatch.setenv("VPP_MQTT__PASSWORD", "geheim")
    assert "geheim" not in repr(load_settings())
    monkeypatch.setenv("VPP_MQTT__BROKER", "rabbit")
    monkeypatch.setenv("VPP_STORE_URL", "postgresql://vpp:geheim@db/vpp")
    with pytest.raises(InputError) as refused:
        load_settings()
    assert "geheim" not in str(refused.value)
    assert len(refused.value.faults) == 2


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nothing\.toml"):
        load_settings(tmp_path / "nothing.toml")
