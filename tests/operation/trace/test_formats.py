"""Exchanges as files, and files as exchanges again."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from tests.exchange_files import Exchange, load_exchanges, load_older_exchanges
from tests.test_exchanges import carry, text_of
from tests.traced import METER_VALUES, NUMBER, RELAYED, TO_UTC, of_corpus, traced
from wattbridge.operation.trace import formats
from wattbridge.operation.trace.formats import BadTrace, CannotExport, exchange_folder, read_trace

# What the schema of Open OCPP Trace 1.1 requires, in our words.
SCHEMA = {
    "type": "object",
    "required": ["schemaVersion", "timestamp", "transport", "direction", "messageType"],
    "properties": {
        "schemaVersion": {"const": "1.1"},
        "timestamp": {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$"},
        "ocppVersion": {"enum": ["1.2", "1.5", "1.6"]},
        "transport": {"enum": ["json", "soap"]},
        "chargePointId": {"type": "string"},
        "connectorId": {"type": "integer", "minimum": 0},
        "direction": {"enum": ["cp-to-csms", "csms-to-cp"]},
        "messageType": {"enum": ["CALL", "CALLRESULT", "CALLERROR"]},
        "messageId": {"type": "string"},
        "action": {"type": "string"},
        "raw": {"type": "string"},
        "error": {"type": "object", "required": ["code"]},
        "meta": {"type": "object"},
    },
    "allOf": [
        {"if": {"properties": {"messageType": {"const": "CALL"}}}, "then": {"required": ["action"]}},
        {
            "if": {"properties": {"messageType": {"const": "CALLERROR"}}},
            "then": {"required": ["error"]},
            "else": {"properties": {"error": False}},
        },
    ],
}
VALIDATOR = Draft202012Validator(SCHEMA)
ALL = load_exchanges() + load_older_exchanges()


def records(exchange: Any, legs: formats.Legs = "both") -> list[dict[str, Any]]:
    return [json.loads(line) for line in formats.open_ocpp_trace(exchange, legs)]


def test_each_message_is_a_line_of_open_ocpp_trace() -> None:
    payload = {
        "connectorId": 1,
        "meterValue": [
            {"timestamp": "2024-05-01T10:00:00Z", "sampledValue": [{"value": "5.25", "unit": "Wh"}]}
        ],
    }
    usual = {
        "schemaVersion": "1.1",
        "ocppVersion": "1.6",
        "chargePointId": "BER-0001",
        "action": "MeterValues",
    }
    first, second, third, fourth = records(traced())
    assert first == usual | {
        "timestamp": "2024-05-01T10:00:00.000Z",
        "transport": "soap",
        "direction": "cp-to-csms",
        "messageType": "CALL",
        "messageId": "urn:uuid:4711",
        "connectorId": 1,
        "payload": payload,
        "meta": {
            "exchange": NUMBER,
            "leg": "charger",
            "place": "arrived",
            "envelope": METER_VALUES,
            "outcome": "ok",
            "seconds": 0.061,
            "peerSeconds": 0.06,
            "route": "all",
            "upstream": "cloud",
            "notes": [TO_UTC],
        },
    }
    assert second == usual | {
        "timestamp": "2024-05-01T10:00:00.000Z",
        "transport": "json",
        "direction": "cp-to-csms",
        "messageType": "CALL",
        "messageId": "7d1f",
        "connectorId": 1,
        "payload": payload,
        "raw": RELAYED,
        "meta": {"exchange": NUMBER, "leg": "csms", "place": "asked"},
    }
    assert (third["raw"], third["messageId"], third["direction"]) == ('[3,"7d1f",{}]', "7d1f", "csms-to-cp")
    assert (fourth["messageType"], fourth["messageId"]) == ("CALLRESULT", "urn:uuid:4711")
    assert (fourth["timestamp"], fourth["payload"]) == ("2024-05-01T10:00:00.061Z", {})
    assert records(traced(), "csms") == [second, third]
    assert records(traced(), "charger") == [first, fourth]


def test_what_cannot_be_read_is_carried_as_text() -> None:
    broken = traced(arrived="<html>", asked="", answered="", replied="", action="", reason="malformed")
    [record] = records(broken)
    assert record["meta"]["envelope"] == "<html>"
    assert (record["action"], record["meta"]["messageIdMinted"]) == ("unknown", True)
    assert "payload" not in record
    [record] = records(replace(broken, arrived="[2,", charger_transport="json"))
    assert "raw" not in record
    assert record["meta"]["text"] == "[2,"
    VALIDATOR.validate(record)


def test_a_call_without_an_id_gets_one_that_its_answer_has_too() -> None:
    bare = METER_VALUES.replace("<a:MessageID>urn:uuid:4711</a:MessageID>", "")
    first, _, _, fourth = records(traced(arrived=bare))
    assert first["messageId"] == fourth["messageId"] == f"{NUMBER}-charger"
    assert first["meta"]["messageIdMinted"] is fourth["meta"]["messageIdMinted"] is True


def test_a_refusal_is_an_error_on_both_sides() -> None:
    error = '[4,"7d1f","NotSupported","no such thing",{"a":1.5}]'
    fault = (
        '<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"><s:Body><s:Fault>'
        "<s:Code><s:Value>s:Receiver</s:Value></s:Code><s:Reason><s:Text>NotSupported: no such thing</s:Text>"
        "</s:Reason></s:Fault></s:Body></s:Envelope>"
    )
    _, _, third, fourth = records(traced(answered=error, replied=fault, reason="call_error"))
    assert third["error"] == {"code": "NotSupported", "description": "no such thing", "details": {"a": 1.5}}
    assert (fourth["messageType"], fourth["error"]["code"]) == ("CALLERROR", "NotSupported")


@pytest.mark.parametrize("exchange", ALL, ids=lambda exchange: exchange.id)
def test_the_corpus_is_a_trace_that_fits_the_schema_and_is_read_again(exchange: Exchange) -> None:
    kept = of_corpus(exchange)
    lines = list(formats.open_ocpp_trace(kept))
    for line in lines:
        record = json.loads(line)
        VALIDATOR.validate(record)
        if "raw" in record:  # it is what the fields say
            frame = json.loads(record["raw"])
            assert frame[1] == record["messageId"]
            assert {2: "CALL", 3: "CALLRESULT", 4: "CALLERROR"}[frame[0]] == record["messageType"]
            if "payload" in record and not exchange.notes:
                assert frame[-1] == record["payload"]
    # Each answer has its call, in the other direction and with the same id.
    told = list(read_trace(lines))
    calls = [(one.leg, one.message_id, one.to_csms) for one in told if one.kind == "CALL"]
    replies = [(one.leg, one.message_id, not one.to_csms) for one in told if one.kind != "CALL"]
    assert set(replies) <= set(calls)
    # Both ways back say the same.
    again = list(read_trace([formats.ndjson(kept)]))
    assert [(one.kind, one.text, one.payload) for one in again] == [
        (one.kind, one.text, one.payload) for one in told
    ]


@pytest.mark.parametrize("exchange", ALL, ids=lambda exchange: exchange.id)
def test_ndjson_is_read_as_the_same_exchange(exchange: Exchange) -> None:
    kept = of_corpus(exchange)
    assert formats.exchange_of(json.loads(formats.ndjson(kept))) == kept


def test_traces_of_others_are_read() -> None:
    """As other programs write it: version 1.0, no action in the answer, fields nobody knows."""
    lines = [
        '{"schemaVersion":"1.0","timestamp":"2024-05-01T12:00:00+02:00","transport":"json","direction":"cp-to-csms",'
        '"messageType":"CALL","messageId":"1","action":"Heartbeat","payload":{},"chargePointId":"CP1","more":1}',
        "",
        '{"schemaVersion":"1.1","timestamp":"2024-05-01T10:00:01Z","transport":"json","direction":"csms-to-cp",'
        '"messageType":"CALLRESULT","messageId":"1","chargePointId":"CP1","raw":"[3,\\"1\\",{}]"}',
    ]
    call, result = read_trace(lines)
    assert (call.when, call.action, call.payload, call.leg) == (1714557600.0, "Heartbeat", {}, "")
    assert (result.action, result.payload, result.text) == ("Heartbeat", None, '[3,"1",{}]')


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "line 1: is not JSON"),
        ("[1]", "line 1: found '[1]', expected an object"),
        ('{"a":1}', "line 1: number is missing: this is neither format of a trace"),
        ('{"schemaVersion":"2.0"}', "line 1: schemaVersion: found '2.0', expected 1.x"),
        (
            '{"schemaVersion":"1.1","messageType":"CALLS"}',
            "messageType: found 'CALLS', expected one of CALL, ",
        ),
        (
            '{"schemaVersion":"1.1","messageType":"CALL","timestamp":"noon"}',
            "timestamp: found 'noon', expected RFC",
        ),
        ("[" * 100_000, "line 1: is nested too deep"),
        (
            '{"number":1,"identity":"A","began":1,"arrived_from":"x","action":"","arrived":""}',
            "line 1: arrived_from: found 'x'",
        ),
        ('{"number":"1","identity":"A"}', "line 1: number: found '1'"),
    ],
)
def test_what_is_no_trace_is_said_with_its_line(line: str, said: str) -> None:
    with pytest.raises(BadTrace, match=said.replace("[", r"\[").replace(".", r"\.")):
        list(read_trace([line]))


def test_text_is_for_people() -> None:
    assert formats.text(traced()).splitlines() == [
        "2024-05-01T10:00:00.000Z BER-0001 → at cloud MeterValues: ok, "
        f"61.0 ms (60.0 ms of them the other party's) #{NUMBER}",
        "  from the charge point (soap 1.6)",
        f"    {METER_VALUES}",
        "  to the central system (json 1.6)",
        f"    {RELAYED}",
        "  from the central system (json 1.6)",
        '    [3,"7d1f",{}]',
        "  to the charge point (soap 1.6)",
        f"    {traced().replied}",
        "  # changed: MeterValues.meterValue[0].timestamp: "
        "2024-05-01T12:00:00+02:00 → 2024-05-01T10:00:00Z (to-utc)",
    ]


# --- the corpus ---


def written(exchange: Any, folder: Path) -> Path:
    """What is exported, as files below *folder*."""
    case, files = exchange_folder(exchange)
    place = folder / case / "exported"
    place.mkdir(parents=True)
    for name, content in files.items():
        (place / name).write_bytes(content)
    return folder / case.partition("/")[0]


def as_met(exchange: Exchange) -> Any:
    """An exchange of the corpus as a gateway met it: with its own ids and addresses, and another identity."""
    kept = of_corpus(exchange)
    changed: dict[str, Any] = {}
    for name in ("arrived", "asked", "answered", "replied"):
        text = getattr(kept, name)
        text = re.sub(r"(chargeBoxIdentity[^>]*>\s*)CP3211", r"\g<1>BER-0001", text)
        text = text.replace(
            "urn:uuid:00000000-0000-4000-8000-000000000001", "urn:uuid:5f0c1f0e-6a51-4d52-9a0e"
        )
        if name == "asked":
            text = text.replace("http://wattbridge.example/ocpp", "http://10.0.0.1:8080/ocpp")
            text = text.replace("http://10.1.2.3:8080/ocpp", "http://10.9.9.9/").replace(
                "http://central.example/services/CentralSystemService", "http://10.9.9.9/"
            )
        transport = kept.csms_transport if kept.arrived_from == "charge_point" else kept.charger_transport
        if name in ("asked", "answered") and transport == "json":
            text = text.replace('"1"', '"b304de11-700d"', 1)
        changed[name] = text
    return replace(kept, identity="BER-0001", **changed)


def exportable() -> Iterator[Exchange]:
    for exchange in ALL:
        try:
            exchange_folder(of_corpus(exchange))
        except CannotExport:
            continue
        if not exchange.before:
            yield exchange


EXPORTABLE = list(exportable())


def test_nearly_all_of_the_corpus_can_be_exported() -> None:
    assert len(EXPORTABLE) > 0.85 * len(ALL)


@pytest.mark.parametrize("exchange", EXPORTABLE, ids=lambda exchange: exchange.id)
def test_an_exported_exchange_is_the_one_of_the_corpus(exchange: Exchange, tmp_path: Path) -> None:
    folder = written(as_met(exchange), tmp_path)
    if exchange.older:
        assert folder.name == "exchanges-of-older-versions"
        [again] = load_exchanges(folder / exchange.older, exchange.older)
    else:
        [again] = load_exchanges(folder)
    assert (again.folder, again.asked_by, again.notes) == (exchange.folder, exchange.asked_by, exchange.notes)
    assert list(map(text_of, again.messages)) == list(map(text_of, exchange.messages))
    carried = carry(again)
    assert (carried.relayed, carried.replied) == (again.messages[1], again.messages[3])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"replied": ""}, "it has no call that could be read, or no answer to it"),
        ({"action": ""}, "it has no call that could be read"),
        ({"answered": ""}, "the other party was asked, and has not answered"),
        ({"how": "kept"}, "the message waits for its central system"),
        ({"csms_transport": "soap"}, "it was passed on as it is"),
        ({"charger_version": "1.5", "csms_version": "1.2"}, "both parties speak an older version"),
        (
            {"notes": json.dumps([TO_UTC | {"rule": "profile-time"}]), "profile": "acme"},
            "the profile acme has changed it",
        ),
    ],
)
def test_what_has_no_place_in_the_corpus_is_not_exported(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(CannotExport, match=said):
        exchange_folder(traced(**changes))
