"""Warm starts: the duals of the last plan, found again in the rows of a new problem by name and time."""

from datetime import datetime

import numpy as np

from models.dispatch.fast.coupling import CouplingRows
from models.intervals import FloatArray

_Name = tuple[str, str, str, str | None]


class LastDuals:
    """λ of the last plan by requirement; a new interval takes the λ of the old one in which it begins."""

    def __init__(self) -> None:
        self._known: dict[_Name, tuple[list[datetime], FloatArray]] = {}

    def remember(self, rows: CouplingRows, duals: FloatArray) -> None:
        """Keep λ (N,)."""
        self._known = {}
        starts = rows.starts
        for f, family in enumerate(rows.families):
            own = np.flatnonzero(rows.family == f)
            if own.size:
                name = (family.requirement.value, family.scope_kind.value, family.scope_id, family.event_id)
                self._known[name] = ([starts[t] for t in rows.t[own]], duals[own])

    def find(self, rows: CouplingRows) -> FloatArray | None:
        """λ (N,) for new rows, 0 where nothing is known; None if nothing is known at all."""
        if not self._known:
            return None
        found = np.zeros(len(rows.t))
        starts = rows.starts
        for f, family in enumerate(rows.families):
            name = (family.requirement.value, family.scope_kind.value, family.scope_id, family.event_id)
            if name not in self._known:
                continue
            own = np.flatnonzero(rows.family == f)
            times, duals = self._known[name]
            old = np.array([moment.timestamp() for moment in times])
            new = np.array([starts[t].timestamp() for t in rows.t[own]])
            at = np.searchsorted(old, new, side="right") - 1
            found[own] = np.where(at >= 0, duals[np.maximum(at, 0)], 0.0)
        return np.clip(found, 0.0, rows.penalty)
