"""Central systems as the field has them, as frames on a WebSocket, and the frames they get back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.typing import Data, Subprotocol

from tests.interop.raw import Ear, an_ear, envelope, post, talk
from tests.interop.running import Running, configuration, running

HEARTBEAT_RESULT = {"currentTime": "2024-05-01T10:00:00Z"}


@dataclass
class Socket:
    """The central system's end of one connection: what came is kept as it stood on the wire."""

    connection: ServerConnection
    arrived: list[Data] = field(default_factory=list)

    async def hears(self) -> str:
        """The next frame."""
        async with asyncio.timeout(5.0):
            frame = await self.connection.recv()
        self.arrived.append(frame)
        assert isinstance(frame, str)
        return frame

    async def hears_nothing(self) -> None:
        """Nothing comes for as long as anybody here thinks."""
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await self.connection.recv()

    async def says(self, *frames: str | bytes | list[Any]) -> None:
        for frame in frames:
            await self.connection.send(json.dumps(frame) if isinstance(frame, list) else frame)

    async def is_asked(self, action: str) -> str:
        """The message id of the next frame, which is a CALL of this action."""
        message_type, message_id, found, _ = json.loads(await self.hears())
        assert (message_type, found) == (2, action)
        assert 0 < len(message_id) <= 36
        return str(message_id)


@dataclass
class Here:
    """One charge point of plain bytes and one central system of plain frames, connected."""

    gateway: Running
    socket: Socket
    ear: Ear
    connections: asyncio.Queue[ServerConnection]

    async def post(self, body: str = "<cs:heartbeatRequest/>", responses: int = 1) -> str:
        sent = post(envelope("CP1", body, self.ear.url))
        return await talk(self.gateway.host_and_port, sent, responses=responses)

    async def works(self) -> None:
        """The connection is in order: a call goes each way."""
        asked = len(self.ear.heard)
        await self.socket.says([2, "last", "ClearCache", {}])
        assert await self.socket.hears() == '[3,"last",{"status":"Accepted"}]'
        assert len(self.ear.heard) == asked + 1
        async with asyncio.TaskGroup() as tasks:
            posting = tasks.create_task(self.post())
            await self.socket.says([3, await self.socket.is_asked("Heartbeat"), HEARTBEAT_RESULT])
        assert "<ocpp:currentTime>2024-05-01T10:00:00Z</ocpp:currentTime>" in posting.result()


def accepting(request: bytes) -> bytes:
    """Answers every call that has a status for an answer."""
    name = request.partition(b"<soap:Body><ocpp:")[2].partition(b"Request")[0].decode()
    status = "Unlocked" if name == "unlockConnector" else "Accepted"
    body = (
        '<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"><s:Body>'
        f'<{name}Response xmlns="urn://Ocpp/Cp/2015/10/"><status>{status}</status></{name}Response>'
        "</s:Body></s:Envelope>"
    ).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


@asynccontextmanager
async def connected(call_timeout: str = "5s") -> AsyncIterator[Here]:
    connections: asyncio.Queue[ServerConnection] = asyncio.Queue()

    async def keep(connection: ServerConnection) -> None:
        await connections.put(connection)
        await connection.wait_closed()

    async with (
        serve(keep, "127.0.0.1", 0, subprotocols=[Subprotocol("ocpp1.6")], close_timeout=1.0) as server,
        an_ear() as ear,
    ):
        ear.answer = accepting
        port = next(iter(server.sockets)).getsockname()[1]
        url = f"ws://127.0.0.1:{port}/ocpp"
        async with (
            running(configuration(url, call_timeout=call_timeout)) as gateway,
            asyncio.TaskGroup() as tasks,
        ):
            posting = tasks.create_task(talk(gateway.host_and_port, post(envelope("CP1", url=ear.url))))
            socket = Socket(await connections.get())
            assert socket.connection.request is not None
            assert socket.connection.request.path == "/ocpp/CP1"
            await socket.says([3, await socket.is_asked("Heartbeat"), HEARTBEAT_RESULT])
            assert (await posting).startswith("HTTP/1.1 200 OK\r\n")
            yield Here(gateway, socket, ear, connections)


@pytest.fixture
async def here() -> AsyncIterator[Here]:
    async with connected() as here:
        yield here
        await here.works()


# --- Calls to the charge point ---------------------------------------------------------------------------


