from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from tests.fakes import PATIENCE, Clock, Listened, listen
from wattbridge.links.json_link import Closed, JsonLimits, JsonLink
from wattbridge.ocpp.actions import JsonCodec, dialect
from wattbridge.ocpp.errors import Unreachable, Violation
from wattbridge.ocpp.messages import (
    Breach,
    Call,
    CallError,
    CallResult,
    Change,
    Check,
    Note,
    Passage,
    Payload,
    Reply,
    Side,
)
from wattbridge.ocpp.payloads import Options
from wattbridge.relay.journal import Event, Journal, Record
from wattbridge.relay.session import Answer, Session

HEARTBEAT = Call("Heartbeat", {})
BOOT = Call("BootNotification", {"chargePointVendor": "V", "chargePointModel": "M"})
READ = Change("status", "accepted", "Accepted", "letter-case")
WRITTEN = Change("timestamp", "local", "utc", "to-utc")


class FakeCodec:
    """Knows Heartbeat, BootNotification, Reset and ClearCache; ``bad`` in a payload breaks the schema."""

    form = ""

    def read_call(self, action: str, payload: Any) -> tuple[Call, list[Note]]:
        if action not in ("Reset", "ClearCache"):
            raise Violation("NotImplemented", action, "is not an action of OCPP 1.6", "unsupported")
        return Call(action, self._checked(action, payload)), []

    def write_call(self, call: Call) -> tuple[Payload, list[Note]]:
        return self._checked(call.action, call.payload), [WRITTEN]

    def read_result(self, action: str, payload: Any) -> tuple[Payload, list[Note]]:
        return self._checked(f"{action}Response", payload), [READ]

    def write_result(self, action: str, payload: Payload) -> tuple[Payload, list[Note]]:
        return self._checked(f"{action}Response", payload), [WRITTEN]

    def _checked(self, name: str, payload: Payload) -> Payload:
        if "bad" in payload:
            raise Violation("TypeConstraintViolation", f"{name}.bad", "'x' is no integer")
        if payload.get("status") == "bug":
            raise ZeroDivisionError("oops")
        return payload


@dataclass
class FakeChargePoint:
    """Answers Accepted, or what ``answer`` says; ``asked`` are the calls it got."""

    answer: Callable[[Call], Reply] = lambda call: CallResult({"status": "Accepted"})
    may_answer: asyncio.Event = field(default_factory=asyncio.Event)
    was_asked: asyncio.Event = field(default_factory=asyncio.Event)
    asked: list[Call] = field(default_factory=list)
    transport: str = "soap"
    version: str = "1.6"
    form: str = ""

    async def call(self, call: Call) -> Answer:
        self.asked.append(call)
        self.was_asked.set()
        await self.may_answer.wait()
        return Answer(self.answer(call), Passage("soap", b"<reset/>"), Passage("soap", b"<accepted/>"))

    async def close(self, reason: str) -> None:
        return None


def slow_to_send(clock: Clock) -> type[ClientConnection]:
    """Half a second of *clock* passes while the socket takes what is sent."""

    class SlowToSend(ClientConnection):
        def send_data(self) -> None:
            clock.now += 0.5 if self.protocol.writes else 0.0
            super().send_data()

    return SlowToSend


Asking = asyncio.Task[Answer | Unreachable]


@dataclass
class World:
    """A link, and the peer at the other end of its WebSocket, whose frames the test reads and writes."""

    link: JsonLink
    peer: ServerConnection
    charge_point: FakeChargePoint
    running: asyncio.Task[Closed]
    tasks: asyncio.TaskGroup
    journal: Journal
    records: asyncio.Queue[Record]
    events: asyncio.Queue[Event]

    def ask(self, call: Call) -> Asking:
        return self.tasks.create_task(self._asking(call))

    async def _asking(self, call: Call) -> Answer | Unreachable:
        try:
            return await self.link.call(call)
        except Unreachable as gone:  # a value, or it would end the task group
            return gone

    async def noted(self, kind: str) -> Event:
        while (event := await self.events.get()).kind != kind:
            pass
        return event


async def answer_to(asking: Asking) -> Answer:
    outcome = await asking
    assert isinstance(outcome, Answer)
    return outcome


async def failure_of(asking: Asking) -> tuple[str, str]:
    outcome = await asking
    assert isinstance(outcome, Unreachable)
    return outcome.reason, outcome.description


