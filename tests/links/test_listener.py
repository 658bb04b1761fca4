"""The listener over real sockets: what arrives at the handler, what goes back, and what is refused how.

All of 127.0.0.0/8 is this machine, so a client that binds 127.0.0.2 is a second source of connections.
"""

from __future__ import annotations

import asyncio
import gzip
import re
import shlex
import shutil
import ssl
import subprocess
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import fields
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from wattbridge.config import models
from wattbridge.links.listener import Handler, HttpRequest, HttpResponse, Limits, Listener

XML = b"<a>" + b"1" * 40 + b"</a>"

# Long enough that no test runs into one by accident, short enough to be waited for.
SOON = 0.05  # seconds


class Witness:
    """A handler that keeps every request, and the callbacks of a listener."""

    def __init__(self, response: HttpResponse | None = None) -> None:
        self.response = response or HttpResponse(200, b"<b/>", "application/soap+xml; charset=utf-8")
        self.requests: list[HttpRequest] = []
        self.connections = 0
        self.refusals: list[tuple[str, int, str]] = []
        self.errors: list[Exception] = []

    async def __call__(self, request: HttpRequest) -> HttpResponse:
        self.requests.append(request)
        return self.response

    def on_connection(self) -> None:
        self.connections += 1

    def on_refusal(self, source: str, status: int, text: str) -> None:
        self.refusals.append((source, status, text))

    def on_error(self, problem: Exception, request: HttpRequest | None) -> None:
        self.errors.append(problem)

    @property
    def request(self) -> HttpRequest:
        (request,) = self.requests
        return request


@asynccontextmanager
async def listening(handler: Handler, **settings: Any) -> AsyncIterator[Listener]:
    listener = Listener("soap", "127.0.0.1", 0, handler, **settings)
    await listener.start()
    try:
        yield listener
    finally:
        await listener.stop(drain=1.0)


