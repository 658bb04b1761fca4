"""SOAP charge points on real sockets: what they post and read, and how they are called.

The central system is a link without transport; the charge points are plain bytes.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from ipaddress import ip_network
from itertools import count
from typing import Any

import pytest
import zeep

from tests.fakes import (
    REQUESTS,
    RESET,
    CannedChargePoint,
    CentralSystemAsks,
    FakeLink,
    Listened,
    Response,
    a_charge_point,
    away,
    exchange_bytes,
    fault,
    from_header,
    get,
    http_response,
    listen,
    post,
    post_bytes,
    soap_request,
    soap_result,
)
from wattbridge.links.callbacks import AddressPolicy, CallbackClient
from wattbridge.links.charge_point_soap import (
    MOST_WAITING,
    CentralSystemService,
    ChargePointLink,
    HeardFrom,
)
from wattbridge.links.charge_points import ChargePoint
from wattbridge.links.listener import Listener
from wattbridge.ocpp.actions import dialect
from wattbridge.ocpp.errors import Unreachable
from wattbridge.ocpp.messages import Call, CallError, CallResult, Passage, Payload, Side
from wattbridge.relay.journal import Event, Journal
from wattbridge.relay.registry import Registry
from wattbridge.relay.session import TRANSACTION_ACTIONS, Answer

_zeep: Any = zeep  # it calls itself typed, but most of its functions are not

LOOPBACK = ip_network("127.0.0.0/8")
ACCEPTED = CallResult({"status": "Accepted"})
RESET_ACCEPTED = http_response(soap_result("resetResponse", "<cp:status>Accepted</cp:status>"))

SAID: dict[str, Payload] = {  # what the central system answers
    "Authorize": {"idTagInfo": {"status": "Accepted"}},
    "BootNotification": {"status": "Accepted", "currentTime": "2024-05-01T10:00:00Z", "interval": 300},
    "DataTransfer": {"status": "Accepted"},
    "Heartbeat": {"currentTime": "2024-05-01T10:00:00Z"},
    "MeterValues": {},
    "StartTransaction": {"transactionId": 7, "idTagInfo": {"status": "Accepted"}},
    "StatusNotification": {},
    "StopTransaction": {},
}


class CentralSystem(FakeLink):
    """Answers every action with what it usually says, as long as ``outcome`` is no error."""

    async def call(self, call: Call) -> Answer:
        answer = await super().call(call)
        if isinstance(answer.reply, CallError):
            return answer
        return Answer(CallResult(SAID[call.action]), answer.asked, answer.answered)


@dataclass
class World(CentralSystemAsks):
    """A listener with CentralSystemService; ``url`` is where charge points post."""

    url: str
    central_system: CentralSystem
    registry: Registry
    heard: Listened


@asynccontextmanager
async def a_world(
    charge_point: Callable[[str], ChargePoint | None] | None = None,
    *,
    policy: AddressPolicy | None = None,
    public_url: str = "",
    paths: tuple[str, ...] = ("/ocpp/cs", "/steve/services/CentralSystemService"),
    callback_timeout: float = 5.0,
    most_sessions: int = 100,
) -> AsyncIterator[World]:
    journal, central_system, numbers = Journal(), CentralSystem(), count(1)
    heard = listen(journal)
    registry = Registry(journal, lambda session, heard: central_system, most_sessions=most_sessions)
    client = CallbackClient(timeout=callback_timeout)
    service = CentralSystemService(
        registry,
        journal,
        lambda identity, source, listener: charge_point(identity) if charge_point else ChargePoint(dialect()),
        dialect(),
        policy or AddressPolicy(networks=(LOOPBACK,)),
        client,
        paths=paths,
        public_url=public_url,
        message_id=lambda: f"urn:uuid:ours-{next(numbers)}",
    )
    listener = Listener("soap", "127.0.0.1", 0, service.handle)
    failed = None
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(registry.run())
        await listener.start()
        try:
            yield World(f"http://127.0.0.1:{listener.port}{paths[0]}", central_system, registry, heard)
        except Exception as error:  # of the test: raised when all have stopped, and not in a group
            failed = error
        finally:
            central_system.may_answer.set()
            await listener.stop(0.5)
            registry.stop()
            await client.close()
    if failed is not None:
        raise failed


# --- serving CentralSystemService ---


async def test_a_call_is_answered_with_what_the_central_system_said() -> None:
    async with a_world() as world:
        response = await post(world.url, soap_request("Heartbeat"))
        assert response.status == 200
        assert "Content-Type: application/soap+xml; charset=utf-8\r\n" in response.head
        assert response.body == (
            '<?xml version="1.0" encoding="UTF-8"?>\n'
            '<soap:Envelope xmlns:soap="http://www.w3.org/2003/05/soap-envelope" '
            'xmlns:wsa="http://www.w3.org/2005/08/addressing"><soap:Header>'
            "<wsa:Action>/HeartbeatResponse</wsa:Action><wsa:MessageID>urn:uuid:ours-1</wsa:MessageID>"
            "<wsa:To>http://www.w3.org/2005/08/addressing/anonymous</wsa:To>"
            "<wsa:RelatesTo>urn:uuid:1</wsa:RelatesTo></soap:Header><soap:Body>"
            '<ocpp:heartbeatResponse xmlns:ocpp="urn://Ocpp/Cs/2015/10/">'
            "<ocpp:currentTime>2024-05-01T10:00:00Z</ocpp:currentTime></ocpp:heartbeatResponse>"
            "</soap:Body></soap:Envelope>"
        )
        assert world.central_system.asked == [Call("Heartbeat", {})]
        [record] = world.heard.records
        assert record.arrived.text.decode() == soap_request("Heartbeat")
        assert record.replied.text.decode() == response.body


@pytest.mark.parametrize("action", sorted(REQUESTS))
async def test_every_usual_call_is_answered(action: str) -> None:
    async with a_world() as world:
        response = await post(world.url, soap_request(action))
        assert response.status == 200
        assert f"<wsa:Action>/{action}Response</wsa:Action>" in response.body


@pytest.mark.parametrize(
    "path",
    [
        "/ocpp/cs",
        "/ocpp/cs/",
        "/OCPP/CS",
        "/ocpp/cs?charger=CP1",
        "/ocpp/cs/?a=b&c",
        "/steve/services/centralsystemservice/",
        "/%6fcpp/cs",
    ],
)
async def test_the_path_is_taken_in_any_spelling(path: str) -> None:
    async with a_world() as world:
        response = await post(world.url.replace("/ocpp/cs", path), soap_request("Heartbeat"))
        assert response.status == 200


async def test_another_path_names_those_there_are() -> None:
    async with a_world() as world:
        response = await post(world.url.replace("/ocpp/cs", "/ocpp"), soap_request("Heartbeat"))
        assert (response.status, response.body) == (
            404,
            "no OCPP service at this path; there is one at /ocpp/cs, /steve/services/CentralSystemService\n",
        )


async def test_a_service_at_the_root_is_found() -> None:
    async with a_world(paths=("/",)) as world:
        assert (await post(world.url, soap_request("Heartbeat"))).status == 200


async def test_other_methods_are_not_for_ocpp() -> None:
    async with a_world() as world:
        data = await exchange_bytes(
            world.url, b"PUT /ocpp/cs HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        )
        assert data.startswith(b"HTTP/1.1 405 ")
        assert b"Allow: POST, GET, HEAD\r\n" in data


async def test_whoever_looks_is_told_what_this_is() -> None:
    async with a_world() as world:
        response = await get(world.url)
        assert response.status == 200
        assert response.body == (
            "This is the OCPP-S address of a Wattbridge gateway.\n"
            "Charge points that speak OCPP-S POST their SOAP messages to /ocpp/cs, "
            "/steve/services/CentralSystemService; the service description is at ?wsdl.\n"
        )


# --- wrong addresses ---

BOTH = ("/ocpp/cs", "/ocpp/{charger}")


def at(world: World, path: str) -> str:
    return world.url.replace("/ocpp/cs", path)


@pytest.mark.parametrize("path", ["/ocpp/CP1", "/OCPP/CP1/", "/ocpp", "/ocpp/cs/CP1"])
async def test_a_message_at_the_address_of_websockets_is_served_and_told_of_once(path: str) -> None:
    """Operators give one URL to charge points of both kinds."""
    async with a_world(paths=BOTH) as world:
        for _ in range(2):
            assert (await post(at(world, path), soap_request("Heartbeat"))).status == 200
        text = (
            f"it posts its messages to '{path}', which is no address of OCPP-S; that is served, "
            "but its address is /ocpp/cs"
        )
        labels = {"listener": "soap", "source": "127.0.0.1"}
        assert world.heard.told("wrong address") == [Event("wrong address", "CP1", text, labels=labels)]


async def test_each_charge_point_with_a_wrong_address_is_told_of() -> None:
    async with a_world(paths=BOTH) as world:
        for identity in ("CP1", "CP2"):
            await post(at(world, f"/ocpp/{identity}"), soap_request("Heartbeat", identity))
        assert [event.identity for event in world.heard.told("wrong address")] == ["CP1", "CP2"]


async def test_what_the_message_says_counts_and_not_the_path() -> None:
    async with a_world(paths=BOTH) as world:
        assert (await post(at(world, "/ocpp/CP%202"), soap_request("Heartbeat", "CP1"))).status == 200
        assert [session.identity for session in world.registry.sessions()] == ["CP1"]
        [told] = world.heard.told("wrong address")
        assert told.text.endswith(
            "its address is /ocpp/cs. The path names charge point 'CP 2'; what the message says counts"
        )


async def test_a_path_that_names_nobody_in_utf_8_is_served_too() -> None:
    async with a_world(paths=BOTH) as world:
        assert (await post(at(world, "/ocpp/%FF"), soap_request("Heartbeat"))).status == 200
        assert "names" not in world.heard.told("wrong address")[0].text


async def test_where_no_address_is_for_soap_another_listener_has_it() -> None:
    async with a_world(paths=("/ocpp/{charger}",)) as world:
        url = world.url.replace("{charger}", "CP1")
        assert (await post(url, soap_request("Heartbeat"))).status == 200
        assert world.heard.told("wrong address")[0].text.endswith("its address is that of another listener")


async def test_whoever_is_not_known_is_not_told_of() -> None:
    async with a_world(lambda identity: None, paths=BOTH) as world:
        await post(at(world, "/ocpp/CP1"), soap_request("Heartbeat"))
        assert world.heard.told("wrong address") == []


# --- the description ---


async def test_zeep_reads_the_description_and_calls_what_it_says() -> None:
    async with a_world() as world:

        def call_as_zeep() -> Any:
            client = _zeep.Client(f"{world.url}?wsdl")
            [service] = client.wsdl.services.values()
            [port] = service.ports.values()
            assert port.binding_options["address"] == world.url
            return client.service.Authorize(idTag="TAG", _soapheaders={"ChargeBoxIdentity": "CP1"})

        answer = await asyncio.to_thread(call_as_zeep)
        assert answer["status"] == "Accepted"
        assert world.central_system.asked == [Call("Authorize", {"idTag": "TAG"})]


async def test_the_description_names_the_public_address() -> None:
    async with a_world(public_url="https://gw.example.net/") as world:
        body = (await get(f"{world.url}/?WSDL")).body
        assert 'location="https://gw.example.net/ocpp/cs"' in body
        assert 'schemaLocation="https://gw.example.net/ocpp/cs?xsd=' in body


async def test_the_description_says_the_path_it_was_asked_at() -> None:
    async with a_world() as world:
        other = world.url.replace("/ocpp/cs", "/STEVE/services/CentralSystemService")
        expected = world.url.replace("/ocpp/cs", "/steve/services/CentralSystemService")
        assert f'location="{expected}"' in (await get(f"{other}?wsdl=1")).body


async def test_the_schema_is_served_and_no_other_file() -> None:
    async with a_world() as world:
        [name] = set(re.findall(r"\?xsd=([\w.-]+)", (await get(f"{world.url}?wsdl")).body))
        assert "<xs:schema" in (await get(f"{world.url}?xsd={name}")).body
        for other in ("", "../1.6/" + name, "%2e%2e/pyproject.toml", "nothing.xsd"):
            response = await get(f"{world.url}?xsd={other}")
            assert (response.status, response.body) == (404, "no such schema\n")


@pytest.mark.parametrize("host", ['x"><evil/>', "a b", "\xff\xfe", "x/../y", ""])
async def test_a_host_that_is_none_does_not_get_into_the_description(host: str) -> None:
    async with a_world() as world:
        request = f"GET /ocpp/cs?wsdl HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        data = await exchange_bytes(world.url, request.encode("latin-1"))
        assert data.startswith(b"HTTP/1.1 400 ") or b'location="http://localhost/ocpp/cs"' in data


# --- what is refused ---


async def test_an_unknown_charge_point_is_refused_and_nothing_is_made_for_it() -> None:
    async with a_world(lambda identity: None) as world:
        response = await post(world.url, soap_request("BootNotification", "CP9"))
        assert response.status == 400
        assert fault(response.body) == (
            "Sender",
            "SecurityError",
            "SecurityError: Header.chargeBoxIdentity: charge point 'CP9' is not known to this gateway",
        )
        assert len(world.registry) == 0
        assert world.central_system.asked == []
        [record] = world.heard.records
        assert (record.identity, record.action, record.reason) == ("CP9", "BootNotification", "auth")
        assert world.heard.events == []


async def test_also_a_transaction_message_of_an_unknown_charge_point_is_refused() -> None:
    async with a_world(lambda identity: None) as world:
        assert (await post(world.url, soap_request("StopTransaction"))).status == 400


@pytest.mark.parametrize("identity", ["", "   "])
async def test_a_message_of_nobody_is_refused(identity: str) -> None:
    async with a_world() as world:
        response = await post(world.url, soap_request("Heartbeat", identity))
        assert fault(response.body)[:2] == ("Sender", "ProtocolError")
        assert len(world.registry) == 0


@pytest.mark.parametrize("body", ["", "hello", "<a/>", "<html><body>login</body></html>", "{}"])
async def test_what_is_no_envelope_is_refused(body: str) -> None:
    async with a_world() as world:
        response = await post(world.url, body)
        assert response.status == 400
        assert fault(response.body)[:2] == ("Sender", "ProtocolError")
        [record] = world.heard.records
        assert (record.identity, record.action, record.reason) == ("", "", "malformed")


async def test_a_message_that_breaks_the_schema_is_refused_with_its_path() -> None:
    async with a_world() as world:
        broken = soap_request("Authorize", inside="<cs:idTag>MORE-THAN-TWENTY-CHARACTERS</cs:idTag>")
        response = await post(world.url, broken)
        code, subcode, reason = fault(response.body)
        assert (code, subcode) == ("Sender", "ProtocolError")
        assert "Authorize.idTag" in reason
        assert world.central_system.asked == []
        assert len(world.registry) == 0
        assert world.heard.records[0].reason == "schema"


async def test_a_broken_transaction_message_gets_a_fault() -> None:
    """It would not be better the next time."""
    async with a_world() as world:
        assert (await post(world.url, soap_request("StopTransaction", inside=""))).status == 400


async def test_a_charge_point_that_sends_broken_messages_is_alive() -> None:
    async with a_world() as world:
        await post(world.url, soap_request("Heartbeat"))
        session = world.registry.find("CP1")
        assert session is not None
        session.heard = 0.0
        await post(world.url, soap_request("Authorize", inside=""))
        assert session.heard > 0.0


async def test_a_soap_1_1_charge_point_gets_faults_of_soap_1_1() -> None:
    async with a_world(lambda identity: None) as world:
        old = soap_request("Heartbeat").replace(
            "http://www.w3.org/2003/05/soap-envelope", "http://schemas.xmlsoap.org/soap/envelope/"
        )
        for body in (old, "<x" + old):
            response = await post(world.url, body)
            assert response.status == 500
            assert "<faultcode>soap:Client." in response.body


# --- what cannot be delivered ---


@pytest.mark.parametrize("reason", ["timeout", "unreachable", "refused", "not_connected", "busy", "draining"])
@pytest.mark.parametrize("action", sorted(TRANSACTION_ACTIONS))
async def test_a_transaction_message_that_is_not_delivered_gets_not_a_byte(action: str, reason: str) -> None:
    """Any answer would be the answer (OCPP 1.6 errata 3.2)."""
    async with a_world() as world:
        world.central_system.outcome = away(reason)
        assert await exchange_bytes(world.url, post_bytes(world.url, soap_request(action))) == b""
        [record] = world.heard.records
        assert (record.reason, record.replied) == (reason, Passage("soap", b""))


@pytest.mark.parametrize("action", ["Heartbeat", "BootNotification", "Authorize", "StatusNotification"])
async def test_other_messages_get_a_fault(action: str) -> None:
    async with a_world() as world:
        world.central_system.outcome = away("refused", "central system main: it refused the connection")
        response = await post(world.url, soap_request(action))
        assert response.status == 500
        assert fault(response.body) == (
            "Receiver",
            "InternalError",
            "GenericError: central system main: it refused the connection",
        )


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("SecurityError", ("Sender", "SecurityError")),
        ("NotSupported", ("Receiver", "NotSupported")),
        ("PropertyConstraintViolation", ("Sender", "ProtocolError")),
        ("InternalError", ("Receiver", "InternalError")),
    ],
)
@pytest.mark.parametrize("action", ["StopTransaction", "Authorize"])
async def test_what_the_central_system_refuses_is_a_fault(
    action: str, code: str, said: tuple[str, str]
) -> None:
    async with a_world() as world:
        world.central_system.outcome = CallError(code, "no, thank you")
        response = await post(world.url, soap_request(action))
        assert fault(response.body) == (*said, f"{code}: no, thank you")


@pytest.mark.parametrize("action", sorted(TRANSACTION_ACTIONS))
async def test_a_login_page_in_the_place_of_the_central_system_costs_no_transaction(action: str) -> None:
    async with a_world() as world:
        page = CallError("GenericError", "answered HTTP 200 with an HTML page", reason="malformed")
        world.central_system.outcome = page
        assert await post(world.url, soap_request(action)) == Response(0, "", "")
        assert fault((await post(world.url, soap_request("Heartbeat"))).body)[0] == "Receiver"


async def test_one_session_too_many_is_refused_as_busy() -> None:
    async with a_world(most_sessions=1) as world:
        await post(world.url, soap_request("Heartbeat", "CP1"))
        assert fault((await post(world.url, soap_request("Heartbeat", "CP2"))).body)[0] == "Receiver"
        assert await post(world.url, soap_request("StopTransaction", "CP2")) == Response(0, "", "")
        assert [record.reason for record in world.heard.records] == ["", "busy", "busy"]


async def test_a_stopping_gateway_opens_no_session() -> None:
    async with a_world() as world:
        world.registry.drain()
        assert await post(world.url, soap_request("StartTransaction")) == Response(0, "", "")
        assert world.heard.records[0].reason == "draining"


# --- our own mistakes ---


async def test_a_mistake_of_ours_is_a_fault_and_loud() -> None:
    async with a_world() as world:
        world.central_system.outcome = ZeroDivisionError("oops")
        response = await post(world.url, soap_request("Heartbeat"))
        assert response.status == 500
        assert fault(response.body) == (
            "Receiver",
            "InternalError",
            "InternalError: an error inside the gateway",
        )
        assert world.heard.told("internal error") == [
            Event("internal error", "CP1", "Heartbeat urn:uuid:1: ZeroDivisionError('oops')", "internal")
        ]
        assert world.heard.records[0].reason == "internal"
        world.central_system.outcome = CallResult({})
        assert (await post(world.url, soap_request("Heartbeat"))).status == 200


@pytest.mark.parametrize("action", sorted(TRANSACTION_ACTIONS))
async def test_a_mistake_of_ours_does_not_cost_a_transaction(action: str) -> None:
    async with a_world() as world:
        world.central_system.outcome = ZeroDivisionError("oops")
        assert await post(world.url, soap_request(action)) == Response(0, "", "")
        assert len(world.heard.told("internal error")) == 1


async def test_a_mistake_before_the_call_was_read_costs_no_transaction_either() -> None:
    def fail(identity: str) -> ChargePoint | None:
        raise ZeroDivisionError("oops")

    async with a_world(fail) as world:
        assert await post(world.url, soap_request("StopTransaction")) == Response(0, "", "")
        assert (await post(world.url, soap_request("Heartbeat"))).status == 500


async def test_an_answer_the_charge_point_did_not_wait_for_is_told() -> None:
    """It will send the message again, so somebody should know that it was carried once already."""
    async with a_world() as world:
        world.central_system.may_answer.clear()
        host, port = world.url.removeprefix("http://").partition("/")[0].split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        body = soap_request("StartTransaction")
        head = f"POST /ocpp/cs HTTP/1.1\r\nHost: gw\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write((head + body).encode())
        await world.central_system.until_asked(1)
        writer.write_eof()
        await asyncio.sleep(0.05)  # for the end to arrive; nothing tells when it has
        world.central_system.may_answer.set()
        await reader.read()
        writer.close()
        text = "StartTransaction: the charge point had closed the connection before its answer came"
        assert world.heard.told("answer not delivered") == [Event("answer not delivered", "CP1", text)]


# --- calling ChargePointService ---


async def speak(world: World, url: str, *, source: str = "127.0.0.1", action: str = "Heartbeat") -> None:
    header = from_header(url) if url else ""
    assert (await post(world.url, soap_request(action, headers=header), source=source)).status == 200


async def test_a_call_is_posted_to_the_address_in_wsa_from() -> None:
    async with a_charge_point(RESET_ACCEPTED, path="/ocpp/CP1?x=1") as charge_point, a_world() as world:
        await speak(world, charge_point.url)
        assert await world.call(RESET) == ACCEPTED
        head, _, body = (await charge_point.request()).partition("\r\n\r\n")
        host = charge_point.url.split("/")[2]
        assert head.startswith(f"POST /ocpp/CP1?x=1 HTTP/1.1\r\nHost: {host}\r\n")
        assert 'Content-Type: application/soap+xml; charset=utf-8; action="/Reset"' in head
        assert body == (
            '<?xml version="1.0" encoding="UTF-8"?>\n'
            '<soap:Envelope xmlns:soap="http://www.w3.org/2003/05/soap-envelope" '
            'xmlns:wsa="http://www.w3.org/2005/08/addressing" xmlns:ocpp="urn://Ocpp/Cp/2015/10/"><soap:Header>'
            "<ocpp:chargeBoxIdentity>CP1</ocpp:chargeBoxIdentity>"
            '<wsa:Action soap:mustUnderstand="true">/Reset</wsa:Action>'
            "<wsa:MessageID>urn:uuid:ours-2</wsa:MessageID>"
            "<wsa:ReplyTo><wsa:Address>http://www.w3.org/2005/08/addressing/anonymous</wsa:Address></wsa:ReplyTo>"
            f'<wsa:To soap:mustUnderstand="true">{charge_point.url}</wsa:To>'
            "</soap:Header><soap:Body><ocpp:resetRequest><ocpp:type>Hard</ocpp:type></ocpp:resetRequest></soap:Body>"
            "</soap:Envelope>"
        )
        record = world.heard.records[-1]
        assert record.asked == Passage("soap", body.encode())
        assert record.answered is not None
        assert record.answered.text == RESET_ACCEPTED.partition(b"\r\n\r\n")[2]


async def test_the_public_address_is_told_as_wsa_from() -> None:
    async with (
        a_charge_point(RESET_ACCEPTED) as charge_point,
        a_world(public_url="http://gw.example.net:8080") as world,
    ):
        await speak(world, charge_point.url)
        await world.call(RESET)
        assert (
            "<wsa:From><wsa:Address>http://gw.example.net:8080/ocpp/cs</wsa:Address></wsa:From>"
            in await charge_point.request()
        )


ANONYMOUS = "http://www.w3.org/2005/08/addressing/anonymous"


async def test_reply_to_is_an_address_when_it_is_not_anonymous() -> None:
    async with a_charge_point(RESET_ACCEPTED) as charge_point, a_world() as world:
        for address, expected in ((ANONYMOUS, "not_connected"), (charge_point.url, "")):
            header = f"<wsa:ReplyTo><wsa:Address>{address}</wsa:Address></wsa:ReplyTo>"
            await post(world.url, soap_request("Heartbeat", headers=header))
            await world.call(RESET)
            assert world.heard.records[-1].reason == expected


async def test_an_address_that_was_named_once_stays() -> None:
    """Some charge points name it in their BootNotification only."""
    async with a_charge_point(RESET_ACCEPTED) as charge_point, a_world() as world:
        await speak(world, charge_point.url, action="BootNotification")
        await speak(world, "")
        await speak(world, ANONYMOUS)
        assert await world.call(RESET) == ACCEPTED


async def test_a_new_address_of_the_same_host_replaces_the_old_one() -> None:
    async with (
        a_charge_point(RESET_ACCEPTED) as old,
        a_charge_point(RESET_ACCEPTED) as new,
        a_world() as world,
    ):
        await speak(world, old.url)
        await speak(world, new.url)
        await world.call(RESET)
        assert (len(old.heard), len(new.heard)) == (0, 1)


async def test_a_charge_point_without_an_address_cannot_be_called() -> None:
    async with a_world() as world:
        await speak(world, "")
        assert await world.failure() == (
            "not_connected",
            "no usable callback address for CP1: no wsa:From; no template configured",
        )


async def test_an_address_that_may_not_be_called_is_named() -> None:
    async with a_world(policy=AddressPolicy()) as world:
        await speak(world, "http://127.0.0.1:9999/cp")
        reason, said = await world.failure()
        assert reason == "not_connected"
        assert "wsa:From 'http://127.0.0.1:9999/cp' refused (loopback address)" in said


async def test_a_pinned_address_is_used_whatever_the_charge_point_says() -> None:
    async with a_charge_point(RESET_ACCEPTED) as charge_point:
        pinned = ChargePoint(
            dialect(), callback_url=charge_point.url, to="http://10.1.1.1/as-it-knows-itself"
        )
        async with a_world(lambda identity: pinned, policy=AddressPolicy()) as world:
            await speak(world, "http://10.0.0.1/elsewhere")
            assert await world.call(RESET) == ACCEPTED
            request = await charge_point.request()
            assert '<wsa:To soap:mustUnderstand="true">http://10.1.1.1/as-it-knows-itself</wsa:To>' in request


async def test_more_calls_than_may_wait_are_refused_at_once() -> None:
    async with a_charge_point(RESET_ACCEPTED) as charge_point, a_world() as world:
        charge_point.may_answer.clear()
        await post(world.url, soap_request("Heartbeat", headers=from_header(charge_point.url)))
        async with asyncio.TaskGroup() as tasks:
            waiting = [tasks.create_task(world.call(RESET)) for _ in range(MOST_WAITING + 1)]
            await charge_point.request()
            said = f"{MOST_WAITING} calls wait already; Reset was not sent"
            assert await world.failure() == ("busy", said)
            charge_point.may_answer.set()
        assert {str(call.result()) for call in waiting} == {str(ACCEPTED)}


async def test_what_is_configured_anew_counts_from_its_next_message() -> None:
    """An operator pins an address because calls fail, and does not wait for the session to end."""
    async with a_charge_point(RESET_ACCEPTED) as charge_point:
        known = ChargePoint(dialect())
        async with a_world(lambda identity: known, policy=AddressPolicy()) as world:
            await post(world.url, soap_request("Heartbeat"))
            assert (await world.failure())[0] == "not_connected"
            known = replace(known, callback_url=charge_point.url)
            await post(world.url, soap_request("Heartbeat"))
            assert await world.call(RESET) == ACCEPTED


async def test_a_pinned_address_is_tried_once_whoever_else_speaks() -> None:
    async with a_charge_point() as gone:
        pinned = ChargePoint(dialect(), callback_url=gone.url)
    async with a_world(lambda identity: pinned) as world:
        await speak(world, "")
        await speak(world, "", source="127.0.0.2")
        assert (await world.failure())[0] == "refused"
        assert world.heard.told("callback address") == []


async def test_a_template_makes_an_address_of_where_the_message_came_from() -> None:
    async with a_charge_point(RESET_ACCEPTED) as charge_point:
        port = charge_point.url.rpartition(":")[2].partition("/")[0]
        template = f"http://{{source_ip}}:{port}/{{charger}}"
        async with a_world(policy=AddressPolicy(networks=(LOOPBACK,), template=template)) as world:
            await speak(world, "")
            assert await world.call(RESET) == ACCEPTED
            assert (await charge_point.request()).startswith("POST /CP1 HTTP/1.1\r\n")


async def test_a_charge_point_is_called_in_the_soap_it_speaks() -> None:
    async with a_charge_point(RESET_ACCEPTED) as charge_point, a_world() as world:
        old = (
            soap_request("Heartbeat", headers=from_header(charge_point.url))
            .replace("http://www.w3.org/2003/05/soap-envelope", "http://schemas.xmlsoap.org/soap/envelope/")
            .replace(
                "http://www.w3.org/2005/08/addressing", "http://schemas.xmlsoap.org/ws/2004/08/addressing"
            )
        )
        assert (await post(world.url, old)).status == 200
        await world.call(RESET)
        request = await charge_point.request()
        assert "Content-Type: text/xml; charset=utf-8\r\n" in request
        assert 'SOAPAction: "/Reset"\r\n' in request
        assert 'xmlns:soap="http://schemas.xmlsoap.org/soap/envelope/"' in request
        assert 'xmlns:wsa="http://schemas.xmlsoap.org/ws/2004/08/addressing"' in request


# --- a charge point that is not there ---


async def test_a_charge_point_that_refuses_the_connection_is_told_at_once() -> None:
    async with a_charge_point() as gone:
        url = gone.url
    async with a_world() as world:
        await speak(world, url)
        assert await world.failure() == ("refused", f"connection refused by {url.split('/')[2]}")
        assert world.heard.records[-1].asked is None


async def test_a_charge_point_that_does_not_answer_times_out() -> None:
    async with a_charge_point(RESET_ACCEPTED) as charge_point, a_world(callback_timeout=0.05) as world:
        charge_point.may_answer.clear()
        await speak(world, charge_point.url)
        where = charge_point.url.split("/")[2]
        uncertain = "it was sent, and whether the charge point has done it is uncertain"
        assert await world.failure() == ("timeout", f"no answer from {where} within 0.05 s; {uncertain}")
        record = world.heard.records[-1]
        assert record.asked is not None
        assert b"<ocpp:resetRequest>" in record.asked.text
        assert record.answered is None


async def test_a_charge_point_that_hangs_up_is_unreachable() -> None:
    async with a_charge_point(b"") as charge_point, a_world() as world:
        await speak(world, charge_point.url)
        reason, said = await world.failure()
        assert reason == "unreachable"
        assert "closed the connection without an answer; " in said
        assert said.endswith("whether the charge point has done it is uncertain")


async def test_an_answer_that_is_no_soap_shows_its_first_bytes() -> None:
    page = http_response("<html><body>Router login</body></html>", content_type="text/html")
    async with a_charge_point(page) as charge_point, a_world() as world:
        await speak(world, charge_point.url)
        assert await world.failure() == (
            "malformed",
            "answered HTTP 200 with an HTML page: '<html><body>Router login</body></html>'",
        )


async def test_a_fault_of_the_charge_point_is_its_refusal() -> None:
    said = soap_result("x").replace(
        "<cp:x></cp:x>",
        "<s:Fault><s:Code><s:Value>s:Receiver</s:Value><s:Subcode><s:Value>cp:NotSupported</s:Value></s:Subcode>"
        '</s:Code><s:Reason><s:Text xml:lang="en">no such thing</s:Text></s:Reason></s:Fault>',
    )
    async with (
        a_charge_point(http_response(said, "500 Internal Server Error")) as charge_point,
        a_world() as world,
    ):
        await speak(world, charge_point.url)
        assert await world.call(RESET) == CallError("NotSupported", "no such thing", reason="fault")


async def test_a_command_that_soap_cannot_say_is_refused_and_not_sent() -> None:
    async with a_charge_point(RESET_ACCEPTED) as charge_point, a_world() as world:
        await speak(world, charge_point.url)
        reply = await world.call(Call("Reset", {"type": "Hard\x00"}))
        assert isinstance(reply, CallError)
        assert reply.reason == "untranslatable"
        assert charge_point.heard == []


# --- one at a time, and no deadlock ---


async def test_calls_to_a_charge_point_are_made_one_at_a_time() -> None:
    async with a_charge_point(RESET_ACCEPTED) as charge_point, a_world() as world:
        await speak(world, charge_point.url)
        charge_point.may_answer.clear()
        async with asyncio.TaskGroup() as tasks:
            replies = [tasks.create_task(world.call(RESET)) for _ in range(3)]
            await charge_point.request()
            await asyncio.sleep(0.02)
            assert len(charge_point.heard) == 1
            charge_point.may_answer.set()
        assert [reply.result() for reply in replies] == [ACCEPTED] * 3
        assert len(charge_point.heard) == 3


async def test_a_call_while_the_charge_point_waits_for_an_answer_is_served() -> None:
    async with a_charge_point(RESET_ACCEPTED) as charge_point, a_world() as world:
        await speak(world, charge_point.url)
        world.central_system.may_answer.clear()
        async with asyncio.TaskGroup() as tasks:
            waiting = tasks.create_task(post(world.url, soap_request("StartTransaction")))
            await world.central_system.until_asked(2)
            assert await world.call(RESET) == ACCEPTED
            assert not waiting.done()
            world.central_system.may_answer.set()
        assert "<ocpp:transactionId>7</ocpp:transactionId>" in waiting.result().body


async def test_a_charge_point_may_speak_before_it_answers() -> None:
    async with a_charge_point(RESET_ACCEPTED) as charge_point, a_world() as world:
        await speak(world, charge_point.url)

        async def tell_status() -> None:
            assert (await post(world.url, soap_request("StatusNotification"))).status == 200

        charge_point.before_answer = tell_status
        assert await world.call(RESET) == ACCEPTED
        assert [record.action for record in world.heard.records] == [
            "Heartbeat",
            "StatusNotification",
            "Reset",
        ]


async def test_the_time_of_the_charge_point_is_not_the_gateways() -> None:
    async with a_charge_point(RESET_ACCEPTED) as charge_point, a_world() as world:
        await speak(world, charge_point.url)

        async def think() -> None:
            await asyncio.sleep(0.05)

        charge_point.before_answer = think
        await world.call(RESET)
        record = world.heard.records[-1]
        assert 0.05 <= record.peer_seconds <= record.seconds


# --- a second host that speaks for the same identity (docs/decisions/0006) ---


@asynccontextmanager
async def two_hosts() -> AsyncIterator[tuple[CannedChargePoint, CannedChargePoint, World]]:
    """The charge point at 127.0.0.1, and somebody at 127.0.0.2 who says to be it too; both may be called."""
    async with (
        a_charge_point(RESET_ACCEPTED) as first,
        a_charge_point(RESET_ACCEPTED, host="127.0.0.2") as second,
        a_world() as world,
    ):
        await speak(world, first.url)
        await speak(world, second.url, source="127.0.0.2")
        yield first, second, world


async def test_calls_go_on_to_the_old_address_while_that_answers() -> None:
    async with two_hosts() as (first, second, world):
        for _ in range(2):
            assert await world.call(RESET) == ACCEPTED
        assert (len(first.heard), len(second.heard)) == (2, 0)
        assert world.heard.told("callback address") == [
            Event(
                "callback address",
                "CP1",
                "127.0.0.2 speaks for it too; calls go to 127.0.0.1 while that answers",
            )
        ]


async def test_a_fault_is_an_answer() -> None:
    async with two_hosts() as (first, second, world):
        said = soap_result("x").replace("<cp:x></cp:x>", "<s:Fault></s:Fault>")
        first.answer = lambda request: http_response(said, "500 Internal Server Error")
        for _ in range(2):
            await world.call(RESET)
        assert (len(first.heard), len(second.heard)) == (2, 0)


async def test_the_new_address_takes_its_place_at_once_when_nothing_was_sent() -> None:
    async with a_charge_point() as gone:
        url = gone.url
    async with a_charge_point(RESET_ACCEPTED, host="127.0.0.2") as second, a_world() as world:
        await speak(world, url)
        await speak(world, second.url, source="127.0.0.2")
        assert await world.call(RESET) == ACCEPTED
        assert len(second.heard) == 1
        assert world.heard.told("callback address")[-1].text == "moved to 127.0.0.2"


async def test_what_may_have_been_sent_is_not_sent_again() -> None:
    async with two_hosts() as (first, second, world):
        first.answer = lambda request: b""
        assert (await world.failure())[0] == "unreachable"
        assert (len(first.heard), len(second.heard)) == (1, 0)
        assert await world.call(RESET) == ACCEPTED
        assert (len(first.heard), len(second.heard)) == (1, 1)


async def test_whatever_sits_at_the_old_address_now_is_no_charge_point() -> None:
    async with two_hosts() as (first, second, world):
        first.answer = lambda request: http_response("<html>printer</html>", "404 Not Found", "text/html")
        assert (await world.failure())[0] == "malformed"
        assert await world.call(RESET) == ACCEPTED
        assert (len(first.heard), len(second.heard)) == (1, 1)


async def test_the_charge_point_itself_speaking_again_settles_it() -> None:
    async with two_hosts() as (first, second, world):
        await speak(world, first.url)
        first.answer = lambda request: b""
        for _ in range(2):
            assert (await world.failure())[0] == "unreachable"
        assert second.heard == []


async def test_whoever_claims_an_identity_often_is_told_of_once() -> None:
    async with two_hosts() as (_, second, world):
        for path in range(20):
            await speak(world, f"{second.url}/{path}", source="127.0.0.2")
        assert len(world.heard.told("callback address")) == 1


# --- the link by itself ---


def a_link() -> tuple[ChargePointLink, Listened]:
    journal = Journal()
    link = ChargePointLink("CP1", ChargePoint(dialect()), AddressPolicy(), CallbackClient(), journal)
    return link, listen(journal)


async def test_a_link_that_has_heard_nothing_cannot_call() -> None:
    link, _ = a_link()
    with pytest.raises(Unreachable, match="CP1 has not been heard of"):
        await link.call(RESET)


async def test_a_closed_link_takes_no_calls() -> None:
    link, _ = a_link()
    link.heard_from(HeardFrom("127.0.0.1", "http://127.0.0.1/cp"))
    await link.close("the charge point is silent")
    with pytest.raises(Unreachable, match="the charge point is silent; Reset was not sent") as gone:
        await link.call(RESET)
    assert gone.value.reason == "draining"


# --- older versions ---


def in_1_5(action: str, **more: Any) -> str:
    return soap_request(action, **more).replace("2015/10", "2012/06")


async def test_what_is_known_of_a_charge_point_survives_a_restart_with_its_version() -> None:
    async with a_world() as world:
        await post(world.url, in_1_5("Heartbeat", headers=from_header("http://127.0.0.1:9/cp")))
        session = world.registry.find("CP1")
        assert session is not None
        assert '"ocpp": "1.5"' in session.callback
        assert session.links[Side.CHARGE_POINT].version == "1.5"
        await post(world.url, soap_request("Heartbeat", headers=from_header("http://127.0.0.1:9/cp")))
        assert '"ocpp"' not in session.callback
        assert session.links[Side.CHARGE_POINT].version == "1.6"


async def test_the_description_of_an_older_version_is_served() -> None:
    async with a_world() as world:
        text = (await get(f"{world.url}?wsdl&version=1.5")).body
        assert 'targetNamespace="urn://Ocpp/Cs/2012/06/"' in text
        [name] = set(re.findall(r"\?xsd=([\w.]+)&amp;version=1.5", text))
        schema = await get(f"{world.url}?xsd={name}&version=1.5")
        assert 'targetNamespace="urn://Ocpp/Cs/2012/06/"' in schema.body
        unknown = await get(f"{world.url}?wsdl&version=1.7")
        assert (unknown.status, unknown.body) == (404, "no such version; there are 1.2, 1.5 and 1.6\n")


async def test_a_charge_point_that_speaks_another_version_is_told_of() -> None:
    async with a_world() as world:
        await post(world.url, in_1_5("Heartbeat"))
        await post(world.url, soap_request("Heartbeat"))
        await post(world.url, soap_request("Heartbeat"))
        told = [event.text for event in world.heard.events if event.kind == "version changed"]
        assert told == ["it speaks OCPP 1.6 now, and spoke 1.5 before"]
