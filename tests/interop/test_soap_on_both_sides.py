"""SOAP charge points and SOAP central systems, with the gateway between them and foreign stacks at its ends.

spyne serves CentralSystemService, zeep calls ChargePointService. Nothing is translated, so what one wrote in
its Body is what the other reads; only the envelope's header is the gateway's.
"""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import pytest
from bench.naive import HAS_SPYNE, SoapClient, application
from bench.workload import Json

from tests.fakes import (
    PATIENCE,
    USUAL_ANSWERS,
    Listened,
    Response,
    a_central_system,
    a_charge_point,
    fault,
    from_header,
    http_response,
    listen,
    post,
    soap_request,
    soap_result,
)
from wattbridge.links.callbacks import AddressPolicy, CallbackClient
from wattbridge.links.central_system_json import Backoff, CentralSystem, CentralSystemJson
from wattbridge.links.central_system_soap import (
    Caller,
    CentralSystemSoap,
    ChargePointService,
    SoapCentralSystem,
)
from wattbridge.links.charge_point_soap import CentralSystemService
from wattbridge.links.charge_points import ChargePoint
from wattbridge.links.http_client import KeptClient, SharedProbe, tcp_reachable
from wattbridge.links.listener import HttpRequest, HttpResponse, Listener
from wattbridge.ocpp.actions import JsonCodec, dialect
from wattbridge.ocpp.messages import Side
from wattbridge.ocpp.soap import SOAP_11, SOAP_12
from wattbridge.relay.failover import FailOver
from wattbridge.relay.journal import Journal, Record
from wattbridge.relay.pace import Pacer
from wattbridge.relay.registry import CentralSystemLink, Registry
from wattbridge.relay.routes import Heard
from wattbridge.relay.session import Session

needs_spyne = pytest.mark.skipif(not HAS_SPYNE, reason="spyne does not run on this Python")


@dataclass
class SpyneCentralSystem:
    """CentralSystemService of spyne; ``asked`` are identity, action and payload of each call."""

    url: str = ""
    asked: list[tuple[str, str, Json]] = field(default_factory=list)
    said: dict[str, Json] = field(
        default_factory=lambda: {
            "Heartbeat": {"currentTime": "2024-05-01T10:00:00+00:00"},
            "StartTransaction": {"transactionId": 7, "idTagInfo": {"status": "Accepted"}},
            "StatusNotification": {},
            "MeterValues": {},
        }
    )

    def relay(self, identity: str, action: str, payload: Json) -> Json:
        from spyne import Fault

        self.asked.append((identity, action, payload))
        if action not in self.said:
            raise Fault("Server.InternalError", f"no {action} today")
        return self.said[action]


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        return None


@contextmanager
def a_spyne_central_system() -> Iterator[SpyneCentralSystem]:
    from spyne.server.wsgi import WsgiApplication

    central_system = SpyneCentralSystem()
    wsgi = WsgiApplication(application(central_system.relay))
    server = make_server("127.0.0.1", 0, wsgi, WSGIServer, _Quiet)
    serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    serving.start()
    central_system.url = f"http://127.0.0.1:{server.server_port}/cs"
    try:
        yield central_system
    finally:
        server.shutdown()
        serving.join()
        server.server_close()


@dataclass
class SoapGateway:
    """``url`` is where charge points post, ``callback_url`` where they are called, with ``{charger}``."""

    url: str
    callback_url: str
    registry: Registry
    heard: Listened

    async def recorded(self) -> Record:
        await self.heard.until(lambda: bool(self.heard.records))
        return self.heard.records.pop(0)


@dataclass(frozen=True)
class OnlyWay:
    link: CentralSystemLink

    def leads(self, heard: Heard) -> bool:
        return True


