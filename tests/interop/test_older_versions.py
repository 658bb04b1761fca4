"""Charge points of OCPP 1.5 and 1.2 as bytes on a socket, before a JSON central system."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.interop.raw import an_ear, envelope, post, talk
from tests.interop.running import Running, configuration, running
from wattbridge.simulators.central_system_json import JsonCentralSystem

NOW = datetime(2024, 5, 1, 10, tzinfo=UTC)
DATES = {"1.2": "2010/08", "1.5": "2012/06", "1.6": "2015/10"}
TIME = "<cs:timestamp>2024-05-01T10:00:00Z</cs:timestamp>"
HEARTBEAT = "<cs:heartbeatRequest/>"
BOOT = (
    "<cs:bootNotificationRequest><cs:chargePointVendor>ACME</cs:chargePointVendor>"
    "<cs:chargePointModel>CC-1</cs:chargePointModel></cs:bootNotificationRequest>"
)
START = (
    "<cs:startTransactionRequest><cs:connectorId>1</cs:connectorId><cs:idTag>TAG</cs:idTag>"
    f"{TIME}<cs:meterStart>0</cs:meterStart></cs:startTransactionRequest>"
)


def said(version: str, body: str, identity: str = "CP1", url: str = "") -> bytes:
    return post(envelope(identity, body, url).replace(b"2015/10", DATES[version].encode()))


def status(word: str) -> str:
    return (
        f"<cs:statusNotificationRequest><cs:connectorId>1</cs:connectorId><cs:status>{word}</cs:status>"
        "<cs:errorCode>NoError</cs:errorCode></cs:statusNotificationRequest>"
    )


def in_body(response: str) -> str:
    """What stands in the Body of a response."""
    found = re.search(r"<soap:Body>(.*)</soap:Body>", response)
    assert found is not None, response
    return found[1]


class Here:
    def __init__(self, gateway: Running, central_system: JsonCentralSystem) -> None:
        self.gateway, self.central_system = gateway, central_system

    async def talk(self, *sent: bytes, responses: int = 1) -> str:
        return await talk(self.gateway.host_and_port, *sent, responses=responses)

    async def say(self, version: str, body: str, identity: str = "CP1", url: str = "") -> str:
        return in_body(await self.talk(said(version, body, identity, url)))

    @property
    def received(self) -> list[tuple[str, Any]]:
        return [(action, payload) for _, action, payload in self.central_system.received]


@pytest.fixture
async def here() -> AsyncIterator[Here]:
    async with (
        JsonCentralSystem(now=lambda: NOW, heartbeat_interval=300) as central_system,
        running(configuration(central_system.url)) as gateway,
    ):
        yield Here(gateway, central_system)
        assert central_system.problems == []


@pytest.mark.parametrize(
    ("version", "action"),
    [
        ("1.6", "/HeartbeatResponse"),
        ("1.5", "/HeartbeatResponse"),
        ("1.2", "urn://Ocpp/Cs/2010/08/CentralSystemService/HeartbeatResponse"),
    ],
)
async def test_one_address_serves_all_versions_each_in_its_namespace(
    here: Here, version: str, action: str
) -> None:
    response = await here.talk(said(version, HEARTBEAT))
    assert in_body(response) == (
        f'<ocpp:heartbeatResponse xmlns:ocpp="urn://Ocpp/Cs/{DATES[version]}/">'
        "<ocpp:currentTime>2024-05-01T10:00:00Z</ocpp:currentTime></ocpp:heartbeatResponse>"
    )
    assert f"<wsa:Action>{action}</wsa:Action>" in response
    assert here.received == [("Heartbeat", {})]


async def test_a_namespace_of_1_2_that_its_text_prints(here: Here) -> None:
    """OCPP 1.2, 8.8 says 2010/10; what is written is exact."""
    response = await here.talk(post(envelope("CP1").replace(b"2015/10", b"2010/10")))
    assert 'xmlns:ocpp="urn://Ocpp/Cs/2010/08/"' in in_body(response)


async def test_a_visit_in_1_5(here: Here) -> None:
    boot = await here.say("1.5", BOOT)
    assert boot == (
        '<ocpp:bootNotificationResponse xmlns:ocpp="urn://Ocpp/Cs/2012/06/"><ocpp:status>Accepted</ocpp:status>'
        "<ocpp:currentTime>2024-05-01T10:00:00Z</ocpp:currentTime>"
        "<ocpp:heartbeatInterval>300</ocpp:heartbeatInterval></ocpp:bootNotificationResponse>"
    )
    await here.say("1.5", status("Occupied"))
    started = await here.say("1.5", START)
    number = re.search(r"<ocpp:transactionId>(\d+)<", started)
    assert number is not None
    await here.say("1.5", status("Occupied"))
    await here.say(
        "1.5",
        f"<cs:meterValuesRequest><cs:connectorId>1</cs:connectorId><cs:transactionId>{number[1]}"
        f'</cs:transactionId><cs:values>{TIME}<cs:value measurand="Current.Import" unit="Amp">16</cs:value>'
        "</cs:values></cs:meterValuesRequest>",
    )
    data = f"<cs:transactionData><cs:values>{TIME}<cs:value>9</cs:value></cs:values></cs:transactionData>"
    await here.say(
        "1.5",
        f"<cs:stopTransactionRequest><cs:transactionId>{number[1]}</cs:transactionId>{TIME}"
        f"<cs:meterStop>9</cs:meterStop>{data}</cs:stopTransactionRequest>",
    )
    await here.say("1.5", status("Occupied"))
    moment = "2024-05-01T10:00:00Z"
    preparing = {"connectorId": 1, "status": "Preparing", "errorCode": "NoError"}
    assert here.received == [
        ("BootNotification", {"chargePointVendor": "ACME", "chargePointModel": "CC-1"}),
        ("StatusNotification", preparing),
        ("StartTransaction", {"connectorId": 1, "idTag": "TAG", "timestamp": moment, "meterStart": 0}),
        ("StatusNotification", preparing | {"status": "Charging"}),
        (
            "MeterValues",
            {
                "connectorId": 1,
                "transactionId": int(number[1]),
                "meterValue": [
                    {
                        "timestamp": moment,
                        "sampledValue": [{"value": "16", "measurand": "Current.Import", "unit": "A"}],
                    }
                ],
            },
        ),
        (
            "StopTransaction",
            {
                "transactionId": int(number[1]),
                "timestamp": moment,
                "meterStop": 9,
                "transactionData": [{"timestamp": moment, "sampledValue": [{"value": "9"}]}],
            },
        ),
        ("StatusNotification", preparing | {"status": "Finishing"}),
    ]


async def test_meter_values_of_1_2_arrive_with_their_transaction(here: Here) -> None:
    await here.say("1.2", BOOT)
    started = await here.say("1.2", START)
    number = re.search(r"<ocpp:transactionId>(\d+)<", started)
    assert number is not None
    meter = f"<cs:values>{TIME}<cs:value>17</cs:value></cs:values>"
    confirmed = await here.say(
        "1.2", f"<cs:meterValuesRequest><cs:connectorId>1</cs:connectorId>{meter}</cs:meterValuesRequest>"
    )
    assert confirmed == '<ocpp:meterValuesResponse xmlns:ocpp="urn://Ocpp/Cs/2010/08/"/>'
    _, values = here.received[-1]
    assert values["transactionId"] == int(number[1])
    assert values["meterValue"][0]["sampledValue"] == [
        {"value": "17", "measurand": "Energy.Active.Import.Register", "unit": "Wh"}
    ]


async def test_a_charge_point_is_called_in_the_version_it_spoke_last(here: Here) -> None:
    async with an_ear() as ear:
        accepted = b'<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"><s:Body><remoteStart'
        accepted += (
            b'TransactionResponse xmlns="urn://Ocpp/Cp/2012/06/"><status>Accepted</status></remoteStart'
        )
        accepted += b"TransactionResponse></s:Body></s:Envelope>"
        ear.answer = lambda request: (
            b"HTTP/1.1 200 OK\r\nContent-Type: application/soap+xml\r\nContent-Length: %d\r\n\r\n%s"
            % (len(accepted), accepted)
        )
        profile = {
            "chargingProfileId": 1, "stackLevel": 0, "chargingProfilePurpose": "TxProfile",
            "chargingProfileKind": "Relative", "chargingSchedule": {
                "chargingRateUnit": "A", "chargingSchedulePeriod": [{"startPeriod": 0, "limit": 16}],
            },
        }  # fmt: skip
        for version in ("1.5", "1.6"):
            await here.say(version, HEARTBEAT, url=ear.url)
            reply = await here.central_system.call(
                "CP1", "RemoteStartTransaction", connectorId=1, idTag="TAG", chargingProfile=profile
            )
            assert reply == {"status": "Accepted"}
        first, second = ear.heard
        assert b'xmlns:ocpp="urn://Ocpp/Cp/2012/06/"' in first
        assert (
            b"<ocpp:remoteStartTransactionRequest><ocpp:idTag>TAG</ocpp:idTag><ocpp:connectorId>1"
            b"</ocpp:connectorId></ocpp:remoteStartTransactionRequest>" in first
        )
        assert b'xmlns:ocpp="urn://Ocpp/Cp/2015/10/"' in second
        assert b"<ocpp:chargingProfile>" in second
        [loss] = [
            note
            for record in here.gateway.records
            if record.action == "RemoteStartTransaction" and record.asked
            for note in record.asked.notes
        ]
        assert (loss.path, loss.rule) == ("RemoteStartTransaction.chargingProfile", "older-field")


async def test_what_it_cannot_be_asked_is_answered_here(here: Here) -> None:
    """Nobody answers where it says that it is called, and nobody needs to."""
    url = "http://127.0.0.1:9/"
    await here.say("1.5", BOOT, url=url)
    await here.say("1.5", status("Available"), url=url)
    reply = await here.central_system.call("CP1", "TriggerMessage", requestedMessage="StatusNotification")
    assert reply == {"status": "Accepted"}
    await here.gateway.until(lambda: bool(here.gateway.told("sent in its place")))
    assert [action for action, _ in here.received] == [
        "BootNotification", "StatusNotification", "StatusNotification",
    ]  # fmt: skip
    reply = await here.central_system.call("CP1", "ClearChargingProfile")
    assert reply == {"status": "Unknown"}


BROKEN = START.replace("<cs:idTag>TAG</cs:idTag>", "")


@pytest.mark.parametrize(("version", "answered"), [("1.6", True), ("1.5", False), ("1.2", False)])
async def test_only_the_central_system_itself_tells_an_older_charge_point_never_to_send_that_again(
    here: Here, version: str, answered: bool
) -> None:
    received = await here.talk(said(version, BROKEN), responses=1 if answered else 0)
    assert ("StartTransaction.idTag: is missing" in received) == answered
    assert bool(received) == answered
    [record] = here.gateway.records
    assert record.reason == "schema"
    here.central_system.errors["StartTransaction"] = ("PropertyConstraintViolation", "no")
    assert "PropertyConstraintViolation: no" in await here.say(version, START)


STOP = (
    f"<cs:stopTransactionRequest><cs:transactionId>7</cs:transactionId>{TIME}<cs:meterStop>9</cs:meterStop>"
    "</cs:stopTransactionRequest>"
)
UNREADABLE = {
    "undeclared prefix": lambda body: body.replace(b"<cs:meterStop>", b"<a:meterStop>"),
    "bare ampersand": lambda body: body.replace(b">9<", b">9 & 10<"),
    "cut off": lambda body: body[:-30],
    "UTF-16": lambda body: body.replace(b'"UTF-8"', b'"UTF-16"').decode().encode("utf-16"),
    "latin": lambda body: body.replace(b'"UTF-8"', b'"ISO-8859-1"'),
    "DOCTYPE": lambda body: body.replace(b"?>", b"?><!DOCTYPE a>", 1),
}


@pytest.mark.parametrize("how", sorted(UNREADABLE))
@pytest.mark.parametrize(("version", "answered"), [("1.6", True), ("1.5", False), ("1.2", False)])
async def test_a_transaction_message_that_cannot_be_read_costs_an_older_charge_point_nothing(
    here: Here, how: str, version: str, answered: bool
) -> None:
    body = UNREADABLE[how](envelope("CP1", STOP).replace(b"2015/10", DATES[version].encode()))
    received = await here.talk(post(body), responses=1 if answered else 0)
    assert received.startswith("HTTP/1.1 400 ") == answered
    assert bool(received) == answered
    [record] = here.gateway.records
    assert record.reason == "malformed"


async def test_a_fault_stands_in_the_namespace_of_the_message(here: Here) -> None:
    fault = await here.say("1.5", "<cs:authorizeRequest/>")
    assert 'xmlns:ocpp="urn://Ocpp/Cs/2012/06/">ocpp:ProtocolError<' in fault
