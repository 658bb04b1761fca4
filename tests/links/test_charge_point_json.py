"""JSON charge points on real sockets: who gets a WebSocket, and what happens on it.

The central system is a link without transport; the charge points are plain bytes, and the ocpp package.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from ipaddress import ip_network
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from ocpp.routing import on
from ocpp.v16 import ChargePoint as PackageChargePoint
from ocpp.v16 import call as package_call
from ocpp.v16 import call_result as package_result
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from tests.fakes import (
    CLOSE,
    PING,
    PONG,
    USUAL_ANSWERS,
    CentralSystemAsks,
    FakeLink,
    Listened,
    PlainWebSocket,
    a_charge_point,
    away,
    client_frame,
    dial,
    exchange_bytes,
    fault,
    from_header,
    get,
    handshake,
    http_response,
    listen,
    post,
    soap_request,
    soap_result,
)
from wattbridge.links.callbacks import AddressPolicy, CallbackClient
from wattbridge.links.charge_point_json import CentralSystemEndpoint
from wattbridge.links.charge_point_soap import CentralSystemService
from wattbridge.links.charge_points import ChargePoint
from wattbridge.links.json_link import JsonLimits
from wattbridge.links.listener import HttpRequest, HttpResponse, Limits, Listener
from wattbridge.links.paths import Protocol
from wattbridge.links.upgrades import WebSocket
from wattbridge.ocpp.actions import dialect
from wattbridge.ocpp.messages import Call, CallError, CallResult, Passage, Side
from wattbridge.relay.journal import Event, Journal
from wattbridge.relay.registry import Registry
from wattbridge.relay.session import Answer

SOON = 0.05  # seconds
PATHS = ("/ocpp/cs", "/ocpp/{charger}")
HEARTBEAT = '[2,"1","Heartbeat",{}]'
TIME = '[3,"1",{"currentTime":"2024-05-01T10:00:00Z"}]'
PLAIN = replace(ChargePoint(dialect()), ping_interval=None)


class CentralSystem(FakeLink):
    """Answers every action with what it usually says, as long as ``outcome`` is no error."""

    async def call(self, call: Call) -> Answer:
        answer = await super().call(call)
        if isinstance(answer.reply, CallError):
            return answer
        return Answer(CallResult(USUAL_ANSWERS.get(call.action, {})), answer.asked, answer.answered)


@dataclass
class World(CentralSystemAsks):
    """A listener with both services, on ``port``."""

    port: int
    listener: Listener
    central_system: CentralSystem
    registry: Registry
    heard: Listened
    tasks: asyncio.TaskGroup
    peers: list[PlainWebSocket] = field(default_factory=list)

    async def dial(self, path: str = "/ocpp/CP1", *headers: str, **options: Any) -> PlainWebSocket:
        return await self.send(handshake(path, *headers, **options))

    async def send(self, request: bytes) -> PlainWebSocket:
        peer = await dial(self.port, request)
        self.peers.append(peer)
        return peer

    async def connected(self, path: str = "/ocpp/CP1", *headers: str, **options: Any) -> PlainWebSocket:
        """A charge point whose WebSocket is open."""
        peer = await self.dial(path, *headers, **options)
        assert peer.status == 101, peer.head
        return peer

    async def refused(self, path: str = "/ocpp/CP1", *headers: str) -> tuple[int, str, str]:
        """Status, head and text of a refusal."""
        data = await exchange_bytes(f"http://127.0.0.1:{self.port}", handshake(path, *headers))
        head, _, body = data.decode().partition("\r\n\r\n")
        return int(head.split()[1]), head, body


@asynccontextmanager
async def a_world(
    charge_point: ChargePoint | None = PLAIN,
    *,
    paths: tuple[str, ...] = PATHS,
    protocol: Protocol = "any",
    limits: Limits | None = None,
    call_timeout: float = 5.0,
    takeover: float = SOON,
    most_sessions: int = 100,
) -> AsyncIterator[World]:
    journal, central_system, numbers = Journal(), CentralSystem(), count(1)
    heard = listen(journal)
    registry = Registry(
        journal, lambda session, heard: central_system, most_sessions=most_sessions, takeover=takeover
    )
    client = CallbackClient(timeout=1.0)
    service = CentralSystemService(
        registry,
        journal,
        lambda identity, source, listener: charge_point,
        dialect(),
        AddressPolicy(networks=(ip_network("127.0.0.0/8"),)),
        client,
        paths=paths,
        protocol=protocol,
    )
    endpoint = CentralSystemEndpoint(
        registry,
        journal,
        lambda identity, source, listener: charge_point if identity != "NOBODY" else None,
        paths=paths,
        protocol=protocol,
        limits=JsonLimits(call_timeout=call_timeout, close_wait=1.0),
        new_message_id=lambda: f"ours-{next(numbers)}",
    )
    listener = Listener("in", "127.0.0.1", 0, service.handle, limits, upgrade=endpoint.handle)
    failed = None
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(registry.run())
        await listener.start()
        world = World(listener.port, listener, central_system, registry, heard, tasks)
        try:
            yield world
        except Exception as error:  # of the test: raised when all have stopped, and not in a group
            failed = error
        finally:
            central_system.may_answer.set()
            for peer in world.peers:
                peer.hang_up()
            await listener.stop(1.0)
            registry.stop()
            await client.close()
    if failed is not None:
        raise failed
    assert asyncio.all_tasks() == {asyncio.current_task()}


def refusal(kind: str, identity: str, text: str, reason: str) -> Event:
    return Event(kind, identity, text, reason, {"listener": "in", "source": "127.0.0.1"})


# --- a connection and its calls ---


async def test_a_charge_point_connects_and_its_call_is_answered() -> None:
    async with a_world() as world:
        peer = await world.connected()
        assert peer.header("Sec-WebSocket-Accept") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        assert peer.header("Sec-WebSocket-Protocol") == "ocpp1.6"
        assert peer.header("Sec-WebSocket-Extensions") is None
        peer.send(HEARTBEAT)
        assert await peer.text() == TIME
        [record] = world.heard.records
        assert (record.identity, record.arrived_from, record.arrived) == (
            "CP1",
            Side.CHARGE_POINT,
            Passage("json", HEARTBEAT.encode()),
        )
        assert [event.kind for event in world.heard.events] == ["session opened", "charge point connected"]


async def test_a_call_of_the_central_system_is_a_frame_and_its_reply_comes_back() -> None:
    async with a_world() as world:
        peer = await world.connected()
        asking = world.tasks.create_task(world.call())
        assert await peer.text() == '[2,"ours-1","Reset",{"type":"Hard"}]'
        peer.send('[3,"ours-1",{"status":"Accepted"}]')
        assert await asking == CallResult({"status": "Accepted"})
        [record] = world.heard.records
        assert (record.arrived_from, record.other_transport) == (Side.CENTRAL_SYSTEM, "json")


async def test_calls_of_both_parties_may_cross() -> None:
    """One CALL at a time in each direction; CALLs of the two parties may cross (OCPP-J 1.6, 4.1.1)."""
    async with a_world() as world:
        world.central_system.may_answer.clear()
        peer = await world.connected()
        peer.send(HEARTBEAT)
        await world.central_system.until_asked(1)
        asking = world.tasks.create_task(world.call())
        assert await peer.text() == '[2,"ours-1","Reset",{"type":"Hard"}]'
        peer.send('[3,"ours-1",{"status":"Accepted"}]')
        assert await asking == CallResult({"status": "Accepted"})
        world.central_system.may_answer.set()
        assert await peer.text() == TIME


async def test_a_charge_point_that_does_not_wait_is_served_in_order() -> None:
    """VCP sends BootNotification and StatusNotification at once."""
    async with a_world() as world:
        peer = await world.connected()
        for number in range(3):
            peer.send(f'[2,"{number}","Heartbeat",{{}}]')
        assert [json.loads(await peer.text())[1] for _ in range(3)] == ["0", "1", "2"]


async def test_what_is_sent_before_the_answer_to_the_handshake_is_kept() -> None:
    async with a_world() as world:
        peer = await world.send(handshake("/ocpp/CP1") + client_frame(HEARTBEAT))
        assert peer.status == 101
        assert await peer.text() == TIME


async def test_a_mistake_of_ours_costs_a_call_and_not_the_connection() -> None:
    async with a_world() as world:
        peer = await world.connected()
        world.central_system.outcome = ZeroDivisionError("oops")
        peer.send(HEARTBEAT)
        assert await peer.text() == '[4,"1","InternalError","an error inside the gateway",{}]'
        world.central_system.outcome = CallResult({})
        peer.send('[2,"2","Heartbeat",{}]')
        assert json.loads(await peer.text())[:2] == [3, "2"]
        assert len(world.heard.told("internal error")) == 1


async def test_rubbish_does_not_end_the_connection() -> None:
    async with a_world() as world:
        peer = await world.connected()
        peer.send("rubbish")
        peer.send(b"\xff\xfe", 2)
        peer.send('[3,"unknown",{}]')
        peer.send(HEARTBEAT)
        assert await peer.text() == TIME
        kinds = [event.kind for event in world.heard.events[2:]]
        assert kinds == ["malformed message", "malformed message", "unknown reply"]


# --- the path ---


@pytest.mark.parametrize(
    ("path", "identity"),
    [
        ("/ocpp/CP1", "CP1"),
        ("/ocpp/CP1/", "CP1"),
        ("///ocpp//CP1", "CP1"),
        ("/OCPP/cp1", "cp1"),
        ("/%6fcpp/CP1", "CP1"),
        ("/ocpp/CP1?tenant=7", "CP1"),
        ("http://elsewhere.example/ocpp/CP1", "CP1"),
        ("/ocpp/RDAM%20123", "RDAM 123"),
        ("/ocpp/RDAM%2F123", "RDAM/123"),
        ("/ocpp/RDAM|123", "RDAM|123"),
        ("/ocpp/00:80:F4:44:13:AA", "00:80:F4:44:13:AA"),
        ("/ocpp/UID=1013,O=SolarDev", "UID=1013,O=SolarDev"),
        ("/ocpp/%23%25", "#%"),
        ("/ocpp/100%2525", "100%25"),
        ("/ocpp/S%C3%A4ule", "Säule"),
    ],
)
async def test_the_last_segment_of_the_path_is_the_identity(path: str, identity: str) -> None:
    """The identity is percent-encoded in the URL, and decoded once (OCPP-J 1.6, 3.1.1)."""
    async with a_world() as world:
        await world.connected(path)
        assert [session.identity for session in world.registry.sessions()] == [identity]


async def test_an_endpoint_at_the_root_takes_what_benys_ask_for() -> None:
    async with a_world(paths=("/{charger}",)) as world:
        await world.connected("///charger")
        assert "charger" in world.registry


@pytest.mark.parametrize("segment", ["%FF", "CP%C3"])
async def test_an_identity_that_is_no_utf_8_is_refused(segment: str) -> None:
    async with a_world() as world:
        text = f"the identity '{segment}' is not UTF-8"
        status, _, body = await world.refused(f"/ocpp/{segment}")
        assert (status, body) == (400, f"{text}\n")
        assert world.heard.events == [refusal("request refused", "", text, "malformed")]


async def test_a_path_that_leads_nowhere_is_answered_with_those_that_do() -> None:
    async with a_world() as world:
        text = "no OCPP service at '/nowhere/CP1'; there is one at /ocpp/{charger}"
        status, _, body = await world.refused("/nowhere/CP1")
        assert (status, body) == (404, f"{text}\n")
        assert world.heard.events == [refusal("request refused", "", text, "unsupported")]


@pytest.mark.parametrize("path", ["/ocpp/cs", "/ocpp"])
async def test_a_path_without_an_identity_is_refused(path: str) -> None:
    async with a_world() as world:
        status, _, body = await world.refused(path)
        assert (status, body) == (404, "no identity in the path: expected /ocpp/{charger}\n")


async def test_a_websocket_at_the_soap_address_is_served_and_told_of_once() -> None:
    """Delta EVDU25xx and others are given the address of the other transport."""
    async with a_world() as world:
        for _ in range(2):
            peer = await world.connected("/ocpp/cs/CP1")
            peer.send(HEARTBEAT)
            assert await peer.text() == TIME
            peer.hang_up()
            await world.heard.until(lambda: world.registry.sessions()[0].connection is None)
        text = (
            "it opens its WebSocket at /ocpp/cs, where SOAP messages are posted; that is served, "
            "but its address is /ocpp/{charger}"
        )
        assert world.heard.told("wrong address") == [refusal("wrong address", "CP1", text, "")]


async def test_without_an_address_for_websockets_that_of_soap_is_named() -> None:
    async with a_world(paths=("/ocpp/cs",)) as world:
        assert (await world.refused("/ocpp/cs"))[2] == "no identity in the path: expected /ocpp/cs\n"
        await world.connected("/ocpp/cs/CP1")
        [told] = world.heard.told("wrong address")
        assert told.text == "it opens its WebSocket at /ocpp/cs, where SOAP messages are posted"


async def test_a_listener_for_soap_alone_refuses_websockets() -> None:
    async with a_world(protocol="ocpp-soap") as world:
        text = "OCPP-J is not served here, only OCPP-S: /ocpp/cs"
        status, _, body = await world.refused()
        assert (status, body) == (403, f"{text}\n")
        assert world.heard.events == [refusal("request refused", "", text, "unsupported")]


async def test_a_listener_for_json_alone_refuses_what_is_posted() -> None:
    async with a_world(protocol="ocpp-json") as world:
        url = f"http://127.0.0.1:{world.port}/ocpp/cs"
        text = "OCPP-S is not served here, only OCPP-J: /ocpp/{charger}"
        response = await post(url, soap_request("Heartbeat"))
        assert (response.status, response.body) == (403, f"{text}\n")
        assert world.heard.events == [refusal("request refused", "", text, "unsupported")]
        await world.connected()
        assert "Those that speak OCPP-J open a WebSocket" in (await get(url)).body


async def test_whoever_looks_at_the_address_of_websockets_is_told_what_this_is() -> None:
    async with a_world() as world:
        response = await get(f"http://127.0.0.1:{world.port}/ocpp/CP1")
        assert (response.status, response.body) == (
            200,
            "This is the OCPP-J address of a Wattbridge gateway.\n"
            "Charge points that speak OCPP-J open a WebSocket at /ocpp/{charger} with the subprotocol "
            "ocpp1.6.\n"
            "Those that speak OCPP-S POST their SOAP messages to /ocpp/cs; the service description is at "
            "?wsdl.\n",
        )


# --- the subprotocol ---


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        ("ocpp1.6", "ocpp1.6"),
        ("ocpp2.0.1, ocpp1.6", "ocpp1.6"),
        ("ocpp1.6,ocpp1.5", "ocpp1.6"),
        (",ocpp2.0.1,  ocpp1.6 ,", "ocpp1.6"),
        ("OCPP1.6", "OCPP1.6"),
        ("ocpp1.6J", "ocpp1.6J"),
        ("ocpp1.6j, ocpp1.6", "ocpp1.6"),
        ("ocpp1.6, OCPP1.6", "ocpp1.6"),
    ],
)
async def test_the_subprotocol_is_chosen_and_spelled_as_it_was_offered(offered: str, chosen: str) -> None:
    async with a_world() as world:
        peer = await world.connected(subprotocol=offered)
        assert peer.header("Sec-WebSocket-Protocol") == chosen


async def test_subprotocols_may_stand_in_several_headers() -> None:
    async with a_world() as world:
        peer = await world.connected("/ocpp/CP1", "Sec-WebSocket-Protocol: ocpp1.6", subprotocol="ocpp2.0.1,")
        assert peer.header("Sec-WebSocket-Protocol") == "ocpp1.6"


@pytest.mark.parametrize("offered", [None, "", " , "])
async def test_a_charge_point_without_a_subprotocol_is_served_and_told_of_once(offered: str | None) -> None:
    """Many send none (EVduty and others)."""
    async with a_world() as world:
        for _ in range(2):
            peer = await world.connected(subprotocol=offered)
            assert peer.header("Sec-WebSocket-Protocol") is None
            peer.send(HEARTBEAT)
            assert await peer.text() == TIME
            peer.hang_up()
            await world.heard.until(lambda: world.registry.sessions()[0].connection is None)
        text = "it offers no subprotocol; it is served as if it had offered ocpp1.6"
        assert world.heard.told("no subprotocol") == [refusal("no subprotocol", "CP1", text, "")]


async def test_a_charge_point_that_must_name_the_subprotocol_and_does_not_is_closed() -> None:
    async with a_world(replace(PLAIN, subprotocol_required=True)) as world:
        peer = await world.connected(subprotocol=None)
        assert await peer.closed() == (1002, "subprotocol ocpp1.6 expected")
        text = "no subprotocol is offered; expected ocpp1.6"
        assert world.heard.events == [refusal("connection refused", "CP1", text, "unsupported")]


async def test_a_charge_point_of_another_version_is_closed_after_the_handshake() -> None:
    """The handshake is completed without a subprotocol, then the connection is closed (OCPP-J 1.6, 3.1.2)."""
    async with a_world() as world:
        peer = await world.connected(subprotocol="ocpp2.0.1, ocpp2.1")
        assert peer.header("Sec-WebSocket-Protocol") is None
        assert await peer.closed() == (1002, "subprotocol ocpp1.6 expected")
        assert await peer.rest() == b""
        text = "ocpp2.0.1, ocpp2.1 is offered; expected ocpp1.6"
        assert world.heard.events == [refusal("connection refused", "CP1", text, "unsupported")]
        assert len(world.registry) == 0


async def test_a_connection_that_is_closed_at_once_does_not_hold_up_stopping() -> None:
    async with a_world() as world:
        peer = await world.connected(subprotocol="ocpp2.0.1")
        await world.listener.stop(SOON)  # the peer takes no part in the closing handshake
        assert (await peer.frame())[0] == CLOSE


# --- who may connect ---


def basic(username: str, password: bytes) -> str:
    return f"Authorization: Basic {base64.b64encode(username.encode() + b':' + password).decode()}"


KEY = bytes.fromhex("a5" * 20)
SECRET = replace(PLAIN, password=KEY)


async def test_an_unknown_charge_point_is_refused() -> None:
    """OCPP-J 1.6, 3.2."""
    async with a_world(None) as world:
        status, head, body = await world.refused()
        text = "charge point 'CP1' is not known to this gateway"
        assert (status, body) == (404, f"{text}\n")
        assert "Connection: close" in head
        assert world.heard.events == [refusal("connection refused", "CP1", text, "auth")]
        assert len(world.registry) == 0


@pytest.mark.parametrize("authorization", [(), (basic("CP1", b"wrong"),), (basic("CP2", KEY),)])
async def test_a_charge_point_without_its_password_is_refused(authorization: tuple[str, ...]) -> None:
    async with a_world(SECRET) as world:
        status, head, body = await world.refused("/ocpp/CP1", *authorization)
        text = "its password is missing or wrong, expected HTTP Basic authentication"
        assert (status, body) == (401, f"{text}\n")
        assert 'WWW-Authenticate: Basic realm="OCPP", charset="UTF-8"\r\n' in head
        assert world.heard.events == [refusal("connection refused", "CP1", text, "auth")]


async def test_a_charge_point_with_its_password_is_served() -> None:
    async with a_world(SECRET) as world:
        await world.connected("/ocpp/CP1", basic("CP1", KEY))


async def test_a_stopping_gateway_takes_nobody_new() -> None:
    async with a_world() as world:
        world.registry.drain()
        status, head, body = await world.refused()
        text = "the gateway takes no further charge points: it is stopping"
        assert (status, body) == (503, f"{text}\n")
        assert "Retry-After: 10\r\n" in head
        assert world.heard.events == [refusal("connection refused", "CP1", text, "draining")]


async def test_one_session_too_many_is_refused_as_busy() -> None:
    async with a_world(most_sessions=1) as world:
        await world.connected()
        status, head, _ = await world.refused("/ocpp/CP2")
        assert (status, "Retry-After: 10\r\n" in head) == (503, True)
        assert world.heard.told("connection refused")[0].reason == "busy"


# --- a second connection of the same charge point ---


async def test_a_second_connection_is_refused_while_the_first_answers() -> None:
    async with a_world(takeover=5.0) as world:
        first = await world.connected()
        refused = world.tasks.create_task(world.refused())
        opcode, payload = await first.frame()
        assert opcode == PING
        first.send(payload, PONG)
        status, _, body = await refused
        text = "charge point 'CP1' has another connection, which answers"
        assert (status, body) == (409, f"{text}\n")
        assert world.heard.events[-1] == refusal("connection refused", "CP1", text, "duplicate")
        first.send(HEARTBEAT)
        assert await first.text() == TIME


async def test_a_silent_connection_is_replaced_and_its_end_touches_nothing() -> None:
    async with a_world() as world:
        first = await world.connected()
        [session] = world.registry.sessions()
        second = await world.connected()
        assert (await first.rest())[0] == 0x80 | PING
        await world.heard.until(lambda: len(world.heard.told("charge point disconnected")) == 1)
        assert [world.registry.find("CP1"), session.gone] == [session, None]
        asking = world.tasks.create_task(world.call())
        assert await second.text() == '[2,"ours-1","Reset",{"type":"Hard"}]'
        second.send('[3,"ours-1",{"status":"Accepted"}]')
        assert await asking == CallResult({"status": "Accepted"})


async def test_what_waits_for_a_silent_connection_ends_when_it_is_replaced() -> None:
    async with a_world() as world:
        first = await world.connected()
        asking = world.tasks.create_task(world.failure())
        await first.text()
        await world.connected()
        reason, description = await asking
        assert reason == "unreachable"
        assert "Reset was sent, its reply did not come; " in description
        assert description.endswith("whether the charge point has done it is uncertain")


async def test_of_two_that_want_a_silent_place_one_gets_it() -> None:
    async with a_world() as world:
        await world.connected()
        both = [world.tasks.create_task(world.dial()) for _ in range(2)]
        assert sorted([(await each).status for each in both]) == [101, 409]


async def test_whoever_cannot_show_the_password_does_not_even_cause_a_ping() -> None:
    async with a_world(SECRET) as world:
        first = await world.connected("/ocpp/CP1", basic("CP1", KEY))
        assert (await world.refused())[0] == 401
        first.send(HEARTBEAT)
        assert await first.text() == TIME


async def test_a_soap_message_is_refused_while_the_websocket_answers() -> None:
    async with a_world(takeover=5.0) as world:
        peer = await world.connected()
        url = f"http://127.0.0.1:{world.port}/ocpp/cs"
        posting = world.tasks.create_task(post(url, soap_request("Heartbeat")))
        opcode, payload = await peer.frame()
        peer.send(payload, PONG)
        code, subcode, text = fault((await posting).body)
        assert (opcode, code, subcode) == (PING, "Sender", "SecurityError")
        assert "is connected by a WebSocket, which answers" in text


async def test_a_charge_point_that_changes_to_soap_keeps_its_session() -> None:
    async with a_world() as world:
        peer = await world.connected()
        [session] = world.registry.sessions()
        peer.hang_up()
        await world.heard.until(lambda: session.connection is None)
        response = await post(f"http://127.0.0.1:{world.port}/ocpp/cs", soap_request("Heartbeat"))
        assert response.status == 200
        assert world.registry.sessions() == [session]
        assert session.links[Side.CHARGE_POINT].transport == "soap"


async def test_who_leaves_before_its_turn_takes_no_place() -> None:
    async with a_world(takeover=0.2) as world:
        first = await world.connected()
        _, writer = await asyncio.open_connection("127.0.0.1", world.port)
        writer.write(handshake("/ocpp/CP1"))
        assert (await first.frame())[0] == PING
        writer.transport.abort()
        [session] = world.registry.sessions()
        await world.heard.until(lambda: session.gone is not None and session.connection is None)
        assert await world.failure() == (
            "not_connected",
            "charge point CP1 is not connected: it had gone before its connection was there",
        )


async def test_who_waits_for_a_place_while_its_session_is_closed_begins_anew() -> None:
    async with a_world(takeover=0.2) as world:
        first = await world.connected()
        waiting = world.tasks.create_task(world.refused())
        assert (await first.frame())[0] == PING
        world.registry.stop()
        assert (await waiting)[0] == 503
        assert world.heard.told("connection refused")[0].reason == "draining"


async def test_a_place_is_taken_before_the_websocket_is_there() -> None:
    async with a_world() as world:
        grant = world.listener.upgrade
        assert grant is not None
        meanwhile: list[object] = []

        async def granting(request: HttpRequest, offered: tuple[str, ...]) -> HttpResponse | WebSocket:
            answer = await grant(request, offered)
            assert isinstance(answer, WebSocket)
            [session] = world.registry.sessions()
            meanwhile.append(await world.registry.claim(session))
            meanwhile.append(await world.failure())
            await answer.talk.close("it changed its mind")
            return answer

        world.listener.upgrade = granting
        peer = await world.connected()
        assert await peer.closed() == (1001, "it changed its mind")
        away = "charge point CP1 is not connected; Reset was not sent"
        assert meanwhile == [False, ("not_connected", away)]


# --- the end of a connection ---


async def test_a_connection_that_drops_ends_its_calls_and_the_session_waits_for_it() -> None:
    async with a_world() as world:
        peer = await world.connected()
        [session] = world.registry.sessions()
        asking = world.tasks.create_task(world.failure())
        await peer.text()
        peer.hang_up()
        assert (await asking)[0] == "unreachable"
        await world.heard.until(lambda: session.connection is None)
        reason, description = await world.failure()
        assert reason == "not_connected"
        assert description.startswith("charge point CP1 is not connected: the connection broke")
        [told] = world.heard.told("charge point disconnected")
        assert told.labels == {"listener": "in", "source": "127.0.0.1", "code": "1006"}
        again = await world.connected()
        assert world.registry.sessions() == [session]
        again.send(HEARTBEAT)
        assert await again.text() == TIME


async def test_a_charge_point_that_closes_is_answered_and_gone() -> None:
    async with a_world() as world:
        peer = await world.connected()
        peer.send((1000).to_bytes(2) + b"bye", CLOSE)
        assert await peer.closed() == (1000, "bye")
        await world.heard.until(lambda: len(world.heard.told("charge point disconnected")) == 1)
        [told] = world.heard.told("charge point disconnected")
        assert (told.text, told.labels["code"]) == (
            "the other party closed the connection: 1000 (OK) bye",
            "1000",
        )


async def test_a_charge_point_that_says_goodbye_and_stays_makes_room_all_the_same() -> None:
    async with a_world(takeover=5.0, limits=Limits(close_timeout=SOON)) as world:
        first = await world.connected()
        first.send((1000).to_bytes(2), CLOSE)
        assert (await first.frame())[0] == CLOSE
        second = await world.connected()
        assert await first.rest() == b""
        second.send(HEARTBEAT)
        assert await second.text() == TIME


async def test_an_exchange_that_outlives_the_connection_is_recorded() -> None:
    async with a_world() as world:
        world.central_system.may_answer.clear()
        peer = await world.connected()
        peer.send(HEARTBEAT)
        await world.central_system.until_asked(1)
        peer.hang_up()
        await world.heard.until(lambda: world.registry.sessions()[0].connection is None)
        world.central_system.may_answer.set()
        await world.heard.until(lambda: len(world.heard.records) == 1)
        assert world.heard.records[0].replied == Passage("json", b"")


async def test_a_stop_lets_what_is_in_flight_end_and_then_says_goodbye() -> None:
    async with a_world() as world:
        world.central_system.may_answer.clear()
        peer = await world.connected()
        idle = await world.connected("/ocpp/CP2")
        peer.send(HEARTBEAT)
        await world.central_system.until_asked(1)
        stopping = world.tasks.create_task(world.listener.stop(5.0))
        assert await idle.closed() == (1001, "the gateway is stopping")
        world.central_system.may_answer.set()
        assert await peer.text() == TIME
        assert await peer.closed() == (1001, "the gateway is stopping")
        await stopping
        assert world.listener.open == 0


async def test_a_session_that_is_closed_closes_its_connection() -> None:
    async with a_world() as world:
        peer = await world.connected()
        world.registry.stop()
        assert await peer.closed() == (1001, "the gateway is stopping")


# --- pings, and charge points that do not answer ---


async def test_a_charge_point_is_pinged_and_cut_when_it_does_not_answer() -> None:
    async with a_world(replace(PLAIN, ping_interval=SOON, ping_timeout=SOON)) as world:
        peer = await world.connected()
        opcode, payload = await peer.frame()
        peer.send(payload, PONG)
        assert (opcode, (await peer.frame())[0]) == (PING, PING)
        assert await peer.closed() == (1011, "keepalive ping timeout")


async def test_a_charge_point_that_is_not_pinged_may_ping() -> None:
    async with a_world() as world:
        peer = await world.connected()
        peer.send(b"are you there", PING)
        assert await peer.frame() == (PONG, b"are you there")


async def test_a_charge_point_that_answers_no_calls_is_cut_so_that_it_comes_back() -> None:
    """Some stop answering while their heartbeats go on."""
    async with a_world(replace(PLAIN, unanswered=2), call_timeout=SOON) as world:
        peer = await world.connected()
        assert (await world.failure())[0] == "timeout"
        peer.send(HEARTBEAT)
        assert (await world.failure())[0] == "timeout"
        assert await peer.closed() == (1011, "calls are not answered")
        text = "2 calls in a row were not answered; the last was Reset"
        [told] = world.heard.told("connection cut off")
        assert (told.identity, told.text) == ("CP1", text)


async def test_an_answer_begins_the_count_of_unanswered_calls_anew() -> None:
    async with a_world(replace(PLAIN, unanswered=2), call_timeout=4 * SOON) as world:
        peer = await world.connected()
        for answered in (False, True, False):
            asking = world.tasks.create_task(world.call())
            message_id = json.loads(await peer.text())[1]
            if answered:
                peer.send(json.dumps([4, message_id, "InternalError", "", {}]))
            await asking
        assert world.heard.told("connection cut off") == []


async def test_with_0_nobody_is_cut_for_its_silence() -> None:
    async with a_world(replace(PLAIN, unanswered=0), call_timeout=SOON) as world:
        peer = await world.connected()
        for _ in range(4):
            assert (await world.failure())[0] == "timeout"
        peer.send(HEARTBEAT)
        while not (text := await peer.text()).startswith("[3"):
            pass
        assert text == TIME


# --- what real charge points send ---

SAMPLES = Path(__file__).resolve().parents[3] / "shared" / "samples" / "frames"
FRAMES = sorted(SAMPLES.glob("**/*.json"))


@pytest.mark.skipif(not FRAMES, reason="the sample messages are not beside the project")
async def test_frames_of_real_charge_points_are_taken_and_the_connection_lives() -> None:
    async with a_world() as world:
        peer = await world.connected()
        for file in FRAMES:
            peer.send(file.read_bytes().rstrip(b"\r\n"))
        peer.send('[2,"the end","Heartbeat",{}]')
        while json.loads(await peer.text())[1] != "the end":
            pass
        assert world.heard.told("internal error") == []


class Package(PackageChargePoint):  # type: ignore[misc]
    """The charge point of the ocpp package, which checks every message by the published schemas."""

    @on("Reset")  # type: ignore[untyped-decorator]
    def on_reset(self, type: str) -> Any:
        return package_result.Reset(status="Accepted")


async def test_the_ocpp_package_finds_nothing_to_object_to() -> None:
    async with a_world(ChargePoint(dialect())) as world:
        url = f"ws://127.0.0.1:{world.port}/ocpp/CP1"
        async with connect(url, subprotocols=[Subprotocol("ocpp1.6")], proxy=None) as socket:
            assert socket.subprotocol == "ocpp1.6"
            charge_point = Package("CP1", socket)
            running = world.tasks.create_task(_run(charge_point))
            boot = await charge_point.call(
                package_call.BootNotification(charge_point_vendor="V", charge_point_model="M")
            )
            assert (boot.status, boot.interval) == ("Accepted", 300)
            started = await charge_point.call(
                package_call.StartTransaction(
                    connector_id=1, id_tag="TAG", meter_start=0, timestamp="2024-05-01T10:00:00Z"
                )
            )
            assert started.transaction_id == 7
            meter_value = {
                "timestamp": "2024-05-01T10:30:00Z",
                "sampledValue": [{"value": "8.1", "unit": "kWh"}],
            }
            assert await charge_point.call(
                package_call.MeterValues(connector_id=1, meter_value=[meter_value])
            )
            assert await world.call() == CallResult({"status": "Accepted"})
        await running
        assert [record.reason for record in world.heard.records] == ["", "", "", ""]


async def _run(charge_point: Package) -> None:
    with suppress(ConnectionClosed):
        await charge_point.start()


# --- what is left without an answer ---


@pytest.mark.parametrize("action", ["StartTransaction", "StopTransaction", "MeterValues"])
async def test_the_connection_is_closed_behind_a_transaction_message_that_can_still_be_delivered(
    action: str,
) -> None:
    """An error could make the charge point drop it (OCPP-J 1.6 errata, 3.2): it keeps it, and asks again."""
    payloads = {
        "StartTransaction": '{"connectorId":1,"idTag":"A","meterStart":0,"timestamp":"2024-05-01T10:00:00Z"}',
        "StopTransaction": '{"transactionId":7,"meterStop":10,"timestamp":"2024-05-01T10:00:00Z"}',
        "MeterValues": '{"connectorId":1,"meterValue":[{"timestamp":"2024-05-01T10:00:00Z",'
        '"sampledValue":[{"value":"1"}]}]}',
    }
    async with a_world() as world:
        peer = await world.connected()
        world.central_system.outcome = away("refused", "central system main: it refused the connection")
        peer.send(f'[2,"1","{action}",{payloads[action]}]')
        peer.send('[2,"2","StatusNotification",{"connectorId":1,"errorCode":"NoError","status":"Available"}]')
        said = "central system main: it refused the connection"
        assert await peer.text() == f'[4,"2","GenericError","{said}",{{}}]'
        assert await peer.closed() == (
            1013,
            f"{action} could not be delivered; keep it and send it again",
        )
        unanswered = world.heard.records[0]
        assert (unanswered.action, unanswered.reason, unanswered.replied.text) == (action, "refused", b"")
        world.central_system.outcome = CallResult({})
        peer = await world.connected()
        peer.send(f'[2,"1","{action}",{payloads[action]}]')
        assert json.loads(await peer.text())[:2] == [3, "1"]


async def test_what_the_central_system_refuses_is_answered_whatever_it_is() -> None:
    async with a_world() as world:
        peer = await world.connected()
        world.central_system.outcome = CallError("PropertyConstraintViolation", "no such transaction")
        peer.send(
            '[2,"1","StopTransaction",{"transactionId":7,"meterStop":10,"timestamp":"2024-05-01T10:00:00Z"}]'
        )
        assert await peer.text() == '[4,"1","PropertyConstraintViolation","no such transaction",{}]'


async def test_calls_that_wait_for_a_soap_charge_point_go_to_the_websocket_it_opens() -> None:
    accepted = http_response(soap_result("resetResponse", "<cp:status>Accepted</cp:status>"))
    async with a_charge_point(accepted) as by_soap, a_world() as world:
        by_soap.may_answer.clear()
        url = f"http://127.0.0.1:{world.port}/ocpp/cs"
        await post(url, soap_request("Heartbeat", headers=from_header(by_soap.url)))
        first, second = (world.tasks.create_task(world.call()) for _ in range(2))
        await by_soap.request()
        peer = await world.connected()
        by_soap.may_answer.set()
        assert await first == CallResult({"status": "Accepted"})
        assert await peer.text() == '[2,"ours-1","Reset",{"type":"Hard"}]'
        peer.send('[3,"ours-1",{"status":"Rejected"}]')
        assert await second == CallResult({"status": "Rejected"})
        assert len(by_soap.heard) == 1
