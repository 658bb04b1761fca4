"""dateTime: read in every form of xs:dateTime and in the forms of the field, written in one.

The neutral form is UTC, ``2024-05-01T10:00:00Z``, or with exactly three digits of a second where
milliseconds are wanted: some peers refuse fractions or ``+00:00`` (lbbrhzn/ocpp #512, OCTT), a few demand
milliseconds (evcc #31158).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

from wattbridge.ocpp.errors import Violation, excerpt, shown
from wattbridge.ocpp.messages import Change, Note, add_note
from wattbridge.ocpp.tolerances import EPOCH

# The neutral form, save for the last days of a month, which need a calendar.
_NEUTRAL = r"(?!0000)\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|1\d|2[0-8])T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d"
_SECONDS = re.compile(_NEUTRAL + "Z", re.ASCII)
_MILLISECONDS = re.compile(_NEUTRAL + r"\.\d{3}Z", re.ASCII)

# xs:dateTime (XML Schema 1.0, 3.2.7) and what the field makes of it: a blank for the T, a comma, an offset
# without minutes (monta-app/ocpp-emulator #5), Java's zone name behind it (Java-OCA-OCPP), no seconds.
_DATE_TIME = re.compile(
    r"(-?\d{4,9})-(\d{1,2})-(\d{1,2})[Tt ](\d{1,2}):(\d{2})(?::(\d{2})(?:[.,](\d+))?)?"
    r"(?:\s?(Z|z|UTC|GMT|[+-]\d{1,2}(?::?\d{2})?)(?:\[[\w/+-]{1,64}\])?)?",
    re.ASCII,
)
_LARGEST_OFFSET = timedelta(hours=14)  # XML Schema 1.0, 3.2.7.3

DateTimeReader = Callable[[str, str, list[Note]], str]


def usual_date_time(*, milliseconds: bool, z_is_local: bool = False) -> Callable[[str], str | None]:
    """Make the function that knows the neutral form: it gives that back, and None for every other text.

    With ``z_is_local`` (see ``date_time_reader``) no text is in the neutral form.
    """
    if z_is_local:
        return lambda text: None
    match = (_MILLISECONDS if milliseconds else _SECONDS).fullmatch

    def usual(text: str) -> str | None:
        return text if match(text) else None

    return usual


def date_time_reader(zone: str, *, milliseconds: bool, z_is_local: bool = False) -> DateTimeReader:
    """Make the function that reads one dateTime: ``read(text, path, notes)``.

    ``zone`` is the IANA name of the zone in which a time without offset is meant. Where its clocks are set
    back, such a time is taken for the earlier of the two; where they are set forward and the time never was,
    for the one that a clock not yet set would show. ``z_is_local`` is for charge points that write Z behind
    their local time (steve #136): it is read as if there were none. The function gives the neutral form,
    notes what it changed, and raises Violation (TypeConstraintViolation for what is no time,
    PropertyConstraintViolation for what is none of the calendar).
    """
    local = UTC if zone == "UTC" else ZoneInfo(zone)
    digits = 3 if milliseconds else 0

    def read(text: str, path: str, notes: list[Note]) -> str:
        bare = text.strip()
        labelled = z_is_local and bare[-1:] in ("Z", "z")
        moment, fraction, rule = _read(bare[:-1] if labelled else bare, path, local)
        if labelled:
            rule = "profile-time"
        written = moment.replace(tzinfo=None).isoformat()
        written += f".{fraction[:digits].ljust(digits, '0')}Z" if digits else "Z"
        if not rule and fraction[digits:].strip("0"):
            rule = "fraction-dropped"
        if not rule and (bare[:19] != written[:19] or bare[-1] != "Z"):
            rule = "date-time-form"
        if not rule and bare != text:
            rule = "trimmed"
        if rule:
            add_note(notes, Change(path, excerpt(text), written, rule))
        return written

    return read


def date_time_text(seconds: float, *, milliseconds: bool = False) -> str:
    """The neutral form of a time: ``2024-05-01T10:00:00Z``, or ``2024-05-01T10:00:00.061Z``.

    Takes seconds since the epoch; what is less than the form tells is cut off.
    """
    precision = "milliseconds" if milliseconds else "seconds"
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec=precision).replace("+00:00", "Z")


def _read(text: str, path: str, local: tzinfo) -> tuple[datetime, str, str]:
    """The moment in UTC, its digits after the second, and the rule that was needed ("" for none)."""
    if EPOCH.fullmatch(text):
        return datetime.fromtimestamp(int(text[:10]), UTC), text[10:], "epoch"
    match = _DATE_TIME.fullmatch(text)
    if match is None:
        raise Violation(
            "TypeConstraintViolation", path, f"{shown(text)} is not a dateTime like '2024-05-01T10:00:00Z'"
        )
    year, month, day, hour, minute, second = (int(part or 0) for part in match.groups()[:6])
    fraction, offset = match[7] or "", match[8]
    rule, spill = "", timedelta()
    if (hour, minute, second) == (24, 0, 0) and not fraction.strip("0"):
        hour, spill, rule = 0, timedelta(days=1), "midnight-24"  # the end of a day (XML Schema 1.0, 3.2.7)
    if (minute, second) == (59, 60):
        second, fraction, rule = 59, "", "leap-second"  # which Python and most peers do not know
    try:
        moment = datetime(year, month, day, hour, minute, second) + spill
        if offset is None:
            rule = rule or _rule_of_local_time(moment, local)
            return moment.replace(tzinfo=local).astimezone(UTC), fraction, rule
        if offset in ("Z", "z", "UTC", "GMT"):
            return moment.replace(tzinfo=UTC), fraction, rule
        return moment.replace(tzinfo=_zone(offset)).astimezone(UTC), fraction, rule or "to-utc"
    except (ValueError, OverflowError) as wrong:
        problem = f"{shown(text)} is not a moment of the calendar, which was expected: {wrong}"
        raise Violation("PropertyConstraintViolation", path, problem) from None


def _rule_of_local_time(moment: datetime, local: tzinfo) -> str:
    first, second = (moment.replace(tzinfo=local, fold=fold).utcoffset() for fold in (0, 1))
    # When clocks are set, twice a year, nobody can know better; the operator at least can see it.
    return "zone-assumed" if first == second else "zone-ambiguous"


def _zone(offset: str) -> timezone:
    digits = offset[1:].replace(":", "")
    hours, minutes = (digits[:-2], digits[-2:]) if len(digits) > 2 else (digits, "0")
    shift = timedelta(hours=int(hours), minutes=int(minutes))
    if int(minutes) > 59 or shift > _LARGEST_OFFSET:
        raise ValueError(f"no place on earth is {offset} from UTC")
    return timezone(-shift if offset[0] == "-" else shift)