@asynccontextmanager
async def connected(
    listener: Listener, **settings: Any
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", listener.port, **settings)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def until_close(reader: asyncio.StreamReader) -> bytes:
    """Everything up to the end of the connection, without the Date that is different every second."""
    async with asyncio.timeout(10):
        answer = await reader.read()
    return re.sub(rb"Date: [A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT\r\n", b"", answer)


async def one_answer(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    async with asyncio.timeout(10):
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"Content-Length: (\d+)", head)
        return head, await reader.readexactly(int(length[1]) if length else 0)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def exchange(listener: Listener, request: bytes, **settings: Any) -> bytes:
    async with connected(listener, **settings) as (reader, writer):
        writer.write(request)
        return await until_close(reader)


def post(body: bytes, *headers: str, version: str = "HTTP/1.1") -> bytes:
    lines = [
        "POST /ocpp " + version,
        "Host: gw",
        f"Content-Length: {len(body)}",
        *headers,
        "Connection: close",
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def refusal(status_line: str, text: str) -> bytes:
    return (
        f"HTTP/1.1 {status_line}\r\nContent-Type: text/plain; charset=utf-8\r\n"
        f"Content-Length: {len(text) + 1}\r\nServer: wattbridge\r\nConnection: close\r\n\r\n{text}\n"
    ).encode()


OK = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/soap+xml; charset=utf-8\r\nContent-Length: 4\r\n"
    b"Server: wattbridge\r\nConnection: close\r\n\r\n<b/>"
)


# What arrives.


async def test_a_request_arrives_complete_and_its_answer_goes_back() -> None:
    witness = Witness()
    async with listening(witness) as listener:
        answer = await exchange(
            listener, post(XML, 'Content-Type: application/soap+xml; action="/Heartbeat"')
        )
    assert answer == OK
    request = witness.request
    assert (request.method, request.path, request.query) == ("POST", "/ocpp", "")
    assert request.body == XML
    assert request.headers["content-type"] == 'application/soap+xml; action="/Heartbeat"'
    assert (request.source, request.listener, request.certificate) == ("127.0.0.1", "soap", None)


@pytest.mark.parametrize(
    ("target", "path", "raw_path", "query"),
    [
        ("/", "/", "/", ""),
        ("/ocpp/CP%201%2F2?token=a%20b&x", "/ocpp/CP 1/2", "/ocpp/CP%201%2F2", "token=a%20b&x"),
        ("//OCPP16/", "//OCPP16/", "//OCPP16/", ""),
        ("/a%2541", "/a%41", "/a%2541", ""),
        ("/a/../b", "/a/../b", "/a/../b", ""),
        ("/ocpp#part", "/ocpp", "/ocpp", ""),
        ("http://127.0.0.1:29310/ocpp", "/ocpp", "/ocpp", ""),  # glurp
        ("http://127.0.0.1:29310/oc%70p?a=/b", "/ocpp", "/oc%70p", "a=/b"),
        ("http://127.0.0.1:29310", "/", "/", ""),
        ("http://127.0.0.1:29310?a=b", "/", "/", "a=b"),
    ],
)
async def test_path_and_query_are_found_in_every_form_of_target(
    target: str, path: str, raw_path: str, query: str
) -> None:
    witness = Witness()
    async with listening(witness) as listener:
        await exchange(listener, f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    request = witness.request
    assert (request.path, request.raw_path, request.query) == (path, raw_path, query)


@pytest.mark.parametrize("host", ["localhost:9999", "gw", "127.0.0.1", "", "[::1]:80"])
async def test_the_host_header_does_not_matter(host: str) -> None:
    """glurp sends a wrong one, GIR and open-ocpp leave out the port."""
    async with listening(Witness()) as listener:
        assert await exchange(listener, post(XML).replace(b"Host: gw", f"Host: {host}".encode())) == OK


async def test_of_two_content_types_the_first_counts() -> None:
    """govoltbras sends two."""
    witness = Witness()
    headers = (
        "Content-Type: application/soap+xml",
        "X: 1",
        "content-type: text/plain",
        "User-Agent: a",
        "User-Agent: b",
    )
    async with listening(witness) as listener:
        assert await exchange(listener, post(XML, *headers)) == OK
    assert witness.request.headers["Content-Type"] == "application/soap+xml"
    assert witness.request.body == XML


async def test_a_header_in_latin_1_is_text_all_the_same() -> None:
    witness = Witness()
    async with listening(witness) as listener:
        await exchange(listener, post(XML).replace(b"Host: gw", "Host: gw\r\nX-Site: Köln".encode("latin-1")))
    assert witness.request.headers["x-site"] == "Köln"


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS", "PATCH"])
async def test_every_method_is_the_handlers_to_decide(method: str) -> None:
    witness = Witness(HttpResponse(405, b"POST, please\n"))
    async with listening(witness) as listener:
        answer = await exchange(listener, f"{method} / HTTP/1.0\r\n\r\n".encode())
    assert witness.request.method == method
    assert answer.startswith(b"HTTP/1.1 405 Method Not Allowed\r\n")


async def test_the_answer_to_head_has_no_body() -> None:
    async with listening(Witness()) as listener:
        answer = await exchange(listener, b"HEAD / HTTP/1.0\r\n\r\n")
    assert answer == OK.removesuffix(b"<b/>")


async def test_an_answer_that_has_no_body_says_nothing_of_one() -> None:
    witness = Witness(HttpResponse(204, headers={"Allow": "POST"}))
    async with listening(witness) as listener:
        answer = await exchange(listener, b"GET / HTTP/1.0\r\n\r\n")
    assert (
        answer == b"HTTP/1.1 204 No Content\r\nServer: wattbridge\r\nAllow: POST\r\nConnection: close\r\n\r\n"
    )


async def test_an_empty_body_is_a_body() -> None:
    witness = Witness()
    async with listening(witness) as listener:
        assert await exchange(listener, post(b"")) == OK
        assert await exchange(listener, b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n") == OK
    assert [request.body for request in witness.requests] == [b"", b""]


CHUNKED = (
    b"POST /ocpp HTTP/1.1\r\nHost: gw\r\nTransfer-Encoding: Chunked\r\nConnection: close\r\n\r\n"
    b'5\r\n<a>11\r\n4;ext="1"\r\n</a>\r\n0\r\nTrailer: x\r\n\r\n'
)


async def test_a_chunked_body_is_put_together() -> None:
    witness = Witness()
    async with listening(witness) as listener:
        assert await exchange(listener, CHUNKED) == OK
    assert witness.request.body == b"<a>11</a>"


@pytest.mark.parametrize("request_bytes", [CHUNKED, b"\r\n" + post(XML)])
async def test_a_request_in_single_bytes_is_the_same_request(request_bytes: bytes) -> None:
    witness = Witness()
    async with listening(witness) as listener, connected(listener) as (reader, writer):
        for at in range(len(request_bytes)):
            writer.write(request_bytes[at : at + 1])
            await asyncio.sleep(0)
        assert await until_close(reader) == OK
    assert witness.request.body in (b"<a>11</a>", XML)


async def test_who_expects_100_continue_gets_it_before_the_body() -> None:
    async with listening(Witness()) as listener, connected(listener) as (reader, writer):
        head, body = post(XML, "Expect: 100-continue").split(b"\r\n\r\n")
        writer.write(head + b"\r\n\r\n")
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(body)
        assert await until_close(reader) == OK


async def test_who_sends_the_body_without_waiting_gets_no_100() -> None:
    async with listening(Witness()) as listener:
        assert await exchange(listener, post(XML, "Expect: 100-continue")) == OK
        assert await exchange(listener, post(XML, "Expect: 100-continue", version="HTTP/1.0")) == OK


async def test_http_2_over_cleartext_is_offered_in_vain() -> None:
    """Java's HttpClient offers h2c with its first request."""
    witness = Witness()
    request = post(XML, "Upgrade: h2c", "HTTP2-Settings: AAMAAABk").replace(
        b"Connection: close", b"Connection: Upgrade, HTTP2-Settings, close"
    )
    async with listening(witness) as listener:
        assert await exchange(listener, request) == OK
    assert witness.request.body == XML


async def test_a_length_in_characters_still_gives_the_whole_body() -> None:
    """glurp counts characters; what is left over is body, and never another request."""
    witness = Witness()
    text = "<reason>gestört, wörtlich</reason>"
    head = f"POST / HTTP/1.1\r\nHost: gw\r\nContent-Length: {len(text)}\r\n\r\n"
    async with listening(witness) as listener:
        assert await exchange(listener, head.encode() + text.encode()) == OK
    assert witness.request.body == text.encode()


# Connections that are kept.


async def test_a_connection_serves_one_request_after_the_other() -> None:
    witness = Witness()
    async with listening(witness) as listener, connected(listener) as (reader, writer):
        for body in (b"<a/>", b"<aa/>", b"<aaa/>"):
            writer.write(post(body).replace(b"Connection: close\r\n", b""))
            head, answer = await one_answer(reader)
            assert b"Connection" not in head
            assert answer == b"<b/>"
        assert listener.open == 1
    assert [request.body for request in witness.requests] == [b"<a/>", b"<aa/>", b"<aaa/>"]


async def test_pipelined_requests_are_answered_one_by_one_and_in_order() -> None:
    at_work = 0

    async def handler(request: HttpRequest) -> HttpResponse:
        nonlocal at_work
        at_work += 1
        assert at_work == 1
        await asyncio.sleep(0)
        at_work -= 1
        return HttpResponse(200, request.body)

    keep = post(b"<1/>").replace(b"Connection: close\r\n", b"")
    chunked = CHUNKED.replace(b"Connection: close\r\n", b"")
    async with listening(handler) as listener:
        answer = await exchange(listener, keep + chunked + keep + post(b"<4/>") + post(b"<5/>"))
    assert re.findall(rb"\r\n\r\n(<.*?>)", answer) == [b"<1/>", b"<a>", b"<1/>", b"<4/>"]


async def test_pipelining_far_ahead_is_slowed_down_and_nothing_is_lost() -> None:
    gate = asyncio.Event()
    seen = 0

    async def handler(request: HttpRequest) -> HttpResponse:
        nonlocal seen
        seen += 1
        await gate.wait()
        return HttpResponse(200, b"<b/>", close=seen == 40)

    keep = post(bytes(20_000)).replace(b"Connection: close\r\n", b"")
    async with listening(handler) as listener, connected(listener) as (reader, writer):
        writer.write(keep * 40)
        await until(lambda: any(connection._reading_paused for connection in listener._connections))
        gate.set()
        answer = await until_close(reader)
    assert answer.count(b"<b/>") == 40


async def test_http_1_0_closes_unless_it_asks_not_to() -> None:
    async with listening(Witness()) as listener:
        assert await exchange(listener, b"POST / HTTP/1.0\r\nContent-Length: 4\r\n\r\n<a/>") == OK
        async with connected(listener) as (reader, writer):
            for _ in range(2):
                writer.write(b"POST / HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 4\r\n\r\n<a/>")
                head, _ = await one_answer(reader)
                assert b"\r\nConnection: keep-alive\r\n" in head


async def test_who_closes_its_half_still_gets_the_answer() -> None:
    gate = asyncio.Event()

    async def handler(request: HttpRequest) -> HttpResponse:
        await gate.wait()
        return HttpResponse(200, b"<b/>", "application/soap+xml; charset=utf-8", close=True)

    async with listening(handler) as listener, connected(listener) as (reader, writer):
        writer.write(post(XML))
        writer.write_eof()
        await until(lambda: any(connection._eof for connection in listener._connections))
        gate.set()
        assert await until_close(reader) == OK


async def test_the_handler_ends_its_work_for_a_peer_that_left() -> None:
    """What a charge point sent must be kept although it does not wait for the answer."""
    began, gate, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def handler(request: HttpRequest) -> HttpResponse:
        began.set()
        await gate.wait()
        ended.set()
        return HttpResponse()

    async with listening(handler) as listener:
        async with connected(listener) as (_, writer):
            writer.write(post(XML))
            await began.wait()
        await until(lambda: any(connection._eof for connection in listener._connections))
        gate.set()
        async with asyncio.timeout(10):
            await ended.wait()


# Compressed bodies.


def raw_deflate(body: bytes) -> bytes:
    stream = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return stream.compress(body) + stream.flush()


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", gzip.compress(XML, mtime=0)),
        ("x-gzip", gzip.compress(XML, mtime=0)),
        ("deflate", zlib.compress(XML)),
        ("deflate", raw_deflate(XML)),
        ("deflate", XML),  # govoltbras labels what it does not compress
        ("gzip", XML),
        ("identity", XML),
    ],
)
async def test_a_compressed_body_arrives_plain(encoding: str, body: bytes) -> None:
    """gzip and deflate MUST be supported (OCPP-S 1.5, 8.6)."""
    witness = Witness()
    async with listening(witness) as listener:
        await exchange(listener, post(body, f"Content-Encoding: {encoding}"))
    assert witness.request.body == XML


@pytest.mark.parametrize(
    ("encoding", "body", "accepts", "answered_in"),
    [
        ("gzip", gzip.compress(XML, mtime=0), None, b"gzip"),
        ("deflate", zlib.compress(XML), None, b"deflate"),
        ("deflate", XML, None, None),
        ("gzip", gzip.compress(XML, mtime=0), "identity", None),
        ("gzip", gzip.compress(XML, mtime=0), "none", None),
        ("gzip", gzip.compress(XML, mtime=0), "deflate, gzip;q=0", None),
        ("deflate", zlib.compress(XML), "gzip", b"gzip"),
        ("gzip", gzip.compress(XML, mtime=0), "br, *", b"gzip"),
        ("identity", XML, "gzip", None),
    ],
)
async def test_who_compresses_is_answered_compressed(
    encoding: str, body: bytes, accepts: str | None, answered_in: bytes | None
) -> None:
    headers = [f"Content-Encoding: {encoding}"] + ([f"Accept-Encoding: {accepts}"] if accepts else [])
    async with listening(Witness()) as listener:
        head, _, answer = (await exchange(listener, post(body, *headers))).partition(b"\r\n\r\n")
    if answered_in is None:
        assert b"Content-Encoding" not in head
        assert answer == b"<b/>"
    else:
        assert b"\r\nContent-Encoding: " + answered_in + b"\r\n" in head
        assert f"\r\nContent-Length: {len(answer)}\r\n".encode() in head
        assert (gzip.decompress if answered_in == b"gzip" else zlib.decompress)(answer) == b"<b/>"


@pytest.mark.parametrize(
    ("accepts", "size", "compressed"),
    [
        ("gzip", 2048, True),
        ("gzip", 2047, False),
        ("gzip, deflate, br", 5000, True),
        ("*", 5000, True),
        ("none", 5000, False),  # strong-soap
        ("identity", 5000, False),
        ("gzip;q=0", 5000, False),
        ("gzip; q=0.5", 5000, True),
        ("", 5000, False),
        (None, 5000, False),
    ],
)
async def test_a_big_answer_is_compressed_for_who_asks(
    accepts: str | None, size: int, compressed: bool
) -> None:
    async with listening(Witness(HttpResponse(200, bytes(size)))) as listener:
        headers = [] if accepts is None else [f"Accept-Encoding: {accepts}"]
        answer = (await exchange(listener, post(XML, *headers))).partition(b"\r\n\r\n")[2]
    assert (gzip.decompress(answer) if compressed else answer) == bytes(size)
    assert (len(answer) < size) is compressed


async def test_a_coding_nobody_agreed_on_is_refused_before_the_body_comes() -> None:
    witness = Witness()
    async with listening(witness, on_refusal=witness.on_refusal) as listener:
        answer = await exchange(
            listener, b"POST / HTTP/1.1\r\nHost: x\r\nContent-Encoding: br\r\nContent-Length: 9\r\n\r\n"
        )
    text = "Content-Encoding 'br' is not known; expected gzip, deflate or identity"
    assert answer == refusal("415 Unsupported Media Type", text)
    assert witness.refusals == [("127.0.0.1", 415, text)]
    assert witness.requests == []


async def test_a_broken_compressed_body_is_refused() -> None:
    async with listening(Witness()) as listener:
        answer = await exchange(listener, post(gzip.compress(XML)[:-9], "Content-Encoding: gzip"))
    assert answer == refusal("400 Bad Request", "the gzip body ends too early")


# Too much of something.


def test_what_a_listener_takes_is_what_a_configuration_allows_by_default() -> None:
    ours, theirs = Limits(), models.Limits()
    shared = type(theirs).model_fields.keys() & {known.name for known in fields(ours)}
    assert {name: getattr(ours, name) for name in shared} == {name: getattr(theirs, name) for name in shared}
    assert "connections_per_source" in shared


async def test_a_body_over_the_limit_is_refused_by_its_length_alone() -> None:
    witness = Witness()
    async with listening(witness, limits=Limits(body=100)) as listener:
        assert await exchange(listener, post(bytes(100))) == OK
        head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 101\r\nExpect: 100-continue\r\n\r\n"
        answer = await exchange(listener, head)
    assert answer == refusal(
        "413 Content Too Large", "the body of 101 bytes is larger than the limit of 100 bytes"
    )
    assert len(witness.requests) == 1


@pytest.mark.parametrize(
    "request_bytes",
    [
        CHUNKED.replace(b'4;ext="1"', b"FFFF"),
        post(gzip.compress(bytes(100_000)), "Content-Encoding: gzip"),
        post(gzip.compress(bytes(600)) * 2, "Content-Encoding: gzip"),
        post(zlib.compress(bytes(100_000)), "Content-Encoding: deflate"),
    ],
)
async def test_a_body_that_grows_over_the_limit_is_refused(request_bytes: bytes) -> None:
    witness = Witness()
    async with listening(witness, limits=Limits(body=1000)) as listener:
        answer = await exchange(listener, request_bytes)
    assert answer == refusal("413 Content Too Large", "the body is larger than the limit of 1000 bytes")
    assert witness.requests == []


async def test_who_goes_on_sending_still_reads_why_it_was_refused() -> None:
    """A connection closed on unread bytes is reset, and the answer lost with it."""
    async with listening(Witness()) as listener, connected(listener) as (reader, writer):
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2000000\r\n\r\n")
        for _ in range(20):
            writer.write(bytes(100_000))
            await writer.drain()
        assert (await until_close(reader)).startswith(b"HTTP/1.1 413 ")


async def test_who_never_stops_sending_is_cut_in_the_end() -> None:
    async with (
        listening(Witness(), limits=Limits(linger=SOON)) as listener,
        connected(listener) as (_, writer),
    ):
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999\r\n\r\n")

        async def send_on() -> None:
            while True:
                writer.write(bytes(100_000))
                await writer.drain()

        with pytest.raises(ConnectionError):
            await send_on()


async def test_a_head_over_the_limit_is_refused() -> None:
    text = "request line and headers are longer than 1000 bytes"
    async with listening(Witness(), limits=Limits(head=1000)) as listener:
        for request in (b"GET /" + b"a" * 1000, post(XML, "X: " + "a" * 1000), post(XML, *["X: a"] * 200)):
            assert await exchange(listener, request) == refusal("431 Request Header Fields Too Large", text)


async def test_too_many_headers_are_refused() -> None:
    async with listening(Witness(), limits=Limits(headers=10)) as listener:
        answer = await exchange(listener, post(XML, *["X: a"] * 10))
    assert answer == refusal("431 Request Header Fields Too Large", "more than 10 headers")


# Too slow.


async def test_a_slow_head_is_left() -> None:
    witness = Witness()
    async with listening(
        witness, limits=Limits(header_timeout=SOON), on_refusal=witness.on_refusal
    ) as listener:
        assert await exchange(listener, b"POST /ocpp HTTP/1.1\r\nHost: x\r\nX-") == b""
    text = "the request line and headers did not arrive within 0.05 s"
    assert witness.refusals == [("127.0.0.1", 408, text)]


async def test_a_dripping_head_gains_no_time_by_dripping() -> None:
    async with (
        listening(Witness(), limits=Limits(header_timeout=SOON)) as listener,
        connected(listener) as (reader, writer),
        asyncio.TaskGroup() as tasks,
    ):

        async def drip() -> None:
            writer.write(b"GET / HTTP/1.1\r\n")
            while True:
                writer.write(b"X: a\r\n")
                await asyncio.sleep(SOON / 10)

        dripping = tasks.create_task(drip())
        assert await until_close(reader) == b""
        dripping.cancel()


async def test_the_second_request_of_a_connection_has_its_time_too() -> None:
    async with (
        listening(Witness(), limits=Limits(header_timeout=SOON)) as listener,
        connected(listener) as (reader, writer),
    ):
        writer.write(post(XML).replace(b"Connection: close\r\n", b"") + b"POST /ocpp HT")
        assert (await one_answer(reader))[1] == b"<b/>"
        assert await until_close(reader) == b""


async def test_a_slow_body_is_left() -> None:
    async with listening(Witness(), limits=Limits(body_timeout=SOON)) as listener:
        for request in (post(XML)[:-1], CHUNKED[:-1]):
            assert await exchange(listener, request) == b""


async def test_who_says_nothing_is_closed_without_a_word() -> None:
    witness = Witness()
    async with listening(
        witness, limits=Limits(header_timeout=SOON, idle=SOON), on_refusal=witness.on_refusal
    ) as listener:
        assert await exchange(listener, b"") == b""
        assert await exchange(listener, b"\r\n\r\n") == b""
        async with connected(listener) as (reader, writer):
            writer.write(post(XML).replace(b"Connection: close\r\n", b""))
            await one_answer(reader)
            assert await until_close(reader) == b""
    assert witness.refusals == []


async def test_a_handler_may_take_longer_than_every_limit() -> None:
    async def handler(request: HttpRequest) -> HttpResponse:
        await asyncio.sleep(4 * SOON)
        return HttpResponse(200, b"<b/>", "application/soap+xml; charset=utf-8")

    short = Limits(header_timeout=SOON, body_timeout=SOON, idle=SOON, send_timeout=SOON)
    async with listening(handler, limits=short) as listener:
        assert await exchange(listener, post(XML)) == OK


async def test_who_does_not_take_its_answer_is_cut() -> None:
    witness = Witness(HttpResponse(200, bytes(50_000_000)))
    async with (
        listening(witness, limits=Limits(send_timeout=SOON)) as listener,
        connected(listener) as (_, writer),
    ):
        writer.write(post(XML).replace(b"Connection: close\r\n", b""))
        await until(lambda: bool(witness.requests) and not listener.open)


# Too many.


async def test_more_connections_than_one_source_may_have_are_refused_at_once() -> None:
    witness = Witness()
    async with (
        listening(
            witness,
            limits=Limits(connections_per_source=2),
            on_connection=witness.on_connection,
            on_refusal=witness.on_refusal,
        ) as listener,
        connected(listener) as (_, first),
        connected(listener),
    ):
        assert await exchange(listener, post(XML)) == b""  # an answer might cost it the message
        text = "too many connections from 127.0.0.1: 2 are open (limits.connections_per_source)"
        assert listener.open == 2
        assert await exchange(listener, post(XML), local_addr=("127.0.0.2", 0)) == OK
        first.transport.abort()
        await until(lambda: listener.open == 1)
        assert await exchange(listener, post(XML)) == OK
    assert witness.refusals == [("127.0.0.1", 503, text)]
    assert (witness.connections, listener.open) == (4, 0)


async def test_more_connections_than_the_total_are_refused_at_once() -> None:
    async with (
        listening(Witness(), limits=Limits(connections=2)) as listener,
        connected(listener),
        connected(listener, local_addr=("127.0.0.2", 0)),
    ):
        assert await exchange(listener, post(XML), local_addr=("127.0.0.3", 0)) == b""


async def test_only_listed_networks_may_connect() -> None:
    witness = Witness()
    allow = (ip_network("127.0.0.2/32"), ip_network("::1/128"))
    async with listening(
        witness, allow=allow, on_connection=witness.on_connection, on_refusal=witness.on_refusal
    ) as listener:
        assert await exchange(listener, post(XML)) == refusal(
            "403 Forbidden", "127.0.0.1 may not connect here"
        )
        assert await exchange(listener, post(XML), local_addr=("127.0.0.2", 0)) == OK
    assert witness.refusals == [("127.0.0.1", 403, "127.0.0.1 may not connect here")]
    assert witness.connections == 1


# Not as it should be.

# What follows are the words of aiohttp's parser.
PARSER_SAYS = "this is not HTTP as it should be: "


@pytest.mark.parametrize(
    ("request_bytes", "status", "text"),
    [
        (
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
            "400 Bad Request",
            PARSER_SAYS,
        ),
        (
            b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n",
            "400 Bad Request",
            PARSER_SAYS,
        ),
        (
            b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            "501 Not Implemented",
            "Transfer-Encoding 'gzip, chunked' is not known; expected chunked",
        ),
        (
            b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n",
            "501 Not Implemented",
            "Transfer-Encoding 'xchunked' is not known; expected chunked",
        ),
        (
            b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
            "400 Bad Request",
            "Transfer-Encoding in HTTP/1.0",
        ),
        (
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n",
            "400 Bad Request",
            PARSER_SAYS,
        ),
        (
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +3\r\n\r\n",
            "400 Bad Request",
            PARSER_SAYS,
        ),
        (
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n",
            "400 Bad Request",
            PARSER_SAYS,
        ),
        (
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length : 3\r\n\r\n",
            "400 Bad Request",
            PARSER_SAYS,
        ),
        (
            b"POST / HTTP/1.1\r\nHost: x\r\nX: a\nContent-Length: 3\r\n\r\n",
            "400 Bad Request",
            PARSER_SAYS,
        ),
        (
            b"POST / HTTP/1.1\r\nHost: x\r\nX: a\r\n folded\r\n\r\n",
            "400 Bad Request",
            PARSER_SAYS,
        ),
        (
            b"POST / HTTP/1.1\r\nHost: x\r\nX: \x00\r\n\r\n",
            "400 Bad Request",
            PARSER_SAYS,
        ),
        (
            b"POST / HTTP/1.1\nHost: x\n\n",
            "400 Bad Request",
            PARSER_SAYS,
        ),
        (
            b"POST / HTTP/1.1\r\n\r\n",
            "400 Bad Request",
            PARSER_SAYS,
        ),
        (
            b"POST / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
            "400 Bad Request",
            PARSER_SAYS,
        ),
        (
            b"POST / HTTP/2.0\r\nHost: x\r\n\r\n",
            "505 HTTP Version Not Supported",
            "HTTP/2.0 is not served; use HTTP/1.1",
        ),
        (b"GET /\r\n\r\n", "505 HTTP Version Not Supported", "HTTP/0.9 is not served; use HTTP/1.1"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "400 Bad Request", "this is not HTTP/1.1"),
        (b"CONNECT db:5432 HTTP/1.1\r\nHost: x\r\n\r\n", "405 Method Not Allowed", "this is no proxy"),
        (
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: tea\r\n\r\n",
            "417 Expectation Failed",
            "Expect 'tea' is not known",
        ),
        (
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
            "400 Bad Request",
            PARSER_SAYS,
        ),
        (b"<xml>", "400 Bad Request", PARSER_SAYS),
        (
            b'{"a":1}\r\n\r\n',
            "400 Bad Request",
            PARSER_SAYS,
        ),
        (
            CHUNKED.replace(b"0\r\nTrailer", b"0x0\r\nTrailer"),
            "400 Bad Request",
            "b'0x0' is no chunk size; expected hexadecimal digits and CRLF",
        ),
    ],
)
async def test_what_can_be_read_in_two_ways_is_refused(request_bytes: bytes, status: str, text: str) -> None:
    """Requests are smuggled through whatever two readers understand differently (RFC 9112, 11.2)."""
    witness = Witness()
    async with listening(witness) as listener:
        answer = await exchange(listener, request_bytes + b"GET /admin HTTP/1.1\r\nHost: x\r\n\r\n")
    if text is PARSER_SAYS:
        answer = answer.replace(answer.partition(PARSER_SAYS.encode())[2], b"\n")
        answer = re.sub(rb"Content-Length: \d+", f"Content-Length: {len(text) + 1}".encode(), answer)
    assert answer == refusal(status, text)
    assert witness.requests == []


async def test_what_follows_a_refused_request_is_never_read_as_another() -> None:
    witness = Witness()
    async with listening(witness, limits=Limits(body=10)) as listener:
        answer = await exchange(listener, post(bytes(11)) + post(XML) * 3)
    assert answer.count(b"HTTP/1.1 ") == 1
    assert witness.requests == []


# What the handler answers.


async def test_a_silent_response_closes_the_connection_without_a_byte() -> None:
    """A charge point that gets an error for a StopTransaction may drop it (OCPP-S errata, 3.2)."""
    async with listening(Witness(HttpResponse(silent=True))) as listener:
        assert await exchange(listener, post(XML).replace(b"Connection: close\r\n", b"")) == b""


async def test_a_response_may_close_the_connection() -> None:
    async with listening(Witness(HttpResponse(200, b"x", "", close=True))) as listener:
        answer = await exchange(listener, post(XML).replace(b"Connection: close\r\n", b""))
    assert (
        answer == b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nServer: wattbridge\r\nConnection: close\r\n\r\nx"
    )


async def test_an_answer_that_nobody_waits_for_any_more_is_told() -> None:
    unheard, asked, may_answer = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def think(request: HttpRequest) -> HttpResponse:
        asked.set()
        await may_answer.wait()
        return HttpResponse(200, b"late", unheard=unheard.set)

    async with listening(think) as listener:
        async with connected(listener) as (_, writer):
            writer.write(post(XML))
            await asked.wait()
        await until(lambda: any(connection._eof for connection in listener._connections))
        may_answer.set()
        await until(unheard.is_set)

        unheard.clear()
        assert (await exchange(listener, post(XML))).endswith(b"late")
        assert not unheard.is_set()


def fail(request: HttpRequest) -> Awaitable[HttpResponse]:
    raise RuntimeError("secret detail")


async def test_an_error_of_the_handler_is_loud_inside_and_says_nothing_outside() -> None:
    witness = Witness()
    asking = post(XML).replace(b"POST", b"PUT", 1)
    async with listening(fail, on_error=witness.on_error) as listener:
        answer = await exchange(listener, asking)
        # What is posted may be a transaction message, which an answer would make a charge point drop.
        assert await exchange(listener, post(XML)) == b""
    assert answer == refusal("500 Internal Server Error", "internal error")
    assert [str(problem) for problem in witness.errors] == ["secret detail", "secret detail"]


async def test_an_error_of_the_handler_is_logged_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    async with listening(fail) as listener:
        await exchange(listener, post(XML))
    (record,) = caplog.records
    assert record.getMessage() == "handler failed listener=soap request=POST '/ocpp' from 127.0.0.1"
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], RuntimeError)


