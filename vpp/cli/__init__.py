"""The command line: ``vpp --help``.  Exit codes: 0 done, 1 the work failed, 2 wrong usage or input."""

from vpp.cli.main import app, main

__all__ = ["app", "main"]
