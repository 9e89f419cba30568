"""Solves in a process of their own: one long-lived worker, spawned, killed at the wall-clock deadline.

The worker holds one solver with everything that makes its next solve faster: the fast one its compiled oracles and the
duals of its last plan, the reference its compiled structures.  A worker that is late is killed, and its memory with it;
the next solve starts another.  Spawned, not forked: the parent has threads and sockets.

Before each answer, plan or error, comes the record of the solve (``models.dispatch.solve_record``) as bytes: with the
problem it makes the same schedule again.  Who was killed leaves none, but then it left no plan either.
"""

import asyncio
import multiprocessing
import pickle
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, Protocol

import structlog

from models.dispatch.problem import DispatchProblem
from models.dispatch.solve_record import SolveRecord
from models.errors import DeadlineError, SolverError, VppError
from models.plan import DispatchPlan

log = structlog.get_logger(__name__)

GRACE_S = 0.5
"""The solver minds the deadline by itself; the worker is killed so much later, if nobody says otherwise."""
START_S = 120.0
"""A worker that starts must be ready, or say what it is doing, in so many seconds: a cold machine imports and compiles
slowly."""
PREPARE_S = 120.0
"""Compiling one structure of a few hundred resources takes seconds."""
_STOP_S = 2.0


class BlockingSolver(Protocol):
    """What runs inside the worker."""

    def solve(self, problem: DispatchProblem, *, deadline_s: float, gap: float = 1e-4) -> DispatchPlan:
        """A plan, or a ``SolverError``."""

    def prepare(self, problem: DispatchProblem) -> None:
        """Do what can be done before the first solve of problems shaped like this one."""


class Voice(Protocol):
    """How a worker's solver is heard outside while it works."""

    def tell(self, text: str) -> None:
        """What it is doing."""

    def note(self, facts: Mapping[str, Any]) -> None:
        """What it did: facts of the solve that ends."""


Make = Callable[[Voice], BlockingSolver]


def fast_solver(voice: Voice) -> BlockingSolver:
    """The solver for any number of resources, its oracles ready; imported in the worker only."""
    from vpp.warm_up import ready_oracles  # noqa: PLC0415

    ready_oracles(voice.tell)
    return _FastWithFacts(voice)


def reference_solver(voice: Voice) -> BlockingSolver:  # noqa: ARG001 - it has nothing to say
    """The solver of record; imported in the worker only, because Pyomo is slow to import."""
    from models.dispatch.reference.solve import ReferenceSolver  # noqa: PLC0415

    return ReferenceSolver()


class _FastWithFacts:
    """The fast solver in a worker."""

    def __init__(self, voice: Voice) -> None:
        from models.dispatch.fast.solve import FastSolver  # noqa: PLC0415

        self._voice, self._solver = voice, FastSolver(tell=voice.tell)

    def solve(self, problem: DispatchProblem, *, deadline_s: float, gap: float = 1e-4) -> DispatchPlan:
        """See ``BlockingSolver``."""
        found = self._solver.solve_stream(problem, deadline_s=deadline_s, gap=gap)
        plan = found.plan()
        self._voice.note(fast_facts(found.phases, found.facts))
        return plan

    @property
    def last_record(self) -> SolveRecord | None:
        """What the last solve hung on (``models.dispatch.solve_record``)."""
        return self._solver.last_record

    def prepare(self, problem: DispatchProblem) -> None:
        """Nothing is left to do: every kind's oracle was ready before the worker was."""


def fast_facts(phases: Mapping[str, float], facts: Mapping[str, float]) -> dict[str, Any]:
    """How a fast plan was made: passes over the fleet, seconds by phase, and whatever else was counted."""
    return {"passes": facts.get("passes"), "phases_s": dict(phases), "facts": dict(facts)}


def _log(text: str) -> None:
    log.info("the solver gets ready", doing=text)


