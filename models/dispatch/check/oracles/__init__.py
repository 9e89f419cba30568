"""Least cost of each kind of resource at given prices, by own exact (or, where it says so, relaxed) methods."""
