"""Ports: the few ways in which the pure core meets the world. Adapters and simulations answer to them."""

from collections.abc import Callable, Coroutine
from datetime import datetime
from typing import Any, Protocol

from models.dispatch.problem import DispatchProblem
from models.events import EventNotice
from models.market_messages import Arrival, AwardNotice, BidSubmission, Invitation
from models.money_messages import Dispute, StatementNotice
from models.plan import DispatchPlan, SetpointBatch


class Clock(Protocol):
    """Where time comes from: the wall in production, a driver in simulation."""

    def now(self) -> datetime:
        """The present, aware UTC."""

    async def sleep_until(self, moment: datetime) -> None:
        """Return once ``now() >= moment``, or earlier where the clock was set back meanwhile."""


class DeviceLink(Protocol):
    """A way to the devices of all aggregators, whatever they speak."""

    async def send_setpoints(self, batch: SetpointBatch, made_at: datetime | None = None) -> None:
        """Hand one batch, made at that time, to its aggregator; ``DeviceError`` or ``BrokerError`` if it cannot leave
        the house.  The same batch may be handed over again: it is the same command.
        """

    async def send_event(self, aggregator_id: str, notice: EventNotice) -> None:
        """Tell an aggregator about an event."""


class MarketLink(Protocol):
    """A way to tell aggregators about a market and its money; ``BrokerError`` if it cannot leave the house.

    Everything may be told again: the newest invitation, the awards cleared last and the highest version hold.
    """

    async def send_invitation(self, aggregator_id: str, invitation: Invitation) -> None:
        """Open an event for an aggregator's bids, or say that it takes no more."""

    async def send_awards(self, aggregator_id: str, notice: AwardNotice) -> None:
        """Tell an aggregator what became of its offers."""

    async def send_statement(self, aggregator_id: str, notice: StatementNotice) -> None:
        """Tell an aggregator that a statement was issued, corrected or settled."""


class MarketHandler(Protocol):
    """Who takes what aggregators send to the market, each message once.

    In one transaction the effects of a message are written and, as the answer to (aggregator, message id), the bytes
    that ``arrival.answer(faults)`` made; they are returned after the commit, and go out.  The same message may come
    again: its kept answer is then sent without asking here.  ``StoreError``: nothing was written, nothing is answered,
    the sender sends again.  ``InputError``: the message is refused as a whole, for good.  Messages of one aggregator
    come one after the other, those of different aggregators at the same time.
    """

    async def take_bids(self, arrival: Arrival, submission: BidSubmission) -> bytes:
        """Keep bids and withdrawals; each of ``submission.bids`` is taken or refused by itself."""

    async def take_dispute(self, arrival: Arrival, dispute: Dispute) -> bytes:
        """Keep a dispute."""


class Solver(Protocol):
    """Whoever makes a plan out of a problem within a wall-clock deadline."""

    async def solve(self, problem: DispatchProblem, *, deadline_s: float, gap: float = 1e-4) -> DispatchPlan:
        """The best plan found; ``DeadlineError`` or another ``SolverError`` if there is none."""

    async def prepare(self, problem: DispatchProblem) -> None:
        """Do what can be done ahead for problems shaped like this one; ``SolverError`` if that fails."""


Handler = Callable[..., Coroutine[Any, Any, None]]
