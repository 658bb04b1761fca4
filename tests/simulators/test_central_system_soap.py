"""The simulated SOAP central system: between it and the SOAP charge point there is nothing, and bare bytes
see how it answers.
"""

from __future__ import annotations

import asyncio
import gzip
import http.client
import re
import threading
import zlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.interop.operations import Asked, Payload
from wattbridge.simulators.central_system import ALL, Transaction
from wattbridge.simulators.central_system_soap import SoapCentralSystem
from wattbridge.simulators.charge_point_soap import SoapChargePoint
from wattbridge.simulators.outcomes import Exchange, Refused, Unanswered

from .all_operations import CALLS, IDENTITY, Full, Seen, Told, go_through_all, meant

NOW = datetime(2024, 5, 1, 10, 0, tzinfo=UTC)
ENVELOPE = """\
<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" xmlns:a="http://www.w3.org/2005/08/addressing" \
xmlns:c="urn://Ocpp/Cs/2015/10/"><s:Header>\
<c:chargeBoxIdentity>CP1</c:chargeBoxIdentity><a:Action>/{action}</a:Action><a:MessageID>m-1</a:MessageID>\
<a:From><a:Address>{address}</a:Address></a:From><a:To>{url}</a:To>\
</s:Header><s:Body>{body}</s:Body></s:Envelope>"""
ADDRESS = "http://127.0.0.1:9/CP1"
AUTHORIZE = "<c:authorizeRequest><c:idTag>A</c:idTag></c:authorizeRequest>"
START = (
    "<c:startTransactionRequest><c:connectorId>1</c:connectorId><c:idTag>A</c:idTag>"
    "<c:timestamp>2024-05-01T10:00:00Z</c:timestamp><c:meterStart>1000</c:meterStart>"
    "</c:startTransactionRequest>"
)
PREFIX = re.compile(r"(</?)\w+:")
NAMESPACES = re.compile(r' xmlns:?\w*="[^"]*"')


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    text: str

    @property
    def body(self) -> str:
        """What stands in the body, without prefixes and namespaces."""
        bare = NAMESPACES.sub("", PREFIX.sub(r"\1", self.text))
        found = re.search(r"<Body>(.*)</Body>", bare)
        assert found is not None
        return found[1]

    def header(self, name: str) -> list[str]:
        return re.findall(rf"<\w+:{name}>([^<]*)<", self.text)


def a_request(central_system: SoapCentralSystem, action: str, body: str) -> str:
    return ENVELOPE.format(action=action, address=ADDRESS, url=central_system.url, body=body)


async def post(
    central_system: SoapCentralSystem,
    body: str | bytes,
    *,
    path: str = "/ocpp",
    method: str = "POST",
    connection: http.client.HTTPConnection | None = None,
    **headers: str,
) -> Answer:
    """One request, on a connection of its own unless one is given."""
    sent = {"Content-Type": "application/soap+xml; charset=utf-8"}
    sent |= {name.replace("_", "-"): value for name, value in headers.items()}
    own = connection is None
    connection = connection or a_connection(central_system)

    def exchange() -> Answer:
        connection.request(method, path, body.encode() if isinstance(body, str) else body, sent)
        response = connection.getresponse()
        raw = response.read()
        found = {name: value for name, value in response.getheaders()}
        if found.get("Content-Encoding") == "gzip":
            raw = gzip.decompress(raw)
        elif found.get("Content-Encoding") == "deflate":
            raw = zlib.decompress(raw)
        if own:
            connection.close()
        return Answer(response.status, found, raw.decode())

    return await asyncio.to_thread(exchange)


def a_connection(central_system: SoapCentralSystem) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(central_system.host, central_system.port, timeout=5)


async def ask(central_system: SoapCentralSystem, action: str, body: str) -> Answer:
    return await post(central_system, a_request(central_system, action, body))


@pytest.fixture
async def central_system() -> AsyncIterator[SoapCentralSystem]:
    async with SoapCentralSystem(call_timeout=5.0, now=lambda: NOW) as central_system:
        yield central_system