class SolverPool:
    """Implements ``models.ports.Solver``: one solve at a time, each with a deadline that holds.

    ``make`` is called in the worker and must be importable there.  The clock of the deadline starts when ``solve`` is
    called, except that starting a worker (first solve, or after a kill) is not counted.  ``starting`` hears what a
    worker does before it is ready, ``solving`` what it does then; ``facts`` are what it
    noted of the last solve.  ``grace_s``: how late an answer may be before the worker is killed for it.
    """

    def __init__(
        self,
        make: Make = fast_solver,
        *,
        starting: Callable[[str], None] = _log,
        solving: Callable[[str], None] = lambda _: None,
        grace_s: float = GRACE_S,
    ) -> None:
        self._make, self._starting, self._solving, self._grace_s = make, starting, solving, grace_s
        self.facts: Mapping[str, Any] = {}
        self._record: bytes | None = None
        self._context = multiprocessing.get_context("spawn")
        self._process: BaseProcess | None = None
        self._pipe: Connection | None = None
        self._one = asyncio.Lock()

    @property
    def last_record(self) -> bytes | None:
        """The record of the last solve (``SolveRecord.from_bytes``), None if its solver made none or was killed."""
        return self._record

    @property
    def worker_pid(self) -> int | None:
        """Process id of the worker, None while there is none."""
        return None if self._process is None else self._process.pid

    async def warm(self) -> None:
        """Start the worker and return once it is ready."""
        async with self._one:
            await self._ready()

    async def solve(self, problem: DispatchProblem, *, deadline_s: float, gap: float = 1e-4) -> DispatchPlan:
        """The best plan found within ``deadline_s`` seconds.

        Raises ``DeadlineError`` if there is none by then and its grace (the worker is killed), ``SolverError`` if the
        solver fails or its process dies, and whatever ``VppError`` the solver raised.
        """
        called = time.monotonic()
        async with self._one:
            self.facts, self._record = {}, None
            before = time.monotonic()
            pipe = await self._ready()
            started_s = time.monotonic() - before
            left = deadline_s - (time.monotonic() - called - started_s)
            if left <= 0:
                raise DeadlineError(deadline_s)
            # Pickled by a thread, so that the loop goes on; a plain message is a few MB at most.
            task = await asyncio.to_thread(pickle.dumps, (problem, left, gap))
            try:
                answer = await self._exchange(pipe, task, left + self._grace_s)
            except TimeoutError:
                await self._kill()
                raise DeadlineError(deadline_s) from None
            except (EOFError, OSError) as error:
                await self._kill()
                raise SolverError("crashed", "the solver's process ended") from error
            except asyncio.CancelledError:
                await self._kill()
                raise
        if isinstance(answer, VppError):
            raise answer
        if not isinstance(answer, DispatchPlan):
            raise SolverError("failed", str(answer))
        return answer

    async def prepare(self, problem: DispatchProblem) -> None:
        """Let the worker compile the structure of ``problem`` now; a failure is told, and the solve will try again."""
        async with self._one:
            pipe = await self._ready()
            task = await asyncio.to_thread(pickle.dumps, (problem, None, 0.0))
            try:
                answer = await self._exchange(pipe, task, PREPARE_S)
            except (TimeoutError, EOFError, OSError, asyncio.CancelledError) as error:
                await self._kill()
                if isinstance(error, asyncio.CancelledError):
                    raise
                raise SolverError("not prepared", str(error) or type(error).__name__) from error
        if answer is not None:
            raise answer if isinstance(answer, VppError) else SolverError("not prepared", str(answer))

    async def close(self) -> None:
        """Stop the worker; a later ``solve`` would start another.

        A worker that waits for work ends by itself when its pipe closes, and tidies up; a busy one is killed.
        """
        async with self._one:
            process, pipe = self._process, self._pipe
            if process is not None and pipe is not None:
                pipe.close()
                await asyncio.to_thread(process.join, _STOP_S)
            await self._kill()

    # ---- the worker, seen from here

    async def _ready(self) -> Connection:
        if self._process is not None and not self._process.is_alive():
            await self._kill()
        if self._process is None or self._pipe is None:
            here, there = self._context.Pipe()
            process = self._context.Process(target=_work, args=(there, self._make), name="vpp-solver", daemon=True)
            await asyncio.to_thread(process.start)
            there.close()
            self._process, self._pipe = process, here
            try:
                while isinstance(said := await self._receive(here, START_S), _Told):
                    self._starting(said.text)
            except TimeoutError:
                await self._kill()
                raise SolverError("not ready", f"the solver's process did not start in {START_S:g} s") from None
            except (EOFError, OSError) as error:
                await self._kill()
                raise SolverError("crashed", "the solver's process ended while starting") from error
            except asyncio.CancelledError:
                await self._kill()
                raise
        return self._pipe

    async def _exchange(self, pipe: Connection, task: bytes, timeout_s: float) -> Any:
        """Send and wait for the answer; ``TimeoutError`` if it does not come."""
        until = time.monotonic() + timeout_s
        await asyncio.wait_for(asyncio.to_thread(pipe.send_bytes, task), timeout_s)
        while True:
            answer = await self._receive(pipe, until - time.monotonic())
            if isinstance(answer, _Told):
                self._solving(answer.text)
            elif isinstance(answer, _Noted):
                self.facts = answer.facts
            elif isinstance(answer, _Record):
                self._record = answer.data
            else:
                return answer

    @staticmethod
    async def _receive(pipe: Connection, timeout_s: float) -> Any:
        """The next thing that the worker says; ``TimeoutError`` if it says nothing."""
        arrived = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_reader(pipe.fileno(), arrived.set)
        try:
            async with asyncio.timeout(max(0.0, timeout_s)):
                await arrived.wait()
        finally:
            loop.remove_reader(pipe.fileno())
        return await asyncio.to_thread(pipe.recv)

    async def _kill(self) -> None:
        process, pipe = self._process, self._pipe
        self._process = self._pipe = None
        if process is not None:
            process.kill()
            await asyncio.to_thread(process.join, _STOP_S)
            if process.exitcode is not None:
                process.close()
        if pipe is not None and not pipe.closed:
            pipe.close()


