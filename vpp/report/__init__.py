"""A day that was dispatched: its result folder, and the report that shows it."""
