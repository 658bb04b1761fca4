"""Connections that are kept, and probes: what goes over them, and what is never sent twice.

How answers are read is in ``test_callbacks.py``: every client reads them alike.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.fakes import PATIENCE, Clock
from wattbridge.links.http_client import (
    Address,
    Connection,
    HttpAnswer,
    KeptClient,
    NotSent,
    SharedProbe,
    tcp_reachable,
)
from wattbridge.ocpp.errors import Unreachable

XML = b"<a>1</a>"
TYPE = 'application/soap+xml; charset=utf-8; action="/Heartbeat"'
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/soap+xml\r\nContent-Length: 4\r\n\r\n<b/>"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n<b/>\r\n0\r\n\r\n"
NO_CONTENT = b"HTTP/1.1 204 No Content\r\n\r\n"
SILENCE = b""
HANG_UP = None  # instead of an answer


def with_header(line: bytes, answer: bytes = OK) -> bytes:
    return answer.replace(b"\r\n", b"\r\n" + line + b"\r\n", 1)


class Server:
    """Answers each request with the next of *answers*; ``connections`` has the requests of each."""

    def __init__(self, answers: Sequence[bytes | None]) -> None:
        self.answers = list(answers)
        self.connections: list[list[bytes]] = []
        self.writers: list[asyncio.StreamWriter] = []
        self.ended: list[asyncio.Event] = []  # of each connection: the client has closed it
        self._asked = asyncio.Semaphore(0)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests: list[bytes] = []
        ended = asyncio.Event()
        self.connections.append(requests)
        self.writers.append(writer)
        self.ended.append(ended)
        try:
            while request := await reader.read(100_000):
                requests.append(request)
                self._asked.release()
                answer = self.answers.pop(0)
                if answer is HANG_UP:
                    break
                writer.write(answer)
        except ConnectionError:
            pass
        finally:
            ended.set()
            writer.close()

    async def asked(self, times: int = 1) -> None:
        async with asyncio.timeout(PATIENCE):
            for _ in range(times):
                await self._asked.acquire()

    async def until_ended(self, connection: int) -> None:
        async with asyncio.timeout(PATIENCE):
            await self.ended[connection].wait()

    def posts(self) -> list[int]:
        """How many requests came on each connection."""
        return [len(requests) for requests in self.connections]


@asynccontextmanager
async def a_server(*answers: bytes | None) -> AsyncIterator[tuple[Server, Address]]:
    server = Server(answers)
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    try:
        yield server, Address.of(f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/cs?tenant=7")
    finally:
        listening.close()
        for writer in server.writers:
            writer.transport.abort()
        await listening.wait_closed()


@asynccontextmanager
async def a_client(**settings: Any) -> AsyncIterator[KeptClient]:
    client = KeptClient(**settings)
    try:
        yield client
    finally:
        await client.close()


async def failed(client: KeptClient, address: Address) -> Unreachable:
    with pytest.raises(Unreachable) as unreachable:
        await client.post(address, XML, TYPE)
    return unreachable.value


# --- what is kept ---


async def test_requests_share_a_connection() -> None:
    async with a_server(OK, OK) as (server, address), a_client() as client:
        for _ in range(2):
            assert await client.post(address, XML, TYPE) == HttpAnswer(200, "application/soap+xml", b"<b/>")
        assert server.connections == [
            [
                b"POST /cs?tenant=7 HTTP/1.1\r\n"
                b"Host: 127.0.0.1:%d\r\n"
                b'Content-Type: application/soap+xml; charset=utf-8; action="/Heartbeat"\r\n'
                b"Content-Length: 8\r\n"
                b"Accept-Encoding: gzip, deflate\r\n"
                b"User-Agent: wattbridge\r\n"
                b"Connection: keep-alive\r\n"
                b"\r\n"
                b"<a>1</a>" % address.port
            ]
            * 2
        ]


async def test_further_headers_go_along() -> None:
    async with a_server(OK) as (server, address), a_client() as client:
        await client.post(address, XML, "text/xml", "/Heartbeat", headers={"Authorization": "Basic Q1Ax"})
        assert server.connections[0][0].endswith(
            b'Connection: keep-alive\r\nSOAPAction: "/Heartbeat"\r\nAuthorization: Basic Q1Ax\r\n\r\n<a>1</a>'
        )


@pytest.mark.parametrize(
    "answer",
    [
        OK,
        CHUNKED,
        NO_CONTENT,
        with_header(b"Keep-Alive: timeout=5, max=100"),
        with_header(b"Keep-Alive: max=100"),
        with_header(b"Connection: keep-alive", OK.replace(b"HTTP/1.1", b"HTTP/1.0")),
        b"HTTP/1.1 100 Continue\r\n\r\n" + OK,
        OK.replace(b"200 OK", b"500 Internal Server Error"),
    ],
)
async def test_a_connection_is_kept_when_the_answer_has_an_end_of_its_own(answer: bytes) -> None:
    async with a_server(answer, OK) as (server, address), a_client() as client:
        await client.post(address, XML, TYPE)
        await client.post(address, XML, TYPE)
        assert server.posts() == [2]


@pytest.mark.parametrize(
    "answer",
    [
        with_header(b"Connection: close"),
        OK.replace(b"HTTP/1.1", b"HTTP/1.0"),
        with_header(b"Keep-Alive: timeout=1"),
        OK + b"more",  # nobody knows what that belongs to
        CHUNKED + b"more",
    ],
)
async def test_a_connection_is_not_kept_when_its_end_is_near(answer: bytes) -> None:
    async with a_server(answer, OK) as (server, address), a_client() as client:
        await client.post(address, XML, TYPE)
        await server.until_ended(0)
        await client.post(address, XML, TYPE)
        assert server.posts() == [1, 1]


async def test_an_idle_connection_is_closed_after_a_while() -> None:
    async with a_server(OK, OK) as (server, address), a_client(idle=0.01) as client:
        await client.post(address, XML, TYPE)
        await server.until_ended(0)
        await client.post(address, XML, TYPE)
        assert server.posts() == [1, 1]


async def test_an_idle_connection_that_the_server_closed_is_not_used() -> None:
    async with a_server(OK, OK) as (server, address), a_client() as client:
        await client.post(address, XML, TYPE)
        server.writers[0].close()
        await server.until_ended(0)
        assert (await client.post(address, XML, TYPE)).body == b"<b/>"
        assert server.posts() == [1, 1]


async def test_an_end_that_has_arrived_is_seen_before_anybody_has_told_of_it() -> None:
    """The end lies in the socket: the loop has had no turn yet to say so."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        listening.setblocking(False)
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(
            lambda: Connection(Address.of("http://127.0.0.1/"), 1000, set(), loop), *listening.getsockname()
        )
        accepted, _ = await loop.sock_accept(listening)
        seen = [connection.is_open]
        accepted.close()
        seen.append(connection.is_open)
        assert seen == [True, False]
        connection.close()


