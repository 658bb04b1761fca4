"""Charge points of OCPP 1.5 and 1.2 in the crash test: what they write, and what they take for an answer."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from tests.torture import envelopes, posts
from tests.torture.charge_points import Callbacks, ChargePoint, Soap
from tests.torture.ledger import Ledger, Payload, Sent, Transaction
from tests.torture.older import NAMESPACES, Speaks, as_made, as_written, is_older, speaks

READING: Payload = {
    "timestamp": "2024-05-01T10:00:00Z",
    "sampledValue": [{"value": "1001", "unit": "Wh"}, {"value": "7"}],
}
METER: Payload = {"connectorId": 1, "transactionId": 7, "meterValue": [READING]}
STATUS: Payload = {
    "connectorId": 1,
    "status": "Charging",
    "errorCode": "NoError",
    "info": "status 1",
    "timestamp": "2024-05-01T10:00:00Z",
}
STOP: Payload = {"idTag": "T", "timestamp": "2024-05-01T10:00:00Z", "meterStop": 9, "reason": "Local"}


def test_an_identity_says_how_it_speaks() -> None:
    identities = ["HOLD-SOAP-0", "PROV-JSON-1", "HOLD-S15-2", "PROV-S12-3"]
    assert [speaks(identity) for identity in identities] == ["SOAP", "JSON", "S15", "S12"]
    assert [is_older(identity) for identity in identities] == [False, False, True, True]


def test_what_is_made_has_what_its_version_can_say() -> None:
    made = [as_made(f"HOLD-{each}-1", "StatusNotification", STATUS) for each in ("SOAP", "S15", "S12")]
    assert made == [
        STATUS,
        STATUS | {"status": "Occupied"},
        {"connectorId": 1, "status": "Occupied", "errorCode": "NoError"},
    ]
    assert "reason" not in as_made("HOLD-S15-1", "StopTransaction", STOP)


@pytest.mark.parametrize(
    ("version", "written"),
    [
        (
            "S15",
            "<o:connectorId>1</o:connectorId><o:transactionId>7</o:transactionId><o:values>"
            '<o:timestamp>2024-05-01T10:00:00Z</o:timestamp><o:value unit="Wh">1001</o:value>'
            "<o:value>7</o:value></o:values>",
        ),
        (
            "S12",
            "<o:connectorId>1</o:connectorId><o:values><o:timestamp>2024-05-01T10:00:00Z</o:timestamp>"
            "<o:value>1001</o:value></o:values>",
        ),
    ],
)
def test_meter_values_are_written_as_the_version_has_them(version: Speaks, written: str) -> None:
    identity, namespace = f"HOLD-{version}-1", NAMESPACES[version][0]
    payload = as_written(identity, "MeterValues", METER)
    body = envelopes.write_request(identity, "MeterValues", payload, "", "", namespace).decode()
    found = re.search(r"<o:meterValuesRequest>(.*)</o:meterValuesRequest>", body)
    assert found is not None
    assert found[1] == written
    assert f'xmlns:o="{namespace}"' in body


# --- What they take for an answer --------------------------------------------------------------------------


@asynccontextmanager
async def asked(answer: Callable[[str, str], bytes], identity: str) -> AsyncIterator[ChargePoint]:
    """A charge point, at a central system that gives an answer for action and message id."""

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _, body = await posts.read_request(reader)
        request = envelopes.read(body)
        writer.write(answer(request.action, request.message_id))
        writer.close()

    async with posts.listening(take) as port:
        transport = Soap(identity, port, Callbacks(), "http://127.0.0.1:9/")
        yield ChargePoint(identity, Ledger(), random.Random(1), transport)


def a_result(version: Speaks) -> Callable[[str, str], bytes]:
    def answer(action: str, message_id: str) -> bytes:
        payload = {"transactionId": 7} if action == "StartTransaction" else {}
        return posts.write_answer(
            envelopes.write_response(action, payload, message_id, NAMESPACES[version][0])
        )

    return answer


def a_fault(action: str, message_id: str) -> bytes:
    return posts.write_answer(
        f'<s:Envelope xmlns:s="{envelopes.SOAP}"><s:Body><s:Fault/></s:Body></s:Envelope>'.encode()
    )


def a_page(action: str, message_id: str) -> bytes:
    return posts.write_unavailable(503)


async def what_becomes(of: Sent, answer: Callable[[str, str], bytes]) -> bool:
    """Whether there is no more to be done, when it is sent once."""
    async with asked(answer, of.identity) as charge_point:
        return await charge_point._send(of)


def a_start(version: Speaks) -> Sent:
    identity = f"HOLD-{version}-1"
    payload = {"connectorId": 1, "idTag": "T", "timestamp": "2024-05-01T10:00:00Z", "meterStart": 1000}
    return Sent(1, identity, "StartTransaction", payload, Transaction(identity, 1, 1000))


@pytest.mark.parametrize("version", ["SOAP", "S15", "S12"])
async def test_an_answer_of_its_own_version_is_one(version: Speaks) -> None:
    start = a_start(version)
    assert await what_becomes(start, a_result(version))
    assert start.transaction is not None
    assert (start.transaction.told, start.dropped, start.failures) == ([7], False, [])


@pytest.mark.parametrize(("version", "other"), [("S15", "SOAP"), ("S12", "S15"), ("SOAP", "S15")])
async def test_an_answer_of_another_version_is_none(version: Speaks, other: Speaks) -> None:
    start = a_start(version)
    assert not await what_becomes(start, a_result(other))
    assert "nobody understands" in start.failures[0]


@pytest.mark.parametrize("answer", [a_fault, a_page])
@pytest.mark.parametrize("version", ["S15", "S12"])
async def test_what_is_refused_is_dropped_with_all_that_follows(
    version: Speaks, answer: Callable[[str, str], bytes]
) -> None:
    start = a_start(version)
    assert await what_becomes(start, answer)
    assert start.dropped
    stop = Sent(2, start.identity, "StopTransaction", STOP, start.transaction)
    assert await what_becomes(stop, a_result(version))
    assert (stop.dropped, stop.tries) == (True, 0)  # nobody knows its transaction


@pytest.mark.parametrize("answer", [a_fault, a_page])
async def test_in_1_6_what_is_refused_is_sent_again(answer: Callable[[str, str], bytes]) -> None:
    start = a_start("SOAP")
    assert not await what_becomes(start, answer)
    assert not start.dropped
    assert await what_becomes(start, a_result("SOAP"))


@pytest.mark.parametrize(("version", "is_heard"), [("S15", True), ("SOAP", False), ("S12", False)])
async def test_only_calls_of_its_own_version_are_heard(version: Speaks, is_heard: bool) -> None:
    callbacks = Callbacks()
    callbacks.hear["HOLD-S15-1"] = lambda action, payload: {"unknownKey": payload["key"]}
    namespace = NAMESPACES[version][1]
    body = envelopes.write_request("HOLD-S15-1", "GetConfiguration", {"key": ["Key1"]}, "", "", namespace)
    async with callbacks.at_work():
        reader, writer = await asyncio.open_connection("127.0.0.1", callbacks.port)
        writer.write(b"POST /HOLD-S15-1 HTTP/1.1\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        writer.write_eof()
        answer = await reader.read()
        writer.close()
    assert (b"<o:unknownKey>Key1</o:unknownKey>" in answer) == is_heard
    assert (answer != b"") == is_heard
