"""The database: SQLite unless told otherwise, PostgreSQL by URL, one schema and one code for both."""

from adapters.store.credentials import AggregatorCredentials
from adapters.store.store import Store

__all__ = ["AggregatorCredentials", "Store"]
