"""The database: SQLite by default, PostgreSQL for scale."""
