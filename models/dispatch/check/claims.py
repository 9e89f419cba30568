"""What a plan folder claims beyond the plan itself, recomputed: fingerprints, gap, and sums per group of devices."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from models.dispatch.check.horizon import tolerance
from models.dispatch.check.report import AggregateKey, CheckReport, PlanClaims, Violation
from models.dispatch.check.roster import Roster
from models.intervals import FloatArray, IntervalGrid
from models.plan import relative_gap
from models.plan_stream import PlanHead

_COLUMNS = ("baseline_kw", "power_kw")


class Fingerprint:
    """SHA-256 as dispatch-model §3 defines it, by own code, block by block.

    Over the int64 microsecond interval starts, then per resource in byte order of its id: the UTF-8 id, 0x00, its power
    of all intervals as little-endian float64 with −0 as 0.
    """

    def __init__(self, grid: IntervalGrid) -> None:
        self._digest = hashlib.sha256()
        for start in grid.starts:
            seconds = int(start.replace(microsecond=0).timestamp())
            self._digest.update((seconds * 1_000_000 + start.microsecond).to_bytes(8, "little", signed=True))

    def add(self, names: Sequence[str], power_kw: FloatArray) -> None:
        """Add a block (n, T) of resources, which follows the last in byte order."""
        values = np.where(power_kw == 0, 0.0, power_kw).astype("<f8").tobytes()
        size = 8 * power_kw.shape[1]
        rows = (values[k * size : (k + 1) * size] for k in range(len(names)))
        self._digest.update(b"".join(name.encode("utf-8") + b"\0" + row for name, row in zip(names, rows, strict=True)))

    def hexdigest(self) -> str:
        """The fingerprint of what has been added."""
        return self._digest.hexdigest()


class GroupSums:
    """Sums per zone, aggregator, pillar and kind, (G, T) of baseline and power: what ``aggregate`` must say."""

    def __init__(self, roster: Roster, count: int) -> None:
        code = roster.zone.astype(np.int64)
        for part, size in (
            (roster.aggregator, len(roster.aggregators)),
            (roster.pillar, len(roster.pillars)),
            (roster.kind, len(roster.kinds)),
        ):
            code = code * size + part
        found, first, self.of = np.unique(code, return_index=True, return_inverse=True)
        self.names = [
            (
                roster.zones[roster.zone[i]],
                roster.aggregators[roster.aggregator[i]],
                roster.pillars[roster.pillar[i]],
                roster.kinds[roster.kind[i]].value,
            )
            for i in first
        ]
        self.sums = np.zeros((2, len(found), count))

    def add(self, first: int, baseline_kw: FloatArray, power_kw: FloatArray) -> None:
        """Add a block (n, T) that begins with the resource at place ``first``."""
        group = self.of[first : first + len(power_kw)]
        order = np.argsort(group, kind="stable")
        begin = np.flatnonzero(np.diff(group[order], prepend=-1))
        for part, table in zip(self.sums, (baseline_kw, power_kw), strict=True):
            part[group[order[begin]]] += np.add.reduceat(table[order], begin, axis=0)

    def wanted(self, grid: IntervalGrid) -> dict[AggregateKey, tuple[float, float]]:
        """What the folder's table must say."""
        return {
            AggregateKey(start, *name): (float(self.sums[0, g, t]), float(self.sums[1, g, t]))
            for g, name in enumerate(self.names)
            for t, start in enumerate(grid.starts)
        }


def check_claims(head: PlanHead, claims: PlanClaims, sums: GroupSums, report: CheckReport) -> list[Violation]:
    """Fingerprints, gap and sums as the folder has them."""
    found = [
        Violation("plan", "plan", limit, None, 1.0, 1.0, 0.0)
        for limit, said, ours in (
            ("plan_hash", claims.plan_hash, report.plan_hash),
            ("baseline_hash", claims.baseline_hash, report.baseline_hash),
        )
        if said != ours
    ]
    gap = relative_gap(head.objective_cny, head.lower_bound_cny, head.baseline_cost_cny)
    said = np.inf if claims.gap is None else claims.gap
    if said != gap and not abs(said - gap) <= tolerance(gap):
        found.append(Violation("plan", "plan", "gap", None, abs(said - gap), gap, said))
    _check_aggregate(sums.wanted(head.grid), claims.aggregate, found)
    return found


def _check_aggregate(
    wanted: Mapping[AggregateKey, tuple[float, float]],
    said: Mapping[AggregateKey, tuple[float, float]],
    found: list[Violation],
) -> None:
    """Σ of the devices of every zone, aggregator, pillar and kind, to 1e-6."""
    nothing = (float("nan"), float("nan"))
    for key in _either(wanted, said):
        for ours, theirs, column in zip(wanted.get(key, nothing), said.get(key, nothing), _COLUMNS, strict=True):
            if not abs(ours - theirs) <= tolerance(ours):
                subject = "/".join(key[1:])
                found.append(
                    Violation(subject, "plan", f"aggregate.{column}", key[0], abs(ours - theirs), ours, theirs)
                )


def _either(one: Mapping[AggregateKey, object], other: Mapping[AggregateKey, object]) -> Iterable[AggregateKey]:
    yield from one
    yield from (key for key in other if key not in one)
