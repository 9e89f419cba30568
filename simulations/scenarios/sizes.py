"""How many devices of every class, and how large: the class mix met as well as a given number of devices allows."""

from collections.abc import Sequence

import numpy as np

from models.errors import InputError, InputFault
from models.intervals import FloatArray
from simulations.devices.dice import keys_of, uniform
from simulations.scenarios.types import DeviceClass


def connected_sizes(classes: Sequence[DeviceClass], resources: int, seed: int) -> dict[str, FloatArray]:
    """Connected kW of every device by class; ``resources`` in all.

    Every class gets its least number; each further device goes to the class that lacks most of its share of the
    tested power.  Where the least number alone overfills a share, the small end of the size range is taken.
    """
    least = sum(each.at_least for each in classes)
    if resources < least:
        raise InputError([InputFault("fleet", "resources", resources, f"must be at least {least}")])
    counts = {each.class_id: each.at_least for each in classes}
    total = sum(each.tested_mw for each in classes)
    sizes: dict[str, FloatArray] = {}
    for _ in range(3):  # sizes depend on counts and counts on sizes: settles at once
        whole_kw = _fleet_kw(classes, counts, sizes)
        sizes = {each.class_id: _draw(each, resources, seed, whole_kw * each.tested_mw / total) for each in classes}
        counts = _fill(classes, sizes, resources)
    return {name: sizes[name][: counts[name]] for name in counts}


def _fleet_kw(classes: Sequence[DeviceClass], counts: dict[str, int], sizes: dict[str, FloatArray]) -> float:
    if not sizes:
        return float("inf")
    return float(sum(sizes[each.class_id][: counts[each.class_id]].sum() * each.tested_share for each in classes))


def _draw(each: DeviceClass, count: int, seed: int, share_kw: float) -> FloatArray:
    low, high = each.size_kw
    fitting = share_kw / each.at_least / each.tested_share  # the size with which the least number fills the share
    top = float(np.clip(2 * fitting - low, low + 0.15 * (high - low), high))
    thrown = uniform(keys_of([f"{each.class_id}-{k}" for k in range(count)], seed), "size")
    return np.round((low + (top - low) * thrown**1.5) * 2) / 2


def _fill(classes: Sequence[DeviceClass], sizes: dict[str, FloatArray], resources: int) -> dict[str, int]:
    counts = {each.class_id: each.at_least for each in classes}
    shares = np.array([each.tested_mw for each in classes])
    shares = shares / shares.sum()
    have = np.array([sizes[each.class_id][: each.at_least].sum() * each.tested_share for each in classes])
    for _ in range(resources - sum(counts.values())):
        lacking = int(np.argmax(shares - have / have.sum()))
        name = classes[lacking].class_id
        have[lacking] += sizes[name][counts[name]] * classes[lacking].tested_share
        counts[name] += 1
    return counts
