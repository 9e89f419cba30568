"""The one clock of all solvers: it tells the time and notes what it told, or tells it again from a tape.

A solve is cut by wall-clock deadlines, so what it does depends on when it looked.  Every look that something depends
on is ``look``; what only measures is ``stopwatch``, which nothing may depend on.  The tape holds the looks, and how
each run of HiGHS ended (``highs_runs``), in their order and with who asked: that and the warm state
(``solve_record``) are all that a solve knows beside its problem.

A solver looks from the thread that it was called in, never from one that works aside: nobody knows who comes first.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Protocol

from models.errors import VppError

stopwatch: Callable[[], float] = time.monotonic
"""Seconds from some beginning, to measure what something took; never on a tape."""
_PER_S = 1_000_000


class ReplayError(VppError):
    """What a replay asked for is not what the record holds: another problem, another version, or a changed record."""


@dataclass(frozen=True, slots=True)
class RunNote:
    """How one run of HiGHS ended (``highs_runs.Ending``): its model status and what it had by then.

    ``whole``: the integers of an answer that the replay takes from here, packed.
    """

    ending: int
    status: int
    objective: float
    bound: float = 0.0
    nodes: int = 0
    whole: bytes = b""


@dataclass
class Tape:
    """Who asked, and what the answer was: microseconds, or how a run ended."""

    entries: list[tuple[str, int | RunNote]] = field(default_factory=list)


class Clock(Protocol):
    """Live, or a replay."""

    def look(self, who: str) -> float:
        """The time now, s (``time.monotonic``)."""

    def noted(self, who: str) -> RunNote | None:
        """How the next run ended when it was recorded; None where it is run now."""

    def note(self, who: str, note: RunNote) -> None:
        """How a run that was run now has ended."""


class Untaped:
    """The machine's clock; nothing is noted."""

    def look(self, who: str) -> float:  # noqa: ARG002 - nobody asks afterwards
        """See ``Clock``."""
        return time.monotonic()

    def noted(self, who: str) -> RunNote | None:  # noqa: ARG002 - there is no record
        """See ``Clock``."""
        return None

    def note(self, who: str, note: RunNote) -> None:
        """See ``Clock``."""


class Taped:
    """The machine's clock in whole microseconds, with every answer on ``tape``."""

    def __init__(self, tape: Tape) -> None:
        self.tape = tape

    def look(self, who: str) -> float:
        """See ``Clock``."""
        now = time.monotonic_ns() // 1_000
        self.tape.entries.append((who, now))
        return now / _PER_S

    def noted(self, who: str) -> RunNote | None:  # noqa: ARG002 - it is run now
        """See ``Clock``."""
        return None

    def note(self, who: str, note: RunNote) -> None:
        """See ``Clock``."""
        self.tape.entries.append((who, note))


class Replay:
    """What a tape says; it notices when it is asked for something else."""

    def __init__(self, entries: Sequence[tuple[str, int | RunNote]]) -> None:
        self._entries, self._place = entries, 0

    def look(self, who: str) -> float:
        """See ``Clock``."""
        found = self._next(who)
        if not isinstance(found, int):
            raise ReplayError(f"{self._where()}: the solve looks at the time ({who}), the record has a run of HiGHS")
        return found / _PER_S

    def noted(self, who: str) -> RunNote | None:
        """See ``Clock``."""
        found = self._next(who)
        if isinstance(found, int):
            raise ReplayError(f"{self._where()}: the solve runs HiGHS ({who}), the record has a look at the time")
        return found

    def note(self, who: str, note: RunNote) -> None:
        """Compare how a run has ended again."""
        known = self._entries[self._place - 1][1]
        if note != known:
            raise ReplayError(f"{self._where()}: a run of HiGHS ({who}) ended with {note}, recorded was {known}")

    def finish(self) -> None:
        """The solve is over: so must the tape be."""
        if self._place != len(self._entries):
            left = len(self._entries) - self._place
            raise ReplayError(f"the solve is over, and the record goes on for {left} of {len(self._entries)} steps")

    def _next(self, who: str) -> int | RunNote:
        if self._place >= len(self._entries):
            raise ReplayError(f"the record is over after {self._place} steps, and the solve goes on ({who})")
        asked, found = self._entries[self._place]
        self._place += 1
        if asked != who:
            raise ReplayError(f"{self._where()}: the solve asks for {who!r}, recorded was {asked!r}")
        return found

    def _where(self) -> str:
        return f"step {self._place} of {len(self._entries)}"


_CLOCK: ContextVar[Clock] = ContextVar("solve_clock", default=Untaped())  # noqa: B039 - it keeps nothing


def clock() -> Clock:
    """The clock of this thread's solve."""
    return _CLOCK.get()


def look(who: str) -> float:
    """The time now, s, for something that depends on it; ``who`` is written beside it."""
    return _CLOCK.get().look(who)


@contextmanager
def going_by(other: Clock) -> Iterator[None]:
    """Inside, this thread's clock is ``other``."""
    token = _CLOCK.set(other)
    try:
        yield
    finally:
        _CLOCK.reset(token)


@contextmanager
def taped() -> Iterator[Tape]:
    """Inside, every answer is on the tape; in a replay the tape stays empty."""
    tape = Tape()
    if isinstance(_CLOCK.get(), Replay):
        yield tape
        return
    with going_by(Taped(tape)):
        yield tape
