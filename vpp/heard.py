"""What was last heard of every device, as columns: one row each, so that a message of thousands is a few operations.

Times are microseconds since 1970 UTC, ``NEVER_US`` where there was none; power kW, positive when consuming.
"""

from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from models.capacity import connected_kw
from models.intervals import FloatArray
from models.moments import microseconds
from models.records import RegisteredResourceRecord
from models.resources import EvCharger, ResourceKind, Storage

NEVER_US = -(2**63)
GAUGE_ERROR_SHARE = 0.05
"""How far off a battery's state of charge may be: an assumption, for gauges that are set right only when it is full or
empty."""
_FIRST_ROWS = 64
_COLUMNS: dict[str, tuple[str, float | int | bool]] = {
    "measured_us": ("i8", NEVER_US),
    "power_kw": ("f8", np.nan),
    "energy_kwh": ("f8", np.nan),
    "temperature_celsius": ("f8", np.nan),
    "available": ("?", False),
    "sequence": ("i8", 0),
    "mode_since_us": ("i8", NEVER_US),
    "has_session": ("?", False),
    "session_delivered_kwh": ("f8", 0.0),
    "session_needed_kwh": ("f8", np.nan),
    "departure_us": ("i8", NEVER_US),
    "comfort_store_kwh": ("f8", 0.0),
    "ordered_kw": ("f8", np.nan),
    "ordered_until_us": ("i8", NEVER_US),
    "told_until_us": ("i8", NEVER_US),
    "stands_until_us": ("i8", NEVER_US),
    "gave_up": ("?", False),
    "begins_early": ("?", False),
    "refused_until_us": ("i8", NEVER_US),
    "received_us": ("i8", NEVER_US),
    "heard_count": ("i8", 0),
    "repeats": ("i8", 0),
    "repeat_count": ("i8", 0),
    "unusable": ("i8", 0),
    "unusable_us": ("i8", NEVER_US),
    "misconduct": ("i8", 0),
    "quarantined_us": ("i8", NEVER_US),
    "registered_reliability": ("f8", 1.0),
    "may_draw": ("?", True),
    "may_feed_in": ("?", True),
    "ttl_us": ("i8", 0),
    "connected_kw": ("f8", np.nan),
    "limit_kw": ("f8", np.nan),
    "owner": ("i4", -1),
    "is_charger": ("?", False),
    "is_process": ("?", False),
    "is_thermal": ("?", False),
    "is_storage": ("?", False),
    "is_load": ("?", False),
    "energy_min_kwh": ("f8", np.nan),
    "energy_max_kwh": ("f8", np.nan),
    "span_kwh": ("f8", 0.0),
    "floor_kwh": ("f8", np.nan),
    "flowed_kwh": ("f8", 0.0),
    "told_kwh": ("f8", 0.0),
    "charge_efficiency": ("f8", np.nan),
    "discharge_efficiency": ("f8", np.nan),
}