def a_charge_point(central_system: SoapCentralSystem, **options: Any) -> SoapChargePoint:
    return SoapChargePoint("CP1", central_system.url, call_timeout=5.0, now=lambda: NOW, **options)


# --- All there is to say, between the two witnesses ------------------------------------------------------


class FullCentralSystem(Full, SoapCentralSystem):
    pass


class ToldChargePoint(Told, SoapChargePoint):
    pass


@pytest.fixture(scope="module")
def seen() -> Seen:
    async def go() -> Seen:
        central_system = FullCentralSystem(heartbeat_interval=86400, now=lambda: NOW, call_timeout=5.0)
        async with central_system:  # its port is known now, and stays
            pass
        charge_point = ToldChargePoint(IDENTITY, central_system.url, call_timeout=5.0)
        async with central_system, charge_point:
            return await go_through_all(central_system, charge_point)

    return asyncio.run(go())


@pytest.mark.parametrize(("key", "example"), CALLS)
def test_call_arrives_and_its_result_returns(seen: Seen, key: tuple[str, str, str], example: Asked) -> None:
    assert meant(seen.arrived[key]) == meant(example.asked)
    assert meant(seen.returned[key]) == meant(example.answered)


def test_no_witness_saw_a_rule_broken(seen: Seen) -> None:
    assert seen.problems == []


# --- Answering -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("action", "asked", "answered"),
    [
        (
            "Authorize",
            AUTHORIZE,
            "<authorizeResponse><idTagInfo><status>Accepted</status></idTagInfo></authorizeResponse>",
        ),
        (
            "BootNotification",
            "<c:bootNotificationRequest><c:chargePointVendor>V</c:chargePointVendor>"
            "<c:chargePointModel>M</c:chargePointModel></c:bootNotificationRequest>",
            "<bootNotificationResponse><status>Accepted</status>"
            "<currentTime>2024-05-01T10:00:00+00:00</currentTime><interval>300</interval>"
            "</bootNotificationResponse>",
        ),
        (
            "DataTransfer",
            "<c:dataTransferRequest><c:vendorId>V</c:vendorId><c:data>&lt;a&gt;</c:data></c:dataTransferRequest>",
            "<dataTransferResponse><status>Accepted</status><data>&lt;a&gt;</data></dataTransferResponse>",
        ),
        (
            "DiagnosticsStatusNotification",
            "<c:diagnosticsStatusNotificationRequest><c:status>Idle</c:status>"
            "</c:diagnosticsStatusNotificationRequest>",
            "<diagnosticsStatusNotificationResponse/>",
        ),
        (
            "FirmwareStatusNotification",
            "<c:firmwareStatusNotificationRequest><c:status>Idle</c:status>"
            "</c:firmwareStatusNotificationRequest>",
            "<firmwareStatusNotificationResponse/>",
        ),
        (
            "Heartbeat",
            "<c:heartbeatRequest/>",
            "<heartbeatResponse><currentTime>2024-05-01T10:00:00+00:00</currentTime></heartbeatResponse>",
        ),
        (
            "MeterValues",
            "<c:meterValuesRequest><c:connectorId>1</c:connectorId></c:meterValuesRequest>",
            "<meterValuesResponse/>",
        ),
        (
            "StartTransaction",
            START,
            "<startTransactionResponse><transactionId>1</transactionId><idTagInfo><status>Accepted</status>"
            "</idTagInfo></startTransactionResponse>",
        ),
        (
            "StatusNotification",
            "<c:statusNotificationRequest><c:connectorId>0</c:connectorId><c:status>Available</c:status>"
            "<c:errorCode>NoError</c:errorCode></c:statusNotificationRequest>",
            "<statusNotificationResponse/>",
        ),
        (
            "StopTransaction",
            "<c:stopTransactionRequest><c:transactionId>9</c:transactionId>"
            "<c:timestamp>2024-05-01T10:00:00Z</c:timestamp><c:meterStop>1</c:meterStop>"
            "</c:stopTransactionRequest>",
            "<stopTransactionResponse/>",
        ),
    ],
)
async def test_counted_actions_is_answered(
    central_system: SoapCentralSystem, action: str, asked: str, answered: str
) -> None:
    answer = await ask(central_system, action, asked)
    assert (answer.status, answer.body) == (200, answered)
    assert answer.headers["Content-Type"] == "application/soap+xml; charset=utf-8"
    assert answer.header("Action") == [f"/{action}Response"]
    assert answer.header("RelatesTo") == ["m-1"]
    assert answer.header("To") == ["http://www.w3.org/2005/08/addressing/anonymous"]
    assert re.fullmatch(r"urn:uuid:[0-9a-f-]{36}", answer.header("MessageID")[0])
    assert [(identity, name) for identity, name, _ in central_system.received] == [("CP1", action)]
    assert central_system.problems == []


