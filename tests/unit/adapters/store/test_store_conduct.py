"""How devices behave is kept, on both databases."""

from datetime import UTC, datetime, timedelta

import pytest

from adapters.store import Store
from models.conduct import ConductRecord, Misconduct
from models.errors import InputError

NOON = datetime(2025, 7, 16, 4, 0, tzinfo=UTC)


def test_the_newest_word_on_each_device_is_kept(populated: Store) -> None:
    assert populated.conduct() == []
    free = ConductRecord("r1", 3.5, 4.0)
    aside = ConductRecord("r2", 0.0, 2.0, Misconduct.FROZEN_METER, NOON, NOON + timedelta(minutes=30), 1)
    populated.save_conduct([free, aside])
    assert sorted(populated.conduct(), key=lambda each: each.resource_id) == [free, aside]
    back = ConductRecord("r2", 1.0, 3.0, times=1)
    populated.save_conduct([back])
    populated.save_conduct([])
    assert sorted(populated.conduct(), key=lambda each: each.resource_id) == [free, back]
    with pytest.raises(InputError, match="nobody"):
        populated.save_conduct([ConductRecord("nobody", 1.0, 1.0)])
