"""A slice of the fault matrix: one day of a small fleet on which everything goes wrong, through the bench itself."""

from dataclasses import replace
from datetime import time
from pathlib import Path

import pytest

from adapters.mqtt.broker_mosquitto import find_mosquitto
from simulations.day_setup import DaySetup
from simulations.demo import SCENARIO, demo_setup
from simulations.event_bench import EventBench, fleet_days
from simulations.event_cases import EVERYTHING
from simulations.event_days import EventDayScore
from simulations.quiet_logs import quiet_logs
from simulations.scenarios import Scenario, load_scenario

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),  # on a busy machine a day takes longer than any other test may
    pytest.mark.skipif(find_mosquitto() is None, reason="only a broker in a process of its own can be killed"),
]

DEVICES, SEED = 36, 3


def small_day() -> DaySetup:
    """The scenario's evening, an hour and a half of it, after a few earlier days: two fifths of the least fleet."""
    file = load_scenario(SCENARIO).file
    few = [each.model_copy(update={"at_least": max(1, round(0.4 * each.at_least))}) for each in file.classes]
    (evening,) = [event for event in file.events if event.event_id == "evening"]
    changes = {"classes": tuple(few), "days_before": 5, "events": (evening.model_copy(update={"end": time(22, 30)}),)}
    setup = demo_setup(DEVICES, seed=0, scenario=Scenario(file.model_copy(update=changes)))
    return replace(setup, settings={"solver": {"method": "fast", "gap": 0.01}})


async def test_on_a_day_on_which_everything_goes_wrong_nothing_happens_that_must_never_happen(tmp_path: Path) -> None:
    heard: list[EventDayScore | str] = []
    bench = EventBench(DEVICES, (EVERYTHING,), 1, first_seed=SEED)
    (which,) = bench.fleets()
    with quiet_logs(tmp_path):
        await fleet_days(bench, which, small_day(), tmp_path, heard.append)
    (found,) = [each for each in heard if isinstance(each, EventDayScore)]
    assert found.invariants_broken == ()
    assert found.hours == 2
    assert found.rebound_ok
    counts = found.wire
    assert (counts["broker_kills"], counts["service_kills"], counts["kills_in_delivery"]) == (1, 2, 1)
    for what in ("lost_batches", "held_batches", "doubled_batches", "lost_ups", "held_ups", "doubled_ups", "lost_acks"):
        assert counts[what] > 0, what
    assert found.resources == DEVICES
