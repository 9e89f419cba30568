"""Benchmarks: seeded fleets of any size, and what the solvers make of them (``vpp bench``)."""
