"""Simulated devices; they know only `models`."""
