from datetime import date
from decimal import Decimal
from importlib.resources import files

import numpy as np
import pytest

from models.errors import InputError
from models.events import Direction
from models.settlement.rules.evaluate import effective_wh, excess_wh, price_cny_per_kwh, price_terms
from models.settlement.rules.load import packaged_rules, read_rules
from models.settlement.rules.schema import Rule, Stage
from tests.unit.models.settlement.calls import rule_named

TABLE = packaged_rules()
PROMISED = {"sichuan_market_v1", "shenzhen_precise", "zhejiang", "tier_80_120", "guangzhou", "jiangsu", "generic_bands"}
GOOD = """
[[rules]]
rule_id = "small"
version = 1
valid_from = 2025-01-01
source = "nobody"
verified = false
doubts = ["all"]
ordinary = { effective = [{ to = 0.8 }, { delivered_factor = 1 }], penalty = { price_factor = 1, below = 0.9 } }
prices = [{ source = "clearing", cap_cny_per_kwh = 3 }]
"""


def test_every_promised_rule_is_in_the_table_and_none_claims_to_be_verified() -> None:
    assert {rule.rule_id for rule in TABLE.rules.values()} == PROMISED
    for rule in TABLE.rules.values():
        assert not rule.verified
        assert "[" in rule.source, f"{rule.name} has no mark of its source"
        assert rule.doubts


def test_no_code_asks_which_rule_it_is() -> None:
    package = files("models.settlement")
    sources = [file for file in (*package.iterdir(), *package.joinpath("rules").iterdir()) if file.name.endswith(".py")]
    assert len(sources) > 10
    for file in sources:
        text = file.read_text(encoding="utf-8")
        assert not any(f'"{name}"' in text for name in PROMISED), file.name


def test_the_version_in_force_is_the_last_that_had_begun() -> None:
    second = GOOD.replace("version = 1", "version = 2").replace("2025-01-01", "2026-03-01")
    table = read_rules(GOOD + second, "two.toml")
    assert table.on("small", date(2026, 2, 28)).version == 1
    assert table.on("small", date(2026, 3, 1)).version == 2
    assert table.get("small", 1).valid_from == date(2025, 1, 1)
    with pytest.raises(InputError, match="in force on 2024-12-31"):
        table.on("small", date(2024, 12, 31))
    with pytest.raises(InputError, match="small@3"):
        table.get("small", 3)


@pytest.mark.parametrize(
    ("old", "new", "field", "value", "said"),
    [
        ("version = 1", "version = 0", "version", "0", "greater than or equal to 1"),
        ('source = "nobody"', "", "source", "rule_id", "Field required"),
        ("verified = false", "verified = false\ncolour = 1", "colour", "1", "Extra inputs"),
        ("price_factor = 1,", "price_factor = 1.0001,", "ordinary.penalty.price_factor", "1.0001", "3 decimal places"),
        ("price_factor = 1,", "price_factor = nan,", "ordinary.penalty.price_factor", "NaN", "finite"),
        (", below = 0.9", "", "ordinary.penalty.below", "None", "needs an edge"),
        ("to = 0.8", "to = 0.8, delivered_factor = 1 }, { to = 0.7", "ordinary.effective", "0.8", "each later"),
        ("delivered_factor = 1 }]", "to = 2 }]", "ordinary.effective", "2", "must have no end"),
        ("cap_cny_per_kwh = 3", "floor_cny_per_kwh = 4, cap_cny_per_kwh = 3", "prices.0.cap_cny_per_kwh", "3", "floor"),
        ('source = "clearing"', 'source = "fixed"', "prices.0.fixed_cny_per_kwh", "None", "only if source is fixed"),
        ('doubts = ["all"]', "doubts = []", "doubts", "[]", "at least 1 item"),
        ("rule_id", "netting = { agent = 'month' }\nrule_id", "netting.agent", "'month'", "'period' or 'day'"),
    ],
)
def test_a_bad_table_is_refused_with_file_field_value_and_rule(
    old: str, new: str, field: str, value: str, said: str
) -> None:
    assert read_rules(GOOD, "bad.toml").get("small", 1).source == "nobody"
    assert old in GOOD
    with pytest.raises(InputError) as refused:
        read_rules(GOOD.replace(old, new, 1), "bad.toml")
    fault = refused.value.faults[0]
    assert (fault.place, fault.field, fault.row) == ("bad.toml", field, 1)
    assert value in repr(fault.value)
    assert said in fault.rule
    assert "rule small" in fault.rule