async def test_an_error_of_the_one_who_logs_errors_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def on_error(problem: Exception, request: HttpRequest | None) -> None:
        raise OSError("disk full")

    async with listening(fail, on_error=on_error) as listener:
        for _ in range(2):
            assert await exchange(listener, post(XML)) == b""
    assert "on_error of listener soap failed" in caplog.text
    assert "secret detail" in caplog.text


@pytest.mark.parametrize(
    "response",
    [
        HttpResponse(200, b"", "text/plain\r\nSet-Cookie: a=b"),
        HttpResponse(200, b"", headers={"X": "a\r\nSet-Cookie: a=b"}),
        HttpResponse(200, b"", headers={"X\r\nY": "a"}),
        HttpResponse(200, b"", headers={"X": "€"}),
    ],
)
async def test_nothing_can_be_smuggled_into_the_head_of_an_answer(response: HttpResponse) -> None:
    witness = Witness(response)
    async with listening(witness, on_error=witness.on_error) as listener:
        assert await exchange(listener, post(XML)) == b""
    assert isinstance(witness.errors[0], ValueError)


# The end.


async def test_stop_closes_idle_connections_at_once_and_lets_the_others_end() -> None:
    began, gate = asyncio.Event(), asyncio.Event()

    async def handler(request: HttpRequest) -> HttpResponse:
        began.set()
        await gate.wait()
        return HttpResponse(200, b"<b/>", "application/soap+xml; charset=utf-8")

    listener = Listener("soap", "127.0.0.1", 0, handler)
    await listener.start()
    async with (
        connected(listener) as (idle, _),
        connected(listener) as (reader, writer),
        asyncio.TaskGroup() as tasks,
    ):
        writer.write(post(XML).replace(b"Connection: close\r\n", b""))
        await began.wait()
        stopping = tasks.create_task(listener.stop(drain=10))
        assert await until_close(idle) == b""
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", listener.port)
        assert not stopping.done()
        gate.set()
        assert await until_close(reader) == OK
    assert listener.open == 0


