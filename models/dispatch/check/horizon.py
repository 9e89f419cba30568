"""What every check of a device needs: the horizon, tolerances, and a place to note what is off."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.dispatch.problem import DispatchProblem, ResourceState
from models.intervals import FloatArray, IntervalGrid

RELATIVE_TOLERANCE = 1e-6
AT_REST = ResourceState()


def tolerance(limit: Any) -> Any:
    """1e-6 · max(1, |limit|), element by element: what dispatch-model §3 allows."""
    return RELATIVE_TOLERANCE * np.maximum(1.0, np.abs(limit))


@dataclass(frozen=True)
class Horizon:
    """The grid as numbers, and what else all devices share.

    ``hours``, ``tau_h``: (T,).  ``first_issue_h``: T0, hours from the start to the earliest ``issued_at`` of
    an event (0 if none says).  ``profiles``, ``run_profiles``, ``states``: as in the problem.
    """

    grid: IntervalGrid
    hours: FloatArray
    tau_h: FloatArray
    ends_h: FloatArray
    first_issue_h: float
    profiles: Mapping[str, FloatArray]
    run_profiles: Mapping[str, FloatArray]
    states: Mapping[str, ResourceState]

    @classmethod
    def of(cls, problem: DispatchProblem) -> "Horizon":
        """The horizon of a problem."""
        grid = problem.grid
        issued = [grid.hours_since_start(event.issued_at) for event in problem.events if event.issued_at is not None]
        return cls(
            grid,
            grid.hours,
            grid.tau_h,
            grid.offsets_h[1:],
            min(issued, default=0.0),
            problem.profiles,
            problem.run_profiles,
            problem.states,
        )

    def state(self, resource_id: str) -> ResourceState:
        """What is known of a resource at the start; at rest if nothing is."""
        return self.states.get(resource_id, AT_REST)

    def hours_since_start(self, moments: NDArray[np.datetime64]) -> FloatArray:
        """Hours from the start of the horizon to UTC moments (n,) as portfolio columns hold them."""
        start = np.datetime64(self.grid.start.replace(tzinfo=None), "us")
        return np.asarray((moments.astype("datetime64[us]") - start).astype(np.int64) / 10**6 / 3600)

    def overlap_h(self, low_h: FloatArray, high_h: FloatArray) -> FloatArray:
        """Hours of every interval that lie inside each of n spans, (n, T)."""
        shared = np.minimum(self.ends_h, high_h[:, None]) - np.maximum(self.tau_h, low_h[:, None])
        return np.asarray(np.clip(shared, 0, None), dtype=np.float64)

    def mean(self, values: FloatArray) -> float:
        """Mean over the horizon, weighted by the intervals' lengths."""
        return float(values @ self.hours / self.hours.sum())


@dataclass(frozen=True, slots=True)
class Finding:
    """One limit passed: its name, the interval's index (None: the whole horizon), what is allowed and what
    was found.
    """

    limit: str
    t: int | None
    allowed: float
    got: float


@dataclass
class DeviceCheck:
    """What was recomputed of one resource, and which limits it passes.

    ``energy_kwh``: (T,), the plan's energy column as it ought to be, NaN where it may say anything or
    nothing; None if the kind has no energy.  ``own_cost``: CNY, everything but the tariff.  ``late_kwh``:
    drawn after the horizon, in the virtual slot of a charging session.
    """

    findings: list[Finding] = field(default_factory=list)
    energy_kwh: FloatArray | None = None
    own_cost: float = 0.0
    late_kwh: float = 0.0

    def at_most(self, limit: str, got: Any, allowed: Any, slack: Any = None) -> None:
        """``got`` ≤ ``allowed`` within tolerance, for arrays (T,) or numbers."""
        margin = tolerance(allowed) if slack is None else slack
        self._note(limit, got, allowed, np.asarray(got) > np.asarray(allowed) + margin)

    def at_least(self, limit: str, got: Any, allowed: Any, slack: Any = None) -> None:
        """``got`` ≥ ``allowed`` within tolerance."""
        margin = tolerance(allowed) if slack is None else slack
        self._note(limit, got, allowed, np.asarray(got) < np.asarray(allowed) - margin)

    def equals(self, limit: str, got: Any, allowed: Any) -> None:
        """``got`` = ``allowed`` within tolerance."""
        self._note(limit, got, allowed, np.abs(np.asarray(got) - np.asarray(allowed)) > tolerance(allowed))

    def _note(self, limit: str, got: Any, allowed: Any, bad: Any) -> None:
        if not np.any(bad):
            return
        if np.ndim(bad) == 0:
            self.findings.append(Finding(limit, None, float(allowed), float(got)))
            return
        allowed = np.broadcast_to(allowed, np.shape(bad))
        got = np.broadcast_to(got, np.shape(bad))
        self.findings += [Finding(limit, int(t), float(allowed[t]), float(got[t])) for t in np.flatnonzero(bad)]

    def note(self, limit: str, t: int | None, allowed: float, got: float) -> None:
        """Note one limit that is passed."""
        self.findings.append(Finding(limit, t, allowed, got))
