"""The hashes of MQTT passwords as the broker asks for them (its ``CredentialStore``), from the database."""

from collections.abc import Callable, Mapping
from datetime import datetime

from adapters.store.accounts import Accounts
from models.records import AggregatorRecord


class AggregatorCredentials:
    """Hashes by aggregator; an aggregator that is new here is added under its own name."""

    def __init__(self, accounts: Accounts, now: Callable[[], datetime]) -> None:
        self._accounts = accounts
        self._now = now

    def hashes(self) -> Mapping[str, str]:
        """Every aggregator's hash by its name."""
        return {record.aggregator_id: record.secret_hash for record in self._accounts.aggregators()}

    def set_hash(self, aggregator_id: str, hashed: str) -> None:
        """Add an aggregator or give it another password."""
        if not self._accounts.set_secret_hash(aggregator_id, hashed):
            self._accounts.add_aggregator(
                AggregatorRecord(aggregator_id, aggregator_id, hashed, created_at=self._now())
            )

    def remove(self, aggregator_id: str) -> None:
        """Take an aggregator's access away; nothing happens if it has none."""
        self._accounts.remove_aggregator(aggregator_id, self._now())
