"""Many event days: fleets side by side in processes of their own, and many days of each fleet from one kept start.

A day begins where the fleet's day ahead has been planned; from then on everything that happens is thrown anew, day by
day: the dice of every device, everyday faults, planned faults, the error of the city's forecast.  What a fleet is, its
earlier days and the baseline made from them are the same for its days; another fleet has others.
"""

import asyncio
import itertools
import shutil
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.managers import SyncManager
from pathlib import Path
from queue import Empty, Queue
from typing import Any

from simulations.day import keep_start, run_day
from simulations.day_setup import DaySetup, day_settings
from simulations.end_with_parent import end_with_parent
from simulations.event_cases import NOTHING, FaultCase
from simulations.event_days import EventDayScore, at_pace, broken_invariants, event_day, far_side, promises, score
from simulations.quiet_logs import quiet_logs
from vpp.wiring import solver_pools

FleetDays = tuple[int, tuple[int, ...]]
"""A fleet's seed, and the seeds of its days."""
Told = Callable[[str], None]


@dataclass(frozen=True)
class EventBench:
    """What is run: every case on every day.  ``cycle_s``: how often the service plans, ``telemetry_s``: how often
    devices report.
    """

    resources: int
    cases: tuple[FaultCase, ...]
    days: int
    days_per_fleet: int = 20
    first_seed: int = 0
    cycle_s: float = 300.0
    telemetry_s: float = 300.0
    done: frozenset[tuple[int, str]] = frozenset()
    """Seeds and cases that need not be run again."""

    def left(self, which: FleetDays) -> list[tuple[int, FaultCase]]:
        """What is still to be run of a fleet's days."""
        pairs = itertools.product(which[1], self.cases)
        return [(seed, case) for seed, case in pairs if (seed, case.name) not in self.done]

    def fleets(self) -> list[FleetDays]:
        """Every fleet with its days; day ``first_seed + k`` is the same whatever else is run, as long as fleets have
        as many days.
        """
        last = self.first_seed + self.days
        numbers = range(self.first_seed // self.days_per_fleet, -(-last // self.days_per_fleet))
        spans = ((number, number * self.days_per_fleet) for number in numbers)
        return [
            (number, tuple(range(max(low, self.first_seed), min(low + self.days_per_fleet, last))))
            for number, low in spans
        ]


def event_days(bench: EventBench, *, processes: int, told: Told) -> Iterator[EventDayScore]:
    """The scores of all days, as they come; ``told`` hears what is going on."""
    context = get_context("spawn")
    manager = SyncManager(ctx=context)
    manager.start(end_with_parent)
    with (
        manager,
        ProcessPoolExecutor(processes, mp_context=context, initializer=end_with_parent) as pool,
    ):
        heard = manager.Queue()
        running: set[Future[None]] = {
            pool.submit(_fleet_days, bench, each, heard) for each in bench.fleets() if bench.left(each)
        }
        while running:
            done, running = wait(running, timeout=0.5, return_when=FIRST_COMPLETED)
            yield from _heard(heard, told)
            for each in done:
                each.result()


def _heard(heard: Queue[Any], told: Told) -> Iterator[EventDayScore]:
    while True:
        try:
            each = heard.get_nowait()
        except Empty:
            return
        if isinstance(each, EventDayScore):
            yield each
        else:
            told(each)


def _fleet_days(bench: EventBench, which: FleetDays, heard: Queue[Any]) -> None:
    """All days of one fleet, in a process of its own."""
    base = event_day(bench.resources, which[0], None, NOTHING)
    with tempfile.TemporaryDirectory() as folder, quiet_logs(Path(folder)):
        asyncio.run(fleet_days(bench, which, base, Path(folder), heard.put))


async def fleet_days(
    bench: EventBench, which: FleetDays, base: DaySetup, folder: Path, heard: Callable[[EventDayScore | str], None]
) -> None:
    """All days of one fleet, which is that of ``base``; ``heard`` is told their scores, and in words what goes on."""
    fleet_seed = which[0]
    base = at_pace(base, bench.cycle_s, bench.telemetry_s)
    solvers = solver_pools(day_settings(base, folder / "kept" / "service"))

    def told(name: str) -> Callable[[str, str, float], None]:
        last = [-1]

        def progress(_: str, en: str, share: float) -> None:
            if int(20 * share) != last[0]:
                last[0] = int(20 * share)
                heard(f"fleet {fleet_seed} {name} {share:4.0%} {en}")

        return progress

    try:
        start = await keep_start(base, folder / "kept", told("is commissioned"), solvers)
        for seed, case in bench.left(which):
            setup = event_day(bench.resources, fleet_seed, seed, case, base=base)
            out = folder / f"day-{seed}-{case.name}"
            result = await run_day(setup, out, told(f"day {seed}, {case.en}:"), start=start, solvers=solvers)
            named = [each["named"] for each in promises(out)]
            counts = far_side(out).get("wire", {})
            heard(score(result, case, (fleet_seed, seed), broken_invariants(out), named, counts))
            shutil.rmtree(out)
    finally:
        for pool in solvers:
            await pool.close()