async def test_an_idle_connection_on_which_something_came_is_not_used() -> None:
    async with a_server(OK, OK) as (server, address), a_client() as client:
        await client.post(address, XML, TYPE)
        server.writers[0].write(b"HTTP/1.1 408 Request Timeout\r\n\r\n")
        await server.until_ended(0)
        assert (await client.post(address, XML, TYPE)).body == b"<b/>"
        assert server.posts() == [1, 1]


async def test_what_was_sent_is_not_sent_again() -> None:
    """The server may have read it before it closed: a StartTransaction must not happen twice."""
    async with a_server(OK, HANG_UP, OK) as (server, address), a_client() as client:
        await client.post(address, XML, TYPE)
        gone = await failed(client, address)
        assert (type(gone), gone.reason) == (Unreachable, "unreachable")
        assert gone.description == f"{address} closed the connection without an answer"
        assert server.posts() == [2]


# --- turns ---


async def test_further_calls_wait_for_a_connection() -> None:
    async with a_server(SILENCE, SILENCE, OK) as (server, address), a_client(connections=2) as client:
        async with asyncio.TaskGroup() as tasks:
            calls = [tasks.create_task(client.post(address, XML, TYPE)) for _ in range(3)]
            await server.asked(2)
            assert server.posts() == [1, 1]
            server.writers[0].write(OK)
            await server.asked()
            assert server.posts() == [2, 1]
            server.writers[1].write(OK)
        assert [call.result().body for call in calls] == [b"<b/>"] * 3


async def test_a_call_that_waits_too_long_was_not_sent() -> None:
    async with a_server(SILENCE) as (server, address), a_client(connections=1, waiting=0.01) as client:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(client.post(address, XML, TYPE))
            await server.asked()
            gone = await failed(client, address)
            assert (type(gone), gone.reason) == (NotSent, "busy")
            assert gone.description == f"all 1 connections to {address} were busy for 0.01 s"
            server.writers[0].write(OK)
        assert server.posts() == [1]


async def test_a_cancelled_call_leaves_its_turn_to_others() -> None:
    async with a_server(SILENCE, OK) as (server, address), a_client(connections=1) as client:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await client.post(address, XML, TYPE)
        assert (await client.post(address, XML, TYPE)).body == b"<b/>"
        assert server.posts() == [1, 1]


# --- failures ---


async def test_a_call_without_an_answer_was_sent() -> None:
    async with a_server(SILENCE) as (server, address), a_client(timeout=0.01) as client:
        gone = await failed(client, address)
        assert (type(gone), gone.reason) == (Unreachable, "timeout")
        assert gone.description == f"no answer from {address} within 0.01 s"
        await server.until_ended(0)


