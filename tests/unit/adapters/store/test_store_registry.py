from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.exc import IntegrityError

from adapters.store import AggregatorCredentials, Store, schema
from models.errors import InputError, RegistrationError, StoreError
from models.records import AggregatorRecord, ProfileRecord, RegisteredResourceRecord, UserRecord
from models.resources import EvCharger, Pillar, Pv, ResourceKind
from models.roles import Role
from models.telemetry import Reading

NOON = datetime(2025, 7, 16, 4, tzinfo=UTC)


def plant(name: str, owner: str = "sun", meter: str | None = None, **changes: Any) -> RegisteredResourceRecord:
    resource = Pv(
        resource_id=name,
        aggregator_id=owner,
        zone_id=changes.pop("zone_id", "zone-1"),
        meter_id=meter or f"meter-{name}",
        pillar=Pillar.SOURCE,
        tariff_id="flat",
        available_profile="sun",
        available_scale_kw=10,
        curtail_cost_per_kwh=0,
    )
    facts = {"fallback_power_kw": None, "telemetry_ttl_s": 300.0, "connected_kw": 10.0, "declared_kw": 0.0}
    return RegisteredResourceRecord(resource, **{**facts, "registered_at": NOON, **changes})


@pytest.fixture
def registry(store: Store) -> Store:
    for name in ("sun", "moon"):
        store.add_aggregator(AggregatorRecord(name, name.title(), f"hash of {name}", created_at=NOON))
    return store


def test_a_resource_comes_back_as_it_was_registered(registry: Store) -> None:
    charger = EvCharger(
        resource_id="charger-1",
        aggregator_id="sun",
        zone_id="zone-1",
        meter_id="m",
        pillar=Pillar.LOAD,
        tariff_id="flat",
        charge_limit_kw=7.1,
        charge_efficiency=0.93,
        reliability_fraction=0.1 + 0.2,
    )
    record = RegisteredResourceRecord(charger, 1.5, 60.0, 7.1, 7.1, NOON)
    registry.upsert_resource(record)
    assert registry.get_resource("charger-1") == record
    assert registry.resources() == [record]
    assert registry.get_resource("nothing") is None


def test_the_second_claim_to_a_meter_is_refused_and_names_the_first(registry: Store) -> None:
    registry.upsert_resource(plant("a", "sun", "meter"))
    registry.upsert_resource(plant("b", "sun", "meter"))  # the same aggregator may have several behind one meter
    with pytest.raises(RegistrationError, match="belongs to aggregator sun") as refused:
        registry.upsert_resource(plant("c", "moon", "meter"))
    assert (refused.value.field, refused.value.value) == ("meter_id", "meter")
    assert registry.get_resource("c") is None


def test_a_meter_is_free_again_when_the_last_resource_on_it_has_gone(registry: Store) -> None:
    registry.upsert_resources([plant("a", "sun", "meter"), plant("b", "sun", "meter")])
    assert registry.withdraw_resource("a", NOON)
    with pytest.raises(RegistrationError):
        registry.upsert_resource(plant("c", "moon", "meter"))
    assert not registry.withdraw_resource("b", NOON, "moon"), "only its own aggregator may withdraw it"
    assert registry.withdraw_resource("b", NOON, "sun")
    assert not registry.withdraw_resource("b", NOON)
    registry.upsert_resource(plant("c", "moon", "meter"))
    with pytest.raises(RegistrationError, match="belongs to aggregator moon"):
        registry.upsert_resource(plant("a", "sun", "meter"))


def test_moving_to_another_meter_releases_the_old_one(registry: Store) -> None:
    registry.upsert_resource(plant("a", "sun", "old"))
    registry.upsert_resource(plant("a", "sun", "new"))
    registry.upsert_resource(plant("b", "moon", "old"))
    with pytest.raises(RegistrationError):
        registry.upsert_resource(plant("c", "moon", "new"))


def test_the_database_itself_keeps_the_meter_rule(registry: Store) -> None:
    registry.upsert_resource(plant("a", "sun", "meter"))
    row: dict[str, Any] = {
        "resource_id": "x",
        "aggregator_id": "moon",
        "claimed_meter_id": "meter",
        "kind": "pv",
        "zone_id": "z",
    }
    row |= {"resource": "{}", "telemetry_ttl_s": 1.0, "connected_kw": 1.0, "declared_kw": 1.0, "registered_at": NOON}
    with pytest.raises(StoreError) as refused, registry._db.writing() as connection:
        connection.execute(schema.resources.insert().values(row))
    assert isinstance(refused.value.__cause__, IntegrityError)
    with pytest.raises(StoreError), registry._db.writing() as connection:
        connection.execute(schema.resources.insert().values({**row, "claimed_meter_id": None}))


def test_an_id_stays_with_the_aggregator_that_used_it_first(registry: Store) -> None:
    registry.upsert_resource(plant("a", "sun"))
    registry.withdraw_resource("a", NOON)
    with pytest.raises(RegistrationError, match="used by aggregator sun") as refused:
        registry.upsert_resource(plant("a", "moon", "elsewhere"))
    assert refused.value.field == "resource_id"


def test_one_bad_resource_does_not_hold_up_the_others(registry: Store) -> None:
    registry.upsert_resources([plant("a", "sun", "m1"), plant("b", "sun", "m2")])
    refused = registry.upsert_resources([plant("c", "moon", "m1"), plant("b", "moon", "m3"), plant("d", "moon", "m4")])
    assert {name: error.field for name, error in refused.items()} == {"c": "meter_id", "b": "resource_id"}
    assert [record.resource_id for record in registry.resources("moon")] == ["d"]
    registry.upsert_resource(plant("e", "sun", "m3"))  # the refused claim left nothing behind