async def test_stop_lets_a_request_that_has_begun_to_arrive_end() -> None:
    listener = Listener("soap", "127.0.0.1", 0, Witness())
    await listener.start()
    async with connected(listener) as (reader, writer), asyncio.TaskGroup() as tasks:
        head, body = post(XML, "Expect: 100-continue").split(b"\r\n\r\n")
        writer.write(head + b"\r\n\r\n")
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(body[:-5])
        tasks.create_task(listener.stop(drain=10))
        await asyncio.sleep(0)
        writer.write(body[-5:])
        assert await until_close(reader) == OK


async def test_stop_cuts_what_does_not_end_in_time() -> None:
    began = asyncio.Event()
    cancelled = False

    async def handler(request: HttpRequest) -> HttpResponse:
        nonlocal cancelled
        began.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled = True
            raise
        return HttpResponse()

    listener = Listener("soap", "127.0.0.1", 0, handler)
    await listener.start()
    async with connected(listener) as (reader, writer):
        writer.write(post(XML))
        await began.wait()
        await listener.stop(drain=0)
        assert await until_close(reader) == b""
    assert cancelled


async def test_stop_cuts_who_does_not_take_its_answer() -> None:
    witness = Witness(HttpResponse(200, bytes(50_000_000)))
    listener = Listener("soap", "127.0.0.1", 0, witness)
    await listener.start()
    async with connected(listener) as (_, writer):
        writer.write(post(XML))
        await until(lambda: bool(witness.requests))
        await listener.stop(drain=SOON)
    assert listener.open == 0


