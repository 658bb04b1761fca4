"""The operations, compiled: who is asked for what, and how a party on the JSON side sees it."""

from __future__ import annotations

import pytest
from lxml import etree

from tests.ocpp.strategies import CASES
from wattbridge.ocpp.actions import (
    JsonCodec,
    counted_actions,
    described_operations,
    dialect,
    in_words_of_soap,
)
from wattbridge.ocpp.errors import Violation
from wattbridge.ocpp.messages import Call, CallError, Side
from wattbridge.ocpp.payloads import Options
from wattbridge.ocpp.rules import Alias, Edit, Rules

TO_CENTRAL_SYSTEM = {
    *("Authorize", "BootNotification", "DataTransfer", "DiagnosticsStatusNotification"),
    *("FirmwareStatusNotification", "Heartbeat", "MeterValues", "StartTransaction", "StatusNotification"),
    "StopTransaction",
}
TO_CHARGE_POINT = {
    *("CancelReservation", "ChangeAvailability", "ChangeConfiguration", "ClearCache", "ClearChargingProfile"),
    *("DataTransfer", "GetCompositeSchedule", "GetConfiguration", "GetDiagnostics", "GetLocalListVersion"),
    *("RemoteStartTransaction", "RemoteStopTransaction", "ReserveNow", "Reset", "SendLocalList"),
    *("SetChargingProfile", "TriggerMessage", "UnlockConnector", "UpdateFirmware"),
}


def test_each_party_is_asked_for_its_actions() -> None:
    """OCPP 1.6, 4 and 5: 29 operations, 28 actions, for DataTransfer goes both ways."""
    operations = dialect().operations
    assert {action for side, action in operations if side is Side.CENTRAL_SYSTEM} == TO_CENTRAL_SYSTEM
    assert {action for side, action in operations if side is Side.CHARGE_POINT} == TO_CHARGE_POINT
    assert len(operations) == 29


def test_operations_are_known_by_their_element_in_any_case() -> None:
    compiled = dialect()
    operation = compiled.by_request_element[Side.CENTRAL_SYSTEM, "bootnotificationrequest"]
    assert operation is compiled.operation(Side.CENTRAL_SYSTEM, "BootNotification")
    assert operation.request.element == "bootNotificationRequest"
    assert operation.response.element == "bootNotificationResponse"
    assert operation.described.namespace == "urn://Ocpp/Cs/2015/10/"
    assert len(compiled.by_request_element) == 29


def test_messages_are_named_as_json_names_them() -> None:
    for case in CASES:
        names = (case.operation.action, f"{case.operation.action}Response")
        assert case.message.name == names[case.message is case.operation.response]


def test_an_action_of_the_other_party_is_not_supported() -> None:
    with pytest.raises(Violation) as caught:
        dialect().operation(Side.CHARGE_POINT, "BootNotification")
    assert (caught.value.code, caught.value.reason) == ("NotSupported", "unsupported")
    assert str(caught.value) == "BootNotification: is not an action that a charge point answers"


def test_an_unknown_action_is_not_implemented() -> None:
    """OCPP-J 1.6, table 7."""
    with pytest.raises(Violation) as caught:
        dialect().operation(Side.CENTRAL_SYSTEM, "GetVariables\n" * 100)
    assert (caught.value.code, caught.value.reason) == ("NotImplemented", "unsupported")
    assert str(caught.value).endswith(": is not an action of OCPP 1.6")
    assert len(caught.value.path) <= 60


def test_a_dialect_is_compiled_once_for_each_set_of_options() -> None:
    assert dialect() is dialect()
    assert dialect("1.6", Options(zone="Europe/Berlin")) is dialect("1.6", Options(zone="Europe/Berlin"))
    assert dialect("1.6", Options(zone="Europe/Berlin")) is not dialect()
    assert described_operations() is described_operations()


def test_only_commands_are_all_or_nothing() -> None:
    """Everything but a call of the central system may lose a bad part alone."""
    unknown = {"nothing": 1}
    for case in CASES:
        command = case.operation.asked is Side.CHARGE_POINT and case.message is case.operation.request
        if command:
            with pytest.raises(Violation, match="nothing"):
                case.message.read_json(unknown)
        elif not any(field.required for field in case.message.neutral):
            assert [note.rule for note in case.message.read_json(unknown)[1]] == ["unknown-field"]


