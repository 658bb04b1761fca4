"""The simulated central system, seen by a charge point that is a bare WebSocket."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import ocpp.charge_point
import ocpp.v16
import pytest
from websockets import ConnectionClosed, Subprotocol
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from wattbridge.simulators.central_system import ALL, Transaction
from wattbridge.simulators.central_system_json import JsonCentralSystem
from wattbridge.simulators.outcomes import CallRefused, Unanswered

NOW = datetime(2024, 5, 1, 10, 0, tzinfo=UTC)
START = (
    '[2,"1","StartTransaction",'
    '{"connectorId":1,"idTag":"A","meterStart":1000,"timestamp":"2024-05-01T10:00:00Z"}]'
)


@pytest.fixture
async def central_system() -> AsyncIterator[JsonCentralSystem]:
    async with JsonCentralSystem(call_timeout=5.0, now=lambda: NOW) as central_system:
        yield central_system


def plug(central_system: JsonCentralSystem, name: str = "CP1", **options: Any) -> connect:
    options = {"subprotocols": [Subprotocol("ocpp1.6")], "proxy": None} | options
    return connect(f"{central_system.url}/{name}", **options)


async def told(socket: ClientConnection, frame: str) -> str:
    """Send one frame; returns the one that comes back."""
    await socket.send(frame)
    async with asyncio.timeout(5):
        return str(await socket.recv())


# --- Handshake -----------------------------------------------------------------------------------------


async def test_the_identity_is_the_last_part_of_the_path_decoded_once(
    central_system: JsonCentralSystem,
) -> None:
    """OCPP-J 1.6, 3.1.1."""
    async with plug(central_system, "RDAM%20123%2F%2541?token=x") as socket:
        await central_system.connection_of("RDAM 123/%41")
        assert socket.subprotocol == "ocpp1.6"
    assert central_system.problems == []


async def test_another_subprotocol_is_refused_and_noted(central_system: JsonCentralSystem) -> None:
    with pytest.raises(InvalidStatus, match="400"):
        await plug(central_system, subprotocols=[Subprotocol("ocpp2.0.1")])
    assert central_system.problems == ["CP1: offers the subprotocols 'ocpp2.0.1', not 'ocpp1.6'"]


async def test_an_unknown_identity_is_not_found() -> None:
    async with JsonCentralSystem(known=["CP1"]) as central_system:
        async with plug(central_system):
            pass
        with pytest.raises(InvalidStatus, match="404"):
            await plug(central_system, "CP2")


@pytest.mark.parametrize("status", [401, 404, 503])
async def test_handshakes_can_be_refused(central_system: JsonCentralSystem, status: int) -> None:
    central_system.refuse_handshakes = status
    with pytest.raises(InvalidStatus, match=str(status)):
        await plug(central_system)
    central_system.refuse_handshakes = None
    async with plug(central_system):
        pass


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "Bearer x",
        "Basic !!",
        "Basic " + base64.b64encode(b"CP1:wrong").decode(),
        "Basic " + base64.b64encode(b"CP2:secret:\xab\xcd").decode(),
    ],
)
async def test_a_wrong_password_is_refused(authorization: str | None) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}
    async with JsonCentralSystem(passwords={"CP1": b"secret:\xab\xcd"}) as central_system:
        with pytest.raises(InvalidStatus, match="401") as refused:
            await plug(central_system, additional_headers=headers)
        assert refused.value.response.headers["WWW-Authenticate"] == 'Basic realm="OCPP"'


@pytest.mark.parametrize("password", ["secret", b"secret:\xab\xcd"])
async def test_the_right_password_is_let_in(password: str | bytes) -> None:
    """A password may hold colons and bytes that are no text (OCPP-J 1.6, 6.2.2)."""
    raw = password.encode() if isinstance(password, str) else password
    headers = {"Authorization": "Basic " + base64.b64encode(b"CP1:" + raw).decode()}
    async with (
        JsonCentralSystem(passwords={"CP1": password}) as central_system,
        plug(central_system, additional_headers=headers) as socket,
    ):
        assert await told(socket, '[2,"1","Heartbeat",{}]')


async def test_a_second_connection_replaces_the_first(central_system: JsonCentralSystem) -> None:
    async with plug(central_system) as first, plug(central_system) as second:
        with pytest.raises(ConnectionClosed, match="replaced"):
            await first.recv()
        assert await told(second, '[2,"1","Heartbeat",{}]')
        assert central_system.connected == ["CP1"]


# --- Answering -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "answer"),
    [
        ('[2,"1","Authorize",{"idTag":"A"}]', '[3,"1",{"idTagInfo":{"status":"Accepted"}}]'),
        (
            '[2,"1","BootNotification",{"chargePointVendor":"ACME","chargePointModel":"CC-1"}]',
            '[3,"1",{"currentTime":"2024-05-01T10:00:00Z","interval":300,"status":"Accepted"}]',
        ),
        ('[2,"1","DataTransfer",{"vendorId":"X"}]', '[3,"1",{"status":"Accepted"}]'),
        ('[2,"1","DataTransfer",{"vendorId":"X","data":"{}"}]', '[3,"1",{"status":"Accepted","data":"{}"}]'),
        ('[2,"1","DiagnosticsStatusNotification",{"status":"Idle"}]', '[3,"1",{}]'),
        ('[2,"1","FirmwareStatusNotification",{"status":"Idle"}]', '[3,"1",{}]'),
        ('[2,"1","Heartbeat",{}]', '[3,"1",{"currentTime":"2024-05-01T10:00:00Z"}]'),
        (
            '[2,"1","MeterValues",{"connectorId":1,"meterValue":[{"timestamp":"2024-05-01T10:00:00Z",'
            '"sampledValue":[{"value":"21","measurand":"SoC","unit":"Percent"}]}]}]',
            '[3,"1",{}]',
        ),
        (START, '[3,"1",{"transactionId":1,"idTagInfo":{"status":"Accepted"}}]'),
        (
            '[2,"1","StatusNotification",{"connectorId":1,"errorCode":"NoError","status":"Available"}]',
            '[3,"1",{}]',
        ),
        (
            '[2,"1","StopTransaction",{"transactionId":9,"meterStop":1,"timestamp":"2024-05-01T10:00:00Z"}]',
            '[3,"1",{}]',
        ),
        (
            '[2,"1","StopTransaction",{"transactionId":9,"meterStop":1,"idTag":"A",'
            '"timestamp":"2024-05-01T10:00:00Z"}]',
            '[3,"1",{"idTagInfo":{"status":"Accepted"}}]',
        ),
    ],
)
async def test_counted_actions_is_answered_and_kept_as_on_the_wire(
    central_system: JsonCentralSystem, call: str, answer: str
) -> None:
    async with plug(central_system) as socket:
        assert await told(socket, call) == answer
    _, _, action, payload = json.loads(call)
    assert central_system.received == [("CP1", action, payload)]
    assert central_system.problems == []


async def test_transactions_are_numbered_and_remembered(central_system: JsonCentralSystem) -> None:
    async with plug(central_system) as socket:
        await told(socket, START)
        second = await told(socket, START.replace('"1"', '"2"', 1))
        assert '"transactionId":2' in second
        await told(
            socket,
            '[2,"3","StopTransaction",{"transactionId":1,"meterStop":2000,"reason":"Remote",'
            '"timestamp":"2024-05-01T11:00:00Z"}]',
        )
    assert central_system.transactions == {
        1: Transaction("CP1", 1, "A", 1000, 2000, "Remote"),
        2: Transaction("CP1", 1, "A", 1000),
    }


async def test_idtags_are_looked_up_whatever_their_case() -> None:
    async with (
        JsonCentralSystem(id_tags={"Good": "Accepted", "Old": "Expired"}) as central_system,
        plug(central_system) as socket,
    ):
        for number, (id_tag, status) in enumerate(
            [("gOOD", "Accepted"), ("Old", "Expired"), ("New", "Invalid")]
        ):
            answer = await told(socket, f'[2,"{number}","Authorize",{{"idTag":"{id_tag}"}}]')
            assert answer == f'[3,"{number}",{{"idTagInfo":{{"status":"{status}"}}}}]'


async def test_the_boot_can_be_left_pending(central_system: JsonCentralSystem) -> None:
    central_system.boot_status = "Pending"
    central_system.heartbeat_interval = 5
    boot = '[2,"1","BootNotification",{"chargePointVendor":"ACME","chargePointModel":"CC-1"}]'
    async with plug(central_system) as socket:
        answer = await told(socket, boot)
    assert answer == '[3,"1",{"currentTime":"2024-05-01T10:00:00Z","interval":5,"status":"Pending"}]'


# --- What breaks the rules -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "code", "problem"),
    [
        (
            '[2,"1","Authorize",{}]',
            "ProtocolError",
            "Authorize: ProtocolError: 'idTag' is a required property",
        ),
        (
            '[2,"1","Heartbeat",{"x":1}]',
            "FormatViolation",
            "Heartbeat: FormatViolation: Additional properties are not allowed ('x' was unexpected)",
        ),
        (
            '[2,"1","MeterValues",{"connectorId":"1","meterValue":[]}]',
            "TypeConstraintViolation",
            "MeterValues: TypeConstraintViolation: '1' is not of type 'integer'",
        ),
        (
            '[2,"1","Authorize",{"idTag":"123456789012345678901"}]',
            "TypeConstraintViolation",
            "Authorize: TypeConstraintViolation: '123456789012345678901' is too long",
        ),
        ('[2,"1","Reset",{"type":"Hard"}]', "NotImplemented", "Reset: NotImplemented: No handler for Reset"),
        ('[2,"1","Sparkle",{}]', "NotSupported", "Sparkle: NotSupported: Sparkle not supported by OCPP1.6"),
    ],
)
async def test_a_payload_that_breaks_the_schema_is_refused_and_noted(
    central_system: JsonCentralSystem, call: str, code: str, problem: str
) -> None:
    async with plug(central_system) as socket:
        answer = json.loads(await told(socket, call))
        assert answer[:3] == [4, "1", code]
        assert json.loads(await told(socket, '[2,"2","Heartbeat",{}]'))[0] == 3
    [noted] = central_system.problems
    assert noted.startswith(f"CP1: {problem}")


@pytest.mark.parametrize(
    ("frame", "problem"),
    [
        ("nonsense", "not JSON: 'nonsense'"),
        ("{}", "not a CALL, CALLRESULT or CALLERROR: '{}'"),
        ("[]", "not a CALL, CALLRESULT or CALLERROR: '[]'"),
        ('[5,"1",{}]', "not a CALL, CALLRESULT or CALLERROR"),
        ('[2,"1","Heartbeat"]', "3 elements; expected 4"),
        ('[4,"1","InternalError",""]', "4 elements; expected 5"),
        ('[2,1,"Heartbeat",{}]', "message id 1; expected text of at most 36 characters"),
        ('[2,"1",null,{}]', "action None with payload {}"),
        ('[2,"1","Heartbeat",null]', "action 'Heartbeat' with payload None"),
        ('[3,"1",{}]', "a reply to '1', which nobody asked"),
    ],
)
async def test_a_frame_that_is_none_is_ignored_and_noted(
    central_system: JsonCentralSystem, frame: str, problem: str
) -> None:
    async with plug(central_system) as socket:
        await socket.send(frame)
        assert (
            await told(socket, '[2,"7","Heartbeat",{}]') == '[3,"7",{"currentTime":"2024-05-01T10:00:00Z"}]'
        )
    [noted] = central_system.problems
    assert noted.startswith(f"CP1: {problem}")


async def test_a_long_or_repeated_message_id_is_answered_and_noted(central_system: JsonCentralSystem) -> None:
    """OCPP-J 1.6, 4.1.4."""
    long = "x" * 37
    async with plug(central_system) as socket:
        assert long in await told(socket, f'[2,"{long}","Heartbeat",{{}}]')
        await told(socket, '[2,"1","Heartbeat",{}]')
        await told(socket, '[2,"1","Heartbeat",{}]')
    assert central_system.problems == [
        f"CP1: message id '{long}'; expected text of at most 36 characters",
        "CP1: Heartbeat: message id '1' was used before on this connection (4.1.4)",
    ]


async def test_a_binary_frame_is_answered_and_noted(central_system: JsonCentralSystem) -> None:
    async with plug(central_system) as socket:
        await socket.send(b'[2,"1","Heartbeat",{}]')
        assert json.loads(await socket.recv())[0] == 3
    [noted] = central_system.problems
    assert noted.startswith("CP1: a binary frame; expected text")


async def test_a_second_call_before_the_answer_to_the_first_is_noted(
    central_system: JsonCentralSystem,
) -> None:
    """OCPP-J 1.6, 4.1.1."""
    central_system.answer_delay = 0.05
    async with plug(central_system) as socket:
        await socket.send('[2,"1","Heartbeat",{}]')
        await socket.send('[2,"2","Authorize",{"idTag":"A"}]')
        answers = [json.loads(await socket.recv())[1] for _ in range(2)]
        assert answers == ["1", "2"]
        await told(socket, '[2,"3","Heartbeat",{}]')
    assert central_system.problems == [
        "CP1: Authorize: sent while 1 CALL of the same side had no answer (4.1.1)"
    ]


async def test_a_time_without_offset_is_noted(central_system: JsonCentralSystem) -> None:
    """The schema says date-time, RFC 3339; the package does not look at it."""
    async with plug(central_system) as socket:
        await told(socket, START.replace("00Z", "00"))
    assert central_system.problems == [
        "CP1: StartTransaction: timestamp '2024-05-01T10:00:00' is not a date-time of RFC 3339"
    ]


async def test_a_fault_of_the_simulator_itself_is_loud(central_system: JsonCentralSystem) -> None:
    def broken_clock() -> datetime:
        raise OSError("no time")

    central_system.now = broken_clock
    async with plug(central_system) as socket:
        assert json.loads(await told(socket, '[2,"1","Heartbeat",{}]'))[2] == "InternalError"
    [noted] = central_system.problems
    assert noted.startswith("Traceback")
    assert noted.endswith("OSError: no time\n")


# --- Asking --------------------------------------------------------------------------------------------


async def answer_with(socket: ClientConnection, reply: str) -> Any:
    """Wait for a CALL and answer it; ``@`` in the reply stands for the message id."""
    call = json.loads(await socket.recv())
    await socket.send(reply.replace("@", call[1]))
    return call


PROFILE = {
    "chargingProfileId": 1,
    "stackLevel": 0,
    "chargingProfilePurpose": "TxProfile",
    "chargingProfileKind": "Absolute",
    "validFrom": "2024-05-01T10:00:00Z",
    "chargingSchedule": {
        "duration": 60,
        "chargingRateUnit": "A",
        "chargingSchedulePeriod": [{"startPeriod": 0, "limit": Decimal("8.1"), "numberPhases": 3}],
        "minChargingRate": Decimal("6.0"),
    },
}
STATUS = {"status": "Accepted"}


@pytest.mark.parametrize(
    ("action", "payload", "answer"),
    [
        ("CancelReservation", {"reservationId": 1}, STATUS),
        ("ChangeAvailability", {"connectorId": 0, "type": "Operative"}, {"status": "Scheduled"}),
        ("ChangeConfiguration", {"key": "K", "value": ""}, {"status": "RebootRequired"}),
        ("ClearCache", {}, STATUS),
        ("ClearChargingProfile", {"id": 1}, {"status": "Unknown"}),
        ("DataTransfer", {"vendorId": "X", "messageId": "m", "data": "{}"}, STATUS | {"data": "<>"}),
        (
            "GetCompositeSchedule",
            {"connectorId": 1, "duration": 60, "chargingRateUnit": "A"},
            STATUS
            | {
                "connectorId": 1,
                "scheduleStart": "2024-05-01T10:00:00Z",
                "chargingSchedule": {
                    "chargingRateUnit": "A",
                    "chargingSchedulePeriod": [{"startPeriod": 0, "limit": Decimal("8.1")}],
                },
            },
        ),
        (
            "GetConfiguration",
            {"key": ["A", "B"]},
            {"configurationKey": [{"key": "A", "readonly": True, "value": "1"}], "unknownKey": ["B"]},
        ),
        (
            "GetDiagnostics",
            {
                "location": "ftp://x/",
                "retries": 1,
                "retryInterval": 2,
                "startTime": "2024-05-01T10:00:00Z",
                "stopTime": "2024-05-01T11:00:00Z",
            },
            {"fileName": "f"},
        ),
        ("GetLocalListVersion", {}, {"listVersion": -1}),
        (
            "RemoteStartTransaction",
            {"idTag": "A", "connectorId": 1, "chargingProfile": PROFILE},
            {"status": "Rejected"},
        ),
        ("RemoteStopTransaction", {"transactionId": 1}, STATUS),
        (
            "ReserveNow",
            {
                "connectorId": 1,
                "expiryDate": "2024-05-01T10:00:00Z",
                "idTag": "A",
                "reservationId": 1,
                "parentIdTag": "B",
            },
            {"status": "Occupied"},
        ),
        ("Reset", {"type": "Soft"}, STATUS),
        (
            "SendLocalList",
            {
                "listVersion": 1,
                "updateType": "Full",
                "localAuthorizationList": [
                    {"idTag": "A", "idTagInfo": {"status": "Accepted", "parentIdTag": "B"}}
                ],
            },
            {"status": "VersionMismatch"},
        ),
        ("SetChargingProfile", {"connectorId": 1, "csChargingProfiles": PROFILE}, STATUS),
        (
            "TriggerMessage",
            {"requestedMessage": "MeterValues", "connectorId": 1},
            {"status": "NotImplemented"},
        ),
        ("UnlockConnector", {"connectorId": 1}, {"status": "UnlockFailed"}),
        (
            "UpdateFirmware",
            {
                "location": "ftp://x/",
                "retrieveDate": "2024-05-01T10:00:00Z",
                "retries": 1,
                "retryInterval": 2,
            },
            {},
        ),
    ],
)
async def test_counted_actions_can_be_asked_and_keeps_its_names(
    central_system: JsonCentralSystem, action: str, payload: dict[str, Any], answer: dict[str, Any]
) -> None:
    reply = json.dumps([3, "@", answer], default=float)
    async with plug(central_system) as socket, asyncio.TaskGroup() as both:
        called = both.create_task(answer_with(socket, reply))
        await central_system.connection_of("CP1")
        assert await central_system.call("CP1", action, **payload) == answer
    call = called.result()
    assert (call[0], call[2]) == (2, action)
    assert json.loads(json.dumps(call[3]), parse_float=Decimal) == payload
    assert central_system.problems == []
    assert central_system.answered == {"CP1": 1}


async def test_a_decimal_stands_on_the_wire_with_its_one_digit(central_system: JsonCentralSystem) -> None:
    async with plug(central_system) as socket, asyncio.TaskGroup() as both:
        await central_system.connection_of("CP1")
        both.create_task(
            central_system.call("CP1", "SetChargingProfile", connectorId=1, csChargingProfiles=PROFILE)
        )
        frame = str(await socket.recv())
        assert '"limit":8.1,' in frame
        assert '"minChargingRate":6.0}' in frame
        await socket.send(f'[3,"{json.loads(frame)[1]}",{{"status":"Accepted"}}]')


async def test_a_callerror_is_raised(central_system: JsonCentralSystem) -> None:
    async with plug(central_system) as socket, asyncio.TaskGroup() as both:
        both.create_task(answer_with(socket, '[4,"@","NotSupported","no relay",{"why":1}]'))
        await central_system.connection_of("CP1")
        with pytest.raises(CallRefused) as refused:
            await central_system.call("CP1", "ClearCache")
    found = (refused.value.code, refused.value.description, refused.value.details)
    assert found == ("NotSupported", "no relay", {"why": 1})
    assert str(refused.value) == "NotSupported: no relay"
    assert central_system.problems == []


async def test_an_unknown_error_code_is_raised_and_noted(central_system: JsonCentralSystem) -> None:
    async with plug(central_system) as socket, asyncio.TaskGroup() as both:
        both.create_task(answer_with(socket, '[4,"@","Oops","",{}]'))
        await central_system.connection_of("CP1")
        with pytest.raises(CallRefused, match="Oops"):
            await central_system.call("CP1", "ClearCache")
    assert central_system.problems == ["CP1: ClearCache: error code 'Oops' is not one of OCPP-J 1.6"]


@pytest.mark.parametrize(
    ("reply", "problem"),
    [
        ('[3,"@",{}]', "ClearCache: answer: ProtocolError: 'status' is a required property"),
        ('[3,"@",{"status":"Maybe"}]', "ClearCache: answer: FormatViolation: "),
        ('[3,"@",{"status":"Accepted","x":1}]', "ClearCache: answer: FormatViolation: Additional"),
    ],
)
async def test_an_answer_that_breaks_the_schema_is_none_and_noted(
    central_system: JsonCentralSystem, reply: str, problem: str
) -> None:
    async with plug(central_system) as socket, asyncio.TaskGroup() as both:
        both.create_task(answer_with(socket, reply))
        await central_system.connection_of("CP1")
        with pytest.raises(Unanswered, match="ClearCache: the answer breaks the schema"):
            await central_system.call("CP1", "ClearCache")
    [noted] = central_system.problems
    assert noted.startswith(f"CP1: {problem}")


@pytest.mark.parametrize(
    ("reply", "problem"),
    [
        ('[3,"@",null]', "ClearCache: CALLRESULT with None; expected an object"),
        ('[4,"@","InternalError","",null]', "ClearCache: CALLERROR with '' and None"),
    ],
)
async def test_a_reply_without_an_object_is_ignored_and_noted(reply: str, problem: str) -> None:
    async with JsonCentralSystem(call_timeout=0.05) as central_system, plug(central_system) as socket:
        async with asyncio.TaskGroup() as both:
            both.create_task(answer_with(socket, reply))
            await central_system.connection_of("CP1")
            with pytest.raises(Unanswered, match=r"ClearCache: no answer within 0\.05 s"):
                await central_system.call("CP1", "ClearCache")
        [noted] = central_system.problems
        assert noted.startswith(f"CP1: {problem}")


async def test_a_late_reply_is_no_problem_but_a_second_one_is() -> None:
    async with JsonCentralSystem(call_timeout=0.02) as central_system, plug(central_system) as socket:
        await central_system.connection_of("CP1")
        with pytest.raises(Unanswered):
            await central_system.call("CP1", "ClearCache")
        message_id = json.loads(await socket.recv())[1]
        for _ in range(2):
            await socket.send(f'[3,"{message_id}",{{"status":"Accepted"}}]')
        await told(socket, '[2,"1","Heartbeat",{}]')
        assert central_system.problems == [f"CP1: a reply to '{message_id}', which was answered"]


async def test_who_is_not_connected_cannot_be_asked(central_system: JsonCentralSystem) -> None:
    with pytest.raises(Unanswered, match="ClearCache: CP1 is not connected"):
        await central_system.call("CP1", "ClearCache")


async def test_a_payload_of_ours_that_breaks_the_schema_is_our_own_mistake(
    central_system: JsonCentralSystem,
) -> None:
    async with plug(central_system):
        await central_system.connection_of("CP1")
        with pytest.raises(ValueError, match="Reset: FormatViolation"):
            await central_system.call("CP1", "Reset", type="Medium")


async def test_a_connection_that_ends_ends_the_call_at_once(central_system: JsonCentralSystem) -> None:
    async with plug(central_system) as socket:
        await central_system.connection_of("CP1")
        async with asyncio.TaskGroup() as both:
            call = both.create_task(raised(central_system, "ClearCache"))
            await socket.recv()
            await socket.close()
    assert call.result() == "ClearCache: the connection was closed"


async def raised(central_system: JsonCentralSystem, action: str) -> str:
    with pytest.raises(Unanswered) as unanswered:
        await central_system.call("CP1", action)
    return str(unanswered.value)


async def test_a_call_of_ours_may_cross_one_of_theirs(central_system: JsonCentralSystem) -> None:
    """OCPP-J 1.6, 4.1.1."""
    async with plug(central_system) as socket, asyncio.TaskGroup() as both:
        await central_system.connection_of("CP1")
        asked = both.create_task(central_system.call("CP1", "ClearCache"))
        call = json.loads(await socket.recv())
        assert json.loads(await told(socket, '[2,"1","Heartbeat",{}]'))[0] == 3
        await socket.send(f'[3,"{call[1]}",{{"status":"Accepted"}}]')
        assert await asked == {"status": "Accepted"}
    assert central_system.problems == []


# --- Awkward on purpose --------------------------------------------------------------------------------


async def test_it_can_be_silent_and_is_then_spoken_to_again(central_system: JsonCentralSystem) -> None:
    central_system.silent_on = {"Heartbeat"}
    async with plug(central_system) as socket:
        await socket.send('[2,"1","Heartbeat",{}]')
        assert json.loads(await told(socket, '[2,"2","Authorize",{"idTag":"A"}]'))[1] == "2"
    assert [action for _, action, _ in central_system.received] == ["Heartbeat", "Authorize"]
    assert central_system.problems == []


async def test_it_can_refuse(central_system: JsonCentralSystem) -> None:
    central_system.errors["Heartbeat"] = ("InternalError", "out of order")
    async with plug(central_system) as socket:
        answer = json.loads(await told(socket, '[2,"1","Heartbeat",{}]'))
        assert answer == [4, "1", "InternalError", "out of order", {}]
        await told(socket, '[2,"2","Authorize",{"idTag":"A"}]')
    assert central_system.problems == []


async def test_it_can_hang_up_in_the_middle_of_a_call(central_system: JsonCentralSystem) -> None:
    central_system.hang_up_on = {ALL}
    async with plug(central_system) as socket:
        with pytest.raises(ConnectionClosed) as closed:
            await told(socket, '[2,"1","Heartbeat",{}]')
        assert closed.value.rcvd is None  # no closing handshake
    assert central_system.problems == []


async def test_a_slow_answer_does_not_keep_a_reply_from_being_heard(
    central_system: JsonCentralSystem,
) -> None:
    central_system.silent_on = {ALL}
    async with plug(central_system) as socket, asyncio.TaskGroup() as both:
        await socket.send('[2,"1","Heartbeat",{}]')
        both.create_task(answer_with(socket, '[3,"@",{"status":"Accepted"}]'))
        await central_system.arrival_of("Heartbeat")
        assert await central_system.call("CP1", "ClearCache") == {"status": "Accepted"}


async def test_it_can_close_and_cut_a_connection(central_system: JsonCentralSystem) -> None:
    async with plug(central_system) as socket:
        await central_system.connection_of("CP1")
        await central_system.hang_up("CP1", 1012)
        with pytest.raises(ConnectionClosed, match="1012"):
            await socket.recv()
    async with plug(central_system) as socket:
        await central_system.connection_of("CP1")
        central_system.cut("CP1")
        with pytest.raises(ConnectionClosed, match="no close frame"):
            await socket.recv()


async def test_stopping_sends_everybody_away_and_keeps_the_port(central_system: JsonCentralSystem) -> None:
    async with plug(central_system) as socket:
        port = central_system.port
        await central_system.stop()
        with pytest.raises(ConnectionClosed, match="1001"):
            await socket.recv()
    with pytest.raises(ConnectionRefusedError):
        await plug(central_system)
    await central_system.start()
    assert central_system.port == port
    async with plug(central_system):
        pass


async def test_an_arrival_is_found_after_a_mark_even_when_the_past_was_cut(
    central_system: JsonCentralSystem,
) -> None:
    async with plug(central_system) as one, plug(central_system, "CP2") as two:
        await told(one, '[2,"1","Authorize",{"idTag":"A"}]')
        await told(one, '[2,"2","Authorize",{"idTag":"B"}]')
        mark = central_system.heard
        await told(two, '[2,"1","Authorize",{"idTag":"C"}]')
        await told(one, '[2,"3","Authorize",{"idTag":"D"}]')
    del central_system.received[:1]
    assert await central_system.arrival_of("Authorize") == ("CP1", "Authorize", {"idTag": "B"})
    assert await central_system.arrival_of("Authorize", after=mark) == ("CP2", "Authorize", {"idTag": "C"})
    of_one = await central_system.arrival_of("Authorize", identity="CP1", after=mark)
    assert of_one == ("CP1", "Authorize", {"idTag": "D"})


async def test_waiting_for_what_does_not_come_ends(central_system: JsonCentralSystem) -> None:
    with pytest.raises(Unanswered, match=r"no StartTransaction arrived within 0\.01 s"):
        await central_system.arrival_of("StartTransaction", within=0.01)
    with pytest.raises(Unanswered, match=r"CP1 did not connect within 0\.01 s"):
        await central_system.connection_of("CP1", within=0.01)


# --- The package ---------------------------------------------------------------------------------------


def test_every_name_of_the_schemas_survives_the_packages_two_spellings() -> None:
    """The package turns camelCase into snake_case and back; this is where names would be bent."""

    def names(schema: Any) -> set[str]:
        if not isinstance(schema, dict):
            return set()
        inner = [names(value) for value in schema.values()]
        return set(schema.get("properties", {})).union(*inner)

    schemas = Path(ocpp.v16.__file__).parent / "schemas"
    found = set().union(*(names(json.loads(file.read_text())) for file in schemas.glob("*.json")))
    assert {"idTag", "csChargingProfiles", "transactionData", "iccid"} <= found
    for name in found:
        snake = ocpp.charge_point.camel_to_snake_case({name: 1})
        assert ocpp.charge_point.snake_to_camel_case(snake) == {name: 1}
