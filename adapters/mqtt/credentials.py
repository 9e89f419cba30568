"""Who may connect: user names with hashes of their passwords, in the form that Mosquitto reads.

One kind of hash serves both brokers: ``$7$iterations$salt$hash``, PBKDF2 with SHA-512.  Passwords are made
here, 32 random bytes each, so the count of iterations does not have to make up for weak ones; it is kept low
enough that five hundred gateways can come back at once after a broker's restart.
"""

import base64
import binascii
import hashlib
import hmac
import json
import os
import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from models.errors import InputError, InputFault, StoreError

ITERATIONS = 5_000
_SALT_BYTES = 12  # Mosquitto 2.0 accepts no other length
_HASH_BYTES = 64
_AGGREGATOR = re.compile(r"[a-z0-9-]{1,64}")

PLATFORM_USER = "_platform"
"""Our own user name: no aggregator can have it, because an aggregator's name has no underscore."""


def new_password() -> str:
    """A password nobody can guess, safe in URLs and shells."""
    return secrets.token_urlsafe(32)


def hash_password(password: str) -> str:
    """The hash of a password, with a salt of its own."""
    salt = secrets.token_bytes(_SALT_BYTES)
    made = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, ITERATIONS, _HASH_BYTES)
    return f"$7${ITERATIONS}${base64.b64encode(salt).decode()}${base64.b64encode(made).decode()}"


def verify_password(password: str, hashed: str) -> bool:
    """True if the password belongs to the hash; False also for a hash that cannot be read."""
    try:
        _, kind, iterations, salt, expected = hashed.split("$")
        if kind != "7":
            return False
        wanted = base64.b64decode(expected, validate=True)
        made = hashlib.pbkdf2_hmac(
            "sha512", password.encode(), base64.b64decode(salt, validate=True), int(iterations), len(wanted)
        )
    except (ValueError, OverflowError, binascii.Error):
        return False
    return hmac.compare_digest(made, wanted)


class CredentialStore(Protocol):
    """Where the hashes are kept: the service's database, or a file. Called from threads; ``StoreError`` if it fails."""

    def hashes(self) -> Mapping[str, str]:
        """Every aggregator's hash by its name."""

    def set_hash(self, aggregator_id: str, hashed: str) -> None:
        """Add an aggregator or give it another password."""

    def remove(self, aggregator_id: str) -> None:
        """Take an aggregator's access away; nothing happens if it has none."""


class FileCredentialStore:
    """Hashes in one JSON file that only its owner can read; written whole, so never half."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def hashes(self) -> Mapping[str, str]:
        """Every aggregator's hash by its name."""
        try:
            kept = json.loads(self.path.read_text())
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as broken:
            raise StoreError(f"{self.path}: {broken}") from broken
        return {str(name): str(hashed) for name, hashed in kept.items()}

    def set_hash(self, aggregator_id: str, hashed: str) -> None:
        """Add an aggregator or give it another password."""
        check_name(aggregator_id)
        self._write({**self.hashes(), aggregator_id: hashed})

    def remove(self, aggregator_id: str) -> None:
        """Take an aggregator's access away."""
        self._write({name: hashed for name, hashed in self.hashes().items() if name != aggregator_id})

    def _write(self, hashes: Mapping[str, str]) -> None:
        try:
            write_private(self.path, json.dumps(dict(sorted(hashes.items())), indent=1) + "\n")
        except OSError as broken:
            raise StoreError(f"{self.path}: {broken}") from broken


def check_name(aggregator_id: str) -> None:
    """``InputError`` unless the name can be a user name and a level of a topic."""
    if not _AGGREGATOR.fullmatch(aggregator_id):
        rule = "must be 1 to 64 characters of a-z, 0-9 and hyphen"
        raise InputError([InputFault("aggregator", "aggregator_id", aggregator_id, rule)])


def write_private(path: Path, text: str) -> None:
    """Write a file whole and readable by its owner only."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(text)
    draft.replace(path)
