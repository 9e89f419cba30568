"""What a shiftable process has done of its work, and when it has finished.

What is registered is the most that a day may need; what a day really needs differs by some per cent, and only the
process knows.  A pump whose reservoir is full stands still whatever it is told: were the rest of its registered work
planned again in every cycle, the plan would count on power that never comes.
"""

from datetime import datetime, timedelta

from models.dispatch.problem import ResourceState
from models.resources import ShiftableLoad

WORK_DONE_SHARE = 0.8
"""This share of the registered work can be all there is to do."""
IDLE_CYCLES = 2
"""Whose work can be done, and who has stood still for so many cycles although told to run, has finished."""
WORK_KEPT = timedelta(hours=48)
"""How long energies are remembered: longer than any window."""
_IDLE_SHARE = 0.01


class ProcessWork:
    """The energy a process has used, piece by piece, and whether it has finished for this time."""

    __slots__ = ("_idle_cycles", "_pieces", "finished_at")

    def __init__(self) -> None:
        self._pieces: list[tuple[datetime, float]] = []
        self._idle_cycles = 0
        self.finished_at: datetime | None = None

    def note(self, end: datetime, kwh: float) -> None:
        """Remember what was used up to ``end``."""
        self._pieces.append((end, kwh))
        self._pieces = [piece for piece in self._pieces if piece[0] > end - WORK_KEPT]

    def after_cycle(self, load: ShiftableLoad, now: datetime, ordered_kw: float, power_kw: float) -> None:
        """Take note of a cycle under an order (NaN: there was none), in which it drew ``power_kw``."""
        idle_kw = _IDLE_SHARE * load.power_max_kw
        stands_still = ordered_kw > idle_kw and power_kw <= idle_kw and self.can_be_done(load, now)
        self._idle_cycles = self._idle_cycles + 1 if stands_still else 0
        if self._idle_cycles >= IDLE_CYCLES:
            self.finished_at = now

    def can_be_done(self, load: ShiftableLoad, now: datetime) -> bool:
        """True if so much of the work of this window is done that it may have been all."""
        begin = now - (load.window_end - load.window_start)  # longer ago it was another day's work
        return sum(kwh for end, kwh in self._pieces if end > begin) >= WORK_DONE_SHARE * load.energy_kwh

    def state(
        self, load: ShiftableLoad, now: datetime, window_start: datetime, power_kw: float | None
    ) -> ResourceState:
        """What has been used since the window began (all that was to be done, if it has finished), and for how long
        its run has been going.
        """
        pieces = [(end, kwh) for end, kwh in self._pieces if end > window_start and kwh > 1e-6]
        used_kwh = sum(kwh for _, kwh in pieces)
        finished = self.finished_at is not None and self.finished_at > window_start
        hours = (now - pieces[0][0]).total_seconds() / 3600 if pieces else 0.0
        return ResourceState(
            delivered_kwh=max(used_kwh, load.energy_kwh) if finished else used_kwh,
            on=bool(pieces) and power_kw is not None and power_kw > 1e-3,
            hours_in_state_h=max(0.0, hours),
            power_kw=power_kw,
        )
