"""Bids and clearing: who shall answer a need, at which price, and why not the others."""
