"""Work beside the search: on one core, until the search waits for it and lends the others."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import Generic, TypeVar

from models.dispatch.fast.sweeps import Workers, cores

_T = TypeVar("_T")
_R = TypeVar("_R")


class _InTurn:
    """Workers of whom one works at a time until all may."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(cores())
        self._turns: SimpleQueue[None] = SimpleQueue()
        self._turns.put(None)

    def map(self, function: Callable[[_T], _R], work: Iterable[_T], /) -> Iterator[_R]:
        def when_it_may(item: _T) -> _R:
            turn = self._turns.get()
            try:
                return function(item)
            finally:
                self._turns.put(turn)

        return self._pool.map(when_it_may, work)

    def close(self) -> None:
        """Nobody works here any more."""
        self._pool.shutdown(wait=False)

    def all_at_once(self) -> None:
        for _ in range(cores() - 1):
            self._turns.put(None)


class Aside(Generic[_R]):
    """``work`` with the workers that it is given, begun at once."""

    def __init__(self, work: Callable[[Workers], _R]) -> None:
        self._workers, thread = _InTurn(), ThreadPoolExecutor(1)
        self._answer = thread.submit(work, self._workers)
        thread.shutdown(wait=False)

    def result(self) -> _R:
        """Its answer; whoever waits needs no core."""
        self._workers.all_at_once()
        try:
            return self._answer.result()
        finally:
            self._workers.close()