async def test_a_stopped_listener_can_start_again_on_its_port() -> None:
    listener = Listener("soap", "127.0.0.1", 0, Witness())
    await listener.stop()
    await listener.start()
    port = listener.port
    await listener.stop()
    await listener.stop()
    await listener.start()
    assert listener.port == port
    assert await exchange(listener, post(XML)) == OK
    await listener.stop()


async def test_an_address_that_is_taken_is_an_error_at_once() -> None:
    async with listening(Witness()) as listener:
        with pytest.raises(OSError, match="address already in use"):
            await Listener("other", "127.0.0.1", listener.port, Witness()).start()


# TLS.


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and a certificate for 127.0.0.1 and charge point SN-1, in one file."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl makes the certificate")
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    subprocess.run(
        shlex.split(
            "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 "
            "-subj /O=Example/CN=SN-1 -addext subjectAltName=IP:127.0.0.1 "
            f"-keyout {path} -out {path.with_suffix('.crt')}"
        ),
        check=True,
        capture_output=True,
    )
    path.write_text(path.read_text() + path.with_suffix(".crt").read_text())
    return path


@pytest.mark.parametrize("with_certificate", [True, False])
async def test_over_tls_the_handler_sees_the_certificate_of_the_peer(
    certificate: Path, with_certificate: bool
) -> None:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate)
    server.load_verify_locations(certificate)
    server.verify_mode = ssl.CERT_OPTIONAL
    client = ssl.create_default_context(cafile=str(certificate))
    if with_certificate:
        client.load_cert_chain(certificate)
    witness = Witness()
    async with listening(witness, tls=server, limits=Limits(body=100, linger=SOON)) as listener:
        assert await exchange(listener, post(XML), ssl=client) == OK
        assert (await exchange(listener, post(bytes(101)), ssl=client)).startswith(b"HTTP/1.1 413 ")
    if with_certificate:
        assert witness.request.certificate is not None
        assert (("commonName", "SN-1"),) in witness.request.certificate["subject"]
    else:
        assert witness.request.certificate is None