@dataclass(frozen=True)
class _Told:
    text: str


@dataclass(frozen=True)
class _Noted:
    facts: Mapping[str, Any]


@dataclass(frozen=True)
class _Record:
    data: bytes


class _PipeVoice:
    """A worker's voice: what it says goes into the pipe, before the answer."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe

    def tell(self, text: str) -> None:
        """See ``Voice``."""
        self._pipe.send(_Told(text))

    def note(self, facts: Mapping[str, Any]) -> None:
        """See ``Voice``."""
        self._pipe.send(_Noted(facts))


def _work(pipe: Connection, make: Make) -> None:
    """The worker: ready, then one answer for each task until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    solver = make(_PipeVoice(pipe))
    pipe.send("ready")
    while True:
        try:
            problem, deadline_s, gap = pickle.loads(pipe.recv_bytes())  # noqa: S301 - from our own parent
        except EOFError:
            return
        answer: object
        try:
            if deadline_s is None:
                answer = solver.prepare(problem)  # type: ignore[func-returns-value]
            else:
                answer = solver.solve(problem, deadline_s=deadline_s, gap=gap)
        except VppError as error:
            answer = error
        except Exception as error:  # noqa: BLE001 - whatever it is, the parent must hear of it and go on
            answer = f"{type(error).__name__}: {error}"
        if deadline_s is not None:
            _hand_back_record(pipe, solver)
        pipe.send(answer)
        getattr(solver, "rest", lambda: None)()  # nobody waits now


def _hand_back_record(pipe: Connection, solver: BlockingSolver) -> None:
    """Send the record of the last solve, if the solver makes records (``last_record``)."""
    try:
        record = getattr(solver, "last_record", None)
        data = record.to_bytes() if isinstance(record, SolveRecord) else None
    except Exception as error:  # noqa: BLE001 - a plan without its record is better than no plan
        pipe.send(_Told(f"no record of this solve: {type(error).__name__}: {error}"))
        return
    if data is not None:
        pipe.send(_Record(data))
