"""The warm state of the fast solver as plain facts: the λ of its last plan, and those behind the last mix's columns.

That is all that it keeps from solve to solve: oracles are compiled from code alone, dice are thrown by fixed seeds (and
a cycle's start), threads work on pieces whose number and order do not depend on who is free.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from models.dispatch.fast.warm import Known, LastDuals, LastMix
from models.dispatch.packed import Array
from models.dispatch.solve_record import Facts
from models.moments import microseconds, moment_of


def warm_facts(last: LastDuals, mix: LastMix) -> Facts:
    """State before a solve."""
    duals, of_mix = _of_known(last.known), _of_known(mix.duals.known)
    strata = [[pricer, zone, asked] for (pricer, zone), asked in mix.asked.items()]
    said = {"duals": duals.said["rows"], "mix": of_mix.said["rows"], "strata": strata}
    arrays = {f"duals_{name}": each for name, each in duals.arrays.items()}
    return Facts(said, arrays | {f"mix_{name}": each for name, each in of_mix.arrays.items()})


def warm_of(facts: Facts) -> tuple[LastDuals, LastMix]:
    """What the solver knew again."""
    last, mix = LastDuals(), LastMix()
    last.known = _known_of("duals", facts)
    mix.duals.known = _known_of("mix", facts)
    mix.asked = {(pricer, zone): asked for pricer, zone, asked in facts.said["strata"]}
    return last, mix


def _of_known(known: Known) -> Facts:
    rows = [[*name, len(times)] for name, (times, _) in known.items()]
    times = [microseconds(moment) for moments, _ in known.values() for moment in moments]
    values = [values for _, values in known.values()]
    whole = np.concatenate(values, axis=-1).astype("<f8") if values else np.empty(0, dtype="<f8")
    # Most λ are 0, and a large fleet has thousands of them for thousands of rows.  By bits: -0.0 is not 0.0.
    used = np.flatnonzero(whole.view("<i8"))
    arrays: Mapping[str, Array] = {
        "times": np.array(times, dtype="<i8"),
        "shape": np.array(whole.shape, dtype="<i8"),
        "used": np.diff(used, prepend=0).astype("<i4"),
        "values": whole.ravel()[used],
    }
    return Facts({"rows": rows}, arrays)


def _known_of(part: str, facts: Facts) -> Known:
    times, shape, used, some = (facts.arrays[f"{part}_{name}"] for name in ("times", "shape", "used", "values"))
    values = np.zeros(shape)
    values.ravel()[np.cumsum(used, dtype=np.int64)] = some
    found: Known = {}
    first = 0
    rows: list[Any] = facts.said[part]
    for requirement, scope_kind, scope_id, event_id, count in rows:
        own = slice(first, first + count)
        moments = [moment_of(moment) for moment in times[own].tolist()]
        found[requirement, scope_kind, scope_id, event_id] = (moments, values[..., own])
        first += count
    return found