# ---------------------------------------------------------------------------- as one party sees it


def test_a_central_system_is_asked_and_asks_in_json() -> None:
    codec = JsonCodec(dialect(options=Options(celsius="Celcius")), Side.CENTRAL_SYSTEM)
    call, notes = codec.read_call("Reset", {"type": " Hard"})
    assert call == Call("Reset", {"type": "Hard"})
    assert [note.rule for note in notes] == ["trimmed"]
    assert codec.write_result("Reset", {"status": "Accepted"}) == ({"status": "Accepted"}, [])

    sample = {"value": "21", "unit": "Celsius"}
    values = [{"timestamp": "2024-05-01T10:00:00Z", "sampledValue": [sample]}]
    written, notes = codec.write_call(Call("MeterValues", {"connectorId": 1, "meterValue": values}))
    assert written["meterValue"][0]["sampledValue"] == [{"value": "21", "unit": "Celcius"}]
    assert [note.rule for note in notes] == ["celcius"]
    assert codec.read_result("MeterValues", {}) == ({}, [])

    with pytest.raises(Violation, match="Heartbeat: is not an action that a charge point answers"):
        codec.read_call("Heartbeat", {})


def test_a_charge_point_is_asked_and_asks_in_json() -> None:
    codec = JsonCodec(dialect(), Side.CHARGE_POINT)
    assert codec.read_call("Heartbeat", {}) == (Call("Heartbeat", {}), [])
    time = {"currentTime": "2024-05-01T10:00:00Z"}
    assert codec.write_result("Heartbeat", time) == (time, [])
    assert codec.write_call(Call("ClearCache", {})) == ({}, [])
    assert codec.read_result("ClearCache", {"status": "Accepted"}) == ({"status": "Accepted"}, [])
    with pytest.raises(Violation, match=r"ClearCacheResponse.status: is missing"):
        codec.read_result("ClearCache", {})
    with pytest.raises(Violation, match="Reset: is not an action that a central system answers"):
        codec.read_call("Reset", {"type": "Hard"})


# --- by the rules of a profile

RULES = Rules(
    "acme",
    aliases=(Alias("BootNotificationResponse", "interval", "heartbeatInterval"),),
    edits=(
        Edit("Reset", set=(("type", "Soft"),)),
        Edit("StatusNotification", drop=("info",)),
        Edit("ResetResponse", set=(("status", "Accepted"),)),
    ),
)


def test_a_charge_point_with_rules_is_read_and_written_by_them() -> None:
    codec = JsonCodec(dialect("1.6", Options(rules=RULES)), Side.CHARGE_POINT)
    assert codec.form == ""
    status = {"connectorId": 1, "status": "Available", "errorCode": "NoError"}
    call, notes = codec.read_call("StatusNotification", {**status, "info": "x"})
    assert call.payload == status
    assert [note.rule for note in notes] == ["profile-dropped"]
    command = Call("Reset", {"type": "Hard"})
    assert codec.write_call(command)[0] == {"type": "Soft"}
    assert command.payload == {"type": "Hard"}
    assert codec.read_result("Reset", {"status": "Rejected"})[0] == {"status": "Accepted"}
    boot = {"status": "Accepted", "currentTime": "2024-05-01T10:00:00Z", "interval": 300}
    assert codec.write_result("BootNotification", boot)[0] == {**boot, "heartbeatInterval": 300}


def test_another_name_is_written_by_soap_too() -> None:
    boot = {"status": "Accepted", "currentTime": "2024-05-01T10:00:00Z", "interval": 300}
    for version, elements in (
        ("1.6", "<ocpp:interval>300</ocpp:interval><ocpp:heartbeatInterval>300</ocpp:heartbeatInterval>"),
        ("1.5", "<ocpp:heartbeatInterval>300</ocpp:heartbeatInterval>"),  # which has that name already
    ):
        compiled = dialect("1.6", Options(rules=RULES)).of(version)
        response = compiled.operation(Side.CENTRAL_SYSTEM, "BootNotification").response
        written = response.write_element(boot, response.name, [])
        assert written.count("heartbeatInterval>") == 2
        assert elements in written


def test_what_goes_by_another_dialect_is_read_by_it() -> None:
    codec = JsonCodec(dialect(), Side.CHARGE_POINT)
    codec.go_by(dialect("1.6", Options(rules=RULES)))
    assert (codec.form, codec.write_call(Call("Reset", {"type": "Hard"}))[0]) == ("", {"type": "Soft"})
    codec.go_by(dialect())
    assert codec.form == "json 1.6"