class HeardColumns:
    """Rows are made by ``new_row`` and filled by ``registered``; they are never given to another resource.

    ``limit_kw``: the largest |power| by registration, for what a reading may say.  ``owner``: number of the
    aggregator in ``owner_code``.  ``is_load``: curtailable or interruptible.

    ``energy_min_kwh`` to ``discharge_efficiency``: of storage only.  ``span_kwh``: what lies between its limits by the
    nameplate.  ``floor_kwh``: the level, as it tells it, below which nothing is promised, since its gauge may be off.
    ``flowed_kwh``, ``told_kwh``: what shows its state of health (``vpp.state_of_health``).

    ``gave_up``: whether a load has given up anything in the last day.  ``begins_early``: whether it was told to begin
    in this cycle with its order for the next.

    ``ordered_until_us``: until when the order of the present stretch holds.  ``told_until_us``: until when it has any,
    those for later among them.  ``stands_until_us``: until when its standing order holds (``vpp.standing_orders``).

    ``received_us``: when the newest reading came, by our clock.  ``repeats``: how many readings before it said exactly
    the same; ``repeat_count`` of ``heard_count`` ever did.  ``unusable``: the ``Misconduct`` for which its readings
    were refused last, at ``unusable_us``.  ``misconduct``: why it is in quarantine since ``quarantined_us``,
    0 if it is not.
    """

    measured_us: NDArray[np.int64]
    power_kw: FloatArray
    energy_kwh: FloatArray
    temperature_celsius: FloatArray
    available: NDArray[np.bool_]
    sequence: NDArray[np.int64]
    mode_since_us: NDArray[np.int64]
    has_session: NDArray[np.bool_]
    session_delivered_kwh: FloatArray
    session_needed_kwh: FloatArray
    departure_us: NDArray[np.int64]
    comfort_store_kwh: FloatArray
    ordered_kw: FloatArray
    ordered_until_us: NDArray[np.int64]
    told_until_us: NDArray[np.int64]
    stands_until_us: NDArray[np.int64]
    gave_up: NDArray[np.bool_]
    begins_early: NDArray[np.bool_]
    refused_until_us: NDArray[np.int64]
    received_us: NDArray[np.int64]
    heard_count: NDArray[np.int64]
    repeats: NDArray[np.int64]
    repeat_count: NDArray[np.int64]
    unusable: NDArray[np.int64]
    unusable_us: NDArray[np.int64]
    misconduct: NDArray[np.int64]
    quarantined_us: NDArray[np.int64]
    registered_reliability: FloatArray
    may_draw: NDArray[np.bool_]
    may_feed_in: NDArray[np.bool_]
    ttl_us: NDArray[np.int64]
    connected_kw: FloatArray
    limit_kw: FloatArray
    owner: NDArray[np.int32]
    is_charger: NDArray[np.bool_]
    is_process: NDArray[np.bool_]
    is_thermal: NDArray[np.bool_]
    is_storage: NDArray[np.bool_]
    is_load: NDArray[np.bool_]
    energy_min_kwh: FloatArray
    energy_max_kwh: FloatArray
    span_kwh: FloatArray
    floor_kwh: FloatArray
    flowed_kwh: FloatArray
    told_kwh: FloatArray
    charge_efficiency: FloatArray
    discharge_efficiency: FloatArray

    def __init__(self) -> None:
        self._count = 0
        self.owner_code: dict[str, int] = {}
        for name, (kind, nothing) in _COLUMNS.items():
            setattr(self, name, np.full(_FIRST_ROWS, nothing, dtype=kind))

    def new_row(self) -> int:
        """A row of which nothing is known yet."""
        if self._count == len(self.measured_us):
            for name, (kind, nothing) in _COLUMNS.items():
                more = np.full(self._count, nothing, dtype=kind)
                setattr(self, name, np.concatenate([getattr(self, name), more]))
        self._count += 1
        return self._count - 1

    def registered(self, row: int, record: RegisteredResourceRecord) -> None:
        """Note what a (new or changed) registration says."""
        resource = record.resource
        self.ttl_us[row] = round(record.telemetry_ttl_s * 1e6)
        self.connected_kw[row] = record.connected_kw
        self.limit_kw[row] = max(connected_kw(resource), record.connected_kw)
        self.owner[row] = self.owner_code.setdefault(resource.aggregator_id, len(self.owner_code))
        self.is_charger[row] = resource.kind is ResourceKind.EV_SESSION
        self.is_process[row] = resource.kind is ResourceKind.SHIFTABLE_LOAD
        self.is_thermal[row] = resource.kind is ResourceKind.THERMAL_LOAD
        self.is_load[row] = resource.kind in (ResourceKind.CURTAILABLE_LOAD, ResourceKind.INTERRUPTIBLE_LOAD)
        self.is_storage[row] = resource.kind is ResourceKind.STORAGE
        if isinstance(resource, Storage):
            self.energy_min_kwh[row], self.energy_max_kwh[row] = resource.energy_min_kwh, resource.energy_max_kwh
            self.span_kwh[row] = resource.energy_max_kwh - resource.energy_min_kwh
            gauge_error = 0.0 if resource.is_pumped_hydro else GAUGE_ERROR_SHARE  # water has a gauge of its own
            self.floor_kwh[row] = resource.energy_min_kwh + gauge_error * self.span_kwh[row]
            self.charge_efficiency[row] = resource.charge_efficiency
            self.discharge_efficiency[row] = resource.discharge_efficiency
        self.registered_reliability[row] = resource.reliability_fraction
        self.may_draw[row] = resource.kind not in (ResourceKind.GENERATOR, ResourceKind.PV)
        feeds_in = resource.kind in (ResourceKind.GENERATOR, ResourceKind.PV, ResourceKind.STORAGE)
        self.may_feed_in[row] = feeds_in or (isinstance(resource, EvCharger) and resource.discharge_limit_kw > 0)

    def is_fresh(self, now: datetime) -> NDArray[np.bool_]:
        """True where the newest reading is younger than its time-to-live, by row."""
        heard = self.measured_us != NEVER_US
        return np.asarray(heard & (microseconds(now) - np.where(heard, self.measured_us, 0) <= self.ttl_us))

    def is_dispatchable(self, now: datetime) -> NDArray[np.bool_]:
        """True where a device is heard of, says it is available, has not just refused an order, and behaves, by row."""
        willing = self.available & (self.refused_until_us <= microseconds(now)) & (self.misconduct == 0)
        return np.asarray(self.is_fresh(now) & willing)

    def modes_of(self, rows: NDArray[np.int64], power_kw: FloatArray) -> NDArray[np.float64]:
        """1 drawing, -1 feeding in, 0 idle: less than a hundredth of the nameplate is a meter's noise."""
        idle_kw = np.maximum(1e-6, 0.01 * self.connected_kw[rows])
        return np.where(np.abs(power_kw) <= idle_kw, 0.0, np.sign(power_kw))
