"""OCPP 1.2 and 1.5 against 1.6: the rows are those that the descriptions ask for, and what they do."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from tests.ocpp.strategies import payloads
from wattbridge.ocpp import older
from wattbridge.ocpp.actions import Message, dialect
from wattbridge.ocpp.errors import Violation
from wattbridge.ocpp.messages import Call, CallResult, Change, Loss, Note, Original, Payload, Side
from wattbridge.ocpp.older import BOTH, OLDER_KEYS, ROWS, UNKNOWN, Connector, understood, untold
from wattbridge.ocpp.shapes import Field

TIME = "2024-05-01T10:00:00Z"
REGISTER = "Energy.Active.Import.Register"


def messages(version: str) -> Iterator[tuple[Message, Message, str]]:
    """Each message of an older version, the same of 1.6, and its namespace."""
    for (asked, action), operation in dialect(version).operations.items():
        newest = dialect().operation(asked, action)
        namespace = operation.described.namespace
        yield operation.request, newest.request, namespace
        yield operation.response, newest.response, namespace


def message(version: str, name: str, asked: Side = Side.CENTRAL_SYSTEM) -> Message:
    action = name.removesuffix("Response")
    operation = dialect(version).operation(asked, action)
    return operation.request if name == action else operation.response


def down(
    version: str, name: str, payload: Payload, asked: Side = Side.CENTRAL_SYSTEM
) -> tuple[str, list[Note]]:
    """What a neutral payload is in an envelope of *version*, and the notes."""
    notes: list[Note] = []
    said = message(version, name, asked)
    return said.write_element(payload, said.name, notes).replace("ocpp:", ""), notes


def up(version: str, name: str, inside: str, asked: Side = Side.CENTRAL_SYSTEM) -> tuple[Payload, list[Note]]:
    """What the elements *inside* a message of *version* say in 1.6, and the notes."""
    said = message(version, name, asked)
    element = etree.fromstring(f"<{said.element}>{inside}</{said.element}>")
    notes: list[Note] = []
    return said.read_element(element, said.name, notes), notes


def lines(notes: list[Note]) -> list[str]:
    """Each note as its path, what stood there, what became of it, and its rule."""
    return [
        f"{note.path}: {note.value} -> {note.became} ({note.rule})"
        if isinstance(note, Change)
        else f"{note.path}: {note.value} lost ({note.rule})"
        for note in notes
    ]


# ---------------------------------------------------------------------------- the rows


def flat(fields: tuple[Field, ...], path: str) -> dict[str, Field]:
    found = {}
    for field in fields:
        found[f"{path}.{field.name}"] = field
        found |= flat(field.fields, f"{path}.{field.name}")
    return found


@pytest.mark.parametrize("version", BOTH)
def test_every_field_that_differs_has_a_row_and_every_row_a_field_that_differs(version: str) -> None:
    """Lengths aside, which 1.2 and 1.5 mostly do not bound."""
    differing = set()
    for own, newest, _ in messages(version):
        ours, theirs = flat(own.fields, own.name), flat(newest.fields, newest.name)
        differing |= {path for path in ours.keys() ^ theirs.keys()}
        for path in ours.keys() & theirs.keys():
            mine, other = ours[path], theirs[path]
            if (mine.enum, mine.min_items) != (other.enum, other.min_items):
                differing.add(path)
    inside = {row.path for row in ROWS if version in row.versions} | {
        f"{row.message}.{row.older_name}" for row in ROWS if version in row.versions and row.older_name
    }
    unexplained = {
        path for path in differing if not any(f"{path}.".startswith(f"{known}.") for known in inside)
    }
    assert unexplained == set()
    keys = {row.path for row in ROWS if "key" in row.path.lower()}
    for row in ROWS:
        if version in row.versions and row.path not in keys:
            assert any(f"{path}.".startswith(f"{row.path}.") for path in differing), row.path


def test_every_row_tells_both_ways_and_its_source() -> None:
    for row in ROWS:
        assert all((row.up, row.down, row.source)), row.path
        assert set(row.versions) <= set(BOTH)


@pytest.mark.parametrize("version", BOTH)
def test_words_are_words_of_their_versions(version: str) -> None:
    own = {said.name: said for said, _, _ in messages(version)}
    newest = {said.name: said for _, said, _ in messages(version)}
    for row in ROWS:
        if version in row.versions and (row.words_up or row.words_down or row.transient):
            [ours] = [field.enum for field in own[row.message].fields if field.name == row.field]
            [theirs] = [field.enum for field in newest[row.message].fields if field.name == row.field]
            assert set(row.words_up) | set(row.words_down.values()) <= set(ours)
            assert set(row.words_down) | set(row.words_up.values()) <= set(theirs)
            # And whatever the older version has no word for is translated, or left untold.
            assert set(theirs) - set(ours) <= set(row.words_down) | set(row.transient)
            assert row.unnoted <= set(row.words_up) | set(row.words_down)


def test_what_1_5_cannot_say_of_a_sample_is_what_its_description_lacks() -> None:
    own = flat(message("1.5", "MeterValues").fields, "MeterValues")
    newest = flat(message("1.6", "MeterValues").neutral, "MeterValues")
    for name, words in older.NOT_IN_15.items():
        ours = set(own[f"MeterValues.values.value.{name}"].enum)
        theirs = set(newest[f"MeterValues.meterValue.sampledValue.{name}"].enum)
        translated = {"unit": {"A", "V", "K", "Fahrenheit", "Celcius"}}.get(name, set())
        assert theirs - ours - translated == words
    assert set(own["MeterValues.values.value.format"].enum) == {"Raw", "SignedData"}


# ---------------------------------------------------------------------------- there and back


def generic(path: str) -> str:
    """A path of either version, without its indices."""
    bare = re.sub(r"\[\d+\]", "", path)
    bare = bare.replace("transactionData.values.value", "transactionData.sampledValue")
    bare = bare.replace("transactionData.values", "transactionData")
    bare = bare.replace("MeterValues.values.value", "MeterValues.meterValue.sampledValue")
    bare = bare.replace("MeterValues.values", "MeterValues.meterValue")
    return bare.replace("localAuthorisationList", "localAuthorizationList")


USUAL = {
    "context": "Sample.Periodic", "format": "Raw", "measurand": REGISTER, "location": "Outlet",
}  # fmt: skip


def without_defaults(payload: Any) -> Any:
    """Absent means the usual (OCPP 1.6, SampledValue and StopTransaction.req), no list an empty one, and no
    remark an empty one."""
    if isinstance(payload, list):
        return [without_defaults(item) for item in payload]
    if not isinstance(payload, dict):
        return payload
    plain = {name: without_defaults(value) for name, value in payload.items() if value != []}
    if "value" in plain and "readonly" not in plain and "key" not in plain:
        plain = {name: value for name, value in plain.items() if USUAL.get(name) != value}
        if plain.get("unit") == "Wh" and plain.get("measurand", REGISTER).startswith("Energy.Active"):
            del plain["unit"]
    usual = {("reason", "Local"), ("info", ""), ("vendorId", ""), ("vendorErrorCode", "")}
    return {name: value for name, value in plain.items() if (name, str(value)) not in usual}


def differing(before: Any, after: Any, path: str) -> Iterator[str]:
    if isinstance(before, dict) and isinstance(after, dict):
        for name in before.keys() | after.keys():
            yield from differing(before.get(name), after.get(name), f"{path}.{name}")
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for one, other in zip(before, after, strict=True):
            yield from differing(one, other, path)
    elif before != after:
        yield path


NUMBERS = st.decimals(-(10**6), 10**6, places=3).map(lambda number: format(number.normalize(), "f"))


@st.composite
def with_numbers(draw: st.DrawFn, fields: tuple[Field, ...]) -> Payload:
    """Payloads whose meter values are numbers as a rule, and of several phases often."""
    payload = copy.deepcopy(draw(payloads(fields)))
    for name in ("meterValue", "transactionData"):
        for meter_value in payload.get(name, []):
            for sample in meter_value["sampledValue"]:
                if draw(st.integers(0, 4)):
                    sample["value"] = draw(NUMBERS)
            if draw(st.booleans()):
                first = meter_value["sampledValue"][0]
                for phase in draw(st.lists(st.sampled_from(["L1", "L2", "L3", "N", "L1-N"]), max_size=3)):
                    meter_value["sampledValue"].append({**first, "phase": phase, "value": draw(NUMBERS)})
    return payload


ROUND_TRIPS = [
    (version, own, newest, namespace) for version in BOTH for own, newest, namespace in messages(version)
]


@pytest.mark.parametrize(
    ("version", "own", "newest", "namespace"),
    ROUND_TRIPS,
    ids=[f"{version} {own.name} {namespace[11:13]}" for version, own, _, namespace in ROUND_TRIPS],
)
@given(data=st.data())
def test_1_6_to_an_older_version_and_back_changes_what_is_noted_and_nothing_else(
    version: str, own: Message, newest: Message, namespace: str, data: st.DataObject
) -> None:
    payload = data.draw(with_numbers(newest.fields))
    before = copy.deepcopy(payload)
    if untold(Call(own.name, payload), version) is not None:
        return
    notes: list[Note] = []
    inside = own.write_element(payload, own.name, notes)
    assert payload == before  # it may be sent to somebody else, too
    text = f'<ocpp:{own.element} xmlns:ocpp="{namespace}">{inside}</ocpp:{own.element}>'
    back = own.read_element(etree.fromstring(text.encode()), own.name, notes)
    if back.get("status") == "Occupied" and own.name == "StatusNotification":
        call, more = understood(Call("StatusNotification", back), UNKNOWN)
        back, notes = call.payload, [*notes, *more]
    expected, found = without_defaults(payload), without_defaults(back)
    noted = {generic(note.path) for note in notes}
    unnoted = [
        path
        for path in differing(expected, found, own.name)
        if not any(f"{path}.".startswith(f"{one}.") or f"{one}.".startswith(f"{path}.") for one in noted)
    ]
    assert unnoted == [], (payload, back, notes)
    # A second journey finds nothing more to change.
    again: list[Note] = []
    own.write_element(back, own.name, again)
    assert [note for note in again if isinstance(note, Loss) and note.rule != "older-field"] == []


# ---------------------------------------------------------------------------- boot, status, words


@pytest.mark.parametrize("version", BOTH)
def test_the_interval_has_another_name(version: str) -> None:
    said = {"status": "Accepted", "currentTime": TIME, "interval": 300}
    text = (
        f"<status>Accepted</status><currentTime>{TIME}</currentTime>"
        "<heartbeatInterval>300</heartbeatInterval>"
    )
    assert down(version, "BootNotificationResponse", said) == (text, [])
    assert up(version, "BootNotificationResponse", text) == (said, [])


def test_the_interval_of_1_6_is_understood_in_an_envelope_of_1_5() -> None:
    text = f"<status>Accepted</status><currentTime>{TIME}</currentTime><interval>300</interval>"
    payload, notes = up("1.5", "BootNotificationResponse", text)
    assert payload == {"status": "Accepted", "currentTime": TIME, "interval": 300}
    assert lines(notes) == [
        "BootNotificationResponse.heartbeatInterval: interval -> heartbeatInterval (field-alias)"
    ]


def test_a_central_system_of_1_2_need_not_say_an_interval() -> None:
    payload, notes = up("1.2", "BootNotificationResponse", "<status>Rejected</status>")
    assert payload == {"status": "Rejected", "interval": 900}
    assert lines(notes) == ["BootNotificationResponse.interval:  -> 900 (older-default)"]


def test_a_boot_that_is_answered_without_a_time_gets_one() -> None:
    reply = CallResult({"status": "Rejected", "interval": 900})
    told, notes = older.with_time(reply, TIME)
    assert told == CallResult({**reply.payload, "currentTime": TIME})
    assert lines(list(notes)) == [f"BootNotificationResponse.currentTime:  -> {TIME} (older-default)"]
    assert older.with_time(told, "later") == (told, ())
    passing = CallResult({}, Original("soap 1.2", b""))
    assert older.with_time(passing, TIME) == (passing, ())


@pytest.mark.parametrize("version", BOTH)
def test_pending_becomes_rejected(version: str) -> None:
    text, notes = down(
        version, "BootNotificationResponse", {"status": "Pending", "currentTime": TIME, "interval": 60}
    )
    assert text.startswith("<status>Rejected</status>")
    assert lines(notes) == ["BootNotificationResponse.status: Pending -> Rejected (older-word)"]


STATUS = "<connectorId>1</connectorId><status>{}</status><errorCode>{}</errorCode>"


@pytest.mark.parametrize(
    ("version", "status", "became"),
    [
        ("1.5", "Charging", "Occupied"),
        ("1.5", "Preparing", "Occupied"),
        ("1.5", "SuspendedEV", "Occupied"),
        ("1.5", "SuspendedEVSE", "Occupied"),
        ("1.5", "Finishing", "Occupied"),
        ("1.5", "Reserved", "Reserved"),
        ("1.5", "Occupied", "Occupied"),
        ("1.2", "Charging", "Occupied"),
        ("1.2", "Reserved", "Unavailable"),
        ("1.2", "Faulted", "Faulted"),
    ],
)
def test_a_status_is_folded(version: str, status: str, became: str) -> None:
    text, notes = down(
        version, "StatusNotification", {"connectorId": 1, "status": status, "errorCode": "NoError"}
    )
    assert text == STATUS.format(became, "NoError")
    told = [] if became == status else [f"StatusNotification.status: {status} -> {became} (older-word)"]
    assert lines(notes) == told


@pytest.mark.parametrize(
    ("version", "code", "became", "noted"),
    [
        ("1.5", "EVCommunicationError", "Mode3Error", False),
        ("1.5", "OverVoltage", "OtherError", True),
        ("1.5", "WeakSignal", "WeakSignal", False),
        ("1.2", "EVCommunicationError", "Mode3Error", False),
        ("1.2", "WeakSignal", "Mode3Error", True),
        ("1.2", "HighTemperature", "HighTemperature", False),
    ],
)
def test_an_error_code_is_folded(version: str, code: str, became: str, noted: bool) -> None:
    text, notes = down(
        version, "StatusNotification", {"connectorId": 1, "status": "Faulted", "errorCode": code}
    )
    assert text == STATUS.format("Faulted", became)
    assert bool(notes) == noted


@pytest.mark.parametrize("version", BOTH)
def test_mode_3_error_has_another_name(version: str) -> None:
    payload, notes = up(version, "StatusNotification", STATUS.format("Faulted", "Mode3Error"))
    assert payload == {"connectorId": 1, "status": "Faulted", "errorCode": "EVCommunicationError"}
    assert notes == []


def test_what_1_2_has_no_field_for_is_lost() -> None:
    said = {
        "connectorId": 1, "status": "Available", "errorCode": "NoError", "info": "ok", "timestamp": TIME,
        "vendorId": "com.acme", "vendorErrorCode": "0",
    }  # fmt: skip
    text, notes = down("1.2", "StatusNotification", said)
    assert text == STATUS.format("Available", "NoError")
    assert lines(notes) == [
        "StatusNotification.info: ok lost (older-field)",
        f"StatusNotification.timestamp: {TIME} lost (older-field)",
        "StatusNotification.vendorId: com.acme lost (older-field)",
        "StatusNotification.vendorErrorCode: 0 lost (older-field)",
    ]


@pytest.mark.parametrize(
    ("connector", "status"),
    [
        (Connector(transaction_id=7), "Charging"),
        (Connector(transaction_id=7, has_charged=True), "Charging"),
        (Connector(has_charged=True), "Finishing"),
        (UNKNOWN, "Preparing"),
    ],
)
def test_what_occupied_means_the_connector_tells(connector: Connector, status: str) -> None:
    payload, notes = up("1.5", "StatusNotification", STATUS.format("Occupied", "NoError"))
    assert (payload["status"], notes) == ("Occupied", [])
    call = Call("StatusNotification", payload)
    assert older.asks_for_connector(call, "1.5")
    told, more = understood(call, connector)
    assert told.payload == {"connectorId": 1, "status": status, "errorCode": "NoError"}
    assert lines(list(more)) == [f"StatusNotification.status: Occupied -> {status} (older-word)"]


def test_the_whole_charge_point_can_be_no_more_than_available() -> None:
    call = Call("StatusNotification", {"connectorId": 0, "status": "Occupied", "errorCode": "NoError"})
    assert understood(call, Connector(7))[0].payload["status"] == "Available"


def test_words_of_1_6_are_understood_in_an_envelope_of_1_5() -> None:
    """vasyas says Preparing in 1.5."""
    payload, notes = up("1.5", "StatusNotification", STATUS.format("Preparing", "InternalError"))
    assert payload == {"connectorId": 1, "status": "Preparing", "errorCode": "InternalError"}
    assert notes == []
    assert not older.asks_for_connector(Call("StatusNotification", payload), "1.5")


@pytest.mark.parametrize(
    ("version", "call", "asks"),
    [
        ("1.6", Call("StatusNotification", {"status": "Occupied"}), False),
        ("1.2", Call("StatusNotification", {"status": "Occupied"}), True),
        ("1.2", Call("MeterValues", {"connectorId": 1}), True),
        ("1.2", Call("MeterValues", {"connectorId": 1, "transactionId": 7}), False),
        ("1.5", Call("MeterValues", {"connectorId": 1}), False),
        ("1.5", Call("Heartbeat", {}), False),
    ],
)
def test_few_messages_need_to_know_their_connector(version: str, call: Call, asks: bool) -> None:
    assert older.asks_for_connector(call, version) == asks


@pytest.mark.parametrize(
    ("version", "action", "status", "is_untold"),
    [
        ("1.5", "FirmwareStatusNotification", "Downloading", True),
        ("1.2", "FirmwareStatusNotification", "Idle", True),
        ("1.5", "FirmwareStatusNotification", "Installed", False),
        ("1.6", "FirmwareStatusNotification", "Downloading", False),
        ("1.5", "DiagnosticsStatusNotification", "Uploading", True),
        ("1.5", "DiagnosticsStatusNotification", "Uploaded", False),
    ],
)
def test_transient_states_are_confirmed_here(version: str, action: str, status: str, is_untold: bool) -> None:
    answer = untold(Call(action, {"status": status}), version)
    if not is_untold:
        assert answer is None
        return
    assert answer is not None
    assert answer[0] == CallResult({})
    assert lines(list(answer[1])) == [f"{action}.status: {status} lost (older-word)"]


@pytest.mark.parametrize("version", BOTH)
@pytest.mark.parametrize(
    ("name", "newer", "word", "back"),
    [
        ("UnlockConnectorResponse", "Unlocked", "Accepted", "Unlocked"),
        ("UnlockConnectorResponse", "UnlockFailed", "Rejected", "UnlockFailed"),
        ("UnlockConnectorResponse", "NotSupported", "Rejected", "UnlockFailed"),
        ("ChangeConfigurationResponse", "RebootRequired", "Accepted", "Accepted"),
        ("ChangeConfigurationResponse", "NotSupported", "NotSupported", "NotSupported"),
    ],
)
def test_words_of_results(version: str, name: str, newer: str, word: str, back: str) -> None:
    text, notes = down(version, name, {"status": newer}, Side.CHARGE_POINT)
    assert text == f"<status>{word}</status>"
    assert bool(notes) == (newer != back)
    assert up(version, name, text, Side.CHARGE_POINT) == ({"status": back}, [])


# ---------------------------------------------------------------------------- commands


def test_a_charging_profile_is_left_out_and_the_order_is_that_of_1_5() -> None:
    profile = {"chargingProfileId": 1}
    said = {"connectorId": 1, "idTag": "04E91C5A", "chargingProfile": profile}
    text, notes = down("1.5", "RemoteStartTransaction", said, Side.CHARGE_POINT)
    assert text == "<idTag>04E91C5A</idTag><connectorId>1</connectorId>"
    [loss] = notes
    assert isinstance(loss, Loss)
    assert (loss.path, loss.rule) == ("RemoteStartTransaction.chargingProfile", "older-field")
    assert loss.rule in older.BY_RULE
    assert loss.reason == "OCPP 1.2 and 1.5 has no such field"


def test_the_local_list_of_1_5() -> None:
    said = {
        "listVersion": 3, "updateType": "Full",
        "localAuthorizationList": [{"idTag": "A", "idTagInfo": {"status": "Accepted"}}],
    }  # fmt: skip
    text, notes = down("1.5", "SendLocalList", said, Side.CHARGE_POINT)
    assert text == (
        "<updateType>Full</updateType><listVersion>3</listVersion><localAuthorisationList><idTag>A</idTag>"
        "<idTagInfo><status>Accepted</status></idTagInfo></localAuthorisationList>"
    )
    assert notes == []
    payload, notes = up("1.5", "SendLocalList", f"{text}<hash>ab12</hash>", Side.CHARGE_POINT)
    assert payload == said
    assert lines(notes) == ["SendLocalList.hash: ab12 lost (older-field)"]
    newer = text.replace("Authorisation", "Authorization")
    payload, notes = up("1.5", "SendLocalList", newer, Side.CHARGE_POINT)
    assert payload == said
    assert [note.rule for note in notes] == ["field-alias"]


def test_the_reply_to_a_local_list() -> None:
    payload, notes = up(
        "1.5", "SendLocalListResponse", "<status>HashError</status><hash>x</hash>", Side.CHARGE_POINT
    )
    assert payload == {"status": "Failed"}
    assert lines(notes) == [
        "SendLocalListResponse.hash: x lost (older-field)",
        "SendLocalListResponse.status: HashError -> Failed (older-word)",
    ]


def test_configuration_keys_have_other_names() -> None:
    text, notes = down(
        "1.5", "GetConfiguration", {"key": ["heartbeatInterval", "ResetRetries"]}, Side.CHARGE_POINT
    )
    assert text == "<key>HeartBeatInterval</key><key>ResetRetries</key>"
    assert lines(notes) == ["GetConfiguration.key[0]: heartbeatInterval -> HeartBeatInterval (older-key)"]
    payload, notes = up(
        "1.5",
        "GetConfigurationResponse",
        "<configurationKey><key>HEARTBEATINTERVAL</key><readonly>false</readonly><value>60</value>"
        "</configurationKey><unknownKey>HeartBeatInterval</unknownKey><unknownKey>Sparkle</unknownKey>",
        Side.CHARGE_POINT,
    )
    assert payload == {
        "configurationKey": [{"key": "HeartbeatInterval", "readonly": False, "value": "60"}],
        "unknownKey": ["HeartbeatInterval", "Sparkle"],
    }
    assert lines(notes) == [
        "GetConfigurationResponse.configurationKey[0].key: HEARTBEATINTERVAL -> HeartbeatInterval "
        "(older-key)",
        "GetConfigurationResponse.unknownKey[0]: HeartBeatInterval -> HeartbeatInterval (older-key)",
    ]
    assert up("1.5", "GetConfiguration", "", Side.CHARGE_POINT) == ({}, [])
    text, _ = down(
        "1.2", "ChangeConfiguration", {"key": "HeartbeatInterval", "value": "60"}, Side.CHARGE_POINT
    )
    assert text == "<key>HeartBeatInterval</key><value>60</value>"
    payload, _ = up("1.2", "ChangeConfiguration", text, Side.CHARGE_POINT)
    assert payload == {"key": "HeartbeatInterval", "value": "60"}
    assert all(name.lower() == value.lower() for name, value in OLDER_KEYS.items())


def test_texts_longer_than_1_6_has_them_are_cut_and_names_are_not() -> None:
    boot = f"<chargePointVendor>{'v' * 21}</chargePointVendor><chargePointModel>M</chargePointModel>"
    payload, notes = up("1.2", "BootNotification", boot)
    assert payload == {"chargePointVendor": "v" * 20, "chargePointModel": "M"}
    assert lines(notes) == [f"BootNotification.chargePointVendor: {'v' * 21} -> {'v' * 20} (older-length)"]
    with pytest.raises(Violation, match=r"Authorize\.idTag: 't+' has 21 characters"):
        up("1.2", "Authorize", f"<idTag>{'t' * 21}</idTag>")


def test_blanks_around_an_id_tag_of_1_2_are_no_part_of_it() -> None:
    payload, notes = up("1.2", "Authorize", f"<idTag>\n  {'t' * 20}\n</idTag>")
    assert payload == {"idTag": "t" * 20}
    assert [note.rule for note in notes] == ["trimmed"]


# ---------------------------------------------------------------------------- meter values


def values_15(*values: str) -> str:
    inside = "".join(values)
    return f"<connectorId>1</connectorId><values><timestamp>{TIME}</timestamp>{inside}</values>"


def samples(*found: dict[str, str]) -> Payload:
    return {"connectorId": 1, "meterValue": [{"timestamp": TIME, "sampledValue": list(found)}]}


def test_meter_values_of_1_5_and_back() -> None:
    text = values_15(
        '<value measurand="Current.Import" unit="Amp">16</value>',
        '<value measurand="Voltage" unit="Volt">230</value>',
        '<value context="Sample.Clock" format="Raw" location="Outlet">1200</value>',
    )
    said = samples(
        {"value": "16", "measurand": "Current.Import", "unit": "A"},
        {"value": "230", "measurand": "Voltage", "unit": "V"},
        {"value": "1200", "context": "Sample.Clock", "format": "Raw", "location": "Outlet"},
    )
    assert up("1.5", "MeterValues", text) == (said, [])
    assert down("1.5", "MeterValues", said) == (text, [])


def test_meter_values_of_1_2_and_back() -> None:
    text = f"<connectorId>1</connectorId><values><timestamp>{TIME}</timestamp><value>1200</value></values>"
    said = samples({"value": "1200", "measurand": REGISTER, "unit": "Wh"})
    assert up("1.2", "MeterValues", text) == (said, [])
    assert down("1.2", "MeterValues", said) == (text, [])
    text, notes = down("1.2", "MeterValues", said | {"transactionId": 7})
    assert lines(notes) == ["MeterValues.transactionId: 7 lost (older-field)"]


def test_meter_values_of_1_2_get_the_transaction_of_their_connector() -> None:
    call = Call("MeterValues", samples({"value": "1"}))
    told, notes = understood(call, Connector(transaction_id=7))
    assert told.payload == call.payload | {"transactionId": 7}
    assert lines(list(notes)) == ["MeterValues.transactionId:  -> 7 (open-transaction)"]
    assert understood(call, UNKNOWN) == (call, ())


def test_meter_values_of_1_6_in_an_envelope_of_1_5() -> None:
    """vasyas sends them unqualified; Efacec QC45 nests values in values."""
    newer = (
        f"<connectorId>1</connectorId><meterValue><timestamp>{TIME}</timestamp><sampledValue>"
        "<value>55</value><measurand>SoC</measurand><unit>Percent</unit></sampledValue></meterValue>"
    )
    assert up("1.5", "MeterValues", newer) == (
        samples({"value": "55", "measurand": "SoC", "unit": "Percent"}),
        [],
    )
    nested = values_15(
        "<values><value>230</value><measurand>Voltage</measurand><phase>L1</phase><unit>V</unit></values>"
    )
    assert up("1.5", "MeterValues", nested) == (
        samples({"value": "230", "measurand": "Voltage", "phase": "L1", "unit": "V"}),
        [],
    )
    attribute = values_15('<value measurand="Voltage" phase="L1">230</value>')
    assert up("1.5", "MeterValues", attribute) == (
        samples({"value": "230", "measurand": "Voltage", "phase": "L1"}),
        [],
    )


@pytest.mark.parametrize(
    ("inside", "lost"),
    [
        ("", ["MeterValues.meterValue:  lost (empty-meter-values)"]),
        (f"<values><timestamp>{TIME}</timestamp></values>", ["MeterValues.values[0]:  lost (bad-item)"]),
        (
            f'<values><timestamp>{TIME}</timestamp><value unit="furlong">1</value></values>',
            ["MeterValues.values[0].value[0].unit: 1 lost (bad-item)"],
        ),
    ],
)
def test_meter_values_that_say_nothing(inside: str, lost: list[str]) -> None:
    payload, notes = up("1.5", "MeterValues", f"<connectorId>1</connectorId>{inside}")
    assert payload == {"connectorId": 1}
    assert lines(notes) == lost


SOC = {"value": "55", "measurand": "SoC", "unit": "Percent"}


@pytest.mark.parametrize(
    ("sample", "written", "noted"),
    [
        (SOC, "", ["{}: SoC 55 lost (older-sample)"]),
        (
            {"value": "1", "context": "Trigger", "location": "Cable"},
            "<value>1</value>",
            ["{}.context: Trigger lost (older-field)", "{}.location: Cable lost (older-field)"],
        ),
        (
            {"value": "300.15", "measurand": "Temperature", "unit": "K"},
            '<value measurand="Temperature" unit="Celsius">27</value>',
            ["{}: 300.15 K -> 27 Celsius (older-unit)"],
        ),
        (
            {"value": "70", "measurand": "Temperature", "unit": "Fahrenheit"},
            '<value measurand="Temperature" unit="Celsius">21.11</value>',
            ["{}: 70 Fahrenheit -> 21.11 Celsius (older-unit)"],
        ),
        (
            {"value": "hot", "measurand": "Temperature", "unit": "K"},
            "",
            ["{}: hot lost (older-sample)"],
        ),
        (
            {"value": "7.5", "measurand": "Power.Active.Import", "unit": "kVA"},
            '<value measurand="Power.Active.Import">7500</value>',
            ["{}: 7.5 kVA -> 7500 VA (older-unit)", "{}.unit: kVA lost (older-field)"],
        ),
        (
            {"value": "7.5", "measurand": "Power.Active.Import", "unit": "VA"},
            '<value measurand="Power.Active.Import">7.5</value>',
            ["{}.unit: VA lost (older-field)"],
        ),
        (
            {"value": "many", "measurand": "Power.Active.Import", "unit": "kVA"},
            "",
            ["{}: many kVA lost (older-sample)"],
        ),
        ({"value": "7", "unit": "VA"}, "", ["{}: 7 VA lost (older-sample)"]),
    ],
)
def test_a_sample_that_1_5_cannot_say(sample: dict[str, str], written: str, noted: list[str]) -> None:
    beside = {"value": "9", "measurand": "Voltage"}
    text, notes = down("1.5", "MeterValues", samples(beside, sample))
    assert text == values_15('<value measurand="Voltage">9</value>', written)
    assert lines(notes) == [note.format("MeterValues.meterValue[0].sampledValue[1]") for note in noted]


def phases(measurand: str, unit: str, *values: tuple[str, str]) -> list[dict[str, str]]:
    return [
        {"value": value, "measurand": measurand, "unit": unit} | ({"phase": phase} if phase else {})
        for phase, value in values
    ]


FIRST = "MeterValues.meterValue[0].sampledValue"


@pytest.mark.parametrize(
    ("said", "written", "noted"),
    [
        (  # the sum stands beside them
            phases(REGISTER, "Wh", ("", "30"), ("L1", "10"), ("L2", "9"), ("L3", "11")),
            f'<value measurand="{REGISTER}" unit="Wh">30</value>',
            [
                f"{FIRST}[{i}]: {said} lost (older-phase)"
                for i, said in ((1, "L1 10"), (2, "L2 9"), (3, "L3 11"))
            ],
        ),
        (  # they are added up
            phases(REGISTER, "kWh", ("L3", "0.3"), ("L1", "0.1"), ("L2", "0.25")),
            f'<value measurand="{REGISTER}" unit="kWh">0.65</value>',
            [f"{FIRST}[1]: L1 0.1, L2 0.25, L3 0.3 -> 0.65 (older-phase)"],
        ),
        (
            phases("Power.Active.Import", "W", ("L1-N", "100"), ("L2-N", "50"), ("N", "7")),
            '<value measurand="Power.Active.Import" unit="W">150</value>',
            [f"{FIRST}[0]: L1-N 100, L2-N 50 -> 150 (older-phase)", f"{FIRST}[2]: N 7 lost (older-phase)"],
        ),
        (  # in what they have in common
            [
                {"value": "1", "unit": "kWh", "phase": "L1"},
                {"value": "2000", "unit": "Wh", "phase": "L2"},
                {"value": "3000", "phase": "L3"},
            ],
            '<value unit="Wh">6000</value>',
            [f"{FIRST}[0]: L1 1000, L2 2000, L3 3000 -> 6000 (older-phase)"],
        ),
        (
            [
                {"value": "1", "unit": "kWh", "phase": "L1"},
                {"value": "2000", "unit": "Wh"},
            ],
            '<value unit="Wh">2000</value>',
            [f"{FIRST}[0]: L1 1 lost (older-phase)"],
        ),
        (  # a voltage has no sum: one phase is kept
            phases("Voltage", "V", ("L1", "230"), ("L2", "231"), ("L3", "229")),
            '<value measurand="Voltage" unit="Volt">230</value>',
            [
                f"{FIRST}[0].phase: L1 lost (older-phase)",
                f"{FIRST}[1]: L2 231 lost (older-phase)",
                f"{FIRST}[2]: L3 229 lost (older-phase)",
            ],
        ),
        (  # no number has no sum either
            phases(REGISTER, "Wh", ("L1", "many"), ("L2", "9")),
            f'<value measurand="{REGISTER}" unit="Wh">many</value>',
            [f"{FIRST}[0].phase: L1 lost (older-phase)", f"{FIRST}[1]: L2 9 lost (older-phase)"],
        ),
        (  # between two phases is no phase
            phases("Voltage", "V", ("L1-L2", "400")),
            None,
            [f"{FIRST}[0]: L1-L2 400 lost (older-phase)"],
        ),
        (  # the same phase twice is no sum
            phases(REGISTER, "Wh", ("L1", "1"), ("L1", "2")),
            f'<value measurand="{REGISTER}" unit="Wh">1</value>',
            [f"{FIRST}[0].phase: L1 lost (older-phase)", f"{FIRST}[1]: L1 2 lost (older-phase)"],
        ),
    ],
)
def test_phases_never_become_several_values_of_the_same(
    said: list[dict[str, str]], written: str | None, noted: list[str]
) -> None:
    text, notes = down("1.5", "MeterValues", samples(*said))
    assert text == (values_15(written) if written is not None else "<connectorId>1</connectorId>")
    assert lines(notes) == noted


@pytest.mark.parametrize(
    ("said", "value", "noted"),
    [
        ([{"value": "1.5", "unit": "kWh"}], 1500, [f"{FIRST}[0]: 1.5 kWh -> 1500 Wh (older-unit)"]),
        ([{"value": "10.5"}], 11, [f"{FIRST}[0]: 10.5 Wh -> 11 Wh (older-unit)"]),
        (phases(REGISTER, "Wh", ("L1", "10"), ("L2", "9")), 19,
         [f"{FIRST}[0]: L1 10, L2 9 -> 19 (older-phase)"]),
        ([{"value": "5", "context": "Transaction.Begin"}], 5,
         [f"{FIRST}[0].context: Transaction.Begin lost (older-field)"]),
        ([{"value": "5"}, {"value": "6", "location": "Inlet"}], 5,
         [f"{FIRST}[1].location: Inlet lost (older-field)", f"{FIRST}[1]: 6 lost (older-sample)"]),
        ([{"value": "5", "location": "Inlet"}, {"value": "6"}], 6,
         [f"{FIRST}[0].location: Inlet lost (older-field)", f"{FIRST}[0]: 5 lost (older-sample)"]),
        ([{"value": "5"}, {"value": "16", "measurand": "Current.Import", "unit": "A"}], 5,
         [f"{FIRST}[1]: Current.Import 16 A lost (older-sample)"]),
        ([{"value": "5"}, {"value": "c2lnbmVk", "format": "SignedData"}], 5,
         [f"{FIRST}[1]: {REGISTER} c2lnbmVk Wh lost (older-sample)"]),
        ([{"value": "5"}, {"value": "1e9", "unit": "kWh"}], 5,
         [f"{FIRST}[1]: 1e9 kWh -> 1000000000000 Wh (older-unit)",
          f"{FIRST}[1]: 1000000000000 lost (older-sample)"]),
        ([{"value": "3e9"}, {"value": "5"}], 5, [f"{FIRST}[0]: 3e9 lost (older-sample)"]),
        (phases(REGISTER, "kWh", ("L1", "0.0004"), ("L2", "0.0004")), 1,
         [f"{FIRST}[0]: 0.0004 kWh -> 0.4 Wh (older-unit)", f"{FIRST}[1]: 0.0004 kWh -> 0.4 Wh (older-unit)",
          f"{FIRST}[0]: L1 0.4, L2 0.4 -> 0.8 (older-phase)", f"{FIRST}[0]: 0.8 Wh -> 1 Wh (older-unit)"]),
        ([{"value": "5"}, {"value": "Infinity"}], 5,
         [f"{FIRST}[1]: {REGISTER} Infinity Wh lost (older-sample)"]),
    ],
)  # fmt: skip
def test_1_2_takes_the_energy_register_in_whole_watt_hours(
    said: list[dict[str, str]], value: int, noted: list[str]
) -> None:
    text, notes = down("1.2", "MeterValues", samples(*said))
    assert text == values_15(f"<value>{value}</value>")
    assert lines(notes) == noted


@pytest.mark.parametrize("version", BOTH)
def test_meter_values_of_which_nothing_is_left_are_confirmed_here(version: str) -> None:
    answer = untold(Call("MeterValues", samples(SOC)), version)
    assert answer is not None
    assert answer[0] == CallResult({})
    assert lines(list(answer[1])) == [f"{FIRST}[0]: SoC 55 lost (older-sample)"]
    assert untold(Call("MeterValues", samples(SOC, {"value": "1"})), version) is None
    assert untold(Call("MeterValues", samples(SOC)), "1.6") is None
    assert untold(Call("MeterValues", {"connectorId": 1}), version) is None


# ---------------------------------------------------------------------------- the end of a transaction

STOP = f"<transactionId>7</transactionId><timestamp>{TIME}</timestamp><meterStop>1200</meterStop>"
STOPPED = {"transactionId": 7, "timestamp": TIME, "meterStop": 1200}
ONE = {"timestamp": TIME, "sampledValue": [{"value": "1"}]}
ONE_IN_15 = f"<values><timestamp>{TIME}</timestamp><value>1</value></values>"


def test_transaction_data_of_1_5_are_one_list() -> None:
    data = f"<transactionData>{ONE_IN_15}{ONE_IN_15}</transactionData>"
    payload, notes = up("1.5", "StopTransaction", f"{STOP}{data}<transactionData/>{data}")
    assert payload == STOPPED | {"transactionData": [ONE] * 4}
    assert notes == []
    assert down("1.5", "StopTransaction", STOPPED | {"transactionData": [ONE] * 2}) == (f"{STOP}{data}", [])
    assert down("1.5", "StopTransaction", STOPPED) == (STOP, [])
    newer = (
        f"<transactionData><timestamp>{TIME}</timestamp><sampledValue><value>1</value></sampledValue>"
        "</transactionData><transactionData><sampledValue><value>2</value></sampledValue></transactionData>"
    )
    payload, notes = up("1.5", "StopTransaction", f"{STOP}{newer}")
    assert payload == STOPPED | {"transactionData": [ONE]}
    assert lines(notes) == ["StopTransaction.transactionData[1]:  lost (bad-item)"]


@pytest.mark.parametrize("version", BOTH)
def test_a_reason_is_lost_where_it_is_not_the_usual_one(version: str) -> None:
    assert down(version, "StopTransaction", STOPPED | {"reason": "Local"}) == (STOP, [])
    text, notes = down(version, "StopTransaction", STOPPED | {"reason": "PowerLoss"})
    assert text == STOP
    assert lines(notes) == ["StopTransaction.reason: PowerLoss lost (older-field)"]


def test_transaction_data_do_not_exist_in_1_2() -> None:
    text, notes = down("1.2", "StopTransaction", STOPPED | {"transactionData": [ONE]})
    assert text == STOP
    assert [(note.path, note.rule) for note in notes] == [("StopTransaction.transactionData", "older-field")]
    assert up("1.2", "StopTransaction", STOP) == (STOPPED, [])


def test_a_number_is_a_number() -> None:
    assert older._number({"value": " 1.50 "}) == Decimal("1.50")
    assert older._number({"value": "1e400"}) is None
    assert older._number({}) is None
