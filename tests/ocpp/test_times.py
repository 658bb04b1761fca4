"""dateTime: every form that is read, and the one that is written."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wattbridge.ocpp.errors import Violation
from wattbridge.ocpp.messages import Change, Note
from wattbridge.ocpp.times import date_time_reader, date_time_text, usual_date_time

SECONDS = date_time_reader("UTC", milliseconds=False)
MILLISECONDS = date_time_reader("UTC", milliseconds=True)
BERLIN = date_time_reader("Europe/Berlin", milliseconds=False)


@pytest.mark.parametrize(
    ("text", "written", "rule"),
    [
        ("2024-05-01T10:00:00Z", "2024-05-01T10:00:00Z", ""),
        ("2024-02-29T23:59:59Z", "2024-02-29T23:59:59Z", ""),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z", ""),  # Go's zero time
        # Offsets: RFC 3339, without minutes (monta-app/ocpp-emulator #5), without a colon.
        ("2024-05-01T12:00:00+02:00", "2024-05-01T10:00:00Z", "to-utc"),
        ("2024-05-01T10:00:00+00:00", "2024-05-01T10:00:00Z", "to-utc"),
        ("2024-05-01T12:00:00+02", "2024-05-01T10:00:00Z", "to-utc"),
        ("2024-05-01T12:00:00+0200", "2024-05-01T10:00:00Z", "to-utc"),
        ("2024-05-01T12:00:00+2:00", "2024-05-01T10:00:00Z", "to-utc"),
        ("2024-05-01T05:30:00-04:30", "2024-05-01T10:00:00Z", "to-utc"),
        ("2024-01-01T00:00:00+14:00", "2023-12-31T10:00:00Z", "to-utc"),
        ("2024-12-31T23:00:00-14:00", "2025-01-01T13:00:00Z", "to-utc"),
        # Fractions: none to nine digits and more.
        ("2024-05-01T10:00:00.0Z", "2024-05-01T10:00:00Z", ""),
        ("2024-05-01T10:00:00.999Z", "2024-05-01T10:00:00Z", "fraction-dropped"),
        ("2024-05-01T10:00:00.123456789Z", "2024-05-01T10:00:00Z", "fraction-dropped"),
        ("2024-05-01T10:00:00," + "1" * 100 + "Z", "2024-05-01T10:00:00Z", "fraction-dropped"),
        # Java writes the name of the zone behind it (Java-OCA-OCPP).
        ("2026-11-20T11:32:03.084024532Z[Etc/UTC]", "2026-11-20T11:32:03Z", "fraction-dropped"),
        ("2026-11-20T11:32:03Z[Etc/UTC]", "2026-11-20T11:32:03Z", "date-time-form"),
        ("2026-11-20T12:32:03+01:00[Europe/Berlin]", "2026-11-20T11:32:03Z", "to-utc"),
        # The end of a day (XML Schema 1.0, 3.2.7), and seconds that few know.
        ("2024-12-31T24:00:00Z", "2025-01-01T00:00:00Z", "midnight-24"),
        ("2024-12-31T24:00:00.000+01:00", "2024-12-31T23:00:00Z", "midnight-24"),
        ("2016-12-31T23:59:60Z", "2016-12-31T23:59:59Z", "leap-second"),
        ("2017-01-01T00:59:60.5+01:00", "2016-12-31T23:59:59Z", "leap-second"),
        # Epoch seconds and milliseconds.
        ("1714557600", "2024-05-01T10:00:00Z", "epoch"),
        ("1662550826863", "2022-09-07T11:40:26Z", "epoch"),
        # Other liberties.
        ("2024-05-01 10:00:00Z", "2024-05-01T10:00:00Z", "date-time-form"),
        ("2024-05-01t10:00:00z", "2024-05-01T10:00:00Z", "date-time-form"),
        ("2024-05-01T10:00:00 UTC", "2024-05-01T10:00:00Z", "date-time-form"),
        ("2024-05-01T10:00:00GMT", "2024-05-01T10:00:00Z", "date-time-form"),
        ("2024-05-01T10:00Z", "2024-05-01T10:00:00Z", "date-time-form"),
        ("2024-5-1T9:00:00Z", "2024-05-01T09:00:00Z", "date-time-form"),
        ("\n 2024-05-01T10:00:00Z ", "2024-05-01T10:00:00Z", "trimmed"),
    ],
)
def test_every_form_is_read(text: str, written: str, rule: str) -> None:
    notes: list[Note] = []
    assert SECONDS(text, "Heartbeat.currentTime", notes) == written
    assert [note.rule for note in notes] == [rule] * bool(rule)
    if rule and len(text) < 60 and text.isprintable():
        assert notes == [Change("Heartbeat.currentTime", text, written, rule)]


@pytest.mark.parametrize(
    ("text", "written", "rule"),
    [
        ("2024-05-01T10:00:00Z", "2024-05-01T10:00:00.000Z", ""),
        ("2024-05-01T10:00:00.5Z", "2024-05-01T10:00:00.500Z", ""),
        ("2024-05-01T10:00:00.123Z", "2024-05-01T10:00:00.123Z", ""),
        ("2024-05-01T10:00:00.1230Z", "2024-05-01T10:00:00.123Z", ""),
        ("2024-05-01T10:00:00.123999Z", "2024-05-01T10:00:00.123Z", "fraction-dropped"),
        ("1662550826863", "2022-09-07T11:40:26.863Z", "epoch"),
        ("2024-05-01T12:00:00.25+02:00", "2024-05-01T10:00:00.250Z", "to-utc"),
    ],
)
def test_milliseconds_are_written_where_they_are_wanted(text: str, written: str, rule: str) -> None:
    """evcc #31158; cut and never rounded, so that no time is in the future."""
    notes: list[Note] = []
    assert MILLISECONDS(text, "p", notes) == written
    assert [note.rule for note in notes] == [rule] * bool(rule)


