"""Charge points of plain bytes: what the field sends, and what it gets back, byte for byte."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

_MINTED = re.compile(rb"(?<=<wsa:MessageID>)urn:uuid:[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}(?=<)")
_DATE = re.compile(rb"\r\nDate: \w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT(?=\r\n)")


def as_text(sent: bytes) -> str:
    """What the gateway sent, without what is new each time: ``urn:uuid:…`` and ``Date: …``."""
    return _DATE.sub(b"\r\nDate: ...", _MINTED.sub(b"urn:uuid:...", sent)).decode()


async def talk(address: tuple[str, int], *sent: bytes, responses: int = 1, source: str = "127.0.0.1") -> str:
    """Send pieces on one connection, from *source*, and read so many responses, or to its end with 0.

    Between two pieces it waits until the gateway has said something.
    """
    reader, writer = await asyncio.open_connection(*address, local_addr=(source, 0))
    received = b""
    try:
        async with asyncio.timeout(5.0):
            for number, piece in enumerate(sent):
                if number:
                    received += await reader.read(65536)
                writer.write(piece)
            if not responses:
                received += await reader.read()
            while received.count(b"\r\n\r\n") < responses or not _complete(received):
                piece = await reader.read(65536)
                if not piece:
                    received += b"<<end of the connection>>"
                    break
                received += piece
    finally:
        writer.close()
        await writer.wait_closed()
    return as_text(received)


def _complete(received: bytes) -> bool:
    last = received.rpartition(b"HTTP/1.1 ")[2]
    head, _, body = last.partition(b"\r\n\r\n")
    length = re.search(rb"\r\nContent-Length: (\d+)", head)
    return length is None or len(body) >= int(length[1])


@dataclass
class Ear:
    """Where a charge point of plain bytes is called; ``heard`` are the requests, whole.

    ``answer`` gives what is sent back for a request; while ``may_answer`` is not set, nothing is.
    """

    url: str
    heard: list[bytes] = field(default_factory=list)
    answer: Callable[[bytes], bytes] = lambda request: b"HTTP/1.1 500 Internal Server Error\r\n\r\n"
    may_answer: asyncio.Event = field(default_factory=asyncio.Event)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def hear(self, request: bytes) -> None:
        self.heard.append(request)
        self._news.set()

    async def until(self, count: int) -> None:
        """Wait until so many requests have been heard."""
        async with asyncio.timeout(5.0):
            while len(self.heard) < count:
                self._news.clear()
                await self._news.wait()


@asynccontextmanager
async def an_ear(host: str = "127.0.0.1") -> AsyncIterator[Ear]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
                assert length is not None
                request = head + await reader.readexactly(int(length[1]))
                ear.hear(request)
                await ear.may_answer.wait()
                writer.write(ear.answer(request))
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()

    server = await asyncio.start_server(serve, host, 0)
    ear = Ear(f"http://{host}:{server.sockets[0].getsockname()[1]}/cp")
    ear.may_answer.set()
    try:
        yield ear
    finally:
        ear.may_answer.set()
        server.close()
        await server.wait_closed()


ENVELOPE = """\
<?xml version="1.0" encoding="UTF-8"?>
<soap:Envelope xmlns:soap="http://www.w3.org/2003/05/soap-envelope"
 xmlns:wsa="http://www.w3.org/2005/08/addressing" xmlns:cs="urn://Ocpp/Cs/2015/10/">
<soap:Header><cs:chargeBoxIdentity>{identity}</cs:chargeBoxIdentity><wsa:Action>/{action}</wsa:Action>
<wsa:MessageID>urn:uuid:01</wsa:MessageID><wsa:From><wsa:Address>{url}</wsa:Address></wsa:From></soap:Header>
<soap:Body>{body}</soap:Body></soap:Envelope>"""


def envelope(identity: str, body: str = "<cs:heartbeatRequest/>", url: str = "") -> bytes:
    """A SOAP 1.2 request of a charge point that says it is called at *url*."""
    found = re.match(r"<\w+:(\w+)Request", body)
    assert found is not None
    action = found[1][0].upper() + found[1][1:]
    return ENVELOPE.format(identity=identity, action=action, url=url, body=body).encode()


def post(body: bytes, *headers: str, target: str = "/ocpp/cs", version: str = "1.1") -> bytes:
    """A POST; with headers of its own, Content-Length is not added."""
    given = headers or (
        "Content-Type: application/soap+xml; charset=utf-8",
        f"Content-Length: {len(body)}",
    )
    lines = [f"POST {target} HTTP/{version}", "Host: 127.0.0.1", *given, "", ""]
    return "\r\n".join(lines).encode() + body
