"""Identifiers are ordered by time; moments survive the store."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from storage.ids import first_id, uuid7
from storage.times import from_micros, to_micros

MOMENTS = st.datetimes(min_value=datetime(1970, 1, 2), max_value=datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - hypothesis adds the zone


@given(MOMENTS, st.timedeltas(min_value=timedelta(milliseconds=1), max_value=timedelta(days=9_000)))
def test_a_later_id_sorts_later(at: datetime, more: timedelta) -> None:
    assert str(uuid7(at)) < str(uuid7(at + more))


@given(MOMENTS)
def test_an_id_is_a_uuid_of_version_7_and_not_before_the_bound_of_its_moment(at: datetime) -> None:
    made = uuid7(at)

    assert (made.version, made.variant) == (7, "specified in RFC 4122")
    assert first_id(at) <= str(made)
    assert first_id(at + timedelta(minutes=2)) > str(made)


@given(MOMENTS)
def test_a_moment_survives_the_store(at: datetime) -> None:
    assert from_micros(to_micros(at)) == at
