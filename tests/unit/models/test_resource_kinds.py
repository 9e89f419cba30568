"""Every kind of resource: each field's range, each rule between fields, and what the error says."""

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from pydantic import TypeAdapter, ValidationError

from models.resources import RESOURCE_TYPES, TABLE_NAMES, EvCharger, RegisteredResource, Resource, ResourceKind
from tests.strategies import resources

T0 = datetime(2025, 7, 15, 16, tzinfo=UTC)
COMMON: dict[str, Any] = {
    "resource_id": "r1",
    "aggregator_id": "industry",
    "zone_id": "Z01",
    "meter_id": "m1",
    "pillar": "load",
    "tariff_id": "tou",
    "reliability_fraction": 0.9,
}
REBOUND = {
    "baseline_profile": "office",
    "baseline_scale_kw": 100.0,
    "cost_per_kwh": 2.0,
    "notice_h": 0.5,
    "rest_h": 1.0,
    "rebound_share": 0.5,
    "rebound_hours_h": 2.0,
}
SAMPLES: dict[ResourceKind, dict[str, Any]] = {
    ResourceKind.STORAGE: {
        "charge_limit_kw": 50.0,
        "discharge_limit_kw": 40.0,
        "energy_min_kwh": 10.0,
        "energy_max_kwh": 100.0,
        "energy_start_kwh": 50.0,
        "energy_end_min_kwh": 20.0,
        "charge_efficiency": 0.95,
        "discharge_efficiency": 0.95,
        "wear_cost_per_kwh": 0.05,
        "charge_min_kw": 5.0,
        "discharge_min_kw": 5.0,
        "mode_change_cost": 1.0,
    },
    ResourceKind.EV_SESSION: {
        "session_id": "s1",
        "arrival": T0,
        "departure": T0 + timedelta(hours=8),
        "energy_needed_kwh": 20.0,
        "charge_limit_kw": 7.0,
        "charge_efficiency": 0.92,
        "discharge_limit_kw": 7.0,
        "discharge_efficiency": 0.92,
        "battery_capacity_kwh": 60.0,
        "battery_start_kwh": 20.0,
        "wear_cost_per_kwh": 0.1,
    },
    ResourceKind.CURTAILABLE_LOAD: {
        **REBOUND,
        "curtail_share": 0.3,
        "energy_limit_kwh": 100.0,
        "hours_limit_h": 3.0,
        "calls_per_day": 2,
    },
    ResourceKind.INTERRUPTIBLE_LOAD: {
        **REBOUND,
        "block_kw": 80.0,
        "shortest_h": 0.5,
        "longest_h": 2.0,
        "calls_per_day": 1,
    },
    ResourceKind.SHIFTABLE_LOAD: {
        "window_start": T0,
        "window_end": T0 + timedelta(hours=10),
        "energy_kwh": 50.0,
        "power_min_kw": 1.0,
        "power_max_kw": 10.0,
        "preferred_start": T0 + timedelta(hours=2),
        "run_profile": "run",
        "cost_per_kwh": 0.2,
    },
    ResourceKind.THERMAL_LOAD: {
        "baseline_profile": "office",
        "baseline_scale_kw": 100.0,
        "increase_limit_kw": 20.0,
        "decrease_limit_kw": 30.0,
        "store_low_kwh": 40.0,
        "store_high_kwh": 40.0,
        "store_end_min_kwh": -10.0,
        "decay_per_hour": 0.3,
        "discomfort_cost_per_kwh": 0.5,
    },
    ResourceKind.GENERATOR: {
        "power_min_kw": 200.0,
        "power_max_kw": 500.0,
        "cost_per_kwh": 1.2,
        "start_cost": 50.0,
        "no_load_cost_per_h": 5.0,
        "ramp_kw_per_h": 1000.0,
        "minimum_up_h": 1.0,
        "minimum_down_h": 1.0,
        "co2_kg_per_kwh": 0.6,
    },
    ResourceKind.PV: {"available_profile": "sun", "available_scale_kw": 300.0, "curtail_cost_per_kwh": 0.4},
}

