"""The fast path: column generation over a million devices, with a certificate."""
