"""Prices, weather and measured load from files."""