async def test_call_before_the_reply_to_the_charge_points_own(here: Here) -> None:
    """Calls of the two parties may cross (OCPP-J 1.6, 4.1.1)."""
    async with asyncio.TaskGroup() as tasks:
        posting = tasks.create_task(here.post())
        message_id = await here.socket.is_asked("Heartbeat")
        await here.socket.says([2, "cs-1", "UnlockConnector", {"connectorId": 1}])
        assert await here.socket.hears() == '[3,"cs-1",{"status":"Unlocked"}]'
        assert not posting.done()
        await here.socket.says([3, message_id, HEARTBEAT_RESULT])
    assert "<ocpp:currentTime>2024-05-01T10:00:00Z</ocpp:currentTime>" in posting.result()


async def test_calls_that_do_not_wait_are_served_one_by_one(here: Here) -> None:
    here.ear.may_answer.clear()
    await here.socket.says(
        [2, "1", "ClearCache", {}],
        [2, "2", "UnlockConnector", {"connectorId": 1}],
        [2, "3", "Reset", {"type": "Soft"}],
    )
    await here.ear.until(1)
    await here.socket.hears_nothing()
    assert len(here.ear.heard) == 1
    here.ear.may_answer.set()
    assert [await here.socket.hears() for _ in range(3)] == [
        '[3,"1",{"status":"Accepted"}]',
        '[3,"2",{"status":"Unlocked"}]',
        '[3,"3",{"status":"Accepted"}]',
    ]
    actions = [request.partition(b'action="/')[2].partition(b'"')[0] for request in here.ear.heard]
    assert actions == [b"ClearCache", b"UnlockConnector", b"Reset"]


async def test_call_repeated_word_for_word_reaches_the_charge_point_once(here: Here) -> None:
    call = '[2,"7","UnlockConnector",{"connectorId":1}]'
    await here.socket.says(call)
    first = await here.socket.hears()
    await here.socket.says(call)
    assert await here.socket.hears() == first == '[3,"7",{"status":"Unlocked"}]'
    assert len(here.ear.heard) == 1
    assert [event.kind for event in here.gateway.events][-1] == "repeated call"


async def test_call_repeated_while_the_charge_point_thinks_is_answered_once(here: Here) -> None:
    here.ear.may_answer.clear()
    call = '[2,"7","UnlockConnector",{"connectorId":1}]'
    await here.socket.says(call, call, call, [2, "8", "ClearCache", {}])
    await here.gateway.until(lambda: len(here.gateway.told("repeated call")) == 2)
    here.ear.may_answer.set()
    assert await here.socket.hears() == '[3,"7",{"status":"Unlocked"}]'
    assert await here.socket.hears() == '[3,"8",{"status":"Accepted"}]'
    assert len(here.ear.heard) == 2


async def test_one_message_id_for_everything(here: Here) -> None:
    """OCPP-J 1.6, 4.1.4 forbids it; who does it is understood nevertheless."""
    await here.socket.says([2, "1", "ClearCache", {}])
    assert await here.socket.hears() == '[3,"1",{"status":"Accepted"}]'
    await here.socket.says([2, "1", "UnlockConnector", {"connectorId": 1}])
    assert await here.socket.hears() == '[3,"1",{"status":"Unlocked"}]'
    await here.socket.says([2, "1", "UnlockConnector", {"connectorId": 2}])
    assert await here.socket.hears() == '[3,"1",{"status":"Unlocked"}]'
    assert len(here.ear.heard) == 3


@pytest.mark.parametrize("length", [36, 37, 255])
async def test_message_id_of_any_length_is_given_back(here: Here, length: int) -> None:
    message_id = "ä" * length
    await here.socket.says([2, message_id, "ClearCache", {}])
    assert await here.socket.hears() == f'[3,"{message_id}",{{"status":"Accepted"}}]'


REFUSED = [
    (
        '[2,"1","Sparkle",{}]',
        '[4,"1","NotImplemented","Sparkle: is not an action of OCPP 1.6",{"path":"Sparkle"}]',
    ),
    (
        '[2,"1","Heartbeat",{}]',
        '[4,"1","NotSupported","Heartbeat: is not an action that a charge point answers",'
        '{"path":"Heartbeat"}]',
    ),
    (
        '[2,"1","Reset",{"type":"Warm"}]',
        "[4,\"1\",\"PropertyConstraintViolation\",\"Reset.type: 'Warm' is not one of 'Hard', 'Soft'\","
        '{"path":"Reset.type"}]',
    ),
]


@pytest.mark.parametrize(("sent", "heard"), REFUSED, ids=[sent for sent, _ in REFUSED])
async def test_call_that_breaks_the_rules_is_refused_and_not_passed_on(
    here: Here, sent: str, heard: str
) -> None:
    await here.socket.says(sent)
    assert await here.socket.hears() == heard
    assert here.ear.heard == []


