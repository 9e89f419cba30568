"""Commands under way: sent, sent again until somebody answers, given up after so many tries.

    open        made and kept in the database before it leaves the house; nobody has said anything of it yet
    answered    an acknowledgement has come, for whatever part of it: the gateway has the command
    superseded  something newer was made for the same aggregator: of each only the newest delivery is ever sent again
    over        its time has passed: the device is back to its own fallback
    given up    as many tries as may be, and not a word

A command is sent again as what it is: same id, sequence and bytes, so that whoever has it drops the copy and answers
once more.  It goes again as a whole, or not at all once a part of it is answered: what is missing then lies between a
gateway and its devices, and a copy, being a duplicate, would tell neither anything new.

Every try is counted in the database before it is made, so a restart goes on with the tries that are left.  A try that
the broker did not take has told nobody anything and does not count a second time.

A delivery is what one cycle, or one direct call, sends at one time.  A call to some aggregators leaves the others with
the commands that they have.  It is sent beside the runtime's lock: for each aggregator one thing is sent at a time.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import attrgetter
from uuid import uuid4

import structlog

from adapters.store.store import Store
from models.errors import BrokerError, DeviceError, StoreError
from models.plan import Setpoint, SetpointBatch
from models.ports import Clock, DeviceLink
from vpp.metrics import Metrics

log = structlog.get_logger(__name__)

LEAST_PAUSE = timedelta(seconds=1)
"""Who is asked when something is due says no earlier than this: a database that fails is not asked without a pause."""


@dataclass(frozen=True, slots=True)
class RetryRules:
    """How long an answer may take, and how often a command is sent (the first time counts)."""

    answer_within: timedelta = timedelta(seconds=45)
    most_tries: int = 4


@dataclass(frozen=True, slots=True)
class Order:
    """What an aggregator's devices shall do, before it is a command with an id and a number."""

    aggregator_id: str
    plan_hash: str
    valid_from: datetime
    valid_until: datetime
    setpoints: Sequence[Setpoint]


@dataclass(slots=True)
class _Open:
    """A command without an answer; ``is_out``: the broker took its last try."""

    command_id: str
    aggregator_id: str
    sequence: int
    valid_until: datetime
    made_at: datetime
    tries: int
    due: datetime
    is_out: bool
    was_out: bool
    number: int
    """Counts the commands as they are made, over all aggregators; 0: made before a restart."""