@asynccontextmanager
async def a_gateway(central_system_url: str, *, main_url: str = "") -> AsyncIterator[SoapGateway]:
    """A gateway before one SOAP central system; with *main_url* that stands in for a JSON one."""
    journal, client, callbacks = Journal(), KeptClient(), CallbackClient()
    gateway: SoapGateway

    def soap_link(session: Session) -> CentralSystemSoap:
        session.upstream = "legacy"
        settings = SoapCentralSystem(central_system_url, gateway.callback_url, name="legacy")
        return CentralSystemSoap(session, dialect(), journal, settings, client)

    def json_link(session: Session) -> CentralSystemJson:
        settings = CentralSystem(main_url, name="main", connect_wait=PATIENCE, backoff=Backoff(0.01, 0.01))
        return CentralSystemJson(
            session, JsonCodec(dialect(), Side.CENTRAL_SYSTEM), journal, settings, Pacer(1000.0)
        )

    def open_way(session: Session, heard: Heard) -> OnlyWay:
        if not main_url:
            return OnlyWay(soap_link(session))
        probe = SharedProbe(lambda: tcp_reachable(main_url), every=0.01)
        return OnlyWay(
            FailOver(
                session,
                journal,
                lambda: json_link(session),
                lambda: soap_link(session),
                names=("main", "legacy"),
                reachable=probe,
                after=0.1,
                back_after=0.05,
                probe_every=0.01,
            )
        )

    registry = Registry(journal, open_way)
    downwards = ChargePointService(registry, journal, dialect(), {"legacy": Caller()})
    upwards = CentralSystemService(
        registry,
        journal,
        lambda identity, source, listener: ChargePoint(dialect()),
        dialect(),
        AddressPolicy(networks=(ip_network("127.0.0.0/8"),)),
        callbacks,
        paths=("/ocpp/cs",),
    )

    async def handle(request: HttpRequest) -> HttpResponse:
        service = upwards if downwards.identity_in(request) is None else downwards
        return await service.handle(request)

    listener = Listener("soap", "127.0.0.1", 0, handle)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(registry.run())
        tasks.create_task(downwards.run())
        await listener.start()
        base = f"http://127.0.0.1:{listener.port}/ocpp"
        gateway = SoapGateway(f"{base}/cs", f"{base}/cp/{{charger}}", registry, listen(journal))
        try:
            yield gateway
        finally:
            await listener.stop(0.1)
            downwards.stop()
            registry.stop()
    await client.close()
    await callbacks.close()


def body_of(text: bytes) -> bytes:
    """From the start tag of its Body to the end of the Body."""
    found = re.search(rb"<(?:[\w-]+:)?Body[ >].*</(?:[\w-]+:)?Body>", text, re.DOTALL)
    assert found is not None, text
    return found[0]


@needs_spyne
@pytest.mark.parametrize("action", ["Heartbeat", "StatusNotification", "StartTransaction", "MeterValues"])
async def test_a_message_of_a_charge_point_reaches_spyne_as_it_was_written(action: str) -> None:
    request = soap_request(action, "RDAM 1")
    with a_spyne_central_system() as central_system:
        async with a_gateway(central_system.url) as gateway:
            response = await post(gateway.url, request)
            assert response.status == 200, response.body
            record = await gateway.recorded()
            assert record.asked is not None
            assert record.answered is not None
            assert body_of(record.asked.text) == body_of(request.encode())
            assert body_of(response.body.encode()) == body_of(record.answered.text)
            assert (record.notes, record.upstream, record.other_transport) == ((), "legacy", "soap")
            callback = gateway.callback_url.replace("{charger}", "RDAM%201")
            assert f"<wsa:From><wsa:Address>{callback}</wsa:Address></wsa:From>".encode() in record.asked.text
        [(identity, asked, _)] = central_system.asked
        assert (identity, asked) == ("RDAM 1", action)


