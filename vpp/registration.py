"""The register: who may send orders to what, one meter account to one aggregator, four capacities kept apart."""

from collections.abc import Sequence
from datetime import datetime

from adapters.mqtt.envelope import Fault, shown
from adapters.mqtt.payloads import Register, Withdrawal
from adapters.store.store import Store
from models.capacity import connected_kw, declared_kw, unit_faults
from models.records import ProfileRecord, RegisteredResourceRecord
from models.resources import CurtailableLoad, ResourceBase
from vpp.forecasting import CityFeed
from vpp.state import LiveState


class Registrar:
    """Applies registrations inside the caller's transaction and tells the live state after the commit."""

    def __init__(self, store: Store, state: LiveState, feed: CityFeed) -> None:
        self._store = store
        self._state = state
        self._feed = feed

    def apply(
        self, aggregator_id: str, message: Register, now: datetime
    ) -> tuple[list[list[Fault]], list[RegisteredResourceRecord], list[str]]:
        """Faults per change (empty = accepted), what was stored, and the ids that were withdrawn."""
        profiles = [
            ProfileRecord(aggregator_id, name, profile.interval_start, profile.values)
            for name, profile in message.profiles.items()
        ]
        self._store.save_profiles(profiles)
        faults: list[list[Fault]] = []
        wanted: dict[int, RegisteredResourceRecord] = {}
        withdrawn: list[str] = []
        for position, change in enumerate(message.changes):
            if isinstance(change, Withdrawal):
                gone = self._store.withdraw_resource(change.resource_id, now, aggregator_id)
                faults.append([] if gone else [_fault("resource_id", change.resource_id, "names no resource of yours")])
                if gone:
                    withdrawn.append(change.resource_id)
                continue
            resource = change.resource
            found = self._rule_faults(aggregator_id, resource)
            faults.append(found)
            if not found:
                wanted[position] = RegisteredResourceRecord(
                    resource=resource,  # type: ignore[arg-type]
                    fallback_power_kw=change.fallback_power_kw,
                    telemetry_ttl_s=change.telemetry_ttl_s,
                    connected_kw=change.connected_kw if change.connected_kw is not None else connected_kw(resource),
                    declared_kw=change.declared_kw if change.declared_kw is not None else declared_kw(resource),
                    registered_at=now,
                )
        refused = self._store.upsert_resources(list(wanted.values()))
        stored: list[RegisteredResourceRecord] = []
        for position, record in wanted.items():
            error = refused.get(record.resource_id)
            if error is None:
                stored.append(record)
            else:
                faults[position].append(_fault(error.field, error.value, error.rule))
        return faults, stored, withdrawn

    def committed(self, stored: Sequence[RegisteredResourceRecord], withdrawn: Sequence[str]) -> None:
        """Tell the live state what the database has taken."""
        self._state.version += 1  # also if only profiles came
        for record in stored:
            self._state.put(record)
        for name in withdrawn:
            self._state.remove(name)

    def look_again(self, message: Register) -> None:
        """Tell the live state how the resources of a registration stand in the database, whatever became of it."""
        stored: list[RegisteredResourceRecord] = []
        withdrawn: list[str] = []
        for change in message.changes:
            name = change.resource_id if isinstance(change, Withdrawal) else change.resource.resource_id
            record = self._store.get_resource(name)
            if record is not None and record.withdrawn_at is None:
                stored.append(record)
            elif record is not None:
                withdrawn.append(name)
        self.committed(stored, withdrawn)

    def _rule_faults(self, aggregator_id: str, resource: ResourceBase) -> list[Fault]:
        found: list[Fault] = []
        if resource.aggregator_id != aggregator_id:
            found.append(_fault("aggregator_id", resource.aggregator_id, f"must be your own, {aggregator_id}"))
        if resource.zone_id not in self._feed.zones:
            found.append(_fault("zone_id", resource.zone_id, "must be a zone of this city"))
        if resource.tariff_id not in self._feed.tariff_ids:
            found.append(_fault("tariff_id", resource.tariff_id, "must be a tariff of this city"))
        units = unit_faults(resource.kind, resource, "register")  # type: ignore[attr-defined]
        found.extend(_fault(fault.field, fault.value, fault.rule) for fault in units)
        if isinstance(resource, CurtailableLoad) and resource.tariff_id in self._feed.tariff_ids:
            highest = self._feed.highest_price_per_kwh(resource.tariff_id)
            if resource.cost_per_kwh < highest:
                rule = f"must be at least the highest tariff price, {highest:g}: the load would be cut every day"
                found.append(_fault("cost_per_kwh", resource.cost_per_kwh, rule))
        return found


def _fault(field: str, value: object, rule: str) -> Fault:
    return Fault(field=field, rule=rule, value=shown(value))