class Outgoing:
    """The commands of each aggregator's newest delivery, as long as nobody has answered them."""

    def __init__(
        self, *, clock: Clock, store: Store, link: DeviceLink, metrics: Metrics, rules: RetryRules | None = None
    ) -> None:
        self._clock = clock
        self._store = store
        self._link = link
        self._metrics = metrics
        self._rules = rules or RetryRules()
        self._open: dict[str, _Open] = {}
        self._turn: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._made = self._shown = 0
        self.plan_hash: str | None = None
        """Fingerprint of the plan of which the newest command is that has left the house."""
        self.last_sequence: dict[str, int] = {}
        self.sent_batches = 0
        self.sent_setpoints = 0

    # ---- a delivery

    def supersede(self) -> None:
        """A plan for everybody is about to be sent: nothing of what was made before is sent again."""
        self._open.clear()

    def put_in_force(self, plan_hash: str) -> None:
        """What devices are to follow now, though no command of it has left since the service began."""
        self._shown, self.plan_hash = self._made, plan_hash

    async def send(self, order: Order, made_at: datetime, still: Callable[[], bool]) -> bool:
        """Make a command of an order, keep it, send it; True if the broker has it.

        ``made_at`` is the same in the whole delivery: open commands of another one for this aggregator are not sent
        again any more.  Number and command are kept in one transaction, so that no number is missing, whenever the
        process is killed.  ``still`` is asked when its turn has come: False, and it is not made at all.
        """
        async with self._turn[order.aggregator_id]:
            return await self._send_now(order, made_at) if still() else False

    async def _send_now(self, order: Order, made_at: datetime) -> bool:
        command_id = str(uuid4())

        def commit() -> SetpointBatch:
            with self._store.transaction():
                sequence = self._store.next_sequence(order.aggregator_id)
                made = SetpointBatch(
                    command_id=command_id,
                    aggregator_id=order.aggregator_id,
                    sequence=sequence,
                    plan_hash=order.plan_hash,
                    valid_from=order.valid_from,
                    valid_until=order.valid_until,
                    setpoints=tuple(sorted(order.setpoints, key=attrgetter("resource_id"))),
                )
                self._store.save_batch(made, made_at)
            return made

        mine = [each for each in self._open.values() if each.aggregator_id == order.aggregator_id]
        self._forget(each for each in mine if each.made_at != made_at)
        try:
            batch = await asyncio.to_thread(commit)
        except StoreError:  # a database that goes away in mid-commit may have done it without our hearing so
            kept = await asyncio.to_thread(self._store.batch, command_id)
            if kept is None:
                raise
            batch, _ = kept
        self._made += 1
        command = _Open(
            command_id=batch.command_id,
            aggregator_id=batch.aggregator_id,
            sequence=batch.sequence,
            valid_until=batch.valid_until,
            made_at=made_at,
            tries=1,
            due=self._clock.now() + self._rules.answer_within,
            is_out=False,
            was_out=False,
            number=self._made,
        )
        self._open[batch.command_id] = command
        return await self._hand_over(command, batch, made_at)

    # ---- again

    def next_due(self, now: datetime) -> datetime | None:
        """When the next command is to be sent again, strictly after ``now``; None if nothing is open."""
        due = min((each.due for each in self._open.values()), default=None)
        return None if due is None else max(due, now + LEAST_PAUSE)

    def waiting_for(self) -> set[str]:
        """Aggregators for whom a command waits that the broker has not taken."""
        return {each.aggregator_id for each in self._open.values() if not each.is_out}

    async def send_again(self) -> int:
        """The broker is back: what it did not take and still holds goes again; returns how many left now."""
        now = self._clock.now()
        waiting = [each for each in self._open.values() if not each.is_out]
        self._forget(each for each in waiting if each.valid_until <= now)
        return sum([await self._again(each) for each in waiting if each.valid_until > now])

    async def retry(self) -> int:
        """Send again what is due and unanswered, give up what was sent often enough; returns how many left now."""
        now = self._clock.now()
        due = [each for each in self._open.values() if each.due <= now]
        if not due:
            return 0
        silent = await asyncio.to_thread(self._store.unanswered, [each.command_id for each in due])
        self._forget(each for each in due if each.valid_until <= now or each.command_id not in silent)
        due = [each for each in due if each.command_id in self._open]
        hopeless = [each for each in due if each.is_out and each.tries >= self._rules.most_tries]
        if hopeless:
            await self._give_up(hopeless, now)
        return sum([await self._again(each) for each in due])

    async def take_up(self) -> None:
        """After a restart: the open commands of each aggregator's newest delivery, with the tries that are left."""
        for each in await asyncio.to_thread(self._store.open_commands, self._clock.now()):
            self._open[each.command_id] = _Open(
                command_id=each.command_id,
                aggregator_id=each.aggregator_id,
                sequence=each.sequence,
                valid_until=each.valid_until,
                made_at=each.made_at,
                tries=each.tries,
                due=each.last_sent_at + self._rules.answer_within,
                is_out=True,  # perhaps: its last try is counted, so it is not made again
                was_out=True,
                number=0,
            )

    # ---- pieces

    def _forget(self, over: Iterable[_Open]) -> None:
        for each in list(over):
            self._open.pop(each.command_id, None)  # a direct call may have been quicker

    async def _again(self, command: _Open) -> bool:
        async with self._turn[command.aggregator_id]:
            return await self._again_now(command) if command.command_id in self._open else False

    async def _again_now(self, command: _Open) -> bool:
        now = self._clock.now()
        command.due = now + self._rules.answer_within
        if command.is_out:
            await asyncio.to_thread(self._store.note_try, command.command_id, now)
            command.tries += 1
            command.is_out = False
        kept = await asyncio.to_thread(self._store.batch, command.command_id)
        if kept is None:
            self._forget([command])
            return False
        return await self._hand_over(command, *kept)

    async def _hand_over(self, command: _Open, batch: SetpointBatch, made_at: datetime) -> bool:
        name, count = batch.aggregator_id, len(batch.setpoints)
        try:
            await self._link.send_setpoints(batch, made_at)
        except BrokerError as error:
            log.error("setpoints not sent, they wait for the broker", aggregator_id=name, error=str(error))
            return False
        except DeviceError as error:
            log.error("setpoints not sent", aggregator_id=name, error=str(error))
            await self._give_up([command], self._clock.now())
            return False
        if command.was_out:
            self._metrics.commands_retried.labels(aggregator=name).inc()
            log.warning(
                "sent again, nobody has answered", aggregator_id=name, sequence=batch.sequence, tries=command.tries
            )
        else:
            self.sent_batches += 1
            self.sent_setpoints += count
            self._metrics.setpoints_sent.labels(aggregator=name).inc(count)
        command.is_out = command.was_out = True
        if command.number > self._shown:  # an older one that goes again puts no older plan in force
            self._shown, self.plan_hash = command.number, batch.plan_hash
        self.last_sequence[name] = max(batch.sequence, self.last_sequence.get(name, 0))
        return True

    async def _give_up(self, commands: Sequence[_Open], now: datetime) -> None:
        """Note in the database and, one line for each aggregator, in the audit log; only then forget them."""
        by_aggregator: dict[str, list[_Open]] = defaultdict(list)
        for each in commands:
            by_aggregator[each.aggregator_id].append(each)

        def commit() -> None:
            with self._store.transaction():
                self._store.give_up([each.command_id for each in commands], now)
                for name, members in by_aggregator.items():
                    said = [
                        {
                            "command_id": each.command_id,
                            "sequence": each.sequence,
                            "tries": each.tries,
                            "valid_until": each.valid_until.isoformat(),
                        }
                        for each in members
                    ]
                    self._store.append_audit(now, "delivery", "command.given_up", name, {"commands": said})

        await asyncio.to_thread(commit)
        self._forget(commands)
        for name, members in by_aggregator.items():
            self._metrics.commands_given_up.labels(aggregator=name).inc(len(members))
            log.error("given up, nobody has answered", aggregator_id=name, commands=len(members))