@pytest.mark.parametrize(
    ("text", "written", "rule"),
    [
        ("2024-01-15T12:00:00", "2024-01-15T11:00:00Z", "zone-assumed"),
        ("2024-07-15T12:00:00", "2024-07-15T10:00:00Z", "zone-assumed"),
        ("2024-07-15T12:00:00.75", "2024-07-15T10:00:00Z", "zone-assumed"),
        ("2024-07-15T24:00:00", "2024-07-15T22:00:00Z", "midnight-24"),
        # Clocks go from 02:00 to 03:00: what never was is what a clock not yet set shows.
        ("2024-03-31T01:59:59", "2024-03-31T00:59:59Z", "zone-assumed"),
        ("2024-03-31T02:30:00", "2024-03-31T01:30:00Z", "zone-ambiguous"),
        ("2024-03-31T03:00:00", "2024-03-31T01:00:00Z", "zone-assumed"),
        # Clocks go from 03:00 to 02:00: of two times it is the earlier.
        ("2024-10-27T01:59:59", "2024-10-26T23:59:59Z", "zone-assumed"),
        ("2024-10-27T02:30:00", "2024-10-27T00:30:00Z", "zone-ambiguous"),
        ("2024-10-27T03:00:00", "2024-10-27T02:00:00Z", "zone-assumed"),
        # An offset of its own counts more.
        ("2024-07-15T12:00:00Z", "2024-07-15T12:00:00Z", ""),
        ("2024-07-15T12:00:00+05:45", "2024-07-15T06:15:00Z", "to-utc"),
    ],
)
def test_a_time_without_offset_is_of_the_configured_zone(text: str, written: str, rule: str) -> None:
    """evcc #10399: Growatt THOR writes local times."""
    notes: list[Note] = []
    assert BERLIN(text, "p", notes) == written
    assert [note.rule for note in notes] == [rule] * bool(rule)


def test_a_time_without_offset_is_utc_by_default() -> None:
    notes: list[Note] = []
    assert SECONDS("2024-03-31T02:30:00", "p", notes) == "2024-03-31T02:30:00Z"
    assert [note.rule for note in notes] == ["zone-assumed"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "noon",
        "2024-05-01",
        "10:00:00Z",
        "2024-W18-3T10:00:00Z",
        "2024-05-01T100000.1Z",
        "20240501T100000Z",
        "2024-05-01T10:00:00+",
        "2024-05-01T10:00:00Zulu",
        "2024-05-01T10:00:00[Europe/Berlin]",
        "2024-05-01T10:00:00.Z",
        "٢٠٢٤-05-01T10:00:00Z",
        "١٦٦٢٥٥٠٨٢٦",
        "2024-05-01T10:00:00Z\0",
        "166255082686",
        "1" * 100_000,
        "2024-05-01T10:00:00." + "1" * 100_000,
    ],
)
def test_what_is_no_time_is_refused(text: str) -> None:
    if text.endswith("1" * 100) and "T" in text:
        # However many digits there are, it is a time, and costs no more than to look at each once.
        assert SECONDS(text, "p", []) == "2024-05-01T10:00:00Z"
        return
    with pytest.raises(
        Violation, match=r"^Some.time: '.*' is not a dateTime like '2024-05-01T10:00:00Z'$"
    ) as caught:
        SECONDS(text, "Some.time", [])
    assert caught.value.code == "TypeConstraintViolation"
    assert len(caught.value.problem) < 130


