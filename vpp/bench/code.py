"""What code a benchmark ran: figures that hours of runs are put together from must all be of the same."""

import hashlib
from importlib.util import find_spec
from pathlib import Path

PACKAGES = ("models", "adapters", "vpp", "simulations")


def code_sha256() -> str:
    """SHA-256 of every source file of the packages, by path; tests and documents change nothing."""
    found = hashlib.sha256()
    for package in PACKAGES:
        spec = find_spec(package)
        for folder in sorted(spec.submodule_search_locations or ()) if spec is not None else ():
            for path in sorted(Path(folder).rglob("*.py")):
                found.update(f"{package}/{path.relative_to(folder).as_posix()}\0".encode())
                found.update(path.read_bytes())
    return found.hexdigest()
