"""Writing in bulk in a process of its own: its near end.

SQLite needs some microseconds a row, and its driver lets go of the interpreter's lock and fights for it again at every
statement: beside a busy event loop both together did less than either alone (measured: 44 000 readings a second,
155 000 alone).  The far end is ``adapters.store.bulk``, run as a script.
"""

import contextlib
import pickle
import select
import subprocess
import sys
import threading
from typing import IO

from adapters.store import bulk
from adapters.store.bulk import AnswerRows, ReadingRows, packed, unpacked

_ANSWER_LIMIT_S = 60.0


class WriterError(Exception):
    """The process has not written; ``args`` say why."""


class WriterProcess:
    """The near end of a pipe; one transaction for each call.  For threads, one at a time."""

    def __init__(self, database: str) -> None:
        """``database``: the path of an SQLite file that is there, or a PostgreSQL connection string; ``OSError`` if the
        machine has no room for another process.
        """
        self._lock = threading.Lock()
        self._is_ready = False
        self._process = subprocess.Popen(  # noqa: S603 - a file of ours
            [sys.executable, "-P", bulk.__file__],  # -P: its folder holds modules of ours
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for us: it ends when the pipe does
        )
        with contextlib.suppress(OSError):  # it has ended already: so it says when it is asked
            self._send(packed(database))

    @property
    def is_ready(self) -> bool:
        """True once it has opened the database; until then it tries again and again."""
        if self._is_ready:
            return True
        with self._lock, contextlib.suppress(OSError):  # OSError: it is just ending
            self._hear_whether_ready()
        return self._is_ready

    def _hear_whether_ready(self) -> None:
        """One thread at a time: the word comes once, and the next one is an answer."""
        if not self._is_ready and self._process.poll() is None and _can_read(self._out, 0.0):
            self._is_ready = unpacked(self._out) == "ready"

    @property
    def has_ended(self) -> bool:
        """True if it must be started anew."""
        return self._process.poll() is not None

    def write(self, rows: ReadingRows, answers: AnswerRows) -> int:
        """Readings and answers in one transaction; how many readings were new.  ``WriterError``: nothing is kept, or
        its word did not come (then they may be kept: send again).
        """
        with self._lock:
            try:
                self._send(packed((rows, list(answers))))
                if not _can_read(self._out, _ANSWER_LIMIT_S):
                    self.close()
                    raise WriterError(f"no word for {_ANSWER_LIMIT_S:g} s")
                said = unpacked(self._out)
            except (OSError, ValueError, pickle.UnpicklingError) as error:  # ValueError: closed by us meanwhile
                self.close()
                raise WriterError(f"the writing process has ended: {error}") from error
        if isinstance(said, str):
            raise WriterError(said)
        return int(said)

    def close(self) -> None:
        """End it; what it was doing is rolled back, or was done."""
        self._is_ready = False
        with contextlib.suppress(OSError):
            self._in.close()
        self._process.kill()
        self._process.wait()
        self._out.close()

    @property
    def _in(self) -> IO[bytes]:
        return self._process.stdin or _none()

    @property
    def _out(self) -> IO[bytes]:
        return self._process.stdout or _none()

    def _send(self, said: bytes) -> None:
        self._in.write(said)
        self._in.flush()


def _none() -> IO[bytes]:
    raise WriterError("the writing process has no pipe")


def _can_read(stream: IO[bytes], limit_s: float) -> bool:
    try:
        return bool(select.select([stream], [], [], limit_s)[0])
    except ValueError:  # closed
        return False
