"""The plan in force: the one of which the newest orders are that have left the house, and no other.

What is shown (API, console, reports) is found by the fingerprint that the commands carry.  A plan that was made and
whose orders have not gone out (the database failed, the broker is away) is not in force; nor is the day plan while
devices follow a plan of real time.  After a restart the same plan is shown again, until the first cycle.
"""

import asyncio
from datetime import datetime

import structlog

from adapters.store.store import Store
from models.errors import StoreError
from models.plan import DispatchPlan

log = structlog.get_logger(__name__)

MOST_RESOURCES_KEPT = 100_000
"""Of plans of real time for more resources only the facts are kept: a million take a gigabyte and half a minute in
every cycle.  Then no plan is shown between a restart and the first cycle."""


class PlanInForce:
    """The plans of real time that may be in force: the newest, and the one before while its orders still count."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._plans: dict[str, DispatchPlan] = {}
        self._newest: DispatchPlan | None = None
        self._kept_hash: str | None = None

    def of(self, executed_hash: str | None) -> DispatchPlan | None:
        """The plan with the fingerprint of what devices were sent last; without such a thing the newest plan."""
        return self._newest if executed_hash is None else self._plans.get(executed_hash)

    def made(self, plan: DispatchPlan, executed_hash: str | None) -> None:
        """A cycle has made a plan, ``executed_hash`` being what is in force until its orders leave."""
        before = self._plans.get(executed_hash or "")
        self._plans = {each.plan_hash: each for each in (before, plan) if each is not None}
        self._newest = plan

    async def keep(self, plan: DispatchPlan) -> None:
        """Have it in the database, before any order of it leaves; one that cannot be written holds up nothing."""
        if plan.plan_hash == self._kept_hash or plan.made_at is None:
            return
        whole = len(plan.resource_ids) <= MOST_RESOURCES_KEPT
        try:
            await asyncio.to_thread(self._store.keep_real_time_plan, plan, whole=whole)
        except StoreError as error:
            log.warning("the plan in force is not kept for a restart", error=str(error))
        else:
            self._kept_hash = plan.plan_hash

    async def delivered(self, plan: DispatchPlan, at: datetime) -> None:
        """Note that all of it has left: after a restart its cycle is not run once more."""
        try:
            await asyncio.to_thread(self._store.plan_delivered, plan.plan_hash, at)
        except StoreError as error:
            log.warning("that the plan was delivered is not kept", error=str(error))

    async def take_up(self, executed_hash: str) -> DispatchPlan | None:
        """After a restart: the plan that devices were sent last, None if it is not known any more."""
        plan = await asyncio.to_thread(self._store.plan_by_hash, executed_hash)
        if plan is None:
            log.warning("the plan that devices follow is not known, until the next cycle", plan_hash=executed_hash)
            return None
        self._plans = {executed_hash: plan}
        self._newest, self._kept_hash = plan, executed_hash
        return plan