@pytest.mark.parametrize(
    "text",
    [
        "2024-02-30T10:00:00Z",
        "2023-02-29T10:00:00Z",
        "2024-13-01T10:00:00Z",
        "2024-05-01T25:00:00Z",
        "2024-05-01T24:00:01Z",
        "2024-05-01T24:00:00.1Z",
        "2024-05-01T10:60:00Z",
        "2024-05-01T10:00:60Z",
        "0000-05-01T10:00:00Z",
        "-0001-05-01T10:00:00Z",
        "12024-05-01T10:00:00Z",
        "2024-05-01T10:00:00+14:01",
        "2024-05-01T10:00:00-15:00",
        "2024-05-01T10:00:00+02:60",
        "0001-01-01T00:00:00+01:00",
        "9999-12-31T24:00:00Z",
    ],
)
def test_what_is_not_in_the_calendar_is_refused(text: str) -> None:
    """shiv3/ocpp-cp-simulator #285: invalid offsets were accepted."""
    with pytest.raises(Violation, match="is not a moment of the calendar, which was expected: ") as caught:
        SECONDS(text, "Some.time", [])
    assert caught.value.code == "PropertyConstraintViolation"
    assert caught.value.path == "Some.time"


def test_the_first_moment_has_no_earlier_zone() -> None:
    with pytest.raises(Violation, match="is not a moment of the calendar"):
        BERLIN("0001-01-01T00:00:00", "p", [])


def test_the_quick_form_is_the_neutral_form_and_nothing_else() -> None:
    usual = usual_date_time(milliseconds=False)
    assert usual("2024-05-01T10:00:00Z") == "2024-05-01T10:00:00Z"
    for text in (
        "2024-05-01T10:00:00z",
        "2024-05-31T10:00:00Z",  # a calendar has to tell
        "2024-05-01T100000.1Z",
        "2024-05-01T24:00:00Z",
        "0000-05-01T10:00:00Z",
        "2024-05-01T10:00:0٠Z",
        "2024-05-01T10:00:00.000Z",
        "2024-05-01T10:00:00Z\n",
    ):
        assert usual(text) is None
    assert usual_date_time(milliseconds=True)("2024-05-01T10:00:00.000Z") == "2024-05-01T10:00:00.000Z"
    assert usual_date_time(milliseconds=True)("2024-05-01T10:00:00Z") is None


OFFSETS = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@given(moment=st.datetimes(datetime(2, 1, 1), datetime(9998, 12, 31), timezones=OFFSETS))
def test_every_moment_is_the_same_moment_afterwards(moment: datetime) -> None:
    written = MILLISECONDS(moment.isoformat(), "p", [])
    milliseconds = moment.replace(microsecond=moment.microsecond // 1000 * 1000)
    assert datetime.fromisoformat(written) == milliseconds
    assert SECONDS(moment.isoformat(), "p", []) == written[:19] + "Z"
    # What was read once is in the neutral form, which is read without a note.
    notes: list[Note] = []
    assert MILLISECONDS(written, "p", notes) == written
    assert notes == []


@given(text=st.text(st.sampled_from("0123456789-+:.,TZz []UTCGM24Europe/"), max_size=30))
def test_any_text_is_read_or_refused(text: str) -> None:
    notes: list[Note] = []
    try:
        written = SECONDS(text, "p", notes)
    except Violation:
        return
    assert datetime.fromisoformat(written).tzinfo == UTC
    assert written == text or notes or text[:19] == written[:19]


def test_a_z_behind_local_time_does_not_count() -> None:
    """Chago, until its clock is set (steve #136)."""
    read = date_time_reader("Europe/Berlin", milliseconds=False, z_is_local=True)
    assert usual_date_time(milliseconds=False, z_is_local=True)("2019-05-10T16:05:33Z") is None
    for text, rule in (
        ("2019-05-10T16:05:33Z", "profile-time"),
        ("2019-05-10T16:05:33", "zone-assumed"),
        ("2019-05-10T15:05:33+01:00", "to-utc"),
    ):
        notes: list[Note] = []
        assert read(text, "p", notes) == "2019-05-10T14:05:33Z"
        assert notes == [Change("p", text, "2019-05-10T14:05:33Z", rule)]


@pytest.mark.parametrize(
    ("seconds", "text", "in_milliseconds"),
    [
        (0, "1970-01-01T00:00:00Z", "1970-01-01T00:00:00.000Z"),
        (1_714_557_600, "2024-05-01T10:00:00Z", "2024-05-01T10:00:00.000Z"),
        (1_714_557_600.0614, "2024-05-01T10:00:00Z", "2024-05-01T10:00:00.061Z"),
        (1_714_557_599.9996, "2024-05-01T09:59:59Z", "2024-05-01T09:59:59.999Z"),  # cut and never rounded
        (-0.25, "1969-12-31T23:59:59Z", "1969-12-31T23:59:59.750Z"),
    ],
)
def test_seconds_since_the_epoch_are_told_in_the_neutral_form(
    seconds: float, text: str, in_milliseconds: str
) -> None:
    assert date_time_text(seconds) == text
    assert date_time_text(seconds, milliseconds=True) == in_milliseconds


@given(st.integers(min_value=0, max_value=253_402_300_799))
def test_what_is_told_is_read_unchanged(seconds: int) -> None:
    for milliseconds, read in ((False, SECONDS), (True, MILLISECONDS)):
        text = date_time_text(seconds, milliseconds=milliseconds)
        notes: list[Note] = []
        assert (read(text, "p", notes), notes) == (text, [])
