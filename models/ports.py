"""Ports: the few ways in which the pure core meets the world. Adapters and simulations answer to them."""

from collections.abc import Callable, Coroutine
from datetime import datetime
from typing import Any, Protocol

from models.dispatch.problem import DispatchProblem
from models.events import EventNotice
from models.plan import DispatchPlan, SetpointBatch


class Clock(Protocol):
    """Where time comes from: the wall in production, a driver in simulation."""

    def now(self) -> datetime:
        """The present, aware UTC."""

    async def sleep_until(self, moment: datetime) -> None:
        """Return once ``now() >= moment``, or earlier where the clock was set back meanwhile."""


class DeviceLink(Protocol):
    """A way to the devices of all aggregators, whatever they speak."""

    async def send_setpoints(self, batch: SetpointBatch) -> None:
        """Hand one batch to its aggregator; ``DeviceError`` or ``BrokerError`` if it cannot leave the house."""

    async def send_event(self, aggregator_id: str, notice: EventNotice) -> None:
        """Tell an aggregator about an event."""


class Solver(Protocol):
    """Whoever makes a plan out of a problem within a wall-clock deadline."""

    async def solve(self, problem: DispatchProblem, *, deadline_s: float, gap: float = 1e-4) -> DispatchPlan:
        """The best plan found; ``DeadlineError`` or another ``SolverError`` if there is none."""

    async def prepare(self, problem: DispatchProblem) -> None:
        """Do what can be done ahead for problems shaped like this one; ``SolverError`` if that fails."""


Handler = Callable[..., Coroutine[Any, Any, None]]
