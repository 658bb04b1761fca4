"""Every exchange under ``exchanges/`` once more, through the whole gateway and real sockets.

One gateway carries them all, each as a charge point of its own: a POST of file 1, a central system that
answers a frame with file 3, and so on. What has to be the same is every byte but the ids that the gateway
mints: they are replaced by those of the files, and so is the identity.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections import defaultdict
from dataclasses import dataclass, field

import pytest
import uvloop
from websockets.asyncio.server import ServerConnection, serve
from websockets.typing import Subprotocol

from tests.exchange_files import (
    CHARGE_POINT_URL,
    IDENTITY,
    MESSAGE_ID,
    SOAP_MESSAGE_ID,
    Exchange,
    load_exchanges,
    note_line,
)
from tests.interop.raw import an_ear, as_text, envelope, post, talk
from tests.interop.running import Running, running
from tests.test_exchanges import expected_status
from wattbridge.ocpp.messages import Side
from wattbridge.relay.journal import Record

# The gateway serves charge points that speak OCPP-S and calls central systems that speak OCPP-J.
SERVED = {"charge_point": "soap", "central_system": "json"}
ALL = [exchange for exchange in load_exchanges() if exchange.transports == SERVED]
NAMES = {f"X{number:05}": exchange for number, exchange in enumerate(ALL)}  # identity → exchange

CONFIGURATION = """
version: 1
gateway: {{public_url: "http://wattbridge.example", drain: 2s}}
listeners:
  soap: {{bind: "127.0.0.1:0", paths: [/ocpp], limits: {{connections_per_source: 1000}}}}
upstreams:
  main: {{url: "ws://127.0.0.1:{port}/ocpp", connect: {{rate: 10000/s}}}}
chargers:
{chargers}
metrics: {{bind: "127.0.0.1:0"}}
"""
HEARTBEAT_RESULT = {"currentTime": "2024-05-01T10:00:00Z"}
SOAP_11 = b"http://schemas.xmlsoap.org/soap/envelope/"


@dataclass
class Carried:
    """What the gateway wrote on both sides, all that it wrote, and what it noted."""

    relayed: list[str] = field(default_factory=list)
    replied: list[str] = field(default_factory=list)
    status: int | None = None  # of the HTTP response; None when a frame was the reply
    notes: list[str] = field(default_factory=list)


@dataclass
class CentralSystem:
    """Answers the CALL of a charge point with file 3, or a Heartbeat with file 1."""

    relayed: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    replied: dict[str, asyncio.Future[str]] = field(default_factory=dict)

    async def serve(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        identity = connection.request.path.rpartition("/")[2]
        exchange = NAMES[identity]
        async for frame in connection:
            assert isinstance(frame, str)
            if exchange.asked_by == "charge_point":
                await self._answer(connection, identity, frame, exchange)
            elif json.loads(frame)[0] == 2:
                await connection.send(json.dumps([3, json.loads(frame)[1], HEARTBEAT_RESULT]))
                await connection.send(exchange.messages[0].decode())
            else:
                self.replied[identity].set_result(frame)

    async def _answer(
        self, connection: ServerConnection, identity: str, frame: str, exchange: Exchange
    ) -> None:
        minted = json.dumps(json.loads(frame)[1])
        self.relayed[identity].append(frame.replace(minted, json.dumps(MESSAGE_ID), 1))
        answer = exchange.messages[2]
        if answer is not None:
            await connection.send(answer.decode().replace(json.dumps(MESSAGE_ID), minted, 1))


def as_in_file(text: str, identity: str) -> str:
    """What ``raw.as_text`` shows, with the ids of the files."""
    return text.replace("urn:uuid:...", SOAP_MESSAGE_ID).replace(identity, IDENTITY)


async def carry(identity: str, gateway: Running, central_system: CentralSystem, carried: Carried) -> None:
    exchange = NAMES[identity]
    if exchange.asked_by == "charge_point":
        body = exchange.messages[0].replace(IDENTITY.encode(), identity.encode())
        kind = "text/xml" if SOAP_11 in body else "application/soap+xml"
        sent = post(body, f"Content-Type: {kind}", f"Content-Length: {len(body)}", target="/ocpp")
        head, _, replied = (await talk(gateway.host_and_port, sent)).partition("\r\n\r\n")
        carried.status = int(head.split()[1])
        assert f"Content-Type: {kind}; charset=utf-8" in head.split("\r\n")
        carried.replied.append(as_in_file(replied, identity))
        carried.relayed += central_system.relayed[identity]
    else:
        central_system.replied[identity] = asyncio.get_running_loop().create_future()
        await talk(gateway.host_and_port, post(envelope(identity), target="/ocpp"))
        async with asyncio.timeout(10.0):
            carried.replied.append(await central_system.replied[identity])


async def carry_all() -> dict[str, Carried]:
    """Every exchange at the same time; by its id."""
    carried = {identity: Carried() for identity in NAMES}
    central_system = CentralSystem()

    def answer(request: bytes) -> bytes:
        """File 3, to the call that came to the address of one charge point."""
        found = re.match(rb"POST /cp/(\w+) ", request)
        assert found is not None
        identity = found[1].decode()
        relayed = as_text(request).partition("\r\n\r\n")[2]
        carried[identity].relayed.append(as_in_file(relayed, identity))
        text = NAMES[identity].messages[2] or b""
        kind = b"text/html" if text.startswith(b"<html") else b"application/soap+xml; charset=utf-8"
        status = b"500 Internal Server Error" if b"Fault>" in text else b"200 OK"
        head = b"HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n"
        return head % (status, kind, len(text)) + text

    async with (
        serve(central_system.serve, "127.0.0.1", 0, subprotocols=[Subprotocol("ocpp1.6")]) as server,
        an_ear() as ear,
    ):
        ear.answer = answer
        chargers = "\n".join(
            f"  {identity}: {{callback_url: {ear.url}/{identity}, to: {CHARGE_POINT_URL}}}"
            for identity in NAMES
        )
        port = next(iter(server.sockets)).getsockname()[1]
        async with running(CONFIGURATION.format(port=port, chargers=chargers)) as gateway:
            async with asyncio.TaskGroup() as tasks:
                for identity in NAMES:
                    tasks.create_task(carry(identity, gateway, central_system, carried[identity]))
            for record in gateway.records:
                if is_the_exchange(record):
                    carried[record.identity].notes += [note_line(note) for note in record.notes]
    return {NAMES[identity].id: what for identity, what in carried.items()}


def is_the_exchange(record: Record) -> bool:
    """Not the Heartbeat before it; and not one whose identity was not read."""
    return record.identity in NAMES and record.arrived_from is Side(NAMES[record.identity].asked_by)


@pytest.fixture(scope="module")
def carried() -> dict[str, Carried]:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:  # as the gateway is run
        return runner.run(carry_all())


@pytest.mark.parametrize("exchange", ALL, ids=lambda exchange: exchange.id)
def test_exchange_goes_over_sockets_as_its_files_say(exchange: Exchange, carried: dict[str, Carried]) -> None:
    _, relayed, _, replied = exchange.messages
    found = carried[exchange.id]
    assert found.relayed == ([] if relayed is None else [relayed.decode()])
    assert found.replied == [replied.decode()]
    if exchange.asked_by == "charge_point":
        assert found.status == expected_status(replied)
    assert found.notes == list(exchange.notes)
