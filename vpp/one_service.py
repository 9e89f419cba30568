"""One service for one data folder: a lock that the system lifts even when its holder is killed."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from models.errors import VppError

LOCK = "serve.lock"


@contextmanager
def alone_in(data_dir: Path) -> Iterator[None]:
    """Hold the folder (made if need be); ``VppError`` names the process that holds it already."""
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        handle = os.open(data_dir / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise VppError(f"the data folder {data_dir} cannot be used: {error} (service.data_dir)") from error
    with os.fdopen(handle, "r+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = file.read(20).strip() or "?"
            rule = f"已有服务在使用 a service runs with the data folder {data_dir} (process {holder}): stop it first"
            raise VppError(rule) from error
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield
