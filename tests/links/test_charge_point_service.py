"""SOAP central systems on real sockets: what they ask of charge points, and how they are answered.

The charge points are links without transport; the central systems are plain bytes, zeep among them. What is
posted to them is in ``test_central_system_soap.py``.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import ip_network
from itertools import count
from typing import Any

import pytest
import zeep

from tests.fakes import (
    PATIENCE,
    FakeLink,
    Listened,
    Response,
    away,
    exchange_bytes,
    fault,
    get,
    listen,
    post,
    post_bytes,
)
from wattbridge.links.central_system_soap import Caller, ChargePointService
from wattbridge.links.listener import Listener
from wattbridge.ocpp.actions import dialect
from wattbridge.ocpp.errors import Violation
from wattbridge.ocpp.messages import Breach, Call, CallError, CallResult, Change, Original, Passage, Side
from wattbridge.ocpp.soap import DECLARATION, SOAP_11, SOAP_12, form_of
from wattbridge.ocpp.tolerances import WSA_2004, WSA_2005
from wattbridge.relay.journal import Event, Journal
from wattbridge.relay.registry import Registry
from wattbridge.relay.routes import Heard
from wattbridge.relay.session import Session

_zeep: Any = zeep  # it calls itself typed, but most of its functions are not

CP = "urn://Ocpp/Cp/2015/10/"
ACCEPTED = CallResult({"status": "Accepted"})
RESET = "<cp:resetRequest><cp:type>Hard</cp:type></cp:resetRequest>"


def identity_header(identity: str, namespace: str = CP) -> str:
    return f'<i:chargeBoxIdentity xmlns:i="{namespace}">{identity}</i:chargeBoxIdentity>'


def soap_call(
    header: str,
    body: str = RESET,
    *,
    soap: str = SOAP_12,
    wsa: str = WSA_2005,
    message_id: str = "urn:uuid:589e13ae",
) -> str:
    return (
        f'<soap:Envelope xmlns:soap="{soap}" xmlns:wsa="{wsa}" xmlns:cp="{CP}"><soap:Header>'
        f"<wsa:MessageID>{message_id}</wsa:MessageID>{header}</soap:Header>"
        f"<soap:Body>{body}</soap:Body></soap:Envelope>"
    )


@dataclass
class World:
    """A listener with ChargePointService; ``url`` is without the identity."""

    url: str
    service: ChargePointService
    registry: Registry
    heard: Listened
    charge_points: dict[str, FakeLink] = field(default_factory=dict)

    def connect(
        self, identity: str = "CP1", *, known_as: str = "", upstream: str = "legacy", form: str = ""
    ) -> FakeLink:
        """Open a session with a charge point that accepts everything."""

        def open_way(session: Session, heard: Heard) -> FakeLink:
            session.known_as, session.upstream = known_as or identity, upstream
            return FakeLink()

        self.registry.open_way = open_way
        session = self.registry.session(Heard(identity))
        link = self.charge_points[identity] = FakeLink(ACCEPTED, form=form)
        session.attach(Side.CHARGE_POINT, link)
        return link

    def session(self, identity: str = "CP1") -> Session:
        session = self.registry.find(identity)
        assert session is not None
        return session

    async def call(self, segment: str = "CP1", message: str = "", **options: Any) -> Response:
        return await post(f"{self.url}/{segment}", message or soap_call(identity_header("CP1")), **options)

    async def refused(self, segment: str = "CP1", message: str = "", **options: Any) -> tuple[str, str, str]:
        return fault((await self.call(segment, message, **options)).body)


@asynccontextmanager
async def a_world(
    callers: dict[str, Caller] | None = None, *, public_url: str = "", path: str = "/ocpp/cp/{charger}"
) -> AsyncIterator[World]:
    journal, numbers = Journal(), count(1)
    registry = Registry(journal, lambda session, heard: FakeLink())
    service = ChargePointService(
        registry,
        journal,
        dialect(),
        callers or {"legacy": Caller(answer_within=PATIENCE)},
        path=path,
        public_url=public_url,
        message_id=lambda: f"urn:uuid:ours-{next(numbers)}",
    )
    listener = Listener("soap", "127.0.0.1", 0, service.handle)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(registry.run())
        tasks.create_task(service.run())
        await listener.start()
        base = path.removesuffix("/{charger}")
        world = World(f"http://127.0.0.1:{listener.port}{base}", service, registry, listen(journal))
        try:
            yield world
        finally:
            for link in world.charge_points.values():
                link.may_answer.set()
            await listener.stop(0.1)
            service.stop()
            registry.stop()


# --- what is asked, and answered ---


async def test_a_call_is_answered() -> None:
    """OCPP-S 1.6, 3: what SteVe sends, which has no wsa:From."""
    request = (
        f'<soap:Envelope xmlns:soap="{SOAP_12}"><soap:Header>'
        f'<Action xmlns="{WSA_2005}">/Reset</Action>'
        f'<MessageID xmlns="{WSA_2005}">urn:uuid:c2dcf2ad-9a4a-4d68-a1cd-e6c5d0c1b8d1</MessageID>'
        f'<To xmlns="{WSA_2005}">http://gw.example/ocpp/cp/CP1</To>'
        f'<ReplyTo xmlns="{WSA_2005}"><Address>{WSA_2005}/anonymous</Address></ReplyTo>'
        f'<ns1:chargeBoxIdentity xmlns:ns1="{CP}">CP1</ns1:chargeBoxIdentity></soap:Header>'
        f'<soap:Body><resetRequest xmlns="{CP}"><type>Hard</type></resetRequest></soap:Body></soap:Envelope>'
    )
    async with a_world() as world:
        link = world.connect()
        response = await world.call(message=request)
        assert response.status == 200
        assert "\r\nContent-Type: application/soap+xml; charset=utf-8\r\n" in response.head
        assert response.body == (
            '<?xml version="1.0" encoding="UTF-8"?>\n'
            '<soap:Envelope xmlns:soap="http://www.w3.org/2003/05/soap-envelope" '
            'xmlns:wsa="http://www.w3.org/2005/08/addressing"><soap:Header>'
            "<wsa:Action>/ResetResponse</wsa:Action><wsa:MessageID>urn:uuid:ours-1</wsa:MessageID>"
            "<wsa:To>http://www.w3.org/2005/08/addressing/anonymous</wsa:To>"
            "<wsa:RelatesTo>urn:uuid:c2dcf2ad-9a4a-4d68-a1cd-e6c5d0c1b8d1</wsa:RelatesTo></soap:Header>"
            '<soap:Body><ocpp:resetResponse xmlns:ocpp="urn://Ocpp/Cp/2015/10/">'
            "<ocpp:status>Accepted</ocpp:status></ocpp:resetResponse></soap:Body></soap:Envelope>"
        )
        assert link.asked == [Call("Reset", {"type": "Hard"})]
        [record] = world.heard.records
        assert (record.identity, record.action, record.arrived_from) == ("CP1", "Reset", Side.CENTRAL_SYSTEM)
        assert (record.upstream, record.arrived, record.replied) == (
            "legacy",
            Passage("soap", request.encode()),
            Passage("soap", response.body.encode()),
        )


async def test_every_call_is_carried_whatever_its_message_id() -> None:
    """ev-server writes the same MessageID into all of them, and the identity in the namespace of 1.5."""
    header = identity_header("CP1", "urn://Ocpp/Cp/2012/06/")
    message = soap_call(header, message_id="urn:uuid:589e13ae-1787-49f8-ab8b-4567327b23c6")
    async with a_world() as world:
        link = world.connect()
        for _ in range(2):
            response = await world.call(message=message)
            assert (
                "<wsa:RelatesTo>urn:uuid:589e13ae-1787-49f8-ab8b-4567327b23c6</wsa:RelatesTo>"
                in response.body
            )
        assert len(link.asked) == 2


async def test_a_call_is_answered_in_its_own_versions() -> None:
    """SOAP 1.1 and WS-Addressing 2004/08."""
    async with a_world() as world:
        world.connect()
        response = await world.call(message=soap_call(identity_header("CP1"), soap=SOAP_11, wsa=WSA_2004))
        assert "\r\nContent-Type: text/xml; charset=utf-8\r\n" in response.head
        assert f'<soap:Envelope xmlns:soap="{SOAP_11}" xmlns:wsa="{WSA_2004}">' in response.body
        assert "<wsa:RelatesTo>urn:uuid:589e13ae</wsa:RelatesTo>" in response.body


@pytest.mark.parametrize(
    ("code", "said", "status"),
    [
        ("NotSupported", ("Receiver", "NotSupported"), 500),
        ("NotImplemented", ("Receiver", "NotSupported"), 500),
        ("PropertyConstraintViolation", ("Sender", "ProtocolError"), 400),
        ("InternalError", ("Receiver", "InternalError"), 500),
    ],
)
async def test_what_the_charge_point_refuses_is_a_fault(
    code: str, said: tuple[str, str], status: int
) -> None:
    async with a_world() as world:
        world.connect().outcome = CallError(code, "no, thank you")
        response = await world.call()
        assert (response.status, fault(response.body)) == (status, (*said, f"{code}: no, thank you"))


# --- as it is ---


async def test_a_call_and_its_reply_pass_as_they_are_to_a_charge_point_of_the_same_form() -> None:
    body = '<soap:Body><r:resetRequest xmlns:r="urn://Ocpp/Cp/2015/10/"><r:type>Hard</r:type><x/></r:resetRequest>'
    request = (
        soap_call(identity_header("CP1")).partition("<soap:Body>")[0] + body + "</soap:Body></soap:Envelope>"
    )
    opening = f'<E:Envelope xmlns:E="{SOAP_12}">'.encode()
    text = b'<E:Body><resetResponse xmlns="urn://Ocpp/Cp/2015/10/"/></E:Body></E:Envelope>'
    async with a_world() as world:
        link = world.connect(form=form_of(SOAP_12))
        link.outcome = CallResult({}, Original(form_of(SOAP_12), text, opening))
        response = await world.call(message=request)
        [call] = link.asked
        assert call.original is not None
        assert call.original.text.decode() == body + "</soap:Body></soap:Envelope>"
        assert call.original.opening.decode() == DECLARATION + request[: request.index("<soap:Header>")]
        assert response.body.startswith(f'{opening.decode()}<soap:Header xmlns:soap="{SOAP_12}" xmlns:wsa=')
        assert response.body.endswith(f"</soap:Header>{text.decode()}")
        [record] = world.heard.records
        assert [type(note) for note in record.arrived.notes] == [Breach]


async def test_a_fault_passes_as_it_is_under_its_own_status() -> None:
    original = Original(form_of(SOAP_12), b"<E:Body>a fault</E:Body></E:Envelope>", b"<E:Envelope>", 403)
    async with a_world() as world:
        link = world.connect(form=form_of(SOAP_12))
        link.outcome = CallError("NotSupported", original=original)
        response = await world.call()
        assert (response.status, "<E:Body>a fault</E:Body></E:Envelope>" in response.body) == (403, True)


async def test_what_breaks_the_schema_is_refused_where_that_is_wanted() -> None:
    broken = "<cp:resetRequest><cp:type>Hard</cp:type><cp:x/></cp:resetRequest>"
    async with a_world() as world:
        link = world.connect(form=form_of(SOAP_12))
        world.session().check = "refuse"
        code, subcode, reason = await world.refused(message=soap_call(identity_header("CP1"), broken))
        assert (code, subcode) == ("Sender", "ProtocolError")
        assert reason.startswith("FormationViolation: Reset.x: ")
        assert link.asked == []


async def test_another_form_is_translated() -> None:
    """And a translation refuses what the gateway does not understand, where a command is to be carried."""
    unusual = '<resetRequest xmlns="urn://Ocpp/Cp/2015/10"><type>Hard</type></resetRequest>'
    not_understood = "<cp:resetRequest><cp:type>Hard</cp:type><cp:x/></cp:resetRequest>"
    async with a_world() as world:
        link = world.connect(form="json 1.6")
        assert (await world.call(message=soap_call(identity_header("CP1"), unusual))).status == 200
        assert link.asked[0].original is None
        [record] = world.heard.records
        assert [type(note) for note in record.arrived.notes] == [Change]
        refused = await world.refused(message=soap_call(identity_header("CP1"), not_understood))
        assert refused[:2] == ("Sender", "ProtocolError")
        assert len(link.asked) == 1


# --- whom it is for ---


@pytest.mark.parametrize(
    ("identity", "segment"),
    [
        ("CP1", "CP1"),
        ("RDAM 1/2", "RDAM%201%2F2"),
        ("a%2Fb", "a%252Fb"),
        ("00:80:F4", "00:80:F4"),
        ("CP1", "CP1/"),
        ("ä", "%C3%A4"),
    ],
)
async def test_the_charge_point_is_named_by_the_last_segment_decoded_once(
    identity: str, segment: str
) -> None:
    async with a_world() as world:
        link = world.connect(identity)
        response = await world.call(segment, soap_call(identity_header(identity)))
        assert (response.status, len(link.asked)) == (200, 1)


async def test_the_path_is_found_in_any_letter_case_but_the_identity_is_not() -> None:
    async with a_world(path="/Ocpp/CP/{charger}") as world:
        world.connect()
        url = world.url.replace("/Ocpp/CP", "/oCPP/cp")
        assert (await post(f"{url}/CP1", soap_call(identity_header("CP1")))).status == 200
        assert (await post(f"{url}/cp1", soap_call(identity_header("CP1")))).status == 400


async def test_the_charge_point_is_found_by_what_its_central_system_calls_it() -> None:
    async with a_world() as world:
        link = world.connect("CP1", known_as="fleet-CP1")
        assert (await world.call("fleet-CP1", soap_call(identity_header("fleet-CP1")))).status == 200
        assert len(link.asked) == 1
        assert [(record.identity, record.known_as) for record in world.heard.records] == [
            ("CP1", "fleet-CP1")
        ]


async def test_the_identity_in_the_header_must_be_that_of_the_address() -> None:
    """OCPP 1.5, 8.2: Sender, IdentityMismatch."""
    async with a_world() as world:
        link = world.connect("CP2")
        response = await world.call("CP1", soap_call(identity_header("CP2")))
        assert (response.status, fault(response.body)) == (
            400,
            (
                "Sender",
                "IdentityMismatch",
                "Header.chargeBoxIdentity: found 'CP2', but this is the address of 'CP1'",
            ),
        )
        assert link.asked == []
        [record] = world.heard.records
        assert (record.identity, record.action, record.reason) == ("CP2", "Reset", "auth")
        assert record.replied == Passage("soap", response.body.encode())


async def test_a_call_without_identity_is_refused() -> None:
    async with a_world() as world:
        world.connect()
        assert await world.refused(message=soap_call("")) == (
            "Sender",
            "ProtocolError",
            "ProtocolError: Header.chargeBoxIdentity: is missing or empty, expected which charge point is "
            "called",
        )


async def test_a_charge_point_without_session_is_told_at_once() -> None:
    async with a_world() as world:
        assert await world.refused() == (
            "Receiver",
            "InternalError",
            "GenericError: charge point 'CP1' is not connected to this gateway",
        )
        [record] = world.heard.records
        assert (record.identity, record.reason, record.source) == ("CP1", "not_connected", "127.0.0.1")


async def test_a_charge_point_of_another_central_system_is_none_of_the_callers_business() -> None:
    async with a_world() as world:
        link = world.connect(upstream="cloud")
        assert (await world.refused())[2].endswith("charge point 'CP1' is not connected to this gateway")
        assert link.asked == []


@pytest.mark.parametrize("reason", ["not_connected", "refused", "timeout"])
async def test_a_charge_point_that_is_away_is_told_with_the_exact_reason(reason: str) -> None:
    async with a_world() as world:
        world.connect().outcome = away(reason, "charge point CP1 is not connected: it closed the connection")
        assert await world.refused() == (
            "Receiver",
            "InternalError",
            "GenericError: charge point CP1 is not connected: it closed the connection",
        )
        assert world.heard.records[0].reason == reason


# --- from where ---


async def test_only_networks_of_the_central_system_may_call() -> None:
    callers = {
        "legacy": Caller((ip_network("127.0.0.2/32"),)),
        "other": Caller((ip_network("127.0.0.3/32"),)),
    }
    async with a_world(callers) as world:
        link = world.connect()
        assert (await world.call(source="127.0.0.2")).status == 200
        for source in ("127.0.0.1", "127.0.0.3"):  # unknown, and another central system
            text = f"{source} is in no network from which charge points are called"
            assert await world.refused(source=source) == ("Sender", "SecurityError", f"SecurityError: {text}")
            event = Event("request refused", "CP1", text, "auth", {"listener": "soap", "source": source})
            assert world.heard.told("request refused")[-1] == event
        assert (len(link.asked), [record.reason for record in world.heard.records]) == (
            1,
            ["", "auth", "auth"],
        )


async def test_who_may_not_call_is_not_told_who_is_connected() -> None:
    async with a_world({"legacy": Caller((ip_network("127.0.0.2/32"),))}) as world:
        assert (await world.refused())[1] == "SecurityError"


def test_an_address_in_another_form_is_the_same() -> None:
    caller = Caller((ip_network("10.1.0.0/16"),))
    assert caller.may_call_from("::ffff:10.1.2.3")
    assert not caller.may_call_from("nowhere")
    assert Caller().may_call_from("nowhere")


# --- too late ---


async def test_a_late_reply_is_recorded_and_the_central_system_was_not_kept_waiting() -> None:
    async with a_world({"legacy": Caller(answer_within=0.02)}) as world:
        link = world.connect()
        link.may_answer.clear()
        response = await world.call()
        assert (response.status, fault(response.body)) == (
            500,
            ("Receiver", "InternalError", "GenericError: charge point CP1 did not answer within 0.02 s"),
        )
        assert world.heard.records == []
        link.may_answer.set()
        await world.heard.until(lambda: bool(world.heard.records))
        [record] = world.heard.records
        assert (record.reply, record.replied) == (ACCEPTED, Passage("soap", response.body.encode()))
        text = "the central system waits no more for the reply to Reset"
        late = Event("late reply", "CP1", text, labels={"side": "charge_point"})
        assert world.heard.told("late reply") == [late]


async def test_a_reply_that_never_comes_is_not_a_late_one() -> None:
    async with a_world({"legacy": Caller(answer_within=0.02)}) as world:
        link = world.connect()
        link.may_answer.clear()
        link.outcome = away("timeout")
        await world.call()
        link.may_answer.set()
        await world.heard.until(lambda: bool(world.heard.records))
        assert (world.heard.records[0].reason, world.heard.told("late reply")) == ("timeout", [])


async def test_a_mistake_of_ours_after_the_answer_is_loud_all_the_same() -> None:
    async with a_world({"legacy": Caller(answer_within=0.02)}) as world:
        link = world.connect()
        link.may_answer.clear()
        link.outcome = ZeroDivisionError("oops")
        assert (await world.call()).status == 500
        link.may_answer.set()
        await world.heard.until(lambda: bool(world.heard.records))
        assert (
            world.heard.told("internal error")[0].text == "Reset urn:uuid:589e13ae: ZeroDivisionError('oops')"
        )
        assert world.heard.records[0].replied == Passage("soap", b"")


async def test_an_answer_the_central_system_did_not_wait_for_is_told() -> None:
    async with a_world() as world:
        link = world.connect()
        link.may_answer.clear()
        host, port = world.url.removeprefix("http://").partition("/")[0].split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(post_bytes(f"{world.url}/CP1", soap_call(identity_header("CP1"))))
        await link.until_asked(1)
        writer.write_eof()
        await asyncio.sleep(0.05)  # for the end to arrive; nothing tells when it has
        link.may_answer.set()
        await reader.read()
        writer.close()
        text = "Reset: the central system had closed the connection before its answer came"
        assert world.heard.told("answer not delivered") == [Event("answer not delivered", "CP1", text)]


# --- what cannot be carried ---


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (
            "<cp:bootNotificationRequest/>",
            (
                "Receiver",
                "NotSupported",
                "NotSupported: Body.bootNotificationRequest: is not an operation that a charge point answers",
            ),
        ),
        (
            "<cp:resetRequest/>",
            ("Sender", "ProtocolError", "OccurenceConstraintViolation: Reset.type: is missing"),
        ),
        (
            "",
            (
                "Sender",
                "ProtocolError",
                "FormationViolation: Body: is empty, expected the element of an operation",
            ),
        ),
    ],
)
async def test_what_is_no_call_of_a_central_system_is_a_fault(body: str, said: tuple[str, str, str]) -> None:
    async with a_world() as world:
        link = world.connect()
        code, subcode, reason = await world.refused(message=soap_call(identity_header("CP1"), body))
        assert (code, subcode, reason[: len(said[2])]) == said
        assert link.asked == []
        [record] = world.heard.records
        assert (record.identity, record.upstream, record.arrived_from) == (
            "CP1",
            "legacy",
            Side.CENTRAL_SYSTEM,
        )


async def test_what_is_no_soap_is_a_fault() -> None:
    async with a_world() as world:
        code, subcode, reason = await world.refused(message="{}")
        assert (code, subcode) == ("Sender", "ProtocolError")
        assert "expected a SOAP envelope" in reason
        [record] = world.heard.records
        assert (record.identity, record.action, record.reason) == ("", "", "malformed")


async def test_a_result_that_soap_cannot_say_is_a_fault() -> None:
    async with a_world() as world:
        world.connect().outcome = CallResult({})
        assert (await world.refused())[:2] == ("Sender", "ProtocolError")


async def test_what_the_charge_points_encoding_cannot_say_is_a_fault() -> None:
    async with a_world() as world:
        world.connect().outcome = Violation("NotSupported", "Reset", "is not an action here", "unsupported")
        assert (await world.refused())[:2] == ("Receiver", "NotSupported")


async def test_a_mistake_of_ours_is_a_fault_and_loud() -> None:
    async with a_world() as world:
        world.connect().outcome = ZeroDivisionError("oops")
        said = ("Receiver", "InternalError", "InternalError: an error inside the gateway")
        assert await world.refused() == said
        [bug] = world.heard.told("internal error")
        assert (bug.identity, bug.text) == ("CP1", "Reset urn:uuid:589e13ae: ZeroDivisionError('oops')")
        assert [record.reason for record in world.heard.records] == ["internal"]


async def test_a_mistake_before_the_call_is_relayed_is_a_fault_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Session, "passes", None)
    async with a_world() as world:
        world.connect()
        assert (await world.refused())[2] == "InternalError: an error inside the gateway"
        assert world.heard.records[0].identity == "CP1"


async def test_a_stopping_gateway_takes_no_calls() -> None:
    async with a_world() as world:
        link = world.connect()
        world.service.stop()
        assert await world.refused() == ("Receiver", "InternalError", "GenericError: the gateway is stopping")
        assert (link.asked, world.heard.records[0].reason) == ([], "draining")


# --- the description ---


async def test_the_description_is_at_every_charge_points_address() -> None:
    async with a_world() as world:
        description = (await get(f"{world.url}/RDAM%201?wsdl")).body
        assert f'location="{world.url}/RDAM%201"' in description
        assert "ChargePointService" in description
        schema = description.partition(f'schemaLocation="{world.url}/RDAM%201?xsd=')[2].partition('"')[0]
        assert "resetRequest" in (await get(f"{world.url}/RDAM%201?xsd={schema}")).body
        assert (await get(f"{world.url}/RDAM%201?xsd=other")).status == 404
        assert "This is the OCPP-S address of a charge point" in (await get(f"{world.url}/CP1")).body


async def test_the_description_names_the_public_address() -> None:
    async with a_world(public_url="https://gw.example") as world:
        assert 'location="https://gw.example/ocpp/cp/CP1"' in (await get(f"{world.url}/CP1?wsdl")).body


async def test_other_paths_and_methods_are_answered_so() -> None:
    async with a_world() as world:
        elsewhere = world.url.removesuffix("/cp")
        for url in (world.url, f"{elsewhere}/CP1"):
            response = await post(url, soap_call(identity_header("CP1")))
            text = "no OCPP service at this path; there is one at /ocpp/cp/{charger}\n"
            assert (response.status, response.body) == (404, text)
        assert [event.text for event in world.heard.told("request refused")] == [
            f"no OCPP service at {path!r}; there is one at /ocpp/cp/{{charger}}"
            for path in ("/ocpp/cp", "/ocpp/CP1")
        ]
        assert (await get(elsewhere)).status == 404
        assert len(world.heard.events) == 2
        path = world.url.partition("/ocpp")[0] + "/ocpp/cp/CP1"
        answer = await exchange_bytes(
            path, b"PUT /ocpp/cp/CP1 HTTP/1.1\r\nHost: gw\r\nConnection: close\r\n\r\n"
        )
        assert answer.startswith(b"HTTP/1.1 405 ")
        assert b"\r\nAllow: POST, GET, HEAD\r\n" in answer


async def test_zeep_calls_from_the_description() -> None:
    async with a_world() as world:
        link = world.connect()

        def reset() -> Any:
            client = _zeep.Client(f"{world.url}/CP1?wsdl")
            return client.service.Reset(type="Soft", _soapheaders={"ChargeBoxIdentity": "CP1"})

        assert await asyncio.to_thread(reset) == "Accepted"
        assert link.asked == [Call("Reset", {"type": "Soft"})]


# --- central systems of older versions ---


@pytest.mark.parametrize(("version", "date"), [("1.5", "2012/06"), ("1.2", "2010/08")])
async def test_a_call_of_an_older_version_is_answered_in_it(version: str, date: str) -> None:
    unlock = "<cp:unlockConnectorRequest><cp:connectorId>1</cp:connectorId></cp:unlockConnectorRequest>"
    async with a_world() as world:
        link = world.connect()
        link.outcome = CallResult({"status": "NotSupported"})
        message = soap_call(identity_header("CP1"), unlock).replace("2015/10", date)
        response = await world.call(message=message)
        assert link.asked == [Call("UnlockConnector", {"connectorId": 1})]
        assert (
            f'<ocpp:unlockConnectorResponse xmlns:ocpp="urn://Ocpp/Cp/{date}/"><ocpp:status>Rejected'
            "</ocpp:status></ocpp:unlockConnectorResponse>"
        ) in response.body
        [record] = world.heard.records
        assert [(note.path, note.rule) for note in record.replied.notes] == [
            ("UnlockConnectorResponse.status", "older-word")
        ]


async def test_what_an_older_version_does_not_have_is_no_operation_of_it() -> None:
    async with a_world() as world:
        world.connect()
        profile = soap_call(identity_header("CP1"), "<cp:triggerMessageRequest/>").replace(
            "2015/10", "2012/06"
        )
        code, _, reason = await world.refused(message=profile)
        assert reason == "NotImplemented: Body.triggerMessageRequest: is not an operation of OCPP 1.5"
        assert code == "Receiver"
