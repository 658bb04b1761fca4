"""Violations say where and what; the error words of the two transports correspond."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given

from tests.ocpp.strategies import ANYTHING
from wattbridge.ocpp.errors import (
    FAULT_BY_CODE,
    FAULT_CODE_BY_WORD,
    Unreachable,
    Violation,
    breaches,
    broken_reply,
    checked,
    excerpt,
    shown,
)
from wattbridge.ocpp.messages import Breach, CallError, Change, Check, Loss, Note, Passage, Payload, Side
from wattbridge.ocpp.reasons import REASONS


def test_a_violation_says_where_and_what() -> None:
    broken = Violation("PropertyConstraintViolation", "Reset.type", "'Warm' is not one of 'Hard', 'Soft'")
    assert str(broken) == "Reset.type: 'Warm' is not one of 'Hard', 'Soft'"
    assert broken.reason in REASONS
    assert str(Violation("FormationViolation", "", "found 3 bytes", "malformed")) == "found 3 bytes"


def test_unreachable_says_why() -> None:
    gone = Unreachable("timeout", "no answer within 30 s")
    assert (gone.reason, gone.description, str(gone)) == (
        "timeout",
        "no answer within 30 s",
        "no answer within 30 s",
    )


def test_every_code_of_ocpp_has_a_fault() -> None:
    """OCPP-J 1.6, table 7; with its own spelling of Occurence."""
    assert set(FAULT_BY_CODE) == {
        *(
            "NotImplemented",
            "NotSupported",
            "InternalError",
            "ProtocolError",
            "SecurityError",
            "GenericError",
        ),
        *("FormationViolation", "PropertyConstraintViolation", "OccurenceConstraintViolation"),
        "TypeConstraintViolation",
    }
    subcodes = {"SecurityError", "IdentityMismatch", "ProtocolError", "InternalError", "NotSupported"}
    for code, subcode in FAULT_BY_CODE.values():
        assert code in ("Sender", "Receiver")
        assert subcode in subcodes  # OCPP 1.5, 8.2


def test_every_word_of_a_fault_has_a_code() -> None:
    assert set(FAULT_CODE_BY_WORD.values()) <= set(FAULT_BY_CODE)
    assert all(word == word.lower() for word in FAULT_CODE_BY_WORD)
    for _, subcode in FAULT_BY_CODE.values():
        # What we write as a fault comes back as the same word, where OCPP-S has one.
        assert FAULT_CODE_BY_WORD[subcode.lower()] == subcode


DEEP: Any = []
for _ in range(100_000):
    DEEP = [DEEP]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("W", "'W'"),
        ("it's", '"it\'s"'),
        ("a\nb\0", "'a\\nb\\x00'"),
        ("x" * 60, "'" + "x" * 60 + "'"),
        ("x" * 61, "'" + "x" * 57 + "…'"),
        (None, "null"),
        (True, "true"),
        (7, "7"),
        (Decimal("8.10"), "8.10"),
        (1.5, "1.5"),
        ([1, "a", {"b": None, "ü": []}], '[1, "a", {"b": null, "ü": []}]'),
        ((1, 2), "[1, 2]"),
        ("\ud800", "'\\ud800'"),
        (["\ud800", "\n"], '["\\ud800", "\\n"]'),
        (10**5000, "a number of 16610 bits"),
        (b"x", "bytes"),
        ([0] * 1_000_000, "[" + "0, " * 19 + "0…"),
        (DEEP, "[" * 59 + "…"),
        ({"a": "x" * 1_000_000}, '{"a": "' + "x" * 52 + "…"),
    ],
    ids=range(19),
)
def test_values_are_shown_shortly(value: Any, text: str) -> None:
    assert shown(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [("W", "W"), ("a\\b", "a\\b"), ("a\nb", "a\\nb"), ("x" * 61, "x" * 59 + "…"), ([1], "[1]"), ("", "")],
)
def test_values_are_repeated_without_quotes_in_notes(value: Any, text: str) -> None:
    assert excerpt(value) == text


@given(value=ANYTHING)
def test_anything_can_be_shown(value: Any) -> None:
    assert len(excerpt(value)) <= 60
    assert excerpt(value).isprintable()
    shown(value).encode()


def test_a_broken_reply_does_not_blame_who_asked() -> None:
    broken = Violation("TypeConstraintViolation", "ResetResponse.status", "found 1, expected a string")
    assert broken_reply(broken, Side.CHARGE_POINT) == CallError(
        "InternalError",
        "the reply of the charge point breaks the rules: ResetResponse.status: found 1, expected a string",
        {"code": "TypeConstraintViolation", "path": "ResetResponse.status"},
        reason="schema",
    )


# --- what breaks the schema and is carried all the same ---

LOSS = Loss("Authorize.x", "1", "unknown-field", "OCPP has no such field here")
CHANGE = Change("Authorize.idTag", " TAG", "TAG", "trimmed")
BROKEN = Violation("OccurenceConstraintViolation", "Authorize.idTag", "is missing")


def test_what_a_translation_would_lose_breaks_the_schema_and_what_it_would_change_does_not() -> None:
    assert breaches([LOSS, CHANGE]) == (
        Breach("Authorize.x", "1", "unknown-field", "OCPP has no such field here"),
    )
    assert breaches([LOSS], BROKEN)[1:] == (Breach("Authorize.idTag", "", "schema", "is missing"),)


def test_a_field_that_another_version_has_not_breaks_no_schema() -> None:
    """The hash of a SendLocalList.req is OCPP 1.5; only where it goes to 1.6 it is lost."""
    lost = Loss("SendLocalList.hash", "9f2c", "older-field", "OCPP 1.6 has no such field")
    assert breaches([lost]) == ()
    assert looked_at([lost], "refuse", None) == (READ, ())


def looked_at(notes: list[Note] | Violation, check: Check, unread: Payload | None) -> Any:
    def read() -> tuple[Payload, list[Note]]:
        if isinstance(notes, Violation):
            raise notes
        return {"read": True}, notes

    return checked(read, unread, check)


UNREAD = {"unread": True}
READ = {"read": True}


@pytest.mark.parametrize(
    ("notes", "check", "unread", "found"),
    [
        ([LOSS], "off", UNREAD, (UNREAD, ())),
        (BROKEN, "off", UNREAD, (UNREAD, ())),
        ([LOSS], "off", None, (READ, ())),  # nothing is there before it is read
        (BROKEN, "off", None, ({}, ())),
        ([CHANGE], "report", UNREAD, (READ, ())),
        ([LOSS], "report", UNREAD, (READ, breaches([LOSS]))),
        (BROKEN, "report", UNREAD, (UNREAD, breaches([], BROKEN))),
        (BROKEN, "report", None, ({}, breaches([], BROKEN))),
        ([CHANGE], "refuse", UNREAD, (READ, ())),
    ],
)
def test_a_payload_is_looked_at_as_the_check_says(
    notes: list[Note] | Violation, check: Check, unread: Payload | None, found: Any
) -> None:
    assert looked_at(notes, check, unread) == found


def test_a_strict_check_refuses_what_breaks_the_schema() -> None:
    with pytest.raises(Violation, match=r"Authorize\.x: '1': OCPP has no such field here") as refused:
        looked_at([CHANGE, LOSS], "refuse", UNREAD)
    assert refused.value.code == "FormationViolation"
    with pytest.raises(Violation) as refused:
        looked_at(BROKEN, "refuse", None)
    assert refused.value is BROKEN


def test_whoever_is_not_reached_is_told_of_in_other_words_and_nothing_else_changes() -> None:
    asked = Passage("json", b"[2]")
    gone = Unreachable("timeout", "no answer within 30 s", asked)
    gone.waited, gone.delay = 30.0, 2.0
    again = gone.saying("StartTransaction was held")
    assert (again.reason, str(again), again.description) == (
        "timeout",
        "StartTransaction was held",
        "StartTransaction was held",
    )
    assert (again.asked, again.waited, again.delay) == (asked, 30.0, 2.0)
