"""The SOAP central system of the crash test, asked by posts as they are."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator

import pytest

from tests.torture import envelopes, posts
from tests.torture.central_system_soap import SoapCentralSystem
from tests.torture.ledger import Ledger

START = {"connectorId": 1, "idTag": "T", "timestamp": "2024-05-01T10:00:00Z", "meterStart": 1000}


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


@pytest.fixture
async def central_system(ledger: Ledger) -> AsyncIterator[SoapCentralSystem]:
    works = SoapCentralSystem(ledger, random.Random(1))
    async with works.at_work():
        yield works


def a_start(callback: str = "http://127.0.0.1:9/ocpp/cp/CP1") -> bytes:
    return envelopes.write_request("CP1", "StartTransaction", START, callback, "", envelopes.CENTRAL_SYSTEM)


async def post(central_system: SoapCentralSystem, body: bytes) -> bytes:
    """The whole answer, until the connection ends, as a caller that does not look at lengths reads it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", central_system.port)
    writer.write(b"POST /ocpp HTTP/1.1\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
    try:
        return await reader.read()
    finally:
        writer.close()


async def test_the_same_message_id_again_is_the_same_message(
    central_system: SoapCentralSystem, ledger: Ledger
) -> None:
    body = a_start()
    for _ in range(2):
        assert b"<o:transactionId>1</o:transactionId>" in await post(central_system, body)
    assert b"<o:transactionId>2</o:transactionId>" in await post(central_system, a_start())

    first, second = ledger.arrivals
    assert (first.payload, first.given, first.again) == (START, 1, 1)
    assert (second.payload, second.given, second.again) == (START, 2, 0)


async def test_a_charge_point_is_called_where_it_said_it_is(central_system: SoapCentralSystem) -> None:
    heard = []

    async def hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path, body = await posts.read_request(reader)
        request = envelopes.read(body)
        heard.append((path, request.identity, request.action, request.content))
        reply = {"unknownKey": ["Key2"]}
        writer.write(
            posts.write_answer(
                envelopes.write_response(request.action, reply, request.message_id, envelopes.CHARGE_POINT),
                connection="close",
            )
        )
        writer.close()

    assert await central_system.ask_for_configuration("CP1") == ""
    async with await asyncio.start_server(hear, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        await post(central_system, a_start(f"http://127.0.0.1:{port}/ocpp/cp/CP1"))
        assert await central_system.ask_for_configuration("CP1") == "result"
    assert heard == [("/ocpp/cp/CP1", "CP1", "GetConfiguration", {"key": ["Key2"]})]
    assert await central_system.ask_for_configuration("CP1") == "not sent"