@contextlib.asynccontextmanager
async def a_world(
    limits: JsonLimits | None = None,
    *,
    max_size: int = 1 << 16,
    may_answer: bool = True,
    numbered: bool = True,
    clock: Clock | None = None,
) -> AsyncIterator[World]:
    connections: asyncio.Queue[ServerConnection] = asyncio.Queue()

    async def handle(connection: ServerConnection) -> None:
        connections.put_nowait(connection)
        await connection.wait_closed()

    journal, records, events = Journal(), asyncio.Queue[Record](), asyncio.Queue[Event]()
    journal.listen(record=records.put_nowait, event=events.put_nowait)
    session = Session("CP1", journal)
    charge_point = FakeChargePoint()
    if may_answer:
        charge_point.may_answer.set()
    session.attach(Side.CHARGE_POINT, charge_point)
    numbers = count(1)
    ids: dict[str, Any] = {"new_message_id": lambda: str(next(numbers))} if numbered else {}
    async with serve(handle, "127.0.0.1", 0, compression=None, ping_interval=None) as server:
        port = server.sockets[0].getsockname()[1]
        socket = await connect(
            f"ws://127.0.0.1:{port}",
            compression=None,
            ping_interval=None,
            max_size=max_size,
            proxy=None,
            create_connection=slow_to_send(clock) if clock else None,
        )
        peer = await connections.get()
        async with asyncio.TaskGroup() as tasks:
            link = JsonLink(
                socket,
                session,
                Side.CENTRAL_SYSTEM,
                FakeCodec(),
                journal,
                tasks,
                limits or JsonLimits(close_wait=1.0),
                wall_clock=lambda: 1714557600.0,
                clock=clock or time.monotonic,
                **ids,
            )
            running = tasks.create_task(link.run())
            yield World(link, peer, charge_point, running, tasks, journal, records, events)
            charge_point.may_answer.set()
            await peer.close()
    assert asyncio.all_tasks() == {asyncio.current_task()}


# --- asking ---


async def test_a_call_is_written_and_its_reply_read() -> None:
    async with a_world() as world:
        asking = world.ask(BOOT)
        text = '[2,"1","BootNotification",{"chargePointVendor":"V","chargePointModel":"M"}]'
        assert await world.peer.recv() == text
        reply = '[3,"1",{"status":"Accepted"}]'
        await world.peer.send(reply)
        assert await answer_to(asking) == Answer(
            CallResult({"status": "Accepted"}),
            Passage("json", text.encode(), (WRITTEN,)),
            Passage("json", reply.encode(), (READ,)),
        )


async def test_the_way_to_the_party_is_a_part_of_the_wait_for_it() -> None:
    """One in the same machine may have answered before the gateway is back from sending."""
    clock = Clock()
    async with a_world(clock=clock) as world:
        asking = world.ask(HEARTBEAT)
        await world.peer.recv()
        await world.peer.send('[3,"1",{}]')
        assert (await answer_to(asking)).waited == 0.5


async def test_a_callerror_is_a_reply() -> None:
    async with a_world() as world:
        asking = world.ask(HEARTBEAT)
        await world.peer.recv()
        await world.peer.send('[4,"1","SecurityError","boot first",{"x":1}]')
        answer = await answer_to(asking)
        assert answer.reply == CallError("SecurityError", "boot first", {"x": 1}, "call_error")
        assert answer.answered == Passage("json", b'[4,"1","SecurityError","boot first",{"x":1}]')


async def test_the_second_call_waits_for_the_reply_to_the_first() -> None:
    """One CALL at a time in each direction (OCPP-J 1.6, 4.1.1)."""
    async with a_world() as world:
        first, second = world.ask(HEARTBEAT), world.ask(BOOT)
        assert await world.peer.recv() == '[2,"1","Heartbeat",{}]'
        await world.peer.ping()
        await world.peer.send('[3,"1",{}]')
        await first
        assert await world.peer.recv() == (
            '[2,"2","BootNotification",{"chargePointVendor":"V","chargePointModel":"M"}]'
        )
        await world.peer.send('[3,"2",{}]')
        await second


async def test_a_null_payload_is_an_empty_one() -> None:
    async with a_world() as world:
        asking = world.ask(HEARTBEAT)
        await world.peer.recv()
        await world.peer.send('[3,"1",null]')
        answer = await answer_to(asking)
        assert answer.reply == CallResult({})
        assert answer.answered is not None
        assert answer.answered.notes == (Change("payload", "null", "{}", "null-payload"), READ)


async def test_a_reply_in_a_binary_message_is_read() -> None:
    async with a_world() as world:
        asking = world.ask(HEARTBEAT)
        await world.peer.recv()
        await world.peer.send(b'[3,"1",{}]')
        assert (await answer_to(asking)).reply == CallResult({})