async def test_transactions_are_numbered_and_remembered(central_system: SoapCentralSystem) -> None:
    central_system.next_transaction_id = 7
    async with a_charge_point(central_system) as charge_point:
        await charge_point.power_up()
        assert await charge_point.charge("A") == {"status": "Accepted", "transactionId": 7}
    assert central_system.transactions == {7: Transaction("CP1", 1, "A", 1000, 1750, "Local")}


async def test_idtags_are_those_it_knows_in_any_case() -> None:
    async with (
        SoapCentralSystem(id_tags={"ABC": "Accepted", "X": "Blocked"}) as central_system,
        a_charge_point(central_system) as charge_point,
    ):
        found = [(await charge_point.authorize(tag))["idTagInfo"]["status"] for tag in ("abc", "X", "Y")]
    assert found == ["Accepted", "Blocked", "Invalid"]


async def test_a_connection_is_kept(central_system: SoapCentralSystem) -> None:
    connection = a_connection(central_system)
    connection.connect()
    mine = connection.sock.getsockname()
    for _ in range(3):
        request = a_request(central_system, "Authorize", AUTHORIZE)
        assert (await post(central_system, request, connection=connection)).status == 200
        assert connection.sock.getsockname() == mine
    connection.close()


@pytest.mark.parametrize(("encoding", "compress"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
async def test_a_compressed_request_is_answered_alike(
    central_system: SoapCentralSystem, encoding: str, compress: Any
) -> None:
    """OCPP-S 1.5, 8.6."""
    body = compress(a_request(central_system, "Authorize", AUTHORIZE).encode())
    answer = await post(central_system, body, Content_Encoding=encoding)
    assert (answer.status, answer.headers["Content-Encoding"]) == (200, encoding)
    assert answer.body.startswith("<authorizeResponse>")
    assert central_system.problems == []


@pytest.mark.parametrize(
    ("encoding", "status", "problem"),
    [
        ("gzip", 400, "Content-Encoding: gzip, but the body is not (Error -3"),
        ("br", 415, "Content-Encoding: br; expected gzip or deflate"),
    ],
)
async def test_a_body_that_cannot_be_inflated_is_noted(
    central_system: SoapCentralSystem, encoding: str, status: int, problem: str
) -> None:
    body = a_request(central_system, "Authorize", AUTHORIZE)
    assert (await post(central_system, body, Content_Encoding=encoding)).status == status
    assert [found[: len(problem)] for found in central_system.problems] == [problem]


async def test_what_is_posted_elsewhere_is_not_found(central_system: SoapCentralSystem) -> None:
    assert (await post(central_system, "", path="/")).status == 404
    assert (await post(central_system, "", method="GET")).status == 405
    assert central_system.problems == [
        "POST to '/'; this central system is at '/ocpp'",
        "GET '/ocpp'; expected POST",
    ]


# --- Breaches --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (
            "<c:authorizeRequest/>",
            "Authorize: Element 'authorizeRequest': Missing child element(s). Expected is ( idTag ).",
        ),
        (
            "<c:authorizeRequest><c:idTag>123456789012345678901</c:idTag></c:authorizeRequest>",
            "Authorize: Element 'idTag': [facet 'maxLength'] The value has a length of '21'; this exceeds "
            "the allowed maximum length of '20'.",
        ),
        (
            "<c:authorizeRequest><c:idTag>1</c:idTag><c:more/></c:authorizeRequest>",
            "Authorize: Element 'more': This element is not expected.",
        ),
        (
            "<c:startTransactionRequest><c:idTag>A</c:idTag><c:connectorId>1</c:connectorId>"
            "</c:startTransactionRequest>",
            "StartTransaction: Element 'idTag': This element is not expected. Expected is ( connectorId ).",
        ),
    ],
)
async def test_what_breaks_the_schema_is_noted_and_refused(
    central_system: SoapCentralSystem, body: str, problem: str
) -> None:
    answer = await ask(central_system, problem.partition(":")[0], body)
    assert answer.status == 400
    assert answer.header("Action") == ["http://www.w3.org/2005/08/addressing/fault"]
    assert answer.header("RelatesTo") == ["m-1"]
    assert "<Code><Value>soap12env:Sender</Value><Subcode><Value>cs:ProtocolError</Value>" in answer.body
    assert 'xmlns:cs="urn://Ocpp/Cs/2015/10/"' in answer.text
    assert (central_system.problems, central_system.received) == ([problem], [])


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("<a:MessageID>m-1</a:MessageID>", "", "Authorize: wsa:MessageID []; expected exactly one"),
        ("<a:Action>/A", "<a:Action>A", "Authorize: wsa:Action is 'Authorize'; expected '/Authorize'"),
        (
            f"<a:Address>{ADDRESS}</a:Address>",
            ADDRESS,
            "Authorize: wsa:From with wsa:Address ['']; expected one at most, and not empty",
        ),
        (
            "<a:Action>",
            '<a:Action s:mustUnderstand="yes">',
            "Authorize: mustUnderstand='yes' on Action is not a boolean",
        ),
    ],
)
async def test_a_header_out_of_order_is_noted_and_answered(
    central_system: SoapCentralSystem, old: str, new: str, problem: str
) -> None:
    request = a_request(central_system, "Authorize", AUTHORIZE)
    assert old in request
    answer = await post(central_system, request.replace(old, new))
    assert answer.status == 200
    assert central_system.problems == [problem]


@pytest.mark.parametrize(
    ("old", "new", "code", "problem"),
    [
        (
            "<c:chargeBoxIdentity>CP1</c:chargeBoxIdentity>",
            "",
            "cs:ProtocolError",
            "Authorize: 0 chargeBoxIdentity headers; expected one",
        ),
        (
            "<c:chargeBoxIdentity>CP1<",
            "<c:chargeBoxIdentity> <",
            "cs:ProtocolError",
            "Authorize: 0 chargeBoxIdentity headers; expected one",
        ),
        (
            "authorizeRequest",
            "sparkleRequest",
            "cs:NotSupported",
            "<{urn://Ocpp/Cs/2015/10/}sparkleRequest> is no request of CentralSystemService 1.6",
        ),
        (AUTHORIZE, "", "cs:ProtocolError", "the body holds 0 elements; expected one"),
        ("<s:Envelope", "<!DOCTYPE x><s:Envelope", "cs:ProtocolError", "a document type declaration"),
        ("</s:Envelope>", "", "cs:ProtocolError", "not XML ("),
    ],
)
async def test_a_request_that_is_none_is_noted_and_refused(
    central_system: SoapCentralSystem, old: str, new: str, code: str, problem: str
) -> None:
    request = a_request(central_system, "Authorize", AUTHORIZE)
    assert old in request
    answer = await post(central_system, request.replace(old, new))
    assert answer.status == (500 if code == "cs:NotSupported" else 400)
    assert f"<Subcode><Value>{code}</Value></Subcode>" in answer.body
    assert [found[: len(problem)] for found in central_system.problems] == [problem]


async def test_to_soap_1_1_it_says_what_it_speaks(central_system: SoapCentralSystem) -> None:
    """SOAP 1.2 part 1, appendix A."""
    request = a_request(central_system, "Authorize", AUTHORIZE).replace(
        "http://www.w3.org/2003/05/soap-envelope", "http://schemas.xmlsoap.org/soap/envelope/"
    )
    answer = await post(central_system, request, Content_Type="text/xml")
    assert (answer.status, answer.headers["Content-Type"]) == (500, "text/xml; charset=utf-8")
    assert "<faultcode>soap:VersionMismatch</faultcode>" in answer.text
    assert central_system.problems == ["a SOAP 1.1 envelope; OCPP-S is SOAP 1.2"]


# --- Calling ---------------------------------------------------------------------------------------------


async def test_a_charge_point_can_be_called_once_it_was_heard(central_system: SoapCentralSystem) -> None:
    with pytest.raises(Unanswered, match="ClearCache: CP1 has not said where it can be called"):
        await central_system.call("CP1", "ClearCache")
    async with a_charge_point(central_system) as charge_point:
        async with asyncio.TaskGroup() as tasks:
            waiting = tasks.create_task(central_system.connection_of("CP1"))
            await charge_point.heartbeat()
        assert waiting.result() is None
        assert central_system.connected == ["CP1"]
        assert await central_system.call("CP1", "ClearCache") == {"status": "Accepted"}
        assert central_system.answered == {"CP1": 1}
    assert charge_point.problems == central_system.problems == []


async def test_an_address_that_is_given_counts(central_system: SoapCentralSystem) -> None:
    async with a_charge_point(central_system) as charge_point:
        await ask(central_system, "Heartbeat", "<c:heartbeatRequest/>")  # from where nobody listens
        central_system.addresses["CP1"] = charge_point.callback_url
        assert await central_system.call("CP1", "ClearCache") == {"status": "Accepted"}


async def test_an_address_that_changed_is_followed(central_system: SoapCentralSystem) -> None:
    for _ in range(2):
        async with a_charge_point(central_system) as charge_point:
            await charge_point.heartbeat()
            assert await central_system.call("CP1", "ClearCache") == {"status": "Accepted"}


async def test_a_charge_point_that_is_gone_is_told(central_system: SoapCentralSystem) -> None:
    await ask(central_system, "Heartbeat", "<c:heartbeatRequest/>")
    with pytest.raises(Unanswered, match="ClearCache: no answer"):
        await central_system.call("CP1", "ClearCache")


async def test_a_fault_of_the_charge_point_is_raised(central_system: SoapCentralSystem) -> None:
    async with a_charge_point(central_system) as charge_point:
        await charge_point.heartbeat()
        charge_point.refuse("Reset", Refused("Receiver", "NotSupported", "no relay"))
        with pytest.raises(Refused, match="Receiver/NotSupported: no relay"):
            await central_system.call("CP1", "Reset", type="Soft")


@pytest.mark.parametrize("payload", [{}, {"type": "Warm"}, {"type": "Soft", "more": 1}])
async def test_a_payload_that_breaks_the_schema_is_not_sent(
    central_system: SoapCentralSystem, payload: Payload
) -> None:
    async with a_charge_point(central_system) as charge_point:
        await charge_point.heartbeat()
        with pytest.raises(ValueError, match="Reset: "):
            await central_system.call("CP1", "Reset", **payload)
        assert charge_point.received == []


async def test_calls_to_one_charge_point_take_turns(central_system: SoapCentralSystem) -> None:
    at_once, most = 0, 0
    counting = threading.Lock()

    class Counting(SoapChargePoint):
        def _answer(self, action: str, payload: Payload) -> Payload:
            nonlocal at_once, most
            with counting:
                at_once += 1
                most = max(most, at_once)
            answer = super()._answer(action, payload)
            with counting:
                at_once -= 1
            return answer

    async with Counting("CP1", central_system.url) as charge_point:
        await charge_point.heartbeat()
        async with asyncio.TaskGroup() as tasks:
            for _ in range(5):
                tasks.create_task(central_system.call("CP1", "ClearCache"))
    assert (most, len(charge_point.received)) == (1, 5)