def test_rules_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="Reset has no field 'kind'"):
        dialect("1.6", Options(rules=Rules(edits=(Edit("Reset", set=(("kind", "x"),)),))))


def test_the_security_extension_is_taken_as_it_is() -> None:
    """OCPP-S, whose descriptions are the program, has none of it."""
    log = {"logType": "SecurityLog"}
    codec = JsonCodec(dialect(), Side.CENTRAL_SYSTEM)
    assert codec.read_call("GetLog", log) == (Call("GetLog", log), [])
    assert codec.write_result("GetLog", {"status": "Accepted"}) == ({"status": "Accepted"}, [])
    told = Call("LogStatusNotification", {"status": "Uploaded"})
    assert codec.write_call(told) == (told.payload, [])
    assert codec.read_result("LogStatusNotification", {}) == ({}, [])
    with pytest.raises(Violation, match=r"^GetLog: found array \[\], expected an object$"):
        codec.read_call("GetLog", [])
    # Whoever sends it that is not to send it is told so.
    with pytest.raises(Violation, match="GetLog: is not an action of OCPP"):
        JsonCodec(dialect(), Side.CHARGE_POINT).read_call("GetLog", log)


def test_what_is_counted_by_name() -> None:
    known = counted_actions(dialect())
    assert len(known) == len(set(known)) == 29 + 4
    assert (Side.CENTRAL_SYSTEM, "SecurityEventNotification") in known


# ---------------------------------------------------------------------------- older versions


@pytest.mark.parametrize(("version", "of_each"), [("1.2", (9, 9)), ("1.5", (10, 15))])
def test_an_older_version_has_fewer_operations(version: str, of_each: tuple[int, int]) -> None:
    operations = dialect(version).operations
    sides = [side for side, _ in operations]
    assert (sides.count(Side.CENTRAL_SYSTEM), sides.count(Side.CHARGE_POINT)) == of_each
    assert set(operations) < set(dialect().operations)
    with pytest.raises(Violation, match=f"TriggerMessage: is not an action of OCPP {version}"):
        dialect(version).operation(Side.CHARGE_POINT, "TriggerMessage")


def test_the_dialect_of_another_version_has_the_same_options() -> None:
    newest = dialect("1.6", Options(prefix="ns1"))
    assert newest.of("1.6") is newest
    assert newest.of("1.5") is dialect("1.5", Options(prefix="ns1"))
    assert newest.of("1.5").of("1.6") is newest


def test_messages_of_an_older_version_are_read_and_written_as_1_6() -> None:
    response = dialect("1.5").operation(Side.CENTRAL_SYSTEM, "BootNotification").response
    said = {"status": "Accepted", "currentTime": "2024-05-01T10:00:00Z", "interval": 300}
    inside = response.write_element(said, "B", [])
    assert "<ocpp:heartbeatInterval>300</ocpp:heartbeatInterval>" in inside
    element = etree.fromstring(f'<a xmlns:ocpp="urn://Ocpp/Cs/2012/06/">{inside}</a>')
    assert response.read_element(element, "B", []) == said
    assert response.read_json(said) == (said, [])


def test_what_is_asked_under_another_name_is_read_like_every_other_call() -> None:
    log = {"remoteLocation": "ftp://f/", "oldestTimestamp": "2024-05-01T12:00:00+02:00"}
    asked = Call("GetLog", {"logType": "DiagnosticsLog", "requestId": 7, "log": log})
    said = {"location": "ftp://f/", "startTime": "2024-05-01T10:00:00Z"}
    other, notes = in_words_of_soap(asked)
    assert other == Call("GetDiagnostics", said)
    assert [note.rule for note in notes] == ["to-utc"]
    refused, notes = in_words_of_soap(Call("GetLog", {**asked.payload, "retries": "three"}))
    assert isinstance(refused, CallError)
    assert (refused.code, refused.reason, notes) == ("TypeConstraintViolation", "schema", [])
    assert refused.description.startswith(
        "GetLog: as GetDiagnostics it breaks the rules: GetDiagnostics.retries"
    )
    assert in_words_of_soap(Call("InstallCertificate", {})) == (None, [])
