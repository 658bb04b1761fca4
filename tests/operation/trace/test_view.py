"""An exchange as the API shows it."""

from __future__ import annotations

import json

from tests.traced import METER_VALUES, NUMBER, RELAYED, RESPONSE, TO_UTC, traced
from wattbridge.operation.trace.view import moment, row_of, whole_of

LOST = {
    "lost": "MeterValuesResponse.x",
    "value": "1",
    "rule": "unknown-field",
    "reason": "none",
    "at": "answered",
}
OLD = {"broken": "MeterValues.y", "value": "1", "rule": "schema", "reason": "too long"}


def test_a_row_of_a_list() -> None:
    assert row_of(traced(profile="acme-cc1", losses=1)) == {
        "number": NUMBER,
        "time": "2024-05-01T10:00:00.000Z",
        "charger": "BER-0001",
        "action": "MeterValues",
        "direction": "to_csms",
        "charger_transport": "soap",
        "csms_transport": "json",
        "charger_version": "1.6",
        "csms_version": "1.6",
        "outcome": "ok",
        "reason": "",
        "ms": 61.0,
        "peer_ms": 60.0,
        "route": "all",
        "upstream": "cloud",
        "profile": "acme-cc1",
        "losses": 1,
        "changes": 1,
        "size": len(METER_VALUES),
    }


def test_how_it_went_is_one_word() -> None:
    assert row_of(traced(how="kept"))["outcome"] == "kept"
    assert row_of(traced(reason="timeout", how=""))["outcome"] == "failed"
    assert whole_of(traced(reason="timeout"))["outcome_said"] == (
        "nobody answered, or a party refused: the other party did not answer in time"
    )


def test_the_whole_of_one() -> None:
    whole = whole_of(traced(notes=json.dumps([TO_UTC, LOST, OLD])))
    assert whole["asked_by"] == "charge_point"
    assert whole["sides"] == {
        "charger": {
            "transport": "soap",
            "version": "1.6",
            "message_id": "urn:uuid:4711",
            "call": METER_VALUES,
            "reply": RESPONSE,
            "call_bytes": len(METER_VALUES),
            "reply_bytes": len(RESPONSE),
            "call_note": "",
            "reply_note": "",
        },
        "csms": {
            "transport": "json",
            "version": "1.6",
            "message_id": "7d1f",
            "call": RELAYED,
            "reply": '[3,"7d1f",{}]',
            "call_bytes": len(RELAYED),
            "reply_bytes": 13,
            "call_note": "",
            "reply_note": "",
        },
    }
    assert [(note["side"], note["message"], note["what"], note["rule"]) for note in whole["notes"]] == [
        ("charger", "call", "changed", "to-utc"),
        ("csms", "reply", "lost", "unknown-field"),
        ("", "", "breach", "schema"),
    ]
    assert whole["notes"][0]["said"] == "a time with an offset was written in UTC"
    assert whole["timeline"] == [
        {"at_ms": 0.0, "what": "the charge point's call arrived"},
        {"at_ms": 0.3, "what": "read and understood"},
        {"at_ms": 0.8, "what": "the central system was asked"},
        {"at_ms": 60.8, "what": "the central system's reply was read"},
        {"at_ms": 61.0, "what": "the charge point was answered"},
    ]
    assert whole["legs"] == {"read_ms": 0.3, "peer_ms": 60.0, "write_ms": 0.2, "own_ms": 1.0}
    assert whole["pairs"][0]["json"] == "connectorId"


def test_sides_when_the_central_system_asks() -> None:
    exchange = traced(arrived_from="central_system", arrived=RELAYED, asked=METER_VALUES, replied="")
    whole = whole_of(exchange)
    assert whole["direction"] == "to_charger"
    assert (whole["sides"]["csms"]["call"], whole["sides"]["charger"]["call"]) == (RELAYED, METER_VALUES)
    assert whole["notes"][0]["side"] == "csms"
    assert whole["timeline"][-1]["what"] == "the central system was left without an answer"


def test_what_an_operator_asked_is_not_the_central_systems() -> None:
    exchange = traced(
        arrived_from="central_system", arrived=RELAYED, asked=METER_VALUES, upstream="", asked_by="operator"
    )
    whole = whole_of(exchange)
    assert (whole["asked_by"], whole["direction"], whole["upstream"]) == ("operator", "to_charger", "")
    assert [step["what"] for step in whole["timeline"]] == [
        "the operator's call arrived",
        "read and understood",
        "the charge point was asked",
        "the charge point's reply was read",
        "the operator was answered",
    ]


def test_a_party_that_was_not_asked_or_has_not_answered() -> None:
    whole = whole_of(traced(asked="", answered="", how="kept"))
    assert "the central system was not asked: kept" in [step["what"] for step in whole["timeline"]]
    whole = whole_of(traced(answered="", reason="timeout"))
    assert "no reply of the central system: timeout" in [step["what"] for step in whole["timeline"]]


def test_a_wait_for_a_connection_is_shown_and_is_not_our_time() -> None:
    whole = whole_of(traced(seconds=8.061, delay_seconds=8.0))
    assert whole["timeline"][2] == {
        "at_ms": 8000.8,
        "what": "the central system was asked when it had a connection",
    }
    assert (whole["legs"]["peer_ms"], whole["legs"]["own_ms"]) == (60.0, 1.0)


def test_times_have_milliseconds() -> None:
    assert moment(1_714_557_600.0614) == "2024-05-01T10:00:00.061Z"
