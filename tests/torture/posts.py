"""Just enough of HTTP for OCPP-S: a POST on a connection of its own, and what an answer to it says.

Callers and servers here are both charge points and central systems; what the envelopes mean is theirs.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

from tests.torture import envelopes
from tests.torture.ledger import Payload

SOAP_12 = "application/soap+xml; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Refused:
    """A fault, a CALLERROR, or an HTTP status that blames the message."""

    text: str


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """Nothing that could be an answer: the message is kept."""

    text: str


class NotSent(NoAnswer):
    """Nobody took the connection."""


Outcome = Payload | Refused | NoAnswer


@asynccontextmanager
async def listening(
    take: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[int]:
    """Have *take* serve each connection while inside; gives the port."""
    server = await asyncio.start_server(take, "127.0.0.1", 0, backlog=256)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def post(url: str, body: bytes, namespace: str, *, blames: bool = False) -> Outcome:
    """Post an envelope, and read what comes back until the connection ends; as ``read_answer`` has it."""
    parts = urlsplit(url)
    try:
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    except OSError as error:
        return NotSent(f"no connection: {error}")
    try:
        try:
            writer.write(
                f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: close\r\n"
                f"Content-Type: {SOAP_12}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            )
            writer.write(body)
            data = await reader.read()
        finally:
            writer.transport.abort()
    except OSError as error:
        return NoAnswer(f"the connection ended: {error}")
    return read_answer(data, namespace, blames=blames)


def read_answer(data: bytes, namespace: str, *, blames: bool = False) -> Outcome:
    """What the response says: no answer when it is not whole, or stands in another *namespace*.

    An HTTP status of the server's own is one to a charge point of 1.6; with *blames* it is a refusal, as each
    one that is an error is to an older one.
    """
    head, _, body = data.partition(b"\r\n\r\n")
    status = re.match(rb"HTTP/1\.1 (\d+)", head)
    length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    if status is None or length is None or len(body) < int(length[1]):
        return NoAnswer(f"{len(data)} bytes, no whole response")
    try:
        envelope = envelopes.read(body)
    except ValueError:
        text = f"HTTP {status[1].decode()}: {body[:100].decode(errors='replace')}"
        return NoAnswer(text) if status[1].startswith(b"5") and not blames else Refused(text)
    if envelope.name == "Fault":
        return Refused(f"HTTP {status[1].decode()}, fault {envelope.content}")
    if envelope.namespace != namespace:
        return NoAnswer(f"an answer in {envelope.namespace!r}, which nobody understands here")
    return envelope.content


async def read_request(reader: asyncio.StreamReader) -> tuple[str, bytes]:
    """Path and body of the next request. Raises IncompleteReadError when there is none, or half of one."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    length = re.search(r"(?i)\r\ncontent-length: *(\d+)", head)
    return head.split()[1], await reader.readexactly(int(length[1]) if length else 0)


def write_answer(body: bytes, *, connection: str = "keep-alive") -> bytes:
    return (
        f"HTTP/1.1 200 OK\r\nContent-Type: {SOAP_12}\r\nConnection: {connection}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body


def write_answer_in_chunks(body: bytes) -> bytes:
    half = len(body) // 2
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:half], body[half:]))
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {SOAP_12}\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head.encode() + chunks + b"0\r\n\r\n"


def write_answer_to_the_end(body: bytes) -> bytes:
    """An answer that ends with its connection, as those of HTTP/1.0 do."""
    return f"HTTP/1.1 200 OK\r\nContent-Type: {SOAP_12}\r\nConnection: close\r\n\r\n".encode() + body


def write_unavailable(status: int) -> bytes:
    """What a proxy answers for a server that is not there."""
    page = b"<html><body>no server is available to handle this request</body></html>"
    head = f"HTTP/1.1 {status} Unavailable\r\nContent-Type: text/html\r\nContent-Length: {len(page)}\r\n\r\n"
    return head.encode() + page
