from __future__ import annotations

import asyncio
import contextlib
import ssl
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus
from itertools import count
from pathlib import Path
from shutil import which
from typing import Any

import pytest
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from wattbridge.links.central_system_json import Backoff, CentralSystem, CentralSystemJson
from wattbridge.links.json_link import JsonLimits
from wattbridge.ocpp.errors import Unreachable
from wattbridge.ocpp.messages import Call, CallResult, Note, Passage, Payload, Side
from wattbridge.relay.duty import Duty, State
from wattbridge.relay.journal import Event, Journal
from wattbridge.relay.pace import Pacer
from wattbridge.relay.session import Answer, Session

HEARTBEAT = Call("Heartbeat", {})


class PlainCodec:
    """The neutral form is the JSON form."""

    form = ""

    def read_call(self, action: str, payload: Any) -> tuple[Call, list[Note]]:
        return Call(action, payload), []

    def write_call(self, call: Call) -> tuple[Payload, list[Note]]:
        return call.payload, []

    def read_result(self, action: str, payload: Any) -> tuple[Payload, list[Note]]:
        return payload, []

    def write_result(self, action: str, payload: Payload) -> tuple[Payload, list[Note]]:
        return payload, []


class ChargePoint:
    transport = "soap"
    version = "1.6"
    form = ""

    async def call(self, call: Call) -> Answer:
        return Answer(CallResult({"status": "Accepted"}), Passage("soap", b""), Passage("soap", b""))

    async def close(self, reason: str) -> None:
        return None


class Naps:
    """A sleep that tells how long it was asked to last, and lasts until it is told."""

    def __init__(self) -> None:
        self.asked: asyncio.Queue[float] = asyncio.Queue()
        self.over = asyncio.Semaphore(0)

    async def __call__(self, seconds: float) -> None:
        self.asked.put_nowait(seconds)
        await self.over.acquire()


@dataclass
class World:
    """A link that runs; its central system's connections are in ``connections``."""

    link: CentralSystemJson
    session: Session
    events: asyncio.Queue[Event]
    states: list[str]
    naps: Naps
    tasks: asyncio.TaskGroup
    running: asyncio.Task[None]

    async def told(self, kind: str) -> Event:
        while (event := await self.events.get()).kind != kind:
            pass
        return event

    async def refused(self) -> tuple[str, str]:
        event = await self.told("central system unreachable")
        assert event.identity == "CP1"
        assert event.labels == {"upstream": "cloud"}
        return event.reason, event.text

    async def failing_call(self) -> tuple[str, str]:
        with pytest.raises(Unreachable) as gone:
            await self.link.call(HEARTBEAT)
        return gone.value.reason, gone.value.description


@contextlib.asynccontextmanager
async def running(
    url: str,
    *,
    identity: str = "CP1",
    pacer: Pacer | None = None,
    clock: Callable[[], float] | None = None,
    chance: float = 0.0,
    duty: Duty | None = None,
    **options: Any,
) -> AsyncIterator[World]:
    settings = replace(
        CentralSystem(
            url, name="cloud", ping_interval=None, connect_wait=5.0, limits=JsonLimits(close_wait=1.0)
        ),
        **options,
    )
    journal, events, states, naps = Journal(), asyncio.Queue[Event](), list[str](), Naps()
    journal.listen(event=events.put_nowait)
    session = Session(identity, journal)
    session.attach(Side.CHARGE_POINT, ChargePoint())
    numbers = count(1)
    link = CentralSystemJson(
        session,
        PlainCodec(),
        journal,
        settings,
        pacer or Pacer(1000.0, burst=1000.0),
        on_state=states.append,
        sleep=naps,
        chance=lambda: chance,
        new_message_id=lambda: str(next(numbers)),
        clock=clock or time.monotonic,
        duty=duty,
    )
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(link.run())
        yield World(link, session, events, states, naps, tasks, task)
        await link.close("the test is over")


@dataclass
class JsonServer:
    url: str
    connections: asyncio.Queue[ServerConnection]
    requests: list[Request]
    server: Server