BROKEN = [
    ('[2,"1","Reset",{}]', "OccurenceConstraintViolation", "Reset.type: is missing"),
    (
        '[2,"1","UnlockConnector",{"connectorId":"one"}]',
        "TypeConstraintViolation",
        "UnlockConnector.connectorId: 'one'",
    ),
    ('[2,"1","Reset",{"type":null}]', "OccurenceConstraintViolation", "Reset.type: "),
    ('[2,"1","ClearCache",[]]', "FormationViolation", "CALL.payload: found an array, expected an object"),
    ('[2,"1","ClearCache"]', "FormationViolation", "CALL: found 3 elements, expected 4"),
    ('[2,"1","ClearCache",{},{}]', "FormationViolation", "CALL: found 5 elements, expected 4"),
    ('[2,"1",null,{}]', "FormationViolation", "CALL.action: found null, expected a name"),
    ('[2,"1","Reset",{"a":1,"a":2}]', "FormationViolation", "CALL: member 'a' occurs twice in one object"),
    ('[2,"1","ClearCache",{', "FormationViolation", "CALL: is not JSON: "),
]


@pytest.mark.parametrize(("sent", "code", "said"), BROKEN, ids=[sent for sent, _, _ in BROKEN])
async def test_refusal_says_where_the_call_is_broken(here: Here, sent: str, code: str, said: str) -> None:
    await here.socket.says(sent)
    answer = json.loads(await here.socket.hears())
    assert answer[:3] == [4, "1", code]
    assert answer[3].startswith(said)
    assert answer[4] == {"path": said.partition(":")[0]}
    assert here.ear.heard == []


@pytest.mark.parametrize(
    "rubbish",
    [
        "", "hello", "{}", "[]", "null", "[2]", '[2,7,"ClearCache",{}]', '[5,"1",{}]', '["2","1","Reset",{}]',
        b"\x00\xff\x00", '[3,"nobody asked",{}]', '[4,"nobody asked","GenericError","",{}]',
        f'[2,"{"x" * 256}","ClearCache",{{}}]', "[" * 10_000,
    ],
    ids=lambda rubbish: str(rubbish)[:20],
)  # fmt: skip
async def test_what_cannot_be_answered_is_dropped_and_noted(here: Here, rubbish: str | bytes) -> None:
    before = len(here.gateway.events)
    await here.socket.says(rubbish)
    await here.gateway.until(lambda: len(here.gateway.events) > before)
    [event] = here.gateway.events[before:]
    assert event.kind in ("malformed message", "unknown reply")


async def test_binary_frame_is_read_when_it_is_one(here: Here) -> None:
    await here.socket.says(b'[2,"1","ClearCache",{}]')
    assert await here.socket.hears() == '[3,"1",{"status":"Accepted"}]'


async def test_payload_of_null_is_an_empty_one(here: Here) -> None:
    await here.socket.says([2, "1", "ClearCache", None])
    assert await here.socket.hears() == '[3,"1",{"status":"Accepted"}]'


async def test_calls_beyond_what_may_wait_are_refused_at_once(here: Here) -> None:
    here.ear.may_answer.clear()
    await here.socket.says(*([2, f"{number}", "ClearCache", {}] for number in range(40)))
    message_type, message_id, code, description, _ = json.loads(await here.socket.hears())
    assert (message_type, message_id, code) == (4, "33", "GenericError")
    assert description == "32 CALLs wait already to be served"
    for number in range(34, 40):
        assert json.loads(await here.socket.hears())[:2] == [4, f"{number}"]
    await here.socket.connection.close()
    here.ear.may_answer.set()
    here.socket = Socket(await here.connections.get())


# --- Replies to the charge point -------------------------------------------------------------------------


ERRORS: list[tuple[list[Any], str, str]] = [
    (["GenericError", "no", {}], "Receiver", "GenericError: no"),
    ([None, None, None], "Receiver", "GenericError"),
    (["InternalError"], "Receiver", "InternalError"),
    (["InternalError", "why", None], "Receiver", "InternalError: why"),
    (["SecurityError", "no", "because"], "Sender", "SecurityError: no"),
    (["OccurrenceConstraintViolation", "no", {}], "Sender", "OccurenceConstraintViolation: no"),
    (["NoSuchTag", "gone", {}], "Receiver", "GenericError: NoSuchTag: gone"),
    ([500, {"a": 1}, []], "Receiver", 'GenericError: {"a":1}'),
    (["GenericError", "x" * 5000, {}], "Receiver", f"GenericError: {'x' * 986}"),
]