async def test_a_plain_request_on_a_tls_port_gets_nothing(certificate: Path) -> None:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate)
    async with listening(Witness(), tls=server) as listener:
        assert b"HTTP" not in await exchange(listener, post(XML))


# All together.


@pytest.mark.parametrize("loop_name", ["asyncio", "uvloop"])
def test_drips_and_floods_do_not_touch_the_others(loop_name: str) -> None:
    """Slowloris, silence, bombs and rubbish beside charge points that just want to be served."""

    async def run() -> None:
        limits = Limits(header_timeout=10 * SOON, connections_per_source=50)
        witness = Witness()
        async with listening(witness, limits=limits) as listener, asyncio.TaskGroup() as tasks:
            attacks = [
                b"POST / HT",
                b"",
                b"\x16\x03\x01",
                post(bytes(999_999))[:2000],
                b"GET / HTTP/1.1\r\nX: \x01\r\n\r\n",
            ]
            attacking = [
                tasks.create_task(exchange(listener, attack, local_addr=("127.0.0.2", 0)))
                for attack in attacks * 16
            ]
            for _ in range(5):
                served = [tasks.create_task(exchange(listener, post(XML))) for _ in range(20)]
                assert [await answer for answer in served] == [OK] * 20
            ends = {answer[:12] for answer in [await attack for attack in attacking]}
            assert ends <= {b"HTTP/1.1 400", b"HTTP/1.1 413", b""}
            assert len(witness.requests) == 100

    factory: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
    if loop_name == "uvloop":
        factory = pytest.importorskip("uvloop").new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(run())
