"""Which messages are the same, and under which id a central system gets them."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

import pytest

from wattbridge.ocpp.messages import Call, CallResult
from wattbridge.relay.repeats import (
    MOST_METER_VALUES,
    Answered,
    Replies,
    content_key,
    message_id_of,
)

START = {"connectorId": 1, "idTag": "T", "meterStart": 0, "timestamp": "2024-05-01T10:00:00Z"}


def start(**changes: Any) -> Call:
    return Call("StartTransaction", START | changes)


def test_what_tells_a_start_from_others_is_named_and_nothing_else_counts() -> None:
    assert content_key(start()) == content_key(start(reservationId=7))
    assert content_key(start()) == content_key(Call("StartTransaction", dict(reversed(START.items()))))
    for name, value in {"connectorId": 2, "idTag": "t", "meterStart": 1, "timestamp": "x"}.items():
        assert content_key(start()) != content_key(start(**{name: value}))


@pytest.mark.parametrize("value", [2**70, "\ud800", Decimal("8.1"), None, {"b": [1], "a": True}])
def test_whatever_stands_in_a_payload_has_a_key(value: Any) -> None:
    call = Call("MeterValues", {"connectorId": 1, "odd": value})
    assert re.fullmatch("[0-9a-f]{32}", content_key(call))
    assert content_key(call) == content_key(Call("MeterValues", {"odd": value, "connectorId": 1}))
    assert content_key(call) != content_key(Call("MeterValues", {"connectorId": 1, "odd": "another"}))


def test_a_message_id_is_that_of_one_charge_point_and_one_refusal() -> None:
    """At most 36 characters (OCPP-J 1.6, 4.1.4)."""
    key = content_key(start())
    ids = {message_id_of("CP1", key), message_id_of("CP2", key), message_id_of("CP1", key, refusals=1)}
    assert len(ids) == 3
    assert {len(each) for each in ids} == {36}
    assert message_id_of("CP1", key) == message_id_of("CP1", key)


def test_the_last_replies_are_there_of_each_kind() -> None:
    replies = Replies()
    answered = Answered(CallResult({}), 0.0)
    replies.remember("StartTransaction", "start", answered)
    for number in range(MOST_METER_VALUES + 1):
        replies.remember("MeterValues", f"values {number}", answered)
    assert replies.find("start") is answered
    assert replies.find("values 0") is None
    assert replies.find("values 1") is answered