@contextlib.asynccontextmanager
async def a_central_system(
    refuse: HTTPStatus | None = None,
    subprotocols: Sequence[Subprotocol] = (Subprotocol("ocpp1.6"),),
    headers: dict[str, str] | None = None,
    **options: Any,
) -> AsyncIterator[JsonServer]:
    connections: asyncio.Queue[ServerConnection] = asyncio.Queue()
    requests: list[Request] = []

    async def handle(connection: ServerConnection) -> None:
        connections.put_nowait(connection)
        await connection.wait_closed()

    def look(connection: ServerConnection, request: Request) -> Response | None:
        requests.append(request)
        return None if refuse is None else connection.respond(refuse, "no\n")

    def answer(connection: ServerConnection, request: Request, response: Response) -> None:
        for name, value in (headers or {}).items():
            response.headers[name] = value

    options = {"compression": None, "ping_interval": None, "close_timeout": 1.0} | options
    async with serve(
        handle,
        "127.0.0.1",
        0,
        subprotocols=subprotocols or None,
        process_request=look,
        process_response=answer,
        **options,
    ) as server:
        port = server.sockets[0].getsockname()[1]
        yield JsonServer(f"ws://127.0.0.1:{port}/ocpp", connections, requests, server)


@contextlib.asynccontextmanager
async def a_socket(
    handle: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[str]:
    """A server that speaks no WebSocket."""

    async def handle_and_close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await handle(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(handle_and_close, "127.0.0.1", 0)
    async with server:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/ocpp"


async def a_closed_port() -> str:
    server = await asyncio.start_server(lambda r, w: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    return f"ws://127.0.0.1:{port}/ocpp"


async def close_code(peer: ServerConnection) -> tuple[int, str]:
    await peer.wait_closed()
    with pytest.raises(ConnectionClosed) as closed:
        await peer.recv()
    assert closed.value.rcvd is not None
    return closed.value.rcvd.code, closed.value.rcvd.reason


# --- the handshake ---


async def handshake_of(**options: Any) -> list[str]:
    heard = asyncio.get_running_loop().create_future()

    async def hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.set_result(await reader.readuntil(b"\r\n\r\n"))

    async with a_socket(hear) as url, running(url, **options):
        lines: list[str] = (await heard).decode("ascii").split("\r\n")
    port = url.rpartition(":")[2].removesuffix("/ocpp")
    return [line.replace(port, "PORT") for line in lines if not line.startswith("Sec-WebSocket-Key: ")]


async def test_the_handshake_byte_by_byte() -> None:
    """OCPP-J 1.6, 3.1; the password is the key's 20 bytes, which need not be text (6.2.2)."""
    key = bytes.fromhex("abcdef00ff112233445566778899aabbccddeeff")
    assert await handshake_of(password=key, user_agent="wattbridge/1.0") == [
        "GET /ocpp/CP1 HTTP/1.1",
        "Host: 127.0.0.1:PORT",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Protocol: ocpp1.6",
        "Authorization: Basic Q1AxOqvN7wD/ESIzRFVmd4iZqrvM3e7/",
        "User-Agent: wattbridge/1.0",
        "",
        "",
    ]


async def test_compression_is_offered_only_when_wanted() -> None:
    offered = await handshake_of(compression=True)
    assert [line for line in offered if line.startswith("Sec-WebSocket-Extensions")] == [
        "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"
    ]
    assert not [line for line in offered if line.startswith("Authorization")]


async def test_the_identity_is_percent_encoded_once() -> None:
    """OCPP-J 1.6, 3.1.1: "RDAM 123" is RDAM%20123."""
    identity = "RDAM 123/ %:é"
    async with (
        a_central_system() as central_system,
        running(central_system.url, identity=identity) as world,
    ):
        await central_system.connections.get()
        assert [request.path for request in central_system.requests] == ["/ocpp/RDAM%20123%2F%20%25%3A%C3%A9"]
        await world.told("central system connected")


@pytest.mark.parametrize(
    ("url", "filled"),
    [
        ("ws://h", "ws://h/a%2Fb"),
        ("ws://h/ocpp/", "ws://h/ocpp/a%2Fb"),
        ("wss://h:9/ocpp?token=1", "wss://h:9/ocpp/a%2Fb?token=1"),
        ("ws://h/{charger}/ocpp", "ws://h/a%2Fb/ocpp"),
        ("ws://h/ocpp?cp={charger}", "ws://h/ocpp?cp=a%2Fb"),
    ],
)
def test_the_placeholder_or_the_last_segment_is_the_identity(url: str, filled: str) -> None:
    assert CentralSystem(url).url_of("a/b") == filled


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("http://h/ocpp", "scheme isn't ws or wss"),
        ("ws:///ocpp", "hostname isn't provided"),
        ("ws://h/ocpp/é", "is not written in ASCII"),
        ("ws://user:secret@h/ocpp", "the URL of central system cloud holds a user name and a password"),
    ],
)
def test_what_is_no_url_of_a_websocket_is_refused(url: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem) as refused:
        CentralSystem(url, name="cloud").url_of("CP1")
    assert "secret" not in str(refused.value)


async def test_a_user_name_with_a_colon_is_never_sent() -> None:
    """Basic authentication splits at the first colon (RFC 7617, 2)."""
    async with a_central_system() as central_system:
        async with running(central_system.url, identity="CP:1", password=b"secret") as world:
            event = await world.told("central system unreachable")
            assert event.text == "the user name 'CP:1' has a colon, which Basic authentication cannot carry"
            assert await world.naps.asked.get() == 120.0
        assert central_system.requests == []


async def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    async with a_central_system() as central_system, running(central_system.url) as world:
        await world.told("central system connected")


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate of 127.0.0.1 and its key, in one file."""
    if which("openssl") is None:
        pytest.skip("needs openssl to make a certificate")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
         "-keyout", key, "-out", certificate, "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"],
        check=True, capture_output=True,
    )  # fmt: skip
    certificate.write_bytes(certificate.read_bytes() + key.read_bytes())
    return certificate


async def test_tls_with_a_private_certificate(certificate: Path) -> None:
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.load_cert_chain(certificate)
    trusting = ssl.create_default_context(cafile=str(certificate))
    async with a_central_system(ssl=server_side) as central_system:
        url = central_system.url.replace("ws:", "wss:")
        async with running(url, tls=trusting) as world:
            await world.told("central system connected")
        async with running(url) as world:
            reason, problem = await world.refused()
            assert reason == "unreachable"
            assert "certificate verify failed" in problem


# --- an open connection ---


async def test_a_call_waits_for_the_connection_and_is_answered() -> None:
    async with a_central_system() as central_system, running(central_system.url) as world:
        asking = world.tasks.create_task(world.link.call(HEARTBEAT))
        peer = await central_system.connections.get()
        assert await peer.recv() == '[2,"1","Heartbeat",{}]'
        await peer.send('[3,"1",{"currentTime":"2024-05-01T10:00:00Z"}]')
        assert (await asking).reply == CallResult({"currentTime": "2024-05-01T10:00:00Z"})
        assert world.link.state == "open"
        event = await world.told("central system connected")
        assert event == Event("central system connected", "CP1", labels={"upstream": "cloud"})
    assert world.states == ["open", "closed"]


async def test_the_wait_for_the_connection_is_told_apart_from_the_wait_for_the_reply() -> None:
    now = [0.0]
    naps = Naps()
    pacer = Pacer(1.0, clock=lambda: now[0], sleep=naps)
    await pacer.turn()
    async with (
        a_central_system() as central_system,
        running(central_system.url, pacer=pacer, clock=lambda: now[0]) as world,
    ):
        asking = world.tasks.create_task(world.link.call(HEARTBEAT))
        await naps.asked.get()
        now[0] = 3.0
        naps.over.release()
        peer = await central_system.connections.get()
        await peer.recv()
        now[0] = 3.25
        await peer.send('[3,"1",{}]')
        answer = await asking
        assert (answer.delay, answer.waited) == (3.0, 0.25)


async def test_calls_that_wait_for_the_connection_are_sent_one_by_one() -> None:
    async with a_central_system() as central_system, running(central_system.url) as world:
        asking = [world.tasks.create_task(world.link.call(HEARTBEAT)) for _ in range(3)]
        peer = await central_system.connections.get()
        for message_id in "123":
            assert await peer.recv() == f'[2,"{message_id}","Heartbeat",{{}}]'
            await peer.send(f'[3,"{message_id}",{{}}]')
        assert [(await each).reply for each in asking] == [CallResult({})] * 3


async def test_a_call_of_the_central_system_crosses_ours() -> None:
    async with a_central_system() as central_system, running(central_system.url) as world:
        asking = world.tasks.create_task(world.link.call(HEARTBEAT))
        peer = await central_system.connections.get()
        await peer.recv()
        await peer.send('[2,"1","Reset",{"type":"Hard"}]')
        assert await peer.recv() == '[3,"1",{"status":"Accepted"}]'
        await peer.send('[3,"1",{}]')
        assert (await asking).reply == CallResult({})


async def test_a_drop_ends_the_call_at_once_and_the_link_comes_back() -> None:
    async with a_central_system() as central_system, running(central_system.url) as world:
        peer = await central_system.connections.get()
        asking = world.tasks.create_task(world.failing_call())
        await peer.recv()
        await peer.close(1012, "restart")
        reason, description = await asking
        assert reason == "unreachable"
        assert description.endswith("Heartbeat was sent, its reply did not come")
        lost = await world.told("central system lost")
        assert lost.text == "the other party closed the connection: 1012 (service restart) restart"
        assert lost.labels == {"upstream": "cloud", "code": "1012"}
        assert await world.naps.asked.get() == 1.0
        assert world.link.state == "backoff"

        world.naps.over.release()
        peer = await central_system.connections.get()
        again = world.tasks.create_task(world.link.call(HEARTBEAT))
        assert await peer.recv() == '[2,"2","Heartbeat",{}]'
        await peer.send('[3,"2",{}]')
        await again
        assert world.states == ["open", "backoff", "connecting", "open"]


async def test_a_message_too_large_costs_the_connection_and_no_more() -> None:
    async with a_central_system() as central_system, running(central_system.url, max_size=500) as world:
        peer = await central_system.connections.get()
        await peer.send("x" * 501)
        lost = await world.told("central system lost")
        assert lost.labels["code"] == "1009"
        await world.naps.asked.get()
        world.naps.over.release()
        await central_system.connections.get()


async def test_rubbish_does_not_cost_the_connection() -> None:
    async with a_central_system() as central_system, running(central_system.url) as world:
        peer = await central_system.connections.get()
        for rubbish in ("", "[", "<html/>", b"\xff\x00", '[3,"9",{}]', "[" * 500):
            await peer.send(rubbish)
        await peer.send('[2,"a","Reset",{"type":"Hard"}]')
        assert await peer.recv() == '[3,"a",{"status":"Accepted"}]'
        assert world.link.state == "open"


async def test_a_central_system_that_answers_no_ping_is_lost() -> None:
    options: dict[str, Any] = {"ping_interval": 0.01, "ping_timeout": 0.02, "close_timeout": 0.02}
    async with a_central_system() as central_system, running(central_system.url, **options) as world:
        peer = await central_system.connections.get()
        peer.transport.pause_reading()
        lost = await world.told("central system lost")
        assert lost.text == "the gateway closed the connection: 1011 (internal error) keepalive ping timeout"
        peer.transport.abort()


# --- no connection ---


async def test_a_call_without_a_connection_fails_with_the_reason_of_the_last_attempt() -> None:
    url = await a_closed_port()
    async with running(url, connect_wait=0.02) as world:
        await world.naps.asked.get()
        reason, description = await world.failing_call()
        assert reason == "refused"
        assert description.startswith("central system cloud: it refused the connection: ")
        assert world.link.state == "backoff"


async def test_a_call_before_the_first_attempt_is_over_is_not_connected() -> None:
    async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with a_socket(never) as url, running(url, connect_wait=0.02) as world:
        assert await world.failing_call() == (
            "not_connected",
            "central system cloud: no connection has been made yet",
        )


async def test_a_call_that_waits_for_its_turn_to_connect_says_whose_rate_that_is() -> None:
    pacer = Pacer(2.5, clock=lambda: 0.0, sleep=Naps())
    await pacer.turn()
    async with running("ws://127.0.0.1:9/", pacer=pacer, connect_wait=0.02) as world:
        assert await world.failing_call() == (
            "not_connected",
            "central system cloud: it is not this charge point's turn yet to connect: "
            "upstreams.cloud.connect.rate is 2.5/s",
        )


async def test_a_call_after_a_lost_connection_tells_how_it_was_lost() -> None:
    async with (
        a_central_system() as central_system,
        running(central_system.url, connect_wait=0.02) as world,
    ):
        peer = await central_system.connections.get()
        await peer.close(4000, "go away")
        await world.naps.asked.get()
        assert await world.failing_call() == (
            "not_connected",
            "central system cloud: the other party closed the connection: 4000 (private use) go away",
        )


async def test_since_when_there_is_no_connection_is_known() -> None:
    now = [7.0]

    def since() -> float | None:
        return world.link.unreachable_since

    async with (
        a_central_system() as central_system,
        running(central_system.url, clock=lambda: now[0]) as world,
    ):
        assert since() == 7.0  # from the beginning
        now[0] = 8.0
        peer = await central_system.connections.get()
        await world.told("central system connected")
        assert since() is None
        now[0] = 9.0
        await peer.close()
        await world.told("central system lost")
        assert since() == 9.0


async def test_the_waits_double_up_to_the_longest() -> None:
    backoff = Backoff(first=1.0, longest=10.0)
    async with running(await a_closed_port(), backoff=backoff) as world:
        waits = []
        for _ in range(6):
            waits.append(await world.naps.asked.get())
            world.naps.over.release()
        assert waits == [1.0, 2.0, 4.0, 8.0, 10.0, 10.0]


def test_a_wait_is_left_to_chance_by_its_share_of_jitter() -> None:
    full, half, none = Backoff(2.0, 60.0), Backoff(2.0, 60.0, jitter=0.5), Backoff(2.0, 60.0, jitter=0.0)
    assert [full.wait(2, chance) for chance in (0.0, 0.25, 1.0)] == [4.0, 3.0, 0.0]
    assert [half.wait(2, chance) for chance in (0.0, 0.25, 1.0)] == [4.0, 3.5, 2.0]
    assert [none.wait(2, chance) for chance in (0.0, 0.25, 1.0)] == [4.0, 4.0, 4.0]
    assert full.wait(10**9, 0.0) == 60.0


async def test_connections_cut_at_once_do_not_begin_the_waits_anew() -> None:
    now = [0.0]
    async with (
        a_central_system() as central_system,
        running(central_system.url, clock=lambda: now[0]) as world,
    ):
        for held, wait in ((0.0, 1.0), (9.5, 2.0), (0.0, 4.0), (10.0, 1.0), (0.0, 2.0)):
            peer = await central_system.connections.get()
            await world.told("central system connected")
            now[0] += held
            await peer.close()
            assert await world.naps.asked.get() == wait
            world.naps.over.release()
        await central_system.connections.get()


@pytest.mark.parametrize(
    ("status", "problem", "wait"),
    [
        (HTTPStatus.UNAUTHORIZED, "it answered HTTP 401 Unauthorized", 120.0),
        (HTTPStatus.FORBIDDEN, "it answered HTTP 403 Forbidden", 120.0),
        (HTTPStatus.NOT_FOUND, "it answered HTTP 404 Not Found", 120.0),
        (HTTPStatus.SERVICE_UNAVAILABLE, "it answered HTTP 503 Service Unavailable", 1.0),
    ],
)
async def test_a_refused_handshake_is_told_with_its_status(
    status: HTTPStatus, problem: str, wait: float
) -> None:
    """Unknown charge points get a 404 (OCPP-J 1.6, 3.2) and must not hammer (errata, 3.3)."""
    async with a_central_system(refuse=status) as central_system, running(central_system.url) as world:
        assert await world.refused() == ("refused", problem)
        assert await world.naps.asked.get() == wait


async def test_nobody_waits_for_a_connection_that_will_not_come_for_long() -> None:
    """A charge point must not be kept waiting at each message for a central system that knows it not."""
    async with (
        a_central_system(refuse=HTTPStatus.NOT_FOUND) as central_system,
        running(central_system.url, connect_wait=60.0) as world,
    ):
        early = world.tasks.create_task(world.failing_call())
        assert await world.naps.asked.get() == 120.0
        refused = ("refused", "central system cloud: it answered HTTP 404 Not Found")
        assert await early == refused
        assert await world.failing_call() == refused


async def test_it_can_be_closed_at_any_moment_of_connecting() -> None:
    """Also in the turn of the loop in which the connection is made: nobody would close it later."""
    async with a_central_system() as central_system:
        for turns in range(80):
            async with asyncio.timeout(10.0), running(central_system.url) as world:
                for _ in range(turns):
                    await asyncio.sleep(0)
                await world.link.close("enough")
                await world.running
                assert world.link.state == "closed"


async def test_an_answer_without_a_subprotocol_is_refused() -> None:
    async with a_central_system(subprotocols=()) as central_system:
        async with running(central_system.url) as world:
            peer = await central_system.connections.get()
            assert await world.refused() == (
                "refused",
                "its answer names no subprotocol, expected ocpp1.6",
            )
            assert await world.naps.asked.get() == 120.0
            assert await close_code(peer) == (1002, "subprotocol ocpp1.6 expected")
            assert world.states == ["backoff"]
        async with running(central_system.url, require_subprotocol=False) as world:
            await world.told("central system connected")


async def test_an_answer_with_another_subprotocol_is_refused() -> None:
    headers = {"Sec-WebSocket-Protocol": "ocpp2.0.1"}
    async with (
        a_central_system(subprotocols=(), headers=headers) as central_system,
        running(central_system.url) as world,
    ):
        reason, problem = await world.refused()
        assert reason == "refused"
        assert problem == "its answer breaks what was offered: unsupported subprotocol: ocpp2.0.1"
        assert await world.naps.asked.get() == 120.0


async def test_a_central_system_that_never_answers_the_handshake_times_out() -> None:
    async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with a_socket(never) as url, running(url, open_timeout=0.02) as world:
        assert await world.refused() == ("timeout", "no connection within 0.02 s")


@pytest.mark.parametrize("answer", [b"", b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 200 OK\r\n\r\n<html/>"])
async def test_what_is_no_websocket_is_told(answer: bytes) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)

    async with a_socket(talk) as url, running(url) as world:
        reason, problem = await world.refused()
        assert reason == "refused"
        assert problem.startswith(
            "it answered HTTP 200 OK" if answer.startswith(b"HTTP") else "it did not complete the WebSocket"
        )


async def test_tls_where_none_is_spoken_is_told() -> None:
    async with (
        a_central_system() as central_system,
        running(central_system.url.replace("ws:", "wss:")) as world,
    ):
        reason, problem = await world.refused()
        assert reason == "unreachable"
        assert problem.startswith("no connection could be made: ")


async def test_a_host_that_does_not_exist_is_told() -> None:
    async with running("ws://charge-point.invalid./ocpp") as world:
        assert (await world.refused())[0] == "unreachable"


@pytest.mark.parametrize("target", ["ws://127.0.0.2:9/ocpp/CP1", "https://login.example.com/"])
async def test_a_redirect_to_another_host_is_not_followed(target: str) -> None:
    """It would be told the charge point's credential."""
    headers = {"Location": target}
    async with (
        a_central_system(refuse=HTTPStatus.FOUND, headers=headers) as central_system,
        running(central_system.url, password=b"secret") as world,
    ):
        assert await world.refused() == (
            "refused",
            f"it answered HTTP 302 Found to {target}, which is not followed",
        )


async def test_a_redirect_to_the_same_host_without_tls_is_not_followed(certificate: Path) -> None:
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.load_cert_chain(certificate)
    options: dict[str, Any] = {"ssl": server_side, "refuse": HTTPStatus.FOUND}
    async with a_central_system(headers={"Location": "ws://127.0.0.1/"}, **options) as central_system:
        trusting = ssl.create_default_context(cafile=str(certificate))
        async with running(central_system.url.replace("ws:", "wss:"), tls=trusting) as world:
            assert await world.refused() == (
                "refused",
                "it did not complete the WebSocket handshake: "
                "cannot follow redirect to non-secure URI ws://127.0.0.1/",
            )


async def test_a_redirect_on_the_same_host_is_followed() -> None:
    requests = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests.append((await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")[0])
        writer.write(b"HTTP/1.1 307 Temporary Redirect\r\nLocation: /v2/CP1\r\nContent-Length: 0\r\n\r\n")

    async with a_socket(answer) as url, running(url) as world:
        await world.refused()  # after ten of them
        assert requests[:2] == [b"GET /ocpp/CP1 HTTP/1.1", b"GET /v2/CP1 HTTP/1.1"]


# --- closing ---


async def test_closing_ends_the_exchange_in_flight_first() -> None:
    async with a_central_system() as central_system, running(central_system.url) as world:
        asking = world.tasks.create_task(world.link.call(HEARTBEAT))
        peer = await central_system.connections.get()
        await peer.recv()
        closing = world.tasks.create_task(world.link.close("the charge point is silent"))
        await asyncio.sleep(0)
        assert (await world.failing_call())[0] == "draining"
        await peer.send('[3,"1",{}]')
        assert (await asking).reply == CallResult({})
        await closing
        assert await close_code(peer) == (1001, "the charge point is silent")
        await world.running
        assert world.states == ["open", "closed"]
        assert await world.failing_call() == (
            "draining",
            "the charge point is silent; Heartbeat was not sent",
        )


async def test_closing_interrupts_connecting() -> None:
    heard = asyncio.Event()

    async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.set()
        await reader.read()

    async with a_socket(never) as url, running(url) as world:
        await heard.wait()
        waiting = world.tasks.create_task(world.failing_call())
        await asyncio.sleep(0)
        await world.link.close("enough")
        await world.link.close("enough")
        await world.running
        assert await waiting == ("draining", "enough; Heartbeat was not sent")
        assert world.states == ["closed"]


async def test_closing_interrupts_a_wait() -> None:
    async with running(await a_closed_port()) as world:
        await world.naps.asked.get()
        await world.link.close("")
        await world.running
        assert world.states == ["backoff", "closed"]


async def test_closing_interrupts_the_wait_for_ones_turn() -> None:
    naps = Naps()
    pacer = Pacer(1.0, clock=lambda: 0.0, sleep=naps)
    await pacer.turn()
    async with running("ws://127.0.0.1:9/", pacer=pacer) as world:
        assert await naps.asked.get() == 1.0
        await world.link.close("enough")
        await world.running


async def test_a_link_closed_before_it_ran_does_not_connect() -> None:
    async with running("ws://127.0.0.1:9/") as world:
        await world.link.close("enough")
        await world.running
        assert world.states == ["closed"]
        assert world.events.empty()


# --- what the operator says ---


async def test_in_maintenance_what_is_in_flight_ends_and_nothing_else_begins() -> None:
    duty = Duty()
    async with (
        a_central_system() as central_system,
        running(central_system.url, duty=duty) as world,
        asyncio.TaskGroup() as tasks,
    ):
        peer = await central_system.connections.get()
        await world.told("central system connected")
        asking = tasks.create_task(world.link.call(HEARTBEAT))
        assert await peer.recv() == '[2,"1","Heartbeat",{}]'
        duty.become("maint", 0.0)
        assert (world.link.away, world.link.held, world.link.state) == (True, True, "backoff")
        assert await world.failing_call() == ("not_connected", "central system cloud: it is in maintenance")
        await peer.send('[3,"1",{}]')
        assert (await asking).reply == CallResult({})
        assert await close_code(peer) == (1001, "the central system is in maintenance")
        assert (await world.told("central system left")).labels == {"upstream": "cloud", "code": "1001"}
        assert world.link.unreachable_since is not None
        assert len(central_system.requests) == 1


async def test_back_in_service_it_connects_without_waiting_for_minutes() -> None:
    """What an absence before has come to is forgotten, too."""
    duty = Duty()
    async with (
        a_central_system(HTTPStatus.NOT_FOUND) as central_system,
        running(central_system.url, duty=duty) as world,
    ):
        await world.refused()
        assert await world.naps.asked.get() == 120.0
        duty.become("maint", 0.0)
        await asyncio.sleep(0.05)
        assert len(central_system.requests) == 1
        assert world.link.held
        before = world.link.unreachable_since
        duty.become("ready", 0.0)
        assert world.link.away  # until it is connected
        assert before is not None
        assert world.link.unreachable_since is not None
        assert world.link.unreachable_since > before  # an absence begins anew
        await world.refused()
        assert len(central_system.requests) == 2


async def test_maintenance_breaks_off_an_attempt_to_connect() -> None:
    duty, dialled = Duty(), asyncio.Event()

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        dialled.set()
        assert (await reader.read()).startswith(b"GET ")  # to the end: it has hung up

    async with a_socket(say_nothing) as url, running(url, duty=duty) as world:
        waiting = world.tasks.create_task(world.failing_call())
        await dialled.wait()
        for state in ("maint", "drain", "maint"):
            duty.become(state, 0.0)
            await asyncio.sleep(0.01)
        assert await waiting == ("not_connected", "central system cloud: it is in maintenance")
        assert (world.states, world.events.qsize()) == (["backoff"], 0)


async def test_a_drained_central_system_keeps_who_is_connected_and_gets_nobody_back() -> None:
    duty = Duty()
    async with a_central_system() as central_system, running(central_system.url, duty=duty) as world:
        peer = await central_system.connections.get()
        await world.told("central system connected")
        duty.become("drain", 0.0)
        assert (world.link.away, world.link.held, world.link.state) == (False, False, "open")
        async with asyncio.TaskGroup() as tasks:
            asking = tasks.create_task(world.link.call(HEARTBEAT))
            assert await peer.recv() == '[2,"1","Heartbeat",{}]'
            await peer.send('[3,"1",{}]')
        assert asking.result().reply == CallResult({})
        await peer.close(1001)
        await world.told("central system lost")
        assert (world.link.away, world.link.held) == (True, True)
        assert await world.failing_call() == ("not_connected", "central system cloud: it is being drained")
        world.naps.over.release()
        await asyncio.sleep(0.05)
        assert len(central_system.requests) == 1
        duty.become("ready", 0.0)
        await world.told("central system connected")
        assert len(central_system.requests) == 2


@pytest.mark.parametrize("state", ["drain", "maint"])
async def test_a_link_that_begins_out_of_service_does_not_connect(state: State) -> None:
    duty = Duty()
    duty.become(state, 0.0)
    async with a_central_system() as central_system, running(central_system.url, duty=duty) as world:
        await asyncio.sleep(0.05)
        assert (world.link.held, world.states, central_system.requests) == (True, ["backoff"], [])
        duty.become("ready", 0.0)
        await world.told("central system connected")


async def test_a_link_that_was_let_go_can_be_closed_for_good() -> None:
    duty = Duty()
    async with a_central_system() as central_system, running(central_system.url, duty=duty) as world:
        peer = await central_system.connections.get()
        await world.told("central system connected")
        duty.become("maint", 0.0)
        await world.link.close("the session is closed")
        await asyncio.wait_for(world.running, 2.0)
        assert (await close_code(peer), world.link.state) == (
            (1001, "the central system is in maintenance"),
            "closed",
        )


async def test_back_in_service_while_it_is_being_let_go_it_connects_anew() -> None:
    duty = Duty()
    async with (
        a_central_system() as central_system,
        running(central_system.url, duty=duty) as world,
        asyncio.TaskGroup() as tasks,
    ):
        peer = await central_system.connections.get()
        await world.told("central system connected")
        asking = tasks.create_task(world.link.call(HEARTBEAT))
        await peer.recv()
        duty.become("maint", 0.0)
        duty.become("ready", 0.0)
        assert (world.link.away, world.link.held) == (True, False)
        await peer.send('[3,"1",{}]')
        await asking
        await world.told("central system left")
        assert await world.naps.asked.get() == 1.0
        world.naps.over.release()
        await world.told("central system connected")


async def test_a_cancelled_link_says_goodbye_and_leaves_nothing_behind() -> None:
    async with a_central_system() as central_system, running(central_system.url) as world:
        peer = await central_system.connections.get()
        await world.told("central system connected")
        waiting = world.tasks.create_task(world.failing_call())
        await peer.recv()
        world.running.cancel()
        assert (await close_code(peer))[0] == 1001
        assert (await waiting)[0] == "unreachable"
        await asyncio.wait([world.running])
        assert world.link.state == "closed"
        assert await world.failing_call() == (
            "not_connected",
            "central system cloud: the gateway let go of the connection",
        )
    assert asyncio.all_tasks() == {asyncio.current_task()}


# --- the pace of a fleet ---


class Time:
    """A clock that moves when someone sleeps."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)
        self.now += seconds


async def test_turns_are_given_in_order_at_the_rate() -> None:
    time = Time()
    pacer = Pacer(4.0, clock=time, sleep=time.sleep)
    turns: list[tuple[int, float]] = []

    async def connect(number: int) -> None:
        await pacer.turn()
        turns.append((number, time.now))

    async with asyncio.TaskGroup() as tasks:
        for number in range(5):
            tasks.create_task(connect(number))
    assert turns == [(0, 100.0), (1, 100.25), (2, 100.5), (3, 100.75), (4, 101.0)]


async def test_after_a_pause_a_burst_of_turns_is_given_at_once() -> None:
    time = Time()
    pacer = Pacer(4.0, burst=2.0, clock=time, sleep=time.sleep)
    moments = []
    for pause in (0.0, 0.0, 0.0, 60.0, 0.0, 0.0):
        time.now += pause
        await pacer.turn()
        moments.append(time.now)
    assert moments == [100.0, 100.0, 100.25, 160.25, 160.25, 160.5]


async def test_who_gives_up_its_turn_leaves_no_gap() -> None:
    time = Time()
    pacer = Pacer(4.0, clock=time, sleep=time.sleep)
    await pacer.turn()
    async with asyncio.TaskGroup() as tasks:
        impatient = [tasks.create_task(pacer.turn()) for _ in range(100)]
        await asyncio.sleep(0)
        for task in impatient:
            task.cancel()
    await pacer.turn()
    assert time.now == 100.25


async def test_any_rate_comes_to_its_turn() -> None:
    for rate in (0.3, 3.0, 7.0, 50.0, 9999.0):
        time = Time()
        pacer = Pacer(rate, clock=time, sleep=time.sleep)
        for _ in range(100):
            await pacer.turn()
        assert time.now - 100.0 == pytest.approx(99 / rate)


async def test_the_links_of_a_fleet_share_one_pace() -> None:
    naps = Naps()
    pacer = Pacer(1.0, clock=lambda: 0.0, sleep=naps)
    async with (
        a_central_system() as central_system,
        running(central_system.url, pacer=pacer),
        running(central_system.url, pacer=pacer),
    ):
        await central_system.connections.get()
        assert await naps.asked.get() == 1.0
        assert central_system.connections.empty()
