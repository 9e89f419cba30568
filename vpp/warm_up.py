"""The pricing oracles, compiled once on a machine: nobody's deadline pays for it, and no two processes do it at once.

Compiling takes about a minute of two cores, loading what is compiled half a second (``models/dispatch/fast/pricing/
jit.py`` says where it is kept).
"""

import contextlib
import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

from numba.core import event

from models.dispatch.fast.pricing.pv import sweep_pv
from models.dispatch.fast.warm_up import warm_up
from vpp.example_portfolio import example_problem

Tell = Callable[[str], None]

EVERY_KIND = 12
"""Resources of the example that has one row for every oracle."""
_LOOK_AGAIN_S = 0.2
_TELL_AGAIN_S = 10.0


def ready_oracles(tell: Tell = lambda _: None) -> int:
    """Compile or load the oracles of every kind; returns how many functions had to be compiled (0: all were there).

    ``tell`` hears what is going on while something is compiled, and every ten seconds while another process does it.
    """
    with _alone(tell), _Compiling(tell) as compiling, contextlib.ExitStack() as helper:
        helped = False

        def at(what: str) -> None:
            nonlocal helped
            if compiling.functions and not helped and (os.cpu_count() or 1) > 1:
                helped = True
                helper.enter_context(_helper())
            compiling.at(what)

        warm_up(example_problem(EVERY_KIND), at)
    return compiling.functions


@contextlib.contextmanager
def _helper() -> Iterator[None]:
    """A process of its own that begins at the other end: what it has compiled is loaded when it is needed."""
    work = "from vpp.warm_up import from_the_end; from_the_end()"
    process = subprocess.Popen([sys.executable, "-c", work])  # noqa: S603 - ourselves
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def from_the_end() -> None:
    """Compile the oracles beginning with the last."""
    warm_up(example_problem(EVERY_KIND), last_first=True)


class _Compiling(event.Listener):
    """Hears from numba what is compiled, and says so with the place in the list of oracles."""

    def __init__(self, tell: Tell) -> None:
        self.functions = 0
        self._tell, self._at, self._told = tell, "", ""

    def at(self, what: str) -> None:
        """``what`` is next."""
        self._at = what

    def on_start(self, event: event.Event) -> None:  # noqa: ARG002 - numba's interface
        """A function is about to be compiled."""
        self.functions += 1
        if self._told != self._at:
            self._told = self._at
            self._tell(f"compiling the pricing oracles, once on this machine: {self._at}")

    def on_end(self, event: event.Event) -> None:
        """A function has been compiled."""

    def __enter__(self) -> Self:
        event.register("numba:compile", self)  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *_: object) -> None:
        event.unregister("numba:compile", self)  # type: ignore[no-untyped-call]


@contextlib.contextmanager
def _alone(tell: Tell) -> Iterator[None]:
    """One process at a time; the next finds everything compiled.  The lock ends with its process, whatever happens."""
    kept = sweep_pv.stats.cache_path  # type: ignore[attr-defined]
    if kept is None:  # nothing is kept anywhere, so there is nothing to wait for
        yield
        return
    with (Path(kept).parent / "lock").open("w", encoding="utf-8") as lock:
        told = -_TELL_AGAIN_S
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() - told >= _TELL_AGAIN_S:
                    told = time.monotonic()
                    tell("waiting for another process that compiles the pricing oracles")
                time.sleep(_LOOK_AGAIN_S)
        yield