@pytest.mark.parametrize(
    ("text", "problem", "code", "path", "reason"),
    [
        (
            '[3,"1",{"bad":"x"}]',
            "BootNotificationResponse.bad: 'x' is no integer",
            "TypeConstraintViolation",
            "BootNotificationResponse.bad",
            "schema",
        ),
        (
            '[3,"1",[]]',
            "CALLRESULT.payload: found an array, expected an object",
            "FormationViolation",
            "CALLRESULT.payload",
            "malformed",
        ),
    ],
)
async def test_a_broken_reply_is_an_error_inside_whoever_was_asked(
    text: str, problem: str, code: str, path: str, reason: str
) -> None:
    """The asker did nothing wrong, and must not be told so."""
    async with a_world() as world:
        asking = world.ask(BOOT)
        await world.peer.recv()
        await world.peer.send(text)
        answer = await answer_to(asking)
        assert answer.reply == CallError(
            "InternalError",
            f"the reply of the central system breaks the rules: {problem}",
            {"code": code, "path": path},
            reason,
        )
        assert answer.answered == Passage("json", text.encode())


async def test_a_call_that_json_cannot_say_is_a_violation() -> None:
    async with a_world() as world:
        with pytest.raises(Violation, match=r"Heartbeat\.bad: 'x' is no integer"):
            await world.link.call(Call("Heartbeat", {"bad": "x"}))


async def test_a_silent_peer_times_out_and_its_late_reply_breaks_nothing() -> None:
    async with a_world(JsonLimits(call_timeout=0.02)) as world:
        assert await failure_of(world.ask(HEARTBEAT)) == ("timeout", "no reply to Heartbeat within 0.02 s")
        await world.peer.recv()
        await world.peer.send('[3,"1",{}]')
        late = await world.noted("late reply")
        assert late == Event(
            "late reply",
            "CP1",
            "the reply to Heartbeat came too late",
            labels={"side": "central_system"},
        )
        await world.peer.send('[2,"a","Reset",{"type":"Hard"}]')
        assert await world.peer.recv() == '[3,"a",{"status":"Accepted"}]'


async def test_the_timer_serves_one_call_after_the_other() -> None:
    async with a_world(JsonLimits(call_timeout=0.02, waiting_timeout=0.01)) as world:
        first, second = world.ask(HEARTBEAT), world.ask(HEARTBEAT)
        assert (await failure_of(second))[0] == "busy"
        assert (await failure_of(first))[0] == "timeout"
        assert (await failure_of(world.ask(HEARTBEAT)))[0] == "timeout"


async def test_a_connection_that_drops_ends_every_call_at_once() -> None:
    async with a_world() as world:
        first, second = world.ask(HEARTBEAT), world.ask(BOOT)
        await world.peer.recv()
        await world.peer.close(1012, "service restart")
        assert [await failure_of(first), await failure_of(second)] == [
            (
                "unreachable",
                "the other party closed the connection: 1012 (service restart) service restart; "
                "Heartbeat was sent, its reply did not come",
            ),
            (
                "not_connected",
                "the other party closed the connection: 1012 (service restart) service restart; "
                "BootNotification was not sent",
            ),
        ]
        closed = await world.running
        assert (closed.code, closed.code_class) == (1012, "1012")
        assert (await failure_of(world.ask(HEARTBEAT)))[0] == "not_connected"


async def test_a_connection_that_breaks_is_told_from_one_that_is_closed() -> None:
    async with a_world() as world:
        asking = world.ask(HEARTBEAT)
        await world.peer.recv()
        world.peer.transport.abort()
        reason, description = await failure_of(asking)
        assert reason == "unreachable"
        assert description.startswith("the connection broke")
        assert (await world.running).code == 1006


async def test_a_message_larger_than_the_limit_ends_the_connection() -> None:
    async with a_world(max_size=1000) as world:
        asking = world.ask(HEARTBEAT)
        await world.peer.recv()
        await world.peer.send('[3,"1",{"data":"' + "x" * 1000 + '"}]')
        _, description = await failure_of(asking)
        assert description.startswith("the gateway closed the connection: 1009 (message too big)")
        assert (await world.running).code == 1009


async def test_codes_of_the_peers_own_are_one_label() -> None:
    assert Closed(4711, "").code_class == "4xxx"
    assert Closed(3000, "").code_class == "3xxx"
    assert Closed(1006, "").code_class == "1006"


async def test_a_call_nobody_waits_for_any_more_is_not_sent() -> None:
    async with a_world() as world:
        first, second, third = world.ask(HEARTBEAT), world.ask(BOOT), world.ask(HEARTBEAT)
        await world.peer.recv()
        second.cancel()
        await asyncio.wait([second])
        await world.peer.send('[3,"1",{}]')
        await first
        assert await world.peer.recv() == '[2,"3","Heartbeat",{}]'
        await world.peer.send('[3,"3",{}]')
        await third