async def test_a_call_that_nobody_accepts_was_not_sent() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = Address.of(f"http://127.0.0.1:{unused.getsockname()[1]}/")
        async with a_client() as client:
            gone = await failed(client, address)
            assert (type(gone), gone.reason) == (NotSent, "refused")
            assert gone.description == f"connection refused by {address}"


async def test_a_name_without_an_address_is_unreachable() -> None:
    async with a_client() as client:
        gone = await failed(client, Address.of("http://nobody.invalid:8080/cs"))
        assert (type(gone), gone.reason) == (NotSent, "unreachable")
        assert gone.description.startswith("no connection to nobody.invalid:8080: ")


async def test_an_answer_over_the_limit_is_not_taken() -> None:
    async with a_server(OK) as (server, address), a_client(limit=3) as client:
        assert (await failed(client, address)).reason == "too_large"
        await server.until_ended(0)


async def test_an_answer_that_cannot_be_unpacked_is_not_taken() -> None:
    async with a_server(with_header(b"Content-Encoding: br")) as (_, address), a_client() as client:
        gone = await failed(client, address)
        assert gone.description.startswith(f"the answer of {address} cannot be read: Content-Encoding 'br'")


async def test_a_server_that_closes_before_it_is_asked_was_asked_nothing() -> None:
    loop = asyncio.get_running_loop()
    async with a_server() as (_, address):
        _, connection = await loop.create_connection(
            lambda: Connection(address, 1000, set(), loop), address.ip, address.port
        )
        connection.eof_received()
        with pytest.raises(NotSent, match="closed the connection without an answer"):
            await connection.exchange(b"GET / HTTP/1.1\r\n\r\n")
        connection.close()


async def test_closing_ends_calls_under_way_and_those_that_wait() -> None:
    async with a_server(OK, SILENCE) as (server, address):
        client = KeptClient(connections=1)
        await client.post(address, XML, TYPE)
        async with asyncio.TaskGroup() as tasks:
            sent = tasks.create_task(failed(client, address))
            await server.asked(2)
            waiting = tasks.create_task(failed(client, address))
            await asyncio.sleep(0)  # it begins to wait
            await client.close()
        assert [(type(gone.result()), gone.result().reason) for gone in (sent, waiting)] == [
            (Unreachable, "draining"),
            (NotSent, "draining"),
        ]
        assert (type(await failed(client, address)), server.posts()) == (NotSent, [2])


async def test_closing_closes_idle_connections() -> None:
    async with a_server(OK) as (server, address):
        client = KeptClient()
        await client.post(address, XML, TYPE)
        await client.close()
        await server.until_ended(0)


def test_an_address_that_each_connection_resolves_is_shown_once() -> None:
    assert str(Address.of("https://csms.example:8443/cs")) == "csms.example:8443"
    with pytest.raises(ValueError, match="neither http nor https"):
        Address.of("ftp://csms.example/")


# --- probes ---


@pytest.mark.parametrize("scheme", ["http", "ws"])
async def test_a_server_that_accepts_is_reachable(scheme: str) -> None:
    async with a_server() as (_, address):
        url = f"{scheme}://127.0.0.1:{address.port}/ocpp"
        assert await tcp_reachable(url)
    assert not await tcp_reachable(url)


async def test_a_plain_server_is_not_reachable_by_tls() -> None:
    async with a_server(HANG_UP) as (_, address):
        assert not await tcp_reachable(f"wss://127.0.0.1:{address.port}/ocpp", within=PATIENCE)


@pytest.mark.parametrize(
    ("answer", "reachable"),
    [
        (OK, True),
        (b"HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\n\r\n", True),
        (b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n", False),
        (HANG_UP, False),
        (SILENCE, False),
    ],
)
async def test_a_server_that_answers_for_itself_is_there(answer: bytes | None, reachable: bool) -> None:
    """A proxy accepts connections for a server that is not there, and answers so."""
    async with a_server(answer) as (server, address), a_client() as client:
        assert await client.answers(address, within=PATIENCE if answer != SILENCE else 0.01) is reachable
        head = f"GET /cs?tenant=7 HTTP/1.1\r\nHost: 127.0.0.1:{address.port}\r\nConnection: close\r\n\r\n"
        assert server.connections == [[head.encode()]]


async def test_many_share_one_probe() -> None:
    clock, said, asked = Clock(), [False, True], []

    async def probe() -> bool:
        asked.append(clock.now)
        await asyncio.sleep(0)
        return said.pop(0)

    shared = SharedProbe(probe, every=10.0, clock=clock)
    assert await asyncio.gather(*(shared() for _ in range(100))) == [False] * 100
    clock.now = 9.9
    assert not await shared()
    clock.now = 10.0
    assert await shared()
    assert asked == [0.0, 10.0]
