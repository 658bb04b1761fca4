"""dateTime: read in every form of xs:dateTime and in the forms of the field, written in one.

The neutral form is UTC, ``2024-05-01T10:00:00Z``, or with exactly three digits of a second where
milliseconds are wanted: some peers refuse fractions or ``+00:00`` (lbbrhzn/ocpp #512, OCTT), a few demand
milliseconds (evcc #31158).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

from wattbridge.ocpp.errors import Violation
from wattbridge.ocpp.messages import Change, Note
from wattbridge.ocpp.tolerances import EPOCH

# xs:dateTime (XML Schema 1.0, 3.2.7) and what the field makes of it: a blank for the T, a comma, an offset
# without minutes (monta-app/ocpp-emulator #5), Java's zone name behind it (Java-OCA-OCPP), no seconds.
_DATE_TIME = re.compile(
    r"(\d{4})-(\d{1,2})-(\d{1,2})[Tt ](\d{1,2}):(\d{2})(?::(\d{2})(?:[.,](\d{1,30}))?)?"
    r"\s?(Z|z|UTC|GMT|[+-]\d{1,2}(?::?\d{2})?)?(?:\[[\w/+-]{1,64}\])?",
    re.ASCII,
)
_LARGEST_OFFSET = timedelta(hours=14)  # XML Schema 1.0, 3.2.7.3

DateTimeReader = Callable[[str, str, list[Note]], str]


def date_time_reader(zone: str, *, milliseconds: bool) -> DateTimeReader:
    """Make the function that reads one dateTime: ``read(text, path, notes)``.

    ``zone`` is the IANA name of the zone in which a time without offset is meant. The function gives the
    neutral form, notes what it changed, and raises Violation (TypeConstraintViolation or
    PropertyConstraintViolation) for anything that is no time.
    """
    local = UTC if zone == "UTC" else ZoneInfo(zone)

    def read(text: str, path: str, notes: list[Note]) -> str:
        # The usual form, 20 characters: only the calendar has to be looked at.
        if len(text) == 20 and text[19] == "Z" and text[10] == "T" and text[7] == "-" and not milliseconds:
            try:
                datetime.fromisoformat(text)
            except ValueError:
                pass
            else:
                return text
        return read_unusual(text, path, notes)

    def read_unusual(text: str, path: str, notes: list[Note]) -> str:
        bare = text.strip()
        moment, fraction, rule = _read(bare, path, local)
        written = moment.strftime("%Y-%m-%dT%H:%M:%S").rjust(19, "0")
        written += f".{fraction[:3].ljust(3, '0')}Z" if milliseconds else "Z"
        if not rule and fraction.rstrip("0") and len(written) < len(bare):
            rule = "fraction-dropped"
        if rule:
            notes.append(Change(path, bare, written, rule))
        return written

    return read


def _read(text: str, path: str, local: timezone | ZoneInfo) -> tuple[datetime, str, str]:
    """The moment in UTC, its digits after the second, and the rule that was needed ("" for none)."""
    if EPOCH.fullmatch(text):
        return datetime.fromtimestamp(int(text[:10]), UTC), text[10:], "epoch"
    match = _DATE_TIME.fullmatch(text)
    if match is None:
        raise Violation(
            "TypeConstraintViolation", path, f"{_shown(text)} is not a dateTime like '2024-05-01T10:00:00Z'"
        )
    year, month, day, hour, minute, second = (int(part or 0) for part in match.groups()[:6])
    fraction, offset = match[7] or "", match[8]
    rule, spill = "", timedelta()
    if hour == 24 and minute == 0 and second == 0:  # the end of a day (XML Schema 1.0, 3.2.7)
        hour, spill, rule = 0, timedelta(days=1), "midnight-24"
    if second == 60:  # a leap second, which Python and most peers do not know
        second, fraction, rule = 59, "", "leap-second"
    try:
        moment = datetime(year, month, day, hour, minute, second) + spill
        if offset is None:
            return moment.replace(tzinfo=local).astimezone(UTC), fraction, "zone-assumed"
        if offset in ("Z", "z", "UTC", "GMT"):
            odd = offset != "Z" or text[10] != "T"
            return moment.replace(tzinfo=UTC), fraction, rule or ("date-time-form" if odd else "")
        shift = _offset(offset)
        if abs(shift) > _LARGEST_OFFSET:
            raise ValueError(f"offset {offset} is beyond 14 hours")
        return moment.replace(tzinfo=timezone(shift)).astimezone(UTC), fraction, "to-utc"
    except (ValueError, OverflowError) as wrong:
        raise Violation(
            "PropertyConstraintViolation", path, f"{_shown(text)} is not a moment of the calendar: {wrong}"
        ) from None


def _offset(text: str) -> timedelta:
    sign = -1 if text[0] == "-" else 1
    digits = text[1:].replace(":", "")
    hours, minutes = (digits[:-2], digits[-2:]) if len(digits) > 2 else (digits, "0")
    if int(minutes) > 59:
        raise ValueError(f"offset {text} has no such minute")
    return sign * timedelta(hours=int(hours), minutes=int(minutes))


def _shown(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "…")