@needs_spyne
async def test_a_charge_point_of_soap_11_is_translated_for_spyne() -> None:
    """spyne reads SOAP 1.2 only, so another envelope is written."""
    with a_spyne_central_system() as central_system:
        async with a_gateway(central_system.url) as gateway:
            response = await post(gateway.url, soap_request("Heartbeat").replace(SOAP_12, SOAP_11))
            assert response.status == 200
            assert f'<soap:Envelope xmlns:soap="{SOAP_11}"' in response.body
            assert "<ocpp:currentTime>2024-05-01T10:00:00Z</ocpp:currentTime>" in response.body
        assert central_system.asked == [("CP1", "Heartbeat", {})]


@needs_spyne
async def test_a_fault_of_spyne_reaches_the_charge_point_as_it_was_written() -> None:
    with a_spyne_central_system() as central_system:
        del central_system.said["Heartbeat"]
        async with a_gateway(central_system.url) as gateway:
            response = await post(gateway.url, soap_request("Heartbeat"))
            record = await gateway.recorded()
            assert record.answered is not None
            assert body_of(response.body.encode()) == body_of(record.answered.text)
            assert "no Heartbeat today" in response.body
            assert (response.status, record.reason) == (500, "fault")


@needs_spyne
async def test_zeep_calls_back_at_the_address_the_gateway_told() -> None:
    answer = http_response(soap_result("resetResponse", "<cp:status>Accepted</cp:status>"))
    with a_spyne_central_system() as central_system:
        async with a_gateway(central_system.url) as gateway, a_charge_point(answer) as charge_point:
            message = soap_request("Heartbeat", headers=from_header(charge_point.url))
            assert (await post(gateway.url, message)).status == 200
            told = await gateway.recorded()
            assert told.asked is not None
            address = re.search(rb"<wsa:From><wsa:Address>(.*?)</wsa:Address>", told.asked.text)
            assert address is not None
            service = SoapClient().service(address[1].decode())
            assert await asyncio.to_thread(service, "Reset", {"type": "Soft"}, "CP1") == {
                "status": "Accepted"
            }
            record = await gateway.recorded()
            assert (record.action, record.arrived_from, record.notes) == ("Reset", Side.CENTRAL_SYSTEM, ())
            assert body_of(charge_point.heard[0].encode()) == body_of(record.arrived.text)
            assert body_of(record.replied.text) == body_of(answer)


@needs_spyne
async def test_the_soap_central_system_stands_in_for_a_json_one() -> None:
    """What is sent while the first is away goes to the second; when it is back, to the first again."""
    async with a_central_system(USUAL_ANSWERS) as main:
        port, main_url = main.port, main.url
    with a_spyne_central_system() as legacy:
        async with a_gateway(legacy.url, main_url=main_url) as gateway:
            response = await post(gateway.url, soap_request("StartTransaction"))  # it waits for a connection
            assert response.status == 200
            assert [asked[1] for asked in legacy.asked] == ["StartTransaction"]
            [switched] = gateway.heard.told("fail-over")
            assert switched.labels == {"upstream": "legacy"}
            assert (await gateway.recorded()).upstream == "legacy"
            async with a_central_system(USUAL_ANSWERS, port) as main:
                await gateway.heard.until(lambda: bool(gateway.heard.told("fail-back")))
                assert (await post(gateway.url, soap_request("Heartbeat"))).status == 200
                assert [call[2] for call in main.calls] == ["Heartbeat"]
                assert (await gateway.recorded()).upstream == "main"
            assert len(legacy.asked) == 1


async def test_a_central_system_that_is_away_costs_no_transaction() -> None:
    async with a_central_system() as gone:
        url = gone.url.replace("ws:", "http:")
    async with a_gateway(url) as gateway:
        assert await post(gateway.url, soap_request("StopTransaction")) == Response(0, "", "")
        code, subcode, reason = fault((await post(gateway.url, soap_request("Heartbeat"))).body)
        assert (code, subcode) == ("Receiver", "InternalError")
        assert reason.startswith("GenericError: central system legacy: connection refused by 127.0.0.1:")
