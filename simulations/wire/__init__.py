"""The device end of each wire, written independently of `adapters`."""
