"""Capability tests of resources: what a test is, what its readings say, what may be bid, and when to test again."""