async def test_a_reply_nobody_waits_for_any_more_is_noted_and_frees_the_line() -> None:
    async with a_world() as world:
        first, second = world.ask(HEARTBEAT), world.ask(HEARTBEAT)
        await world.peer.recv()
        first.cancel()
        await asyncio.wait([first])
        await world.peer.send('[3,"1",{}]')
        late = await world.noted("late reply")
        assert late.text == "nobody waits any more for the reply to Heartbeat"
        assert await world.peer.recv() == '[2,"2","Heartbeat",{}]'
        await world.peer.send('[3,"2",{}]')
        await second


async def test_a_silent_peer_frees_the_line_when_nobody_waits_any_more() -> None:
    async with a_world(JsonLimits(call_timeout=0.02)) as world:
        first = world.ask(HEARTBEAT)
        await world.peer.recv()
        first.cancel()
        second = world.ask(HEARTBEAT)
        assert await world.peer.recv() == '[2,"2","Heartbeat",{}]'
        await world.peer.send('[3,"2",{}]')
        await second
        assert world.events.empty()


async def test_a_peer_that_does_not_read_is_cut_off() -> None:
    async with a_world(JsonLimits(max_unread=10_000)) as world:
        world.peer.transport.pause_reading()
        assert (await failure_of(world.ask(Call("DataTransfer", {"data": "x" * 20_000_000}))))[
            0
        ] == "unreachable"
        assert (await world.running).code == 1006
        world.peer.transport.abort()


async def test_message_ids_are_new_and_of_36_characters() -> None:
    """OCPP-J 1.6, 4.1.4: at most 36."""
    async with a_world(numbered=False) as world:
        seen = set()
        for _ in range(3):
            asking = world.ask(HEARTBEAT)
            message_id = json.loads(await world.peer.recv())[1]
            assert len(message_id) == 36
            seen.add(message_id)
            await world.peer.send(json.dumps([3, message_id, {}]))
            await asking
        assert len(seen) == 3


# --- serving ---


async def test_a_call_of_the_peer_is_relayed_and_answered() -> None:
    async with a_world() as world:
        await world.peer.send('[2,"a","Reset",{"type":"Hard"}]')
        assert await world.peer.recv() == '[3,"a",{"status":"Accepted"}]'
        assert world.charge_point.asked == [Call("Reset", {"type": "Hard"})]
        record = await world.records.get()
        assert (record.action, record.arrived_from) == ("Reset", Side.CENTRAL_SYSTEM)
        assert record.arrived == Passage("json", b'[2,"a","Reset",{"type":"Hard"}]')
        assert record.replied == Passage("json", b'[3,"a",{"status":"Accepted"}]', (WRITTEN,))


async def test_a_call_being_served_does_not_hold_up_our_reply() -> None:
    """CALLs of the two parties may cross (OCPP-J 1.6, 4.1.1)."""
    async with a_world(may_answer=False) as world:
        asking = world.ask(HEARTBEAT)
        await world.peer.recv()
        await world.peer.send('[2,"a","Reset",{"type":"Hard"}]')
        await world.peer.send('[3,"1",{}]')
        assert (await answer_to(asking)).reply == CallResult({})
        world.charge_point.may_answer.set()
        assert await world.peer.recv() == '[3,"a",{"status":"Accepted"}]'


async def test_calls_that_do_not_wait_are_served_one_by_one() -> None:
    async with a_world(may_answer=False) as world:
        for message_id in "abc":
            await world.peer.send(f'[2,"{message_id}","Reset",{{"type":"Hard"}}]')
        await world.charge_point.was_asked.wait()
        await (await world.peer.ping())  # all three have been read by now
        assert len(world.charge_point.asked) == 1
        world.charge_point.may_answer.set()
        assert [await world.peer.recv() for _ in range(3)] == [
            f'[3,"{message_id}",{{"status":"Accepted"}}]' for message_id in "abc"
        ]


async def test_a_refusal_of_the_charge_point_is_a_callerror() -> None:
    async with a_world() as world:
        world.charge_point.answer = lambda call: CallError("NotSupported", "no", {"x": 1})
        await world.peer.send('[2,"a","Reset",{"type":"Hard"}]')
        assert await world.peer.recv() == '[4,"a","NotSupported","no",{"x":1}]'