def test_registering_twice_changes_nothing_and_an_update_keeps_the_test_result(registry: Store) -> None:
    registry.upsert_resource(plant("a"))
    tested = registry.record_test("a", 8.5, NOON + timedelta(hours=1))
    assert tested is not None
    assert tested.tested_kw == 8.5
    later = plant("a", connected_kw=12.0, registered_at=NOON + timedelta(days=1))
    registry.upsert_resources([later, later])
    (record,) = registry.resources()
    assert (record.connected_kw, record.tested_kw, record.registered_at) == (12.0, 8.5, NOON)
    registry.withdraw_resource("a", NOON)
    assert registry.record_test("a", 1.0, NOON) is None


def test_many_tests_are_kept_at_once_and_only_of_active_resources(registry: Store) -> None:
    registry.upsert_resources([plant("a"), plant("b"), plant("gone")])
    registry.withdraw_resource("gone", NOON)
    at = NOON + timedelta(hours=1)
    assert registry.record_tests({"a": 8.5, "b": 2.0, "gone": 1.0, "nobody": 3.0}, at) == 2
    assert [(each.tested_kw, each.tested_at) for each in registry.resources()] == [(8.5, at), (2.0, at)]
    assert registry.record_tests({}, at) == 0


def test_resources_are_found_by_what_they_are(registry: Store) -> None:
    registry.upsert_resources([plant(f"r{k}", ("sun", "moon")[k % 2], zone_id=f"zone-{k % 3}") for k in range(12)])
    registry.withdraw_resource("r0", NOON)
    names = [record.resource_id for record in registry.resources("sun")]
    assert names == ["r2", "r4", "r6", "r8", "r10"]
    assert [r.resource_id for r in registry.resources(zone_id="zone-0", kind=ResourceKind.PV.value)] == [
        "r3",
        "r6",
        "r9",
    ]
    assert [r.resource_id for r in registry.resources("sun", after_id="r4", limit=2)] == ["r6", "r8"]
    assert [r.resource_id for r in registry.resources(active=False)] == ["r0"]
    assert len(registry.resources(active=None)) == 12


def test_a_rolled_back_registration_leaves_no_trace_in_memory_either(registry: Store) -> None:

    def register_and_fail() -> None:
        with registry.transaction():
            registry.upsert_resource(plant("ghost"))
            registry.add_readings([Reading(resource_id="ghost", measured_at=NOON, power_kw=1)], NOON)
            registry.next_sequence("sun")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        register_and_fail()
    assert registry.resources() == []
    assert registry.next_sequence("sun") == 1
    registry.upsert_resource(plant("other"))  # on SQLite it gets the key that the ghost had
    with pytest.raises(InputError, match="ghost"):
        registry.add_readings([Reading(resource_id="ghost", measured_at=NOON, power_kw=1)], NOON)
    assert registry.reading_count() == 0


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    values=st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=20),
    fallback_kw=st.none() | st.floats(-1e6, 1e6),
    ttl_s=st.floats(0.001, 1e6),
    moment=st.datetimes(datetime(1971, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 - made aware
)
def test_whatever_numbers_are_stored_come_back_bit_by_bit(
    registry: Store, values: list[float], fallback_kw: float | None, ttl_s: float, moment: datetime
) -> None:
    record = plant("any", fallback_power_kw=fallback_kw, telemetry_ttl_s=ttl_s, connected_kw=abs(values[0]))
    registry.upsert_resource(record)
    assert registry.get_resource("any") == record
    starts = tuple(moment + timedelta(minutes=15 * k) for k in range(len(values)))
    series = ProfileRecord("sun", "any", starts, tuple(values))
    registry.save_profiles([series])
    assert registry.profiles("sun") == [series]
    assert registry.profiles("moon") == []


def test_users_are_found_by_the_public_part_of_their_token(registry: Store) -> None:
    user = UserRecord("wang", Role.OPERATOR, "0123", "hash", NOON)
    registry.add_user(user)
    assert registry.user_by_token_id("0123") == user
    assert registry.user_by_token_id("9999") is None
    with pytest.raises(InputError, match="exists already"):
        registry.add_user(UserRecord("wang", Role.ADMIN, "4567", "hash", NOON))
    with pytest.raises(StoreError):
        registry.add_user(UserRecord("li", Role.AGGREGATOR, "89ab", "hash", NOON))  # an aggregator's token says whose
    assert registry.revoke_user("wang", NOON)
    assert registry.user_by_token_id("0123") is None


def test_a_removed_aggregator_takes_its_claims_and_tokens_with_it(registry: Store) -> None:
    registry.upsert_resource(plant("a", "sun", "meter"))
    registry.add_user(UserRecord("token-of-sun", Role.AGGREGATOR, "77", "hash", NOON, aggregator_id="sun"))
    assert registry.remove_aggregator("sun", NOON)
    assert not registry.remove_aggregator("sun", NOON)
    assert registry.user_by_token_id("77") is None
    assert registry.resources() == []
    assert [record.aggregator_id for record in registry.aggregators()] == ["moon"]
    registry.upsert_resource(plant("b", "moon", "meter"))
    registry.add_aggregator(AggregatorRecord("sun", "Sun again", "another", created_at=NOON))
    again = registry.aggregator("sun")
    assert again is not None
    assert again.display_name == "Sun again"


def test_the_broker_reads_and_writes_its_hashes_here(registry: Store) -> None:
    credentials = AggregatorCredentials(registry, lambda: NOON)
    assert credentials.hashes() == {"sun": "hash of sun", "moon": "hash of moon"}
    credentials.set_hash("sun", "new")
    credentials.set_hash("stars", "first")
    credentials.remove("moon")
    credentials.remove("moon")
    assert credentials.hashes() == {"sun": "new", "stars": "first"}
