import re

import pytest
from pydantic import ValidationError

from models.errors import InputError
from models.settlement.baseline import METHODS, Adjustment, DayCount
from models.settlement.methods.table import TABLE, method_named, newest_methods, packaged_table, read_table

NAMED = {
    *("caiso_10_10", "caiso_res_5_10", "caiso_weather_4", "caiso_control", "pjm_4_5_saa", "pjm_same_day_3_2"),
    *("pjm_match_day_3", "nyiso_5_10", "isone_90_10", "isone_10_10", "ercot_mid_8_10", "ercot_pair", "ercot_reg"),
    *("aemo_wdr", "gb_bl01", "kpx_max45", "kpx_mid610", "jp_high45", "beijing_2015", "jiangsu_2015_scheduled"),
    *("jiangsu_2015_realtime", "cn_similar_5", "generator_output", "firm_level"),
}
ROW = """
[[method]]
id = "a"
version = 1
title_en = "a"
title_zh = "甲"
naesb = "none"
source = "a test"
verified = false
[method.parameters]
family = "day_matching"
[method.parameters.days]
weekday = { take = 4, of = 5, minimum = 4 }
weekend = { take = 2, of = 3, minimum = 2 }
pick = "high"
look_back_days = 45
[method.adjustment]
kind = "additive"
windows = [{ from_h = -4, to_h = -1 }]
"""


def test_every_method_of_the_domain_notes_is_a_row_or_known_to_be_unknown() -> None:
    rows, unknown = set(newest_methods()), {each.id for each in packaged_table().unknown}
    assert rows | unknown >= NAMED
    assert not rows & unknown


def test_nothing_claims_to_be_verified_but_what_is_ours() -> None:
    for method in packaged_table().method:
        assert method.verified == (method.source == "ours"), method.id
        assert re.search(r"[㐀-鿿]", method.title_zh), method.id


def test_the_newest_version_is_meant_unless_one_is_named() -> None:
    assert method_named("nyiso_5_10").version == newest_methods()["nyiso_5_10"].version == 2
    assert method_named("nyiso_5_10", 1).parameters != method_named("nyiso_5_10").parameters
    with pytest.raises(InputError, match=r"pjm_4_5_saa.*nyiso_5_10 version 9"):
        method_named("nyiso_5_10", 9)


def test_the_table_is_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        method_named("caiso_10_10").version = 2  # type: ignore[misc]


@pytest.mark.parametrize(
    ("old", "new", "field", "value", "rule"),
    [
        ('pick = "high"', 'pick = "low"', "pick", "low", "'all', 'high' or 'mid'"),
        ('pick = "high"', 'pick = "high"\nlimit = 3', "limit", "3", "Extra inputs"),
        ("take = 4, of = 5", "take = 6, of = 5", "weekday", "6", "must not exceed"),
        ("from_h = -4, to_h = -1", "from_h = -4, to_h = 2", "windows", "2", "into the event"),
        ("from_h = -4, to_h = -1", "from_h = -1, to_h = -4", "windows", "-4", "before to_h"),
        ('family = "day_matching"', 'family = "moon"', "parameters", "moon", "day_matching"),
        ("version = 1", 'version = "one"', "version", "one", "integer"),
    ],
)
def test_a_bad_row_is_refused_with_file_row_field_value_and_rule(
    old: str, new: str, field: str, value: str, rule: str
) -> None:
    assert read_table(ROW).method[0].id == "a"
    with pytest.raises(InputError) as refused:
        read_table(ROW.replace(old, new), "mine.toml")
    (fault,) = refused.value.faults
    assert (fault.place, fault.row) == ("mine.toml", 1)
    assert field in fault.field
    assert value in str(fault.value)
    assert rule in fault.rule


def test_one_id_and_version_stand_for_one_rule() -> None:
    with pytest.raises(InputError, match="unique"):
        read_table(ROW + ROW)
    assert len(read_table(ROW + ROW.replace("version = 1", "version = 2")).method) == 2


def test_what_is_no_toml_is_refused_by_the_name_of_the_file() -> None:
    with pytest.raises(InputError, match=TABLE):
        read_table("[[method")


def test_what_the_service_plans_with_has_not_changed() -> None:
    """Pinned by hand: statements of the past were made with these numbers."""
    pinned = {
        "ten_of_ten": ("all", DayCount(10, 10, 5), DayCount(4, 4, 2), 45, None, None),
        "caiso_10_10": ("all", DayCount(10, 10, 5), DayCount(4, 4, 2), 45, Adjustment(0.2, 3, 1), None),
        "high_5_of_10": ("high", DayCount(5, 10, 5), DayCount(2, 3, 2), 45, None, None),
        "nyiso_5_10": ("high", DayCount(5, 10, 5), DayCount(2, 3, 2), 45, Adjustment(0.2, 2, 2), None),
        "pjm_high_4_5": ("high", DayCount(4, 5, 4), DayCount(2, 3, 2), 45, None, None),
        "ercot_mid_8_10": ("mid", DayCount(8, 10, 5), DayCount(8, 10, 5), 90, None, None),
        "cn_similar_5": ("all", DayCount(5, 5, 3), DayCount(5, 5, 2), 60, None, 0.25),
    }
    found = {
        name: (m.pick, m.weekday, m.weekend, m.look_back_days, m.adjustment, m.outlier_fraction)
        for name, m in METHODS.items()
    }
    assert found == pinned
    assert list(found) == list(pinned)
    assert {m.family for m in METHODS.values()} == {"NAESB Baseline Type-I"}