@pytest.mark.parametrize(
    ("call", "answer", "action", "reason"),
    [
        (
            '[2,"a","Nonsense",{}]',
            '[4,"a","NotImplemented","Nonsense: is not an action of OCPP 1.6",{"path":"Nonsense"}]',
            "Nonsense",
            "unsupported",
        ),
        (
            '[2,"a","Reset",{"bad":"x"}]',
            '[4,"a","TypeConstraintViolation","Reset.bad: \'x\' is no integer",{"path":"Reset.bad"}]',
            "Reset",
            "schema",
        ),
        (
            '[2,"a","Reset",[]]',
            '[4,"a","FormationViolation","CALL.payload: found an array, expected an object",'
            '{"path":"CALL.payload"}]',
            "Reset",
            "malformed",
        ),
    ],
)
async def test_a_call_that_breaks_the_rules_is_refused_and_recorded(
    call: str, answer: str, action: str, reason: str
) -> None:
    async with a_world() as world:
        await world.peer.send(call)
        assert await world.peer.recv() == answer
        record = await world.records.get()
        assert (record.identity, record.action, record.reason) == ("CP1", action, reason)
        assert (record.began, record.arrived_from) == (1714557600.0, Side.CENTRAL_SYSTEM)
        assert (record.arrived.text, record.replied.text) == (call.encode(), answer.encode())
        assert world.charge_point.asked == []


async def test_a_reply_that_json_cannot_say_is_an_internal_error() -> None:
    async with a_world() as world:
        world.charge_point.answer = lambda call: CallResult({"bad": "x"})
        await world.peer.send('[2,"a","Reset",{"type":"Hard"}]')
        assert await world.peer.recv() == (
            '[4,"a","InternalError","the reply cannot be written: ResetResponse.bad: \'x\' is no integer",{}]'
        )


async def test_a_bug_is_told_and_the_connection_lives_on() -> None:
    async with a_world() as world:

        def fail(call: Call) -> Reply:
            raise ZeroDivisionError("oops")

        world.charge_point.answer = fail
        await world.peer.send('[2,"a","Reset",{"type":"Hard"}]')
        assert await world.peer.recv() == '[4,"a","InternalError","an error inside the gateway",{}]'
        assert await world.noted("internal error") == Event(
            "internal error", "CP1", "Reset a: ZeroDivisionError('oops')", "internal"
        )
        record = await world.records.get()
        assert (record.action, record.reason) == ("Reset", "internal")
        world.charge_point.answer = lambda call: CallResult({})
        await world.peer.send('[2,"b","ClearCache",{}]')
        assert await world.peer.recv() == '[3,"b",{}]'


async def test_a_bug_after_the_reply_sends_no_second_one() -> None:
    async with a_world() as world:

        def fail(record: Record) -> None:
            raise ZeroDivisionError("oops")

        world.journal.listen(record=fail)
        await world.peer.send('[2,"a","Reset",{"type":"Hard"}]')
        assert await world.peer.recv() == '[3,"a",{"status":"Accepted"}]'
        await world.noted("internal error")
        await world.peer.send('[2,"b","ClearCache",{}]')
        assert await world.peer.recv() == '[3,"b",{"status":"Accepted"}]'


async def test_a_bug_while_writing_a_reply_leaves_no_call_unanswered() -> None:
    async with a_world() as world:
        world.charge_point.answer = lambda call: CallResult({"status": "bug"})
        await world.peer.send('[2,"a","Reset",{"type":"Hard"}]')
        assert await world.peer.recv() == '[4,"a","InternalError","an error inside the gateway",{}]'
        world.charge_point.answer = lambda call: CallResult({"status": "Accepted"})
        await world.peer.send('[2,"b","ClearCache",{}]')
        assert await world.peer.recv() == '[3,"b",{"status":"Accepted"}]'


async def test_an_exchange_that_outlives_its_connection_is_recorded() -> None:
    async with a_world(may_answer=False) as world:
        await world.peer.send('[2,"a","Reset",{"type":"Hard"}]')
        await world.charge_point.was_asked.wait()
        await world.peer.close()
        await world.running
        world.charge_point.may_answer.set()
        record = await world.records.get()
        assert record.reply == CallResult({"status": "Accepted"})
        assert record.replied.text == b""  # nobody was there any more


async def test_calls_that_waited_for_their_turn_when_the_connection_ended_are_recorded() -> None:
    async with a_world(may_answer=False) as world:
        await world.peer.send('[2,"a","Reset",{"type":"Hard"}]')
        await world.peer.send('[2,"b","ClearCache",{}]')
        await world.charge_point.was_asked.wait()
        await world.peer.close()
        await world.running
        world.charge_point.may_answer.set()
        unserved, served = await world.records.get(), await world.records.get()
        assert (unserved.action, unserved.reason) == ("ClearCache", "not_connected")
        assert (unserved.arrived.text, unserved.replied.text) == (b'[2,"b","ClearCache",{}]', b"")
        assert served.action == "Reset"
        assert len(world.charge_point.asked) == 1