@pytest.mark.parametrize(
    ("text", "said"),
    [("rules = [", "must be TOML"), ("rule = 1", "array of tables"), ("rules = 1", "array of tables")],
)
def test_what_is_no_table_of_rules_is_refused(text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        read_rules(text, "bad.toml")


def test_a_rule_stands_once_and_all_faults_are_told() -> None:
    with pytest.raises(InputError, match="small@1 must stand once") as refused:
        read_rules(GOOD + GOOD + GOOD.replace("version = 1", "version = -1"), "bad.toml")
    assert [fault.row for fault in refused.value.faults] == [2, 3]


def effective(rule: Rule, delivered: list[int], award: int, *, protected: bool = False) -> list[int]:
    q = np.array(delivered, dtype=np.int64)
    return effective_wh(rule.assessment(protected=protected), q, np.full_like(q, award)).tolist()


def test_effective_quantities_at_and_around_the_edges() -> None:
    sichuan, tier, cautious = rule_named("sichuan_market_v1"), rule_named("tier_80_120"), rule_named("guangzhou")
    # 1.1 B = 1100; beyond: 1100 + 0.5 (q - 1100): 1102 → 1101, 1500 → 1300
    assert effective(sichuan, [-5, 0, 899, 1100, 1102, 1500], 1000) == [-5, 0, 899, 1100, 1101, 1300]
    assert effective(sichuan, [1100, 1102, 1500], 1000, protected=True) == [1100, 1100, 1100]
    # 0.8 B = 800 is paid, 799 is not; 1.2 B = 1200 is the most
    assert effective(tier, [799, 800, 1200, 1201, 9000], 1000) == [0, 800, 1200, 1200, 1200]
    assert effective(cautious, [-1, 0, 999, 1000, 1001], 1000) == [0, 0, 999, 1000, 1000]


def test_edges_are_exact_where_floats_would_not_be() -> None:
    # 0.8 · 3 Wh = 2.4 Wh: 2 is under it, 3 is not; 1.1 · 10 = 11 exactly although 1.1 is no binary number
    assert effective(rule_named("tier_80_120"), [2, 3], 3) == [0, 3]
    assert effective(rule_named("sichuan_market_v1"), [11, 12, 13, 14], 10) == [11, 12, 12, 12]  # 11.5 and 12.5 to even


def test_nothing_is_paid_or_charged_where_nothing_was_awarded() -> None:
    for rule in TABLE.rules.values():
        assert effective(rule, [-7, 0, 5000], 0) == [0, 0, 0], rule.name
    protected = rule_named("sichuan_market_v1").assessment(protected=True).penalty
    assert excess_wh(protected, np.array([5000, 5000]), np.array([0, 1000])).tolist() == [0, 3900]  # 5000 - 1.1 · 1000


@pytest.mark.parametrize(
    ("rule_id", "stage", "direction", "duration_h", "clearing", "price"),
    [
        ("sichuan_market_v1", Stage.DAY_AHEAD, Direction.SHAVE, 1, "1.2", "1.2"),
        ("sichuan_market_v1", Stage.DAY_AHEAD, Direction.FILL, 1, "3.5", "3"),
        ("sichuan_market_v1", Stage.INTRADAY, Direction.SHAVE, 1, "-0.1", "0"),
        ("sichuan_market_v1", Stage.EMERGENCY, Direction.SHAVE, 1, "4", "0.3"),  # a tenth of the clipped price
        ("shenzhen_precise", Stage.REAL_TIME, Direction.FILL, 1, "0.1", "5"),
        ("zhejiang", Stage.DAY_AHEAD, Direction.FILL, 1, "2", "1"),
        ("tier_80_120", Stage.DAY_AHEAD, Direction.SHAVE, 1, "7", "5"),
        ("guangzhou", Stage.DAY_AHEAD, Direction.SHAVE, 1, "4", "3.5"),
        ("jiangsu", Stage.REAL_TIME, Direction.SHAVE, 0.25, "4", "2.4"),
        ("jiangsu", Stage.REAL_TIME, Direction.SHAVE, 0.5, "4", "4"),
        ("jiangsu", Stage.DAY_AHEAD, Direction.SHAVE, 0.25, "6", "4.8"),
        ("generic_bands", Stage.REAL_TIME, Direction.SHAVE, 1, "6", "2.5"),
        ("generic_bands", Stage.DAY_AHEAD, Direction.FILL, 1, "0.4", "0.4"),
    ],
)
def test_prices(rule_id: str, stage: Stage, direction: Direction, duration_h: float, clearing: str, price: str) -> None:
    terms = price_terms(rule_named(rule_id), stage, direction, duration_h)
    assert price_cny_per_kwh(terms, Decimal(clearing)) == Decimal(price)


@pytest.mark.parametrize(
    ("rule_id", "stage", "direction"),
    [
        ("shenzhen_precise", Stage.DAY_AHEAD, Direction.SHAVE),
        ("guangzhou", Stage.DAY_AHEAD, Direction.FILL),
        ("jiangsu", Stage.REAL_TIME, Direction.FILL),
    ],
)
def test_a_call_that_a_rule_has_no_price_for_is_refused(rule_id: str, stage: Stage, direction: Direction) -> None:
    with pytest.raises(InputError, match=f"rule {rule_id}@1 must have a price for it"):
        price_terms(rule_named(rule_id), stage, direction, 1)
