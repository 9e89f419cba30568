"""Warm starts: the duals of the last plan, found again in the rows of a new problem by name and time."""

from collections.abc import Mapping, Sequence
from datetime import datetime

import numpy as np

from models.dispatch.fast.coupling import CouplingRows
from models.dispatch.fast.setting import IndexArray
from models.dispatch.fast.shards import Place
from models.intervals import FloatArray

_Name = tuple[str, str, str, str | None]
Known = dict[_Name, tuple[list[datetime], FloatArray]]
"""The moments of a requirement's rows, and λ there, (n,) or (P, n)."""


class LastDuals:
    """λ of the last plan by requirement; a new interval takes the λ of the old one in which it begins."""

    def __init__(self) -> None:
        self.known: Known = {}

    def remember(self, rows: CouplingRows, duals: FloatArray) -> None:
        """Keep λ (N,), or many, (P, N)."""
        self.known = {}
        starts = rows.starts
        for f, family in enumerate(rows.families):
            own = np.flatnonzero(rows.family == f)
            if own.size:
                name = (family.requirement.value, family.scope_kind.value, family.scope_id, family.event_id)
                self.known[name] = ([starts[t] for t in rows.t[own]], duals[..., own])

    def find(self, rows: CouplingRows) -> FloatArray | None:
        """λ (N,) or (P, N) for new rows, 0 where nothing is known; None if nothing is known at all."""
        if not self.known:
            return None
        found = np.zeros((*next(iter(self.known.values()))[1].shape[:-1], len(rows.t)))
        starts = rows.starts
        for f, family in enumerate(rows.families):
            name = (family.requirement.value, family.scope_kind.value, family.scope_id, family.event_id)
            if name not in self.known:
                continue
            own = np.flatnonzero(rows.family == f)
            times, duals = self.known[name]
            old = np.array([moment.timestamp() for moment in times])
            new = np.array([starts[t].timestamp() for t in rows.t[own]])
            at = np.searchsorted(old, new, side="right") - 1
            found[..., own] = np.where(at >= 0, duals[..., np.maximum(at, 0)], 0.0)
        return np.clip(found, 0.0, rows.penalty)


class LastMix:
    """The λ at which the columns of the last plan's mix were asked for, stratum by stratum.

    A fleet that has changed a little has about the same strata; those of a zone that has more or fewer of them now take
    the λ of the ones that lie about there.
    """

    def __init__(self) -> None:
        self.duals = LastDuals()
        self.asked: dict[tuple[str, int], list[list[int]]] = {}

    def remember(self, rows: CouplingRows, asked: Mapping[Place, Sequence[FloatArray]]) -> None:
        """Keep the λ (N,) of every stratum."""
        self.duals, self.asked = LastDuals(), {}
        number: dict[int, int] = {}  # many strata were asked at the same one
        every: list[FloatArray] = []
        for (pricer, zone, _, _), duals in sorted(asked.items(), key=lambda item: item[0]):
            for each in duals:
                if number.setdefault(id(each), len(every)) == len(every):
                    every.append(each)
            self.asked.setdefault((pricer, zone), []).append([number[id(each)] for each in duals])
        if every:
            self.duals.remember(rows, np.array(every))

    def find(self, rows: CouplingRows, places: Sequence[Place]) -> tuple[FloatArray, IndexArray]:
        """λ (P, N) for new rows, and for which of ``places`` each is, (P,)."""
        groups, chosen = [], []
        for g, (pricer, zone, rank, count) in enumerate(places):
            known = self.asked.get((pricer, zone), [])
            own = known[rank * len(known) // count] if known else []
            chosen += own
            groups += [g] * len(own)
        duals = self.duals.find(rows)
        if duals is None:
            return np.empty((0, len(rows.t))), np.empty(0, dtype=np.int64)
        return duals[chosen], np.array(groups, dtype=np.int64)