@pytest.mark.parametrize("text", ["hello", "[]", '[1,"a","Reset",{}]', b"\xff\xfe", '[2,17,"Reset",{}]'])
async def test_what_is_no_frame_is_noted_and_ignored(text: str | bytes) -> None:
    async with a_world() as world:
        await world.peer.send(text)
        await world.peer.send('[2,"a","Reset",{"type":"Hard"}]')
        assert await world.peer.recv() == '[3,"a",{"status":"Accepted"}]'
        event = await world.noted("malformed message")
        assert event.labels == {"side": "central_system"}


async def test_the_event_of_a_malformed_message_shows_its_beginning() -> None:
    async with a_world() as world:
        await world.peer.send("<html>" + "x" * 10_000)
        event = await world.noted("malformed message")
        assert event.text == (
            "is not JSON: unexpected character, expected a JSON value: line 1 column 1 (char 0): '<html>"
            + "x" * 94
            + "'"
        )


# --- closing ---


async def test_closing_lets_what_is_in_flight_end() -> None:
    async with a_world() as world:
        asking = world.ask(HEARTBEAT)
        await world.peer.recv()
        closing = world.tasks.create_task(world.link.close("the gateway is stopping"))
        await asyncio.sleep(0)
        assert await failure_of(world.ask(HEARTBEAT)) == (
            "draining",
            "the gateway is stopping; Heartbeat was not sent",
        )
        await world.peer.send('[3,"1",{}]')
        assert (await answer_to(asking)).reply == CallResult({})
        await closing
        with pytest.raises(ConnectionClosed) as closed:
            await world.peer.recv()
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1001, "the gateway is stopping")
        assert (await world.running).code == 1001


async def test_closing_does_not_wait_for_ever() -> None:
    async with a_world(JsonLimits(close_wait=0.01)) as world:
        asking = world.ask(HEARTBEAT)
        await world.peer.recv()
        await world.link.close("é" * 100, code=1000)
        assert (await failure_of(asking))[0] == "unreachable"
        with pytest.raises(ConnectionClosed) as closed:
            await world.peer.recv()
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1000, "é" * 61)


async def test_closing_twice_is_closing_once() -> None:
    async with a_world(JsonLimits(close_wait=60.0)) as world:
        asking = world.ask(HEARTBEAT)
        await world.peer.recv()
        closing = [world.tasks.create_task(world.link.close("enough")) for _ in range(2)]
        await asyncio.sleep(0)
        await world.peer.send('[3,"1",{}]')
        await asking
        await asyncio.wait(closing)
        assert (await world.running).code == 1001


async def test_closing_an_idle_link_closes_at_once() -> None:
    async with a_world() as world:
        await world.link.close("")
        assert (await world.running).description.startswith("the gateway closed the connection: 1001")


async def test_a_call_during_the_closing_handshake_is_not_sent() -> None:
    async with a_world() as world:
        closing = world.tasks.create_task(world.link._socket.close(1000))
        await asyncio.sleep(0)
        assert await failure_of(world.ask(HEARTBEAT)) == (
            "not_connected",
            "the connection is closing; Heartbeat was not sent",
        )
        await closing


async def test_a_cancelled_link_says_goodbye_and_ends_its_calls() -> None:
    async with a_world() as world:
        asking = world.ask(HEARTBEAT)
        await world.peer.recv()
        world.running.cancel()
        await failure_of(asking)
        with pytest.raises(ConnectionClosed) as closed:
            await world.peer.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1001


# --- between two parties that speak JSON, nothing is written anew ---


@dataclass
class Pair:
    """A session between two WebSockets, whose other ends the test reads and writes."""

    charge_point: ServerConnection
    central_system: ServerConnection
    heard: Listened

    def ends(self, asking: Side) -> tuple[ServerConnection, ServerConnection]:
        both = self.charge_point, self.central_system
        return both if asking is Side.CHARGE_POINT else both[::-1]

    async def exchange(self, asking: Side, call: str, reply: str) -> tuple[str, str]:
        """What the asked party gets for *call*, and the asking one for *reply*, behind their heads.

        Both are frames with ID where the message id stands.
        """
        asker, asked = self.ends(asking)
        async with asyncio.timeout(PATIENCE):
            await asker.send(call.replace("ID", "theirs"))
            arrived = str(await asked.recv())
            await asked.send(reply.replace("ID", json.loads(arrived)[1]))
            answered = str(await asker.recv())
        assert answered.startswith(f'[{json.loads(reply)[0]},"theirs",')
        return arrived.partition(",")[2].partition(",")[2], answered.partition(",")[2].partition(",")[2]

    def breaches(self) -> list[str]:
        """Where the last exchange breaks the schema."""
        return [note.path for note in self.heard.records[-1].notes if isinstance(note, Breach)]


