"""Pricing oracles: every kind's cheapest schedule at given prices, exact, one device at a time, in numba.

A kind's file holds its struct of arrays, the builder that fills it from the portfolio's columns, the oracle with the
argument why it is exact, and the sweep that asks the oracle about a range of rows.
"""
