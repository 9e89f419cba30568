"""A PostgreSQL server of our own for tests: in a folder of its own, stopped and started again at will."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import pytest

BOTH = [
    "sqlite",
    pytest.param("postgresql", marks=pytest.mark.postgres),
]
"""Parameters of a fixture or a test that wants either database."""


def _programs() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[4]))
    path = found[-1] if found else shutil.which("initdb")
    return Path(path).parent if path else None


def why_not() -> str | None:
    """Why there can be no server here, None if there can."""
    if _programs() is None:
        return "PostgreSQL is not installed (apt-get install postgresql)"
    if os.geteuid() == 0 and "postgres" not in {entry.pw_name for entry in pwd.getpwall()}:
        return "PostgreSQL does not run as root, and there is no user 'postgres'"
    return None


class PostgresServer:
    """Made, and started, with ``with``; its port stays the same whenever it is started again."""

    def __enter__(self) -> Self:
        programs = _programs()
        assert programs is not None
        self._programs = programs
        self._home = Path(tempfile.mkdtemp(prefix="vpp-pg-", dir="/tmp"))  # short: a socket's path has 107 bytes
        if os.geteuid() == 0:
            shutil.chown(self._home, "postgres")
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self._port = probe.getsockname()[1]
        self.url = f"postgresql://vpp@127.0.0.1:{self._port}"
        try:
            self._run("initdb", "-U", "vpp", "-A", "trust", "-E", "UTF8", "--no-locale")
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._run("pg_ctl", "-w", "-m", "immediate", "stop", check=False)
        shutil.rmtree(self._home, ignore_errors=True)

    def _run(self, program: str, *words: str, check: bool = True) -> None:
        command = [str(self._programs / program), "-D", str(self._home / "data"), *words]
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root: Debian's package brings a user of its own
            command = ["runuser", "-u", "postgres", "--", *command]
        # what it starts would keep our pipes open: give it none
        done = subprocess.run(command, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT, cwd=self._home)
        assert done.returncode == 0 or not check, f"{command} failed, see {self._home}"

    def start(self) -> None:
        """Return once it answers."""
        options = (
            f"-c listen_addresses=127.0.0.1 -c port={self._port} -c unix_socket_directories={self._home} -c fsync=off"
        )
        self._run("pg_ctl", "-w", "-t", "60", "-l", str(self._home / "log"), "-o", options, "start")

    def stop(self, mode: str = "fast") -> None:
        """``fast``: every session is told; ``immediate``: as if it were killed."""
        self._run("pg_ctl", "-w", "-m", mode, "stop")

    @contextmanager
    def stopped(self, mode: str = "fast") -> Iterator[None]:
        """Not there inside, and back afterwards, whatever happens: other tests use it too."""
        self.stop(mode)
        try:
            yield
        finally:
            self.start()

    def new_url(self) -> str:
        """URL of a new and empty database."""
        import psycopg  # noqa: PLC0415 - an extra

        name = f"test_{uuid.uuid4().hex}"
        with psycopg.connect(f"{self.url}/postgres", autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"'.encode())
        return f"{self.url}/{name}"