@contextlib.asynccontextmanager
async def a_pair(check: Check = "report", *, celsius: str = "Celsius") -> AsyncIterator[Pair]:
    connections: asyncio.Queue[ServerConnection] = asyncio.Queue()

    async def handle(connection: ServerConnection) -> None:
        connections.put_nowait(connection)
        await connection.wait_closed()

    journal = Journal()
    heard = listen(journal)
    session = Session("CP1", journal)
    session.check = check
    numbers = count(1)
    async with serve(handle, "127.0.0.1", 0, compression=None, ping_interval=None) as server:
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with asyncio.TaskGroup() as tasks:
            peers = []
            for side, compiled in (
                (Side.CHARGE_POINT, dialect()),
                (Side.CENTRAL_SYSTEM, dialect(options=Options(celsius=celsius))),
            ):
                socket = await connect(url, compression=None, ping_interval=None, proxy=None)
                peers.append(await connections.get())
                link = JsonLink(
                    socket,
                    session,
                    side,
                    JsonCodec(compiled, side),
                    journal,
                    tasks,
                    JsonLimits(close_wait=1.0),
                    new_message_id=lambda: f"ours-{next(numbers)}",
                )
                session.attach(side, link)
                tasks.create_task(link.run())
            yield Pair(peers[0], peers[1], heard)
            for peer in peers:
                await peer.close()


CHECKS: tuple[Check, ...] = ("off", "report")
AS_THEY_ARE = [
    (Side.CHARGE_POINT, '[2,"ID","Heartbeat",{}]', '[3,"ID",{"currentTime":"2024-05-01T10:00:00Z"}]'),
    # ABL and Wallbox write blanks, Python escapes.
    (
        Side.CHARGE_POINT,
        '[2,"ID","Authorize",{ "idTag":\t"T\\u00c4G" } ]',
        '[3,"ID", {"idTagInfo" : {"status":"Accepted"}}]',
    ),
    (
        Side.CHARGE_POINT,
        '[2,"ID","StartTransaction",{"connectorId":1,"idTag":"TAG","meterStart":5.0,'
        '"timestamp":"2024-05-01T10:00:00.084024532+02:00"}]',
        '[3,"ID",{"transactionId":2596996162253434345345,"idTagInfo":{"status":"Accepted"}}]',
    ),
    (Side.CENTRAL_SYSTEM, '[2,"ID","Reset",{"type":"Hard"}]', '[3,"ID",{"status":"Accepted"}]'),
    # Members that OCPP does not know, and a result of null.
    (Side.CENTRAL_SYSTEM, '[2,"ID","ClearCache",{"x":[1e2,{"y":null}]}]', '[3,"ID",null]'),
    # An action of the security extension.
    (
        Side.CHARGE_POINT,
        '[2,"ID","SecurityEventNotification",{"type":"StartupOfTheDevice","timestamp":"now"}]',
        '[3,"ID",{}]',
    ),
    (Side.CENTRAL_SYSTEM, '[2,"ID","GetLog",null]', '[3,"ID",{"status":"Accepted","filename":"a]b"}]'),
    # Table 7 of OCPP-J and what the field makes of it (vasyas, Grizzl-E, SteVe).
    (Side.CHARGE_POINT, '[2,"ID","Heartbeat",{}]', '[4,"ID","SecurityError","boot first",{"a": 1}]'),
    (Side.CENTRAL_SYSTEM, '[2,"ID","ClearCache",{}]', '[4,"ID",null,"Item \'X\' not implemented",null]'),
    (Side.CENTRAL_SYSTEM, '[2,"ID","ClearCache",{}]', '[4,"ID","FormatViolation","",{}]'),
    (Side.CENTRAL_SYSTEM, '[2,"ID","ClearCache",{}]', '[4,"ID","OwnCode","own words"]'),
    (Side.CENTRAL_SYSTEM, '[2,"ID","ClearCache",{}]', '[4,"ID","InternalError","", "details"]'),
]


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize(("asking", "call", "reply"), AS_THEY_ARE)
async def test_payloads_pass_as_they_are(check: Check, asking: Side, call: str, reply: str) -> None:
    def behind_the_id(frame: str) -> str:
        return frame.partition('"ID",')[2].strip().removesuffix("]").strip() + "]"

    async with a_pair(check) as pair:
        assert await pair.exchange(asking, call, reply) == (
            behind_the_id(call),
            behind_the_id(reply),
        )
        [record] = pair.heard.records
        assert (record.arrived_from, record.asked is not None) == (asking, True)
        assert pair.breaches() == [] or check == "report"


