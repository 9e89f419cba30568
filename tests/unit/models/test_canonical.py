"""One way to write facts down for a fingerprint."""

import hashlib
import json
import math

import pytest

from models.canonical import canonical_json, finite, sha256_of


def test_keys_are_in_order_and_everything_is_ascii() -> None:
    assert canonical_json({"b": [1, 2.5], "a": "甲"}) == '{"a":"\\u7532","b":[1,2.5]}'
    assert sha256_of({"b": 1, "a": 2}) == hashlib.sha256(b'{"a":2,"b":1}').hexdigest()


def test_what_json_has_no_word_for_is_refused_or_made_nothing() -> None:
    facts = {"a": [1.0, math.nan, (math.inf, {"b": -math.inf})], "c": "nan", "d": None, "e": True}
    with pytest.raises(ValueError, match="JSON"):
        canonical_json(facts)
    cleaned = finite(facts)
    assert cleaned == {"a": [1.0, None, [None, {"b": None}]], "c": "nan", "d": None, "e": True}
    assert json.loads(canonical_json(cleaned)) == cleaned
