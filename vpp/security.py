"""Tokens and roles: who may do what over HTTP.

A token is ``vpp_<id>_<secret>``: the id finds the record, the secret (256 random bits) is kept as SHA-256
only.  A slow hash would add nothing against guessing 2^256 and would make every request slow.
"""

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass, field
from datetime import datetime

from models.errors import AccessError, InputError, InputFault
from models.records import UserRecord
from models.roles import Role

_TOKEN = re.compile(r"vpp_([0-9a-f]{16})_([A-Za-z0-9_-]{43})")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@\-]{0,127}")

RESERVED = frozenset({"service"})


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token as it is shown, once, with the record that is kept."""

    token: str = field(repr=False)
    user: UserRecord


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def new_token(name: str, role: Role, created_at: datetime, aggregator_id: str | None = None) -> NewToken:
    """A token for a person, a program or an aggregator; ``InputError`` if the name will not do."""
    if not _NAME.fullmatch(name):
        rule = "must be 1 to 128 of letters, digits and . _ @ -, beginning with a letter or digit"
        raise InputError([InputFault("users", "name", name, rule)])
    if name in RESERVED:
        rule = f"must not be one of {', '.join(sorted(RESERVED))}: the log would take it for the service itself"
        raise InputError([InputFault("users", "name", name, rule)])
    if (role is Role.AGGREGATOR) != (aggregator_id is not None):
        rule = "aggregators get their tokens with `vpp aggregator add`, everybody else with `vpp user add`"
        raise InputError([InputFault("users", "role", role.value, rule)])
    token_id, secret = secrets.token_hex(8), secrets.token_urlsafe(32)
    user = UserRecord(name, role, token_id, _digest(secret), created_at, aggregator_id=aggregator_id)
    return NewToken(f"vpp_{token_id}_{secret}", user)


def token_id_of(token: str) -> str | None:
    """The public part of a token; None if it does not even look like one."""
    found = _TOKEN.fullmatch(token)
    return found[1] if found else None


def owns(user: UserRecord, token: str) -> bool:
    """True if the token is this user's and was not revoked (compared in constant time)."""
    found = _TOKEN.fullmatch(token)
    if found is None or user.revoked_at is not None or found[1] != user.token_id:
        return False
    return hmac.compare_digest(_digest(found[2]), user.token_hash)


def require(user: UserRecord, *roles: Role) -> None:
    """``AccessError`` unless the user has one of the roles; an admin has every role but the aggregator's."""
    allowed = user.role in roles or (user.role is Role.ADMIN and roles != (Role.AGGREGATOR,))
    if not allowed:
        wanted = " or ".join(sorted(role.value for role in roles))
        raise AccessError(f"{user.name} has role {user.role.value}; this needs {wanted}")


class FailureLimiter:
    """At most so many failed logins a minute from one address; then it is told to wait.

    Remembers a bounded number of addresses, so that an attacker with many cannot fill the memory.
    """

    def __init__(self, per_minute: int, addresses: int = 10_000) -> None:
        self._per_minute = per_minute
        self._addresses = addresses
        self._failures: dict[str, list[float]] = {}

    def _recent(self, address: str, now_s: float) -> list[float]:
        return [moment for moment in self._failures.get(address, []) if moment > now_s - 60]

    def wait_s(self, address: str, now_s: float) -> float:
        """Seconds until this address may try again; 0 = now. ``now_s`` is any steady clock."""
        recent = self._recent(address, now_s)
        return 0.0 if len(recent) < self._per_minute else max(0.0, recent[-self._per_minute] + 60 - now_s)

    def note(self, address: str, now_s: float) -> None:
        """A login has failed."""
        recent = [*self._recent(address, now_s), now_s][-self._per_minute :]
        self._failures.pop(address, None)
        while len(self._failures) >= self._addresses:
            self._failures.pop(next(iter(self._failures)))
        self._failures[address] = recent
