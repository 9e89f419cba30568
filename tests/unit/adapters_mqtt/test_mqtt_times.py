"""Times by columns: exactly what the careful reader reads, and its refusal of everything else."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.mqtt.times import microseconds_of
from models.moments import microseconds

MOMENTS = st.datetimes(datetime(1970, 1, 2), datetime(9998, 12, 30))  # noqa: DTZ001 - the zone comes below
OFFSETS = st.sampled_from([0, 60, 480, 345, -330, -720, 839])


def text_of(moment: datetime, offset_min: int, form: str) -> str:
    local = moment.replace(tzinfo=UTC).astimezone(timezone(timedelta(minutes=offset_min)))
    if form == "z":
        return local.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return local.isoformat(timespec=form)


@given(st.lists(st.tuples(MOMENTS, OFFSETS, st.sampled_from(["z", "auto", "milliseconds", "microseconds", "seconds"]))))
def test_every_usual_form_is_read_to_the_microsecond(said: list[tuple[datetime, int, str]]) -> None:
    texts = [text_of(*each) for each in said]
    wanted = [microseconds(datetime.fromisoformat(text)) for text in texts]
    padded = [f"2025-07-16T05:00:{k:02}.5Z" for k in range(20)]  # so many different ones that columns are used
    assert microseconds_of([*texts, *padded]).tolist()[: len(texts)] == wanted


@pytest.mark.parametrize(
    "wrong",
    [
        "2025-02-29T05:00:00Z",
        "2025-13-01T05:00:00Z",
        "2025-00-01T05:00:00Z",
        "2025-07-16T24:00:01Z",
        "2025-07-16T05:60:00Z",
        "2025-07-16T05:00:61Z",
        "2025-07-16T05:00:00",
        "2025-07-16T05:00:00.Z",
        "2025-07-16T05:00:00+25:00",
        "2025-07-16T05:00:0٣Z",
        "2025-07-1605:00:00ZZ",
        "yesterday",
        "",
    ],
)
def test_what_is_no_time_is_refused_among_many_that_are(wrong: str) -> None:
    texts = [f"2025-07-16T05:00:{k:02}Z" for k in range(30)]
    assert len(microseconds_of(texts)) == 30
    with pytest.raises(ValueError, match=r"."):
        microseconds_of([*texts, wrong])


@pytest.mark.parametrize("unusual", ["2025-07-16t05:00:00z", "2025-07-16 05:00:00Z", "2025-07-16T05:00Z"])
def test_unusual_forms_are_left_to_the_careful_reader(unusual: str) -> None:
    texts = [f"2025-07-16T05:00:{k:02}Z" for k in range(30)]
    assert microseconds_of([*texts, unusual])[-1] == microseconds(datetime(2025, 7, 16, 5, tzinfo=UTC))


def test_a_leap_day_and_the_turn_of_a_year_lie_where_they_should() -> None:
    texts = [f"2028-02-29T23:59:{k:02}+00:00" for k in range(10)] + ["2027-12-31T23:59:59.999999-01:00"]
    assert [int(value) for value in microseconds_of(texts)] == [
        microseconds(datetime.fromisoformat(text)) for text in texts
    ]
