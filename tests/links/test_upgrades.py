"""WebSockets on a listener over real sockets: handshakes, what is refused how, and how they end."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.connection import Connection
from websockets.exceptions import ConnectionClosed

from tests.fakes import (
    CLOSE,
    PATIENCE,
    PING,
    Clock,
    PlainWebSocket,
    client_frame,
    dial,
    exchange_bytes,
    handshake,
)
from wattbridge.links.listener import HttpRequest, HttpResponse, Limits, Listener
from wattbridge.links.upgrades import MOST_UNREAD, Handshakes, Seldom, WebSocket

SOON = 0.05  # seconds


@dataclass
class Echo:
    """Says what it hears, until the connection ends."""

    ended: asyncio.Event = field(default_factory=asyncio.Event)
    socket: Connection | None = None

    async def run(self, socket: Connection) -> None:
        self.socket = socket
        with suppress(ConnectionClosed):
            while True:
                await socket.send(await socket.recv())
        self.ended.set()

    async def close(self, reason: str) -> None:
        assert self.socket is not None
        await self.socket.close(1001, reason)


@dataclass
class World:
    """A listener, and what it was asked and has told; ``talk`` is what every WebSocket gets."""

    answer: Callable[[], HttpResponse | WebSocket] | None = None
    talk: Any = field(default_factory=Echo)
    subprotocol: str | None = None
    may_answer: asyncio.Event = field(default_factory=asyncio.Event)
    requests: list[HttpRequest] = field(default_factory=list)
    offered: list[tuple[str, ...]] = field(default_factory=list)
    refusals: list[tuple[str, int, str]] = field(default_factory=list)
    errors: list[Exception] = field(default_factory=list)
    unheard: int = 0
    peers: list[PlainWebSocket] = field(default_factory=list)
    listener: Listener = field(init=False)

    async def handle(self, request: HttpRequest) -> HttpResponse:
        self.requests.append(request)
        return HttpResponse(200, b"hello\n")

    async def upgrade(self, request: HttpRequest, offered: tuple[str, ...]) -> HttpResponse | WebSocket:
        self.requests.append(request)
        self.offered.append(offered)
        await self.may_answer.wait()
        return self.answer() if self.answer else WebSocket(self.talk, self.subprotocol, unheard=self.gone)

    def gone(self) -> None:
        self.unheard += 1

    async def dial(self, request: bytes, **settings: Any) -> PlainWebSocket:
        peer = await dial(self.listener.port, request, **settings)
        self.peers.append(peer)
        return peer

    async def connected(self) -> PlainWebSocket:
        peer = await self.dial(handshake("/CP1"))
        assert peer.status == 101, peer.head
        return peer

    async def exchange(self, request: bytes) -> tuple[int, str, str]:
        """Status, head and body of an answer after which the connection ends."""
        data = await exchange_bytes(f"http://127.0.0.1:{self.listener.port}", request)
        head, _, body = data.decode().partition("\r\n\r\n")
        return int(head.split()[1]), head, body


@asynccontextmanager
async def a_world(limits: Limits | None = None, **settings: Any) -> AsyncIterator[World]:
    compression = settings.pop("compression", False)
    world = World(**settings)
    world.may_answer.set()
    world.listener = Listener(
        "in",
        "127.0.0.1",
        0,
        world.handle,
        limits,
        upgrade=world.upgrade,
        compression=compression,
        on_refusal=lambda source, status, text: world.refusals.append((source, status, text)),
        on_error=lambda problem, request: world.errors.append(problem),
    )
    await world.listener.start()
    try:
        yield world
    finally:
        world.may_answer.set()
        for peer in world.peers:
            peer.hang_up()
        await world.listener.stop(1.0)


# --- the handshake ---


async def test_a_websocket_is_opened_and_both_sides_speak() -> None:
    async with a_world(subprotocol="ocpp1.6") as world:
        peer = await world.dial(handshake("/ocpp/CP%201?a=b", subprotocol="x, ocpp1.6"))
        head = re.sub(r"Date: .*?\r\n", "", peer.head)
        assert head == (
            "HTTP/1.1 101 Switching Protocols\r\nServer: wattbridge\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
            "Sec-WebSocket-Protocol: ocpp1.6\r\n\r\n"
        )
        peer.send("hello")
        assert await peer.text() == "hello"
        [request] = world.requests
        assert (request.path, request.raw_path, request.query) == ("/ocpp/CP 1", "/ocpp/CP%201", "a=b")
        assert (request.source, request.listener) == ("127.0.0.1", "in")
        assert world.offered == [("x", "ocpp1.6")]
        assert world.talk.socket.subprotocol == "ocpp1.6"


@pytest.mark.parametrize(
    "change",
    [
        (b"Upgrade: websocket", b"Upgrade: WebSocket"),
        (b"Upgrade: websocket", b"Upgrade: h2c, websocket"),
        (b"Connection: Upgrade", b"Connection: keep-alive, upgrade"),
        # Some charge points forget it; nothing else can be meant.
        (b"Connection: Upgrade\r\n", b""),
        (b"Connection: Upgrade", b"Connection: keep-alive"),
        (b"Sec-WebSocket-Version: 13", b"Sec-WebSocket-Version: 8, 13"),
        (b"Host: gateway", b"Host: gateway\r\nOrigin: http://elsewhere.example"),
    ],
)
async def test_a_handshake_in_other_words_is_one(change: tuple[bytes, bytes]) -> None:
    async with a_world() as world:
        peer = await world.dial(handshake("/CP1").replace(*change))
        assert peer.status == 101
        peer.send("hello")
        assert await peer.text() == "hello"


@pytest.mark.parametrize(
    ("change", "status", "text"),
    [
        (
            (b"Sec-WebSocket-Version: 13", b"Sec-WebSocket-Version: 8"),
            426,
            "Sec-WebSocket-Version '8' is not served; expected 13",
        ),
        (
            (b"Sec-WebSocket-Version: 13\r\n", b""),
            426,
            "Sec-WebSocket-Version '' is not served; expected 13",
        ),
        (
            (b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", b""),
            400,
            "this is no handshake of a WebSocket: missing Sec-WebSocket-Key header",
        ),
        (
            (b"dGhlIHNhbXBsZSBub25jZQ==", b"short"),
            400,
            "this is no handshake of a WebSocket: invalid Sec-WebSocket-Key header: short",
        ),
        ((b"HTTP/1.1", b"HTTP/1.0"), 505, "a WebSocket needs HTTP/1.1"),
        (
            (b"\r\n\r\n", b"\r\nContent-Length: 3\r\n\r\nabc"),
            400,
            "a request for a WebSocket has no body",
        ),
    ],
)
async def test_a_broken_handshake_is_refused(change: tuple[bytes, bytes], status: int, text: str) -> None:
    async with a_world() as world:
        found, head, body = await world.exchange(handshake("/CP1").replace(*change))
        assert (found, body) == (status, f"{text}\n")
        assert ("Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" in head) == (status == 426)
        assert world.refusals == [("127.0.0.1", status, text)]
        assert world.requests == []


@pytest.mark.parametrize("change", [(b"GET", b"POST"), (b"Upgrade: websocket", b"Upgrade: h2c")])
async def test_what_asks_for_no_websocket_is_a_request_like_others(change: tuple[bytes, bytes]) -> None:
    async with a_world() as world:
        request = handshake("/CP1").replace(*change)
        _, _, body = await world.exchange(request.replace(b"Connection: Upgrade", b"Connection: close"))
        assert body == "hello\n"


async def test_a_handshake_may_follow_other_requests_on_its_connection() -> None:
    """KEBA asks for something before its traffic begins."""
    async with a_world() as world:
        peer = await world.dial(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" + handshake("/CP1"))
        assert await peer.reader.readexactly(6) == b"hello\n"
        assert (await peer.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
        peer.send("hello")
        assert await peer.text() == "hello"


async def test_a_head_in_single_bytes_is_a_handshake() -> None:
    async with a_world() as world:
        request = handshake("/CP1") + client_frame("hello")
        reader, writer = await asyncio.open_connection("127.0.0.1", world.listener.port)
        world.peers.append(peer := PlainWebSocket("", reader, writer))
        for byte in request:
            writer.write(bytes([byte]))
            await asyncio.sleep(0)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
        assert await peer.text() == "hello"


async def test_what_comes_before_the_answer_is_kept_however_much_it_is() -> None:
    async with a_world(Limits(max_frame=200_000)) as world:
        world.may_answer.clear()
        big = "x" * 60_000
        frames = b"".join(client_frame(text) for text in (big, big, big, "the end"))
        reader, writer = await asyncio.open_connection("127.0.0.1", world.listener.port)
        world.peers.append(peer := PlainWebSocket("", reader, writer))
        writer.write(handshake("/CP1") + frames)
        await asyncio.sleep(SOON)
        world.may_answer.set()
        await reader.readuntil(b"\r\n\r\n")
        assert [len(await peer.text()) for _ in range(4)] == [60_000, 60_000, 60_000, 7]


async def test_rubbish_after_the_head_ends_the_websocket_and_nothing_else() -> None:
    async with a_world() as world:
        peer = await world.dial(handshake("/CP1") + b"POST / HTTP/1.1\r\n\r\n")
        assert peer.status == 101
        assert (await peer.closed())[0] == 1002
        assert len(world.requests) == 1


@pytest.mark.parametrize("compression", [True, False])
async def test_compression_is_agreed_on_where_it_is_wanted(compression: bool) -> None:
    async with (
        a_world(compression=compression) as world,
        connect(f"ws://127.0.0.1:{world.listener.port}/CP1", proxy=None) as socket,
    ):
        await socket.send("hello" * 1000)
        assert await socket.recv() == "hello" * 1000
        agreed = socket.response.headers.get("Sec-WebSocket-Extensions") if socket.response else None
        assert (agreed is not None and agreed.startswith("permessage-deflate")) == compression


# --- answers without a WebSocket ---


async def test_a_handler_may_refuse_after_a_while() -> None:
    async with a_world(
        answer=lambda: HttpResponse(401, b"no\n", headers={"WWW-Authenticate": "Basic"})
    ) as world:
        world.may_answer.clear()
        async with asyncio.TaskGroup() as tasks:
            asking = tasks.create_task(world.dial(handshake("/CP1")))
            await asyncio.sleep(0)
            world.may_answer.set()
        peer = asking.result()
        assert (peer.status, peer.header("WWW-Authenticate")) == (401, "Basic")
        # The connection is an HTTP one still.
        assert await peer.reader.readexactly(3) == b"no\n"
        peer.writer.write(handshake("/CP1"))
        assert (await peer.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 401 ")


async def test_a_mistake_of_the_handler_is_an_internal_error() -> None:
    def oops() -> HttpResponse:
        raise ZeroDivisionError("oops")

    async with a_world(answer=oops) as world:
        status, _, body = await world.exchange(handshake("/CP1"))
        assert (status, body) == (500, "internal error\n")
        assert [repr(error) for error in world.errors] == ["ZeroDivisionError('oops')"]


async def test_a_subprotocol_that_cannot_be_named_is_a_mistake_of_the_handler() -> None:
    async with a_world(subprotocol="a\r\nb") as world:
        assert (await world.exchange(handshake("/CP1")))[0] == 500


async def test_more_handshakes_at_a_time_than_there_may_be_are_refused() -> None:
    async with a_world(Limits(handshakes=1)) as world:
        world.may_answer.clear()
        async with asyncio.TaskGroup() as tasks:
            first = tasks.create_task(world.dial(handshake("/CP1")))
            while not world.requests:  # noqa: ASYNC110
                await asyncio.sleep(0)
            status, head, body = await world.exchange(handshake("/CP2"))
            text = "too many handshakes: 1 are under way"
            assert (status, body) == (503, f"{text}\n")
            assert "Retry-After: 10\r\n" in head
            assert world.refusals == [("127.0.0.1", 503, text)]
            world.may_answer.set()
        assert first.result().status == 101
        await world.connected()


async def test_more_handshakes_a_second_than_there_may_be_are_refused() -> None:
    async with a_world(Limits(handshake_rate=2.0)) as world:
        for _ in range(2):
            await world.connected()
        status, _, body = await world.exchange(handshake("/CP3"))
        assert (status, body) == (503, "too many handshakes: 2 a second are taken\n")
        assert len(world.requests) == 2


def test_handshakes_are_taken_at_a_pace() -> None:
    clock = Clock()
    handshakes = Handshakes(most=10, rate=2.0, clock=clock)

    def shake() -> str | None:
        busy = handshakes.begin()
        if busy is None:
            handshakes.end(granted=True)
        return busy

    assert [shake() for _ in range(3)] == [None, None, "too many handshakes: 2 a second are taken"]
    clock.now = 0.5
    assert [shake() is None for _ in range(2)] == [True, False]
    clock.now = 100.0  # no more at once after a long pause than in a second
    assert [shake() is None for _ in range(3)] == [True, True, False]


def test_those_that_are_refused_take_no_turn_of_those_that_are_not() -> None:
    clock = Clock()
    handshakes = Handshakes(most=10, rate=2.0, clock=clock)
    refused = []
    for _ in range(100):
        assert handshakes.begin() is None
        refused.append(handshakes.end(granted=False))
    assert refused[:2] == [None, None]
    assert set(refused[2:]) == {"too many handshakes: 2 a second are refused"}
    assert handshakes.begin() is None
    assert handshakes.end(granted=True) is None


def test_handshakes_follow_other_limits_at_once() -> None:
    handshakes = Handshakes(most=10, rate=100.0, clock=Clock())
    handshakes.set_limits(1, 100.0)
    assert handshakes.begin() is None
    assert handshakes.begin() == "too many handshakes: 1 are under way"


def test_one_that_does_it_all_the_time_has_to_wait_and_nobody_else() -> None:
    clock = Clock()
    seldom = Seldom(2, 0.5, clock)
    for _ in range(2):
        assert seldom.may("CP1")
        seldom.does("CP1")
    assert [seldom.may("CP1"), seldom.may("CP2")] == [False, True]
    clock.now = 2.0
    assert seldom.may("CP1")


async def test_a_flood_of_strangers_keeps_nobody_out() -> None:
    async with a_world(Limits(handshake_rate=5.0)) as world:
        world.answer = lambda: HttpResponse(404, b"not known\n", close=True)
        statuses = [(await world.exchange(handshake(f"/CP{number}")))[0] for number in range(20)]
        assert set(statuses) == {404, 503}
        world.answer = None
        await world.connected()


# --- the end ---


async def test_a_websocket_counts_as_a_connection_until_it_is_gone() -> None:
    async with a_world(Limits(connections_per_source=1)) as world:
        peer = await world.connected()
        assert world.listener.open == 1
        refused = await exchange_bytes(f"http://127.0.0.1:{world.listener.port}", handshake("/CP2"))
        assert refused == b""
        peer.hang_up()
        async with asyncio.timeout(5):
            await world.talk.ended.wait()
        assert world.listener.open == 0
        await world.connected()


async def test_a_message_over_the_limit_ends_the_websocket() -> None:
    async with a_world(Limits(max_frame=10)) as world:
        peer = await world.connected()
        peer.send("x" * 11)
        assert (await peer.closed())[0] == 1009


async def test_a_talk_that_ends_ends_its_connection() -> None:
    class Short(Echo):
        async def run(self, socket: Connection) -> None:
            await socket.send("that is all")

    async with a_world(talk=Short()) as world:
        peer = await world.connected()
        assert await peer.text() == "that is all"
        assert await peer.rest() == b""


async def test_a_mistake_in_a_talk_ends_that_one_alone() -> None:
    class Broken(Echo):
        async def run(self, socket: Connection) -> None:
            raise ZeroDivisionError("oops")

    async with a_world() as world:
        well = await world.connected()
        world.talk = Broken()
        ill = await world.connected()
        assert await ill.rest() == b""
        assert [repr(error) for error in world.errors] == ["ZeroDivisionError('oops')"]
        well.send("hello")
        assert await well.text() == "hello"


async def test_nobody_talks_with_a_peer_that_left_before_it_was_answered() -> None:
    async with a_world() as world:
        world.may_answer.clear()
        for half in (False, True):
            _, writer = await asyncio.open_connection("127.0.0.1", world.listener.port)
            writer.write(handshake("/CP1"))
            if half:
                writer.write_eof()
            else:
                writer.close()
            await asyncio.sleep(SOON)
            writer.close()
        world.may_answer.set()
        await world.connected()
        assert world.unheard == 2


async def test_stop_says_goodbye_to_every_websocket() -> None:
    async with a_world() as world:
        peer = await world.connected()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(world.listener.stop(5.0))
            assert await peer.closed() == (1001, "the gateway is stopping")
        assert world.listener.open == 0


async def test_stop_cuts_a_peer_that_takes_no_part_in_it() -> None:
    async with a_world() as world:
        peer = await world.connected()
        await world.listener.stop(SOON)
        assert (await peer.frame())[0] == CLOSE
        assert await peer.rest() == b""
        assert world.listener.open == 0


async def test_stop_cuts_a_talk_that_does_not_end() -> None:
    class Endless(Echo):
        async def close(self, reason: str) -> None:
            await asyncio.Event().wait()

    async with a_world(talk=Endless()) as world:
        peer = await world.connected()
        await world.listener.stop(SOON)
        assert await peer.rest() == b""


async def test_a_mistake_in_ending_a_talk_ends_its_connection() -> None:
    class Broken(Echo):
        async def close(self, reason: str) -> None:
            raise ZeroDivisionError("oops")

    async with a_world(talk=Broken()) as world:
        peer = await world.connected()
        await world.listener.stop(5.0)
        assert await peer.rest() == b""
        assert [repr(error) for error in world.errors] == ["ZeroDivisionError('oops')"]


async def test_who_is_answered_while_the_listener_stops_gets_no_websocket() -> None:
    async with a_world() as world:
        world.may_answer.clear()
        async with asyncio.TaskGroup() as tasks:
            asking = tasks.create_task(world.exchange(handshake("/CP1")))
            while not world.requests:  # noqa: ASYNC110
                await asyncio.sleep(0)
            tasks.create_task(world.listener.stop(5.0))
            await asyncio.sleep(0)
            world.may_answer.set()
        status, _, body = asking.result()
        assert (status, body) == (503, "this listener is closing\n")
        assert world.unheard == 1


@pytest.mark.parametrize("loop_name", ["asyncio", "uvloop"])
def test_websockets_live_on_both_event_loops(loop_name: str) -> None:
    async def run() -> None:
        async with a_world() as world:
            world.answer = lambda: WebSocket(world.talk, ping_interval=SOON)
            peer = await world.dial(handshake("/CP1") + client_frame("early"))
            assert await peer.text() == "early"
            assert (await peer.frame())[0] == PING
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(world.listener.stop(5.0))
                assert await peer.closed() == (1001, "the gateway is stopping")

    factory: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
    if loop_name == "uvloop":
        factory = pytest.importorskip("uvloop").new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(run())


# --- whoever says much and reads nothing ---


async def test_a_peer_that_pings_and_reads_no_pong_is_cut_off() -> None:
    async with a_world() as world:
        peer = await world.connected()
        sent = 0
        with suppress(ConnectionError):
            while sent < 64 * MOST_UNREAD:
                ping = client_frame(b"x" * 125, PING) * 1000
                peer.writer.write(ping)
                sent += len(ping)
                async with asyncio.timeout(PATIENCE):
                    await peer.writer.drain()
        assert sent < 64 * MOST_UNREAD
        async with asyncio.timeout(PATIENCE):
            await world.talk.ended.wait()


async def test_a_burst_of_requests_lets_others_in() -> None:
    """Every one of them is answered at once; nobody who has one request waits for all of them."""
    async with a_world() as world:
        _, writer = await asyncio.open_connection("127.0.0.1", world.listener.port)
        writer.write(b"GET /many HTTP/1.1\r\nHost: x\r\n\r\n" * 1000)
        while not world.requests:  # noqa: ASYNC110
            await asyncio.sleep(0)
        await world.exchange(b"GET /one HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        paths = [request.path for request in world.requests]
        assert paths.index("/one") < 999
        writer.close()