NOT_NEGATIVE = "greater than or equal to 0"
RANGES: dict[str, list[tuple[Any, str]]] = {
    "at least 0": [(-1e-6, NOT_NEGATIVE)],
    "share": [(-0.01, NOT_NEGATIVE), (1.01, "less than or equal to 1")],
    "efficiency": [(0.0, "greater than 0"), (1.01, "less than or equal to 1")],
    "rebound": [(-0.01, NOT_NEGATIVE), (2.01, "less than or equal to 2")],
    "above 0": [(0.0, "greater than 0")],
    "count": [(-1, NOT_NEGATIVE), (1.5, "valid integer")],
    "any": [],
    "name": [
        ("", "should match pattern"),
        ("a b", "should match pattern"),
        ("-x", "should match pattern"),
        ("x" * 129, "should match pattern"),
        ("x\n", "should match pattern"),
    ],
    "time": [
        (T0.replace(tzinfo=None), "should have timezone info"),
        ("2025-07-16T08:00:00", "should have timezone info"),
        ("0001-01-01T00:00:00+08:00", "years 1 to 9999"),
    ],
}
RANGE_OF: dict[str, str] = {
    "reliability_fraction": "share",
    "curtail_share": "share",
    "charge_efficiency": "efficiency",
    "discharge_efficiency": "efficiency",
    "rebound_share": "rebound",
    "longest_h": "above 0",
    "calls_per_day": "count",
    "store_end_min_kwh": "any",
    **dict.fromkeys(
        (
            "resource_id",
            "zone_id",
            "meter_id",
            "tariff_id",
            "session_id",
            "baseline_profile",
            "available_profile",
            "run_profile",
        ),
        "name",
    ),
    **dict.fromkeys(("arrival", "departure", "window_start", "window_end", "preferred_start"), "time"),
}
NOT_NUMBERS = {"aggregator_id", "pillar"}


def range_of(field: str) -> str:
    return RANGE_OF.get(field, "at least 0")


def fields_of(kind: ResourceKind) -> list[str]:
    return [name for name in {**COMMON, **SAMPLES[kind]} if name not in NOT_NUMBERS]


def sample(kind: ResourceKind, **changes: Any) -> dict[str, Any]:
    return {**COMMON, **SAMPLES[kind], **changes}


def refused(kind: ResourceKind, values: dict[str, Any]) -> list[Any]:
    with pytest.raises(ValidationError) as caught:
        RESOURCE_TYPES[kind](**values)
    return list(caught.value.errors())


OUT_OF_RANGE = [
    pytest.param(kind, field, value, rule, id=f"{kind.value}-{field}-{value!r:.20}")
    for kind in ResourceKind
    for field in fields_of(kind)
    for value, rule in RANGES[range_of(field)]
]
NUMBERS = [
    pytest.param(kind, field, value, id=f"{kind.value}-{field}-{value}")
    for kind in ResourceKind
    for field in fields_of(kind)
    if range_of(field) not in ("name", "time")
    for value in (math.nan, math.inf, -math.inf, "NaN", "Infinity")
]


def test_the_samples_name_every_field_of_every_kind() -> None:
    for kind, made in RESOURCE_TYPES.items():
        assert set(sample(kind)) | {"kind", "is_test"} == set(made.model_fields), kind
    assert set(RESOURCE_TYPES) == set(TABLE_NAMES) == set(ResourceKind)


@pytest.mark.parametrize("kind", list(ResourceKind))
def test_a_proper_row_of_every_kind_is_taken_and_told_by_its_kind(kind: ResourceKind) -> None:
    made: Any = TypeAdapter[Any](Resource).validate_python({**sample(kind), "kind": kind.value})
    assert made.kind is kind
    assert type(made) is RESOURCE_TYPES[kind]
    again = TypeAdapter[Any](Resource).validate_json(made.model_dump_json())
    assert again == made


@pytest.mark.parametrize(("kind", "field", "value", "rule"), OUT_OF_RANGE)
def test_a_value_out_of_range_is_refused_by_field_value_and_rule(
    kind: ResourceKind, field: str, value: Any, rule: str
) -> None:
    errors = refused(kind, sample(kind, **{field: value}))
    mine = [error for error in errors if error["loc"] == (field,)]
    assert mine, errors
    assert mine[0]["input"] == value
    assert rule in mine[0]["msg"]


