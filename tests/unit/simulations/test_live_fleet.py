"""The fleet of ``vpp simulate``: where its devices stand before it lives."""

from datetime import UTC, datetime, timedelta

from simulations.clock import VirtualClock
from simulations.live import LiveFleet

NOW = datetime(2026, 3, 4, 17, 30, tzinfo=UTC)
"""01:30 of 5 March in Shanghai."""
TODAY = datetime(2026, 3, 4, 16, 0, tzinfo=UTC)


def test_a_fleet_without_history_settles_for_a_day_and_not_for_all_its_earlier_days() -> None:
    which = LiveFleet(120, "2030", VirtualClock(NOW))
    told, untold = which.generate(), which.generate(history=False)
    assert untold.bank.now == TODAY - timedelta(days=1)
    assert told.bank.now == told.scenario.midnight(told.scenario.earlier_days[0]) < TODAY - timedelta(days=10)
    assert untold.registrations == told.registrations
