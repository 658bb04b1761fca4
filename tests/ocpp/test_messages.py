"""The neutral messages, and what is noted about them."""

from __future__ import annotations

import dataclasses

import pytest

from wattbridge.ocpp.messages import (
    MOST_NOTES,
    Call,
    CallError,
    CallResult,
    Change,
    Loss,
    Note,
    Passage,
    Side,
    add_note,
)


def test_each_side_has_another() -> None:
    assert Side.CHARGE_POINT.other is Side.CENTRAL_SYSTEM
    assert Side.CENTRAL_SYSTEM.other is Side.CHARGE_POINT


def test_messages_cannot_be_changed() -> None:
    for message in (
        Call("Reset", {"type": "Hard"}),
        CallResult({}),
        CallError("NotSupported"),
        Passage("soap", b"<a/>"),
    ):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(message, dataclasses.fields(message)[0].name, "")


def test_a_call_error_says_little_if_nothing_else_is_known() -> None:
    assert CallError("NotSupported") == CallError("NotSupported", "", {}, "call_error")
    assert CallError("NotSupported").details is not CallError("NotSupported").details


CHANGE = Change("Reset.type", " Hard", "Hard", "trimmed")
LOSS = Loss("Reset.operator", "me", "unknown-field", "Reset has no such field")


def test_notes_are_listed_in_order() -> None:
    notes: list[Note] = []
    add_note(notes, CHANGE)
    add_note(notes, LOSS)
    assert notes == [CHANGE, LOSS]


def test_of_very_many_notes_the_last_counts_the_others() -> None:
    notes: list[Note] = []
    for _ in range(MOST_NOTES):
        add_note(notes, CHANGE)
    assert notes == [CHANGE] * MOST_NOTES
    add_note(notes, CHANGE)
    assert len(notes) == MOST_NOTES
    assert notes[-1] == Change("", "2", "", "and-more")
    add_note(notes, CHANGE)
    assert notes[-1] == Change("", "3", "", "and-more")


def test_a_loss_among_those_not_listed_stays_a_loss() -> None:
    notes: list[Note] = [CHANGE] * MOST_NOTES
    add_note(notes, LOSS)
    assert notes[-1] == Loss("", "2", "and-more", "2 more notes of this message are not listed")
    add_note(notes, CHANGE)
    assert notes[-1] == Loss("", "3", "and-more", "3 more notes of this message are not listed")
    # The one that has to make room may be a loss, too.
    notes = [LOSS] * MOST_NOTES
    add_note(notes, CHANGE)
    assert isinstance(notes[-1], Loss)