@pytest.mark.parametrize(("kind", "field", "value"), NUMBERS)
def test_what_is_no_finite_number_is_refused_in_every_field(kind: ResourceKind, field: str, value: Any) -> None:
    errors = refused(kind, sample(kind, **{field: value}))
    assert [error["loc"] for error in errors] == [(field,)]
    assert any(word in errors[0]["msg"] for word in ("finite number", "valid integer", "greater than", "less than"))


@pytest.mark.parametrize("kind", list(ResourceKind))
def test_missing_unknown_and_foreign_words_are_refused(kind: ResourceKind) -> None:
    required = [name for name, info in RESOURCE_TYPES[kind].model_fields.items() if info.is_required()]
    for field in required:
        values = sample(kind)
        del values[field]
        assert [error["loc"] for error in refused(kind, values) if error["type"] == "missing"] == [(field,)]
    assert refused(kind, sample(kind, charge_limit_kva=3))[0]["type"] == "extra_forbidden"
    assert refused(kind, sample(kind, pillar="grid"))[0]["loc"] == ("pillar",)
    assert refused(kind, sample(kind, aggregator_id="Industry"))[0]["loc"] == ("aggregator_id",)
    assert refused(kind, sample(kind, aggregator_id="a/b"))[0]["loc"] == ("aggregator_id",)


STORAGE, EV, CURTAIL, INTERRUPT = (
    ResourceKind.STORAGE,
    ResourceKind.EV_SESSION,
    ResourceKind.CURTAILABLE_LOAD,
    ResourceKind.INTERRUPTIBLE_LOAD,
)
SHIFT, THERMAL, GENERATOR = ResourceKind.SHIFTABLE_LOAD, ResourceKind.THERMAL_LOAD, ResourceKind.GENERATOR
BETWEEN_FIELDS: list[tuple[ResourceKind, dict[str, Any], str, str]] = [
    (STORAGE, {"energy_min_kwh": 100.5}, "energy_min_kwh", "must be at most energy_max_kwh"),
    (STORAGE, {"energy_start_kwh": 9.5}, "energy_start_kwh", "must lie between energy_min_kwh and energy_max_kwh"),
    (STORAGE, {"energy_start_kwh": 100.5}, "energy_start_kwh", "must lie between energy_min_kwh and energy_max_kwh"),
    (STORAGE, {"energy_end_min_kwh": 100.5}, "energy_end_min_kwh", "must be at most energy_max_kwh"),
    (STORAGE, {"charge_min_kw": 50.5}, "charge_min_kw", "must be at most charge_limit_kw"),
    (STORAGE, {"discharge_min_kw": 40.5}, "discharge_min_kw", "must be at most discharge_limit_kw"),
    (EV, {"departure": T0}, "departure", "must be later than arrival"),
    (EV, {"battery_capacity_kwh": None}, "battery_capacity_kwh", "is required when discharge_limit_kw is positive"),
    (EV, {"battery_start_kwh": None}, "battery_start_kwh", "is required when discharge_limit_kw is positive"),
    (EV, {"battery_start_kwh": 60.5}, "battery_start_kwh", "must be at most battery_capacity_kwh"),
    (EV, {"energy_needed_kwh": 40.5}, "energy_needed_kwh", "must fit"),
    (EV, {"energy_needed_kwh": 40.5, "discharge_limit_kw": 0.0}, "energy_needed_kwh", "must fit"),
    (CURTAIL, {"rebound_hours_h": 0.0}, "rebound_hours_h", "must be positive when rebound_share is"),
    (INTERRUPT, {"rebound_hours_h": 0.0}, "rebound_hours_h", "must be positive when rebound_share is"),
    (INTERRUPT, {"shortest_h": 2.5}, "shortest_h", "must be at most longest_h"),
    (SHIFT, {"window_end": T0}, "window_end", "must be later than window_start"),
    (SHIFT, {"power_min_kw": 10.5}, "power_min_kw", "must be at most power_max_kw"),
    (SHIFT, {"energy_kwh": 9.5}, "energy_kwh", "must be reachable inside the window"),
    (SHIFT, {"energy_kwh": 100.5}, "energy_kwh", "must be reachable inside the window"),
    (SHIFT, {"preferred_start": T0 - timedelta(hours=1)}, "preferred_start", "must lie inside the window"),
    (SHIFT, {"preferred_start": T0 + timedelta(hours=10)}, "preferred_start", "must lie inside the window"),
    (THERMAL, {"store_end_min_kwh": -40.5}, "store_end_min_kwh", "must lie between -store_low_kwh and store_high_kwh"),
    (THERMAL, {"store_end_min_kwh": 40.5}, "store_end_min_kwh", "must lie between -store_low_kwh and store_high_kwh"),
    (GENERATOR, {"power_min_kw": 500.5}, "power_min_kw", "must be at most power_max_kw"),
]