# --- What makes it awkward -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "status", "code"),
    [
        ("SecurityError", 400, "Sender"),
        ("IdentityMismatch", 400, "Sender"),
        ("ProtocolError", 400, "Sender"),
        ("NotSupported", 500, "Receiver"),
        ("InternalError", 500, "Receiver"),
    ],
)
async def test_it_can_answer_with_a_fault(
    central_system: SoapCentralSystem, word: str, status: int, code: str
) -> None:
    central_system.errors["Authorize"] = (word, "not <today>")
    assert (await ask(central_system, "Authorize", AUTHORIZE)).status == status
    async with a_charge_point(central_system) as charge_point:
        with pytest.raises(Refused) as refused:
            await charge_point.authorize("A")
    found = refused.value
    assert (found.code, found.subcode, found.reason) == (code, word, "not <today>")
    assert charge_point.problems == central_system.problems == []


async def test_unknown_charge_points_are_refused() -> None:
    async with (
        SoapCentralSystem(known=["CP2"]) as central_system,
        a_charge_point(central_system) as charge_point,
    ):
        with pytest.raises(Refused, match="Sender/IdentityMismatch: 'CP1' is unknown here"):
            await charge_point.heartbeat()


@pytest.mark.parametrize("actions", [{"Heartbeat"}, {ALL}])
async def test_it_can_hang_up(central_system: SoapCentralSystem, actions: set[str]) -> None:
    central_system.hang_up_on = actions
    async with a_charge_point(central_system) as charge_point:
        with pytest.raises(Unanswered, match="Heartbeat: no answer"):
            await charge_point.heartbeat()
    assert [action for _, action, _ in central_system.received] == ["Heartbeat"]
    assert central_system.problems == []


async def test_it_can_be_silent_until_it_is_stopped() -> None:
    async with SoapCentralSystem() as central_system:
        central_system.silent_on = {"Heartbeat"}
        async with SoapChargePoint("CP1", central_system.url, call_timeout=0.05) as impatient:
            with pytest.raises(Unanswered, match="Heartbeat: no answer"):
                await impatient.heartbeat()
        async with a_charge_point(central_system) as charge_point:
            await charge_point.authorize("A")


async def test_it_can_take_its_time(central_system: SoapCentralSystem) -> None:
    told: list[Exchange] = []
    central_system.on_exchange = told.append
    central_system.answer_delay = 0.05
    await ask(central_system, "Authorize", AUTHORIZE)
    [exchange] = told
    assert exchange.seconds >= 0.05


async def test_it_can_refuse_whoever_connects(central_system: SoapCentralSystem) -> None:
    central_system.refuse_handshakes = 503
    assert (await ask(central_system, "Authorize", AUTHORIZE)).status == 503
    assert central_system.received == []


async def test_it_can_be_pending(central_system: SoapCentralSystem) -> None:
    central_system.boot_status = "Pending"
    async with a_charge_point(central_system) as charge_point:
        assert (await charge_point.boot())["status"] == "Pending"


async def test_a_password_is_asked_for() -> None:
    async with SoapCentralSystem(passwords={"CP1": b"secret:\xab"}) as central_system:
        answer = await ask(central_system, "Authorize", AUTHORIZE)
        assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, 'Basic realm="OCPP"')
        async with a_charge_point(central_system, password="wrong") as charge_point:
            with pytest.raises(Unanswered):
                await charge_point.heartbeat()
        async with a_charge_point(central_system, password=b"secret:\xab") as charge_point:
            await charge_point.heartbeat()


async def test_somebody_elses_password_is_noted() -> None:
    async with SoapCentralSystem(passwords={"CP2": "secret"}) as central_system:
        request = a_request(central_system, "Authorize", AUTHORIZE)
        credential = "Q1AyOnNlY3JldA=="  # CP2:secret
        answer = await post(central_system, request, Authorization=f"Basic {credential}")
        assert answer.status == 200
        assert central_system.problems == ["CP1: sent with the password of 'CP2'"]