@pytest.mark.parametrize(
    ("error", "code", "said"), ERRORS, ids=[json.dumps(error)[:50] for error, _, _ in ERRORS]
)
async def test_call_error_of_any_form_becomes_a_fault(
    here: Here, error: list[Any], code: str, said: str
) -> None:
    async with asyncio.TaskGroup() as tasks:
        posting = tasks.create_task(here.post())
        await here.socket.says([4, await here.socket.is_asked("Heartbeat"), *error])
    response = posting.result()
    assert f"<soap:Value>soap:{code}</soap:Value>" in response
    assert response.partition('<soap:Text xml:lang="en">')[2].partition("</soap:Text>")[0] == said


RESULTS = [
    ("{}", "HeartbeatResponse.currentTime: is missing"),
    ('{"currentTime":"soon"}', "HeartbeatResponse.currentTime: 'soon' is not a"),
    ("null", "HeartbeatResponse.currentTime: is missing"),
    ("[]", "CALLRESULT.payload: found an array, expected an object"),
    ('{"currentTime":', "CALLRESULT: is not JSON"),
    ('{"currentTime":"2024-05-01T10:00:00Z"},"more"', "CALLRESULT: found 4 elements, expected 3"),
]


@pytest.mark.parametrize(("result", "said"), RESULTS, ids=[result for result, _ in RESULTS])
async def test_broken_result_ends_the_call_at_once(here: Here, result: str, said: str) -> None:
    async with asyncio.TaskGroup() as tasks:
        posting = tasks.create_task(here.post())
        await here.socket.says(f'[3,"{await here.socket.is_asked("Heartbeat")}",{result}]')
    response = posting.result()
    assert "<soap:Value>soap:Receiver</soap:Value>" in response
    reason = response.partition('<soap:Text xml:lang="en">')[2].partition("</soap:Text>")[0]
    assert reason.startswith(f"InternalError: the reply of the central system breaks the rules: {said}")


async def test_reply_under_another_id_is_not_taken_for_ours(here: Here) -> None:
    async with asyncio.TaskGroup() as tasks:
        posting = tasks.create_task(here.post())
        message_id = await here.socket.is_asked("Heartbeat")
        await here.socket.says(
            [3, "other", {"currentTime": "1999-01-01T00:00:00Z"}],
            [3, message_id.upper() + "x", {"currentTime": "1999-01-01T00:00:00Z"}],
            [3, message_id, HEARTBEAT_RESULT],
            [3, message_id, {"currentTime": "1999-01-01T00:00:00Z"}],
        )
    assert "<ocpp:currentTime>2024-05-01T10:00:00Z</ocpp:currentTime>" in posting.result()
    await here.gateway.until(lambda: len(here.gateway.told("unknown reply")) == 3)


async def test_late_reply_is_dropped_and_the_connection_goes_on() -> None:
    async with connected(call_timeout="250ms") as here:
        async with asyncio.TaskGroup() as tasks:
            posting = tasks.create_task(here.post())
            late = await here.socket.is_asked("Heartbeat")
        assert "<ocpp:currentTime>20" in posting.result()  # it is answered here
        await here.socket.says([3, late, {"currentTime": "1999-01-01T00:00:00Z"}])
        await here.gateway.until(lambda: bool(here.gateway.told("late reply")))
        await here.works()


async def test_second_call_waits_for_the_first_reply(here: Here) -> None:
    """One CALL at a time in each direction (OCPP-J 1.6, 4.1.1)."""
    async with asyncio.TaskGroup() as tasks:
        posting = [tasks.create_task(here.post()) for _ in range(2)]
        first = await here.socket.is_asked("Heartbeat")
        await here.socket.hears_nothing()
        await here.socket.says([3, first, HEARTBEAT_RESULT])
        second = await here.socket.is_asked("Heartbeat")
        assert second != first
        await here.socket.says([3, second, HEARTBEAT_RESULT])
    assert all("2024-05-01T10:00:00Z" in each.result() for each in posting)


async def test_frame_that_is_too_large_costs_the_connection_and_no_more(here: Here) -> None:
    await here.socket.says([2, "1", "DataTransfer", {"vendorId": "V", "data": "x" * 300_000}])
    await here.socket.connection.wait_closed()
    assert here.socket.connection.close_code == 1009
    here.socket = Socket(await here.connections.get())


async def test_connection_is_opened_again_when_it_is_closed_or_cut(here: Here) -> None:
    for code in (1000, 1001, 1011, 4000):
        await here.socket.connection.close(code)
        here.socket = Socket(await here.connections.get())
    here.socket.connection.transport.abort()
    here.socket = Socket(await here.connections.get())