@pytest.mark.parametrize(("kind", "changes", "field", "rule"), BETWEEN_FIELDS)
def test_a_rule_between_fields_names_field_rule_and_value(
    kind: ResourceKind, changes: dict[str, Any], field: str, rule: str
) -> None:
    errors = refused(kind, sample(kind, **changes))
    assert len(errors) == 1
    assert errors[0]["msg"].startswith(f"Value error, {field}: {rule}")
    assert f"(got {changes[field]!r})" in errors[0]["msg"]


def test_the_edges_of_rules_between_fields_are_allowed() -> None:
    edges: list[tuple[ResourceKind, dict[str, Any]]] = [
        (STORAGE, {"energy_start_kwh": 100.0, "energy_end_min_kwh": 100.0, "charge_min_kw": 50.0}),
        (EV, {"energy_needed_kwh": 40.0}),
        (EV, {"discharge_limit_kw": 0.0, "battery_capacity_kwh": None, "battery_start_kwh": None}),
        (CURTAIL, {"rebound_share": 0.0, "rebound_hours_h": 0.0, "calls_per_day": None}),
        (INTERRUPT, {"shortest_h": 2.0}),
        (SHIFT, {"energy_kwh": 100.0, "preferred_start": T0}),
        (THERMAL, {"store_end_min_kwh": 40.0}),
        (GENERATOR, {"power_min_kw": 500.0}),
    ]
    for kind, changes in edges:
        RESOURCE_TYPES[kind](**sample(kind, **changes))


def test_times_with_an_offset_become_utc() -> None:
    made = RESOURCE_TYPES[EV](**sample(EV, arrival="2025-07-16T00:00:00+08:00", departure="2025-07-16T08:00:00+08:00"))
    assert made.arrival == T0  # type: ignore[attr-defined]
    assert made.arrival.tzinfo is UTC  # type: ignore[attr-defined]


@given(resources())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_every_row_survives_json_and_cannot_be_changed(row: Any) -> None:
    assert type(row).model_validate_json(row.model_dump_json()) == row
    with pytest.raises(ValidationError, match="frozen"):
        row.resource_id = "other"


def test_a_charger_makes_stays_and_none_that_feeds_back_without_a_known_battery() -> None:
    charger = EvCharger(
        **COMMON, charge_limit_kw=7.0, charge_efficiency=0.92, discharge_limit_kw=6.0, wear_cost_per_kwh=0.1
    )
    known = charger.session("s1", T0, T0 + timedelta(hours=8), 20.0, 60.0, 20.0)
    assert known.is_v2g
    assert (known.resource_id, known.charge_limit_kw, known.discharge_limit_kw) == ("r1", 7.0, 6.0)
    for capacity, start in [(None, None), (60.0, None), (None, 20.0)]:
        assert not charger.session("s1", T0, T0 + timedelta(hours=8), 20.0, capacity, start).is_v2g


def test_what_is_registered_as_ev_is_a_charger_and_has_no_stay() -> None:
    charger = {k: v for k, v in sample(EV).items() if k not in EvCharger.SESSION_FIELDS}
    made = TypeAdapter[Any](RegisteredResource).validate_python({**charger, "kind": "ev_session"})
    assert isinstance(made, EvCharger)
    with pytest.raises(ValidationError, match="arrival"):
        TypeAdapter[Any](RegisteredResource).validate_python({**charger, "kind": "ev_session", "arrival": T0})
    assert set(RESOURCE_TYPES[EV].model_fields) - set(EvCharger.model_fields) == EvCharger.SESSION_FIELDS