async def test_a_connection_can_be_cut(central_system: SoapCentralSystem) -> None:
    for cut in (central_system.hang_up, None):
        connection = a_connection(central_system)
        request = a_request(central_system, "Authorize", AUTHORIZE)
        await post(central_system, request, connection=connection)
        if cut is None:
            central_system.cut("CP1")
        else:
            await cut("CP1")
        assert await asyncio.to_thread(connection.sock.recv, 1) == b""
        connection.close()


async def test_a_fault_of_the_simulator_is_loud() -> None:
    class Broken(SoapCentralSystem):
        def id_tag_info(self, id_tag: str) -> Payload:
            raise RuntimeError("a fault of the simulator")

    async with Broken() as central_system:
        assert (await ask(central_system, "Authorize", AUTHORIZE)).status == 500
    [problem] = central_system.problems
    assert problem.endswith("RuntimeError: a fault of the simulator\n")


async def test_it_can_be_started_again_at_the_same_port() -> None:
    central_system = SoapCentralSystem()
    urls = set()
    for _ in range(2):
        async with central_system, a_charge_point(central_system) as charge_point:
            await charge_point.heartbeat()
            await central_system.call("CP1", "ClearCache")
            urls.add(central_system.url)
    assert len(urls) == 1
    await central_system.stop()
    with pytest.raises(Unanswered, match="the central system is not started"):
        await central_system.call("CP1", "ClearCache")


# --- Habits ----------------------------------------------------------------------------------------------


async def request_of(habits: Any) -> str:
    """What a ClearCache looks like on the wire."""
    loop = asyncio.get_running_loop()
    heard: asyncio.Future[str] = loop.create_future()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = re.search(r"content-length: (\d+)", head, re.IGNORECASE)
        assert length is not None
        heard.set_result((await reader.readexactly(int(length[1]))).decode())
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    async with server, SoapCentralSystem(habits=habits) as central_system:
        central_system.addresses["CP1"] = f"http://{host}:{port}/"
        with pytest.raises(Unanswered):
            await central_system.call("CP1", "ClearCache")
        return (await heard).replace(central_system.url, "URL")


async def test_without_habits_a_call_says_where_it_comes_from() -> None:
    text = await request_of(None)
    assert "<wsa:From><wsa:Address>URL</wsa:Address></wsa:From>" in text
    assert '<ns0:chargeBoxIdentity xmlns:ns0="urn://Ocpp/Cp/2015/10/">CP1</ns0:chargeBoxIdentity>' in text


async def test_steve_does_not_say_where_its_calls_come_from() -> None:
    text = await request_of("steve")
    assert "<wsa:From>" not in text
    assert "<wsa:ReplyTo>" in text


async def test_ev_server_has_one_message_id_and_another_namespace() -> None:
    for _ in range(2):
        text = await request_of("ev-server")
        assert "<wsa:MessageID>urn:uuid:589e13ae-1787-49f8-ab8b-4567327b23c6</wsa:MessageID>" in text
        assert re.search(r'<(\w+):chargeBoxIdentity xmlns:\1="urn://Ocpp/Cp/2012/06/">CP1</', text)


async def test_steve_answers_with_qualified_actions_and_nobody_but_who_was_accepted() -> None:
    async with SoapCentralSystem(habits="steve") as central_system:
        async with a_charge_point(central_system) as charge_point:
            with pytest.raises(Refused, match="Sender/SecurityError: 'CP1' has not been accepted yet"):
                await charge_point.heartbeat()
            central_system.boot_status = "Rejected"
            await charge_point.boot()
            with pytest.raises(Refused, match="SecurityError"):
                await charge_point.heartbeat()
            central_system.boot_status = "Accepted"
            await charge_point.boot()
            await charge_point.heartbeat()
        answer = await ask(central_system, "Heartbeat", "<c:heartbeatRequest/>")
        assert answer.header("Action") == ["urn://Ocpp/Cs/2015/10/CentralSystemService/HeartbeatResponse"]
        assert central_system.problems == []