@pytest.mark.parametrize(
    ("call", "reply", "paths"),
    [
        ('[2,"ID","Heartbeat",{}]', '[3,"ID",{"currentTime":"2024-05-01T10:00:00Z"}]', []),
        ('[2,"ID","Heartbeat",{"x":1}]', '[3,"ID",{}]', ["Heartbeat.x", "HeartbeatResponse.currentTime"]),
        ('[2,"ID","OrderCoffee",{}]', '[3,"ID",{}]', ["OrderCoffee", "OrderCoffee"]),
        ('[2,"ID","OrderCoffee",{}]', '[4,"ID","NotImplemented","",{}]', ["OrderCoffee"]),
    ],
)
async def test_what_breaks_the_schema_is_told_and_carried(call: str, reply: str, paths: list[str]) -> None:
    async with a_pair("report") as pair:
        await pair.exchange(Side.CHARGE_POINT, call, reply)
        assert pair.breaches() == paths


async def test_without_a_check_nothing_is_told() -> None:
    async with a_pair("off") as pair:
        await pair.exchange(Side.CHARGE_POINT, '[2,"ID","Heartbeat",{"x":1}]', '[3,"ID",{"y":1}]')
        assert pair.heard.records[0].notes == ()


async def test_with_a_strict_check_a_call_that_breaks_the_schema_goes_nowhere() -> None:
    async with a_pair("refuse") as pair:
        await pair.charge_point.send('[2,"1","Heartbeat",{"x":"y"}]')
        refused = json.loads(await pair.charge_point.recv())
        assert refused[:4] == [4, "1", "FormationViolation", "Heartbeat.x: 'y': Heartbeat has no such field"]
        await pair.charge_point.send('[2,"2","OrderCoffee",{}]')
        refused = json.loads(await pair.charge_point.recv())
        assert refused[:3] == [4, "2", "NotImplemented"]
        assert [record.asked for record in pair.heard.records] == [None, None]


async def test_with_a_strict_check_a_result_that_breaks_the_schema_is_not_told() -> None:
    async with a_pair("refuse") as pair:
        _, answered = await pair.exchange(
            Side.CENTRAL_SYSTEM, '[2,"ID","ClearCache",{}]', '[4,"ID","Own","",null]'
        )
        assert answered == '"Own","",null]'  # a refusal is nothing that could break it
        await pair.central_system.send('[2,"1","ClearCache",{}]')
        asked = json.loads(await pair.charge_point.recv())
        await pair.charge_point.send(json.dumps([3, asked[1], {"status": "Maybe"}]))
        refused = json.loads(await pair.central_system.recv())
        assert refused[:3] == [4, "1", "InternalError"]
        assert refused[3].startswith(
            "the reply of the charge point breaks the rules: ClearCacheResponse.status: "
        )


async def test_a_party_that_wants_words_of_its_own_gets_every_message_written_anew() -> None:
    values = '{"connectorId":1,"meterValue":[{"timestamp":"2024-05-01T10:00:00Z",%s"sampledValue":'
    values += '[{"value":"8","unit":"%s"}]}]}'
    async with a_pair(celsius="Celcius") as pair:
        arrived, _ = await pair.exchange(
            Side.CHARGE_POINT, f'[2,"ID","MeterValues",{values % ("  ", "Celsius")}]', '[3,"ID",{}]'
        )
        assert arrived == f'"MeterValues",{values % ("", "Celcius")}]'


async def test_a_broken_reply_is_an_error_of_who_was_asked_all_the_same() -> None:
    async with a_pair() as pair:
        await pair.charge_point.send('[2,"1","Heartbeat",{}]')
        asked = json.loads(await pair.central_system.recv())
        await pair.central_system.send(json.dumps([3, asked[1], []]))
        assert json.loads(await pair.charge_point.recv())[:3] == [4, "1", "InternalError"]


async def test_a_refusal_of_our_own_is_written_by_us() -> None:
    async with a_pair() as pair:
        await pair.central_system.close()
        await pair.charge_point.send('[2,"1","Heartbeat",{}]')
        refused = json.loads(await pair.charge_point.recv())
        assert refused[:3] == [4, "1", "GenericError"]
