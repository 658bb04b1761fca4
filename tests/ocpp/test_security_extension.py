"""The security extension, as far as OCPP-S can say it. The schemas of the extension are the witnesses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator  # type: ignore[import-untyped]

from wattbridge.ocpp.actions import dialect
from wattbridge.ocpp.messages import Call, CallError, CallResult, Payload, Side
from wattbridge.ocpp.security_extension import (
    ACTIONS,
    PASSWORD_KEYS,
    ExpectedLog,
    as_data_transfer,
    ends_log,
    in_words_of_soap,
    is_of_it,
    log_asked_by,
    log_status,
    reply_to,
)

SCHEMAS = Path(__file__).parents[3] / "shared" / "reference" / "json-security"
LOG = {
    "logType": "DiagnosticsLog",
    "requestId": 7,
    "log": {
        "remoteLocation": "ftp://files.example/",
        "oldestTimestamp": "2024-05-01T10:00:00Z",
        "latestTimestamp": "2024-05-02T10:00:00Z",
    },
    "retries": 3,
    "retryInterval": 60,
}


def conforms(name: str, payload: Payload) -> bool:
    if not SCHEMAS.is_dir():
        pytest.skip("the schemas of the security extension are not here")
    schema: Any = json.loads((SCHEMAS / f"{name}.json").read_text())
    return bool(Draft7Validator(schema).is_valid(payload))


def test_its_actions_are_those_of_the_schemas() -> None:
    if not SCHEMAS.is_dir():
        pytest.skip("the schemas of the security extension are not here")
    names = {file.stem for file in SCHEMAS.glob("*.json") if not file.stem.endswith("Response")}
    assert ACTIONS[Side.CENTRAL_SYSTEM] | ACTIONS[Side.CHARGE_POINT] == names
    assert is_of_it(Side.CHARGE_POINT, "GetLog")
    assert not is_of_it(Side.CENTRAL_SYSTEM, "GetLog")
    assert not is_of_it(Side.CHARGE_POINT, "Reset")


def test_a_log_of_diagnostics_is_asked_for_as_get_diagnostics() -> None:
    assert conforms("GetLog", LOG)
    asked = in_words_of_soap(Call("GetLog", LOG))
    assert asked == Call(
        "GetDiagnostics",
        {
            "location": "ftp://files.example/",
            "startTime": "2024-05-01T10:00:00Z",
            "stopTime": "2024-05-02T10:00:00Z",
            "retries": 3,
            "retryInterval": 60,
        },
    )
    assert isinstance(asked, Call)
    operation = dialect().operation(Side.CHARGE_POINT, "GetDiagnostics")
    assert operation.request.read_json(asked.payload) == (asked.payload, [])
    least = {"logType": "DiagnosticsLog", "requestId": 7, "log": {"remoteLocation": "ftp://f/"}}
    assert in_words_of_soap(Call("GetLog", least)) == Call("GetDiagnostics", {"location": "ftp://f/"})


@pytest.mark.parametrize(
    "broken",
    [
        {"logType": "DiagnosticsLog", "requestId": 7},
        {"logType": "DiagnosticsLog", "requestId": 7, "log": {}},
        {"logType": "DiagnosticsLog", "requestId": "7", "log": {"remoteLocation": "ftp://f/"}},
        {"logType": "DiagnosticsLog", "log": {"remoteLocation": "ftp://f/"}},
    ],
)
def test_a_broken_get_log_is_refused(broken: Payload) -> None:
    refusal = in_words_of_soap(Call("GetLog", broken))
    assert isinstance(refusal, CallError)
    assert (refusal.code, refusal.reason) == ("OccurenceConstraintViolation", "schema")


@pytest.mark.parametrize(
    ("wanted", "asked"),
    [
        ("Heartbeat", "Heartbeat"),
        ("LogStatusNotification", "DiagnosticsStatusNotification"),
        ("SignChargePointCertificate", None),
    ],
)
def test_an_extended_trigger_is_a_trigger(wanted: str, asked: str | None) -> None:
    said = {"requestedMessage": wanted, "connectorId": 1}
    assert conforms("ExtendedTriggerMessage", said)
    expected = Call("TriggerMessage", {"requestedMessage": asked, "connectorId": 1}) if asked else None
    assert in_words_of_soap(Call("ExtendedTriggerMessage", said)) == expected
    del said["connectorId"]
    expected = Call("TriggerMessage", {"requestedMessage": asked}) if asked else None
    assert in_words_of_soap(Call("ExtendedTriggerMessage", said)) == expected


@pytest.mark.parametrize(
    "call",
    [Call("GetLog", {"logType": "SecurityLog", "requestId": 1, "log": {}}), Call("InstallCertificate", {})],
)
def test_the_rest_has_no_words_in_soap(call: Call) -> None:
    assert in_words_of_soap(call) is None


@pytest.mark.parametrize(
    ("call", "answered", "reply"),
    [
        ("GetLog", {"fileName": "a.log"}, {"status": "Accepted", "filename": "a.log"}),
        ("GetLog", {}, {"status": "Rejected"}),
        ("ExtendedTriggerMessage", {"status": "Rejected"}, {"status": "Rejected"}),
    ],
)
def test_the_reply(call: str, answered: Payload, reply: Payload) -> None:
    assert reply_to(Call(call, {}), CallResult(answered)) == CallResult(reply)
    assert conforms(f"{call}Response", reply)
    refusal = CallError("InternalError", "no")
    assert reply_to(Call(call, {}), refusal) is refusal


@pytest.mark.parametrize(
    ("status", "told", "is_last"),
    [
        ("Uploading", "Uploading", False),
        ("Uploaded", "Uploaded", True),
        ("UploadFailed", "UploadFailure", True),
        ("Idle", "Idle", False),
    ],
)
def test_how_the_upload_goes_is_told_as_that_of_a_log(status: str, told: str, is_last: bool) -> None:
    call = log_status({"status": status}, ExpectedLog(7))
    assert call == Call("LogStatusNotification", {"status": told, "requestId": 7})
    assert conforms("LogStatusNotification", call.payload)
    assert ends_log(call) == is_last


def test_which_log_is_told_of() -> None:
    assert log_asked_by(Call("GetLog", LOG)) == ExpectedLog(7)
    wanted = Call("ExtendedTriggerMessage", {"requestedMessage": "LogStatusNotification"})
    assert log_asked_by(wanted) == ExpectedLog(once=True)
    assert log_asked_by(Call("ExtendedTriggerMessage", {"requestedMessage": "Heartbeat"})) is None
    told = log_status({"status": "Idle"}, ExpectedLog(once=True))
    assert told == Call("LogStatusNotification", {"status": "Idle"})
    assert conforms("LogStatusNotification", told.payload)


def test_as_data_transfer() -> None:
    event = Call("SecurityEventNotification", {"type": "x"})
    carried = as_data_transfer(event, '{"type":"x"}')
    assert carried.action == "DataTransfer"
    assert carried.payload == {
        "vendorId": "org.openchargealliance.ocpp.security",
        "messageId": "SecurityEventNotification",
        "data": '{"type":"x"}',
    }
    operation = dialect().operation(Side.CENTRAL_SYSTEM, "DataTransfer")
    assert operation.request.read_json(carried.payload) == (carried.payload, [])


@pytest.mark.parametrize(
    "key", ["AuthorizationKey", "wifiPassword", "GPRS_PWD", "ApiKey", "api_key", "WifiPsk"]
)
def test_a_configuration_key_that_names_a_password(key: str) -> None:
    """Security whitepaper, 2.4; vendors have names of their own."""
    assert PASSWORD_KEYS.search(key)


@pytest.mark.parametrize("key", ["HeartbeatInterval", "AuthorizeRemoteTxRequests", "SecurityProfile"])
def test_a_configuration_key_that_names_none(key: str) -> None:
    assert not PASSWORD_KEYS.search(key)
