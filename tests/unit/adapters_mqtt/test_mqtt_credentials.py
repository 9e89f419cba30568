"""Hashes that both brokers read, and the file that keeps them."""

import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from adapters.mqtt.broker_base import BrokerSettings, platform_client_id
from adapters.mqtt.broker_mosquitto import configuration
from adapters.mqtt.credentials import FileCredentialStore, hash_password, new_password, verify_password
from adapters.mqtt.settings import MqttSettings
from models.errors import InputError, StoreError


def test_a_password_fits_its_hash_and_no_other() -> None:
    password = new_password()
    hashed = hash_password(password)
    assert verify_password(password, hashed)
    assert not verify_password(password + "x", hashed)
    assert not verify_password("", hashed)
    assert hash_password(password) != hashed, "every hash has a salt of its own"
    assert password not in hashed


@pytest.mark.skipif(shutil.which("mosquitto_passwd") is None, reason="mosquitto is not installed")
def test_mosquittos_own_hashes_are_understood(tmp_path: Path) -> None:
    path = tmp_path / "passwords"
    path.touch(mode=0o600)
    subprocess.run(["mosquitto_passwd", "-b", str(path), "alpha", "a secret"], check=True)
    hashed = path.read_text().strip().removeprefix("alpha:")
    assert verify_password("a secret", hashed)
    assert not verify_password("another", hashed)


@given(st.text(max_size=60))
@settings(max_examples=50)
def test_a_hash_that_cannot_be_read_fits_nothing(hashed: str) -> None:
    assert not verify_password("a secret", hashed)
    assert not verify_password("a secret", f"$7${hashed}")


def test_the_store_keeps_hashes_in_a_file_that_only_its_owner_reads(tmp_path: Path) -> None:
    store = FileCredentialStore(tmp_path / "folder" / "credentials.json")
    assert store.hashes() == {}
    store.set_hash("alpha", "one")
    store.set_hash("beta", "two")
    store.set_hash("alpha", "three")
    store.remove("beta")
    store.remove("nobody")
    assert FileCredentialStore(store.path).hashes() == {"alpha": "three"}
    assert stat.S_IMODE(store.path.stat().st_mode) == 0o600
    assert list(store.path.parent.iterdir()) == [store.path]


def test_a_broken_file_is_an_error_and_not_an_open_door(tmp_path: Path) -> None:
    path = tmp_path / "credentials.json"
    path.write_text("{")
    with pytest.raises(StoreError):
        FileCredentialStore(path).hashes()


@pytest.mark.parametrize("name", ["", "Alpha", "a/b", "a#", "+", "_platform", "a" * 65, "a\nb", "a:b"])
def test_a_name_that_is_no_level_of_a_topic_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError):
        FileCredentialStore(tmp_path / "c.json").set_hash(name, "hash")
    assert not (tmp_path / "c.json").exists()


def test_the_platform_keeps_its_client_id(tmp_path: Path) -> None:
    assert platform_client_id(tmp_path) == platform_client_id(tmp_path)
    assert platform_client_id(tmp_path) != platform_client_id(tmp_path / "other")


def test_mosquitto_is_told_everything_that_its_defaults_get_wrong(tmp_path: Path) -> None:
    lines = configuration(BrokerSettings(), tmp_path, 1883, 1883).splitlines()
    for line in ("allow_anonymous false", "persistence true", "max_queued_messages 100000", "listener 1883 127.0.0.1"):
        assert line in lines


def test_an_address_is_read_and_a_prefix_with_wildcards_refused() -> None:
    made = MqttSettings.from_url("mqtts://a:b@broker.example", prefix="city/1")
    assert (made.host, made.port, made.username, made.prefix) == ("broker.example", 8883, "a", "city/1")
    assert made.tls is not None
    for prefix in ("vpp/+", "#", "", "/vpp", "vpp/"):
        with pytest.raises(ValidationError):
            MqttSettings(prefix=prefix)
