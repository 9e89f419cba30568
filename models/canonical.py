"""One way to write facts down for a fingerprint: JSON with sorted keys and no spaces, and its SHA-256.

Numbers are as they are: whoever wants a fingerprint that does not hang on the last bit of a float rounds before.
"""

import hashlib
import json
import math
from typing import Any


def canonical_json(facts: Any) -> str:
    """ASCII JSON, keys in order, no spaces; ``ValueError`` for what JSON has no word for (NaN, infinity)."""
    return json.dumps(facts, sort_keys=True, separators=(",", ":"), allow_nan=False)


def sha256_of(facts: Any) -> str:
    """SHA-256 of ``canonical_json``, lower-case hex."""
    return hashlib.sha256(canonical_json(facts).encode()).hexdigest()


def finite(facts: Any) -> Any:
    """The same facts, with None for numbers that JSON has no word for."""
    if isinstance(facts, dict):
        return {key: finite(each) for key, each in facts.items()}
    if isinstance(facts, list | tuple):
        return [finite(each) for each in facts]
    return None if isinstance(facts, float) and not math.isfinite(facts) else facts
