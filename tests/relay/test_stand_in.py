"""A charge point of an older version before a central system of 1.6: what it leaves unsaid is known here, and
what it cannot be asked is answered here. In virtual time, against a store in memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.relay.deliveries import ACCEPTED, BOOT, EPOCH, World, meter_values, start, stop
from wattbridge.ocpp.errors import Unreachable
from wattbridge.ocpp.messages import Call, CallError, CallResult, Payload, Side
from wattbridge.relay.offline import Answers
from wattbridge.relay.session import left_unanswered
from wattbridge.relay.stand_in import MOST_CONNECTORS, StandIn
from wattbridge.store.base import ConfigurationKey


@contextmanager
def a_world(version: str = "1.5", **settings: Any) -> Iterator[World]:
    world = World(**settings)
    world.charge_point.version = version
    try:
        yield world
    finally:
        world.close()


def occupied(connector: int = 1) -> Call:
    return told("Occupied", connector)


def told(status: str, connector: int = 1) -> Call:
    said = {"connectorId": connector, "status": status, "errorCode": "NoError"}
    return Call("StatusNotification", said)


def trigger(message: str, **more: Any) -> Call:
    return Call("TriggerMessage", {"requestedMessage": message, **more})


def statuses(world: World) -> list[tuple[int, str]]:
    return [
        (payload["connectorId"], payload["status"])
        for action, payload in world.got
        if action == "StatusNotification"
    ]


def asked(world: World, call: Call) -> Payload:
    reply = world.ask(call, Side.CENTRAL_SYSTEM)
    assert isinstance(reply, CallResult), reply
    return reply.payload


# --- what Occupied means ---


def test_a_visit() -> None:
    with a_world() as world:
        for call in (
            told("Available"),
            occupied(),
            start(),
            occupied(),
            stop(101),
            occupied(),
            told("Available"),
        ):
            world.result(call)
            world.run_for(1.0)
        world.result(occupied())
        assert [status for _, status in statuses(world)] == [
            "Available", "Preparing", "Charging", "Finishing", "Available", "Preparing",
        ]  # fmt: skip
        notes = [note for record in world.heard.records for note in record.arrived.notes]
        assert {note.rule for note in notes} == {"older-word"}


def test_each_connector_has_a_status_of_its_own() -> None:
    with a_world() as world:
        world.result(start(connector=1))
        world.result(occupied(2))
        world.result(occupied(1))
        assert statuses(world) == [(2, "Preparing"), (1, "Charging")]


def test_what_was_known_is_known_after_a_crash() -> None:
    with a_world() as world:
        world.result(start())
        world.result(occupied())
        world.result(stop(101))
        world.run_for(2.0)
        world.crash()
        world.result(occupied())
        assert statuses(world) == [(1, "Charging"), (1, "Finishing")]


def test_a_transaction_whose_end_is_all_that_is_known() -> None:
    with a_world() as world:
        world.result(start())
        world.result(stop(101))
        world.result(occupied())
        assert statuses(world) == [(1, "Finishing")]


def test_a_provisional_transaction_is_one_too() -> None:
    with a_world(answers=Answers(start_transaction="provisional")) as world:
        world.central_system.away = True
        world.result(start(), within=20.0)
        world.result(occupied())
        world.come_back()
        world.run_for(60.0)
        assert statuses(world) == [(1, "Charging")]


def test_occupied_of_a_rejected_charge_point_asks_nobody() -> None:
    with a_world() as world:
        world.session.delivery = None
        world.result(occupied())
        assert statuses(world) == [(1, "Preparing")]


# --- meter values of 1.2 ---

AT_THE_END = {"timestamp": "2024-05-01T10:30:00Z", "sampledValue": [{"value": "9"}]}


def test_meter_values_belong_to_the_transaction_that_was_open_when_the_meter_was_read() -> None:
    with a_world("1.2") as world:
        world.result(meter_values(None))
        world.result(start(connector=1))
        world.result(meter_values(None, number=1))
        world.result(meter_values(None, number=2, connector=2))
        world.result(meter_values(None, number=3, connector=0))
        world.result(stop(101))
        late = meter_values(None, number=4)
        world.result(late)
        found = [payload.get("transactionId") for action, payload in world.got if action == "MeterValues"]
        assert found == [None, 101, None, None, 101]
        assert [note.rule for note in world.heard.records[2].arrived.notes] == ["open-transaction"]


def test_meter_values_that_are_repeated_after_the_end_are_the_same_message() -> None:
    with a_world("1.2") as world:
        world.result(start())
        world.result(meter_values(None, number=1))
        world.result(stop(101))
        world.result(meter_values(None, number=1))
        assert [action for action, _ in world.got] == ["StartTransaction", "MeterValues", "StopTransaction"]


def test_a_repetition_is_one_also_when_the_next_transaction_began_in_the_same_second() -> None:
    with a_world("1.2") as world:
        last = Call("MeterValues", {"connectorId": 1, "meterValue": [AT_THE_END]})
        world.result(start(number=1))
        world.result(last)
        world.result(Call("StopTransaction", stop(101).payload | {"timestamp": AT_THE_END["timestamp"]}))
        world.result(
            Call("StartTransaction", start(number=2).payload | {"timestamp": AT_THE_END["timestamp"]})
        )
        world.result(last)
        found = [payload["transactionId"] for action, payload in world.got if action == "MeterValues"]
        assert found == [101]


def read_at(*times: str) -> Call:
    values = [{"timestamp": f"2024-05-01T{time}Z", "sampledValue": [{"value": "1"}]} for time in times]
    return Call("MeterValues", {"connectorId": 1, "meterValue": values})


@pytest.mark.parametrize(
    ("times", "number"),
    [
        (["09:59:59"], None),  # before all
        (["10:00:30"], 101),
        (["10:30:00"], None),  # between the two
        (["11:30:00"], 102),
        (["10:00:30", "10:40:00"], 101),  # both in the first
        (["10:00:30", "11:30:00"], None),  # of several
        (["10:00:30", "11:05:00"], None),
    ],
)
def test_meter_values_belong_to_nobody_else(times: list[str], number: int | None) -> None:
    """The next customer does not pay for what was read between two charges."""
    with a_world("1.2") as world:
        world.result(start(number=10))
        first = stop(101).payload | {"timestamp": f"2024-05-01T10:{'45' if len(times) > 1 else '20'}:00Z"}
        world.result(Call("StopTransaction", first))
        world.result(
            Call("StartTransaction", start(number=20).payload | {"timestamp": "2024-05-01T11:10:00Z"})
        )
        world.result(read_at(*times))
        assert world.got[-1][1].get("transactionId") == number


def test_a_clock_that_was_never_set_costs_no_transaction() -> None:
    with a_world("1.2") as world:
        world.result(start(number=30))
        unset = {"timestamp": "1970-01-01T00:00:07Z", "sampledValue": [{"value": "1"}]}
        world.result(Call("MeterValues", {"connectorId": 1, "meterValue": [unset]}))
        assert world.got[-1][1]["transactionId"] == 101


def test_meter_values_after_the_end_belong_to_nobody() -> None:
    with a_world("1.2") as world:
        world.result(start())
        world.result(stop(101))
        later = {"timestamp": "2024-05-01T12:00:00Z", "sampledValue": [{"value": "1"}]}
        world.result(Call("MeterValues", {"connectorId": 1, "meterValue": [later]}))
        assert "transactionId" not in world.got[-1][1]


# --- what it cannot be asked ---


def test_what_1_5_lacks_is_answered_at_once_and_not_asked() -> None:
    with a_world() as world:
        assert asked(world, Call("SetChargingProfile", {})) == {"status": "NotSupported"}
        assert asked(world, Call("ClearChargingProfile", {})) == {"status": "Unknown"}
        assert asked(world, Call("GetCompositeSchedule", {})) == {"status": "Rejected"}
        assert world.charge_point.asked == []
        assert [record.how for record in world.heard.records] == ["local"] * 3
        assert asked(world, Call("Reset", {"type": "Hard"})) == ACCEPTED
        assert [call.action for call in world.charge_point.asked] == ["Reset"]


def test_what_1_2_lacks() -> None:
    with a_world("1.2") as world:
        assert asked(world, Call("ReserveNow", {})) == {"status": "Rejected"}
        assert asked(world, Call("GetLocalListVersion", {})) == {"listVersion": -1}
        assert asked(world, Call("DataTransfer", {"vendorId": "v"})) == {"status": "UnknownVendorId"}
        assert world.charge_point.asked == []


def test_without_anything_known_the_answers_are_the_same() -> None:
    with a_world("1.2") as world:
        world.session.delivery = None
        assert asked(world, Call("GetConfiguration", {})) == {}
        assert asked(world, trigger("Heartbeat")) == {"status": "NotImplemented"}


def test_a_charge_point_of_1_6_is_asked_itself() -> None:
    with a_world("1.6") as world:
        assert asked(world, trigger("Heartbeat")) == ACCEPTED
        assert [call.action for call in world.charge_point.asked] == ["TriggerMessage"]


def triggered(world: World, call: Call) -> list[tuple[str, Payload]]:
    """What the central system gets after it asked for it."""
    before = len(world.got)
    assert asked(world, call) == ACCEPTED
    world.run_for(1.0)
    return world.got[before:]


def test_the_last_messages_are_sent_again_when_they_are_asked_for() -> None:
    with a_world() as world:
        world.result(BOOT)
        world.result(told("Available", 2))
        world.result(told("Faulted", 1))
        world.result(start(connector=2))
        world.result(meter_values(101, number=5, connector=2))
        assert triggered(world, trigger("BootNotification")) == [("BootNotification", BOOT.payload)]
        assert triggered(world, trigger("Heartbeat")) == [("Heartbeat", {})]
        assert triggered(world, trigger("StatusNotification")) == [
            ("StatusNotification", told("Faulted", 1).payload),
            ("StatusNotification", told("Available", 2).payload),
        ]
        assert triggered(world, trigger("StatusNotification", connectorId=2)) == [
            ("StatusNotification", told("Available", 2).payload)
        ]
        values = meter_values(101, number=5, connector=2).payload
        assert triggered(world, trigger("MeterValues", connectorId=2)) == [("MeterValues", values)]
        kinds = [event.kind for event in world.heard.events]
        assert kinds.count("sent in its place") == 6


def test_a_status_that_was_only_occupied_is_told_as_it_is_by_now() -> None:
    with a_world() as world:
        wanted = trigger("StatusNotification")
        told_now = []
        for call in (occupied(), start(), stop(101)):
            world.result(call)
            told_now += [payload["status"] for _, payload in triggered(world, wanted)]
        assert told_now == ["Preparing", "Charging", "Finishing"]
        world.run_for(2.0)
        world.crash()
        assert [payload["status"] for _, payload in triggered(world, wanted)] == ["Finishing"]


def test_answers_in_its_place_do_not_keep_a_charge_point_alive() -> None:
    with a_world() as world:
        world.result(BOOT)
        heard = world.session.heard
        world.run_for(100.0)
        assert triggered(world, trigger("Heartbeat")) == [("Heartbeat", {})]
        assert world.session.heard == heard
        asked(world, Call("Reset", {"type": "Hard"}))
        assert world.session.heard > heard


@pytest.mark.parametrize(
    "call",
    [
        trigger("BootNotification"),
        trigger("StatusNotification"),
        trigger("MeterValues"),
        trigger("FirmwareStatusNotification"),
        trigger("DiagnosticsStatusNotification"),
    ],
)
def test_what_is_not_known_is_not_implemented(call: Call) -> None:
    with a_world() as world:
        assert asked(world, call) == {"status": "NotImplemented"}
        world.run_for(1.0)
        assert world.got == []


def test_meter_values_of_a_transaction_that_has_ended_are_not_sent_again() -> None:
    with a_world() as world:
        world.result(start())
        world.result(meter_values(101))
        world.result(stop(101))
        assert asked(world, trigger("MeterValues")) == {"status": "NotImplemented"}


def test_nothing_is_sent_before_what_waits() -> None:
    with a_world() as world:
        world.result(BOOT)
        world.central_system.away = True
        assert asked(world, trigger("BootNotification")) == {"status": "NotImplemented"}


def test_the_central_system_goes_away_meanwhile() -> None:
    with a_world() as world:
        world.result(told("Available", 1))
        world.result(told("Available", 2))
        before = len(world.got)
        world.central_system.slow = 5.0
        assert asked(world, trigger("StatusNotification")) == ACCEPTED
        world.run_for(1.0)
        world.central_system.away = True
        world.run_for(60.0)
        assert len(world.got) == before + 1


# --- the configuration of 1.2 ---

GET = Call("GetConfiguration", {})


def changed(key: str, value: str) -> Call:
    return Call("ChangeConfiguration", {"key": key, "value": value})


def test_a_configuration_is_told_as_far_as_it_is_known() -> None:
    with a_world("1.2") as world:
        assert asked(world, GET) == {"configurationKey": []}
        world.result(BOOT)
        asked(world, changed("ResetRetries", "3"))
        asked(world, changed("AuthorizationKey", "secret"))
        world.charge_point.outcome = CallResult({"status": "Rejected"})
        asked(world, changed("LightIntensity", "50"))
        known = [
            {"key": "HeartbeatInterval", "readonly": False, "value": "120"},
            {"key": "ResetRetries", "readonly": False, "value": "3"},
        ]
        assert asked(world, GET) == {"configurationKey": known}
        some = Call("GetConfiguration", {"key": ["resetretries", "Sparkle"]})
        assert asked(world, some) == {"configurationKey": known[1:], "unknownKey": ["Sparkle"]}
        world.charge_point.outcome = CallResult(dict(ACCEPTED))
        asked(world, changed("heartbeatinterval", "60"))
        known[0]["value"] = "60"
        world.run_for(2.0)
        world.crash()
        world.session.heartbeat_interval = 120.0  # as it was told at the boot
        assert [key["value"] for key in asked(world, GET)["configurationKey"]] == ["60", "3"]
        assert asked(world, Call("GetConfiguration", {"key": ["Sparkle"]})) == {"unknownKey": ["Sparkle"]}


def test_what_a_charge_point_tells_of_its_configuration_is_kept() -> None:
    with a_world("1.6") as world:
        keys = [
            {"key": "ConnectorCount", "readonly": True, "value": "2"},
            {"key": "Empty", "readonly": False},
            {"key": "", "readonly": False},
            {"key": "WifiPassword", "readonly": False, "value": "secret"},
        ]
        world.charge_point.outcome = CallResult({"configurationKey": keys})
        asked(world, GET)
        world.run_for(2.0)
        rows = world.read(lambda: world.store.find(ConfigurationKey))
        assert [(row.key_name, row.value, row.readonly, row.told) for row in rows] == [
            ("ConnectorCount", "2", 1, EPOCH),
            ("Empty", None, 0, EPOCH),
        ]
        world.charge_point.version = "1.2"
        assert asked(world, GET) == {
            "configurationKey": [
                {"key": "ConnectorCount", "readonly": True, "value": "2"},
                {"key": "Empty", "readonly": False},
            ]
        }


def test_a_profile_keeps_a_charge_point_from_being_asked() -> None:
    """ABB Terra AC boots again when it is asked for its configuration (lbbrhzn/ocpp #880)."""
    with a_world("1.6") as world:
        world.charge_point.transport = "json"
        world.session.answered_here = frozenset({"GetConfiguration", "ChangeConfiguration", "TriggerMessage"})
        world.result(BOOT)
        assert asked(world, Call("GetConfiguration", {"key": ["HeartbeatInterval"]})) == {
            "configurationKey": [{"key": "HeartbeatInterval", "readonly": False, "value": "120"}]
        }
        assert asked(world, changed("ResetRetries", "3")) == {"status": "Rejected"}
        assert triggered(world, trigger("BootNotification")) == [("BootNotification", BOOT.payload)]
        assert world.charge_point.asked == []
        assert asked(world, Call("Reset", {"type": "Hard"})) == ACCEPTED


# --- the security extension, which OCPP-S does not have ---

LOG = {"logType": "DiagnosticsLog", "requestId": 7, "log": {"remoteLocation": "ftp://files.example/"}}


def diagnostics(status: str) -> Call:
    return Call("DiagnosticsStatusNotification", {"status": status})


def test_a_log_is_got_as_diagnostics() -> None:
    with a_world("1.6") as world:
        world.charge_point.outcome = CallResult({"fileName": "a.log"})
        assert asked(world, Call("GetLog", LOG)) == {"status": "Accepted", "filename": "a.log"}
        assert world.charge_point.asked == [Call("GetDiagnostics", {"location": "ftp://files.example/"})]
        assert [record.how for record in world.heard.records] == [""]
        for status in ("Uploading", "Uploaded", "Uploaded"):
            world.result(diagnostics(status))
        assert world.got == [
            ("LogStatusNotification", {"status": "Uploading", "requestId": 7}),
            ("LogStatusNotification", {"status": "Uploaded", "requestId": 7}),
            ("DiagnosticsStatusNotification", {"status": "Uploaded"}),  # that of nobody's log
        ]


def test_only_a_log_that_was_accepted_is_told_of() -> None:
    with a_world("1.6") as world:
        world.charge_point.outcome = CallResult({"fileName": "a.log"})
        asked(world, Call("GetLog", LOG))
        world.charge_point.outcome = Unreachable("not_connected", "gone")
        assert isinstance(world.ask(Call("GetLog", LOG | {"requestId": 8}), Side.CENTRAL_SYSTEM), CallError)
        world.charge_point.outcome = CallResult({})
        assert asked(world, Call("GetLog", LOG | {"requestId": 9})) == {"status": "Rejected"}
        world.result(diagnostics("Uploading"))
        assert world.got == [("LogStatusNotification", {"status": "Uploading", "requestId": 7})]
        world.charge_point.outcome = CallResult({"fileName": "b.log"})
        asked(world, Call("GetDiagnostics", {"location": "ftp://files.example/"}))
        world.result(diagnostics("Uploaded"))
        assert world.got[1:] == [("DiagnosticsStatusNotification", {"status": "Uploaded"})]


def test_a_log_status_that_was_triggered() -> None:
    wanted = Call("ExtendedTriggerMessage", {"requestedMessage": "LogStatusNotification"})
    with a_world("1.6") as world:
        assert asked(world, wanted) == ACCEPTED
        world.result(diagnostics("Idle"))
        world.result(diagnostics("Idle"))
        assert world.got == [
            ("LogStatusNotification", {"status": "Idle"}),
            ("DiagnosticsStatusNotification", {"status": "Idle"}),
        ]


def test_a_log_that_there_is_not() -> None:
    with a_world() as world:
        world.charge_point.outcome = CallResult({})
        assert asked(world, Call("GetLog", LOG)) == {"status": "Rejected"}
        world.result(diagnostics("UploadFailed"))
        assert world.got == [("DiagnosticsStatusNotification", {"status": "UploadFailed"})]


@pytest.mark.parametrize(
    ("call", "code"),
    [
        (Call("GetLog", {**LOG, "logType": "SecurityLog"}), "NotSupported"),
        (Call("GetLog", {"logType": "DiagnosticsLog"}), "OccurenceConstraintViolation"),
        (Call("InstallCertificate", {}), "NotSupported"),
    ],
)
def test_what_soap_has_no_words_for_is_refused_here(call: Call, code: str) -> None:
    with a_world("1.6") as world:
        reply = world.ask(call, Side.CENTRAL_SYSTEM)
        assert isinstance(reply, CallError)
        assert reply.code == code
        assert world.charge_point.asked == []


def test_an_extended_trigger_is_a_trigger() -> None:
    extended = Call("ExtendedTriggerMessage", {"requestedMessage": "Heartbeat"})
    with a_world("1.6") as world:
        assert asked(world, extended) == ACCEPTED
        assert world.charge_point.asked == [trigger("Heartbeat")]
    with a_world("1.5") as world:
        assert triggered(world, extended) == [("Heartbeat", {})]
    with a_world("1.6") as world:
        sign = Call("ExtendedTriggerMessage", {"requestedMessage": "SignChargePointCertificate"})
        assert asked(world, sign) == {"status": "NotImplemented"}


EVENT = Call("SecurityEventNotification", {"type": "StartupOfTheDevice", "timestamp": "2024-05-01T10:00:00Z"})


def before_soap(world: World, version: str = "1.6") -> None:
    world.charge_point.transport, world.charge_point.version = "json", "1.6"
    world.central_system.transport, world.central_system.version = "soap", version


def test_a_security_event_is_confirmed_and_recorded() -> None:
    with a_world("1.6") as world:
        before_soap(world)
        assert world.result(EVENT) == {}
        assert world.result(Call("SignCertificate", {"csr": "x"})) == {"status": "Rejected"}
        assert world.got == []
        assert [(record.action, record.how) for record in world.heard.records] == [
            ("SecurityEventNotification", "local"),
            ("SignCertificate", "local"),
        ]
        [lost] = world.heard.records[0].arrived.notes
        assert (lost.path, lost.rule) == ("SecurityEventNotification", "no-operation")


def test_a_security_event_is_carried_as_data_transfer_where_that_is_wanted() -> None:
    with a_world("1.6") as world:
        before_soap(world)
        world.session.security_as_data_transfer = True
        assert world.result(EVENT) == {}
        [(action, payload)] = world.got
        assert (action, payload["messageId"]) == ("DataTransfer", "SecurityEventNotification")
        assert payload["data"] == '{"type":"StartupOfTheDevice","timestamp":"2024-05-01T10:00:00Z"}'
        world.central_system.away = True
        assert world.result(EVENT) == {}
        assert world.heard.records[-1].how == "kept"
        world.come_back()
        world.run_for(60.0)
        assert [action for action, _ in world.got] == ["DataTransfer", "DataTransfer"]
        assert world.result(Call("SignCertificate", {"csr": "x"})) == {"status": "Rejected"}
        assert len(world.got) == 2


def test_a_central_system_of_1_2_has_no_data_transfer() -> None:
    with a_world("1.6") as world:
        before_soap(world, "1.2")
        assert world.result(Call("DataTransfer", {"vendorId": "v"})) == {"status": "UnknownVendorId"}
        assert world.got == []


# --- faults ---


@pytest.mark.parametrize("call", [stop(101), meter_values(101)], ids=lambda call: call.action)
def test_a_failure_of_the_central_system_does_not_cost_an_older_charge_point_its_message(call: Call) -> None:
    with a_world() as world:
        world.result(start())
        world.central_system.refuses = {call.action}
        assert world.result(call) == {}
        assert world.heard.records[-1].how == "kept"
        assert world.delivery.outbox.waiting.messages == 1
        world.central_system.refuses = set()
        world.run_for(60.0)
        assert world.delivery.outbox.waiting.messages == 0
        assert world.got[-1] == (call.action, call.payload)


def test_a_start_that_failed_is_left_for_the_charge_point_to_send_again() -> None:
    with a_world() as world:
        world.central_system.refuses = {"StartTransaction"}
        assert left_unanswered("StartTransaction", world.error(start()), "1.5")
        world.central_system.refuses = set()
        assert world.result(start())["transactionId"] == 101


@pytest.mark.parametrize(
    ("version", "action", "reason", "silent"),
    [
        ("1.5", "StartTransaction", "call_error", False),
        ("1.5", "StartTransaction", "fault", False),
        ("1.5", "StartTransaction", "schema", True),
        ("1.2", "StopTransaction", "untranslatable", True),
        ("1.5", "MeterValues", "auth", True),
        ("1.5", "StopTransaction", "rejected", True),
        ("1.5", "Authorize", "schema", False),
        ("1.6", "StartTransaction", "schema", False),
        ("1.6", "StartTransaction", "timeout", True),
        ("1.6", "StopTransaction", "malformed", True),
    ],
)
def test_a_fault_tells_1_5_never_to_send_that_again(
    version: str, action: str, reason: str, silent: bool
) -> None:
    assert left_unanswered(action, CallError("InternalError", reason=reason), version) == silent
    assert not left_unanswered(action, CallResult({}), version)


def test_only_so_many_connectors_are_known() -> None:
    stand_in = StandIn("CP1")
    for number in range(MOST_CONNECTORS + 1):
        stand_in.heard(told("Available", number), 0.0)
    world = World()
    try:
        found = stand_in.triggered(trigger("StatusNotification"), world.delivery.transactions)
        assert len(found) == MOST_CONNECTORS
        assert {call.payload["connectorId"] for call in found} == set(range(1, MOST_CONNECTORS + 1))
    finally:
        world.close()
